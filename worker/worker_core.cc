#include "worker/worker_core.h"

#include <algorithm>
#include <iterator>

#include "fmt/format.h"

namespace penstock {
namespace {

constexpr size_t kLogLineMax = 4 << 10;
constexpr size_t kLogBytesMax = 64 << 10;

}  // namespace

WorkerCore::WorkerCore(Options options) : options_(std::move(options)), lease_(options_.lease) {}

WorkerCore::Task* WorkerCore::Find(TaskId task, uint64_t token) {
  auto found = tasks_.find(task);
  return found == tasks_.end() || found->second.token != token ? nullptr : &found->second;
}

// --- the connection ---

std::vector<WorkerCore::HeldTask> WorkerCore::Held() const {
  std::map<TaskId, HeldTask> held;
  for (const auto& [id, task] : tasks_) {
    if (!task.reported) held[id] = {id, task.token, task.started};
  }
  // A task whose outcome is not acknowledged counts as held, or the broker would give it to somebody else.
  auto add = [&](const OutcomeReport& report) { held[report.task] = {report.task, report.token, true}; };
  for (const auto& [frame, reports] : unacknowledged_) std::for_each(reports.begin(), reports.end(), add);
  std::for_each(pending_.begin(), pending_.end(), add);
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
  stuck_changed_ = !stuck_.empty();
  // What was sent and not acknowledged is sent again, before anything newer.
  for (auto it = unacknowledged_.rbegin(); it != unacknowledged_.rend(); ++it) {
    pending_.insert(pending_.begin(), std::make_move_iterator(it->second.begin()), std::make_move_iterator(it->second.end()));
  }
  unacknowledged_.clear();
  std::vector<Cancel> cancels;
  std::vector<TaskId> gone = lost;
  if (!resumed) {
    // The session ended without us: everything was given to others.
    gone.clear();
    for (const auto& [id, task] : tasks_) gone.push_back(id);
    std::sort(gone.begin(), gone.end());
    pending_.clear();
    starts_.clear();
  }
  for (TaskId id : gone) {
    std::erase_if(pending_, [&](const OutcomeReport& report) { return report.task == id; });
    auto found = tasks_.find(id);
    if (found == tasks_.end()) continue;
    if (auto cancel = OnStale(id, found->second.token)) cancels.push_back(*cancel);
  }
  for (TaskId id : cancelled) {
    if (auto cancel = OnCancelled(id)) cancels.push_back(*cancel);
  }
  return cancels;
}

void WorkerCore::OnDisconnected() { connected_ = false; }

absl::Duration WorkerCore::NextBackoff(double draw) {
  const absl::Duration bound =
      std::min(options_.reconnect_max, options_.reconnect_min * static_cast<double>(1 << std::min(failures_, 20)));
  ++failures_;
  return bound * draw;
}

// --- from the broker ---

bool WorkerCore::OnDelivery(const TaskDelivery& task, absl::Duration now) {
  outstanding_credit_ = std::max(0, outstanding_credit_ - 1);
  const bool limited = options_.type_limits.contains(task.type);
  if (limited && outstanding_types_[task.type] > 0) --outstanding_types_[task.type];
  Task state;
  state.token = task.fencing_token;
  state.type = task.type;
  state.run_timeout = task.run_timeout;
  if (draining_ || tasks_.contains(task.id)) {
    // Drained while it was on its way, or given back to us while an old handler of it still holds its slot: somebody else shall run it.
    Report(task.id, state, Outcome::Release(), now);
    return false;
  }
  if (limited) ++held_types_[task.type];
  tasks_.emplace(task.id, std::move(state));
  return true;
}

void WorkerCore::OnAcknowledged(uint64_t frame) {
  while (!unacknowledged_.empty() && unacknowledged_.front().first <= frame) unacknowledged_.pop_front();
}

std::optional<WorkerCore::Cancel> WorkerCore::OnStale(TaskId id, uint64_t token) {
  Task* task = Find(id, token);
  if (task == nullptr || task->reported) return std::nullopt;
  task->reported = true;  // whatever the handler returns, nobody wants it
  deadlines_.erase({task->deadline, id});
  if (!task->started) {
    FreeSlot(id);
    return std::nullopt;
  }
  return Cancel{id, CancelReason::kLeaseLost};
}

std::optional<WorkerCore::Cancel> WorkerCore::OnCancelled(TaskId id) {
  auto found = tasks_.find(id);
  if (found == tasks_.end() || found->second.reported) return std::nullopt;
  if (!found->second.started) {
    Report(id, found->second, Outcome::Cancelled(), absl::ZeroDuration());
    FreeSlot(id);
    return std::nullopt;
  }
  return Cancel{id, CancelReason::kCancelled};
}

// --- from the handlers ---

bool WorkerCore::OnStart(TaskId id, uint64_t token, absl::Duration now) {
  Task* task = Find(id, token);
  if (task == nullptr || task->reported) return false;
  task->started = true;
  task->start = now;
  ++running_;
  if (task->run_timeout > absl::ZeroDuration()) {
    task->deadline = now + task->run_timeout;
    deadlines_.insert({task->deadline, id});
  }
  starts_.emplace_back(id, token);
  return true;
}

void WorkerCore::OnFinish(TaskId id, uint64_t token, Outcome outcome, absl::Duration now) {
  Task* task = Find(id, token);
  if (task == nullptr) return;
  --running_;
  if (!task->reported) Report(id, *task, std::move(outcome), now);
  FreeSlot(id);
}

void WorkerCore::Report(TaskId id, const Task& task, Outcome outcome, absl::Duration now) {
  const absl::Duration run_time = task.started ? std::max(now - task.start, absl::Microseconds(1)) : absl::ZeroDuration();
  pending_.push_back({id, task.token, std::move(outcome), run_time});
}

void WorkerCore::FreeSlot(TaskId id) {
  auto found = tasks_.find(id);
  deadlines_.erase({found->second.deadline, id});
  if (options_.type_limits.contains(found->second.type)) --held_types_[found->second.type];
  if (std::erase(stuck_, id) > 0) stuck_changed_ = true;
  progress_.erase(id);
  tasks_.erase(found);
}

void WorkerCore::OnProgress(ProgressReport report) {
  Task* task = Find(report.task, report.token);
  if (task != nullptr && !task->reported) progress_[report.task] = std::move(report);
}

void WorkerCore::OnLog(TaskId id, uint64_t token, absl::Time time, std::string line) {
  Task* task = Find(id, token);
  if (task == nullptr || task->reported || task->log_bytes >= kLogBytesMax) return;
  if (line.size() > kLogLineMax) line.resize(kLogLineMax);
  task->log_bytes += line.size() + 16;
  LogReport& report = logs_[id];
  report.task = id;
  report.token = token;
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
    if (task.reported) continue;
    Report(id, task,
           Outcome::Retry({"timeout", fmt::format("the attempt did not end within its run timeout of {}",
                                                  absl::FormatDuration(task.run_timeout)),
                           ""}),
           now);
    task.reported = true;
    stuck_.push_back(id);
    stuck_changed_ = true;
    cancels.push_back({id, CancelReason::kTimeout});
  }
  return cancels;
}

absl::Duration WorkerCore::NextDeadline() const {
  absl::Duration next = connected_ ? last_sent_ + lease_ / 3 : absl::InfiniteDuration();
  if (!deadlines_.empty()) next = std::min(next, deadlines_.begin()->first);
  return next;
}

// --- the end ---

void WorkerCore::Drain() {
  if (draining_) return;
  draining_ = true;
  std::vector<TaskId> waiting;
  for (const auto& [id, task] : tasks_) {
    if (!task.started && !task.reported) waiting.push_back(id);
  }
  std::sort(waiting.begin(), waiting.end());
  for (TaskId id : waiting) {
    Report(id, tasks_[id], Outcome::Release(), absl::ZeroDuration());
    FreeSlot(id);
  }
}

std::vector<WorkerCore::Cancel> WorkerCore::RunningTasks() const {
  std::vector<Cancel> running;
  for (const auto& [id, task] : tasks_) {
    if (task.started) running.push_back({id, CancelReason::kShutdown});
  }
  return running;
}

void WorkerCore::HandBackRunning() {
  for (auto& [id, task] : tasks_) {
    if (task.reported) continue;
    task.reported = true;
    pending_.push_back({id, task.token, Outcome::Release(), absl::ZeroDuration()});
  }
}

// --- frames ---

int WorkerCore::FreeCredit() const {
  if (draining_) return 0;
  const int capacity = options_.concurrency + options_.prefetch;
  return std::max(0, capacity - static_cast<int>(tasks_.size()) - outstanding_credit_);
}

bool WorkerCore::WantsFrame(absl::Duration now) const {
  if (!connected_) return false;
  // Credit alone is worth a message when a fair part of it has gathered; otherwise it travels with the outcomes that freed it.
  const int capacity = options_.concurrency + options_.prefetch;
  return !pending_.empty() || !starts_.empty() || !progress_.empty() || !logs_.empty() || stuck_changed_ ||
         draining_ != draining_told_ || now - last_sent_ >= lease_ / 3 ||
         (FreeCredit() > 0 && (outstanding_credit_ == 0 || FreeCredit() * 4 >= capacity));
}

WorkerCore::Frame WorkerCore::BuildFrame(absl::Duration now, size_t bytes) {
  Frame frame;
  last_sent_ = now;
  frame.credit = FreeCredit();
  outstanding_credit_ += frame.credit;
  if (!draining_) {
    for (const auto& [type, limit] : options_.type_limits) {
      const int room = limit - held_types_[type] - outstanding_types_[type];
      if (room <= 0) continue;
      frame.type_credits.emplace_back(type, room);
      outstanding_types_[type] += room;
    }
  }
  if (!pending_.empty()) {
    frame.number = next_frame_++;
    auto& sent = unacknowledged_.emplace_back(frame.number, std::deque<OutcomeReport>()).second;
    for (size_t size = 0; !pending_.empty() && size < bytes;) {
      const OutcomeReport& report = pending_.front();
      size += 64 + report.outcome.result().size() + report.outcome.error().message.size() + report.outcome.error().detail.size();
      sent.push_back(std::move(pending_.front()));
      pending_.pop_front();
      frame.outcomes.push_back(&sent.back());
    }
  }
  for (const auto& [id, token] : starts_) {
    // What has ended meanwhile tells its start with its outcome.
    const Task* task = Find(id, token);
    if (task != nullptr && !task->reported) frame.starts.emplace_back(id, token);
  }
  starts_.clear();
  for (auto& [id, report] : progress_) frame.progress.push_back(std::move(report));
  progress_.clear();
  for (auto& [id, report] : logs_) frame.logs.push_back(std::move(report));
  logs_.clear();
  frame.stuck_changed = std::exchange(stuck_changed_, false);
  if (frame.stuck_changed) frame.stuck = stuck_;
  frame.draining = draining_;
  draining_told_ = draining_;
  return frame;
}

}  // namespace penstock
