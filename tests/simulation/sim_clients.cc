#include "tests/simulation/sim_clients.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "common/status_details.h"
#include "fmt/format.h"
#include "fmt/ranges.h"
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
      pace_(std::max<Span>(world.config().span / 60, 5 * kMilli)),
      maker_(world, random_, name_) {}

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
  const int count = random_.OneIn(4) && world_.has(Feature::kBursts) ? static_cast<int>(random_.Between(10, 80))
                    : random_.OneIn(3)                               ? static_cast<int>(random_.Between(2, 5))
                                                                     : 1;
  auto specs = std::make_shared<std::deque<std::string>>();
  uint64_t hash = 0;
  const std::string& queue = world_.queues()[random_.Below(1 + random_.Below(world_.queues().size()))];
  for (int i = 0; i < count; ++i) {
    histcheck::Event& line = world_.Log(Op::kEnqueue, name_);
    line.call = static_cast<int64_t>(attempt->call);
    line.i = i;
    command.tasks.push_back(maker_.Make(queue, nullptr, &line, specs.get()));
    hash ^= HashOf(command.tasks.back().spec);
    attempt->bytes += command.tasks.back().spec.size() + 100;
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
      line.replaced = results[i].replaced;
      const NewTask& asked = attempt->command.tasks[i];
      world_.Cover(results[i].duplicate ? Point::kEnqueueDuplicate : Point::kEnqueueOk);
      if (results[i].replaced) {
        world_.Cover(asked.unique_conflict == UniqueConflict::kReplace ? Point::kEnqueueReplaced
                                                                       : Point::kEnqueueDebounced);
      } else if (!results[i].duplicate && world_.has(Feature::kUpdates) && known_.size() < 300) {
        // Names, not bytes of the request: they live as long as the world.
        const auto& queues = world_.queues();
        const auto queue = static_cast<size_t>(std::find(queues.begin(), queues.end(), asked.queue) - queues.begin());
        known_.push_back({results[i].task, queue, asked.type, asked.key});
      }
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
  if (absl::IsResourceExhausted(status) && !busy) {
    const std::string limit = LimitOf(status);
    world_.Cover(limit == "max_waiting"         ? Point::kEnqueueFull
                 : limit == "max_waiting_bytes" ? Point::kEnqueueFullBytes
                                                : Point::kEnqueueLimit);
  }
  if (absl::IsInvalidArgument(status)) world_.Cover(Point::kEnqueueReused);
  if (attempt->unsure) world_.Cover(Point::kEnqueueUnknown);
  answer(attempt->unsure ? Phase::kUnknown : Phase::kFail);
  --open_;
}

void SimProducer::AskAboutTask() {
  if (world_.has(Feature::kUpdates) && !known_.empty() && random_.OneIn(2)) return UpdateTask();
  const TaskId task =
      random_.OneIn(30) ? TaskId(0, 999'999, 3)
                        : tasks_[tasks_.size() - 1 -
                                 random_.Below(random_.OneIn(2) ? std::min<size_t>(tasks_.size(), 8) : tasks_.size())];
  if (world_.has(Feature::kTaskDeletes) && random_.OneIn(4)) return DeleteTask(task);
  const bool cancel = random_.OneIn(2);
  if (world_.has(cancel ? Feature::kCancels : Feature::kRetries)) CancelOrRetry(task, cancel);
}

void SimProducer::Ask(Command command, size_t bytes, uint64_t call,
                      std::function<void(const absl::Status&, const Reply*, histcheck::Event*)> heard) {
  ++open_;
  world_.Call(std::move(command), bytes, 5 * kSecond,
              [this, call, heard = std::move(heard)](const absl::Status& status, const Reply* reply) {
                --open_;
                histcheck::Event& told = world_.Log(Op::kTold, name_);
                told.call = static_cast<int64_t>(call);
                told.phase = PhaseOf(status);
                heard(status, reply, &told);
              });
}

void SimProducer::CancelOrRetry(TaskId task, bool cancel) {
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
  Ask(std::move(command), 100, call,
      [this, cancel](const absl::Status& status, const Reply* reply, histcheck::Event* told) {
        if (status.ok() && cancel) {
          const bool running = std::get<CancelReply>(reply->value).state == State::kRunning;
          told->state = running ? "running" : "cancelled";
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

void SimProducer::DeleteTask(TaskId task) {
  const uint64_t call = world_.NextNumber();
  histcheck::Event& line = world_.Log(Op::kAsk, name_);
  line.call = static_cast<int64_t>(call);
  line.kind = "delete_task";
  line.task = task.value();
  Ask(DeleteTaskCommand{Ticket(), task}, 100, call,
      [this](const absl::Status& status, const Reply*, histcheck::Event*) {
        if (status.ok()) world_.Cover(Point::kDeleteTaskOk);
        if (absl::IsFailedPrecondition(status)) world_.Cover(Point::kDeleteTaskRefused);
        if (absl::IsNotFound(status)) world_.Cover(Point::kDeleteTaskNotFound);
      });
}

void SimProducer::UpdateTask() {
  const size_t newest = random_.Below(random_.OneIn(3) ? known_.size() : std::min<size_t>(known_.size(), 6));
  const Known& known = known_[known_.size() - 1 - newest];
  auto texts = std::make_shared<std::deque<std::string>>();
  const uint64_t call = world_.NextNumber();
  histcheck::Event& line = world_.Log(Op::kAsk, name_);
  line.call = static_cast<int64_t>(call);
  line.kind = "update_task";
  line.task = known.task.value();
  UpdateTaskCommand command;
  command.task = known.task;
  command.revision = known.revision + (random_.OneIn(10) ? 1 : 0);
  const SimTaskMaker::Fixed fixed{known.type, known.key};
  command.changed = maker_.Make(world_.queues()[known.queue], &fixed, &line, texts.get());
  command.keep_start = line.keep_start = random_.OneIn(2);
  if (command.keep_start) {
    command.changed.delay = command.changed.run_at = line.run_at = 0;
    line.delay = -1;
  }
  command.keepalive = texts;
  const bool moves = command.changed.queue != world_.queues()[known.queue];
  const size_t bytes = command.changed.spec.size() + 100;
  Ask(std::move(command), bytes, call,
      [this, task = known.task, moves](const absl::Status& status, const Reply* reply, histcheck::Event*) {
        HearUpdate(task, moves, status, reply);
      });
}

void SimProducer::HearUpdate(TaskId task, bool moves, const absl::Status& status, const Reply* reply) {
  if (status.ok()) {
    world_.Cover(moves ? Point::kUpdateMoved : Point::kUpdateOk);
    for (Known& known : known_) {
      if (known.task == task) known.revision = std::get<UpdateReply>(reply->value).revision;
    }
    return;
  }
  if (absl::IsAborted(status)) world_.Cover(Point::kUpdateOld);
  if (absl::IsFailedPrecondition(status)) world_.Cover(Point::kUpdateRefused);
  if (absl::IsNotFound(status)) world_.Cover(Point::kUpdateNotFound);
  if (absl::IsResourceExhausted(status) && LimitOf(status) != "limits.mailbox") world_.Cover(Point::kUpdateLimit);
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
  if (world_.has(Feature::kQueueLimits)) {
    for (const std::string& queue : world_.queues()) {
      if (random_.OneIn(2)) LimitQueue(queue, QueueVerb::kUpdate);
    }
  }
  if (world_.has(Feature::kThrottles)) ChangeThrottle(ThrottleVerb::kCreate);
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
  if (world_.has(Feature::kQueueLimits) && random_.OneIn(4)) {
    return LimitQueue(random_.Pick(world_.queues()), random_.OneIn(3) ? QueueVerb::kCreate : QueueVerb::kUpdate);
  }
  if (world_.has(Feature::kThrottles) && random_.OneIn(3)) {
    static constexpr ThrottleVerb kVerbs[] = {ThrottleVerb::kCreate, ThrottleVerb::kUpdate, ThrottleVerb::kUpdate,
                                              ThrottleVerb::kGet,    ThrottleVerb::kGet,    ThrottleVerb::kDelete};
    return ChangeThrottle(kVerbs[random_.Below(6)]);
  }
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
  const bool limits = command.settings.drop_oldest.has_value();
  if (limits) {
    line.max_waiting = static_cast<int64_t>(*command.settings.max_waiting);
    line.max_bytes = static_cast<int64_t>(*command.settings.max_waiting_bytes);
    line.overflow = *command.settings.drop_oldest ? "drop" : "reject";
  }
  world_.Call(std::move(command), 100, 5 * kSecond,
              [this, call, verb, limits, done = std::move(done)](const absl::Status& status, const Reply* reply) {
                histcheck::Event& told = world_.Log(Op::kTold, "operator");
                told.call = static_cast<int64_t>(call);
                told.phase = PhaseOf(status);
                if (status.ok()) {
                  if (limits) world_.Cover(Point::kQueueLimited);
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

void SimOperator::DeleteQueue(const std::string& queue) {
  QueueCommand command;
  command.verb = QueueVerb::kDelete;
  command.queue = queue;
  command.force = true;
  Change(std::move(command), [](const absl::Status&) {});
}

void SimOperator::LimitQueue(const std::string& queue, QueueVerb verb) {
  QueueCommand command;
  command.verb = verb;
  command.queue = queue;
  const bool tasks = random_.OneIn(2);
  command.settings.max_waiting = tasks ? static_cast<uint64_t>(random_.Between(3, 40)) : 0;
  command.settings.max_waiting_bytes = tasks ? 0 : static_cast<uint64_t>(random_.Between(200, 3'000));
  command.settings.drop_oldest = random_.OneIn(2);
  Change(std::move(command), [](const absl::Status&) {});
}

void SimOperator::ChangeThrottle(ThrottleVerb verb) {
  static constexpr const char* kVerbs[] = {"throttle_create", "throttle_update", "", "throttle_delete"};
  static constexpr const char* kPers[] = {"", "all", "queue", "type", "group", "key"};
  ThrottleCommand command;
  command.verb = verb;
  command.name = random_.OneIn(2) ? "h1" : "h2";
  if (verb == ThrottleVerb::kGet) return LookAtThrottle();
  auto change = std::make_shared<ThrottleChange>();
  if (verb != ThrottleVerb::kDelete) {
    change->queues.emplace();
    change->types.emplace();
    for (int i = random_.OneIn(2) ? 0 : 2; i > 0; --i) change->queues->push_back(random_.Pick(world_.queues()));
    if (random_.OneIn(3)) change->types->push_back(random_.Pick(world_.types()));
    change->per = static_cast<ThrottlePer>(1 + random_.Below(5));
    const uint64_t kind = change->per == ThrottlePer::kKey ? 1 : random_.Below(3);
    change->max_running = kind == 1 ? 0 : static_cast<uint32_t>(random_.Between(1, 6));
    // So much that all that a world has is through in the liveness phase.
    change->rate = ThrottleRate{.tasks = static_cast<uint32_t>(random_.Between(10, 60)),
                                .period = kSecond,
                                .burst = static_cast<uint32_t>(random_.Below(12))};
    if (kind == 0) change->rate = ThrottleRate();
    command.change = change;
  }
  const uint64_t call = world_.NextNumber();
  histcheck::Event& line = world_.Log(Op::kAsk, "operator");
  line.call = static_cast<int64_t>(call);
  line.kind = kVerbs[static_cast<size_t>(verb)];
  line.name = command.name;
  if (command.change != nullptr) {
    line.queues = fmt::format("{}", fmt::join(*change->queues, ","));
    line.types = fmt::format("{}", fmt::join(*change->types, ","));
    line.per = kPers[static_cast<size_t>(*change->per)];
    line.n = *change->max_running;
    line.rate = change->rate->tasks;
    line.period = change->rate->period;
    line.burst = change->rate->burst;
  }
  world_.Call(std::move(command), 300, 5 * kSecond, [this, call, verb](const absl::Status& status, const Reply*) {
    histcheck::Event& told = world_.Log(Op::kTold, "operator");
    told.call = static_cast<int64_t>(call);
    told.phase = PhaseOf(status);
    static constexpr Point kDone[] = {Point::kThrottleCreated, Point::kThrottleUpdated, Point::kThrottleUpdated,
                                      Point::kThrottleDeleted};
    if (status.ok()) world_.Cover(kDone[static_cast<size_t>(verb)]);
    if (absl::IsAlreadyExists(status)) world_.Cover(Point::kThrottleExists);
    if (absl::IsNotFound(status)) world_.Cover(Point::kThrottleNotFound);
  });
}

void SimOperator::LookAtThrottle() {
  ThrottleCommand command;
  command.name = random_.OneIn(2) ? "h1" : "h2";
  world_.Call(std::move(command), 100, 5 * kSecond, [this](const absl::Status& status, const Reply* reply) {
    if (!status.ok()) return;
    for (const MeterView& meter : std::get<ThrottleReply>(reply->value).throttle.meters) {
      if (meter.waiting > 0 && meter.state == MeterState::kFull) world_.Cover(Point::kThrottleFull);
      if (meter.waiting > 0 && meter.state == MeterState::kRate) world_.Cover(Point::kThrottleRate);
    }
  });
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
