#include "tests/simulation/sim_clients.h"

#include <algorithm>
#include <utility>

#include "common/status_details.h"
#include "fmt/format.h"
#include "tests/simulation/sim_world.h"

namespace penstock::broker {
namespace {

using histcheck::Op;
using histcheck::Phase;

constexpr const char* kVerbNames[] = {"create", "update", "pause", "resume", "drain", "purge", "delete"};

uint64_t HashOf(std::string_view text) {
  uint64_t hash = 0;
  for (unsigned char c : text) hash = MixBits(hash ^ c);
  return hash;
}

}  // namespace

// --- producers ---

SimProducer::SimProducer(SimWorld& world, int index)
    : world_(world),
      loop_(world.loop()),
      random_(world.config().seed * 64 + 10 + static_cast<uint64_t>(index)),
      name_(fmt::format("p{}", index)),
      index_(index),
      pace_(std::max<Span>(world.config().span / 60, 5 * kMilli)) {}

void SimProducer::Later() {
  loop_.After(random_.About(pace_), [this] {
    if (world_.quiet()) return;
    Act();
    Later();
  });
}

void SimProducer::Act() {
  if (tasks_.empty() || random_.Below(10) < 7) {
    Enqueue();
  } else {
    AskAboutTask();
  }
}

void SimProducer::Enqueue() {
  auto attempt = std::make_shared<Attempt>();
  attempt->call = world_.NextNumber();
  attempt->since = loop_.now();
  EnqueueCommand& command = attempt->command;
  const Time now = world_.clock().latest();
  const int count = random_.OneIn(4) && world_.has(Feature::kBursts) ? static_cast<int>(random_.Between(10, 80))
                    : random_.OneIn(3)                               ? static_cast<int>(random_.Between(2, 5))
                                                                     : 1;
  auto specs = std::make_shared<std::deque<std::string>>();
  uint64_t hash = 0;
  static constexpr std::string_view kKeys[] = {"k1", "k2", "k3", "k4"};
  static constexpr std::string_view kDigits[] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};
  const std::string& queue = world_.queues()[random_.Below(1 + random_.Below(world_.queues().size()))];
  for (int i = 0; i < count; ++i) {
    NewTask task;
    task.queue = random_.OneIn(6) ? world_.queues()[random_.Below(world_.queues().size())] : queue;
    task.type = world_.types()[random_.Below(world_.types().size())];
    if (world_.has(Feature::kPriorities))
      task.priority = static_cast<uint8_t>(random_.OneIn(2) ? random_.Below(10) : 4 + random_.Below(3));
    const std::string payload = fmt::format("{}.{}", name_, ++made_);
    histcheck::Event& line = world_.Log(Op::kEnqueue, name_);
    line.call = static_cast<int64_t>(attempt->call);
    line.i = i;
    line.q = std::string(task.queue);
    line.type = std::string(task.type);
    line.priority = task.priority;
    line.payload = payload;
    if (world_.has(Feature::kDelays) && random_.OneIn(4)) {
      if (random_.OneIn(2)) {
        task.delay = line.delay = static_cast<Span>(random_.Below(30'000)) * kMilli;
      } else {
        task.run_at = line.run_at = now + static_cast<Span>(random_.Below(60'000)) * kMilli;
      }
    }
    if (world_.has(Feature::kExpiry) && random_.OneIn(4)) {
      task.expire_at = line.expire_at = now + static_cast<Span>(random_.Below(40'000)) * kMilli;
    }
    if (world_.has(Feature::kLives) && random_.OneIn(3)) {
      task.life_timeout = line.life = static_cast<Span>(1 + random_.Below(60'000)) * kMilli;
    }
    if (world_.has(Feature::kUniqueKeys) && random_.OneIn(3)) {
      task.unique_key = kKeys[random_.Below(4)];
      line.unique = std::string(task.unique_key);
      if (random_.OneIn(3)) task.unique_window = line.window = static_cast<Span>(1 + random_.Below(60'000)) * kMilli;
    }
    if (world_.has(Feature::kFifoKeys) && random_.OneIn(2)) {
      static constexpr std::string_view kFifoKeys[] = {"f1", "f2", "f3"};
      task.key = kFifoKeys[random_.Below(3)];
      line.key = std::string(task.key);
    }
    if (world_.has(Feature::kGroups) && random_.OneIn(2)) task.group = random_.OneIn(2) ? "g1" : "g2";
    if (world_.has(Feature::kPolicies) && random_.OneIn(4)) {
      task.retry_policy = RetryPolicy{.max_attempts = static_cast<uint32_t>(random_.Between(1, 4)),
                                      .initial_backoff = static_cast<Span>(random_.Below(3)) * kSecond,
                                      .multiplier = 2,
                                      .max_backoff = 20 * kSecond,
                                      .jitter = random_.OneIn(2) ? 1.0 : 0.0};
      line.max_attempts = task.retry_policy->max_attempts;
      line.backoff = task.retry_policy->jitter == 0 ? task.retry_policy->initial_backoff : 0;
    }
    if (world_.has(Feature::kShortRetention) && random_.OneIn(4)) task.result_retention = random_.Below(10) * kSecond;
    const size_t padding =
        world_.has(Feature::kLargeTasks) && random_.OneIn(8) ? 600 + random_.Below(3'000) : random_.Below(40);
    specs->push_back(fmt::format("{}|{}|{}|{}|", payload, task.queue, task.type, kDigits[task.priority]));
    specs->back().append(padding, '.');
    task.spec = specs->back();
    hash ^= HashOf(task.spec);
    attempt->bytes += task.spec.size() + 100;
    command.tasks.push_back(task);
  }
  command.keepalive = specs;
  if (world_.has(Feature::kRequestIds) || random_.OneIn(2)) {
    if (!last_request_.empty() && random_.OneIn(40)) {
      command.request_id = std::exchange(last_request_, {});  // a careless client
    } else {
      command.request_id = {static_cast<uint64_t>(index_) + 1, next_request_++};
    }
    command.content_hash = hash | 1;
  }
  ++open_;
  Try(std::move(attempt));
}

void SimProducer::Try(std::shared_ptr<Attempt> attempt) {
  ++attempt->tries;
  EnqueueCommand command = attempt->command;
  const Span timeout = random_.OneIn(3) ? random_.Between(10, 500) * kMilli : random_.Between(1, 8) * kSecond;
  world_.Call(std::move(command), attempt->bytes, timeout,
              [this, attempt](const absl::Status& status, const Reply* reply) { Hear(attempt, status, reply); });
}

void SimProducer::Hear(const std::shared_ptr<Attempt>& attempt, const absl::Status& status, const Reply* reply) {
  auto answer = [&](Phase phase) -> histcheck::Event& {
    histcheck::Event& line = world_.Log(Op::kEnqueued, name_);
    line.call = static_cast<int64_t>(attempt->call);
    line.phase = phase;
    return line;
  };
  if (status.ok()) {
    const auto& results = std::get<EnqueueReply>(reply->value).results;
    for (size_t i = 0; i < results.size(); ++i) {
      histcheck::Event& line = answer(Phase::kOk);
      line.i = static_cast<int64_t>(i);
      line.task = results[i].task.value();
      line.dup = results[i].duplicate;
      world_.Cover(results[i].duplicate ? Point::kEnqueueDuplicate : Point::kEnqueueOk);
      if (tasks_.size() < 300) tasks_.push_back(results[i].task);
      if (!results[i].duplicate && world_.has(Feature::kWatches) && random_.OneIn(2))
        world_.Watch(results[i].task, random_.OneIn(4));
    }
    if (attempt->tries > 1) world_.Cover(Point::kEnqueueRepeated);
    if (!attempt->command.request_id.empty()) last_request_ = attempt->command.request_id;
    --open_;
    return;
  }
  const bool unknown = PhaseOf(status) == Phase::kUnknown;
  attempt->unsure = attempt->unsure || unknown;
  const bool busy = IsMailboxFull(status);
  const bool may_repeat =
      !attempt->command.request_id.empty() && attempt->tries < 8 && loop_.now() - attempt->since < 40 * kSecond;
  if ((unknown || busy) && may_repeat) {
    loop_.After(random_.About(100 * kMilli), [this, attempt] { Try(attempt); });
    return;
  }
  if (absl::IsFailedPrecondition(status)) world_.Cover(Point::kEnqueueDraining);
  if (absl::IsResourceExhausted(status) && !busy) world_.Cover(Point::kEnqueueLimit);
  if (absl::IsInvalidArgument(status)) world_.Cover(Point::kEnqueueReused);
  if (attempt->unsure) world_.Cover(Point::kEnqueueUnknown);
  answer(attempt->unsure ? Phase::kUnknown : Phase::kFail);
  --open_;
}

void SimProducer::AskAboutTask() {
  const TaskId task =
      random_.OneIn(30) ? TaskId(0, 999'999, 3)
                        : tasks_[tasks_.size() - 1 -
                                 random_.Below(random_.OneIn(2) ? std::min<size_t>(tasks_.size(), 8) : tasks_.size())];
  const bool cancel = random_.OneIn(2);
  if (!world_.has(cancel ? Feature::kCancels : Feature::kRetries)) return;
  const uint64_t call = world_.NextNumber();
  histcheck::Event& line = world_.Log(Op::kAsk, name_);
  line.call = static_cast<int64_t>(call);
  line.kind = cancel ? "cancel" : "retry";
  line.task = task.value();
  Command command;
  if (cancel) {
    command = CancelTaskCommand{Ticket(), task, random_.OneIn(2) ? "why not" : ""};
  } else {
    command = RetryTaskCommand{Ticket(), task};
  }
  ++open_;
  world_.Call(std::move(command), 100, 5 * kSecond,
              [this, call, cancel](const absl::Status& status, const Reply* reply) {
                --open_;
                histcheck::Event& told = world_.Log(Op::kTold, name_);
                told.call = static_cast<int64_t>(call);
                told.phase = PhaseOf(status);
                if (status.ok() && cancel) {
                  const bool running = std::get<CancelReply>(reply->value).state == State::kRunning;
                  told.state = running ? "running" : "cancelled";
                  world_.Cover(running ? Point::kCancelRunning : Point::kCancelWaiting);
                } else if (status.ok()) {
                  world_.Cover(Point::kRetryOk);
                } else if (absl::IsFailedPrecondition(status)) {
                  world_.Cover(cancel ? Point::kCancelFinished : Point::kRetryRefused);
                } else if (absl::IsNotFound(status)) {
                  world_.Cover(cancel ? Point::kCancelNotFound : Point::kRetryNotFound);
                }
              });
}

// --- the operator ---

SimOperator::SimOperator(SimWorld& world) : world_(world), loop_(world.loop()), random_(world.config().seed * 64 + 9) {}

void SimOperator::Start() {
  if (world_.has(Feature::kRelaxed)) {
    for (const std::string& queue : world_.queues()) {
      if (random_.OneIn(2)) continue;
      histcheck::Event& line = world_.Log(Op::kQueue);
      line.q = queue;
      line.relaxed = true;
      QueueCommand command;
      command.verb = QueueVerb::kCreate;
      command.queue = queue;
      command.settings.relaxed = true;
      Change(std::move(command), [](const absl::Status&) {});
    }
  }
  Later();
}

void SimOperator::Later() {
  loop_.After(random_.About(world_.config().span / 30 + 1), [this] {
    if (world_.quiet()) return;
    Act();
    Later();
  });
}

void SimOperator::Act() {
  switch (random_.Below(4)) {
    case 0:
    case 1:
      return ChangeQueue();
    case 2:
      if (world_.has(Feature::kDead)) ChangeDead();
      return;
    default:
      if (world_.has(Feature::kQueries)) Look();
  }
}

void SimOperator::Change(QueueCommand command, std::function<void(const absl::Status&)> done) {
  const uint64_t call = world_.NextNumber();
  const QueueVerb verb = command.verb;
  histcheck::Event& line = world_.Log(Op::kAsk, "operator");
  line.call = static_cast<int64_t>(call);
  line.kind = kVerbNames[static_cast<size_t>(verb)];
  line.q = command.queue;
  world_.Call(std::move(command), 100, 5 * kSecond,
              [this, call, verb, done = std::move(done)](const absl::Status& status, const Reply* reply) {
                histcheck::Event& told = world_.Log(Op::kTold, "operator");
                told.call = static_cast<int64_t>(call);
                told.phase = PhaseOf(status);
                if (status.ok()) {
                  if (verb != QueueVerb::kDelete)
                    told.n = static_cast<int64_t>(std::get<QueueReply>(reply->value).purged);
                  static constexpr Point kDone[] = {Point::kQueueCreated, Point::kQueueUpdated, Point::kQueuePaused,
                                                    Point::kQueueResumed, Point::kQueueDrained, Point::kQueuePurged,
                                                    Point::kQueueDeleted};
                  if (verb != QueueVerb::kPurge || told.n > 0) world_.Cover(kDone[static_cast<size_t>(verb)]);
                } else if (absl::IsAlreadyExists(status)) {
                  world_.Cover(Point::kQueueExists);
                } else if (absl::IsNotFound(status)) {
                  world_.Cover(Point::kQueueNotFound);
                } else if (absl::IsFailedPrecondition(status)) {
                  world_.Cover(Point::kQueueBusy);
                } else if (absl::IsResourceExhausted(status) && LimitOf(status) == "limits.queues") {
                  world_.Cover(Point::kQueueLimit);
                }
                done(status);
              });
}

void SimOperator::ChangeQueue() {
  QueueCommand command;
  command.queue = world_.queues()[random_.Below(world_.queues().size())];
  switch (random_.Below(12)) {
    case 0:
      if (!world_.has(Feature::kPurges)) return;
      command.verb = QueueVerb::kPurge;
      break;
    case 1:
      if (!world_.has(Feature::kDeletes)) return;
      command.verb = QueueVerb::kDelete;
      command.force = !random_.OneIn(3);
      break;
    case 2:
    case 3:
      if (!world_.has(Feature::kPauses)) return;
      command.verb = QueueVerb::kPause;
      break;
    case 4:
      if (!world_.has(Feature::kQueueDrains)) return;
      command.verb = QueueVerb::kDrain;
      break;
    case 5:
      command.verb = QueueVerb::kCreate;
      break;
    case 6:
      if (!world_.has(Feature::kPolicies)) return;
      command.verb = QueueVerb::kUpdate;
      command.settings.run_timeout = kMinute;
      break;
    default:
      command.verb = QueueVerb::kResume;
  }
  Change(std::move(command), [](const absl::Status&) {});
}

void SimOperator::ChangeDead() {
  DeadTasksCommand command;
  command.queue = world_.queues()[random_.Below(world_.queues().size())];
  command.verb = random_.OneIn(4) ? DeadVerb::kPurge : DeadVerb::kRedrive;
  if (random_.OneIn(4)) command.type = world_.types()[random_.Below(world_.types().size())];
  command.limit = static_cast<uint32_t>(1 + random_.Below(6));
  const bool redrive = command.verb == DeadVerb::kRedrive;
  const uint64_t call = world_.NextNumber();
  histcheck::Event& line = world_.Log(Op::kAsk, "operator");
  line.call = static_cast<int64_t>(call);
  line.kind = redrive ? "redrive" : "purge_dead";
  line.q = command.queue;
  world_.Call(std::move(command), 100, 5 * kSecond,
              [this, call, redrive](const absl::Status& status, const Reply* reply) {
                histcheck::Event& told = world_.Log(Op::kTold, "operator");
                told.call = static_cast<int64_t>(call);
                told.phase = PhaseOf(status);
                if (!status.ok()) return;
                told.n = static_cast<int64_t>(std::get<DeadTasksReply>(reply->value).changed);
                if (told.n > 0) world_.Cover(redrive ? Point::kRedriven : Point::kDeadPurged);
              });
}

void SimOperator::Look() {
  const std::string& queue = world_.queues()[random_.Below(world_.queues().size())];
  switch (random_.Below(4)) {
    case 0: {
      ListLanesCommand command;
      command.queue = queue;
      command.max_runs = static_cast<uint32_t>(1 + random_.Below(4));
      world_.Call(std::move(command), 100, 5 * kSecond, [this](const absl::Status& status, const Reply* reply) {
        if (!status.ok()) return;
        const auto& lanes = std::get<LanesReply>(reply->value);
        if (!lanes.lanes.empty()) world_.Cover(Point::kListedLanes);
        if (lanes.more) world_.Cover(Point::kListedMore);
      });
      break;
    }
    case 1: {
      ListRunningCommand command;
      command.queue = queue;
      world_.Call(std::move(command), 100, 5 * kSecond, [this](const absl::Status& status, const Reply* reply) {
        if (status.ok() && !std::get<RunningReply>(reply->value).tasks.empty()) world_.Cover(Point::kListedRunning);
      });
      break;
    }
    case 2: {
      DrainWorkerCommand command;
      command.worker = fmt::format("w{}", random_.Below(4));
      if (!world_.has(Feature::kDrains)) command.worker = "nobody";
      world_.Call(std::move(command), 100, 5 * kSecond, [this](const absl::Status& status, const Reply*) {
        if (status.ok()) world_.Cover(Point::kWorkerDrained);
        if (absl::IsNotFound(status)) world_.Cover(Point::kWorkerNotFound);
        if (absl::IsFailedPrecondition(status)) world_.Cover(Point::kWorkerAmbiguous);
      });
      break;
    }
    default:
      world_.Call(StatusCommand(), 100, 5 * kSecond, [](const absl::Status&, const Reply*) {});
  }
}

void SimOperator::ResumeAll(std::function<void()> done) {
  auto left = std::make_shared<size_t>(world_.queues().size());
  auto all = std::make_shared<std::function<void()>>(std::move(done));
  // Asks for one queue until it has a sure answer.
  struct Resume {
    static void One(SimOperator* self, const std::string& queue, std::shared_ptr<size_t> waits,
                    std::shared_ptr<std::function<void()>> finished) {
      QueueCommand command;
      command.verb = QueueVerb::kResume;
      command.queue = queue;
      self->Change(std::move(command), [self, queue, waits, finished](const absl::Status& status) {
        if (!status.ok() && !absl::IsNotFound(status)) {
          self->loop_.After(kSecond, [self, queue, waits, finished] { One(self, queue, waits, finished); });
        } else if (--*waits == 0) {
          (*finished)();
        }
      });
    }
  };
  for (const std::string& queue : world_.queues()) Resume::One(this, queue, left, all);
}

}  // namespace penstock::broker
