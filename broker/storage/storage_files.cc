#include "broker/storage/storage_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "broker/storage/rocksdb_options.h"
#include "common/status.h"
#include "fmt/format.h"
#include "rocksdb/env.h"

namespace penstock::broker {
namespace {

absl::Status Errno(std::string_view what, const std::string& path) {
  const int error = errno;
  const std::string text = fmt::format("cannot {} {}: {}", what, path, std::strerror(error));
  if (error == ENOSPC || error == EDQUOT) return absl::ResourceExhaustedError(text);
  if (error == EIO) return absl::InternalError(text);
  return absl::UnavailableError(text);
}

absl::Status SyncPath(const std::string& path, int flags) {
  const int fd = open(path.c_str(), flags | O_CLOEXEC);
  if (fd < 0) return Errno("open", path);
  const absl::Status synced = fsync(fd) == 0 ? absl::OkStatus() : Errno("sync", path);
  close(fd);
  return synced;
}

}  // namespace

absl::Status WithDamageAdvice(const absl::Status& status) {
  const std::string text(status.message());
  if (!absl::IsDataLoss(status) || text.find("--repair") != std::string::npos) return status;
  return absl::DataLossError(fmt::format("{}. {}", text, kDamageAdvice));
}

absl::StatusOr<bool> FileExists(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) == 0) return true;
  if (errno == ENOENT || errno == ENOTDIR) return false;
  return Errno("look at", path);
}

absl::StatusOr<std::string> ReadWholeFile(const std::string& path) { return ReadFileStart(path, UINT64_MAX); }

absl::StatusOr<std::string> ReadFileStart(const std::string& path, uint64_t bytes_max) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return Errno("open", path);
  std::string content;
  absl::Status status;
  while (content.size() < bytes_max) {
    constexpr uint64_t kPiece = 256 << 10;
    const size_t before = content.size();
    const size_t wanted = std::min(kPiece, bytes_max - before);
    content.resize(before + wanted);
    const ssize_t got = read(fd, content.data() + before, wanted);
    content.resize(before + (got > 0 ? static_cast<size_t>(got) : 0));
    if (got > 0 || (got < 0 && errno == EINTR)) continue;
    if (got < 0) status = Errno("read", path);
    break;
  }
  close(fd);
  if (!status.ok()) return status;
  return content;
}

absl::Status SyncFolder(const std::string& path) { return SyncPath(path, O_RDONLY | O_DIRECTORY); }

absl::Status CutFile(const std::string& path, uint64_t bytes) {
  if (truncate(path.c_str(), static_cast<off_t>(bytes)) != 0) return Errno("cut", path);
  return SyncPath(path, O_WRONLY);
}

absl::Status RemoveFile(const std::string& path) {
  return unlink(path.c_str()) == 0 ? absl::OkStatus() : Errno("delete", path);
}

absl::Status ReplaceFile(rocksdb::Env* env, const std::string& folder, const std::string& name,
                         const std::string& content) {
  const std::string path = fmt::format("{}/{}", folder, name);
  const std::string fresh = path + ".new";
  RETURN_IF_ERROR(ToStatus(rocksdb::WriteStringToFile(env, content, fresh, /*should_sync=*/true)));
  RETURN_IF_ERROR(ToStatus(env->RenameFile(fresh, path)));
  std::unique_ptr<rocksdb::Directory> opened;
  RETURN_IF_ERROR(ToStatus(env->NewDirectory(folder, &opened)));
  return ToStatus(opened->Fsync());
}

}  // namespace penstock::broker
