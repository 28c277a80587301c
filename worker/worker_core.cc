#include "worker/worker_core.h"

#include <algorithm>
#include <iterator>

#include "fmt/format.h"
#include "worker/follow_ups.h"
#include "worker/report_text.h"

namespace penstock {
namespace {

// As in proto/penstock/v1: what handlers say is cut to it before it is kept.
constexpr size_t kLogLineMax = 4 << 10;
constexpr size_t kLogBytesMax = 64 << 10;
constexpr size_t kProgressTextMax = 1 << 10;
constexpr size_t kErrorTypeMax = 256;
constexpr size_t kErrorTextMax = 16 << 10;
// After so many short runs in a row the next is expected to be short, too: its start waits for so long, and mostly
// travels with its outcome then, in one message instead of two. Not sooner: a task that crashes its worker again and
// again must be known to have started, or no attempt would be counted, and a worker that was just started knows
// nothing.
constexpr int kShortRuns = 16;
constexpr absl::Duration kShortRun = absl::Milliseconds(5);
// A task that waits for a free slot for so long may start sooner elsewhere.
constexpr absl::Duration kWaitMax = absl::Seconds(1);
// What one more part of a frame takes besides its texts.
constexpr size_t kPartBytes = 64;

size_t SizeOf(const Outcome& outcome) {
  return kPartBytes + outcome.result().size() + outcome.error().message.size() + outcome.error().detail.size() +
         (outcome.follow_ups() == nullptr ? 0 : outcome.follow_ups()->bytes);
}

}  // namespace

WorkerCore::WorkerCore(Options options)
    : options_(std::move(options)), lease_(options_.lease), prefetch_(options_.prefetch, options_.prefetch_most) {}

WorkerCore::Task* WorkerCore::Find(TaskId task, uint64_t token) {
  auto found = tasks_.find(task);
  return found == tasks_.end() || found->second.token != token ? nullptr : &found->second;
}

// --- the connection ---

std::vector<WorkerCore::HeldTask> WorkerCore::Held() const {
  std::map<TaskId, HeldTask> held;
  // A task whose outcome is not acknowledged counts as held, or the broker would give it to somebody else. What we hold
  // under a newer lease comes last.
  auto add = [&](const OutcomeReport& report) {
    held[report.task] = {report.task, report.token, report.run_time > absl::ZeroDuration()};
  };
  for (const auto& [frame, reports] : unacknowledged_) std::for_each(reports.begin(), reports.end(), add);
  std::for_each(pending_.begin(), pending_.end(), add);
  for (const auto& [id, task] : tasks_) held[id] = {id, task.token, task.started};
  std::vector<HeldTask> list;
  for (const auto& [id, task] : held) list.push_back(task);
  return list;
}

std::vector<WorkerCore::Cancel> WorkerCore::OnWelcome(bool resumed, absl::Duration lease,
                                                      const std::vector<TaskId>& lost,
                                                      const std::vector<TaskId>& cancelled, absl::Duration now) {
  connected_ = true;
  failures_ = 0;
  lease_ = lease;
  last_sent_ = now;
  outstanding_credit_ = 0;
  outstanding_types_.clear();
  draining_told_ = false;
  // What was sent and not acknowledged is sent again, before anything newer.
  for (auto it = unacknowledged_.rbegin(); it != unacknowledged_.rend(); ++it) {
    pending_.insert(pending_.begin(), std::make_move_iterator(it->second.begin()),
                    std::make_move_iterator(it->second.end()));
  }
  unacknowledged_.clear();
  std::vector<Cancel> cancels;
  if (!resumed) cancels = OnSessionLost();
  for (TaskId id : lost) {
    std::erase_if(pending_, [&](const OutcomeReport& report) { return report.task == id; });
    progress_.erase(id);
    if (auto cancel = Lose(id)) cancels.push_back(*cancel);
  }
  // What was saved may not have arrived; it goes before the outcomes. What we hold under a newer lease comes last.
  for (const OutcomeReport& report : pending_) {
    if (!report.checkpoint.empty()) progress_[report.task] = {report.task, report.token, 0, {}, report.checkpoint};
  }
  for (const auto& [id, task] : tasks_) {
    if (!task.checkpoint.empty()) ReportOf(id, task).checkpoint = task.checkpoint;
  }
  stuck_changed_ = std::any_of(given_up_.begin(), given_up_.end(), [](const auto& run) { return run.second.stuck; });
  for (TaskId id : cancelled) {
    if (auto cancel = OnCancelled(id)) cancels.push_back(*cancel);
  }
  return cancels;
}

void WorkerCore::OnDisconnected() { connected_ = false; }

std::vector<WorkerCore::Cancel> WorkerCore::OnSessionLost() {
  std::vector<TaskId> gone;
  for (const auto& [id, task] : tasks_) gone.push_back(id);
  std::sort(gone.begin(), gone.end());
  std::vector<Cancel> cancels;
  for (TaskId id : gone) {
    if (auto cancel = Lose(id)) cancels.push_back(*cancel);
  }
  pending_.clear();
  unacknowledged_.clear();
  starts_.clear();
  progress_.clear();
  logs_.clear();
  next_frame_ = 1;  // another session counts anew
  return cancels;
}

absl::Duration WorkerCore::NextBackoff(double draw) {
  const absl::Duration bound =
      std::min(options_.reconnect_max, options_.reconnect_min * static_cast<double>(1 << std::min(failures_, 20)));
  ++failures_;
  return bound * draw;
}

// --- from the broker ---

bool WorkerCore::OnDelivery(const TaskDelivery& task, absl::Duration now, std::vector<Cancel>* cancels) {
  outstanding_credit_ = std::max(0, outstanding_credit_ - 1);
  const bool limited = options_.type_limits.contains(task.type);
  if (limited && outstanding_types_[task.type] > 0) --outstanding_types_[task.type];
  if (auto cancel = Lose(task.id)) cancels->push_back(*cancel);
  Task state;
  state.token = task.fencing_token;
  state.type = task.type;
  state.run_timeout = task.run_timeout;
  if (draining_) {  // it was on its way
    Report(task.id, state, Outcome::Release(), absl::ZeroDuration());
    return false;
  }
  if (limited) ++held_types_[task.type];
  tasks_.emplace(task.id, std::move(state));
  const auto batch = options_.batch_waits.find(task.type);
  waiting_.push_back({task.id, task.fencing_token, batch == options_.batch_waits.end() ? now : now + batch->second});
  return true;
}

void WorkerCore::OnAcknowledged(uint64_t frame) {
  while (!unacknowledged_.empty() && unacknowledged_.front().first <= frame) unacknowledged_.pop_front();
}

std::optional<WorkerCore::Cancel> WorkerCore::OnStale(TaskId id, uint64_t token) {
  return Find(id, token) == nullptr ? std::nullopt : Lose(id);
}

std::optional<WorkerCore::Cancel> WorkerCore::Lose(TaskId id) {
  auto found = tasks_.find(id);
  if (found == tasks_.end()) return std::nullopt;
  const Cancel cancel{id, found->second.token, CancelReason::kLeaseLost};
  const bool started = found->second.started;
  progress_.erase(id);
  logs_.erase(id);
  Drop(id, false);
  credit_due_ |= !started;
  return started ? std::optional(cancel) : std::nullopt;
}

std::optional<WorkerCore::Cancel> WorkerCore::OnCancelled(TaskId id) {
  auto found = tasks_.find(id);
  if (found == tasks_.end()) return std::nullopt;
  if (found->second.started) return Cancel{id, found->second.token, CancelReason::kCancelled};
  Report(id, found->second, Outcome::Cancelled(), absl::ZeroDuration());
  Drop(id, false);
  return std::nullopt;
}

// --- from the handlers ---

bool WorkerCore::OnStart(TaskId id, uint64_t token, absl::Duration now) {
  Task* task = Find(id, token);
  if (task == nullptr || task->started) return false;
  task->started = true;
  task->start = now;
  ++running_;
  if (task->run_timeout > absl::ZeroDuration()) {
    task->deadline = now + task->run_timeout;
    deadlines_.emplace(task->deadline, id);
  }
  if (starts_.empty()) starts_due_ = short_runs_ >= kShortRuns ? now + kShortRun : now;
  starts_.emplace_back(id, token);
  TrimWaiting();
  return true;
}

void WorkerCore::OnFinish(TaskId id, uint64_t token, Outcome outcome, absl::Duration now) {
  prefetch_.OnFinish(now);
  if (Task* task = Find(id, token)) {
    --running_;
    short_runs_ = now - task->start < kShortRun ? std::min(short_runs_ + 1, kShortRuns) : 0;
    Report(id, *task, std::move(outcome), now);
    task->started = false;  // its handler holds no slot any more
    Drop(id, false);
    return;
  }
  auto run = given_up_.find({id, token});
  if (run == given_up_.end()) return;
  --running_;
  FreeSlot(run->second.type);
  stuck_changed_ |= run->second.stuck;
  credit_due_ = true;
  given_up_.erase(run);
}

void WorkerCore::Report(TaskId id, Task& task, Outcome outcome, absl::Duration now) {
  outcome.CleanTexts(kErrorTypeMax, kErrorTextMax);
  const absl::Duration run_time =
      task.started ? std::max(now - task.start, absl::Microseconds(1)) : absl::ZeroDuration();
  // Of what was told of its progress only a checkpoint still counts, if there may be another attempt.
  const bool done = outcome.kind() == Outcome::Kind::kDone;
  if (const auto told = progress_.find(id); told != progress_.end() && (done || !told->second.checkpoint)) {
    progress_.erase(told);
  }
  pending_.push_back({id, task.token, std::move(outcome), run_time, done ? std::string() : std::move(task.checkpoint)});
}

void WorkerCore::Drop(TaskId id, bool stuck) {
  auto found = tasks_.find(id);
  Task& task = found->second;
  if (task.deadline != absl::InfiniteDuration()) deadlines_.erase({task.deadline, id});
  if (task.started) {
    given_up_[{id, task.token}] = {std::move(task.type), stuck};
    stuck_changed_ |= stuck;
  } else {
    FreeSlot(task.type);
  }
  tasks_.erase(found);
}

void WorkerCore::FreeSlot(const std::string& type) {
  if (options_.type_limits.contains(type)) --held_types_[type];
}

WorkerCore::ProgressReport& WorkerCore::ReportOf(TaskId id, const Task& task) {
  ProgressReport& report = progress_[id];
  if (report.token != task.token) report = {id, task.token, task.percent, task.text, std::nullopt};
  return report;
}

void WorkerCore::OnProgress(TaskId id, uint64_t token, double percent, std::string text) {
  Task* task = Find(id, token);
  if (task == nullptr) return;
  CleanText(kProgressTextMax, &text);
  task->percent = percent >= 0 ? std::min(percent, 100.0) : 0;  // not a number: 0
  task->text = std::move(text);
  ProgressReport& report = ReportOf(id, *task);
  report.percent = task->percent;
  report.text = task->text;
}

void WorkerCore::OnCheckpoint(TaskId id, uint64_t token, std::string checkpoint) {
  Task* task = Find(id, token);
  if (task == nullptr) return;
  task->checkpoint = std::move(checkpoint);
  ReportOf(id, *task).checkpoint = task->checkpoint;
}

void WorkerCore::OnLog(TaskId id, uint64_t token, absl::Time time, std::string line) {
  Task* task = Find(id, token);
  if (task == nullptr || task->log_bytes >= kLogBytesMax) return;
  CleanText(kLogLineMax, &line);
  task->log_bytes += line.size() + 16;
  LogReport& report = logs_[id];
  if (report.token != token) report = {id, token, {}};
  report.lines.emplace_back(time, std::move(line));
}

// --- time ---

std::vector<WorkerCore::Cancel> WorkerCore::OnTime(absl::Duration now) {
  std::vector<Cancel> cancels;
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    const TaskId id = deadlines_.begin()->second;
    deadlines_.erase(deadlines_.begin());
    Task& task = tasks_.find(id)->second;
    task.deadline = absl::InfiniteDuration();
    cancels.push_back({id, task.token, CancelReason::kTimeout});
    Report(id, task,
           Outcome::Retry({"timeout",
                           fmt::format("the attempt did not end within its run timeout of {}",
                                       absl::FormatDuration(task.run_timeout)),
                           ""}),
           now);
    Drop(id, true);
  }
  HandBackSurplus(now);
  return cancels;
}

void WorkerCore::TrimWaiting() {
  while (!waiting_.empty()) {
    const Task* task = Find(waiting_.front().task, waiting_.front().token);
    if (task != nullptr && !task->started) break;
    waiting_.pop_front();
  }
  // One that waits for company may stand at the front for long, while others behind it come and go.
  if (waiting_.size() > 2 * tasks_.size() + 64) ForgetStarted();
}

void WorkerCore::ForgetStarted() {
  std::erase_if(waiting_, [&](const Waiting& waiting) {
    const Task* task = Find(waiting.task, waiting.token);
    return task == nullptr || task->started;
  });
}

void WorkerCore::HandBackSurplus(absl::Duration now) {
  TrimWaiting();
  if (waiting_.empty() || now - waiting_.front().since < kWaitMax) return;
  prefetch_.Reset();
  ForgetStarted();
  while (static_cast<int>(waiting_.size()) > prefetch_.least()) {
    const TaskId id = waiting_.back().task;
    waiting_.pop_back();
    Report(id, tasks_[id], Outcome::Release(), now);
    Drop(id, false);
  }
}

absl::Duration WorkerCore::NextDeadline() const {
  absl::Duration next = connected_ ? last_sent_ + lease_ / 3 : absl::InfiniteDuration();
  if (!deadlines_.empty()) next = std::min(next, deadlines_.begin()->first);
  if (!starts_.empty() && connected_) next = std::min(next, starts_due_);
  // What it may hold for long needs no look.
  if (static_cast<int>(waiting_.size()) > prefetch_.least()) next = std::min(next, waiting_.front().since + kWaitMax);
  return next;
}

// --- the end ---

void WorkerCore::Drain() {
  if (draining_) return;
  draining_ = true;
  std::vector<TaskId> waiting;
  for (const auto& [id, task] : tasks_) {
    if (!task.started) waiting.push_back(id);
  }
  std::sort(waiting.begin(), waiting.end());
  for (TaskId id : waiting) {
    Report(id, tasks_[id], Outcome::Release(), absl::ZeroDuration());
    Drop(id, false);
  }
}

std::vector<WorkerCore::Cancel> WorkerCore::RunningTasks() const {
  std::vector<Cancel> running;
  for (const auto& [id, task] : tasks_) {
    if (task.started) running.push_back({id, task.token, CancelReason::kShutdown});
  }
  std::sort(running.begin(), running.end(), [](const Cancel& a, const Cancel& b) { return a.task < b.task; });
  return running;
}

void WorkerCore::HandBackRunning() {
  for (const Cancel& run : RunningTasks()) {
    Report(run.task, tasks_[run.task], Outcome::Release(), absl::ZeroDuration());
    pending_.back().run_time = absl::ZeroDuration();  // as one that never started: its run does not count
    Drop(run.task, false);
  }
}

size_t WorkerCore::unconfirmed() const {
  size_t count = pending_.size();
  for (const auto& [frame, reports] : unacknowledged_) count += reports.size();
  return count;
}

// --- frames ---

int WorkerCore::FreeCredit() const {
  if (draining_) return 0;
  return std::max(0, Capacity() - static_cast<int>(tasks_.size() + given_up_.size()) - outstanding_credit_);
}

bool WorkerCore::WantsFrame(absl::Duration now) const {
  if (!connected_) return false;
  // Credit alone is worth a message when a fair part of it has gathered; otherwise it travels with the outcomes that
  // freed it.
  const int credit = FreeCredit();
  return !pending_.empty() || StartsAreDue(now) || !progress_.empty() || !logs_.empty() || stuck_changed_ ||
         draining_ != draining_told_ || now - last_sent_ >= lease_ / 3 || (credit_due_ && !draining_) ||
         (credit > 0 && (outstanding_credit_ == 0 || credit * 4 >= Capacity()));
}

WorkerCore::Frame WorkerCore::BuildFrame(absl::Duration now, size_t bytes) {
  Frame frame;
  last_sent_ = now;
  frame.credit = FreeCredit();
  outstanding_credit_ += frame.credit;
  credit_due_ = false;
  if (!draining_) {
    for (const auto& [type, limit] : options_.type_limits) {
      const int room = limit - held_types_[type] - outstanding_types_[type];
      if (room <= 0) continue;
      frame.type_credits.emplace_back(type, room);
      outstanding_types_[type] += room;
    }
  }
  // An outcome that is larger than a frame shall be one message that the broker takes, with what goes before it.
  const size_t room = !pending_.empty() && SizeOf(pending_.front().outcome) > bytes ? bytes / 4 : bytes;
  size_t size = 0;
  TakeReports(room, &size, &frame);
  if (!pending_.empty() && size < room) {
    frame.number = next_frame_++;
    auto& sent = unacknowledged_.emplace_back(frame.number, std::deque<OutcomeReport>()).second;
    while (!pending_.empty()) {
      size += SizeOf(pending_.front().outcome);
      if (size > bytes && !sent.empty()) break;  // one at least, however large
      sent.push_back(std::move(pending_.front()));
      pending_.pop_front();
      frame.outcomes.push_back(&sent.back());
    }
  }
  for (const auto& [id, token] : starts_) {
    // What has ended meanwhile tells its start with its outcome.
    if (Find(id, token) != nullptr) frame.starts.emplace_back(id, token);
  }
  starts_.clear();
  frame.stuck_changed = std::exchange(stuck_changed_, false);
  if (frame.stuck_changed) {
    for (const auto& [key, run] : given_up_) {
      if (run.stuck) frame.stuck.push_back(key.first);
    }
    std::sort(frame.stuck.begin(), frame.stuck.end());
    frame.stuck.erase(std::unique(frame.stuck.begin(), frame.stuck.end()), frame.stuck.end());
  }
  frame.draining = draining_;
  draining_told_ = draining_;
  return frame;
}

// A task's words go before its outcome: after it they would not count. So outcomes wait while words do not fit.
void WorkerCore::TakeReports(size_t bytes, size_t* size, Frame* frame) {
  while (!progress_.empty() && *size < bytes) {
    auto first = progress_.begin();
    const ProgressReport& report = first->second;
    *size += kPartBytes + report.text.size() + (report.checkpoint ? report.checkpoint->size() : 0);
    frame->progress.push_back(std::move(first->second));
    progress_.erase(first);
  }
  while (!logs_.empty() && *size < bytes) {
    auto first = logs_.begin();
    for (const auto& [time, line] : first->second.lines) *size += kPartBytes + line.size();
    frame->logs.push_back(std::move(first->second));
    logs_.erase(first);
  }
}

}  // namespace penstock
