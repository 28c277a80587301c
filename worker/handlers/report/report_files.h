#ifndef PENSTOCK_WORKER_HANDLERS_REPORT_REPORT_FILES_H_
#define PENSTOCK_WORKER_HANDLERS_REPORT_REPORT_FILES_H_

// The files that a report is made of and written to. The code of an error says what to do about it: Unavailable when
// the same call may succeed later (disk full, I/O error, too many open files), FailedPrecondition when it cannot (no
// such file, no permission, not a regular file, outside the allowed folders).

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace penstock::report {

// An error of the operating system: "<doing> <path>: <reason>", with the code as above.
absl::Status FileError(std::string_view doing, std::string_view path, int error_number);

// A regular file, read from its beginning. Used by one thread.
class InputFile {
 public:
  static absl::StatusOr<InputFile> Open(const std::string& path);
  InputFile(InputFile&& other) noexcept;
  InputFile& operator=(InputFile&& other) = delete;
  ~InputFile();

  // Its size when it was opened.
  uint64_t size_bytes() const { return size_bytes_; }
  // The next piece, as long as the buffer at most; empty at the end.
  absl::StatusOr<std::string_view> Read(char* buffer, size_t buffer_size);

 private:
  InputFile(std::string path, int descriptor, uint64_t size_bytes);

  std::string path_;
  int descriptor_;
  uint64_t size_bytes_;
};

// Puts `content` in the place of the file at `path`, at once and for good: readers see the old file or the new one, and
// the new one is on disk when this returns OK. Its folder is made when missing. `writer` (a task's id) and `token`
// (which grows from run to run) name the temporary file beside it; what earlier runs of the same writer left there is
// removed.
absl::Status ReplaceFile(const std::string& path, std::string_view content, std::string_view writer, uint64_t token);

// OK when `path`, symbolic links resolved as far as it exists, is one of the folders or lies below one, or when there
// are none.
absl::Status CheckAllowed(const std::string& path, const std::vector<std::string>& folders);

}  // namespace penstock::report

#endif  // PENSTOCK_WORKER_HANDLERS_REPORT_REPORT_FILES_H_
