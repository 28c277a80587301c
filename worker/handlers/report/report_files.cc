#include "worker/handlers/report/report_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <system_error>
#include <utility>

#include "common/status.h"
#include "fmt/format.h"

namespace penstock::report {
namespace {

namespace fs = std::filesystem;

bool MayPass(int error_number) {
  switch (error_number) {
    case EIO:
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOBUFS:
    case EAGAIN:
    case EBUSY:
    case EINTR:
    case ESTALE:
    case ETIMEDOUT:
    case EROFS:  // What the kernel makes of a file system with errors.
      return true;
    default:
      return false;
  }
}

// Closes a descriptor when it goes out of scope.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int number() const { return number_; }
  int Release() { return std::exchange(number_, -1); }

 private:
  int number_;
};

absl::Status WriteAll(int descriptor, std::string_view content, const std::string& path) {
  while (!content.empty()) {
    const ssize_t written = ::write(descriptor, content.data(), content.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return FileError("writing", path, errno);
    }
    content.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

absl::Status WriteNewFile(const std::string& path, std::string_view content) {
  // Read by others, as what a web server or a colleague shows; the umask narrows it.
  const Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666));
  if (file.number() < 0) return FileError("creating", path, errno);
  RETURN_IF_ERROR(WriteAll(file.number(), content, path));
  if (::fsync(file.number()) != 0) return FileError("syncing", path, errno);
  return absl::OkStatus();
}

absl::Status SyncFolder(const std::string& path) {
  const Descriptor folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.number() < 0) return FileError("opening", path, errno);
  if (::fsync(folder.number()) != 0) return FileError("syncing", path, errno);
  return absl::OkStatus();
}

// Removes "<prefix><token>.tmp" for every token up to `token`: their runs are over, or their leases are lost.
void RemoveLeftovers(const fs::path& folder, const std::string& prefix, uint64_t token) {
  constexpr std::string_view kEnd = ".tmp";
  std::error_code error;
  for (fs::directory_iterator it(folder, error); !error && it != fs::directory_iterator(); it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name.size() <= prefix.size() + kEnd.size() || name.compare(0, prefix.size(), prefix) != 0) continue;
    const char* const begin = name.data() + prefix.size();
    const char* const end = name.data() + name.size() - kEnd.size();
    uint64_t other = 0;
    const auto [stop, wrong] = std::from_chars(begin, end, other);
    if (wrong != std::errc() || stop != end || std::string_view(end) != kEnd || other > token) continue;
    std::error_code ignored;  // A leftover is no reason to fail.
    fs::remove(it->path(), ignored);
  }
}

}  // namespace

absl::Status FileError(std::string_view doing, std::string_view path, int error_number) {
  const std::string message = fmt::format("{} {}: {}", doing, path, std::generic_category().message(error_number));
  return MayPass(error_number) ? absl::UnavailableError(message) : absl::FailedPreconditionError(message);
}

InputFile::InputFile(std::string path, int descriptor, uint64_t size_bytes)
    : path_(std::move(path)), descriptor_(descriptor), size_bytes_(size_bytes) {}

InputFile::InputFile(InputFile&& other) noexcept
    : path_(std::move(other.path_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      size_bytes_(other.size_bytes_) {}

InputFile::~InputFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

absl::StatusOr<InputFile> InputFile::Open(const std::string& path) {
  // O_NONBLOCK: opening a pipe must not wait for its writer.
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (file.number() < 0) return FileError("opening", path, errno);
  struct stat state = {};
  if (::fstat(file.number(), &state) != 0) return FileError("reading", path, errno);
  if (!S_ISREG(state.st_mode)) {
    return absl::FailedPreconditionError(fmt::format("opening {}: it is not a regular file", path));
  }
  return InputFile(path, file.Release(), static_cast<uint64_t>(state.st_size));
}

absl::StatusOr<std::string_view> InputFile::Read(char* buffer, size_t buffer_size) {
  while (true) {
    const ssize_t size = ::read(descriptor_, buffer, buffer_size);
    if (size >= 0) return std::string_view(buffer, static_cast<size_t>(size));
    if (errno != EINTR) return FileError("reading", path_, errno);
  }
}

absl::Status ReplaceFile(const std::string& path, std::string_view content, std::string_view writer, uint64_t token) {
  const fs::path folder = fs::path(path).parent_path();
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return FileError("creating the folder", folder.string(), error.value());

  std::string plain_writer(writer.substr(0, 64));
  std::replace_if(
      plain_writer.begin(), plain_writer.end(), [](unsigned char c) { return std::isalnum(c) == 0; }, '_');
  // The target's name is left out, as it may be as long as names can be.
  const std::string prefix = fmt::format(".penstock-report-{}-", plain_writer);
  RemoveLeftovers(folder, prefix, token);
  const std::string temporary = (folder / fmt::format("{}{}.tmp", prefix, token)).string();

  absl::Status status = WriteNewFile(temporary, content);
  if (status.ok() && ::rename(temporary.c_str(), path.c_str()) != 0) status = FileError("replacing", path, errno);
  if (!status.ok()) {
    ::unlink(temporary.c_str());
    return status;
  }
  return SyncFolder(folder.string());
}

absl::Status CheckAllowed(const std::string& path, const std::vector<std::string>& folders) {
  if (folders.empty()) return absl::OkStatus();
  std::error_code error;
  const fs::path resolved = fs::weakly_canonical(path, error);
  if (error) return FileError("resolving", path, error.value());
  for (const std::string& folder : folders) {
    const fs::path root = fs::weakly_canonical(folder, error);
    if (error) continue;
    const auto [root_rest, ignored] = std::mismatch(root.begin(), root.end(), resolved.begin(), resolved.end());
    if (root_rest == root.end() || (root_rest->empty() && std::next(root_rest) == root.end())) return absl::OkStatus();
  }
  return absl::FailedPreconditionError(
      fmt::format("{} is outside of the folders that the plug-in's option 'folders' allows", path));
}

}  // namespace penstock::report
