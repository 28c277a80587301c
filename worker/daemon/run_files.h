#ifndef PENSTOCK_WORKER_DAEMON_RUN_FILES_H_
#define PENSTOCK_WORKER_DAEMON_RUN_FILES_H_

#include <sys/types.h>
#include <time.h>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace penstock {

// The files of one run of a command: its payload, if it wants that in a file; its checkpoint; and the tasks that it
// enqueues. In a folder of their own (below TMPDIR, or /tmp), which is removed when this goes. Not thread-safe.
class RunFiles {
 public:
  RunFiles() = default;
  ~RunFiles();
  RunFiles(const RunFiles&) = delete;
  RunFiles& operator=(const RunFiles&) = delete;

  // Makes the folder, the checkpoint's file with what was saved, and an empty one for tasks. Once.
  absl::Status Make(std::string_view checkpoint);
  absl::Status WritePayload(std::string_view payload);

  std::string payload_path() const { return folder_ + "/payload"; }
  std::string checkpoint_path() const { return folder_ + "/checkpoint"; }
  std::string tasks_path() const { return folder_ + "/enqueue"; }

  // What the command wrote into the checkpoint's file since this was asked last. While it runs, that counts once it has
  // not changed between two looks, for it may be in the middle of writing; nothing means nothing new.
  std::optional<std::string> NewCheckpoint(bool ended);
  // What it wrote into the file of tasks. ResourceExhausted: more than a completion can take.
  absl::StatusOr<std::string> Tasks() const;

 private:
  // What tells one state of a file from another.
  struct Stamp {
    ino_t file = 0;
    off_t size = 0;
    timespec changed = {};
    friend bool operator==(const Stamp& a, const Stamp& b) {
      return a.file == b.file && a.size == b.size && a.changed.tv_sec == b.changed.tv_sec &&
             a.changed.tv_nsec == b.changed.tv_nsec;
    }
  };
  Stamp StampOfCheckpoint() const;

  std::string folder_;      // empty: none
  std::string checkpoint_;  // as it was handed in, or seen last
  Stamp read_;              // of that
  Stamp looked_;            // at the last look
};

}  // namespace penstock

#endif  // PENSTOCK_WORKER_DAEMON_RUN_FILES_H_
