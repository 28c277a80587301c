#include "tests/faults/workload.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "fmt/format.h"
#include "penstock/v1/task.pb.h"

namespace penstock::broker {
namespace {

// "s1" and "s2" sync, "r1" is relaxed, "f1" forgets what is finished within seconds.
constexpr const char* kQueues[] = {"s1", "s2", "r1", "f1"};
constexpr const char* kTypes[] = {"x", "y"};
constexpr const char* kUniqueKeys[] = {"k1", "k2", "k3"};
constexpr int kWorkers = 3;
constexpr Span kForgetAfter = 20 * kSecond;
constexpr size_t kRepeatableMax = 20;

}  // namespace

// --- what comes back ---

void Inbox::Release(Effects effects) {
  const Engine* const engine = engine_.load();
  const uint64_t syncs = engine == nullptr ? 0 : engine->commit_stats().syncs;
  MutexLock lock(mu_);
  items_.push_back({std::move(effects), syncs});
  changed_.SignalAll();
}

void Inbox::Fail() {
  MutexLock lock(mu_);
  failed_ = true;
  changed_.SignalAll();
}

bool Inbox::Take(std::deque<Item>* items) {
  MutexLock lock(mu_);
  while (items_.empty() && !failed_) changed_.Wait(mu_);
  *items = std::exchange(items_, {});
  return !items->empty();
}

bool Inbox::failed() const {
  MutexLock lock(mu_);
  return failed_;
}

Workload::Workload(uint64_t seed, Ledger* ledger, ShiftedClock* clock)
    : random_(seed), ledger_(*ledger), clock_(*clock), workers_(kWorkers) {}

bool Workload::AwaitAll() {
  while (!enqueues_.empty() || !cancels_.empty() || !retries_.empty() || !admin_.empty() || !status_.empty() ||
         !frames_.empty()) {
    std::deque<Inbox::Item> items;
    if (!inbox_->Take(&items)) return false;
    for (const Inbox::Item& item : items) Hear(item);
  }
  return !inbox_->failed();
}

void Workload::Hear(const Inbox::Item& item) {
  const uint64_t token_before = last_token_;
  uint64_t token = last_token_;
  for (const SessionMessage& message : item.effects.session_messages) {
    for (const Delivery& delivery : message.deliveries) {
      if (delivery.token.value() <= token_before) Wrong("a fencing token did not grow");
      token = std::max(token, delivery.token.value());
    }
  }
  last_token_ = token;
  for (const Reply& reply : item.effects.replies) Hear(reply, item.syncs);
  for (const SessionMessage& message : item.effects.session_messages) Hear(message, item.syncs);
}

void Workload::Hear(const Reply& reply, uint64_t syncs) {
  if (auto asked = enqueues_.find(reply.ticket); asked != enqueues_.end()) {
    HearEnqueued(asked->second, reply, syncs);
    enqueues_.erase(asked);
  } else if (auto cancelled = cancels_.find(reply.ticket); cancelled != cancels_.end()) {
    KnownTask& task = *ledger_.Find(cancelled->second);
    const auto* answer = std::get_if<CancelReply>(&reply.value);
    if (answer != nullptr && answer->state == State::kCancelled) ledger_.Told(task, kCancelled, syncs, "cancelled");
    cancels_.erase(cancelled);
  } else if (auto retried = retries_.find(reply.ticket); retried != retries_.end()) {
    if (reply.status.ok()) ledger_.Told(*ledger_.Find(retried->second), kUnfinished, syncs, "retried");
    retries_.erase(retried);
  } else if (auto changed = admin_.find(reply.ticket); changed != admin_.end()) {
    const auto [verb, queue] = changed->second;
    admin_.erase(changed);
    // Before anything is enqueued in it, so that it never comes into being with the defaults.
    if (verb == QueueVerb::kCreate && (reply.status.ok() || absl::IsAlreadyExists(reply.status)))
      created_.insert(queue);
    if (!reply.status.ok()) return;
    if (verb == QueueVerb::kPurge) HearPurged(queue, syncs);
  } else if (status_.erase(reply.ticket) > 0) {
    const auto* status = std::get_if<StatusReply>(&reply.value);
    if (status == nullptr) return;
    waiting_tasks_ = 0;
    for (const QueueView& queue : status->queues) {
      const QueueCounters& counters = queue.counters;
      waiting_tasks_ += counters.scheduled + counters.available + counters.running + counters.retryable;
    }
  }
}

void Workload::HearEnqueued(const Request& request, const Reply& reply, uint64_t syncs) {
  const auto* enqueued = std::get_if<EnqueueReply>(&reply.value);
  if (!reply.status.ok() || enqueued == nullptr) return;  // unknown
  for (size_t i = 0; i < request.serials.size(); ++i) {
    KnownTask& task = *ledger_.Find(request.serials[i]);
    const TaskId id = enqueued->results.at(i).task;
    const bool duplicate = enqueued->results.at(i).duplicate;
    const bool repeated = !task.id.empty();
    if (duplicate && !task.unique_key.empty() && (repeated ? task.id != id : true)) {
      // Another task holds the key, or did when this request was first heard.
      const KnownTask* const holder = ledger_.Find(id);
      if (holder != nullptr && (holder->queue != task.queue || holder->unique_key != task.unique_key)) {
        Wrong(fmt::format("task {} is called a duplicate of {}, which has another key", task.serial, holder->serial));
      }
      if (task.id.empty()) ledger_.Told(task, kAbsent, syncs, "duplicate");
      continue;
    }
    const bool had = ledger_.Had(task, id);
    if (const std::string wrong = ledger_.ToldId(task, id); !wrong.empty()) Wrong(wrong);
    // The same answer as before, whatever has become of the task since: it may have been purged.
    if (had && !repeated) ledger_.May(task, kAbsent, "repeated");
    if (had || repeated) continue;
    ++counts_.tasks_acknowledged;
    ledger_.Told(task, kUnfinished, syncs, "enqueued");
    if (task.unique_key.empty()) continue;
    std::vector<uint64_t>& others = unique_[{task.queue, task.unique_key}];
    for (const uint64_t other : others) {
      const KnownTask& holder = *ledger_.Find(other);
      if (other != task.serial && holder.fates == kUnfinished && !holder.may_be_leased) {
        Wrong(fmt::format("tasks {} and {} have the same unique key", other, task.serial));
      }
    }
    others.push_back(task.serial);
  }
}

void Workload::HearPurged(const std::string& queue, uint64_t syncs) {
  for (auto& [serial, task] : ledger_.tasks()) {
    if (task.queue != queue || (task.fates & kUnfinished) == 0) continue;
    if (task.may_be_leased) {
      ledger_.May(task, kAbsent, "purged");
    } else {
      ledger_.Told(task, static_cast<Fates>((task.fates & ~kUnfinished) | kAbsent), syncs, "purged");
    }
  }
}

void Workload::Hear(const SessionMessage& message, uint64_t syncs) {
  auto found = std::find_if(workers_.begin(), workers_.end(), [&](const Worker& worker) {
    return !worker.stream.empty() && worker.stream == message.stream;
  });
  if (found == workers_.end()) return;
  Worker& worker = *found;
  if (message.welcome) {
    frames_.erase({worker.stream, 0});
    worker.connected = true;
    worker.session_id = message.welcome->session_id;
    for (TaskId lost : message.welcome->lost_tasks) worker.held.erase(lost);
  }
  for (const Delivery& delivery : message.deliveries) HearDelivery(worker, delivery);
  std::map<std::pair<TaskId, FencingToken>, RefusalReason> refused;
  for (const Refusal& refusal : message.refusals) refused[{refusal.task, refusal.token}] = refusal.reason;
  while (!worker.unacknowledged.empty() && worker.unacknowledged.begin()->first <= message.acknowledged_frame) {
    const auto [frame, outcome] = *worker.unacknowledged.begin();
    worker.unacknowledged.erase(worker.unacknowledged.begin());
    auto refusal = refused.find({outcome.task, outcome.token});
    HearOutcome(outcome, refusal == refused.end() ? nullptr : &refusal->second, syncs);
  }
  std::erase_if(frames_, [&](const auto& frame) {
    return frame.first == worker.stream && (message.end || frame.second <= message.acknowledged_frame) &&
           (message.end || frame.second != 0);
  });
  if (message.end && !message.end->ok() && !absl::IsUnavailable(*message.end)) {
    worker = Worker();  // its session has ended: a new one comes
  } else if (message.end) {
    worker.connected = false;
  }
}

void Workload::HearDelivery(Worker& worker, const Delivery& delivery) {
  ++counts_.deliveries;
  KnownTask* const task = ledger_.Find(Ledger::SerialOf(delivery.spec));
  if (task == nullptr || task->spec != delivery.spec) {
    return Wrong(fmt::format("{} was delivered and was never sent", delivery.task.ToString()));
  }
  if (const std::string wrong = ledger_.ToldId(*task, delivery.task); !wrong.empty()) Wrong(wrong);
  if ((task->fates & kUnfinished) == 0) {
    Wrong(fmt::format("task {} was delivered and is {}", task->serial, DescribeFates(task->fates)));
  }
  if (delivery.attempt > delivery.max_attempts) Wrong(fmt::format("task {} has too many attempts", task->serial));
  task->may_be_leased = true;
  task->story += fmt::format(" delivered({}/{})", delivery.attempt, delivery.max_attempts);
  for (Worker& other : workers_) other.held.erase(delivery.task);
  worker.held[delivery.task] = delivery.token;
}

void Workload::HearOutcome(const Outcome& outcome, const RefusalReason* refusal, uint64_t syncs) {
  if (refusal != nullptr && *refusal != RefusalReason::kAlreadyFinished) return;  // it did not count
  ++counts_.outcomes_acknowledged;
  KnownTask& task = *ledger_.Find(outcome.task);
  const Fates cancelled = task.cancel_asked ? kCancelled : 0;
  switch (outcome.kind) {
    case OutcomeKind::kCompleted:
      ledger_.Told(task, kCompleted, syncs, "completed");
      break;
    case OutcomeKind::kFailed:
      ledger_.Told(task, kUnfinished | kDead | cancelled, syncs, "failed");
      break;
    case OutcomeKind::kRejected:
      ledger_.Told(task, kDead | cancelled, syncs, "rejected");
      break;
    default:
      break;
  }
}

// --- what goes in ---

bool Workload::Post(Command command) { return engine_->Post(std::move(command), 1'000).ok(); }

KnownTask* Workload::AnyTask(Fates with) {
  std::vector<KnownTask*> some;
  for (auto& [serial, task] : ledger_.tasks()) {
    if ((task.fates & with) != 0 && !task.id.empty() && !busy_.contains(task.id)) some.push_back(&task);
  }
  if (some.empty()) return nullptr;
  KnownTask* const chosen = some[Below(some.size())];
  busy_.insert(chosen->id);
  return chosen;
}

void Workload::Enqueue() {
  struct Texts {
    std::deque<std::string> specs;
  };
  auto texts = std::make_shared<Texts>();
  Request request;
  request.made = Wall();
  EnqueueCommand& command = request.command;
  command.ticket = NewTicket();
  command.keepalive = texts;
  const uint64_t number = next_request_++;
  if (OneIn(3)) command.request_id = {1, number};
  const uint64_t count = 1 + Below(OneIn(4) ? 60 : 5);
  const uint64_t size_max = OneIn(6) ? 20'000 : 200;
  const char* const queue = kQueues[Below(std::size(kQueues))];
  for (uint64_t i = 0; i < count; ++i) {
    KnownTask known;
    known.request = number;
    known.queue = OneIn(4) ? kQueues[Below(std::size(kQueues))] : queue;
    known.relaxed = known.queue == "r1";
    known.forgets = known.queue == "f1";
    if (OneIn(8)) known.unique_key = kUniqueKeys[Below(std::size(kUniqueKeys))];
    KnownTask& task = ledger_.Add(std::move(known));
    v1::TaskSpec spec;
    spec.set_queue(task.queue);
    spec.set_type(kTypes[Below(std::size(kTypes))]);
    std::string filler(Below(size_max), '\0');
    for (char& c : filler) c = static_cast<char>(random_());
    spec.set_payload(Ledger::Payload(task.serial, filler));
    task.spec = spec.SerializeAsString();
    texts->specs.push_back(task.spec);

    NewTask fresh;
    fresh.queue = task.queue;
    fresh.type = spec.type() == "x" ? kTypes[0] : kTypes[1];
    fresh.priority = static_cast<uint8_t>(Below(3) * 4);
    if (OneIn(5)) fresh.run_at = Wall() + static_cast<Span>(Below(60)) * kSecond;
    fresh.unique_key = task.unique_key;
    if (OneIn(6)) fresh.retry_policy = RetryPolicy{.max_attempts = 2, .initial_backoff = kSecond};
    fresh.spec = texts->specs.back();
    command.tasks.push_back(fresh);
    request.serials.push_back(task.serial);
  }
  Request kept = request;
  if (!Post(Command(std::move(command)))) return;
  for (const uint64_t serial : kept.serials) ledger_.May(*ledger_.Find(serial), kUnfinished, "enqueue");
  if (!kept.command.request_id.empty()) {
    repeatable_.push_back(kept);
    if (repeatable_.size() > kRepeatableMax) repeatable_.pop_front();
  }
  enqueues_[kept.command.ticket] = std::move(kept);
}

void Workload::Repeat() {
  if (repeatable_.empty()) return;
  Request request = repeatable_[Below(repeatable_.size())];
  if (Wall() - request.made > 8 * kMinute) return;  // longer ago than the broker remembers
  EnqueueCommand command = request.command;
  request.command.ticket = command.ticket = NewTicket();
  if (!Post(Command(std::move(command)))) return;
  ++counts_.repeats;
  for (const uint64_t serial : request.serials) {
    KnownTask& task = *ledger_.Find(serial);
    if (task.id.empty()) ledger_.May(task, kUnfinished, "repeat");
  }
  enqueues_[request.command.ticket] = std::move(request);
}

void Workload::Connect(Worker& worker) {
  OpenSessionCommand open;
  open.stream = worker.stream = NewTicket();
  open.resume = !worker.session_id.empty();
  open.session_id = open.resume ? worker.session_id : fmt::format("session{}", next_session_++);
  open.worker_name = fmt::format("w{}", &worker - workers_.data());
  open.queues.assign(std::begin(kQueues), std::end(kQueues));
  open.types = {{"x", 0}, {"y", 0}};
  open.concurrency = 8;
  for (const auto& [task, token] : worker.held) open.held_tasks.push_back({task, token, true});
  for (const auto& [frame, outcome] : worker.unacknowledged) {
    open.held_tasks.push_back({outcome.task, outcome.token, true});
  }
  if (!Post(Command(std::move(open)))) return;
  frames_.insert({worker.stream, 0});
  const auto again = std::exchange(worker.unacknowledged, {});
  for (const auto& [frame, outcome] : again) Report(worker, outcome, 0);
}

void Workload::Report(Worker& worker, const Outcome& outcome, uint32_t credit) {
  KnownTask& task = *ledger_.Find(outcome.task);
  auto text = std::make_shared<const std::string>(Ledger::ResultOf(task.serial));
  SessionInput input;
  input.stream = worker.stream;
  input.credit = credit;
  input.keepalive = text;
  TaskOutcome& told = input.outcomes.emplace_back();
  told.task = outcome.task;
  told.token = outcome.token;
  told.kind = outcome.kind;
  if (outcome.kind == OutcomeKind::kCompleted) {
    told.result = *text;
    told.content_type = "text/plain";
  } else if (outcome.kind == OutcomeKind::kFailed || outcome.kind == OutcomeKind::kSnoozed) {
    told.error = {"E", "failed", ""};
    told.delay = outcome.delay;
  }
  const uint64_t frame = input.frame_number = ++worker.frame;
  worker.unacknowledged[frame] = outcome;
  if (!Post(Command(std::move(input)))) return;
  frames_.insert({worker.stream, frame});
  const Fates cancelled = task.cancel_asked ? kCancelled : 0;
  switch (outcome.kind) {
    case OutcomeKind::kCompleted:
      ledger_.May(task, kCompleted | (task.forgets ? kAbsent : 0), "complete");
      break;
    case OutcomeKind::kFailed:
    case OutcomeKind::kRejected:
      ledger_.May(task, kDead | cancelled, "fail");
      break;
    default:
      ledger_.May(task, cancelled, "give back");
  }
}

void Workload::Speak(Worker& worker, bool complete_all) {
  std::vector<std::pair<TaskId, FencingToken>> some;
  for (const auto& held : worker.held) {
    if (!busy_.contains(held.first) && (complete_all || !OneIn(3))) some.push_back(held);
  }
  for (const auto& [task, token] : some) {
    Outcome outcome{task, token, OutcomeKind::kCompleted, 0};
    if (!complete_all) {
      switch (Below(12)) {
        case 0:
        case 1:
          outcome.kind = OutcomeKind::kFailed;
          outcome.delay = static_cast<Span>(Below(10)) * kSecond;
          break;
        case 2:
          outcome.kind = OutcomeKind::kRejected;
          break;
        case 3:
          outcome.kind = OutcomeKind::kSnoozed;
          outcome.delay = static_cast<Span>(Below(10)) * kSecond;
          break;
        case 4:
          outcome.kind = OutcomeKind::kReleased;
          break;
        default:
          break;
      }
    }
    busy_.insert(task);
    worker.held.erase(task);
    Report(worker, outcome, 0);
  }
  SessionInput input;
  input.stream = worker.stream;
  input.credit = static_cast<uint32_t>(complete_all ? 50 : Below(10));
  for (const auto& [task, token] : worker.held) input.starts.push_back({task, token});
  const uint64_t frame = input.frame_number = ++worker.frame;
  if (Post(Command(std::move(input)))) frames_.insert({worker.stream, frame});
}

void Workload::Cancel() {
  KnownTask* const task = AnyTask(kUnfinished);
  if (task == nullptr) return;
  const Ticket ticket = NewTicket();
  if (!Post(CancelTaskCommand{ticket, task->id, OneIn(2) ? "the test asks for it" : ""})) return;
  task->cancel_asked = true;
  ledger_.May(*task, kCancelled | (task->forgets ? kAbsent : 0), "cancel");
  cancels_[ticket] = task->serial;
}

void Workload::Retry() {
  KnownTask* const task = AnyTask(OneIn(2) ? kDead : kUnfinished);
  if (task == nullptr) return;
  const Ticket ticket = NewTicket();
  if (!Post(RetryTaskCommand{ticket, task->id})) return;
  if ((task->fates & kDead) != 0) ledger_.May(*task, kUnfinished, "retry");
  retries_[ticket] = task->serial;
}

void Workload::Administer(QueueVerb verb, const std::string& queue) {
  QueueCommand command;
  const Ticket ticket = command.ticket = NewTicket();
  command.verb = verb;
  command.queue = queue;
  if (verb == QueueVerb::kCreate) {
    command.settings.relaxed = queue == "r1";
    command.settings.retry_policy =
        RetryPolicy{.max_attempts = 3, .initial_backoff = kSecond, .max_backoff = 10 * kSecond};
    if (queue == "f1") command.settings.result_retention = kForgetAfter;
  }
  if (!Post(Command(std::move(command)))) return;
  if (verb == QueueVerb::kPurge) {
    for (auto& [serial, task] : ledger_.tasks()) {
      if (task.queue == queue && (task.fates & kUnfinished) != 0) ledger_.May(task, kAbsent, "purge");
    }
  }
  admin_[ticket] = {verb, queue};
}

// --- turns ---

void Workload::Attach(Engine* engine, Inbox* inbox) {
  engine_ = engine;
  inbox_ = inbox;
  for (Worker& worker : workers_) {
    worker.connected = false;
    worker.stream = Ticket();
    if (OneIn(3)) worker = Worker();  // it died with the broker
  }
  created_.clear();
}

void Workload::Detach() {
  engine_ = nullptr;
  inbox_ = nullptr;
  enqueues_.clear();
  cancels_.clear();
  retries_.clear();
  admin_.clear();
  status_.clear();
  frames_.clear();
  busy_.clear();
}

bool Workload::Turn() {
  busy_.clear();
  for (const char* queue : kQueues) {
    if (!created_.contains(queue)) Administer(QueueVerb::kCreate, queue);
  }
  if (!admin_.empty() && !AwaitAll()) return false;
  // Workers come back on their own, too: with them come outcomes that they could not report.
  if (OneIn(3)) {
    for (Worker& worker : workers_) {
      if (worker.stream.empty()) Connect(worker);
    }
    if (!AwaitAll()) return false;
    busy_.clear();
  }
  // A purge alone, so that it is known what it met.
  if (OneIn(40)) {
    Administer(QueueVerb::kPurge, kQueues[Below(std::size(kQueues))]);
    return AwaitAll();
  }
  for (uint64_t i = 1 + Below(5); i > 0; --i) {
    switch (Below(12)) {
      case 0:
      case 1:
      case 2:
        Enqueue();
        break;
      case 3:
        Repeat();
        break;
      case 4:
        Cancel();
        break;
      case 5:
        Retry();
        break;
      case 6:
        if (OneIn(4)) Administer(OneIn(3) ? QueueVerb::kPause : QueueVerb::kResume, kQueues[Below(std::size(kQueues))]);
        break;
      default: {
        Worker& worker = workers_[Below(workers_.size())];
        if (worker.connected) Speak(worker, /*complete_all=*/false);
      }
    }
  }
  if (OneIn(4)) {
    clock_.Advance(absl::Seconds(Below(15)));
    engine_->LookAtClock();
  }
  return AwaitAll();
}

bool Workload::Drain() {
  for (const char* queue : kQueues) Administer(QueueVerb::kResume, queue);
  if (!AwaitAll()) return false;
  absl::Duration moved_on;
  do {
    busy_.clear();
    for (Worker& worker : workers_) {
      if (worker.connected) {
        Speak(worker, /*complete_all=*/true);
      } else if (worker.stream.empty()) {
        Connect(worker);
      }
    }
    // Past every backoff; but a fast machine goes round often while a grace ends, which takes real time, and what is
    // finished must not be forgotten meanwhile.
    if (moved_on < absl::Hours(12)) {
      clock_.Advance(absl::Seconds(61));
      moved_on += absl::Seconds(61);
    }
    engine_->LookAtClock();
    const Ticket ticket = NewTicket();
    if (Post(StatusCommand{ticket})) status_.insert(ticket);
    if (!AwaitAll()) return false;
  } while (waiting_tasks_ > 0);
  return true;
}

}  // namespace penstock::broker
