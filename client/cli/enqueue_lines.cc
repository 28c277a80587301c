#include "client/cli/enqueue_lines.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "client/cli/connection.h"
#include "client/cli/exit_code.h"
#include "client/cli/output.h"
#include "client/cli/table.h"
#include "client/client.h"
#include "common/mutex.h"
#include "common/status.h"
#include "common/text.h"
#include "common/units.h"
#include "fmt/format.h"
#include "fmt/ostream.h"
#include "penstock/v1/task_service.pb.h"

namespace penstock::cli {
namespace {

constexpr absl::Duration kRedraw = absl::Milliseconds(100);
// Refused lines that are named one by one.
constexpr uint64_t kRefusedShown = 10;

struct Answer {
  uint64_t line = 0;
  absl::StatusOr<EnqueueResult> result;
};

// Where the client's threads leave answers for the main thread.
class Answers {
 public:
  void Put(Answer answer) {
    MutexLock lock(mu_);
    answers_.push_back(std::move(answer));
    arrived_.Signal();
  }
  std::vector<Answer> Take() {
    MutexLock lock(mu_);
    return std::exchange(answers_, {});
  }
  // Returns when there is an answer or the time is over.
  void WaitFor(absl::Duration time) {
    MutexLock lock(mu_);
    if (answers_.empty()) arrived_.WaitFor(mu_, time);
  }

 private:
  Mutex mu_;
  CondVar arrived_;
  std::vector<Answer> answers_ ABSL_GUARDED_BY(mu_);
};

// A line on a terminal that is drawn over and over.
class Progress {
 public:
  explicit Progress(Console& console) : console_(console), start_(Now()) {}
  ~Progress() { Clear(); }

  void Draw(uint64_t done, uint64_t bytes_read) {
    if (!console_.err_is_terminal) return;
    const absl::Duration now = Now();
    if (now - drawn_ < kRedraw) return;
    drawn_ = now;
    std::string line = fmt::format("{} tasks, {}/s", FormatCount(done), FormatRate(RateOf(done)));
    if (console_.in_bytes > 0) {
      constexpr int kWidth = 30;
      const double part = std::min(1.0, static_cast<double>(bytes_read) / static_cast<double>(console_.in_bytes));
      const auto filled = static_cast<size_t>(part * kWidth);
      line = fmt::format("[{}{}] {:3.0f}%  {}", std::string(filled, '#'), std::string(kWidth - filled, '.'), part * 100,
                         line);
    }
    // A line that is broken could not be drawn over.
    if (const int columns = ColumnsOf(console_); columns > 0) line = CutLines(line, columns);
    fmt::print(console_.err, "\r\x1b[K{}", line);
    console_.err.flush();
  }
  void Clear() {
    if (drawn_ == kNever) return;
    drawn_ = kNever;
    console_.err << "\r\x1b[K" << std::flush;
  }
  double RateOf(uint64_t done) const { return static_cast<double>(done) / absl::ToDoubleSeconds(Elapsed()); }
  absl::Duration Elapsed() const { return std::max(Now() - start_, absl::Milliseconds(1)); }

 private:
  static constexpr absl::Duration kNever = -absl::InfiniteDuration();

  absl::Duration Now() const { return console_.clock->Read().elapsed; }

  Console& console_;
  const absl::Duration start_;
  absl::Duration drawn_ = kNever;
};

class LineEnqueuer {
 public:
  LineEnqueuer(CommandContext& context, const NewTask& model)
      : context_(context), model_(model), list_(context, "tasks", {}), progress_(context.console) {}

  absl::StatusOr<int> Run() {
    ASSIGN_OR_RETURN(client_, Client::Connect(context_.MakeClientOptions()));
    ReadAndEnqueue();
    while (answered() < sent_ && !Hopeless()) {
      answers_.WaitFor(kRedraw);
      TakeAnswers();
    }
    // Answers what is still under way, so that it is known which line is the first that was lost.
    client_.reset();
    TakeAnswers();
    progress_.Clear();
    if (context_.globals.format != Format::kTable) list_.Finish();
    Summarize();
    if (failed() == 0) return kExitOk;
    return enqueued_ > 0 ? kExitPartial : ExitCodeOf(failure_);
  }

 private:
  void ReadAndEnqueue() {
    std::string payload;
    while (!Hopeless() && std::getline(context_.console.in, payload)) {
      ++line_;
      bytes_read_ += payload.size() + 1;
      if (payload.empty()) continue;
      NewTask task = model_;
      task.payload = std::move(payload);
      payload.clear();
      ++sent_;
      client_->EnqueueAsync(std::move(task), [this, line = line_](absl::StatusOr<EnqueueResult> result) {
        answers_.Put({line, std::move(result)});
      });
      TakeAnswers();
    }
    // What was read and not sent is not enqueued either.
    stopped_early_ = Hopeless();
  }

  void TakeAnswers() {
    for (Answer& answer : answers_.Take()) {
      if (answer.result.ok()) {
        Succeeded(*answer.result);
      } else {
        Failed(answer.line, answer.result.status());
      }
    }
    progress_.Draw(answered(), bytes_read_);
  }

  void Succeeded(const EnqueueResult& result) {
    ++enqueued_;
    if (result.duplicate) ++duplicates_;
    if (context_.globals.format == Format::kTable) return;
    v1::EnqueueResult item;
    item.set_task_id(result.id.ToString());
    item.set_duplicate(result.duplicate);
    list_.Add(item, item.task_id(), {});
  }

  void Failed(uint64_t line, const absl::Status& status) {
    if (absl::IsInvalidArgument(status)) {
      if (failure_.ok()) failure_ = status;
      if (++refused_ > kRefusedShown) return;
      progress_.Clear();
      context_.Error(Annotate(status, fmt::format("line {}", line)));
      return;
    }
    if (lost_ == 0) failure_ = status;
    first_lost_ = lost_ == 0 ? line : std::min(first_lost_, line);
    ++lost_;
  }

  absl::Status Explain(const absl::Status& status) const {
    if (ExitCodeOf(status) != kExitUnavailable) return status;
    return absl::Status(status.code(), fmt::format("cannot reach the broker at {}: {}", context_.globals.endpoint,
                                                   WhyNotConnected(std::string(ToStd(status.message())))));
  }

  // A wrong line is its own fault; anything else is the broker's state, and would meet the next line too.
  bool Hopeless() const { return lost_ > 0; }
  uint64_t failed() const { return refused_ + lost_; }
  uint64_t answered() const { return enqueued_ + failed(); }

  void Summarize() {
    if (refused_ > kRefusedShown) {
      context_.Note(fmt::format("penstock: {} more lines are refused", FormatCount(refused_ - kRefusedShown)));
    }
    if (lost_ > 0) {
      context_.Error(Annotate(Explain(failure_), fmt::format("line {} and what follows it", first_lost_)));
    }
    std::string text =
        fmt::format("enqueued {} in {}, {}/s", CountOf(enqueued_ - duplicates_, "task"),
                    penstock::FormatDuration(progress_.Elapsed()), FormatRate(progress_.RateOf(enqueued_)));
    if (duplicates_ > 0) text += fmt::format("; {} were there already", FormatCount(duplicates_));
    if (failed() > 0) text += fmt::format("; {} failed", FormatCount(failed()));
    if (stopped_early_) text += fmt::format("; stopped after line {}", FormatCount(line_));
    context_.Note(text);
  }

  CommandContext& context_;
  const NewTask& model_;
  ListPrinter list_;
  Progress progress_;
  Answers answers_;
  uint64_t line_ = 0;
  uint64_t bytes_read_ = 0;
  uint64_t sent_ = 0;
  uint64_t enqueued_ = 0;  // duplicates included
  uint64_t duplicates_ = 0;
  uint64_t refused_ = 0;
  uint64_t lost_ = 0;  // failed, or with an unknown outcome, for a reason that is not their own
  uint64_t first_lost_ = 0;
  bool stopped_early_ = false;
  absl::Status failure_;  // what the exit code says if nothing was enqueued
  // Last: its threads use the others until it is gone.
  std::unique_ptr<Client> client_;
};

}  // namespace

absl::StatusOr<int> EnqueueLines(CommandContext& context, const NewTask& model) {
  return LineEnqueuer(context, model).Run();
}

}  // namespace penstock::cli
