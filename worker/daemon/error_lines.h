#ifndef PENSTOCK_WORKER_DAEMON_ERROR_LINES_H_
#define PENSTOCK_WORKER_DAEMON_ERROR_LINES_H_

#include <optional>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "worker/outcome.h"
#include "worker/task_context.h"

namespace penstock {

// A command's standard error, line by line: kept with the task, but for lines by which the command speaks to the
// daemon.
//
//   penstock-progress: 40 text            progress, in percent
//   penstock-retry-after: 30s [SCOPE]     should the command fail, its next attempt is not before that
//   penstock-snooze: 30s [SCOPE]          should it end with another exit code than 0, it is run again after that, and
//                                         this was no attempt
//
// SCOPE (queue, type, group, key) is left alone for as long. Of several lines the last counts; one that is wrong is
// kept with the task, and what is wrong with it.
class ErrorLines {
 public:
  struct Wait {
    absl::Duration delay;
    CoolScope cool = CoolScope::kTask;
    bool snooze = false;
  };

  explicit ErrorLines(TaskContext& context) : context_(context) {}

  void Add(std::string_view text);
  // A last line without its end.
  void Flush();

  // Of the lines that were kept: the last one, the last bytes of all, and of those before the last one.
  const std::string& last() const { return last_; }
  std::string tail() const;
  std::string tail_before_last() const;
  const std::optional<Wait>& wait() const { return wait_; }

 private:
  void TakeProgress(std::string_view text);
  void TakeWait(std::string_view text, bool snooze);

  TaskContext& context_;
  std::string line_;
  std::string last_;
  std::string tail_;
  std::optional<Wait> wait_;
};

}  // namespace penstock

#endif  // PENSTOCK_WORKER_DAEMON_ERROR_LINES_H_
