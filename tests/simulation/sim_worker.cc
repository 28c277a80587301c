#include "tests/simulation/sim_worker.h"

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <set>

#include "fmt/format.h"
#include "tests/simulation/sim_world.h"

namespace penstock::broker {
namespace {

using histcheck::Op;
using histcheck::Phase;

const char* KindName(OutcomeKind kind) {
  switch (kind) {
    case OutcomeKind::kCompleted:
      return "completed";
    case OutcomeKind::kFailed:
      return "failed";
    case OutcomeKind::kRejected:
      return "rejected";
    case OutcomeKind::kSnoozed:
      return "snoozed";
    case OutcomeKind::kReleased:
      return "released";
    case OutcomeKind::kCancelled:
      return "cancelled";
  }
  return "";
}

}  // namespace

SimWorker::SimWorker(SimWorld& world, int index, bool finisher)
    : world_(world),
      loop_(world.loop()),
      random_(world.config().seed * 64 + 40 + static_cast<uint64_t>(index)),
      name_(finisher ? fmt::format("last{}", index) : fmt::format("w{}", index)),
      told_name_(random_.OneIn(5) ? "w0" : name_),
      finisher_(finisher),
      maker_(world, random_, name_) {
  const auto& queues = world_.queues();
  const auto& types = world_.types();
  const bool all = finisher_ || random_.OneIn(2);
  for (const std::string& queue : queues) {
    if (all || random_.OneIn(2)) queues_.push_back(queue);
  }
  if (queues_.empty()) queues_.push_back(random_.Pick(queues));
  for (const std::string& type : types) {
    if (!all && random_.OneIn(3)) continue;
    const bool limited = !finisher_ && world_.has(Feature::kTypeLimits) && random_.OneIn(2);
    types_.push_back({type, limited ? static_cast<uint32_t>(random_.Between(1, 3)) : 0});
  }
  if (types_.empty()) types_.push_back({random_.Pick(types), 0});
  concurrency_ = static_cast<uint32_t>(random_.Between(1, random_.OneIn(3) ? 20 : 4));
  prefetch_ = static_cast<uint32_t>(random_.Below(concurrency_ * 2));
  lease_ = random_.Between(4, 30) * kSecond;
  handler_time_ = random_.OneIn(3) ? 20 * kMilli : random_.OneIn(2) ? 500 * kMilli : 4 * kSecond;
  start_manner_ = static_cast<int>(random_.Below(3));
  // Careful ones beat three times a lease; the others come just in time.
  heartbeat_every_ = random_.OneIn(3) ? lease_ * 3 / 4 : lease_ / 3;
  good_ = finisher_;
  if (finisher_) {
    concurrency_ = 10;
    lease_ = 30 * kSecond;
    handler_time_ = 10 * kMilli;
    heartbeat_every_ = 10 * kSecond;
  }
  if (!world_.has(Feature::kLabels)) return;
  if (finisher_ || random_.OneIn(2)) labels_["gpu"] = "y";
  const bool first = index % 2 == 0;
  if (finisher_ || random_.OneIn(2)) labels_["zone"] = first ? "a" : "b";
}

bool SimWorker::has_bad_luck() const { return !good_ && !world_.quiet(); }

void SimWorker::Later(Span delay, std::function<void()> action) {
  loop_.After(delay, [this, life = life_, action = std::move(action)]() mutable {
    if (life != life_ || gone_) return;
    if (frozen_until_ > loop_.now()) return Later(frozen_until_ - loop_.now() + 1, std::move(action));
    action();
  });
}

void SimWorker::Start() {
  histcheck::Event& line = world_.Log(Op::kWorker, name_);
  for (const auto& [key, value] : labels_) {
    if (!line.labels.empty()) line.labels += ",";
    line.labels.append(key).append("=").append(value);
  }
  const bool limited =
      std::any_of(types_.begin(), types_.end(), [](const auto& type) { return type.max_concurrency > 0; });
  if (!limited) {
    line.kind = ",";
    for (const std::string& queue : queues_) line.kind += queue + ",";
    line.kind += "|,";
    for (const HandledType& type : types_) line.kind += type.type + ",";
  }
  Connect();
  if (!finisher_) Later(random_.About(2 * kSecond), [this] { Tick(); });
}

// What may happen to a worker at any time.
void SimWorker::Tick() {
  if (!has_bad_luck()) return;
  Later(random_.About(3 * kSecond), [this] { Tick(); });
  switch (random_.Below(10)) {
    case 0:
      if (world_.has(Feature::kFreezes)) {
        const Span span = random_.OneIn(2) ? random_.Between(1, 2'000) * kMilli : random_.Between(1, 50) * kSecond;
        frozen_until_ = loop_.now() + span;
        if (span > lease_) world_.Cover(Point::kFrozen);
        loop_.At(frozen_until_, [this, life = life_] {
          if (life != life_) return;
          for (auto inbox = std::exchange(inbox_, {}); !inbox.empty(); inbox.pop_front()) {
            if (inbox.front().first == stream_) Hear(inbox.front().second);
          }
        });
      }
      break;
    case 1:
      if (world_.has(Feature::kWorkerCrashes) && random_.OneIn(2)) Die(random_.About(2 * kSecond));
      break;
    case 2:
      if (world_.has(Feature::kGoodbyes) && welcomed_ && random_.OneIn(2)) SayGoodbye(random_.About(2 * kSecond));
      break;
    case 3:
      if (world_.has(Feature::kDrains) && random_.OneIn(4)) draining_ = true;
      break;
    case 4:
    case 5:
      if (world_.has(Feature::kCuts) && !stream_.empty()) {
        const bool told = !random_.OneIn(3);
        world_.Cover(told ? Point::kCut : Point::kHalfOpen);
        world_.CutStream(stream_, told ? random_.About(300 * kMilli) : kNever);
        const Ticket stream = stream_;
        Later(random_.OneIn(4) ? random_.Between(1, 15) * kSecond : random_.About(100 * kMilli),
              [this, stream] { OnCut(stream); });
      }
      break;
    case 6:
      if (world_.has(Feature::kCareless) && !zombies_.empty() && welcomed_) {
        const auto [task, held] = random_.Pick(zombies_);
        AddReport(task, held, random_.OneIn(4) ? OutcomeKind::kFailed : OutcomeKind::kCompleted, std::nullopt);
        Flush(false);
      }
      break;
    case 7:
      if (world_.has(Feature::kReports) && welcomed_ && !held_.empty()) {
        auto held = held_.begin();
        std::advance(held, static_cast<std::ptrdiff_t>(random_.Below(held_.size())));
        SessionInput input;
        input.stream = stream_;
        const auto [task, state] = *held;
        switch (random_.Below(3)) {
          case 0:
            input.progress_reports.push_back({task, state.token, 50, "half"});
            break;
          case 1:
            input.log_reports.push_back({task, state.token, {{0, "a line of the log"}}});
            break;
          default:
            input.stuck_changed = true;
            input.stuck_tasks = {task};
        }
        world_.Send(stream_, std::move(input));
      }
      break;
    default:
      break;
  }
}

// --- the connection ---

void SimWorker::Connect() {
  if (gone_ || !stream_.empty()) return;
  stream_ = world_.OpenStream(this);
  welcomed_ = false;
  OpenSessionCommand open;
  open.stream = stream_;
  open.resume = has_session_;
  if (!has_session_) session_id_ = fmt::format("s{}", world_.NextNumber());
  open.session_id = session_id_;
  open.worker_name = told_name_;
  open.queues = queues_;
  open.types = types_;
  open.concurrency = concurrency_;
  open.lease = lease_;
  open.labels = labels_;
  if (has_session_ && world_.has(Feature::kCareless) && has_bad_luck() && !held_.empty() && random_.OneIn(8)) {
    LoseOne(held_.begin()->first, false, "given_back");  // it has forgotten one
    world_.Cover(Point::kWorkerNotHeld);
  }
  // Once each, under the newest lease that it had.
  std::map<TaskId, size_t> listed;
  auto list = [&](TaskId task, FencingToken token, bool started) {
    const auto [found, first] = listed.emplace(task, open.held_tasks.size());
    if (first) {
      open.held_tasks.push_back({task, token, started});
    } else if (token > open.held_tasks[found->second].token) {
      open.held_tasks[found->second] = {task, token, started};
    }
  };
  for (const auto& [task, held] : held_) list(task, held.token, held.started && start_manner_ != 2);
  // Their reports are still to be acknowledged.
  for (const auto& [frame, reports] : unacknowledged_) {
    for (const Report& report : reports) list(report.task, report.token, report.run_time > 0);
  }
  for (const Report& report : reports_) list(report.task, report.token, report.run_time > 0);
  starts_.clear();
  world_.Send(stream_, std::move(open));
  const Ticket stream = stream_;
  Later(20 * kSecond, [this, stream] {
    if (stream != stream_ || welcomed_) return;
    world_.CutStream(stream, 0);
    OnCut(stream);
  });
}

void SimWorker::OnCut(Ticket stream) {
  if (stream != stream_) return;
  if (frozen_until_ > loop_.now()) return Later(0, [this, stream] { OnCut(stream); });
  Disconnect();
  Later(random_.About(200 * kMilli), [this] { Connect(); });
}

void SimWorker::Disconnect() {
  world_.Log(Op::kCut, name_);
  stream_ = Ticket();
  welcomed_ = false;
  outstanding_ = 0;
  outstanding_types_.clear();
  starts_.clear();
  for (auto& [task, held] : held_) held.start_frame = 0;
}

void SimWorker::LoseOne(TaskId task, bool told, const char* kind) {
  auto found = held_.find(task);
  if (found == held_.end()) return;
  histcheck::Event& line = world_.Log(Op::kLost, name_);
  line.task = task.value();
  line.token = found->second.token.value();
  line.told = told;
  line.kind = kind;
  zombies_.emplace_back(*found);
  if (zombies_.size() > 8) zombies_.erase(zombies_.begin());
  if (found->second.started) --running_;
  std::erase(waiting_, task);
  held_.erase(found);
}

void SimWorker::LoseAll(bool told, const char* kind) {
  while (!held_.empty()) LoseOne(held_.begin()->first, told, kind);
  histcheck::Event& rest = world_.Log(Op::kLost, name_);
  rest.told = told;
  rest.kind = kind;  // and what came and was not looked at
  for (auto& [frame, reports] : std::exchange(unacknowledged_, {})) {
    for (const Report& report : reports) Answer(report, false, nullptr);
  }
  for (const Report& report : std::exchange(reports_, {})) Answer(report, false, nullptr);
  has_session_ = false;
}

void SimWorker::Die(Span away) {
  LoseAll(false);
  if (!stream_.empty()) {
    world_.CutStream(stream_, random_.OneIn(4) ? kNever : random_.About(100 * kMilli));
    Disconnect();
  }
  ++life_;
  zombies_.clear();
  inbox_.clear();
  frozen_until_ = 0;
  draining_ = draining_told_ = false;
  heartbeat_ = false;
  if (leaving_) {
    gone_ = true;
    return;
  }
  Later(away, [this] { Start(); });
}

void SimWorker::SayGoodbye(Span away) {
  SessionInput goodbye;
  goodbye.stream = stream_;
  goodbye.goodbye = true;
  const Ticket stream = stream_;
  world_.Send(stream, std::move(goodbye));
  world_.Cover(Point::kSessionGoodbye);
  LoseAll(false, "given_back");
  Disconnect();
  ++life_;
  zombies_.clear();
  inbox_.clear();
  draining_ = draining_told_ = false;
  heartbeat_ = false;
  if (leaving_) {
    gone_ = true;
    return;
  }
  Later(away, [this] { Start(); });
}

void SimWorker::BeGood(bool stay) {
  frozen_until_ = 0;
  for (auto inbox = std::exchange(inbox_, {}); !inbox.empty(); inbox.pop_front()) {
    if (inbox.front().first == stream_) Hear(inbox.front().second);
  }
  good_ = true;
  leaving_ = !stay;
  if (stay) return;
  if (welcomed_ && random_.OneIn(2)) {
    SayGoodbye(0);
  } else {
    Die(0);
  }
}

// --- what it says ---

void SimWorker::Flush(bool even_empty) {
  if (!welcomed_) return;
  SessionInput input;
  input.stream = stream_;
  if (!draining_) {
    const size_t used = held_.size() + outstanding_;
    if (used < concurrency_ + prefetch_) input.credit = static_cast<uint32_t>(concurrency_ + prefetch_ - used);
    outstanding_ += input.credit;
    for (const HandledType& type : types_) {
      if (type.max_concurrency == 0) continue;
      uint32_t taken = outstanding_types_[type.type];
      for (const auto& [task, held] : held_) taken += held.spec.type == type.type;
      if (taken >= type.max_concurrency) continue;
      input.type_credits.push_back({type.type, type.max_concurrency - taken});
      outstanding_types_[type.type] += type.max_concurrency - taken;
    }
  }
  input.starts = std::exchange(starts_, {});
  for (const TaskStart& start : input.starts) {
    if (auto found = held_.find(start.task); found != held_.end()) found->second.start_frame = frame_ + 1;
  }
  if (draining_ && !std::exchange(draining_told_, true)) input.draining = true;
  if (!reports_.empty()) {
    input.frame_number = ++frame_;
    for (const Report& report : reports_) {
      TaskOutcome outcome;
      outcome.task = report.task;
      outcome.token = report.token;
      outcome.kind = report.kind;
      outcome.delay = report.delay;
      outcome.cool = report.cool;
      outcome.run_time = report.run_time;
      if (report.kind == OutcomeKind::kCompleted) {
        outcome.result = "result";
        outcome.content_type = "text/plain";
        if (report.brings != nullptr) outcome.enqueue = {report.brings, &report.brings->tasks};
      }
      if (report.kind == OutcomeKind::kFailed || report.kind == OutcomeKind::kRejected)
        outcome.error = {"E", "failed", ""};
      input.outcomes.push_back(outcome);
    }
    AddCheckpoints(&input);
    unacknowledged_.emplace_back(frame_, std::exchange(reports_, {}));
  }
  const bool empty = input.credit == 0 && input.type_credits.empty() && input.starts.empty() &&
                     input.outcomes.empty() && !input.draining;
  if (empty && !even_empty) return;
  world_.Send(stream_, std::move(input));
}

void SimWorker::AddCheckpoints(SessionInput* input) {
  auto texts = std::make_shared<std::deque<std::string>>();
  for (const Report& report : reports_) {
    if (report.saved.empty()) continue;
    texts->push_back(report.saved);
    input->progress_reports.push_back({report.task, report.token, 50, "half", texts->back()});
  }
  if (!texts->empty()) input->keepalive = texts;
}

histcheck::Event& SimWorker::AddReport(TaskId task, const Held& held, OutcomeKind kind, std::optional<Span> delay) {
  histcheck::Event& line = world_.Log(Op::kOutcome, name_);
  line.task = task.value();
  line.token = held.token.value();
  line.kind = KindName(kind);
  if (delay) line.delay = *delay;
  Report report;
  report.task = task;
  report.token = held.token;
  report.kind = kind;
  report.delay = delay;
  report.run_time = held.started ? std::max<Span>(1, loop_.now() - held.start) : 0;
  report.attempt = held.attempt;
  report.last = held.attempt >= held.max_attempts;
  report.cancel = held.cancel;
  reports_.push_back(report);
  return line;
}

void SimWorker::StartSome() {
  while (running_ < concurrency_ && !waiting_.empty()) {
    const TaskId task = waiting_.front();
    waiting_.pop_front();
    Held& held = held_.at(task);
    held.started = true;
    held.start = loop_.now();
    ++running_;
    histcheck::Event& line = world_.Log(Op::kStart, name_);
    line.task = task.value();
    line.token = held.token.value();
    if (start_manner_ != 2) starts_.push_back({task, held.token});
    const Span time = good_ ? 5 * kMilli : random_.About(handler_time_);
    Later(time, [this, task, token = held.token] { EndHandler(task, token); });
  }
  if (start_manner_ == 0 && !starts_.empty()) Flush(false);
}

void SimWorker::EndHandler(TaskId task, FencingToken token) {
  auto found = held_.find(task);
  if (found == held_.end() || found->second.token != token || !found->second.started) return;
  const Held held = found->second;
  held_.erase(found);
  --running_;
  OutcomeKind kind = OutcomeKind::kCompleted;
  std::optional<Span> delay;
  if (has_bad_luck()) {
    if (held.cancel && random_.OneIn(2)) kind = OutcomeKind::kCancelled;
    if (world_.has(Feature::kFailures) && random_.OneIn(4)) {
      kind = OutcomeKind::kFailed;
      if (random_.OneIn(3)) delay = static_cast<Span>(random_.Below(20'000)) * kMilli;
    } else if (world_.has(Feature::kOtherOutcomes) && random_.OneIn(4)) {
      static constexpr OutcomeKind kOthers[] = {OutcomeKind::kRejected, OutcomeKind::kSnoozed, OutcomeKind::kReleased,
                                                OutcomeKind::kCancelled};
      kind = kOthers[random_.Below(4)];
      if (kind == OutcomeKind::kSnoozed) delay = static_cast<Span>(random_.Below(15'000)) * kMilli;
    }
  }
  histcheck::Event& line = AddReport(task, held, kind, delay);
  Report& report = reports_.back();
  if (delay && world_.has(Feature::kCooling) && random_.OneIn(3)) {
    report.cool = random_.OneIn(2) ? CoolScope::kQueue : CoolScope::kType;
    if (!held.spec.key.empty() && random_.OneIn(2)) report.cool = CoolScope::kKey;
    if (held.spec.key.empty() && !held.spec.group.empty() && random_.OneIn(2)) report.cool = CoolScope::kGroup;
    static constexpr const char* kScopes[] = {"", "queue", "type", "group", "key"};
    line.cool = kScopes[static_cast<size_t>(report.cool)];
  }
  if (kind != OutcomeKind::kCompleted && world_.has(Feature::kCheckpoints) && random_.OneIn(2)) {
    line.saved = report.saved = fmt::format("c{}", world_.NextNumber());
  }
  if (kind == OutcomeKind::kCompleted && has_bad_luck() && world_.has(Feature::kBrought) && random_.OneIn(4)) {
    report.brings = MakeBrought(report);
  }
  StartSome();
  if (good_ || !random_.OneIn(4)) {
    Flush(false);
  } else {
    Later(random_.About(50 * kMilli), [this] { Flush(false); });
  }
}

std::shared_ptr<const SimTasks> SimWorker::MakeBrought(const Report& completed) {
  auto made = std::make_shared<SimTasks>();
  const auto call = static_cast<int64_t>(world_.NextNumber());
  const int64_t count = random_.Between(1, 3);
  for (int64_t i = 0; i < count; ++i) {
    histcheck::Event& line = world_.Log(Op::kEnqueue, name_);
    line.call = call;
    line.i = i;
    line.task = completed.task.value();
    line.token = completed.token.value();
    made->tasks.push_back(maker_.Make(random_.Pick(world_.queues()), nullptr, &line, &made->texts));
  }
  return made;
}

// --- what it hears ---

void SimWorker::Arrive(Ticket stream, SessionMessage message) {
  if (stream != stream_ || gone_) return;
  for (const Delivery& delivery : message.deliveries) {
    const SpecFields fields = ReadSpec(delivery.spec);
    histcheck::Event& line = world_.Log(Op::kDeliver, name_);
    line.task = delivery.task.value();
    line.token = delivery.token.value();
    line.attempt = delivery.attempt;
    line.max_attempts = delivery.max_attempts;
    line.payload = fields.payload;
    if (!fields.labels.empty()) world_.Cover(Point::kRanByLabels);
    if (fields.payload.ends_with('u')) world_.Cover(Point::kRanChanged);
    if (fields.payload.starts_with('w')) world_.Cover(Point::kRanBrought);
    line.since = world_.GivenOut(delivery.token);
    line.saved = delivery.checkpoint;
    line.q = fields.queue;
    line.type = fields.type;
    line.priority = fields.priority.empty() ? -1 : fields.priority[0] - '0';
  }
  if (frozen_until_ > loop_.now()) {
    inbox_.emplace_back(stream, std::move(message));
    return;
  }
  Hear(message);
}

void SimWorker::Hear(const SessionMessage& message) {
  const Ticket stream = stream_;
  if (message.welcome) HearWelcome(*message.welcome);
  for (const Delivery& delivery : message.deliveries) HearDelivery(delivery);
  HearAcknowledgement(message);
  for (TaskId task : message.cancelled_tasks) {
    auto found = held_.find(task);
    if (found == held_.end()) continue;
    world_.Cover(Point::kSessionCancel);
    found->second.cancel = true;
    if (found->second.started && random_.OneIn(2)) {
      Later(random_.About(5 * kMilli), [this, task, token = found->second.token] { EndHandler(task, token); });
    }
  }
  if (message.drain) {
    world_.Cover(Point::kSessionDrain);
    draining_ = true;
  }
  if (draining_ && has_bad_luck()) {
    // What has not started goes back.
    for (TaskId task : std::exchange(waiting_, {})) {
      const Held held = held_.at(task);
      held_.erase(task);
      AddReport(task, held, OutcomeKind::kReleased, std::nullopt);
    }
    if (held_.empty() && settled() && welcomed_) return SayGoodbye(random_.About(kSecond));
  } else if (draining_) {
    draining_ = draining_told_ = false;
    if (welcomed_ && !message.end) return SayGoodbye(0);  // to come back as one that takes tasks
  }
  StartSome();
  Flush(false);
  if (message.end && stream == stream_) HearEnd(*message.end);
}

void SimWorker::HearWelcome(const SessionWelcome& welcome) {
  welcomed_ = true;
  has_session_ = true;
  world_.Welcomed(stream_);
  world_.Cover(welcome.resumed ? Point::kSessionResumed : Point::kSessionNew);
  if (!welcome.lost_tasks.empty()) world_.Cover(Point::kSessionResumedLost);
  if (!welcome.cancelled_tasks.empty()) world_.Cover(Point::kSessionResumedCancelled);
  for (TaskId task : welcome.lost_tasks) LoseOne(task, true);
  for (TaskId task : welcome.cancelled_tasks) {
    if (auto found = held_.find(task); found != held_.end()) found->second.cancel = true;
  }
  // What was not acknowledged is told again.
  std::vector<Report> again;
  for (auto& [frame, reports] : std::exchange(unacknowledged_, {})) {
    for (Report& report : reports) {
      report.resent = true;
      again.push_back(report);
    }
  }
  reports_.insert(reports_.begin(), again.begin(), again.end());
  for (const auto& [task, held] : held_) {
    if (held.started && start_manner_ != 2) starts_.push_back({task, held.token});
  }
  if (!std::exchange(heartbeat_, true)) {
    struct Beat {
      static void Next(SimWorker* worker) {
        worker->Later(worker->heartbeat_every_, [worker] {
          worker->Flush(true);
          Next(worker);
        });
      }
    };
    Beat::Next(this);
  }
}

void SimWorker::HearDelivery(const Delivery& delivery) {
  LoseOne(delivery.task, true);  // an older lease of it
  Held held;
  held.token = delivery.token;
  held.attempt = delivery.attempt;
  held.max_attempts = delivery.max_attempts;
  held.spec = ReadSpec(delivery.spec);
  if (outstanding_ > 0) --outstanding_;
  if (auto typed = outstanding_types_.find(held.spec.type); typed != outstanding_types_.end() && typed->second > 0)
    --typed->second;
  held_[delivery.task] = held;
  waiting_.push_back(delivery.task);
}

void SimWorker::HearAcknowledgement(const SessionMessage& message) {
  std::map<std::pair<TaskId, FencingToken>, const Refusal*> refused;
  for (const Refusal& refusal : message.refusals) refused[{refusal.task, refusal.token}] = &refusal;
  while (!unacknowledged_.empty() && unacknowledged_.front().first <= message.acknowledged_frame) {
    for (const Report& report : unacknowledged_.front().second) {
      auto found = refused.find({report.task, report.token});
      Answer(report, true, found == refused.end() ? nullptr : found->second);
    }
    unacknowledged_.pop_front();
  }
  // Frames are taken in their order, so what was told before an acknowledged one is known, too.
  for (auto& [task, held] : held_) {
    if (held.start_frame == 0 || held.start_frame > message.acknowledged_frame || refused.contains({task, held.token}))
      continue;
    held.start_frame = 0;
    histcheck::Event& line = world_.Log(Op::kStart, name_);
    line.task = task.value();
    line.token = held.token.value();
    line.phase = Phase::kOk;
  }
  // A refused start or report: the lease is not ours any more.
  for (const auto& [lease, refusal] : refused) {
    auto found = held_.find(lease.first);
    if (found != held_.end() && found->second.token == lease.second) LoseOne(lease.first, true);
  }
}

void SimWorker::Answer(const Report& report, bool known, const Refusal* refusal) {
  histcheck::Event& line = world_.Log(Op::kAnswer, name_);
  line.task = report.task.value();
  line.token = report.token.value();
  line.dup = report.resent;
  if (refusal != nullptr) {
    if (refusal->reason == RefusalReason::kInvalid) {
      line.phase = Phase::kFail;
      world_.Cover(Point::kAnsweredRefused);
      return;
    }
    const bool stale = refusal->reason == RefusalReason::kStaleLease;
    line.phase = stale ? Phase::kStale : Phase::kFinished;
    world_.Cover(stale ? Point::kAnsweredStale : Point::kAnsweredFinished);
    return;
  }
  if (!known) {
    line.phase = Phase::kUnknown;
    world_.Cover(Point::kAnsweredUnknown);
    return;
  }
  line.phase = Phase::kOk;
  if (report.brings != nullptr) world_.Cover(Point::kCompletedBringing);
  if (report.cool == CoolScope::kQueue || report.cool == CoolScope::kType) world_.Cover(Point::kCoolAsked);
  if (report.cool == CoolScope::kGroup) world_.Cover(Point::kCoolGroupAsked);
  if (report.cool == CoolScope::kKey) world_.Cover(Point::kCoolKeyAsked);
  switch (report.kind) {
    case OutcomeKind::kCompleted:
      world_.Cover(report.cancel        ? Point::kCompletedCancelAsked
                   : report.attempt > 1 ? Point::kCompletedLater
                                        : Point::kCompleted);
      break;
    case OutcomeKind::kFailed:
      world_.Cover(report.cancel ? Point::kFailedCancelAsked : report.last ? Point::kFailedLast : Point::kFailed);
      break;
    case OutcomeKind::kRejected:
      world_.Cover(Point::kRejected);
      break;
    case OutcomeKind::kSnoozed:
      world_.Cover(report.cancel ? Point::kSnoozedCancelAsked : Point::kSnoozed);
      break;
    case OutcomeKind::kReleased:
      world_.Cover(report.cancel ? Point::kReleasedCancelAsked : Point::kReleased);
      break;
    case OutcomeKind::kCancelled:
      world_.Cover(report.cancel ? Point::kCancelledAsked : Point::kCancelledUnasked);
      break;
  }
}

void SimWorker::HearEnd(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kNotFound:
      world_.Cover(Point::kSessionGone);
      break;
    case absl::StatusCode::kAborted:
      world_.Cover(Point::kSessionLapsed);
      break;
    case absl::StatusCode::kResourceExhausted:
      world_.Cover(Point::kSessionFull);
      break;
    default:
      world_.Cover(Point::kSessionUnknown);
      break;
  }
  const bool over = status.code() == absl::StatusCode::kNotFound || status.code() == absl::StatusCode::kAborted;
  Disconnect();
  if (over) LoseAll(true);
  Later(random_.About(status.code() == absl::StatusCode::kResourceExhausted ? kSecond : 100 * kMilli),
        [this] { Connect(); });
}

}  // namespace penstock::broker
