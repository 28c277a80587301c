#include "broker/storage/data_dir.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <optional>
#include <sstream>
#include <string_view>

#include "absl/strings/numbers.h"
#include "broker/storage/storage_files.h"
#include "common/random.h"
#include "common/status.h"
#include "fmt/format.h"

namespace penstock::broker {
namespace {

// 2: slots, timers and sections of deltas of changed tasks, unique scopes and limits of queues, which format 1 has not.
constexpr uint64_t kFormat = 2;
constexpr std::string_view kFormatFile = "FORMAT";
constexpr std::string_view kNewFormatFile = "FORMAT.new";
constexpr std::string_view kLockFile = "LOCK.penstock";

absl::Status ErrnoError(int error, std::string_view what) {
  const std::string text = fmt::format("{}: {}", what, std::strerror(error));
  switch (error) {
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(fmt::format("{}; give the broker's user a folder that it may write to", text));
    case ENOTDIR:
    case ENAMETOOLONG:
    case ELOOP:
      return absl::InvalidArgumentError(text);
    case EIO:
      return absl::InternalError(text);
    case ENOSPC:
    case EDQUOT:
      return absl::ResourceExhaustedError(fmt::format("{}; free some space and start again", text));
    default:
      return absl::UnavailableError(text);
  }
}

std::string Join(const std::string& folder, std::string_view name) { return fmt::format("{}/{}", folder, name); }

absl::Status WriteSynced(int fd, std::string_view text, const std::string& path) {
  while (!text.empty()) {
    const ssize_t written = write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return ErrnoError(errno, fmt::format("cannot write {}", path));
    text.remove_prefix(static_cast<size_t>(written));
  }
  return fsync(fd) == 0 ? absl::OkStatus() : ErrnoError(errno, fmt::format("cannot sync {}", path));
}

absl::Status MakeFolder(const std::string& path) {
  struct stat found;
  if (stat(path.c_str(), &found) == 0) {
    if (!S_ISDIR(found.st_mode)) return absl::InvalidArgumentError(fmt::format("{} is a file, not a folder", path));
    return absl::OkStatus();
  }
  if (errno != ENOENT) return ErrnoError(errno, fmt::format("cannot use {} as data folder", path));
  std::error_code error;
  const std::filesystem::path parent = std::filesystem::absolute(path, error).parent_path();
  if (!error) std::filesystem::create_directories(parent, error);
  if (error) return ErrnoError(error.value(), fmt::format("cannot create folder {}", parent.string()));
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    return ErrnoError(errno, fmt::format("cannot create folder {}", path));
  }
  return SyncFolder(parent.string());
}

// Refuses a folder with somebody else's files in it: a wrong path in the configuration must not be mixed with our data.
absl::Status CheckOurs(const std::string& path) {
  std::error_code error;
  std::optional<std::string> foreign;
  for (std::filesystem::directory_iterator it(path, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name == kFormatFile) return absl::OkStatus();
    // What a start that was cut short leaves behind, and what a fresh file system contains.
    if (name == kLockFile || name == kNewFormatFile || name == "lost+found") continue;
    foreign = name;
  }
  if (error) return ErrnoError(error.value(), fmt::format("cannot list folder {}", path));
  if (!foreign) return absl::OkStatus();
  return absl::FailedPreconditionError(fmt::format(
      "{} is not a Penstock data folder: it contains {} and has no file FORMAT; name an empty or new folder", path,
      *foreign));
}

std::string ReadPid(int fd) {
  char pid[16] = {};
  const ssize_t size = pread(fd, pid, sizeof(pid) - 1, 0);
  return size > 0 ? std::string(pid) : std::string();
}

absl::Status InUse(const std::string& path, std::string_view pid) {
  return absl::AlreadyExistsError(
      fmt::format("another broker (pid {}), or somebody who looks at it, uses data folder {}: stop it, or name another "
                  "folder",
                  pid.empty() ? "unknown" : pid, path));
}

// The lock's file descriptor.
absl::StatusOr<int> Lock(const std::string& path) {
  const std::string file = Join(path, kLockFile);
  const int fd = open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return ErrnoError(errno, fmt::format("cannot write to data folder {}", path));
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    const int error = errno;
    const std::string pid = ReadPid(fd);
    close(fd);
    return error == EWOULDBLOCK ? InUse(path, pid) : ErrnoError(error, fmt::format("cannot lock {}", file));
  }
  const std::string pid = std::to_string(getpid());
  absl::Status written = ftruncate(fd, 0) == 0 ? WriteSynced(fd, pid, file) : ErrnoError(errno, file);
  if (!written.ok()) {
    close(fd);
    return written;
  }
  return fd;
}

// As Lock, for somebody who only looks, beside others who do; -1 if no broker has ever locked the folder.
absl::StatusOr<int> LockShared(const std::string& path) {
  const std::string file = Join(path, kLockFile);
  const int fd = open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0 && errno == ENOENT) return -1;
  if (fd < 0) return ErrnoError(errno, fmt::format("cannot read {}", file));
  if (flock(fd, LOCK_SH | LOCK_NB) == 0) return fd;
  const int error = errno;
  const std::string pid = ReadPid(fd);
  close(fd);
  return error == EWOULDBLOCK ? InUse(path, pid) : ErrnoError(error, fmt::format("cannot lock {}", file));
}

struct Format {
  uint64_t format = 0;
  uint64_t min_reader = 0;
  std::string instance;
  std::string other_lines;  // of keys that this version does not know
};

absl::StatusOr<Format> ParseFormat(const std::string& text, const std::string& file) {
  Format result;
  std::istringstream lines(text);
  std::string line;
  while (std::getline(lines, line)) {
    const size_t equals = line.find('=');
    if (equals == std::string::npos) continue;
    const std::string key = line.substr(0, equals);
    const std::string value = line.substr(equals + 1);
    if (key == "instance") result.instance = value;
    uint64_t* const number = key == "format" ? &result.format : key == "min_reader" ? &result.min_reader : nullptr;
    if (number != nullptr && !absl::SimpleAtoi(value, number)) *number = 0;
    if (number == nullptr && key != "instance") result.other_lines += line + "\n";
  }
  if (result.format == 0 || result.min_reader == 0 || result.instance.empty()) {
    return absl::DataLossError(fmt::format("{} is damaged. {}", file, kDamageAdvice));
  }
  return result;
}

std::string WithoutSlash(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

}  // namespace

absl::StatusOr<std::unique_ptr<DataDir>> DataDir::Open(const std::string& given_path) {
  if (given_path.empty()) return absl::InvalidArgumentError("the data folder's path is empty");
  const std::string path = WithoutSlash(given_path);
  RETURN_IF_ERROR(MakeFolder(path));
  RETURN_IF_ERROR(CheckOurs(path));
  ASSIGN_OR_RETURN(const int lock_fd, Lock(path));
  std::unique_ptr<DataDir> dir(new DataDir(path, lock_fd));
  RETURN_IF_ERROR(dir->ReadOrWriteFormat());
  return dir;
}

absl::StatusOr<std::unique_ptr<DataDir>> DataDir::OpenReadOnly(const std::string& given_path, bool damaged_too) {
  const std::string path = WithoutSlash(given_path);
  if (access(Join(path, kFormatFile).c_str(), F_OK) != 0) {
    if (errno != ENOENT && errno != ENOTDIR) return ErrnoError(errno, fmt::format("cannot read data folder {}", path));
    return absl::FailedPreconditionError(
        fmt::format("{} is not a Penstock data folder: it has no file FORMAT", given_path));
  }
  ASSIGN_OR_RETURN(const int lock_fd, LockShared(path));
  std::unique_ptr<DataDir> dir(new DataDir(path, lock_fd));
  const absl::Status read = dir->ReadFormat();
  if (!read.ok() && !(damaged_too && absl::IsDataLoss(read))) return read;
  return dir;
}

absl::StatusOr<std::unique_ptr<DataDir>> DataDir::CreateNew(const std::string& given_path,
                                                            const std::string& instance) {
  if (given_path.empty()) return absl::InvalidArgumentError("the new data folder's path is empty");
  const std::string path = WithoutSlash(given_path);
  std::error_code error;
  if (std::filesystem::exists(path, error) && !std::filesystem::is_empty(path, error)) {
    return absl::FailedPreconditionError(fmt::format("{} exists already and is not empty: name a new folder", path));
  }
  RETURN_IF_ERROR(MakeFolder(path));
  if (chmod(path.c_str(), 0700) != 0) return ErrnoError(errno, fmt::format("cannot close folder {} to others", path));
  ASSIGN_OR_RETURN(const int lock_fd, Lock(path));
  std::unique_ptr<DataDir> dir(new DataDir(path, lock_fd));
  dir->instance_ = instance.empty() ? RandomHexId() : instance;
  return dir;
}

absl::Status DataDir::FinishNew() { return WriteFormat(); }

DataDir::~DataDir() {
  if (lock_fd_ >= 0) close(lock_fd_);
}

absl::Status DataDir::ReadFormat() {
  const std::string file = Join(path_, kFormatFile);
  ASSIGN_OR_RETURN(const std::string text, ReadWholeFile(file));
  ASSIGN_OR_RETURN(Format found, ParseFormat(text, file));
  if (found.min_reader > kFormat) {
    return absl::FailedPreconditionError(
        fmt::format("a newer Penstock wrote {}: it takes one that reads storage format {}, this one reads format {}",
                    path_, found.min_reader, kFormat));
  }
  instance_ = std::move(found.instance);
  format_ = found.format;
  min_reader_ = found.min_reader;
  other_lines_ = std::move(found.other_lines);
  return absl::OkStatus();
}

absl::Status DataDir::ReadOrWriteFormat() {
  ASSIGN_OR_RETURN(const bool exists, FileExists(Join(path_, kFormatFile)));
  if (exists) {
    RETURN_IF_ERROR(ReadFormat());
    // From the first write on an older broker would misread the folder.
    return min_reader_ < kFormat ? WriteFormat() : absl::OkStatus();
  }
  instance_ = RandomHexId();
  return WriteFormat();
}

absl::Status DataDir::WriteFormat() {
  const std::string file = Join(path_, kFormatFile);
  const std::string new_file = Join(path_, kNewFormatFile);
  const int fd = open(new_file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return ErrnoError(errno, fmt::format("cannot write {}", new_file));
  const uint64_t format = std::max(format_, kFormat);
  const absl::Status written = WriteSynced(
      fd, fmt::format("format={}\nmin_reader={}\ninstance={}\n{}", format, kFormat, instance_, other_lines_), new_file);
  close(fd);
  RETURN_IF_ERROR(written);
  if (rename(new_file.c_str(), file.c_str()) != 0) return ErrnoError(errno, fmt::format("cannot write {}", file));
  format_ = format;
  min_reader_ = kFormat;
  return SyncFolder(path_);
}

absl::StatusOr<DiskSpace> GetDiskSpace(const std::string& path) {
  struct statvfs info;
  if (statvfs(path.c_str(), &info) != 0) {
    return ErrnoError(errno, fmt::format("cannot ask for the free space of {}", path));
  }
  return DiskSpace{.free = uint64_t{info.f_bavail} * info.f_frsize, .total = uint64_t{info.f_blocks} * info.f_frsize};
}

}  // namespace penstock::broker
