// Loaded into a broker with LD_PRELOAD: a disk that is slow, so that a broker's capacity is small and the same on every
// machine. A sync of a write-ahead log takes PENSTOCK_SLOW_SYNC_US more, and as long as what was written since the last
// one takes at PENSTOCK_SLOW_BYTES_PER_SECOND. Everything else goes straight through.

#include <dlfcn.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

constexpr size_t kFilesMax = 4096;
std::array<std::atomic<int64_t>, kFilesMax> g_synced;  // by descriptor: up to where

int64_t Setting(const char* name) {
  const char* const text = getenv(name);
  return text == nullptr ? 0 : atoll(text);
}

bool IsLog(int fd) {
  char link[64];
  char path[1024];
  snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
  const ssize_t size = readlink(link, path, sizeof(path));
  return size >= 4 && memcmp(path + size - 4, ".log", 4) == 0;
}

void Delay(int fd) {
  static const int64_t sync_us = Setting("PENSTOCK_SLOW_SYNC_US");
  static const int64_t bytes_per_second = Setting("PENSTOCK_SLOW_BYTES_PER_SECOND");
  if (fd < 0 || static_cast<size_t>(fd) >= kFilesMax || !IsLog(fd)) return;
  const int64_t end = lseek(fd, 0, SEEK_CUR);
  const int64_t begin = g_synced[static_cast<size_t>(fd)].exchange(end);
  // A log that is shorter than the last one under this number is a new one.
  const int64_t bytes = end >= begin ? end - begin : end;
  int64_t wait_us = sync_us;
  if (bytes_per_second > 0) wait_us += bytes * 1'000'000 / bytes_per_second;
  usleep(static_cast<useconds_t>(wait_us));
}

}  // namespace

extern "C" {

int fsync(int fd) {
  static const auto next = reinterpret_cast<decltype(&::fsync)>(dlsym(RTLD_NEXT, "fsync"));
  Delay(fd);
  return next(fd);
}
int fdatasync(int fd) {
  static const auto next = reinterpret_cast<decltype(&::fdatasync)>(dlsym(RTLD_NEXT, "fdatasync"));
  Delay(fd);
  return next(fd);
}

}  // extern "C"
