#include "tests/simulation/sim_broker.h"

#include <algorithm>
#include <utility>

#include "fmt/format.h"
#include "tests/support/recount.h"

namespace penstock::broker {
namespace {

constexpr Span kIdle = 10 * kSecond;  // as in engine.cc

}  // namespace

SimBroker::SimBroker(const SimConfig& config, SimLoop& loop, SimClock& clock, Coverage& coverage, Edge& edge)
    : config_(config), loop_(loop), clock_(clock), coverage_(coverage), edge_(edge), random_(config.seed * 4 + 3) {}

SimBroker::~SimBroker() = default;

void SimBroker::Start() {
  store_.Reopen();
  ++life_;
  auto core = BrokerCore::Recover(config_.core, store_, {clock_.wall(), 0});
  if (!core.ok()) {
    edge_.OnProblem("recovery", std::string(core.status().message()));
    return;
  }
  core_ = *std::move(core);
  mailbox_ = std::make_unique<Mailbox>(MailboxLimits{.bytes = config_.mailbox_bytes}, clock_);
  writer_ = std::make_unique<CommitWriter>(store_, static_cast<EffectReceiver&>(*this), clock_, absl::Milliseconds(100),
                                           [this](const absl::Status& status) {
                                             mailbox_->Close(OutcomeUnknown(status));
                                             closing_ = failed_ = true;
                                             Wake();
                                           });
  core_clock_ = CoreClock(clock_.Read());
  closing_ = stopping_ = failed_ = ended_ = held_ = false;
  taken_ = 0;
  committed_ = 0;
  waiting_.clear();
  writing_.reset();
  blocked_.reset();
  wait_ = 0;
  slept_from_ = loop_.now();
  edge_.OnUp();
  ScheduleTurn(loop_.now());
}

absl::Status SimBroker::Post(Command&& command, size_t bytes) {
  absl::Status status = mailbox_->Put(std::move(command), bytes);
  if (status.ok()) {
    if (Ready()) Wake();
  } else {
    ++coverage_[static_cast<size_t>(absl::IsResourceExhausted(status) ? Point::kMailboxFull : Point::kMailboxClosed)];
  }
  return status;
}

// --- the engine's thread ---

bool SimBroker::Ready() const {
  return closing_ || (mailbox_->bytes() > 0 && (!held_ || mailbox_->bytes() >= Mailbox::kHeldBytes));
}

void SimBroker::ScheduleTurn(Span when) {
  turn_at_ = std::max(when, loop_.now());
  loop_.At(turn_at_, [this, life = life_, turn = ++turn_] {
    if (life != life_ || turn != turn_) return;
    if (still_until_ > loop_.now()) return ScheduleTurn(still_until_);
    Turn();
  });
}

void SimBroker::Wake() {
  if (core_ == nullptr || blocked_ || ended_) return;
  // It notices a little later, or when it is through with what it does.
  const Span soon = loop_.now() + static_cast<Span>(random_.Below(30));
  if (turn_at_ > soon) ScheduleTurn(std::max(soon, slept_from_));
}

void SimBroker::Turn() {
  const bool ending = stopping_ || failed_;
  Mailbox::Taken taken = mailbox_->Take(absl::ZeroDuration(), config_.batch_bytes);
  std::vector<Command>& commands = taken.commands;
  core_clock_.Lost(ToDuration(loop_.now() - slept_from_ - wait_));
  taken_ += taken.worker_commands;
  for (; committed_ > 0; --committed_) core_->Committed();
  if (stopping_) core_->StopDispatch();
  const CoreNow now = core_clock_.Read(clock_.Read(), taken_, mailbox_->worker_put_count());
  if (script_ != nullptr) script_->Step(commands, clock_.wall());
  CoreBatch batch = core_->Step(absl::MakeSpan(commands), now);
  if (script_ != nullptr) script_->Stepped(batch.sequence, batch.effects);
  for (const LogFact& fact : batch.effects.facts) {
    if (fact.kind == LogFact::Kind::kRecordUnreadable) edge_.OnProblem("unreadable", fact.text);
  }
  batch.effects.facts.clear();
  edge_.OnGivenOut(batch.effects);
  loop_.Trace(batch.sequence * 31 + batch.writes.bytes());
  ended_ = ending && commands.empty();
  const CoreNow deadline = core_->next_deadline();
  wait_ = kIdle;
  if (deadline.wall != kNever) wait_ = std::min(wait_, deadline.wall - now.wall);
  if (deadline.elapsed != kNever) wait_ = std::min(wait_, deadline.elapsed - now.elapsed);
  wait_ = std::max<Span>(wait_, 0) + (wait_ > 0 ? 100 : 0);
  if (batch.sequence != 0 || !batch.effects.empty()) {
    held_ = true;
    Submit(std::move(batch));
  } else {
    EndTurn();
  }
}

void SimBroker::Submit(CoreBatch batch) {
  if (!waiting_.empty()) {
    ++coverage_[static_cast<size_t>(Point::kEngineBlocked)];
    blocked_ = std::move(batch);
    blocked_since_ = loop_.now();
    return;
  }
  waiting_.push_back(std::move(batch));
  PumpWriter();
  EndTurn();
}

void SimBroker::EndTurn() {
  if (core_ == nullptr) return;
  // The step took a while.
  slept_from_ = loop_.now() + 5 + static_cast<Span>(random_.Below(100));
  if (ended_) {
    if (!writing_ && waiting_.empty()) GoDown();
    return;
  }
  if (Ready()) wait_ = 0;
  ScheduleTurn(slept_from_ + wait_);
}

// --- the commit thread ---

Span SimBroker::CommitTime() {
  if (slow_) return random_.Between(100 * kMilli, config_.max_commit);
  return random_.OneIn(20) ? random_.Between(1'000, 20'000) : random_.Between(150, 900);
}

void SimBroker::PumpWriter() {
  if (writing_) return;
  ++idle_;
  if (waiting_.empty()) {
    if (ended_) return GoDown();
    const absl::Duration rest = writer_->UntilSync();
    if (rest == absl::InfiniteDuration()) return;
    loop_.After(ToMicros(rest), [this, life = life_, idle = idle_] {
      if (life != life_ || idle != idle_ || core_ == nullptr) return;
      ++coverage_[static_cast<size_t>(Point::kIdle)];
      if (!writer_->Sync()) return;
      OnIdle();
      PumpWriter();
    });
    return;
  }
  writing_ = std::move(waiting_.front());
  waiting_.pop_front();
  loop_.After(CommitTime(), [this, life = life_] {
    if (life == life_) FinishWrite();
  });
  if (blocked_) {
    waiting_.push_back(std::move(*blocked_));
    blocked_.reset();
    core_clock_.Lost(ToDuration(loop_.now() - blocked_since_));
    EndTurn();
  }
}

void SimBroker::OnIdle() {
  held_ = false;
  if (Ready()) Wake();
}

void SimBroker::FinishWrite() {
  if (still_until_ > loop_.now()) {
    loop_.At(still_until_, [this, life = life_] {
      if (life == life_) FinishWrite();
    });
    return;
  }
  const uint64_t life = life_;
  const uint64_t sequence = writing_->sequence;
  writer_->Write(*writing_, [&](const CommitWriter::Written& written) {
    committed_ += written.committed;
    if (script_ != nullptr && written.committed) script_->Committed(sequence);
    if (waiting_.empty()) OnIdle();
  });
  if (life != life_ || core_ == nullptr) return;  // somebody killed it over what was released
  writing_.reset();
  PumpWriter();
}

void SimBroker::Release(Effects effects) { edge_.OnEffects(std::move(effects)); }

void SimBroker::GoDown() {
  if (failed_) ++coverage_[static_cast<size_t>(store_.full() ? Point::kDiskFull : Point::kCommitUnknown)];
  if (stopping_ && !failed_) ++coverage_[static_cast<size_t>(Point::kBrokerStopped)];
  core_.reset();
  ++life_;
  if (script_ != nullptr) script_->Crash();
  // After a full disk the process starts its engine anew; after another failure it ends.
  edge_.OnDown(failed_ && !stopping_ && store_.full());
}

void SimBroker::Kill(bool power_loss) {
  if (core_ == nullptr) return;
  auto cover = [&](Point point) { ++coverage_[static_cast<size_t>(point)]; };
  cover(Point::kKilled);
  if (writing_ && writing_->sequence != 0 && !failed_) {
    if (!waiting_.empty()) cover(Point::kKilledTwoInFlight);
    if (random_.OneIn(2) && store_.Commit(writing_->writes, random_.OneIn(2)).ok()) {
      cover(Point::kKilledMidCommitKept);
      if (script_ != nullptr) script_->Committed(writing_->sequence);
    } else {
      cover(Point::kKilledMidCommitLost);
    }
  }
  if (power_loss) {
    cover(Point::kPowerLost);
    const size_t lost = random_.Below(store_.unsynced() + 1);
    if (lost > 0) cover(Point::kPowerLostWrites);
    store_.LosePower(lost);
    if (script_ != nullptr) script_->LosePower(lost);
  }
  core_.reset();
  ++life_;
  if (script_ != nullptr) script_->Crash();
  edge_.OnDown(false);
}

void SimBroker::Stop() {
  if (core_ == nullptr || closing_) return;
  mailbox_->Close(absl::UnavailableError("the broker is stopping"));
  stopping_ = closing_ = true;
  Wake();
}

// --- checks ---

void SimBroker::Check() {
  if (core_ == nullptr || closing_ || !at_rest()) return;
  for (; committed_ > 0; --committed_) core_->Committed();
  ++coverage_[static_cast<size_t>(Point::kChecked)];
  auto recovered = BrokerCore::Recover(config_.core, store_, {clock_.wall(), 0});
  if (!recovered.ok()) {
    edge_.OnProblem("recovery", std::string(recovered.status().message()));
    return;
  }
  const std::string living = core_->DebugState();
  if (const std::string again = (*recovered)->DebugState(); living != again) {
    edge_.OnProblem("state", fmt::format("the core has\n{}a recovery gives\n{}", living, again));
  }
  if (const std::string problems = Recount(config_.core, store_); !problems.empty()) {
    edge_.OnProblem("recount", problems);
  }
  if (!store_.misuse().empty()) edge_.OnProblem("store", store_.misuse());
}

Effects SimBroker::AskAtRest(Command command) {
  std::vector<Command> commands;
  commands.push_back(std::move(command));
  const CoreNow now = core_clock_.Read(clock_.Read(), taken_, mailbox_->worker_put_count());
  CoreBatch batch = core_->Step(absl::MakeSpan(commands), now);
  if (batch.sequence != 0) {
    if (absl::Status status = store_.Commit(batch.writes, true); status.ok()) core_->Committed();
  }
  return std::move(batch.effects);
}

}  // namespace penstock::broker
