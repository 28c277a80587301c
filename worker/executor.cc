#include "worker/executor.h"

#include <cxxabi.h>

#include <cstdlib>
#include <deque>
#include <exception>
#include <thread>
#include <typeinfo>
#include <utility>

#include "absl/time/clock.h"

namespace penstock {

struct TaskContext::Shared {
  mutable Mutex mu;
  mutable CondVar changed;
  CancelReason reason ABSL_GUARDED_BY(mu) = CancelReason::kNone;
};

TaskContext::TaskContext(const TaskDelivery& task, std::shared_ptr<Shared> shared, absl::Time deadline, Sink& sink)
    : task_(task), shared_(std::move(shared)), deadline_(deadline), sink_(sink) {}

CancelReason TaskContext::cancel_reason() const {
  MutexLock lock(shared_->mu);
  return shared_->reason;
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
  std::map<std::string, RawHandler> handlers;
  std::shared_ptr<Observer> observer;

  Mutex mu;
  CondVar changed;
  std::deque<TaskDelivery> waiting ABSL_GUARDED_BY(mu);
  // Of tasks that run.
  absl::flat_hash_map<TaskId, std::shared_ptr<TaskContext::Shared>> running ABSL_GUARDED_BY(mu);
  int sleeping ABSL_GUARDED_BY(mu) = 0;
  int threads ABSL_GUARDED_BY(mu) = 0;
  bool stopping ABSL_GUARDED_BY(mu) = false;

  void Work();
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
  int wake;
  {
    MutexLock lock(shared_->mu);
    for (TaskDelivery& task : tasks) shared_->waiting.push_back(std::move(task));
    wake = std::min(shared_->sleeping, static_cast<int>(tasks.size()));
  }
  for (int i = 0; i < wake; ++i) shared_->changed.Signal();
}

void Executor::Cancel(TaskId task, CancelReason reason) {
  std::shared_ptr<TaskContext::Shared> run;
  {
    MutexLock lock(shared_->mu);
    auto found = shared_->running.find(task);
    if (found == shared_->running.end()) return;
    run = found->second;
  }
  {
    MutexLock lock(run->mu);
    if (run->reason == CancelReason::kNone) run->reason = reason;
  }
  run->changed.SignalAll();
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
  while (shared_->threads > static_cast<int>(shared_->running.size())) shared_->changed.Wait(shared_->mu);
}

void Executor::Shared::Work() {
  while (true) {
    TaskDelivery task;
    auto run = std::make_shared<TaskContext::Shared>();
    {
      MutexLock lock(mu);
      while (waiting.empty() && !stopping) {
        ++sleeping;
        changed.Wait(mu);
        --sleeping;
      }
      if (stopping) {
        --threads;
        changed.SignalAll();
        return;
      }
      task = std::move(waiting.front());
      waiting.pop_front();
      running[task.id] = run;
    }
    if (observer->OnStart(task.id, task.fencing_token)) {
      const absl::Time deadline =
          task.run_timeout > absl::ZeroDuration() ? absl::Now() + task.run_timeout : absl::InfiniteFuture();
      TaskContext context(task, run, deadline, *observer);
      Outcome outcome = RunHandler(handlers.at(task.type), context, task.payload);
      observer->OnFinish(task.id, task.fencing_token, std::move(outcome));
    }
    MutexLock lock(mu);
    auto found = running.find(task.id);
    if (found != running.end() && found->second == run) running.erase(found);
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
