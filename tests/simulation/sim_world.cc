#include "tests/simulation/sim_world.h"

#include <algorithm>
#include <set>

#include "broker/storage/history.h"
#include "broker/storage/keys.h"
#include "broker/storage/records.h"
#include "common/coding.h"
#include "common/status_details.h"
#include "fmt/format.h"
#include "tests/simulation/sim_bulk.h"
#include "tests/simulation/sim_clients.h"
#include "tests/simulation/sim_worker.h"

namespace penstock::broker {
namespace {

using histcheck::Op;
using histcheck::Phase;

// The liveness phase: virtual time, and events, by when everything must have ended.
constexpr Span kLiveness = 15 * kMinute;
constexpr uint64_t kQuietEvents = 300'000;
// How early before the end of a lease nobody vouches for it any more: frames wait in the mailbox, and while they do the
// core's clock may stand.
constexpr Span kVouchSlack = kSecond;
constexpr Span kPauseMost = 8 * kSecond;

size_t BytesOf(const Command& command, size_t bytes) {
  const auto* input = std::get_if<SessionInput>(&command);
  return bytes + (input == nullptr ? 0 : 60 * (input->outcomes.size() + input->starts.size()));
}

}  // namespace

histcheck::Phase PhaseOf(const absl::Status& status) {
  if (status.ok()) return Phase::kOk;
  const bool unknown = absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status);
  return unknown ? Phase::kUnknown : Phase::kFail;
}

SimWorld::SimWorld(const SimConfig& config, bool record_script)
    : config_(config),
      loop_(config.seed * 8 + 1),
      clock_(loop_),
      network_(config.seed * 8 + 3),
      faults_(config.seed * 8 + 5),
      broker_(config_, loop_, clock_, coverage_, *this) {
  if (record_script) broker_.RecordScript();
  for (int i = 0; i < config_.queues; ++i) queues_.push_back(fmt::format("q{}", i));
  for (int i = 0; i < config_.types; ++i) types_.push_back(fmt::format("t{}", i));
  for (int i = 0; i < config_.producers; ++i) producers_.push_back(std::make_unique<SimProducer>(*this, i));
  for (int i = 0; i < config_.workers; ++i) workers_.push_back(std::make_unique<SimWorker>(*this, i, false));
  operator_ = std::make_unique<SimOperator>(*this);
  if (has(Feature::kBulkJobs)) bulk_client_ = std::make_unique<SimBulkClient>(*this);
}

SimWorld::~SimWorld() {
  if (bulk_ != nullptr) bulk_->Die();
}

histcheck::Event& SimWorld::Log(Op op, const std::string& who) {
  histcheck::Event& line = history_.emplace_back();
  line.op = op;
  // Wall time may stand still in histories, after it went back; lines have an order all the same.
  log_time_ = std::max(clock_.latest(), log_time_ + 1);
  line.t = log_time_;
  line.who = who;
  loop_.Trace(static_cast<uint64_t>(op) + history_.size());
  return line;
}

void SimWorld::OnProblem(std::string rule, std::string what) {
  problems_.push_back({std::move(rule), std::move(what)});
  over_ = true;
}

void SimWorld::Run() {
  histcheck::Event& line = Log(Op::kConfig);
  line.max_delay = config_.max_delay + 10;
  // Two batches are ahead of one, and the broker may stand still meanwhile.
  line.max_commit = 4 * config_.max_commit + (has(Feature::kBrokerPauses) ? kPauseMost : 0) + 50 * kMilli;
  line.max_silence = 70 * kSecond;
  line.window = 100 * kMilli;
  line.liveness = kLiveness;
  line.n = config_.core.priority_burst;
  line.forgets = config_.has(Feature::kShortRetention);
  broker_.Start();
  operator_->Start();
  for (auto& worker : workers_) worker->Start();
  for (auto& producer : producers_) producer->Start();
  if (bulk_client_ != nullptr) bulk_client_->Start();
  FaultTick();
  CheckTick();
  while (!over_ && loop_.events() < config_.events && loop_.now() < config_.span && loop_.RunOne()) {
  }
  if (!over_) BeginQuiet();
  const uint64_t events_most = loop_.events() + kQuietEvents;
  while (!over_ && !drained_ && loop_.now() < quiet_since_ + kLiveness && loop_.events() < events_most &&
         loop_.RunOne()) {
  }
  if (!over_) Finish();
}

// --- the network ---

Span SimWorld::Delay() {
  if (quiet_) return 100;
  return network_.OneIn(8) ? static_cast<Span>(1 + network_.Below(static_cast<uint64_t>(config_.max_delay)))
                           : static_cast<Span>(20 + network_.Below(400));
}

void SimWorld::Call(Command command, size_t bytes, Span timeout, Done done) {
  auto shared = std::make_shared<Done>(std::move(done));
  auto answer = [shared](const absl::Status& status, const Reply* reply) {
    if (*shared == nullptr) return;  // it has given up
    const Done call = std::exchange(*shared, nullptr);
    call(status, reply);
  };
  loop_.After(timeout, [answer] { answer(absl::DeadlineExceededError("the client waited long enough"), nullptr); });
  if (Lost()) {
    Cover(Point::kRequestLost);
    if (network_.OneIn(2))
      loop_.After(Delay(), [answer] { answer(absl::UnavailableError("connection reset"), nullptr); });
    return;
  }
  const Ticket ticket(next_ticket_++);
  std::visit(
      [&](auto& named) {
        if constexpr (requires { named.ticket; }) named.ticket = ticket;
      },
      command);
  auto arrive = std::make_shared<std::function<void()>>();
  auto message = std::make_shared<Command>(std::move(command));
  *arrive = [this, answer, shared, ticket, message, bytes, again = std::weak_ptr(arrive)] {
    if (broker_.running() && broker_.still_until() > loop_.now()) {
      loop_.At(broker_.still_until() + 1, [keep = again.lock()] { (*keep)(); });
      return;
    }
    absl::Status status = absl::UnavailableError("connection refused");
    if (broker_.running()) {
      calls_[ticket] = {shared};
      status = broker_.Post(std::move(*message), BytesOf(*message, bytes));
      if (status.ok()) return;
      calls_.erase(ticket);
    }
    loop_.After(Delay(), [answer, status] { answer(status, nullptr); });
  };
  loop_.After(Delay(), [arrive] { (*arrive)(); });
}

void SimWorld::CallBulk(AskBulk ask, Span timeout, std::function<void(const absl::StatusOr<v1::BulkJob>&)> done) {
  auto shared = std::make_shared<decltype(done)>(std::move(done));
  auto answer = [shared](const absl::StatusOr<v1::BulkJob>& job) {
    if (*shared != nullptr) std::exchange(*shared, nullptr)(job);  // else it has given up
  };
  loop_.After(timeout, [answer] { answer(absl::DeadlineExceededError("the client waited long enough")); });
  if (Lost()) return Cover(Point::kRequestLost);
  struct Arrival {
    static void Now(SimWorld* world, const AskBulk& call, const BulkJob::Done& told) {
      const Span still = world->broker_.still_until();
      if (world->broker_.running() && still > world->loop_.now()) {
        return world->loop_.At(still + 1, [world, call, told] { Now(world, call, told); });
      }
      if (!world->broker_.running()) return told(absl::UnavailableError("connection refused"));
      const std::shared_ptr<SimBulk> bulk = world->bulk_;  // whatever comes of it
      call(*bulk, told);
    }
  };
  // One that the broker takes with it is not answered: its client waits long enough.
  auto told = [this, answer](const absl::StatusOr<v1::BulkJob>& job) {
    if (Lost()) return Cover(Point::kReplyLost);
    loop_.After(Delay(), [answer, job] { answer(job); });
  };
  loop_.After(Delay(), [this, ask = std::move(ask), told] { Arrival::Now(this, ask, told); });
}

void SimWorld::LogBulk(const v1::BulkJob& job, const std::string& who) {
  static constexpr const char* kStates[] = {"", "running", "done", "stopped", "failed"};
  histcheck::Event& line = Log(Op::kBulk, who);
  line.name = job.job_id();
  line.state = kStates[job.state()];
  line.seen = static_cast<int64_t>(job.seen());
  line.matched = static_cast<int64_t>(job.matched());
  line.changed = static_cast<int64_t>(job.changed());
  line.skipped = static_cast<int64_t>(job.skipped());
}

bool SimWorld::BulkJobsEnded() const {
  if (bulk_client_ == nullptr) return true;
  if (!bulk_client_->idle() || bulk_ == nullptr) return false;
  const auto jobs = bulk_->core().List();
  return jobs.ok() && std::all_of(jobs->begin(), jobs->end(),
                                  [](const v1::BulkJob& job) { return job.state() != v1::BULK_JOB_STATE_RUNNING; });
}

void SimWorld::Watch(TaskId task, bool only_end) {
  const Ticket ticket(next_ticket_++);
  watches_[ticket] = {.task = task, .state = State::kAvailable, .known = false};
  loop_.After(Delay(), [this, task, only_end, ticket] {
    if (!broker_.up() || !broker_.Post(WatchTaskCommand{ticket, task, only_end}, 100).ok()) watches_.erase(ticket);
  });
}

void SimWorld::HearWatch(Ticket ticket, const absl::Status& status, const TaskSnapshot& snapshot, bool event) {
  auto found = watches_.find(ticket);
  if (found == watches_.end()) return;
  Watcher& watcher = found->second;
  if (!status.ok()) {
    if (absl::IsResourceExhausted(status)) Cover(Point::kWatchFull);
    if (absl::IsNotFound(status) && event) Cover(Point::kWatchPurged);
    watches_.erase(found);
    return;
  }
  Cover(Point::kWatchOk);
  const bool unclear = !event && snapshot.place == TaskSnapshot::Place::kFinished;
  if (snapshot.place == TaskSnapshot::Place::kGone || unclear) {
    watches_.erase(found);
    return;
  }
  const State from = watcher.state, to = snapshot.state;
  if (event && watcher.known) {
    struct Transition {
      State from, to;
      Point point;
    };
    static constexpr Transition kTransitions[] = {{State::kScheduled, State::kRunning, Point::kScheduledRunning},
                                                  {State::kAvailable, State::kRunning, Point::kAvailableRunning},
                                                  {State::kRetryable, State::kRunning, Point::kRetryableRunning},
                                                  {State::kRunning, State::kCompleted, Point::kRunningCompleted},
                                                  {State::kRunning, State::kRetryable, Point::kRunningRetryable},
                                                  {State::kRunning, State::kAvailable, Point::kRunningAvailable},
                                                  {State::kRunning, State::kDead, Point::kRunningDead},
                                                  {State::kRunning, State::kCancelled, Point::kRunningCancelled},
                                                  {State::kScheduled, State::kCancelled, Point::kScheduledCancelled},
                                                  {State::kAvailable, State::kCancelled, Point::kAvailableCancelled},
                                                  {State::kRetryable, State::kCancelled, Point::kRetryableCancelled},
                                                  {State::kScheduled, State::kDead, Point::kScheduledDead},
                                                  {State::kAvailable, State::kDead, Point::kAvailableDead},
                                                  {State::kScheduled, State::kAvailable, Point::kScheduledAvailable},
                                                  {State::kRetryable, State::kAvailable, Point::kRetryableAvailable}};
    for (const Transition& transition : kTransitions) {
      if (transition.from == from && transition.to == to) Cover(transition.point);
    }
  }
  watcher.state = to;
  watcher.known = true;
  if (!IsFinal(to)) return;
  const TaskId task = watcher.task;
  watches_.erase(found);
  loop_.After(Delay(), [this, task, to] {
    if (drained_) return;
    histcheck::Event& line = Log(Op::kSeen, "watcher");
    line.task = task.value();
    line.state = to == State::kCompleted ? "completed" : to == State::kCancelled ? "cancelled" : "dead";
  });
}

Ticket SimWorld::OpenStream(SimWorker* worker) {
  const Ticket ticket(next_ticket_++);
  streams_[ticket].worker = worker;
  return ticket;
}

void SimWorld::Send(Ticket ticket, Command command) {
  auto found = streams_.find(ticket);
  if (found == streams_.end() || found->second.cut) return;
  Stream& stream = found->second;
  stream.to_broker.push_back(std::move(command));
  stream.last_to_broker = std::max(loop_.now() + Delay(), stream.last_to_broker + 1);
  loop_.At(stream.last_to_broker, [this, ticket] { ArriveAtBroker(ticket); });
}

void SimWorld::ArriveAtBroker(Ticket ticket) {
  auto found = streams_.find(ticket);
  if (found == streams_.end() || found->second.cut || found->second.to_broker.empty()) return;
  Stream& stream = found->second;
  if (broker_.running() && broker_.still_until() > loop_.now()) {
    loop_.At(broker_.still_until() + 1, [this, ticket] { ArriveAtBroker(ticket); });
    return;
  }
  if (!broker_.running()) return BreakAtBroker(ticket);
  // A copy: what is refused for want of room is read again later.
  Command command = stream.to_broker.front();
  const size_t bytes = BytesOf(command, 100);
  const absl::Status status = broker_.Post(std::move(command), bytes);
  if (absl::IsResourceExhausted(status)) {
    loop_.After(20 * kMilli, [this, ticket] { ArriveAtBroker(ticket); });
    return;
  }
  if (!status.ok()) return BreakAtBroker(ticket);
  const bool opens = std::holds_alternative<OpenSessionCommand>(stream.to_broker.front());
  stream.to_broker.pop_front();
  if (opens) {
    stream.opened = true;
    vouches_[stream.worker->name()].stream = ticket;
  }
  Heard(&stream);
}

// The broker is not there, or is going: the connection is refused or reset.
void SimWorld::BreakAtBroker(Ticket ticket) {
  auto found = streams_.find(ticket);
  SimWorker* worker = found->second.worker;
  streams_.erase(found);
  loop_.After(Delay(), [worker, ticket] { worker->OnCut(ticket); });
}

void SimWorld::ArriveAtWorker(Ticket ticket) {
  auto found = streams_.find(ticket);
  if (found == streams_.end() || found->second.cut || found->second.to_worker.empty()) return;
  SimWorker* worker = found->second.worker;
  SessionMessage message = std::move(found->second.to_worker.front());
  found->second.to_worker.pop_front();
  if (message.end) streams_.erase(found);
  worker->Arrive(ticket, std::move(message));
}

void SimWorld::CutStream(Ticket ticket, Span broker_after) {
  auto found = streams_.find(ticket);
  if (found == streams_.end()) return;
  Stream& stream = found->second;
  stream.cut = true;
  stream.to_broker.clear();
  stream.to_worker.clear();
  if (!stream.opened) {
    streams_.erase(found);
    return;
  }
  if (broker_after == kNever) return;
  loop_.After(broker_after, [this, ticket] {
    auto broken = streams_.find(ticket);
    if (broken == streams_.end() || !broker_.up()) return;
    if (broker_.still_until() > loop_.now()) return CutStream(ticket, broker_.still_until() - loop_.now() + 1);
    if (absl::IsResourceExhausted(broker_.Post(SessionBroken{ticket}, 100))) return CutStream(ticket, 20 * kMilli);
    const std::string& worker = broken->second.worker->name();
    Vouch& vouch = vouches_[worker];
    if (vouch.stream == ticket && vouch.until > loop_.now()) {
      SetVouch(worker, std::min(vouch.until, loop_.now() + config_.core.session_grace - kVouchSlack));
    }
    streams_.erase(broken);
  });
}

// --- what surely holds ---

void SimWorld::SetVouch(const std::string& worker, Span until) {
  Vouch& vouch = vouches_[worker];
  vouch.until = until;
  // A little more is not worth a line.
  if (until >= vouch.logged && until < vouch.logged + kSecond) return;
  vouch.logged = until;
  histcheck::Event& line = Log(Op::kValid, worker);
  // Leases count elapsed time. While wall time is behind its own past, histories cannot say when they end.
  line.until = clock_.behind() ? 0 : line.t + (until - loop_.now());
}

void SimWorld::Heard(Stream* stream) {
  stream->heard = loop_.now();
  const std::string& worker = stream->worker->name();
  const Vouch& vouch = vouches_[worker];
  if (vouch.until <= loop_.now() || streams_.find(vouch.stream) == streams_.end()) return;
  if (&streams_.find(vouch.stream)->second != stream) return;
  // It replaces what held before, a longer reclaim window too.
  SetVouch(worker, loop_.now() + stream->worker->lease() - kVouchSlack);
}

void SimWorld::Welcomed(Ticket ticket) {
  auto found = streams_.find(ticket);
  if (found == streams_.end() || found->second.cut) return;
  const std::string& worker = found->second.worker->name();
  if (vouches_[worker].stream != ticket) return;
  SetVouch(worker, found->second.heard + found->second.worker->lease() - kVouchSlack);
}

// --- the broker's side ---

void SimWorld::OnGivenOut(const Effects& effects) {
  for (const SessionMessage& message : effects.session_messages) {
    for (const Delivery& delivery : message.deliveries) {
      given_out_[delivery.token.value()] = std::max(clock_.latest(), log_time_);
    }
  }
}

void SimWorld::OnEffects(Effects effects) {
  for (Reply& reply : effects.replies) {
    if (bulk_ != nullptr && bulk_->Hear(&reply)) continue;
    if (watches_.contains(reply.ticket)) {
      const auto* task = std::get_if<TaskReply>(&reply.value);
      HearWatch(reply.ticket, reply.status, task == nullptr ? TaskSnapshot() : task->snapshot, false);
      continue;
    }
    auto found = calls_.find(reply.ticket);
    if (found == calls_.end()) continue;
    auto shared = found->second.done;
    calls_.erase(found);
    if (Lost()) {
      Cover(Point::kReplyLost);
      continue;
    }
    if (absl::IsUnavailable(reply.status)) Cover(Point::kCommitUnknown);
    loop_.After(Delay(), [shared, held = std::make_shared<Reply>(std::move(reply))] {
      if (*shared == nullptr) return;
      const Done call = std::exchange(*shared, nullptr);
      call(held->status, held.get());
    });
  }
  for (SessionMessage& message : effects.session_messages) {
    const Ticket ticket = message.stream;
    if (message.end && absl::IsAborted(*message.end) && message.end->message().find("resumed") != std::string::npos) {
      Cover(Point::kSessionReplaced);
    }
    auto found = streams_.find(ticket);
    if (found == streams_.end()) continue;
    Stream& stream = found->second;
    if (stream.cut) {
      if (message.end) streams_.erase(found);
      continue;
    }
    stream.to_worker.push_back(std::move(message));
    stream.last_to_worker = std::max(loop_.now() + Delay(), stream.last_to_worker + 1);
    loop_.At(stream.last_to_worker, [this, ticket] { ArriveAtWorker(ticket); });
  }
  for (const WatchEvent& event : effects.watch_events) HearWatch(event.ticket, event.status, event.snapshot, true);
}

void SimWorld::OnUp() {
  // Every recorded session has the reclaim window to come back.
  for (auto& [worker, vouch] : vouches_) {
    vouch.stream = Ticket();
    if (!vouch.any) continue;
    vouch.any = false;
    SetVouch(worker, loop_.now() + config_.core.reclaim_window - kVouchSlack);
  }
  if (!has(Feature::kBulkJobs)) return;
  if (bulk_ == nullptr) bulk_ = std::make_shared<SimBulk>(*this, broker_, config_.seed * 64 + 7 + (next_ticket_ << 32));
  bulk_->EnterEngine();
}

void SimWorld::OnDown(bool engine_only) {
  if (bulk_ != nullptr && engine_only && !bulk_->core().stopping()) {
    bulk_->LeaveEngine();
  } else if (bulk_ != nullptr) {
    bulk_->Die();
    bulk_.reset();
  }
  for (auto& [ticket, call] : std::exchange(calls_, {})) {
    loop_.After(Delay(), [shared = call.done] {
      if (*shared == nullptr) return;
      const Done done = std::exchange(*shared, nullptr);
      done(absl::UnavailableError("connection reset"), nullptr);
    });
  }
  watches_.clear();
  for (auto& [ticket, stream] : std::exchange(streams_, {})) {
    if (stream.cut) continue;
    loop_.After(Delay(), [worker = stream.worker, id = ticket] { worker->OnCut(id); });
  }
  for (auto& [worker, vouch] : vouches_) vouch.any = vouch.until > loop_.now();
  const Span away = broker_.store().full() ? kSecond : static_cast<Span>(faults_.Below(3'000)) * kMilli;
  loop_.After(away, [this] {
    if (!broker_.running()) broker_.Start();
  });
}

// Bulk jobs store what is left to do before the engine stops.
void SimWorld::StopBroker() {
  if (bulk_ == nullptr || !broker_.up()) return broker_.Stop();
  bulk_->BeginStop([this] { broker_.Stop(); });
}

// --- faults ---

void SimWorld::FaultTick() {
  loop_.After(faults_.About(config_.span / 25 + 1), [this] {
    if (quiet_) return;
    FaultTick();
    switch (faults_.Below(9)) {
      case 0:
        if (has(Feature::kBrokerKills)) broker_.Kill(false);
        break;
      case 1:
        if (has(Feature::kPowerLoss) && broker_.running()) {
          Log(Op::kPowerLoss);
          broker_.Kill(true);
        }
        break;
      case 2:
        if (has(Feature::kCommitErrors) && broker_.up()) {
          const bool keep = faults_.OneIn(2);
          Cover(keep ? Point::kCommitFailedKept : Point::kCommitFailedLost);
          broker_.store().FailNextCommit(keep);
        }
        break;
      case 3:
        if (has(Feature::kDiskFull)) {
          broker_.store().set_full(true);
          loop_.After(faults_.Between(10, 5'000) * kMilli, [this] { broker_.store().set_full(false); });
        }
        break;
      case 4:
        if (has(Feature::kSlowDisk)) {
          broker_.set_slow(true);
          loop_.After(faults_.Between(100, 8'000) * kMilli, [this] { broker_.set_slow(false); });
        }
        break;
      case 5:
        if (has(Feature::kBrokerPauses)) {
          Cover(Point::kBrokerPaused);
          broker_.StandStill(loop_.now() + faults_.Between(1, kPauseMost / kMilli) * kMilli);
        }
        break;
      case 6:
        if (has(Feature::kBrokerStops)) StopBroker();
        break;
      case 7:
        // A repeated request is recognised for ten minutes of wall time: they must not jump over those.
        if (has(Feature::kClockJumps) && jumps_ < 2) {
          ++jumps_;
          const bool back = faults_.OneIn(2);
          Cover(back ? Point::kClockBack : Point::kClockForward);
          const Span by = static_cast<Span>(faults_.Below(200)) * kSecond;
          histcheck::Event& line = Log(Op::kJump);
          line.until = back ? line.t + by : line.t;
          line.n = back ? 0 : std::max<Span>(clock_.wall() + by - clock_.latest(), 0);
          clock_.Jump(back ? -by : by);
          for (auto& [worker, vouch] : vouches_) {
            vouch.logged = kNever;  // a line at once
            SetVouch(worker, vouch.until);
          }
        }
        break;
      default:
        break;
    }
  });
}

void SimWorld::CheckTick() {
  loop_.After(faults_.Between(config_.span / 4, config_.span / 2) + 1, [this] {
    if (quiet_) return;
    broker_.Check();
    CheckTick();
  });
}

// --- liveness ---

void SimWorld::BeginQuiet() {
  quiet_ = true;
  quiet_since_ = loop_.now();
  Log(Op::kQuiet, "");
  broker_.store().set_full(false);
  broker_.set_slow(false);
  // Of those who finish everything, none has all labels.
  const size_t finishers = has(Feature::kLabels) ? 2 : 1;
  size_t stay = 0;
  for (auto& worker : workers_) {
    // All behave; most leave, for their heartbeats would be most of what happens.
    const bool stays = stay + finishers < 3 && faults_.OneIn(2);
    stay += stays;
    worker->BeGood(stays);
  }
  for (size_t i = 0; i < finishers; ++i) {
    workers_.push_back(std::make_unique<SimWorker>(*this, 900 + static_cast<int>(i), true));
    workers_.back()->Start();
  }
  loop_.After(20 * kSecond, [this] {
    operator_->ResumeAll([this] { resumed_ = true; });
    PollDrained();
  });
}

void SimWorld::PollDrained() {
  loop_.After(kSecond, [this] {
    const bool settled =
        resumed_ && BulkJobsEnded() &&
        std::all_of(producers_.begin(), producers_.end(), [](const auto& producer) { return producer->idle(); }) &&
        std::all_of(workers_.begin(), workers_.end(), [](const auto& worker) { return worker->settled(); });
    if (!settled) return PollDrained();
    Call(StatusCommand(), 100, 5 * kSecond, [this](const absl::Status& status, const Reply* reply) {
      if (!status.ok()) return PollDrained();
      for (const QueueView& queue : std::get<StatusReply>(reply->value).queues) {
        const QueueCounters& counters = queue.counters;
        if (counters.scheduled + counters.available + counters.running + counters.retryable > 0) return PollDrained();
      }
      drained_ = true;
    });
  });
}

void SimWorld::Finish() {
  if (drained_) {
    Cover(Point::kDrained);
    Log(Op::kDrained);
    // What was still being written or said.
    for (int i = 0; i < 2'000 && !broker_.at_rest() && loop_.RunOne(); ++i) {
    }
    broker_.Check();
    LogEnd();
  }
  const std::vector<SimProblem> found = problems_;
  Judge();
  if (!problems_.empty() || !drained_) return;
  ExpectNothingLeft();
}

void SimWorld::LogEnd() {
  std::set<uint64_t> tasks;
  for (const histcheck::Event& event : history_) {
    if (event.op == Op::kDeliver || (event.op == Op::kEnqueued && event.phase == Phase::kOk)) tasks.insert(event.task);
  }
  for (uint64_t task : tasks) {
    static constexpr const char* kReasons[] = {"", "attempts", "rejected", "expired", "dropped", "timed_out"};
    EndState end = StateOf(TaskId(task));
    histcheck::Event& line = Log(Op::kTask);
    line.task = task;
    line.state = std::move(end.state);
    line.reason = kReasons[static_cast<size_t>(end.reason)];
    line.until = end.end_time;
    if (end.reason == DeadReason::kDropped) Cover(Point::kDropped);
  }
  if (bulk_ != nullptr) {
    if (const auto jobs = bulk_->core().List(); jobs.ok()) {
      for (const v1::BulkJob& job : *jobs) LogBulk(job, "");
    }
  }
  Effects effects = broker_.AskAtRest(StatusCommand{Ticket(next_ticket_++)});
  for (const Reply& reply : effects.replies) {
    const auto* status = std::get_if<StatusReply>(&reply.value);
    if (status == nullptr) continue;
    for (const QueueView& queue : status->queues) {
      const QueueCounters& c = queue.counters;
      histcheck::Event& line = Log(Op::kCounters);
      line.q = queue.name;
      auto number = [](uint64_t count) { return static_cast<int64_t>(count); };
      line.counts = {number(c.scheduled),       number(c.available),    number(c.running),
                     number(c.retryable),       number(c.dead),         number(c.enqueued_total),
                     number(c.completed_total), number(c.failed_total), number(c.cancelled_total),
                     number(c.dead_total)};
    }
  }
}

// As rpc/task_reader.h joins them: what the core knows, then the task's record, its block, and history.
SimWorld::EndState SimWorld::StateOf(TaskId task) {
  static constexpr const char* kStates[] = {"",          "scheduled", "blocked",   "available", "running",
                                            "retryable", "completed", "cancelled", "dead"};
  Effects effects = broker_.AskAtRest(GetTaskCommand{Ticket(next_ticket_++), task});
  const TaskSnapshot snapshot = std::get<TaskReply>(effects.replies.at(0).value).snapshot;
  if (snapshot.place == TaskSnapshot::Place::kRunning) return {"running"};
  if (snapshot.place == TaskSnapshot::Place::kGone) return {"gone"};
  const SimStore& store = broker_.store();
  const Keys keys(config_.core.partition);
  auto record = GetRecord<records::TaskRecord>(store, Family::kTasks, keys.TaskRecord(task));
  if (record.ok()) {
    return {kStates[record->state()], static_cast<DeadReason>(record->dead_reason()), record->end_time()};
  }
  std::vector<HistoryAddress> finishes = snapshot.finishes;
  if (snapshot.place != TaskSnapshot::Place::kFinished) {
    const BlockId block(task.block());
    if (store.Get(Family::kBlocks, keys.Block(block)).ok() ||
        store.Get(Family::kTasks, keys.CompactedBlock(block)).ok()) {
      return {kStates[static_cast<size_t>(snapshot.state)]};
    }
    const std::string key = keys.Finishes(block);
    if (auto value = store.Get(Family::kIndex, key); value.ok()) {
      if (auto body = OpenValue(key, *value); body.ok()) {
        if (auto decoded = DecodeAddresses(*body); decoded.ok()) finishes = *std::move(decoded);
      }
    }
  }
  std::string state = "gone";
  for (const HistoryAddress& address : finishes) {
    const std::string key = keys.History(address.bucket, address.sequence);
    auto value = store.Get(Family::kHistory, key);
    if (!value.ok()) continue;
    auto body = OpenValue(key, *value);
    if (!body.ok()) continue;
    (void)VisitHistory(*body, [&](const FinishedTask& finished) {
      if (finished.task == task) state = "completed";
      return state == "gone";
    });
  }
  return {state};
}

// Everything that is kept ends some day. Wall time alone passes: nobody's lease ends by that.
void SimWorld::ExpectNothingLeft() {
  auto run = [&](Span span) {
    const Span until = loop_.now() + span;
    while (loop_.now() < until && loop_.RunOne()) {
    }
  };
  for (int i = 0; i < 2; ++i) {
    clock_.Jump(40 * 24 * kHour);
    if (bulk_ != nullptr) bulk_->Wake();
    run(25 * kSecond);
  }
  // A full mailbox lets one stay until the next start.
  if (const Keys keys(config_.core.partition); bulk_client_ != nullptr && !has(Feature::kSmallLimits)) {
    (void)broker_.store().Scan(Family::kMeta, keys.First('b'), keys.Past('b'),
                               [&](std::string_view key, std::string_view) {
                                 OnProblem("leftover", fmt::format("bulk job {}", key.substr(2)));
                                 return false;
                               });
  }
  // A start writes a checkpoint and clears away what only a replay needed.
  StopBroker();
  run(30 * kSecond);
  for (Family family : {Family::kBlocks, Family::kTasks, Family::kHistory, Family::kIndex}) {
    std::string left;
    (void)broker_.store().Scan(family, "", "", [&](std::string_view key, std::string_view) {
      for (unsigned char c : key) left += fmt::format("{:02x}", c);
      left += " ";
      return left.size() < 500;
    });
    if (!left.empty()) OnProblem("leftover", fmt::format("family {}: {}", static_cast<int>(family), left));
  }
  if (problems_.empty()) Cover(Point::kForgotten);
}

void SimWorld::Judge() {
  const histcheck::Verdict verdict = histcheck::Check(history_);
  for (const histcheck::Violation& violation : verdict.violations) {
    std::string what = violation.what;
    for (size_t line : violation.lines) what += fmt::format("\n  {}: {}", line, histcheck::ToJson(history_[line - 1]));
    problems_.push_back({violation.rule, std::move(what)});
  }
}

}  // namespace penstock::broker
