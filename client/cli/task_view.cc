#include "client/cli/task_view.h"

#include <map>

#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "client/cli/estimate_text.h"
#include "client/cli/output.h"
#include "client/cli/proto_time.h"
#include "common/units.h"
#include "fmt/format.h"

namespace penstock::cli {
namespace {

// The lines of a task's story: a label, then what it is about.
class Story {
 public:
  Story(const CommandContext& context, const v1::Task& task, const v1::ExplainTaskResponse* explain)
      : task_(task), now_(context.Now()), table_(context.MakeTableOptions()) {
    if (explain != nullptr) explained_ = ExplainLines(context, *explain, kLabelWidth);
  }

  std::string Render() {
    const v1::TaskSpec& spec = task_.spec();
    Fact("task", Paint(task_.task_id(), Style::kBold, table_.color));
    Fact("state", State());
    text_ += explained_;
    if (explained_.empty() && !task_.waiting_reason().empty())
      Fact("waits", Paint(Printable(task_.waiting_reason()), Style::kYellow, table_.color));
    Fact("queue", Printable(spec.queue()));
    Fact("type", Printable(spec.type()));
    if (task_.has_priority() || spec.has_priority()) {
      Fact("priority", std::to_string(task_.has_priority() ? task_.priority() : spec.priority()));
    }
    Fact("tags", Printable(absl::StrJoin(spec.tags(), ", ")));
    const std::map<std::string, std::string> headers(spec.headers().begin(), spec.headers().end());
    for (const auto& [key, value] : headers) Fact("header", Printable(fmt::format("{}={}", key, value)));
    if (spec.has_unique_key()) Fact("unique", UniqueKey());
    Fact("key", Printable(spec.key()));
    Fact("group", Printable(spec.group()));
    if (spec.cost() > 1) Fact("cost", std::to_string(spec.cost()));
    const std::map<std::string, std::string> labels(spec.worker_labels().begin(), spec.worker_labels().end());
    Fact("labels", Printable(absl::StrJoin(labels, ", ", absl::PairFormatter("="))));
    AddTimes();
    Fact("attempts", Attempts());
    if (!task_.worker().empty()) Fact("worker", Printable(task_.worker()));
    if (task_.has_progress()) {
      Fact("progress", fmt::format("{}, told {}", ProgressText(task_.progress()),
                                   Relative(ToTime(task_.progress().update_time()), now_)));
    }
    if (!spec.payload().empty()) Fact("payload", Bytes(spec.payload(), spec.content_type(), "payload"));
    if (!task_.checkpoint().empty()) Fact("saved", Bytes(task_.checkpoint(), "", "checkpoint"));
    if (!task_.result().empty()) Fact("result", Bytes(task_.result(), task_.result_content_type(), "result"));
    Fact("log", fmt::format("penstock task tail {}", task_.task_id()));
    for (const v1::Attempt& attempt : task_.attempts()) AddAttempt(attempt);
    // Not cut: the terminal breaks long lines, and the end of an error may be what matters.
    return text_;
  }

 private:
  // Nothing is said about what is not there.
  void Fact(std::string_view label, std::string_view value) {
    if (!value.empty()) text_ += fmt::format("{:<{}} {}\n", label, kLabelWidth, value);
  }

  std::string State() const {
    std::string state = Paint(StateWord(task_.state()), StyleOf(task_.state()), table_.color);
    if (task_.state() == v1::TASK_STATE_DEAD) state += fmt::format(", {}", ReasonWord(task_.dead_reason()));
    if (task_.cancel_requested()) state += ", asked to stop";
    if (task_.stuck()) state += ", stuck: given up, but its handler still holds a slot";
    return state;
  }

  std::string UniqueKey() const {
    const v1::UniqueKey& unique = task_.spec().unique_key();
    return fmt::format("{}, {}", Printable(unique.key()),
                       ToDuration(unique.window()) == absl::ZeroDuration()
                           ? "until it is finished"
                           : fmt::format("for {}", penstock::FormatDuration(ToDuration(unique.window()))));
  }

  void AddTimes() {
    const auto add = [this](std::string_view label, bool is_set, const google::protobuf::Timestamp& time) {
      if (is_set) Fact(label, RelativeAndExact(ToTime(time), now_));
    };
    add("created", task_.has_create_time(), task_.create_time());
    const bool waits = task_.state() == v1::TASK_STATE_SCHEDULED || task_.state() == v1::TASK_STATE_RETRYABLE;
    add("due", waits && task_.has_run_time(), task_.run_time());
    add("expires", task_.spec().has_expire_at(), task_.spec().expire_at());
    if (task_.spec().has_start_within()) {
      Fact("expires", penstock::FormatDuration(ToDuration(task_.spec().start_within())) + " after it is first due");
    }
    if (task_.spec().has_life_timeout()) {
      Fact("life", penstock::FormatDuration(ToDuration(task_.spec().life_timeout())) + " from when it is first due");
    }
    add("ended", task_.has_end_time(), task_.end_time());
    add("forgotten", task_.has_forget_time(), task_.forget_time());
    if (task_.has_run_timeout() || task_.spec().has_run_timeout()) {
      const auto& timeout = task_.has_run_timeout() ? task_.run_timeout() : task_.spec().run_timeout();
      Fact("timeout", penstock::FormatDuration(ToDuration(timeout)) + " an attempt");
    }
  }

  std::string Attempts() const {
    const int max = task_.max_attempts() > 0 ? task_.max_attempts() : task_.spec().retry_policy().max_attempts();
    return max == 0 ? std::to_string(task_.attempt()) : fmt::format("{} of {}", task_.attempt(), max);
  }

  std::string Bytes(std::string_view bytes, std::string_view content_type, std::string_view command) const {
    constexpr size_t kShown = 2'000;
    std::string what = FormatSize(bytes.size());
    if (!content_type.empty()) what += fmt::format(" of {}", Printable(content_type));
    if (bytes.size() <= kShown && IsText(bytes))
      return fmt::format("{}: {}", what, Printable(bytes.substr(0, bytes.find_last_not_of(" \r\n") + 1)));
    return fmt::format("{}: penstock task {} {}", what, command, task_.task_id());
  }

  void AddAttempt(const v1::Attempt& attempt) {
    const absl::Time start = ToTime(attempt.start_time());
    std::string outcome = "runs";
    Style style = Style::kPlain;
    if (attempt.has_end_time()) {
      outcome = Word(v1::AttemptOutcome_Name(attempt.outcome()), "ATTEMPT_OUTCOME_");
      if (attempt.outcome() == v1::ATTEMPT_OUTCOME_COMPLETED) style = Style::kGreen;
      if (attempt.outcome() == v1::ATTEMPT_OUTCOME_FAILED || attempt.outcome() == v1::ATTEMPT_OUTCOME_LOST)
        style = Style::kRed;
    }
    const absl::Duration took = (attempt.has_end_time() ? ToTime(attempt.end_time()) : now_) - start;
    text_ += fmt::format("\nattempt {}: {} {} {}, begun {}", attempt.number(), Paint(outcome, style, table_.color),
                         attempt.has_end_time() ? "after" : "for", penstock::FormatDuration(took),
                         RelativeAndExact(start, now_));
    if (!attempt.worker().empty()) text_ += fmt::format(" on {}", Printable(attempt.worker()));
    text_ += "\n";
    if (!attempt.has_error()) return;
    Indent(attempt.error().type().empty() ? attempt.error().message()
                                          : attempt.error().type() + ": " + attempt.error().message());
    Indent(attempt.error().detail());
  }
  void Indent(std::string_view lines) {
    lines = lines.substr(0, lines.find_last_not_of(" \r\n") + 1);
    if (lines.empty()) return;
    for (const std::string& line : std::vector<std::string>(absl::StrSplit(Printable(lines, true), '\n'))) {
      text_ += fmt::format("  {}\n", line);
    }
  }

  static constexpr int kLabelWidth = 9;

  const v1::Task& task_;
  const absl::Time now_;
  const TableOptions table_;
  std::string explained_;
  std::string text_;
};

// What is worth saying about a task in a list.
Cell NoteOf(const v1::Task& task) {
  if (task.state() == v1::TASK_STATE_DEAD) return ReasonWord(task.dead_reason());
  if (task.stuck()) return Cell("stuck", Style::kYellow);
  if (task.cancel_requested()) return "asked to stop";
  if (!task.waiting_reason().empty()) return Cell(task.waiting_reason(), Style::kYellow);
  if (task.has_progress()) return Cell(ProgressText(task.progress()));
  return "";
}

}  // namespace

std::string ProgressText(const v1::Progress& progress) {
  std::string text = fmt::format("{:.0f}%", progress.percent());
  if (!progress.text().empty()) text += " " + Printable(progress.text());
  if (progress.has_remaining()) {
    // To the second: it is a guess.
    const absl::Duration left = absl::Ceil(ToDuration(progress.remaining()), absl::Seconds(1));
    text += fmt::format(", {} left", penstock::FormatDuration(left));
  }
  return text;
}

std::string StateWord(v1::TaskState state) { return Word(v1::TaskState_Name(state), "TASK_STATE_"); }

Style StyleOf(v1::TaskState state) {
  switch (state) {
    case v1::TASK_STATE_COMPLETED:
      return Style::kGreen;
    case v1::TASK_STATE_DEAD:
      return Style::kRed;
    case v1::TASK_STATE_RETRYABLE:
      return Style::kYellow;
    case v1::TASK_STATE_RUNNING:
      return Style::kBold;
    default:
      return Style::kPlain;
  }
}

std::string ReasonWord(v1::DeadReason reason) { return Word(v1::DeadReason_Name(reason), "DEAD_REASON_"); }

std::string ErrorLine(const v1::TaskError& error) {
  return Printable(error.type().empty() ? error.message() : error.type() + ": " + error.message());
}

std::string RenderTask(const CommandContext& context, const v1::Task& task, const v1::ExplainTaskResponse* explain) {
  return Story(context, task, explain).Render();
}

std::vector<Column> TaskColumns() {
  return {{.title = "ID"},
          {.title = "QUEUE", .shrink_to = 10},
          {.title = "TYPE", .shrink_to = 12},
          {.title = "STATE"},
          {.title = "ATTEMPT", .right = true},
          {.title = "CREATED", .right = true},
          {.title = "DUE", .right = true, .optional = 1},
          {.title = "ENDED", .right = true, .optional = 1},
          {.title = "WORKER", .shrink_to = 10, .optional = 1},
          {.title = "NOTES", .shrink_to = 16}};
}

std::vector<Cell> TaskCells(const v1::Task& task, absl::Time now) {
  const bool waits = task.state() == v1::TASK_STATE_SCHEDULED || task.state() == v1::TASK_STATE_RETRYABLE;
  return {Cell(task.task_id(), Style::kBold),
          task.spec().queue(),
          task.spec().type(),
          Cell(StateWord(task.state()), StyleOf(task.state())),
          std::to_string(task.attempt()),
          Relative(ToTime(task.create_time()), now),
          waits ? Relative(ToTime(task.run_time()), now) : "-",
          Relative(ToTime(task.end_time()), now),
          task.worker().empty() ? "-" : task.worker(),
          NoteOf(task)};
}

}  // namespace penstock::cli
