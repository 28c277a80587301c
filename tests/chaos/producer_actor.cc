#include "tests/chaos/producer_actor.h"

#include <utility>

#include "absl/time/time.h"
#include "common/status.h"
#include "fmt/format.h"

namespace penstock::chaos {
namespace {

using histcheck::Event;
using histcheck::Op;
using histcheck::Phase;

constexpr int kOpenMost = 40;  // calls
constexpr size_t kRemembered = 64;
// How much the broker's wall clock may gain on elapsed time while somebody waits: clocks are adjusted.
constexpr int64_t kAdjusted = 5'000;
constexpr absl::Duration kTimeout = absl::Seconds(40);

absl::Duration Micros(int64_t micros) { return absl::Microseconds(micros); }

// A refusal is one only if nothing was stored for certain.
Phase PhaseOf(const absl::Status& status) {
  if (status.ok()) return Phase::kOk;
  const bool unknown = absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status) || absl::IsCancelled(status) ||
                       status.message().find("unknown") != absl::string_view::npos;
  return unknown ? Phase::kUnknown : Phase::kFail;
}

}  // namespace

ProducerActor::ProducerActor(const ProducerOptions& options, Recorder& recorder)
    : options_(options), recorder_(recorder), random_(options.seed), next_call_(options.calls_from) {}

void ProducerActor::Stop() {
  MutexLock lock(mu_);
  stopping_ = true;
  changed_.SignalAll();
}

absl::Status ProducerActor::Run() {
  ClientOptions options;
  options.broker = options_.broker;
  options.timeout = kTimeout;
  options.reconnect_max = absl::Milliseconds(200);
  ASSIGN_OR_RETURN(client_, Client::Connect(options));
  if (options_.lie) Lie();
  while (true) {
    TaskId ask_about;
    {
      MutexLock lock(mu_);
      const absl::Duration pause = absl::Seconds(2.0 / options_.calls_per_second) * (Below(1'000) / 1'000.0);
      if (!stopping_) changed_.WaitFor(mu_, pause);
      while (open_ >= kOpenMost && !stopping_) changed_.Wait(mu_);
      if (stopping_) break;
      if (!tasks_.empty() && OneIn(12)) ask_about = tasks_[random_() % tasks_.size()];
    }
    if (ask_about.empty()) {
      Enqueue();
    } else {
      AskAbout(ask_about);
    }
  }
  {
    MutexLock lock(mu_);
    while (open_ > 0) changed_.Wait(mu_);
  }
  client_.reset();
  return absl::OkStatus();
}

NewTask ProducerActor::MakeTask(Event* line) {
  static constexpr const char* kQueues[] = {kPlainQueue, kPlainQueue, kRelaxedQueue, kOrderedQueue, kNarrowQueue};
  NewTask task;
  EnqueueOptions& options = task.options;
  task.queue = line->q = kQueues[Below(5)];
  task.type = line->type = kTypes[Below(2)];
  task.payload = line->payload = fmt::format("{}.{}", options_.name, ++made_);
  if (task.queue == kOrderedQueue) {
    options.key = line->key = fmt::format("k{}", Below(6));
    if (OneIn(2)) options.group = OneIn(2) ? "g1" : "g2";
  } else {
    if (OneIn(2)) options.priority = static_cast<int>(line->priority = Below(10));
    if (OneIn(6)) {
      const int64_t delay = 1'000 * (10 + Below(2'500));
      options.delay = Micros(delay);
      line->delay = delay - kAdjusted;
    } else if (OneIn(12)) {
      const int64_t run_at = recorder_.Now() + 1'000 * (10 + Below(2'500));
      options.run_at = absl::FromUnixMicros(run_at);
      line->run_at = run_at - kAdjusted;
    }
    if (OneIn(12)) {
      line->expire_at = recorder_.Now() + 1'000 * (500 + Below(4'000));
      options.expire_at = absl::FromUnixMicros(line->expire_at);
    }
    if (OneIn(6)) {
      options.unique_key = line->unique = fmt::format("u{}", Below(10));
      if (OneIn(3)) {
        line->window = 1'000 * (1 + Below(6'000));
        options.unique_window = Micros(line->window);
      }
    }
  }
  if (task.queue == kNarrowQueue) line->limits = kThrottle;
  // Short waits everywhere, so that a round comes to its end.
  options.max_attempts = static_cast<int>(line->max_attempts = 1 + Below(4));
  const int64_t backoff = 1'000 * (10 + Below(800));
  options.initial_backoff = Micros(backoff);
  line->backoff = backoff - kAdjusted;
  options.backoff_multiplier = 1 + Below(2);
  options.max_backoff = absl::Seconds(2);
  options.backoff_jitter = 0;
  return task;
}

void ProducerActor::Enqueue() {
  const int64_t call = ++next_call_;
  const int count = OneIn(6) ? 2 + Below(8) : 1;
  std::vector<NewTask> tasks;
  for (int i = 0; i < count; ++i) {
    Event line = LineOf(Op::kEnqueue, options_.name);
    line.call = call;
    line.i = i;
    tasks.push_back(MakeTask(&line));
    recorder_.Write(line);
  }
  {
    MutexLock lock(mu_);
    ++open_;
  }
  if (count == 1) {
    client_->EnqueueAsync(std::move(tasks[0]), [this, call](absl::StatusOr<EnqueueResult> result) {
      if (result.ok()) return Answered(call, std::vector<EnqueueResult>{*result});
      Answered(call, result.status());
    });
  } else {
    client_->EnqueueManyAsync(std::move(tasks), [this, call](absl::StatusOr<std::vector<EnqueueResult>> results) {
      Answered(call, results);
    });
  }
}

void ProducerActor::Answered(int64_t call, const absl::StatusOr<std::vector<EnqueueResult>>& results) {
  Event line = LineOf(Op::kEnqueued, options_.name);
  line.call = call;
  line.phase = PhaseOf(results.status());
  if (!results.ok()) recorder_.Write(line);
  for (size_t i = 0; results.ok() && i < results->size(); ++i) {
    const EnqueueResult& result = (*results)[i];
    line.i = static_cast<int64_t>(i);
    line.task = result.id.value();
    line.dup = result.duplicate;
    recorder_.Write(line);
    if (result.id.value() % 5 != 0) continue;
    // Told of its end: that is then what it stays.
    client_->WaitAsync(result.id, absl::Seconds(20), [this, id = result.id](absl::StatusOr<TaskInfo> task) {
      if (!task.ok() || !task->finished()) return;
      Event seen = LineOf(Op::kSeen, options_.name);
      seen.task = id.value();
      seen.state = ToString(task->state);
      recorder_.Write(seen);
    });
  }
  MutexLock lock(mu_);
  if (results.ok()) {
    for (const EnqueueResult& result : *results) {
      if (tasks_.size() < kRemembered) {
        tasks_.push_back(result.id);
      } else {
        tasks_[result.id.value() % kRemembered] = result.id;
      }
    }
  }
  --open_;
  changed_.SignalAll();
}

void ProducerActor::AskAbout(TaskId task) {
  Event line = LineOf(Op::kAsk, options_.name);
  line.call = ++next_call_;
  line.task = task.value();
  line.kind = OneIn(2) ? "cancel" : "retry";
  recorder_.Write(line);
  Event told = LineOf(Op::kTold, options_.name);
  told.call = line.call;
  // The client repeats what got no answer: then a refusal may mean that it was heard before.
  told.phase = Phase::kUnknown;
  if (line.kind == "cancel") {
    const absl::StatusOr<bool> cancelled = client_->CancelTask(task);
    if (cancelled.ok()) {
      told.phase = Phase::kOk;
      told.state = *cancelled ? "cancelled" : "running";
    }
  } else if (client_->RetryTask(task).ok()) {
    told.phase = Phase::kOk;
  }
  recorder_.Write(told);
}

void ProducerActor::Lie() {
  Event line = LineOf(Op::kEnqueue, options_.name);
  line.call = ++next_call_;
  line.q = kPlainQueue;
  line.type = kTypes[0];
  line.payload = options_.name + ".lie";
  recorder_.Write(line);
  Event answer = LineOf(Op::kEnqueued, options_.name);
  answer.call = line.call;
  answer.phase = Phase::kOk;
  answer.task = TaskId(0, 4'000'000'000, 1).value();
  recorder_.Write(answer);
}

}  // namespace penstock::chaos
