#include "worker/daemon/run_files.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <utility>

#include "common/status.h"
#include "fmt/format.h"
#include "worker/task_context.h"

namespace penstock {
namespace {

// JSON is longer than what it stands for: Base64, escapes, names. What is too much in the end is refused then.
constexpr size_t kTasksBytesMax = 16 << 20;

absl::Status WriteFile(const std::string& path, std::string_view content) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return absl::ErrnoToStatus(errno, "cannot make " + path);
  absl::Status status;
  while (!content.empty() && status.ok()) {
    const ssize_t written = write(fd, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      status = absl::ErrnoToStatus(errno, "cannot write " + path);
    } else {
      content.remove_prefix(static_cast<size_t>(written));
    }
  }
  close(fd);
  return status;
}

// At most `size_max` bytes and one more, which tells that there are more.
absl::StatusOr<std::string> ReadFile(const std::string& path, size_t size_max) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return absl::ErrnoToStatus(errno, "cannot read " + path);
  std::string content;
  char buffer[16 << 10];
  absl::Status status;
  while (content.size() <= size_max) {
    const ssize_t got = read(fd, buffer, std::min(sizeof(buffer), size_max + 1 - content.size()));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) status = absl::ErrnoToStatus(errno, "cannot read " + path);
    if (got <= 0) break;
    content.append(buffer, static_cast<size_t>(got));
  }
  close(fd);
  if (!status.ok()) return status;
  return content;
}

}  // namespace

RunFiles::~RunFiles() {
  if (folder_.empty()) return;
  std::error_code error;
  std::filesystem::remove_all(folder_, error);
}

absl::Status RunFiles::Make(std::string_view checkpoint) {
  const char* const parent = getenv("TMPDIR");
  std::string folder = fmt::format("{}/penstock-run-XXXXXX", parent != nullptr && *parent != 0 ? parent : "/tmp");
  if (mkdtemp(folder.data()) == nullptr) return absl::ErrnoToStatus(errno, "cannot make a folder " + folder);
  folder_ = std::move(folder);
  RETURN_IF_ERROR(WriteFile(tasks_path(), ""));
  RETURN_IF_ERROR(WriteFile(checkpoint_path(), checkpoint));
  checkpoint_ = checkpoint;
  read_ = looked_ = StampOfCheckpoint();
  return absl::OkStatus();
}

absl::Status RunFiles::WritePayload(std::string_view payload) { return WriteFile(payload_path(), payload); }

RunFiles::Stamp RunFiles::StampOfCheckpoint() const {
  struct stat info;
  if (stat(checkpoint_path().c_str(), &info) != 0) return {};
  return {info.st_ino, info.st_size, info.st_mtim};
}

std::optional<std::string> RunFiles::NewCheckpoint(bool ended) {
  const Stamp now = StampOfCheckpoint();
  const bool settled = std::exchange(looked_, now) == now;
  // At the end it is read in any case: times of files are too coarse to tell the last of two quick writes.
  if (!ended && (now == read_ || !settled)) return std::nullopt;
  read_ = now;
  absl::StatusOr<std::string> content = ReadFile(checkpoint_path(), kCheckpointMax);
  if (!content.ok() || content->empty() || *content == checkpoint_) return std::nullopt;
  checkpoint_ = *content;
  return *std::move(content);
}

absl::StatusOr<std::string> RunFiles::Tasks() const {
  absl::StatusOr<std::string> content = ReadFile(tasks_path(), kTasksBytesMax);
  if (absl::IsNotFound(content.status())) return std::string();
  if (content.ok() && content->size() > kTasksBytesMax) {
    return absl::ResourceExhaustedError(fmt::format("more than {} bytes of tasks", kTasksBytesMax));
  }
  return content;
}

}  // namespace penstock
