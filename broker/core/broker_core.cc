#include "broker/core/broker_core.h"

#include <algorithm>
#include <string>
#include <utility>
#include <variant>

#include "broker/core/checkpoint.h"
#include "broker/core/core_context.h"
#include "broker/core/debug_state.h"
#include "broker/core/dispatcher.h"
#include "broker/core/enqueuer.h"
#include "broker/core/epochs.h"
#include "broker/core/estimator.h"
#include "broker/core/explainer.h"
#include "broker/core/janitor.h"
#include "broker/core/lifecycle.h"
#include "broker/core/queries.h"
#include "broker/core/queue_admin.h"
#include "broker/core/schedules.h"
#include "broker/core/sessions.h"
#include "broker/core/state_codec.h"
#include "broker/core/throttles.h"
#include "broker/core/timers.h"
#include "broker/core/watchers.h"
#include "broker/storage/applied.h"
#include "broker/storage/labels.h"
#include "common/status.h"
#include "common/status_details.h"
#include "fmt/format.h"

namespace penstock::broker {
namespace {

// Past what a commit of unknown outcome may have used; see also epochs.h.
constexpr uint64_t kBlocksSkipped = 1 << 12;
constexpr uint64_t kSessionsSkipped = 1 << 10;

template <class... Visitors>
struct Overloaded : Visitors... {
  using Visitors::operator()...;
};
template <class... Visitors>
Overloaded(Visitors...) -> Overloaded<Visitors...>;

}  // namespace

struct BrokerCore::Parts {
  Parts(const CoreOptions& options, const StoreReader& store)
      : context(options, store),
        watchers(context),
        timers(context),
        lifecycle(context, timers, watchers),
        enqueuer(context, timers, lifecycle),
        throttles(context, lifecycle),
        dispatcher(context, lifecycle, timers, throttles.meters()),
        sessions(context, enqueuer, lifecycle, watchers, dispatcher),
        estimator(context, timers, dispatcher),
        explainer(context, lifecycle, dispatcher, estimator),
        queue_admin(context, enqueuer, lifecycle, timers, dispatcher, estimator),
        janitor(context, lifecycle),
        queries(context, lifecycle, sessions, dispatcher, explainer, queue_admin),
        schedules(context, enqueuer, lifecycle,
                  [this](TaskId task, const std::string& reason) { (void)CancelTask(task, reason); }),
        checkpointer(context) {
    dispatcher.set_sessions(&sessions);
    enqueuer.set_dispatcher(&dispatcher);
    context.drop_lane = [this](Lane* lane) {
      dispatcher.Drop(lane);
      timers.Drop(lane);
    };
    context.settle = [this](const Lease& lease) { dispatcher.Settle(lease); };
  }

  void Apply(Command& command);
  void Cancel(const CancelTaskCommand& command);
  // Running: asked to end; waiting: cancelled.
  absl::StatusOr<State> CancelTask(TaskId task, const std::string& reason);
  void Retry(const RetryTaskCommand& command);
  void Delete(const DeleteTaskCommand& command);
  void Watch(const WatchTaskCommand& command);
  void Subscribe(const SubscribeCommand& command);
  // Answers what was asked for in this step, just before the dispatcher would do as it is said.
  void Explain();
  void Put(const PutBulkJobCommand& command);
  // Stores what the batch collected: history, expiry lists, the delta and `applied`.
  CoreBatch Seal();

  CoreContext context;
  Watchers watchers;
  Timers timers;
  Lifecycle lifecycle;
  Enqueuer enqueuer;
  Throttles throttles;
  Dispatcher dispatcher;
  Sessions sessions;
  Estimator estimator;
  Explainer explainer;
  QueueAdmin queue_admin;
  Janitor janitor;
  Queries queries;
  Schedules schedules;
  Checkpointer checkpointer;

  Applied applied;
  std::vector<ExplainTaskCommand> explains;  // of this step
  bool started = false;                      // the first batch, which records the epoch, was made
  bool more_work = false;
};

BrokerCore::BrokerCore(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
BrokerCore::~BrokerCore() = default;

absl::StatusOr<std::unique_ptr<BrokerCore>> BrokerCore::Recover(const CoreOptions& options, const StoreReader& store,
                                                                CoreNow now) {
  auto parts = std::make_unique<Parts>(options, store);
  CoreContext& context = parts->context;
  const std::string applied_key = AppliedKey(options.partition);
  auto value = store.Get(Family::kMeta, applied_key);
  if (value.ok()) {
    ASSIGN_OR_RETURN(parts->applied, DecodeApplied(applied_key, *value));
  } else if (!absl::IsNotFound(value.status())) {
    return value.status();
  }
  context.now = now;
  context.now.wall = std::max(now.wall, Time{parts->applied.time_micros});
  context.sequence = parts->applied.sequence;

  absl::Status broken;
  auto load = [&](char kind, auto&& take) {
    if (!broken.ok()) return;
    absl::Status status = store.Scan(Family::kMeta, context.keys.First(kind), context.keys.Past(kind),
                                     [&](std::string_view key, std::string_view stored) {
                                       broken = take(key, stored);
                                       return broken.ok();
                                     });
    if (!status.ok()) broken = status;
  };
  load('t', [&](std::string_view key, std::string_view stored) -> absl::Status {
    ASSIGN_OR_RETURN(records::TypeRecord record, OpenRecord<records::TypeRecord>(key, stored));
    Decoder decoder(key.substr(2));
    context.state.AddType(TypeId(decoder.Big32()), record.name(), LabelText(record.labels()));
    return absl::OkStatus();
  });
  load('q', [&](std::string_view key, std::string_view stored) -> absl::Status {
    ASSIGN_OR_RETURN(records::QueueRecord record, OpenRecord<records::QueueRecord>(key, stored));
    Decoder decoder(key.substr(2));
    ReadQueueRecord(record, context.state.AddQueue(QueueId(decoder.Big32()), record.name()));
    return absl::OkStatus();
  });
  RETURN_IF_ERROR(broken);
  RETURN_IF_ERROR(parts->checkpointer.Recover(store, parts->applied.sequence));
  load('s', [&](std::string_view key, std::string_view stored) -> absl::Status {
    ASSIGN_OR_RETURN(records::SessionRecord record, OpenRecord<records::SessionRecord>(key, stored));
    Decoder decoder(key.substr(2));
    parts->sessions.Restore(record, SessionNumber(decoder.Big64()));
    return absl::OkStatus();
  });
  RETURN_IF_ERROR(broken);
  for (const auto& [id, lane] : context.state.lanes()) parts->timers.Restore(lane.get());
  RETURN_IF_ERROR(parts->throttles.Restore(store));
  parts->dispatcher.Restore();
  RETURN_IF_ERROR(parts->schedules.Restore(store));
  if (options.paused) {
    parts->started = true;
    return std::unique_ptr<BrokerCore>(new BrokerCore(std::move(parts)));
  }
  parts->janitor.Restore();
  parts->applied.epoch = std::max(parts->applied.epoch + 1, EpochOfClock(now.wall, options.numbers_begin));
  parts->dispatcher.set_epoch(parts->applied.epoch);
  uint64_t& block = context.state.next().block;
  block = std::max(block + kBlocksSkipped, BlockOfClock(now.wall, options.numbers_begin, parts->applied.epoch));
  context.state.next().session += kSessionsSkipped;
  parts->checkpointer.Demand();
  return std::unique_ptr<BrokerCore>(new BrokerCore(std::move(parts)));
}

CoreBatch BrokerCore::Step(absl::Span<Command> commands, CoreNow now) {
  CoreContext& context = parts_->context;
  context.now.wall = std::max(now.wall, context.now.wall);
  context.now.elapsed = now.elapsed;
  context.now.ahead = now.ahead;
  context.sequence = parts_->applied.sequence + 1;
  for (Command& command : commands) parts_->Apply(command);
  if (context.options.paused) {
    parts_->Explain();
    CoreBatch answers;
    answers.effects = std::exchange(context.effects, {});
    return answers;
  }
  parts_->enqueuer.CloseBlock();
  parts_->more_work = false;
  if (!parts_->schedules.Tick()) parts_->more_work = true;
  if (!parts_->sessions.Tick()) parts_->more_work = true;
  if (!parts_->timers.Advance()) parts_->more_work = true;
  if (!parts_->janitor.Tick()) parts_->more_work = true;
  parts_->Explain();
  if (!parts_->dispatcher.Run()) parts_->more_work = true;
  parts_->timers.Flush();
  return parts_->Seal();
}

void BrokerCore::Parts::Apply(Command& command) {
  // Tasks that a command names by id, or counts, must be in their lanes.
  if (!std::holds_alternative<EnqueueCommand>(command) && !std::holds_alternative<SessionInput>(command)) {
    enqueuer.CloseBlock();
  }
  std::visit(Overloaded{
                 [&](EnqueueCommand& enqueue) { enqueuer.Enqueue(enqueue); },
                 [&](SessionInput& input) { sessions.Input(input); },
                 [&](OpenSessionCommand& open) { sessions.Open(open); },
                 [&](SessionBroken& broken) { sessions.Broken(broken.stream); },
                 [&](DrainWorkerCommand& drain) { sessions.Drain(drain); },
                 [&](GetTaskCommand& get) { context.ReplyTo(get.ticket, TaskReply{queries.Snapshot(get.task)}); },
                 [&](WatchTaskCommand& watch) { Watch(watch); },
                 [&](UnwatchCommand& unwatch) { watchers.Remove(unwatch.ticket); },
                 [&](CancelTaskCommand& cancel) { Cancel(cancel); },
                 [&](RetryTaskCommand& retry) { Retry(retry); },
                 [&](UpdateTaskCommand& update) { enqueuer.Update(update); },
                 [&](DeleteTaskCommand& gone) { Delete(gone); },
                 [&](ExplainTaskCommand& explain) { explains.push_back(explain); },
                 [&](SubscribeCommand& subscribe) { Subscribe(subscribe); },
                 [&](PutBulkJobCommand& put) { Put(put); },
                 [&](ListLanesCommand& list) { queries.Answer(list); },
                 [&](ListRunningCommand& list) { queries.Answer(list); },
                 [&](QueueCommand& queue) { queue_admin.Apply(queue); },
                 [&](DeadTasksCommand& dead) { queue_admin.Apply(dead); },
                 [&](ListKeysCommand& list) { queue_admin.Apply(list); },
                 [&](ReleaseKeyCommand& release) { queue_admin.Apply(release); },
                 [&](StatusCommand& status) { queries.Answer(status, applied.epoch); },
                 [&](ScheduleCommand& schedule) { schedules.Apply(schedule); },
                 [&](ListSchedulesCommand& list) { schedules.Answer(list); },
                 [&](ThrottleCommand& throttle) { throttles.Apply(throttle); },
                 [&](ListThrottlesCommand& list) { throttles.Answer(list); },
             },
             command);
}

absl::StatusOr<State> BrokerCore::Parts::CancelTask(TaskId task, const std::string& reason) {
  if (Lease* lease = context.state.FindLease(task)) {
    context.effects.needs_sync = true;
    if (!lease->cancel_requested) {
      lifecycle.RequestCancel(lease, reason);
      sessions.SendCancel(*lease);
    }
    if (watchers.Watched(task)) watchers.Notify(queries.Snapshot(task));
    return State::kRunning;
  }
  RETURN_IF_ERROR(lifecycle.CancelWaiting(task, reason));
  context.effects.needs_sync = true;
  return State::kCancelled;
}

void BrokerCore::Parts::Cancel(const CancelTaskCommand& command) {
  auto state = CancelTask(command.task, command.reason);
  if (state.ok()) {
    context.ReplyTo(command.ticket, CancelReply{*state});
  } else {
    context.ReplyTo(command.ticket, state.status());
  }
}

void BrokerCore::Parts::Retry(const RetryTaskCommand& command) {
  absl::Status status = context.state.FindLease(command.task) != nullptr
                            ? absl::FailedPreconditionError("the task is running")
                            : lifecycle.RunNow(command.task);
  if (!status.ok()) {
    context.ReplyTo(command.ticket, std::move(status));
    return;
  }
  context.effects.needs_sync = true;
  context.ReplyTo(command.ticket, RetryReply{context.now.wall});
}

void BrokerCore::Parts::Delete(const DeleteTaskCommand& command) {
  absl::Status status = lifecycle.Delete(command.task);
  if (status.ok()) context.effects.needs_sync = true;
  context.ReplyTo(command.ticket, std::move(status));
}

void BrokerCore::Parts::Watch(const WatchTaskCommand& command) {
  if (watchers.full()) {
    context.ReplyTo(
        command.ticket,
        LimitReached("limits.watchers", fmt::format("{} calls wait for tasks already", context.options.max_watchers),
                     absl::Seconds(1)));
    return;
  }
  TaskSnapshot snapshot = queries.Snapshot(command.task);
  const bool over = snapshot.place == TaskSnapshot::Place::kFinished || snapshot.place == TaskSnapshot::Place::kGone ||
                    IsFinal(snapshot.state);
  if (!over) watchers.Add(command.ticket, command.task, command.only_end);
  context.ReplyTo(command.ticket, TaskReply{std::move(snapshot)});
}

void BrokerCore::Parts::Subscribe(const SubscribeCommand& command) {
  const QueueState* queue = context.state.FindQueue(command.queue);
  if (queue == nullptr) {
    context.ReplyTo(command.ticket, absl::NotFoundError(fmt::format("there is no queue {}", command.queue)));
    return;
  }
  if (watchers.full()) {
    context.ReplyTo(
        command.ticket,
        LimitReached("limits.watchers", fmt::format("{} calls wait for tasks already", context.options.max_watchers),
                     absl::Seconds(1)));
    return;
  }
  watchers.Subscribe(command.ticket, queue->id, command.type);
  context.ReplyTo(command.ticket, absl::OkStatus());
}

void BrokerCore::Parts::Explain() {
  if (explains.empty()) return;
  dispatcher.Prepare();
  for (const ExplainTaskCommand& explain : explains) explainer.Answer(explain);
  explains.clear();
}

void BrokerCore::Parts::Put(const PutBulkJobCommand& command) {
  const std::string key = context.keys.BulkJob(command.id);
  if (command.record.empty()) {
    context.commit.Delete(Family::kMeta, key);
  } else {
    context.PutBody(Family::kMeta, key, command.record);
  }
  context.effects.needs_sync = true;
  context.ReplyTo(command.ticket, absl::OkStatus());
}

CoreBatch BrokerCore::Parts::Seal() {
  CoreBatch batch;
  for (auto& [bucket, history] : context.history) {
    const std::string key = context.keys.History(bucket, context.sequence);
    context.PutBody(Family::kHistory, key, history.Finish(context.now.wall));
  }
  context.history.clear();
  for (const auto& [bucket, keys] : context.forgotten) {
    std::string body;
    for (const std::string& key : keys) PutBytes(&body, key);
    context.PutBody(Family::kIndex, context.keys.ExpiryList(bucket, context.sequence), body);
  }
  context.forgotten.clear();
  if (!started || !context.commit.empty() || !context.state.changes().empty()) {
    // The first batch must be on disk before anything is handed out under its epoch.
    if (!started) context.effects.needs_sync = true;
    started = true;
    checkpointer.Store();
    context.state.ClearChanges();
    const std::string key = AppliedKey(context.keys.partition());
    applied.sequence = context.sequence;
    applied.time_micros = context.now.wall;
    batch.writes = context.commit.Seal();
    context.blocks.Seal();
    // The chain covers the operations before `applied` itself, which carries it.
    applied.hash = ChainHash(applied.hash, applied.sequence, batch.writes.operations());
    batch.writes.Put(Family::kMeta, key, EncodeApplied(key, applied));
    batch.sequence = applied.sequence;
  }
  batch.effects = std::exchange(context.effects, {});
  return batch;
}

void BrokerCore::Committed() {
  parts_->context.commit.Committed();
  parts_->context.blocks.Committed();
}

CoreNow BrokerCore::next_deadline() const {
  if (parts_->context.options.paused) return {kNever, kNever};
  if (parts_->more_work || !parts_->started) return {0, 0};
  return {std::min({parts_->timers.next_wake(), parts_->janitor.next_due(), parts_->schedules.next_due(),
                    parts_->throttles.meters().next_wake()}),
          parts_->sessions.next_deadline()};
}

void BrokerCore::StopDispatch() { parts_->dispatcher.Stop(); }

uint64_t BrokerCore::epoch() const { return parts_->applied.epoch; }

std::string BrokerCore::DebugState() const {
  return RenderState(parts_->context.state) + parts_->throttles.meters().DebugState();
}

}  // namespace penstock::broker
