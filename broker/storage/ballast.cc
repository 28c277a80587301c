#include "broker/storage/ballast.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "broker/storage/storage_files.h"
#include "common/logging.h"
#include "common/text.h"
#include "common/units.h"
#include "fmt/format.h"

namespace penstock::broker {

Ballast::Ballast(const std::string& folder, uint64_t bytes)
    : folder_(folder), path_(folder + "/BALLAST"), bytes_(bytes) {
  struct stat found {};
  if (stat(path_.c_str(), &found) != 0) return;
  // Blocks, not the length: a crash may have left a file that takes less than it says.
  kept_ = bytes_ > 0 && static_cast<uint64_t>(found.st_size) == bytes_ &&
          static_cast<uint64_t>(found.st_blocks) * 512 >= bytes_;
  if (!kept_) Delete();
}

uint64_t Ballast::NeededFree(uint64_t free_min) const { return std::max(free_min, bytes_) + bytes_; }

bool Ballast::Keep(const DiskSpace& space, uint64_t free_min) {
  if (bytes_ == 0 || kept_ || in_vain_ || space.free < NeededFree(free_min) || !Make()) return false;
  kept_ = true;
  if (spent_) LogFor("storage").info("the reserve for a full disk is kept again bytes={}", bytes_);
  spent_ = false;
  return true;
}

bool Ballast::Release() {
  if (!kept_ || !Delete()) return false;
  kept_ = false;
  spent_ = true;
  LogFor("storage").error(
      "the disk is full: the reserve is given up so that tasks can be finished; free some space reserve={}",
      FormatSize(bytes_));
  return true;
}

bool Ballast::Make() {
  const int fd = open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return false;
  int result;
  do {
    result = fallocate(fd, 0, 0, static_cast<off_t>(bytes_));
  } while (result != 0 && errno == EINTR);
  const int error = result == 0 ? 0 : errno;
  close(fd);
  if (error == 0) return true;
  Delete();
  // Somebody else was faster: later. Anything else will not change.
  if (error != ENOSPC && error != EDQUOT) {
    in_vain_ = true;
    LogFor("storage").warn("no reserve for a full disk: {} cannot be given its size error=\"{}\"", path_,
                           std::strerror(error));
  }
  return false;
}

bool Ballast::Delete() {
  if (unlink(path_.c_str()) != 0) {
    LogFor("storage").error("cannot delete {} error=\"{}\"", path_, std::strerror(errno));
    return false;
  }
  // Some file systems give the space back only when this is on disk.
  const absl::Status synced = SyncFolder(folder_);
  if (!synced.ok()) LogFor("storage").warn("{}", ToStd(synced.message()));
  return true;
}

}  // namespace penstock::broker
