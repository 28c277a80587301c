#include "broker/storage/rocksdb_diary.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdarg>
#include <cstdio>
#include <string_view>
#include <utility>

#include "absl/time/clock.h"
#include "common/text.h"
#include "fmt/format.h"

namespace penstock::broker {
namespace {

// The longest that RocksDB writes at once are dumps of its statistics and options, line by line.
constexpr size_t kLineMax = 16 << 10;

}  // namespace

RocksDbDiary::RocksDbDiary(std::string folder, uint64_t bytes_max)
    : Logger(rocksdb::INFO_LEVEL), folder_(std::move(folder)), bytes_max_(bytes_max) {
  mkdir(folder_.c_str(), 0755);
  MutexLock lock(mu_);
  Open();
}

RocksDbDiary::~RocksDbDiary() {
  MutexLock lock(mu_);
  if (fd_ >= 0) close(fd_);
}

void RocksDbDiary::Open() {
  if (fd_ >= 0) close(fd_);
  const std::string path = folder_ + "/LOG";
  rename(path.c_str(), (path + ".old").c_str());
  fd_ = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
  bytes_ = 0;
}

void RocksDbDiary::Logv(const char* format, va_list arguments) {
  std::array<char, kLineMax> text;
  const int length = vsnprintf(text.data(), text.size(), format, arguments);
  if (length < 0) return;
  const std::string_view message(text.data(), std::min<size_t>(static_cast<size_t>(length), text.size() - 1));
  std::string line =
      fmt::format("{} {} {}", ToStd(absl::FormatTime("%Y/%m/%d-%H:%M:%E6S", absl::Now(), absl::LocalTimeZone())),
                  syscall(SYS_gettid), message);
  if (line.back() != '\n') line += '\n';
  MutexLock lock(mu_);
  if (fd_ < 0 || bytes_ + line.size() > bytes_max_) Open();
  if (fd_ < 0) return;
  const ssize_t written = write(fd_, line.data(), line.size());
  if (written > 0) bytes_ += static_cast<uint64_t>(written);
}

size_t RocksDbDiary::GetLogFileSize() const {
  MutexLock lock(mu_);
  return bytes_;
}

}  // namespace penstock::broker
