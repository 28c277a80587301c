#include "tests/support/small_disk.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "fmt/format.h"

namespace penstock::testing {
namespace {

void Check(bool ok, const char* what) {
  if (ok) return;
  std::perror(what);
  std::abort();
}

}  // namespace

bool SmallDisk::Allow() {
  const uid_t user = geteuid();
  const gid_t group = getegid();
  if (unshare(CLONE_NEWNS) != 0) {
    if (unshare(CLONE_NEWNS | CLONE_NEWUSER) != 0) return false;
    std::ofstream("/proc/self/setgroups") << "deny";
    std::ofstream("/proc/self/uid_map") << fmt::format("0 {} 1", user);
    std::ofstream("/proc/self/gid_map") << fmt::format("0 {} 1", group);
  }
  // What is mounted here stays here.
  return mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
}

SmallDisk::SmallDisk(uint64_t mebibytes) {
  Check(mount("penstock", folder_.path().c_str(), "tmpfs", 0, fmt::format("size={}m", mebibytes).c_str()) == 0,
        "mount tmpfs");
}

SmallDisk::~SmallDisk() { umount2(folder_.path().c_str(), MNT_DETACH); }

void SmallDisk::Fill(uint64_t leave) {
  const int fd = open((folder_ / "filler").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  Check(fd >= 0, "open filler");
  const std::string page(4096, 'x');
  const auto free_bytes = [&] {
    struct statvfs info {};
    Check(fstatvfs(fd, &info) == 0, "look at the free space");
    return uint64_t{info.f_bavail} * info.f_frsize;
  };
  while (free_bytes() > leave && write(fd, page.data(), page.size()) > 0) {
  }
  close(fd);
}

void SmallDisk::Free() { Check(unlink((folder_ / "filler").c_str()) == 0, "delete filler"); }

}  // namespace penstock::testing
