#include "worker/executor.h"

#include <algorithm>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/time/clock.h"
#include "client/task_spec.h"
#include "common/clock.h"
#include "common/logging.h"
#include "common/mutex.h"
#include "common/status.h"
#include "common/status_details.h"
#include "fmt/format.h"
#include "google/protobuf/message_lite.h"
#include "worker/batch_run.h"
#include "worker/follow_ups.h"
#include "worker/run_queue.h"
#include "worker/thrown.h"

namespace penstock {

namespace {

// What becomes of a run that was told to end and did not complete its task. Its failure says nothing about the task: it
// must not use up an attempt, still less kill it.
Outcome EndedEarly(CancelReason reason) {
  return reason == CancelReason::kShutdown ? Outcome::Release() : Outcome::Cancelled();
}

}  // namespace

struct TaskContext::Shared {
  mutable Mutex mu;
  mutable CondVar changed;
  CancelReason reason ABSL_GUARDED_BY(mu) = CancelReason::kNone;
  std::optional<std::stop_source> stop ABSL_GUARDED_BY(mu);   // once it was asked for: most handlers never do
  std::shared_ptr<FollowUps> follow_ups ABSL_GUARDED_BY(mu);  // null: none
};

TaskContext::TaskContext(const TaskDelivery& task, std::shared_ptr<Shared> shared, absl::Time deadline, Sink& sink)
    : task_(task), shared_(std::move(shared)), deadline_(deadline), sink_(sink) {}

CancelReason TaskContext::cancel_reason() const {
  MutexLock lock(shared_->mu);
  return shared_->reason;
}

std::stop_token TaskContext::stop_token() const {
  std::optional<std::stop_source> stop;
  bool cancelled;
  {
    MutexLock lock(shared_->mu);
    if (!shared_->stop) shared_->stop.emplace();
    stop = shared_->stop;
    cancelled = shared_->reason != CancelReason::kNone;
  }
  // Whoever has seen the reason shall see the request, too: Cancel may not have come to it yet. Not under the lock, for
  // this may call the handler's callbacks.
  if (cancelled) stop->request_stop();
  return stop->get_token();
}

bool TaskContext::WaitForCancel(absl::Duration time) const {
  const absl::Time until = absl::Now() + time;
  MutexLock lock(shared_->mu);
  while (shared_->reason == CancelReason::kNone && absl::Now() < until) {
    shared_->changed.WaitFor(shared_->mu, until - absl::Now());
  }
  return shared_->reason != CancelReason::kNone;
}

void TaskContext::Progress(double percent, std::string text) {
  sink_.OnProgress(task_.id, task_.fencing_token, percent, std::move(text));
}

void TaskContext::Log(std::string line) { sink_.OnLog(task_.id, task_.fencing_token, std::move(line)); }

absl::Status TaskContext::SaveCheckpoint(std::string checkpoint) {
  if (checkpoint.size() > kCheckpointMax) {
    return InvalidField("checkpoint", fmt::format("must be at most {} bytes, has {}; store it elsewhere and save where",
                                                  kCheckpointMax, checkpoint.size()));
  }
  sink_.OnCheckpoint(task_.id, task_.fencing_token, std::move(checkpoint));
  return absl::OkStatus();
}

absl::Status TaskContext::Enqueue(std::string queue, std::string type, std::string payload, EnqueueOptions options) {
  v1::TaskSpec spec;
  RETURN_IF_ERROR(FillTaskSpec({std::move(queue), std::move(type), std::move(payload), std::move(options)}, &spec));
  return EnqueueSpec(std::move(spec));
}

absl::Status TaskContext::Enqueue(std::string queue, std::string type, const google::protobuf::MessageLite& payload,
                                  EnqueueOptions options) {
  if (options.content_type.empty()) options.content_type = "application/x-protobuf";
  return Enqueue(std::move(queue), std::move(type), payload.SerializeAsString(), std::move(options));
}

absl::Status TaskContext::EnqueueSpec(v1::TaskSpec spec) {
  MutexLock lock(shared_->mu);
  if (shared_->follow_ups == nullptr) shared_->follow_ups = std::make_shared<FollowUps>();
  return shared_->follow_ups->Add(std::move(spec));
}

struct Executor::Shared {
  using Key = std::pair<TaskId, uint64_t>;
  using Runs = std::vector<std::shared_ptr<TaskContext::Shared>>;

  Shared(int slots, std::map<std::string, RawHandler> handlers_in, std::shared_ptr<Observer> observer_in,
         std::map<std::string, Batch> batches_in)
      : handlers(std::move(handlers_in)),
        batches(std::move(batches_in)),
        observer(std::move(observer_in)),
        threads_max(slots),
        queue(OptionsOf(batches)),
        free_slots(slots) {}
  static std::map<std::string, BatchOptions> OptionsOf(const std::map<std::string, Batch>& batches) {
    std::map<std::string, BatchOptions> options;
    for (const auto& [type, batch] : batches) options[type] = batch.options;
    return options;
  }

  const std::map<std::string, RawHandler> handlers;
  const std::map<std::string, Batch> batches;
  const std::shared_ptr<Observer> observer;
  const int threads_max;

  Mutex mu;
  CondVar changed;  // there is work, or the end has come
  CondVar ended;    // a thread has ended
  RunQueue queue ABSL_GUARDED_BY(mu);
  // Of runs under way.
  absl::flat_hash_map<Key, std::shared_ptr<TaskContext::Shared>> running ABSL_GUARDED_BY(mu);
  int free_slots ABSL_GUARDED_BY(mu);
  int sleeping ABSL_GUARDED_BY(mu) = 0;
  bool waking ABSL_GUARDED_BY(mu) = false;  // a thread was called and has not come yet
  // When a sleeper wakes by itself, for a batch will be due then; infinite: none does.
  absl::Duration watched ABSL_GUARDED_BY(mu) = absl::InfiniteDuration();
  int threads ABSL_GUARDED_BY(mu) = 0;
  int busy ABSL_GUARDED_BY(mu) = 0;  // threads in a handler, or about to be
  bool stopping ABSL_GUARDED_BY(mu) = false;

  // `self` keeps this alive while the thread lives.
  void StartThread(const std::shared_ptr<Shared>& self) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  void Work(const std::shared_ptr<Shared>& self);
  // Waits for work; see Work.
  void Sleep() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  // Calls one more thread if there is work for it, or an earlier time to wait for than anybody does. One call at a
  // time: who comes calls the next, so that short tasks are not scattered over all threads, and long ones still reach
  // all of them. True: `changed` is to be signalled.
  bool CallOne(const std::shared_ptr<Shared>& self) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  // Runs `tasks` and says how each ended.
  void Run(std::vector<TaskDelivery>& tasks, Runs& runs, std::vector<Ended>* ended_runs);
  // Only batches need the time.
  absl::Duration Elapsed() const { return batches.empty() ? absl::ZeroDuration() : SystemClock().Read().elapsed; }
};

Executor::Executor(int slots, std::map<std::string, RawHandler> handlers, std::shared_ptr<Observer> observer,
                   std::map<std::string, Batch> batches)
    : shared_(std::make_shared<Shared>(slots, std::move(handlers), std::move(observer), std::move(batches))) {}

Executor::~Executor() { Stop(); }

void Executor::Submit(std::vector<TaskDelivery> tasks) {
  bool call;
  {
    MutexLock lock(shared_->mu);
    if (shared_->stopping) return;
    const absl::Duration now = shared_->Elapsed();
    for (TaskDelivery& task : tasks) shared_->queue.Add(std::move(task), now);
    call = shared_->CallOne(shared_);
  }
  if (call) shared_->changed.Signal();
}

void Executor::Cancel(TaskId task, uint64_t token, CancelReason reason) {
  std::shared_ptr<TaskContext::Shared> run;
  {
    MutexLock lock(shared_->mu);
    auto found = shared_->running.find({task, token});
    if (found == shared_->running.end()) return;
    run = found->second;
  }
  std::optional<std::stop_source> stop;
  {
    MutexLock lock(run->mu);
    if (run->reason != CancelReason::kNone) return;
    run->reason = reason;
    stop = run->stop;
  }
  run->changed.SignalAll();
  if (stop) stop->request_stop();  // calls the handler's callbacks
}

void Executor::Clear() {
  MutexLock lock(shared_->mu);
  shared_->queue.Clear();
}

void Executor::Stop() {
  {
    MutexLock lock(shared_->mu);
    shared_->stopping = true;
    shared_->queue.Clear();
  }
  shared_->changed.SignalAll();
  MutexLock lock(shared_->mu);
  while (shared_->threads > shared_->busy) shared_->ended.Wait(shared_->mu);
}

void Executor::Shared::StartThread(const std::shared_ptr<Shared>& self) {
  try {
    // Detached: a handler that never returns must not keep the process from ending. Stop waits for the others.
    std::thread([self] { self->Work(self); }).detach();
  } catch (const std::system_error& error) {
    // The machine has no more threads to give. Those that there are do the work, later.
    LogFor("worker").error("cannot start a thread for a handler threads={} reason=\"{}\"", threads, error.what());
    return;
  }
  ++threads;
  waking = true;
}

bool Executor::Shared::CallOne(const std::shared_ptr<Shared>& self) {
  if (waking || stopping || queue.empty() || free_slots <= 0) return false;
  const absl::Duration now = Elapsed();
  if (!queue.Ready(free_slots, now) && queue.NextDue(free_slots, now) >= watched) return false;
  if (sleeping > 0) return waking = true;
  if (threads < threads_max) StartThread(self);
  return false;
}

void Executor::Shared::Sleep() {
  const absl::Duration now = Elapsed();
  const absl::Duration due = queue.NextDue(free_slots, now);
  ++sleeping;
  if (due >= watched) {
    changed.Wait(mu);
  } else {
    watched = due;
    changed.WaitFor(mu, due - now);
    // Another may watch a later time; who calls the next does not know, and has one more look at most.
    if (watched == due) watched = absl::InfiniteDuration();
  }
  --sleeping;
  waking = false;
}

void Executor::Shared::Work(const std::shared_ptr<Shared>& self) {
  std::vector<Ended> done;  // and not told yet
  std::vector<TaskDelivery> next;
  Runs runs;
  bool is_new = true;
  while (true) {
    next.clear();
    runs.clear();
    bool call = false;
    {
      MutexLock lock(mu);
      if (std::exchange(is_new, false)) waking = false;
      if (!done.empty()) {
        --busy;
        free_slots += static_cast<int>(done.size());
        for (const Ended& run : done) running.erase({run.task, run.token});
      }
      while (true) {
        if (!stopping) queue.Take(free_slots, Elapsed(), &next);
        // What has ended is told before this thread sleeps.
        if (!next.empty() || !done.empty()) break;
        if (stopping) {
          --threads;
          ended.SignalAll();
          return;
        }
        Sleep();
      }
      if (!next.empty()) {
        ++busy;
        free_slots -= static_cast<int>(next.size());
        for (const TaskDelivery& task : next) {
          runs.push_back(std::make_shared<TaskContext::Shared>());
          running[{task.id, task.fencing_token}] = runs.back();
        }
      }
      call = CallOne(self);
    }
    if (call) changed.Signal();
    const std::vector<bool> start = observer->OnTurn(done, next);
    done.clear();
    if (next.empty()) continue;
    if (std::find(start.begin(), start.end(), false) != start.end()) {
      MutexLock lock(mu);
      size_t kept = 0;
      for (size_t i = 0; i < next.size(); ++i) {
        if (!start[i]) {
          ++free_slots;
          running.erase({next[i].id, next[i].fencing_token});
          continue;
        }
        if (kept != i) {
          next[kept] = std::move(next[i]);
          runs[kept] = std::move(runs[i]);
        }
        ++kept;
      }
      next.resize(kept);
      runs.resize(kept);
      if (kept == 0) {
        --busy;
        continue;
      }
      call = CallOne(self);  // slots came free
      if (call) changed.Signal();
    }
    Run(next, runs, &done);
  }
}

void Executor::Shared::Run(std::vector<TaskDelivery>& tasks, Runs& runs, std::vector<Ended>* ended_runs) {
  std::vector<TaskContext> contexts;
  contexts.reserve(tasks.size());
  for (size_t i = 0; i < tasks.size(); ++i) {
    const absl::Duration timeout = tasks[i].run_timeout;
    contexts.emplace_back(tasks[i], runs[i],
                          timeout > absl::ZeroDuration() ? absl::Now() + timeout : absl::InfiniteFuture(), *observer);
  }
  const std::string& type = tasks.front().type;
  std::vector<Outcome> outcomes;
  if (const auto batch = batches.find(type); batch != batches.end()) {
    std::vector<RawBatchTask> items;
    items.reserve(tasks.size());
    for (size_t i = 0; i < tasks.size(); ++i) items.push_back({contexts[i], tasks[i].payload});
    outcomes = RunBatch(batch->second.handler, items);
  } else if (const auto handler = handlers.find(type); handler != handlers.end()) {
    outcomes.push_back(RunHandler(handler->second, contexts.front(), tasks.front().payload));
  } else {
    outcomes.push_back(Outcome::Retry({"no handler", "this worker has no handler for " + type, ""}));
  }
  for (size_t i = 0; i < tasks.size(); ++i) {
    {
      MutexLock lock(runs[i]->mu);
      if (outcomes[i].kind() == Outcome::Kind::kDone) {
        outcomes[i].follow_ups_ = std::move(runs[i]->follow_ups);
      } else if (runs[i]->reason != CancelReason::kNone) {
        outcomes[i] = EndedEarly(runs[i]->reason);
      }
    }
    ended_runs->push_back({tasks[i].id, tasks[i].fencing_token, std::move(outcomes[i])});
  }
}

Outcome Executor::RunHandler(const RawHandler& handler, TaskContext& context, std::string_view payload) {
  try {
    return handler(context, payload);
  } catch (...) {
    return OutcomeOfThrown();
  }
}

}  // namespace penstock
