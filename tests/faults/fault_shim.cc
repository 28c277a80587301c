// Loaded into a broker with LD_PRELOAD: counts the calls on files of its data folder, and lets the n-th kill the
// process or fail (fault_plan.h). Everything else goes straight through. Also notes how much of each file was synced.

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
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
using penstock::testing::TrackedFile;

constexpr uint32_t kChanges = penstock::testing::kChanges;
constexpr uint32_t kReads = penstock::testing::kReads;
constexpr uint32_t kDiary = penstock::testing::kDiary;
constexpr int kFilesMax = 4096;

// The function that the shim stands before.
template <class Function>
Function* Next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}
#define NEXT(name) static const auto next = reinterpret_cast<decltype(&::name)>(dlsym(RTLD_NEXT, #name))

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

// The path below the folder that counts; null if it is not there.
const char* Below(const char* path) {
  static const char* const folder = getenv(penstock::testing::kFaultFolderVariable);
  static const size_t length = folder == nullptr ? 0 : strlen(folder);
  if (length == 0 || path == nullptr || strncmp(path, folder, length) != 0) return nullptr;
  return path[length] == '/' ? path + length + 1 : path + length;
}

const char* NameIn(const char* path) {
  const char* const slash = strrchr(path, '/');
  return slash == nullptr ? path : slash + 1;
}

// The class of a call on a path; 0: not ours.
uint32_t ClassOf(const char* path, uint32_t otherwise) {
  if (Below(path) == nullptr) return 0;
  const char* const name = NameIn(path);
  const bool diary = strcmp(name, "LOG") == 0 || strncmp(name, "LOG.", 4) == 0;
  return diary ? kDiary : otherwise;
}

// --- what is synced ---

pthread_mutex_t tracking = PTHREAD_MUTEX_INITIALIZER;

class TrackingLock {
 public:
  TrackingLock() { pthread_mutex_lock(&tracking); }
  ~TrackingLock() { pthread_mutex_unlock(&tracking); }
};

// The place of a file, or a free one; null if it is not ours or nothing is free.
TrackedFile* Tracked(const char* path, bool make) {
  const char* const name = Below(path);
  FaultPlan* const plan = Plan();
  if (name == nullptr || *name == 0 || plan == nullptr || strlen(name) >= sizeof(TrackedFile::name)) return nullptr;
  TrackedFile* free_place = nullptr;
  for (TrackedFile& file : plan->files) {
    if (strcmp(file.name, name) == 0) return &file;
    if (file.name[0] == 0 && free_place == nullptr) free_place = &file;
  }
  if (!make || free_place == nullptr) return nullptr;
  strcpy(free_place->name, name);
  free_place->synced = 0;
  return free_place;
}

// Before a file is opened for writing: what was there before counts as synced.
void TrackOpen(const char* path, bool truncates) {
  const TrackingLock lock;
  struct stat info {};
  static const auto real_stat = Next<int(const char*, struct stat*)>("stat");
  const bool there = real_stat(path, &info) == 0 && !truncates;
  TrackedFile* file = Tracked(path, false);
  if (file == nullptr) {
    file = Tracked(path, true);
    if (file != nullptr) file->synced = there ? static_cast<uint64_t>(info.st_size) : 0;
  } else if (!there) {
    file->synced = 0;
  }
}

void TrackRename(const char* from, const char* to) {
  const TrackingLock lock;
  TrackedFile* const moved = Tracked(from, false);
  if (TrackedFile* const old = Tracked(to, false); old != nullptr) old->name[0] = 0;
  if (moved == nullptr) return;
  const char* const name = Below(to);
  if (name == nullptr || strlen(name) >= sizeof(moved->name)) {
    moved->name[0] = 0;
  } else {
    strcpy(moved->name, name);
  }
}

void TrackUnlink(const char* path) {
  const TrackingLock lock;
  if (TrackedFile* const file = Tracked(path, false); file != nullptr) file->name[0] = 0;
}

// --- open files ---

struct OpenFile {
  std::atomic<bool> ours = false;
  std::atomic<bool> diary = false;
  char path[256] = {};
};
std::array<OpenFile, kFilesMax>& Files() {
  static std::array<OpenFile, kFilesMax> files;
  return files;
}

void Opened(int fd, const char* path, uint32_t call_class) {
  if (fd < 0 || fd >= kFilesMax || call_class == 0) return;
  OpenFile& file = Files()[static_cast<size_t>(fd)];
  snprintf(file.path, sizeof(file.path), "%s", path);
  file.diary = call_class == kDiary;
  file.ours = true;
}

uint32_t ClassOf(int fd, uint32_t otherwise) {
  if (fd < 0 || fd >= kFilesMax) return 0;
  const OpenFile& file = Files()[static_cast<size_t>(fd)];
  if (!file.ours) return 0;
  return file.diary ? kDiary : otherwise;
}
const char* PathOf(int fd) { return fd >= 0 && fd < kFilesMax ? Files()[static_cast<size_t>(fd)].path : ""; }

// --- the fault ---

enum class Verdict { kPass, kFail, kShort, kTorn, kSwallow };

[[noreturn]] void Die() {
  kill(getpid(), SIGKILL);
  while (true) pause();
}

// Counts a call. With kFail errno is set.
Verdict Count(uint32_t call_class, const char* call, const char* path) {
  FaultPlan* const plan = Plan();
  if (plan == nullptr || (plan->classes.load() & call_class) == 0) return Verdict::kPass;
  char text[sizeof(plan->hit)];
  snprintf(text, sizeof(text), "%s %s", call, NameIn(path));
  if (strstr(text, plan->only) == nullptr) return Verdict::kPass;
  const uint64_t number = ++plan->calls;
  const uint64_t first = plan->first.load();
  if (first == 0 || number < first || number > plan->last.load()) return Verdict::kPass;
  if (plan->hits++ == 0) memcpy(plan->hit, text, sizeof(text));
  switch (plan->kind.load()) {
    case FaultKind::kKill:
      Die();
    case FaultKind::kTorn:
      return Verdict::kTorn;
    case FaultKind::kShort:
      return Verdict::kShort;
    case FaultKind::kSwallow:
      return Verdict::kSwallow;
    case FaultKind::kError:
      break;
  }
  errno = plan->error.load();
  return errno == 0 ? Verdict::kPass : Verdict::kFail;
}

// A call that is made or not, on a file or path. True: it is not made, and `result` is what it answers.
bool Skipped(Verdict verdict, int* result) {
  switch (verdict) {
    case Verdict::kFail:
      *result = -1;
      return true;
    case Verdict::kSwallow:
      *result = 0;
      return true;
    case Verdict::kTorn:
      Die();
    case Verdict::kShort:
    case Verdict::kPass:
      break;
  }
  return false;
}
bool Skipped(int fd, uint32_t otherwise, const char* call, int* result) {
  const uint32_t call_class = ClassOf(fd, otherwise);
  return call_class != 0 && Skipped(Count(call_class, call, PathOf(fd)), result);
}
bool Skipped(const char* path, uint32_t otherwise, const char* call, int* result) {
  const uint32_t call_class = ClassOf(path, otherwise);
  return call_class != 0 && Skipped(Count(call_class, call, path), result);
}

bool Writes(int flags) { return (flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC)) != 0; }

template <class Open>
int OpenCounted(const char* path, int flags, Open open_file) {
  const uint32_t call_class = ClassOf(path, Writes(flags) ? kChanges : kReads);
  if (call_class == 0) return open_file();
  const Verdict verdict = Count(call_class, "open", path);
  if (verdict == Verdict::kFail) return -1;
  if (verdict == Verdict::kTorn) Die();
  if (Writes(flags)) TrackOpen(path, (flags & O_TRUNC) != 0);
  const int fd = open_file();
  Opened(fd, path, call_class);
  return fd;
}

// A write: `make` makes it with so many bytes.
template <class Make>
ssize_t WriteCounted(int fd, const char* call, size_t size, Make make) {
  const uint32_t call_class = ClassOf(fd, kChanges);
  if (call_class == 0) return make(size);
  const size_t half = size > 1 ? size / 2 : size;
  switch (Count(call_class, call, PathOf(fd))) {
    case Verdict::kFail:
      return -1;
    case Verdict::kSwallow:
      return static_cast<ssize_t>(size);
    case Verdict::kShort:
      return make(half);
    case Verdict::kTorn:
      make(half);
      Die();
    case Verdict::kPass:
      break;
  }
  return make(size);
}

// A sync, which is noted when it was made.
template <class Make>
int SyncCounted(int fd, const char* call, Make make) {
  int result = 0;
  if (Skipped(fd, kChanges, call, &result)) return result;
  if (ClassOf(fd, kChanges) == 0) return make();
  if (Plan() != nullptr && Plan()->syncs_lie) return 0;
  // What is written beside the sync does not count.
  struct stat info {};
  static const auto real_fstat = Next<int(int, struct stat*)>("fstat");
  const bool known = real_fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
  result = make();
  if (result == 0 && known) {
    const TrackingLock lock;
    if (TrackedFile* const file = Tracked(PathOf(fd), false); file != nullptr) {
      file->synced = static_cast<uint64_t>(info.st_size);
    }
  }
  return result;
}

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
  const bool writes = mode[0] != 'r' || strchr(mode, '+') != nullptr;
  const uint32_t call_class = ClassOf(path, writes ? kChanges : kReads);
  int result = 0;
  if (call_class != 0 && Skipped(Count(call_class, "fopen", path), &result) && result != 0) return nullptr;
  if (call_class != 0 && writes) TrackOpen(path, mode[0] == 'w');
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
  return WriteCounted(fd, "write", size, [&](size_t allowed) { return next(fd, data, allowed); });
}
ssize_t pwrite(int fd, const void* data, size_t size, off_t offset) {
  NEXT(pwrite);
  return WriteCounted(fd, "pwrite", size, [&](size_t allowed) { return next(fd, data, allowed, offset); });
}
ssize_t writev(int fd, const iovec* parts, int count) {
  NEXT(writev);
  int result = 0;
  if (Skipped(fd, kChanges, "writev", &result) && result != 0) return -1;
  return next(fd, parts, count);
}
int fsync(int fd) {
  NEXT(fsync);
  return SyncCounted(fd, "fsync", [&] { return next(fd); });
}
int fdatasync(int fd) {
  NEXT(fdatasync);
  return SyncCounted(fd, "fdatasync", [&] { return next(fd); });
}
int sync_file_range(int fd, off64_t offset, off64_t count, unsigned flags) {
  NEXT(sync_file_range);
  // Without flags it does nothing and can have no error: RocksDB asks so whether there is such a call.
  if (flags == 0) return next(fd, offset, count, flags);
  int result = 0;
  return Skipped(fd, kChanges, "sync_file_range", &result) ? result : next(fd, offset, count, flags);
}
int ftruncate(int fd, off_t size) noexcept {
  NEXT(ftruncate);
  int result = 0;
  return Skipped(fd, kChanges, "ftruncate", &result) ? result : next(fd, size);
}
int truncate(const char* path, off_t size) noexcept {
  NEXT(truncate);
  int result = 0;
  return Skipped(path, kChanges, "truncate", &result) ? result : next(path, size);
}
int fallocate(int fd, int mode, off_t offset, off_t size) {
  NEXT(fallocate);
  int result = 0;
  return Skipped(fd, kChanges, "fallocate", &result) ? result : next(fd, mode, offset, size);
}
int rename(const char* from, const char* to) noexcept {
  NEXT(rename);
  int result = 0;
  if (Skipped(to, kChanges, "rename", &result)) return result;
  result = next(from, to);
  if (result == 0) TrackRename(from, to);
  return result;
}
int link(const char* from, const char* to) noexcept {
  NEXT(link);
  int result = 0;
  return Skipped(to, kChanges, "link", &result) ? result : next(from, to);
}
int unlink(const char* path) noexcept {
  NEXT(unlink);
  int result = 0;
  if (Skipped(path, kChanges, "unlink", &result)) return result;
  result = next(path);
  if (result == 0) TrackUnlink(path);
  return result;
}
int mkdir(const char* path, mode_t mode) noexcept {
  NEXT(mkdir);
  int result = 0;
  return Skipped(path, kChanges, "mkdir", &result) ? result : next(path, mode);
}

ssize_t read(int fd, void* data, size_t size) {
  NEXT(read);
  int result = 0;
  return Skipped(fd, kReads, "read", &result) ? result : next(fd, data, size);
}
ssize_t pread(int fd, void* data, size_t size, off_t offset) {
  NEXT(pread);
  int result = 0;
  return Skipped(fd, kReads, "pread", &result) ? result : next(fd, data, size, offset);
}
size_t fread_unlocked(void* data, size_t size, size_t count, FILE* file) {
  NEXT(fread_unlocked);
  int result = 0;
  if (!Skipped(fileno_unlocked(file), kReads, "fread", &result)) return next(data, size, count, file);
  if (result != 0) file->_flags |= 0x20;  // what ferror() looks at: glibc's _IO_ERR_SEEN
  return 0;
}
int stat(const char* path, struct stat* info) noexcept {
  NEXT(stat);
  int result = 0;
  return Skipped(path, kReads, "stat", &result) && result != 0 ? -1 : next(path, info);
}
int access(const char* path, int mode) noexcept {
  NEXT(access);
  int result = 0;
  return Skipped(path, kReads, "access", &result) ? result : next(path, mode);
}
DIR* opendir(const char* path) {
  NEXT(opendir);
  int result = 0;
  return Skipped(path, kReads, "opendir", &result) && result != 0 ? nullptr : next(path);
}

}  // extern "C"
