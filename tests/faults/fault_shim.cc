// Loaded into a broker with LD_PRELOAD: counts the calls on files of its data folder, and lets the n-th kill the
// process or fail (fault_plan.h). Everything else goes straight through.

#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/faults/fault_plan.h"

namespace {

using penstock::testing::FaultKind;
using penstock::testing::FaultPlan;

constexpr int kFilesMax = 4096;

// The function that the shim stands before.
template <class Function>
Function* Next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}
#define NEXT(name) static decltype(&::name) const next = Next<std::remove_pointer_t<decltype(&::name)>>(#name)

FaultPlan* MapPlan() {
  const char* const path = getenv(penstock::testing::kFaultPlanVariable);
  if (path == nullptr) return nullptr;
  static const auto real_open = Next<int(const char*, int, ...)>("open");
  const int fd = real_open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) return nullptr;
  void* const mapped = mmap(nullptr, sizeof(FaultPlan), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  static const auto real_close = Next<int(int)>("close");
  real_close(fd);
  return mapped == MAP_FAILED ? nullptr : static_cast<FaultPlan*>(mapped);
}

FaultPlan* Plan() {
  static FaultPlan* const plan = MapPlan();
  return plan;
}

// The classes of calls on a path that are not about its content; 0: not ours.
uint32_t ClassOf(const char* path, uint32_t otherwise) {
  static const char* const folder = getenv(penstock::testing::kFaultFolderVariable);
  if (folder == nullptr || path == nullptr || strncmp(path, folder, strlen(folder)) != 0) return 0;
  const char* const slash = strrchr(path, '/');
  const char* const name = slash == nullptr ? path : slash + 1;
  const bool diary = strcmp(name, "LOG") == 0 || strncmp(name, "LOG.", 4) == 0;
  return diary ? uint32_t{penstock::testing::kDiary} : otherwise;
}

struct OpenFile {
  std::atomic<bool> ours = false;
  std::atomic<bool> diary = false;
  char name[64] = {};
};
std::array<OpenFile, kFilesMax>& Files() {
  static std::array<OpenFile, kFilesMax> files;
  return files;
}

void Opened(int fd, const char* path, uint32_t call_class) {
  if (fd < 0 || fd >= kFilesMax || call_class == 0) return;
  OpenFile& file = Files()[static_cast<size_t>(fd)];
  const char* const slash = strrchr(path, '/');
  snprintf(file.name, sizeof(file.name), "%s", slash == nullptr ? path : slash + 1);
  file.diary = call_class == penstock::testing::kDiary;
  file.ours = true;
}

uint32_t ClassOf(int fd, uint32_t otherwise) {
  if (fd < 0 || fd >= kFilesMax) return 0;
  const OpenFile& file = Files()[static_cast<size_t>(fd)];
  if (!file.ours) return 0;
  return file.diary ? uint32_t{penstock::testing::kDiary} : otherwise;
}
const char* NameOf(int fd) { return fd >= 0 && fd < kFilesMax ? Files()[static_cast<size_t>(fd)].name : ""; }

enum class Verdict { kPass, kFail, kShort };

// Counts a call. With kFail errno is set.
Verdict Count(uint32_t call_class, const char* call, const char* name) {
  FaultPlan* const plan = Plan();
  if (plan == nullptr || (plan->classes.load() & call_class) == 0) return Verdict::kPass;
  const uint64_t number = ++plan->calls;
  const uint64_t first = plan->first.load();
  if (first == 0 || number < first || number > plan->last.load()) return Verdict::kPass;
  if (plan->hits++ == 0) snprintf(plan->hit, sizeof(plan->hit), "%s %s", call, name);
  switch (plan->kind.load()) {
    case FaultKind::kKill:
      kill(getpid(), SIGKILL);
      while (true) pause();
    case FaultKind::kShort:
      if (number == first) return Verdict::kShort;
      break;
    case FaultKind::kError:
      break;
  }
  errno = plan->error.load();
  return errno == 0 ? Verdict::kPass : Verdict::kFail;
}

uint32_t ClassOfFlags(int flags) {
  return (flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC)) != 0 ? penstock::testing::kChanges
                                                                : penstock::testing::kReads;
}

template <class Open>
int OpenCounted(const char* path, int flags, Open open_file) {
  const uint32_t call_class = ClassOf(path, ClassOfFlags(flags));
  if (call_class != 0 && Count(call_class, "open", path) == Verdict::kFail) return -1;
  const int fd = open_file();
  Opened(fd, path, call_class);
  return fd;
}

// A write of `size` bytes: how many of them to pass on; -1: it has failed.
ssize_t Allowed(int fd, const char* call, size_t size) {
  const uint32_t call_class = ClassOf(fd, penstock::testing::kChanges);
  if (call_class == 0) return static_cast<ssize_t>(size);
  switch (Count(call_class, call, NameOf(fd))) {
    case Verdict::kFail:
      return -1;
    case Verdict::kShort:
      return static_cast<ssize_t>(size > 1 ? size / 2 : size);
    case Verdict::kPass:
      break;
  }
  return static_cast<ssize_t>(size);
}

bool Fails(int fd, uint32_t otherwise, const char* call) {
  const uint32_t call_class = ClassOf(fd, otherwise);
  return call_class != 0 && Count(call_class, call, NameOf(fd)) == Verdict::kFail;
}
bool Fails(const char* path, uint32_t otherwise, const char* call) {
  const uint32_t call_class = ClassOf(path, otherwise);
  return call_class != 0 && Count(call_class, call, path) == Verdict::kFail;
}

constexpr uint32_t kChanges = penstock::testing::kChanges;
constexpr uint32_t kReads = penstock::testing::kReads;

mode_t ModeOf(int flags, va_list arguments) {
  return (flags & O_CREAT) != 0 ? static_cast<mode_t>(va_arg(arguments, int)) : 0;
}

}  // namespace

extern "C" {

int open(const char* path, int flags, ...) {
  NEXT(open);
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = ModeOf(flags, arguments);
  va_end(arguments);
  return OpenCounted(path, flags, [&] { return next(path, flags, mode); });
}
int openat(int folder, const char* path, int flags, ...) {
  NEXT(openat);
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = ModeOf(flags, arguments);
  va_end(arguments);
  return OpenCounted(path, flags, [&] { return next(folder, path, flags, mode); });
}
FILE* fopen(const char* path, const char* mode) {
  NEXT(fopen);
  const uint32_t call_class = ClassOf(path, mode[0] == 'r' && strchr(mode, '+') == nullptr ? kReads : kChanges);
  if (call_class != 0 && Count(call_class, "fopen", path) == Verdict::kFail) return nullptr;
  FILE* const file = next(path, mode);
  if (file != nullptr) Opened(fileno(file), path, call_class);
  return file;
}
FILE* fopen64(const char* path, const char* mode) { return fopen(path, mode); }
int close(int fd) {
  NEXT(close);
  if (fd >= 0 && fd < kFilesMax) Files()[static_cast<size_t>(fd)].ours = false;
  return next(fd);
}

ssize_t write(int fd, const void* data, size_t size) {
  NEXT(write);
  const ssize_t allowed = Allowed(fd, "write", size);
  return allowed < 0 ? -1 : next(fd, data, static_cast<size_t>(allowed));
}
ssize_t pwrite(int fd, const void* data, size_t size, off_t offset) {
  NEXT(pwrite);
  const ssize_t allowed = Allowed(fd, "pwrite", size);
  return allowed < 0 ? -1 : next(fd, data, static_cast<size_t>(allowed), offset);
}
ssize_t writev(int fd, const iovec* parts, int count) {
  NEXT(writev);
  if (Fails(fd, kChanges, "writev")) return -1;
  return next(fd, parts, count);
}
int fsync(int fd) {
  NEXT(fsync);
  return Fails(fd, kChanges, "fsync") ? -1 : next(fd);
}
int fdatasync(int fd) {
  NEXT(fdatasync);
  return Fails(fd, kChanges, "fdatasync") ? -1 : next(fd);
}
int sync_file_range(int fd, off64_t offset, off64_t count, unsigned flags) {
  NEXT(sync_file_range);
  return Fails(fd, kChanges, "sync_file_range") ? -1 : next(fd, offset, count, flags);
}
int ftruncate(int fd, off_t size) noexcept {
  NEXT(ftruncate);
  return Fails(fd, kChanges, "ftruncate") ? -1 : next(fd, size);
}
int truncate(const char* path, off_t size) noexcept {
  NEXT(truncate);
  return Fails(path, kChanges, "truncate") ? -1 : next(path, size);
}
int fallocate(int fd, int mode, off_t offset, off_t size) {
  NEXT(fallocate);
  return Fails(fd, kChanges, "fallocate") ? -1 : next(fd, mode, offset, size);
}
int rename(const char* from, const char* to) noexcept {
  NEXT(rename);
  return Fails(to, kChanges, "rename") ? -1 : next(from, to);
}
int link(const char* from, const char* to) noexcept {
  NEXT(link);
  return Fails(to, kChanges, "link") ? -1 : next(from, to);
}
int unlink(const char* path) noexcept {
  NEXT(unlink);
  return Fails(path, kChanges, "unlink") ? -1 : next(path);
}
int mkdir(const char* path, mode_t mode) noexcept {
  NEXT(mkdir);
  return Fails(path, kChanges, "mkdir") ? -1 : next(path, mode);
}

ssize_t read(int fd, void* data, size_t size) {
  NEXT(read);
  return Fails(fd, kReads, "read") ? -1 : next(fd, data, size);
}
ssize_t pread(int fd, void* data, size_t size, off_t offset) {
  NEXT(pread);
  return Fails(fd, kReads, "pread") ? -1 : next(fd, data, size, offset);
}
size_t fread_unlocked(void* data, size_t size, size_t count, FILE* file) {
  NEXT(fread_unlocked);
  if (!Fails(fileno_unlocked(file), kReads, "fread")) return next(data, size, count, file);
  file->_flags |= 0x20;  // what ferror() looks at: glibc's _IO_ERR_SEEN
  return 0;
}

}  // extern "C"
