#include "broker/engine/engine.h"

#include <algorithm>
#include <utility>

#include "common/logging.h"
#include "common/text.h"

namespace penstock::broker {
namespace {

// Without anything due the engine still looks around this often: metrics and clocks stay fresh.
constexpr absl::Duration kIdle = absl::Seconds(10);

}  // namespace

Engine::Engine(const EngineOptions& options, Store& store, EffectReceiver& receiver, Clock& clock,
               std::function<void(absl::Status)> on_failure)
    : options_(options),
      store_(store),
      clock_(clock),
      mailbox_(options.mailbox, clock),
      pipeline_(
          store, receiver, clock, options.seal_after,
          [this, on_failure = std::move(on_failure)](const absl::Status& status) {
            mailbox_.Close(OutcomeUnknown(status));
            failed_ = true;
            mailbox_.Wake();
            on_failure(status);
          },
          [this] { mailbox_.Release(); }) {}

Engine::~Engine() { Stop(); }

absl::Status Engine::Start() {
  const Now now = clock_.Read();
  core_clock_ = CoreClock(now);
  auto core = BrokerCore::Recover(options_.core, store_, {ToMicros(now.wall), 0});
  if (!core.ok()) return core.status();
  core_ = *std::move(core);
  epoch_ = core_->epoch();
  LogFor("engine").info("recovered partition={} epoch={} took={}", options_.core.partition, core_->epoch(),
                        ToStd(absl::FormatDuration(clock_.Read().elapsed - now.elapsed)));
  pipeline_.Start();
  thread_ = std::thread([this] { Run(); });
  started_ = true;
  return absl::OkStatus();
}

void Engine::StopDispatch() {
  stop_dispatch_ = true;
  mailbox_.Wake();
}

void Engine::LookAtClock() { mailbox_.Wake(); }

void Engine::Stop() {
  mailbox_.Close(absl::UnavailableError("the broker is stopping"));
  stopping_ = true;
  mailbox_.Wake();
  if (thread_.joinable()) thread_.join();
  pipeline_.Stop();
}

absl::Status Engine::Post(Command&& command, size_t bytes, absl::Duration patience) {
  if (!started_) return absl::UnavailableError("the broker is starting");
  return mailbox_.Put(std::move(command), bytes, patience);
}

absl::Status Engine::MayEnqueue(size_t bytes, absl::Duration patience) {
  if (!started_) return absl::UnavailableError("the broker is starting");
  return mailbox_.MayEnqueue(bytes, patience);
}

void Engine::WhenRoom(std::function<void()> room) { mailbox_.WhenRoom(std::move(room)); }

absl::Duration Engine::UntilDeadline(const CoreNow& now) const {
  const CoreNow deadline = core_->next_deadline();
  Span wait = ToMicros(kIdle);
  if (deadline.wall != kNever) wait = std::min(wait, deadline.wall - now.wall);
  if (deadline.elapsed != kNever) wait = std::min(wait, deadline.elapsed - now.elapsed);
  // Rounded up: a wake-up a moment too early would find nothing due and come again at once.
  return ToDuration(std::max<Span>(wait, 0)) + (wait > 0 ? absl::Microseconds(100) : absl::ZeroDuration());
}

void Engine::Run() {
  bool dispatch_stopped = false;
  absl::Duration wait;  // the first turn is at once: it records the epoch
  while (true) {
    // Looked at before the mailbox, which was closed before: if it is empty now, nobody waits for an answer any more.
    const bool ending = stopping_ || failed_;
    if (ending) wait = absl::ZeroDuration();
    const absl::Duration slept_from = clock_.Read().elapsed;
    Mailbox::Taken taken = mailbox_.Take(wait, options_.batch_bytes);
    // Sleeping is not lost time; waking up much later than asked is.
    const absl::Duration overslept = clock_.Read().elapsed - slept_from - wait;
    core_clock_.Lost(overslept);
    worker_commands_taken_ += taken.worker_commands;
    for (int committed = pipeline_.TakeCommitted(); committed > 0; --committed) core_->Committed();
    if (stop_dispatch_ && !dispatch_stopped) {
      dispatch_stopped = true;
      core_->StopDispatch();
    }
    const CoreNow now = core_clock_.Read(clock_.Read(), worker_commands_taken_, mailbox_.worker_put_count());
    const absl::Duration before_step = clock_.Read().elapsed;
    CoreBatch batch = core_->Step(absl::MakeSpan(taken.commands), now);
    core_clock_.Lost(clock_.Read().elapsed - before_step);
    LogFacts(batch.effects.facts);
    batch.effects.facts.clear();
    AnswerExpired(taken.expired, &batch.effects);
    if (batch.sequence != 0 || !batch.effects.empty()) {
      const absl::Duration before = clock_.Read().elapsed;
      mailbox_.Hold();
      pipeline_.Submit(std::move(batch));
      // Waiting for a slow disk.
      core_clock_.Lost(clock_.Read().elapsed - before);
    }
    if (ending && taken.commands.empty() && taken.expired.empty()) break;
    wait = UntilDeadline(now);
  }
}

void Engine::LogFacts(const std::vector<LogFact>& facts) {
  for (const LogFact& fact : facts) {
    spdlog::logger& log = LogFor("core");
    switch (fact.kind) {
      case LogFact::Kind::kSessionOpened:
        log.info("session opened {}", fact.text);
        break;
      case LogFact::Kind::kSessionResumed:
        log.info("session resumed {}", fact.text);
        break;
      case LogFact::Kind::kSessionBroken:
        log.info("session broken {}", fact.text);
        break;
      case LogFact::Kind::kSessionEnded:
        log.info("session ended {}", fact.text);
        break;
      case LogFact::Kind::kTaskDead:
        log.warn("task dead {}", fact.text);
        break;
      case LogFact::Kind::kQueueCreated:
        log.info("queue created {}", fact.text);
        break;
      case LogFact::Kind::kQueueChanged:
        log.info("queue changed {}", fact.text);
        break;
      case LogFact::Kind::kQueueDeleted:
        log.info("queue deleted {}", fact.text);
        break;
      case LogFact::Kind::kQueuePurged:
        log.info("queue purged {}", fact.text);
        break;
      case LogFact::Kind::kKeyReleased:
        log.info("key released {}", fact.text);
        break;
      case LogFact::Kind::kScheduleChanged:
        log.info("schedule {}", fact.text);
        break;
      case LogFact::Kind::kThrottleChanged:
        log.info("throttle {}", fact.text);
        break;
      case LogFact::Kind::kScheduleFailed:
        log.warn("schedule failed {}", fact.text);
        break;
      case LogFact::Kind::kRecordUnreadable:
        ++unreadable_records_;
        log.error("record unreadable {}", fact.text);
        break;
    }
  }
}

}  // namespace penstock::broker
