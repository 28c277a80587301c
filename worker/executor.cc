#include "worker/executor.h"

#include <cxxabi.h>

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <exception>
#include <optional>
#include <thread>
#include <typeinfo>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/time/clock.h"
#include "common/mutex.h"

namespace penstock {

struct TaskContext::Shared {
  mutable Mutex mu;
  mutable CondVar changed;
  CancelReason reason ABSL_GUARDED_BY(mu) = CancelReason::kNone;
  std::optional<std::stop_source> stop ABSL_GUARDED_BY(mu);  // once it was asked for: most handlers never do
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

namespace {

std::string Demangle(const char* name) {
  int status = 0;
  char* text = abi::__cxa_demangle(name, nullptr, nullptr, &status);
  std::string result = status == 0 ? text : name;
  std::free(text);
  return result;
}

}  // namespace

struct Executor::Shared {
  using Key = std::pair<TaskId, uint64_t>;

  std::map<std::string, RawHandler> handlers;
  std::shared_ptr<Observer> observer;

  Mutex mu;
  CondVar changed;  // there is work, or the end has come
  CondVar ended;    // a thread has ended
  std::deque<TaskDelivery> waiting ABSL_GUARDED_BY(mu);
  // Of runs under way.
  absl::flat_hash_map<Key, std::shared_ptr<TaskContext::Shared>> running ABSL_GUARDED_BY(mu);
  int sleeping ABSL_GUARDED_BY(mu) = 0;
  bool waking ABSL_GUARDED_BY(mu) = false;  // a sleeper was called and has not come yet
  int threads ABSL_GUARDED_BY(mu) = 0;
  bool stopping ABSL_GUARDED_BY(mu) = false;

  void Work();
  // Calls one sleeper if there is work for it. One call at a time: who comes calls the next, so that short tasks are
  // not scattered over all threads, and long ones still reach all of them.
  bool CallOne() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    if (waiting.empty() || sleeping == 0 || waking) return false;
    return waking = true;
  }
};

Executor::Executor(int threads, std::map<std::string, RawHandler> handlers, std::shared_ptr<Observer> observer)
    : shared_(std::make_shared<Shared>()) {
  shared_->handlers = std::move(handlers);
  shared_->observer = std::move(observer);
  MutexLock lock(shared_->mu);
  shared_->threads = threads;
  for (int i = 0; i < threads; ++i) {
    // Detached: a handler that never returns must not keep the process from ending. Stop waits for the others.
    std::thread([shared = shared_] { shared->Work(); }).detach();
  }
}

Executor::~Executor() { Stop(); }

void Executor::Submit(std::vector<TaskDelivery> tasks) {
  bool call;
  {
    MutexLock lock(shared_->mu);
    if (shared_->stopping) return;
    for (TaskDelivery& task : tasks) shared_->waiting.push_back(std::move(task));
    call = shared_->CallOne();
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
  shared_->waiting.clear();
}

void Executor::Stop() {
  {
    MutexLock lock(shared_->mu);
    shared_->stopping = true;
    shared_->waiting.clear();
  }
  shared_->changed.SignalAll();
  MutexLock lock(shared_->mu);
  while (shared_->threads > static_cast<int>(shared_->running.size())) shared_->ended.Wait(shared_->mu);
}

void Executor::Shared::Work() {
  std::optional<Ended> done;
  while (true) {
    TaskDelivery task;
    std::shared_ptr<TaskContext::Shared> run;
    bool call = false;
    {
      MutexLock lock(mu);
      if (done) running.erase({done->task, done->token});
      // What has ended is told before this thread sleeps.
      while (!done && waiting.empty() && !stopping) {
        ++sleeping;
        changed.Wait(mu);
        --sleeping;
        waking = false;
      }
      if (!done && stopping) {
        --threads;
        ended.SignalAll();
        return;
      }
      if (!waiting.empty()) {
        task = std::move(waiting.front());
        waiting.pop_front();
        run = std::make_shared<TaskContext::Shared>();
        running[{task.id, task.fencing_token}] = run;
        call = CallOne();
      }
    }
    if (call) changed.Signal();
    const bool start = observer->OnTurn(done ? &*done : nullptr, run ? &task : nullptr);
    done.reset();
    if (!run) continue;
    if (!start) {
      MutexLock lock(mu);
      running.erase({task.id, task.fencing_token});
      continue;
    }
    const absl::Time deadline =
        task.run_timeout > absl::ZeroDuration() ? absl::Now() + task.run_timeout : absl::InfiniteFuture();
    TaskContext context(task, std::move(run), deadline, *observer);
    auto handler = handlers.find(task.type);
    done = Ended{task.id, task.fencing_token,
                 handler != handlers.end()
                     ? RunHandler(handler->second, context, task.payload)
                     : Outcome::Retry({"no handler", "this worker has no handler for " + task.type, ""})};
  }
}

Outcome Executor::RunHandler(const RawHandler& handler, TaskContext& context, std::string_view payload) {
  try {
    return handler(context, payload);
  } catch (const std::exception& error) {
    return Outcome::Retry({Demangle(typeid(error).name()), error.what(), ""});
  } catch (...) {
    const std::type_info* type = abi::__cxa_current_exception_type();
    return Outcome::Retry({type != nullptr ? Demangle(type->name()) : "unknown exception",
                           "the handler threw something that is no std::exception", ""});
  }
}

}  // namespace penstock
