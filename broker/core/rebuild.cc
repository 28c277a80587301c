#include "broker/core/rebuild.h"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "broker/core/changed_task.h"
#include "broker/core/checkpoint.h"
#include "broker/core/core_context.h"
#include "broker/core/epochs.h"
#include "broker/core/lane_head.h"
#include "broker/core/lifecycle.h"
#include "broker/core/state_codec.h"
#include "broker/storage/history.h"
#include "broker/storage/labels.h"
#include "broker/storage/task_block.h"
#include "common/coding.h"
#include "common/status.h"
#include "fmt/format.h"
#include "penstock/v1/task.pb.h"

namespace penstock::broker {
namespace {

constexpr size_t kCommitBytes = 1 << 20;
constexpr size_t kChunkBytes = 1 << 20;
constexpr size_t kKeysPerList = 1'000;
constexpr std::string_view kLostChange = "what it was changed to is lost: it is as it was enqueued";

// What history says of a block's tasks.
struct BlockHistory {
  std::set<uint32_t> finished;
  std::vector<HistoryAddress> addresses;
};

// A task of a block, with what else is stored of it.
struct TaskFacts {
  TaskId task;
  std::optional<records::TaskRecord> record;
  std::vector<std::pair<std::string, std::string>> belongings;  // attempts, log lines, results, checkpoints
  uint32_t attempts = 0;
  bool checkpoint = false;
  std::shared_ptr<const ChangedTask> changed;  // counts with a record that says so

  // What it was changed to; null: it is as its slot says.
  const ChangedTask* change() const { return record && record->revision() != 0 ? changed.get() : nullptr; }
};

// What a living task is, and where it belongs.
struct TaskView {
  TaskView(const TaskBlock& block, uint32_t slot, const std::optional<TaskFacts>& facts)
      : key(block.lane_of(slot).lane_key()),
        group(block.lane_of(slot).group),
        type(block.lane_of(slot).type),
        priority(block.lane_of(slot).priority),
        extras(&block.extras(slot)),
        spec(block.spec(slot)) {
    if (!facts || !facts->record) return;
    const records::TaskRecord& record = *facts->record;
    type = TypeId(record.type_id());
    priority = static_cast<uint8_t>(record.priority());
    const QueueId queue(record.queue_id());
    key = record.fifo() ? LaneKey::Fifo(queue, record.lane_name())
                        : LaneKey{queue, type, priority, false, record.lane_name()};
    if (const ChangedTask* changed = facts->change()) {
      group = changed->record.group();
      extras = &changed->extras;
      spec = changed->record.spec();
    }
  }

  LaneKey key;
  uint64_t group = 0;
  TypeId type;
  uint8_t priority = 0;
  const SlotExtras* extras;
  std::string_view spec;
};

class Rebuilder {
 public:
  Rebuilder(const CoreOptions& options, const StoreReader& from, Time wall, Store* to, RebuildListener* listener)
      : options_(options),
        keys_(options.partition),
        from_(from),
        wall_(wall),
        to_(*to),
        listener_(*listener),
        known_(options, from),
        state_(options.partition) {}

  absl::StatusOr<RebuildReport> Run() {
    RETURN_IF_ERROR(LoadNames());
    RecoverKnown();
    RETURN_IF_ERROR(LoadHistory());
    RETURN_IF_ERROR(LoadDone());
    RETURN_IF_ERROR(FindBlocks());
    RETURN_IF_ERROR(ForEachBlock([this](const TaskBlock& block, bool) { return ChooseLanes(block); }));
    RETURN_IF_ERROR(
        ForEachBlock([this](const TaskBlock& block, bool compacted) { return RebuildBlock(block, compacted); }));
    RETURN_IF_ERROR(SaveWithoutBlock());
    RETURN_IF_ERROR(SaveKeys());
    RETURN_IF_ERROR(SaveSchedules());
    RETURN_IF_ERROR(SaveThrottles());
    RETURN_IF_ERROR(SaveBulkJobs());
    RETURN_IF_ERROR(FindLost());
    RETURN_IF_ERROR(SaveHistoryAddresses());
    RETURN_IF_ERROR(SaveLists());
    RETURN_IF_ERROR(SaveState());
    return report_;
  }

 private:
  using Visit = absl::FunctionRef<absl::Status(std::string_view key, std::string_view value)>;

  absl::Status Each(Family family, std::string_view begin, std::string_view end, Visit visit) {
    absl::Status failed;
    RETURN_IF_ERROR(from_.Scan(family, begin, end, [&](std::string_view key, std::string_view value) {
      failed = visit(key, value);
      return failed.ok();
    }));
    return failed;
  }
  absl::Status EachOf(Family family, char kind, Visit visit) {
    return Each(family, keys_.First(kind), keys_.Past(kind), visit);
  }

  // A value as it is stored, in its envelope.
  absl::Status PutRaw(Family family, std::string_view key, std::string_view value) {
    batch_.Put(family, key, value);
    return batch_.bytes() < kCommitBytes ? absl::OkStatus() : Flush(/*sync=*/false);
  }
  absl::Status PutBody(Family family, const std::string& key, std::string_view body) {
    return PutRaw(family, key, SealValue(key, body));
  }
  template <class Record>
  absl::Status PutRecord(Family family, const std::string& key, const Record& record) {
    return PutRaw(family, key, SealRecord(key, record));
  }
  absl::Status Flush(bool sync) {
    RETURN_IF_ERROR(to_.Commit(batch_, sync));
    batch_.Clear();
    return absl::OkStatus();
  }

  void Saved(TaskId task, QueueId queue, State state, std::string_view note = "") {
    ++report_.saved;
    listener_.OnSaved({task, NameOf(queue), state, note});
  }
  void Lost(TaskId task, std::string_view why, bool whole_block = false) {
    if (!lost_.insert(task).second) return;
    ++report_.lost;
    listener_.OnLost({task, whole_block, why});
  }
  std::string_view NameOf(QueueId id) {
    const QueueState* queue = state_.FindQueue(id);
    return queue == nullptr ? std::string_view() : std::string_view(queue->name);
  }
  void SeeToken(uint64_t token) { epoch_seen_ = std::max(epoch_seen_, token >> 40); }
  void SeeTime(Time time) { time_seen_ = std::max(time_seen_, time); }

  // --- what is known ---

  absl::Status LoadNames() {
    RETURN_IF_ERROR(EachOf(Family::kMeta, 't', [&](std::string_view key, std::string_view value) -> absl::Status {
      ASSIGN_OR_RETURN(const records::TypeRecord record, OpenRecord<records::TypeRecord>(key, value));
      Decoder decoder(key.substr(2));
      const TypeId id(decoder.Big32());
      state_.AddType(id, record.name(), LabelText(record.labels()));
      known_.state.AddType(id, record.name(), LabelText(record.labels()));
      state_.next().type = std::max(state_.next().type, id.value() + 1);
      return PutRaw(Family::kMeta, key, value);
    }));
    return EachOf(Family::kMeta, 'q', [&](std::string_view key, std::string_view value) -> absl::Status {
      ASSIGN_OR_RETURN(const records::QueueRecord record, OpenRecord<records::QueueRecord>(key, value));
      Decoder decoder(key.substr(2));
      const QueueId id(decoder.Big32());
      ReadQueueRecord(record, state_.AddQueue(id, record.name()));
      ReadQueueRecord(record, known_.state.AddQueue(id, record.name()));
      state_.next().queue = std::max(state_.next().queue, id.value() + 1);
      return PutRaw(Family::kMeta, key, value);
    });
  }

  // The old state, as far as it can be replayed.
  void RecoverKnown() {
    const std::string key = AppliedKey(options_.partition);
    const auto value = from_.Get(Family::kMeta, key);
    absl::Status status = value.status();
    if (value.ok()) {
      const auto applied = DecodeApplied(key, *value);
      status = applied.status();
      if (applied.ok()) report_.applied = *applied;
    }
    // Every commit has a delta or a checkpoint: the last of them is as good.
    from_
        .ScanBackward(Family::kDeltas, "", "",
                      [&](std::string_view delta, auto) {
                        Decoder decoder(delta.substr(1));
                        report_.applied.sequence = std::max(report_.applied.sequence, decoder.Big64());
                        return false;
                      })
        .IgnoreError();
    Checkpointer checkpointer(known_);
    if (status.ok()) status = checkpointer.Recover(from_, report_.applied.sequence);
    if (!value.ok()) checkpointer.Recover(from_, report_.applied.sequence).IgnoreError();
    report_.state_known = status.ok();
    report_.state_problem = std::string(status.message());
    NextNumbers& next = state_.next();
    const NextNumbers& old = known_.state.next();
    next.block = std::max(next.block, old.block);
    next.lane = std::max(next.lane, old.lane);
    next.queue = std::max(next.queue, old.queue);
    next.type = std::max(next.type, old.type);
    next.session = std::max(next.session, old.session);
    for (const auto& [name, queue] : state_.queues()) {
      const QueueState* before = known_.state.FindQueue(queue->id);
      if (before == nullptr) continue;
      queue->counters = before->counters;
      queue->counters.scheduled = queue->counters.available = queue->counters.running = queue->counters.retryable =
          queue->counters.dead = 0;
    }
    epoch_seen_ = report_.applied.epoch;
    SeeTime(report_.applied.time_micros);
    known_.state.ForEachLease([&](const Lease& lease) { SeeToken(lease.token.value()); });
  }

  absl::Status LoadHistory() {
    return Each(Family::kHistory, "", "", [&](std::string_view key, std::string_view value) -> absl::Status {
      Decoder decoder(key.substr(1));
      HistoryAddress address;
      address.bucket = decoder.Big32();
      address.sequence = decoder.Big64();
      report_.applied.sequence = std::max(report_.applied.sequence, address.sequence);
      ASSIGN_OR_RETURN(const std::string_view body, OpenValue(key, value));
      RETURN_IF_ERROR(VisitHistory(body, [&](const FinishedTask& finished) {
        ++report_.finished;
        SeeToken(finished.token.value());
        SeeTime(finished.end_time);
        BlockHistory& block = history_[BlockId(finished.task.block())];
        block.finished.insert(finished.task.slot());
        if (block.addresses.empty() || block.addresses.back().bucket != address.bucket ||
            block.addresses.back().sequence != address.sequence) {
          block.addresses.push_back(address);
        }
        return true;
      }));
      return PutRaw(Family::kHistory, key, value);
    });
  }

  // Finished tasks whose record is lost: the index tells how they ended.
  absl::Status LoadDone() {
    return EachOf(Family::kIndex, 'D', [&](std::string_view key, std::string_view) -> absl::Status {
      Decoder decoder(key.substr(2));
      decoder.Big32();
      const auto state = static_cast<State>(decoder.Byte());
      const auto end = static_cast<Time>(decoder.Big64());
      const TaskId task(decoder.Big64());
      if (!from_.Get(Family::kTasks, keys_.TaskRecord(task)).ok()) done_[task] = {state, end};
      return absl::OkStatus();
    });
  }

  absl::Status FindBlocks() {
    RETURN_IF_ERROR(Each(Family::kBlocks, "", "", [&](std::string_view key, std::string_view) {
      Decoder decoder(key.substr(1));
      blocks_[BlockId(decoder.Big64())] = false;
      return absl::OkStatus();
    }));
    RETURN_IF_ERROR(Each(Family::kTasks, "", "", [&](std::string_view key, std::string_view) {
      Decoder decoder(key.substr(1));
      const TaskId task(decoder.Big64());
      // A block may be there twice if the commit that compacted it was lost in part; the later form is enough.
      if (decoder.Byte() == 'B') blocks_[BlockId(task.block())] = true;
      return absl::OkStatus();
    }));
    if (!blocks_.empty()) {
      state_.next().block = std::max(state_.next().block, blocks_.rbegin()->first.value() + 1);
    }
    return absl::OkStatus();
  }

  absl::Status ForEachBlock(absl::FunctionRef<absl::Status(const TaskBlock& block, bool compacted)> visit) {
    for (const auto& [id, compacted] : blocks_) {
      ASSIGN_OR_RETURN(const std::shared_ptr<const TaskBlock> block, LoadBlock(id, compacted));
      RETURN_IF_ERROR(visit(*block, compacted));
    }
    return absl::OkStatus();
  }
  absl::StatusOr<std::shared_ptr<const TaskBlock>> LoadBlock(BlockId id, bool compacted) {
    const std::string key = compacted ? keys_.CompactedBlock(id) : keys_.Block(id);
    ASSIGN_OR_RETURN(const std::string value, from_.Get(compacted ? Family::kTasks : Family::kBlocks, key));
    ASSIGN_OR_RETURN(const std::string_view body, OpenValue(key, value));
    return TaskBlock::Parse(std::string(body));
  }

  // --- tasks ---

  // Takes one task after the other of [begin, end) of kTasks.
  absl::Status EachTask(const std::string& begin, const std::string& end,
                        absl::FunctionRef<absl::Status(TaskFacts facts)> visit) {
    TaskFacts facts;
    auto finish = [&]() -> absl::Status {
      if (facts.task.empty()) return absl::OkStatus();
      // It may be damaged alone.
      if (facts.record) facts.record->set_has_checkpoint(facts.checkpoint);
      return visit(std::exchange(facts, TaskFacts()));
    };
    const absl::Status read =
        Each(Family::kTasks, begin, end, [&](std::string_view key, std::string_view value) -> absl::Status {
          Decoder decoder(key.substr(1));
          const TaskId task(decoder.Big64());
          const char kind = static_cast<char>(decoder.Byte());
          if (kind == 'B') return absl::OkStatus();
          if (task != facts.task) {
            RETURN_IF_ERROR(finish());
            facts.task = task;
          }
          if (kind == 'R') {
            ASSIGN_OR_RETURN(facts.record, OpenRecord<records::TaskRecord>(key, value));
            SeeToken(facts.record->last_token());
            SeeTime(facts.record->end_time());
          } else if (kind == 'S') {
            ASSIGN_OR_RETURN(records::SpecRecord spec, OpenRecord<records::SpecRecord>(key, value));
            facts.changed = std::make_shared<const ChangedTask>(std::move(spec));
          } else {
            facts.belongings.emplace_back(key, value);
            facts.attempts += kind == 'A' ? 1 : 0;
            facts.checkpoint = facts.checkpoint || kind == 'P';
          }
          return absl::OkStatus();
        });
    return read.ok() ? finish() : read;
  }

  // Whether the block says nothing new any more: its task has ended.
  bool IsFinished(const TaskBlock& block, uint32_t slot) {
    if (block.dropped(slot)) return true;
    if (const BlockState* state = known_.state.FindBlock(block.id()); state != nullptr && state->is_finished(slot)) {
      return true;
    }
    const auto history = history_.find(block.id());
    return history != history_.end() && history->second.finished.contains(slot);
  }

  // Its lane was purged, and the task was not cleared away yet. (A lane that is gone otherwise had no task left, so the
  // task's record is lost.) A task that runs needs no lane.
  bool WasPurged(TaskId task, LaneId lane) {
    const auto& purged = known_.state.purged_lanes();
    return std::any_of(purged.begin(), purged.end(), [&](const auto& gone) { return gone.lane == lane; }) &&
           known_.state.FindLease(task) == nullptr;
  }

  // A queue whose record is lost: its tasks know its name.
  QueueState* AddQueue(QueueId id, std::string_view spec) {
    v1::TaskSpec parsed;
    std::string name;
    if (parsed.ParseFromArray(spec.data(), static_cast<int>(spec.size()))) name = parsed.queue();
    if (name.empty() || state_.FindQueue(name) != nullptr) name = fmt::format("recovered-{}", id.value());
    QueueState* queue = state_.AddQueue(id, name);
    queue->settings = options_.queue_defaults;
    queue->create_time = wall_;
    state_.next().queue = std::max(state_.next().queue, id.value() + 1);
    return queue;
  }
  absl::Status NeedNames(QueueId queue, TypeId type, std::string_view spec) {
    if (state_.FindQueue(queue) == nullptr) {
      RETURN_IF_ERROR(PutRecord(Family::kMeta, keys_.Queue(queue), MakeQueueRecord(*AddQueue(queue, spec))));
    }
    if (!state_.TypeName(type).empty()) return absl::OkStatus();
    v1::TaskSpec parsed;
    records::TypeRecord record;
    if (parsed.ParseFromArray(spec.data(), static_cast<int>(spec.size()))) {
      record.set_name(parsed.type());
      *record.mutable_labels() = parsed.worker_labels();
    }
    const std::string labels = LabelText(record.labels());
    if (record.name().empty() || !state_.FindType(record.name(), labels).empty()) {
      record.set_name(fmt::format("recovered-{}", type.value()));
    }
    state_.AddType(type, record.name(), labels);
    state_.next().type = std::max(state_.next().type, type.value() + 1);
    return PutRecord(Family::kMeta, keys_.Type(type), record);
  }

  // A key's lane has one number; blocks of an earlier life of it may name another. The old state's counts, otherwise
  // the newest.
  absl::Status ChooseLanes(const TaskBlock& block) {
    for (const TaskBlock::Entry& entry : block.entries()) {
      const LaneKey key = entry.lane_key();
      LaneId& chosen = lane_numbers_[key];
      const Lane* known = known_.state.FindLane(key);
      chosen = known != nullptr ? known->id : std::max(chosen, entry.lane);
      state_.next().lane = std::max(state_.next().lane, entry.lane.value() + 1);
    }
    return absl::OkStatus();
  }
  Lane* LaneOf(const TaskBlock::Entry& entry) { return LaneOf(entry.lane_key(), entry.group); }
  Lane* LaneOf(const LaneKey& key, uint64_t group) {
    if (Lane* lane = state_.FindLane(key)) return lane;
    LaneId& number = lane_numbers_[key];
    if (const Lane* known = known_.state.FindLane(key); number.empty() && known != nullptr) number = known->id;
    if (number.empty()) number = LaneId(state_.next().lane++);
    return state_.RestoreLane(number, key, group);
  }

  // Whether a task of a FIFO key that has had its turn has the key: until it is done, no other of the key runs. Where
  // the old state is lost, the first such task.
  void HoldKey(Lane* lane, TaskId task, Time due) {
    if (!lane->key.fifo || lane->hold != nullptr) return;
    if (const Lane* known = known_.state.FindLane(lane->key); known != nullptr) {
      if (known->hold == nullptr || known->hold->task != task) return;
    } else if (due == kNever && !lane->queue->settings.dead_blocks_key) {
      return;
    }
    state_.SetHold(lane, KeyHold{task, due});
  }

  static Counter CounterOfKind(TimerKind kind) {
    return kind == TimerKind::kScheduled || kind == TimerKind::kPostponed ? Counter::kScheduled
           : kind == TimerKind::kRetryable                                ? Counter::kRetryable
                                                                          : Counter::kAvailable;
  }
  absl::Status AddTimer(Lane* lane, Time due, TaskId task, uint32_t count, TimerKind kind) {
    state_.ChangeTimed(lane, count, 0);
    state_.Count(lane->queue, CounterOfKind(kind), count);
    return PutBody(Family::kIndex, keys_.Timer(lane->id, due, task), EncodeTimer(count, kind));
  }

  static bool EndsWithoutPayload(const TaskFacts& facts) {
    const auto state = static_cast<State>(facts.record->state());
    return state == State::kCompleted || state == State::kCancelled;
  }
  absl::Status SaveBelongings(const TaskFacts& facts) {
    for (const auto& [key, value] : facts.belongings) RETURN_IF_ERROR(PutRaw(Family::kTasks, key, value));
    const ChangedTask* changed = facts.change();
    if (changed == nullptr || EndsWithoutPayload(facts)) return absl::OkStatus();
    return PutRecord(Family::kTasks, keys_.Spec(facts.task), changed->record);
  }

  absl::Status SaveFinal(const TaskFacts& facts) {
    const records::TaskRecord& record = *facts.record;
    const auto state = static_cast<State>(record.state());
    RETURN_IF_ERROR(PutRecord(Family::kTasks, keys_.TaskRecord(facts.task), record));
    RETURN_IF_ERROR(SaveBelongings(facts));
    RETURN_IF_ERROR(
        PutRaw(Family::kIndex, keys_.Done(QueueId(record.queue_id()), state, record.end_time(), facts.task), ""));
    return PutRaw(Family::kIndex, keys_.Retention(record.forget_time(), facts.task), "");
  }

  // A dead task of which only the index is left.
  records::TaskRecord MakeDeadRecord(const TaskBlock& block, uint32_t slot, Time end, uint32_t attempts) {
    const TaskBlock::Entry& entry = block.lane_of(slot);
    const QueueState* queue = state_.FindQueue(entry.queue);
    records::TaskRecord record;
    record.set_state(static_cast<uint32_t>(State::kDead));
    record.set_queue_id(entry.queue.value());
    record.set_type_id(entry.type.value());
    record.set_priority(entry.priority);
    record.set_lane_name(entry.name);
    record.set_fifo(entry.fifo);
    record.set_create_time(block.create_time());
    record.set_run_time(block.create_time());
    record.set_end_time(end);
    record.set_dead_reason(static_cast<uint32_t>(DeadReason::kAttemptsUsedUp));
    record.set_attempt(attempts);
    record.set_attempt_records(attempts);
    record.set_forget_time(end + (queue != nullptr ? queue->settings.dead_retention : 0));
    return record;
  }

  // --- blocks ---

  // What becomes of a slot.
  enum class Fate : uint8_t { kGone, kDead, kWithRecord, kFresh, kScheduled };

  // What is missing of what its record speaks of.
  static bool LostItsChange(std::optional<TaskFacts>* facts) {
    if (!*facts || !(*facts)->record || (*facts)->record->revision() == 0 || (*facts)->changed != nullptr) return false;
    (*facts)->record->set_revision(0);
    return true;
  }

  absl::StatusOr<Fate> RebuildSlot(const TaskBlock& block, uint32_t slot, std::optional<TaskFacts>* facts) {
    const TaskId task(options_.partition, block.id().value(), slot);
    const TaskBlock::Entry& entry = block.lane_of(slot);
    const bool running = known_.state.FindLease(task) != nullptr;
    const bool has_record = *facts && (*facts)->record;
    const State recorded = has_record ? static_cast<State>((*facts)->record->state()) : State::kAvailable;
    if (has_record && IsFinal(recorded) && recorded != State::kDead) {
      ++report_.finished;
      RETURN_IF_ERROR(SaveFinal(**facts));
      return Fate::kGone;
    }
    if (block.dropped(slot)) return Fate::kGone;
    const bool lost_change = LostItsChange(facts);
    const TaskView view(block, slot, *facts);
    if (has_record && recorded == State::kDead) {
      RETURN_IF_ERROR(NeedNames(view.key.queue, view.type, view.spec));
      RETURN_IF_ERROR(SaveFinal(**facts));
      state_.Count(state_.FindQueue(view.key.queue), Counter::kDead, 1);
      HoldKey(LaneOf(view.key, view.group), task, kNever);
      Saved(task, view.key.queue, State::kDead, lost_change ? kLostChange : "");
      return Fate::kDead;
    }
    if (IsFinished(block, slot)) return Fate::kGone;
    const auto done = has_record ? done_.end() : done_.find(task);
    if (done != done_.end() && done->second.first != State::kDead) return Fate::kGone;
    const LaneId waits_in = has_record ? LaneId((*facts)->record->lane_id()) : entry.lane;
    if (done == done_.end() && WasPurged(task, waits_in)) return Fate::kGone;

    RETURN_IF_ERROR(NeedNames(view.key.queue, view.type, view.spec));
    if (done != done_.end()) {
      TaskFacts dead = *facts ? **facts : TaskFacts();
      dead.task = task;
      dead.record = MakeDeadRecord(block, slot, done->second.second, dead.attempts);
      dead.record->set_has_checkpoint(dead.checkpoint);
      RETURN_IF_ERROR(SaveFinal(dead));
      state_.Count(state_.FindQueue(entry.queue), Counter::kDead, 1);
      HoldKey(LaneOf(entry), task, kNever);
      Saved(task, entry.queue, State::kDead, "its record was damaged: why it died is not known");
      return Fate::kDead;
    }
    Lane* lane = LaneOf(view.key, view.group);
    state_.CountBytes(lane->queue, task, static_cast<int64_t>(view.spec.size()));
    const Time run_at = block.extras(slot).run_at;
    const std::string_view note = running ? "it was running, and waits again" : "";
    if (has_record) {
      records::TaskRecord record = *(*facts)->record;
      State state = running || recorded == State::kAvailable ? State::kAvailable : recorded;
      const TimerKind kind = state == State::kRetryable   ? TimerKind::kRetryable
                             : state == State::kScheduled ? TimerKind::kPostponed
                                                          : TimerKind::kReturned;
      record.set_state(static_cast<uint32_t>(state));
      record.set_lane_id(lane->id.value());
      if (running) record.set_handed_out(true);
      RETURN_IF_ERROR(PutRecord(Family::kTasks, keys_.TaskRecord(task), record));
      RETURN_IF_ERROR(SaveBelongings(**facts));
      RETURN_IF_ERROR(AddTimer(lane, record.run_time(), task, 1, kind));
      HoldKey(lane, task, record.run_time());
      Saved(task, view.key.queue, state, lost_change ? kLostChange : note);
      return Fate::kWithRecord;
    }
    const bool forgotten = *facts && !(*facts)->belongings.empty();
    const std::string_view why = forgotten ? "its record was damaged: it begins anew" : note;
    const bool holds = running && entry.fifo && run_at != 0;
    if (lane->id != entry.lane || holds) {
      // The block names a lane that is no more, or the task has its key although others came before it: a record says
      // where it waits.
      records::TaskRecord record;
      const bool later = run_at > time_seen_;
      record.set_state(static_cast<uint32_t>(later ? State::kRetryable : State::kAvailable));
      record.set_queue_id(entry.queue.value());
      record.set_type_id(entry.type.value());
      record.set_priority(entry.priority);
      record.set_lane_name(entry.name);
      record.set_fifo(entry.fifo);
      record.set_lane_id(lane->id.value());
      record.set_create_time(block.create_time());
      record.set_run_time(std::max(run_at, block.create_time()));
      RETURN_IF_ERROR(PutRecord(Family::kTasks, keys_.TaskRecord(task), record));
      RETURN_IF_ERROR(AddTimer(lane, record.run_time(), task, 1, later ? TimerKind::kRetryable : TimerKind::kReturned));
      if (running) HoldKey(lane, task, record.run_time());
      Saved(task, entry.queue, later ? State::kRetryable : State::kAvailable, why);
      return Fate::kWithRecord;
    }
    Saved(task, entry.queue, run_at != 0 ? State::kScheduled : State::kAvailable, why);
    return run_at != 0 ? Fate::kScheduled : Fate::kFresh;
  }

  absl::Status RebuildBlock(const TaskBlock& block, bool compacted) {
    const BlockId id = block.id();
    SeeTime(block.create_time());
    std::map<TaskId, TaskFacts> tasks;
    RETURN_IF_ERROR(EachTask(TaskPrefix(id), TaskPrefix(BlockId(id.value() + 1)), [&](TaskFacts facts) {
      tasks.emplace(facts.task, std::move(facts));
      return absl::OkStatus();
    }));
    std::vector<Fate> fates(block.slot_count());
    uint32_t alive = 0;
    Time expiry = kNever;
    for (uint32_t slot = 0; slot < block.slot_count(); ++slot) {
      const TaskId task(options_.partition, id.value(), slot);
      std::optional<TaskFacts> facts;
      if (auto found = tasks.find(task); found != tasks.end()) facts = std::move(found->second);
      ASSIGN_OR_RETURN(fates[slot], RebuildSlot(block, slot, &facts));
      if (fates[slot] == Fate::kGone) continue;
      ++alive;
      if (fates[slot] == Fate::kDead) continue;
      const TaskView view(block, slot, facts);
      NoteUnique(block, slot, view, facts);
      const records::TaskRecord* record = facts && facts->record ? &*facts->record : nullptr;
      expiry = std::min(expiry, Lifecycle::DeadlineOf(*view.extras, block.create_time(), record).time);
    }
    if (alive == 0) return absl::OkStatus();  // nobody needs it any more
    living_blocks_.insert(id);
    const std::string key = compacted ? keys_.CompactedBlock(id) : keys_.Block(id);
    RETURN_IF_ERROR(PutBody(compacted ? Family::kTasks : Family::kBlocks, key, block.body()));
    if (expiry != kNever) RETURN_IF_ERROR(PutRaw(Family::kIndex, keys_.Expiry(expiry, id), ""));
    RestoreState(block, compacted, fates);
    RETURN_IF_ERROR(RestoreTimers(block, fates));
    return RestoreRuns(block, fates);
  }

  void RestoreState(const TaskBlock& block, bool compacted, const std::vector<Fate>& fates) {
    const bool whole = std::all_of(fates.begin(), fates.end(),
                                   [](Fate fate) { return fate == Fate::kFresh || fate == Fate::kScheduled; });
    if (whole && !compacted) return;
    BlockState* state = state_.TouchBlock(block.id(), block.slot_count());
    if (compacted) state_.MarkCompacted(state);
    if (const auto history = history_.find(block.id()); history != history_.end()) {
      state->finishes = history->second.addresses;
    }
    for (uint32_t slot = 0; slot < fates.size(); ++slot) {
      if (fates[slot] == Fate::kFresh || fates[slot] == Fate::kScheduled) continue;
      // Whatever is in none of the lane's runs left it out of turn.
      state_.MarkGone(state, slot);
      if (fates[slot] != Fate::kGone) continue;
      state_.End(TaskId(options_.partition, block.id().value(), slot), {false, true, 0}, state, 0);
    }
  }

  absl::Status RestoreTimers(const TaskBlock& block, const std::vector<Fate>& fates) {
    for (uint32_t slot = 0; slot < fates.size();) {
      if (fates[slot] != Fate::kScheduled) {
        ++slot;
        continue;
      }
      const TaskBlock::Entry& entry = block.lane_of(slot);
      const Time due = block.extras(slot).run_at;
      uint32_t count = 1;
      while (slot + count < fates.size() && fates[slot + count] == Fate::kScheduled &&
             block.entry_of(slot + count) == block.entry_of(slot) && block.extras(slot + count).run_at == due) {
        ++count;
      }
      RETURN_IF_ERROR(AddTimer(LaneOf(entry), due, TaskId(options_.partition, block.id().value(), slot), count,
                               TimerKind::kScheduled));
      slot += count;
    }
    return absl::OkStatus();
  }

  absl::Status RestoreRuns(const TaskBlock& block, const std::vector<Fate>& fates) {
    for (uint32_t index = 0; index < block.entries().size(); ++index) {
      const TaskBlock::Entry& entry = block.entries()[index];
      uint32_t count = 0;
      for (const uint16_t slot : block.FreshSlots(index)) count += fates[slot] == Fate::kFresh;
      if (count == 0) continue;
      Lane* lane = LaneOf(entry);
      const uint32_t kind = entry.fifo ? FreshRun::Kind(entry.type, entry.priority) : 0;
      state_.AppendRun(lane, {block.id(), block.create_time(), static_cast<uint16_t>(index), 0, kind}, count);
      state_.Count(lane->queue, Counter::kAvailable, count);
      if (lane->runs.ShouldSpill()) {
        const std::string key = keys_.Segment(lane->id, lane->runs.segment_end());
        RETURN_IF_ERROR(PutBody(Family::kIndex, key, EncodeRuns(state_.SpillBack(lane), entry.fifo)));
      }
    }
    // What the state notes for a delta is of no use here.
    state_.ClearChanges();
    return absl::OkStatus();
  }

  std::string TaskPrefix(BlockId block) const {
    std::string key(1, static_cast<char>(options_.partition));
    PutBig64(&key, TaskId(options_.partition, block.value(), 0).value());
    return key;
  }

  // Records of tasks whose block is gone: they are finished, or their payload is lost.
  absl::Status SaveWithoutBlock() {
    return EachTask("", "", [&](const TaskFacts& facts) -> absl::Status {
      if (blocks_.contains(BlockId(facts.task.block()))) return absl::OkStatus();
      if (!facts.record) return absl::OkStatus();  // nothing but remains
      const auto state = static_cast<State>(facts.record->state());
      if (IsFinal(state) && state != State::kDead) {
        ++report_.finished;
        return SaveFinal(facts);
      }
      Lost(facts.task, "its payload is lost; its record says that it waited, ran or was dead");
      return absl::OkStatus();
    });
  }

  // --- keys ---

  void NoteUnique(const TaskBlock& block, uint32_t slot, const TaskView& view, const std::optional<TaskFacts>& facts) {
    const SlotExtras& extras = *view.extras;
    if (extras.unique_key.empty()) return;
    records::UniqueRecord record;
    record.set_task_id(TaskId(options_.partition, block.id().value(), slot).value());
    // It may have given the key up.
    const bool had = known_.state.FindLease(TaskId(record.task_id())) != nullptr ||
                     (facts && facts->record && Lifecycle::WasHandedOut(*facts->record));
    if (extras.unique_waiting && had) return;
    if (extras.unique_window > 0) record.set_until(block.create_time() + extras.unique_window);
    unique_[keys_.Unique(view.key.queue, extras.unique_key)] = record;
    if (extras.unique_window == 0) holders_.insert(TaskId(record.task_id()));
  }

  void ForgetLater(Time until, std::string key) { lists_[BucketOf(until)].push_back(std::move(key)); }

  absl::Status SaveKeys() {
    RETURN_IF_ERROR(EachOf(Family::kIndex, 'U', [&](std::string_view key, std::string_view value) -> absl::Status {
      ASSIGN_OR_RETURN(const records::UniqueRecord record, OpenRecord<records::UniqueRecord>(key, value));
      // Without a window the key is its living task's.
      if (record.until() == 0 && !holders_.contains(TaskId(record.task_id()))) return absl::OkStatus();
      unique_.erase(std::string(key));
      if (record.until() != 0) ForgetLater(record.until(), std::string(key));
      return PutRaw(Family::kIndex, key, value);
    }));
    for (const auto& [key, record] : unique_) {
      if (record.until() != 0) ForgetLater(record.until(), key);
      RETURN_IF_ERROR(PutRecord(Family::kIndex, key, record));
    }
    return EachOf(Family::kIndex, 'Q', [&](std::string_view key, std::string_view value) -> absl::Status {
      ASSIGN_OR_RETURN(const records::RequestRecord record, OpenRecord<records::RequestRecord>(key, value));
      ForgetLater(record.until(), std::string(key));
      for (const auto& run : record.runs()) {
        if (run.duplicate()) continue;  // another request made them
        for (uint32_t i = 0; i < run.count(); ++i) enqueued_.insert(TaskId(run.first_task_id() + i));
      }
      return PutRaw(Family::kIndex, key, value);
    });
  }

  // What a schedule is, is worth keeping without how far it was: it waits for an operator then.
  absl::Status SaveSchedules() {
    std::set<std::string> names;
    const auto save = [&](std::string_view key, std::string_view value) -> absl::Status {
      const std::string name(key.substr(2));
      names.insert(name);
      if (const absl::Status put = PutRaw(Family::kMeta, key, value); !put.ok()) return put;
      const std::string progress_key = keys_.ScheduleProgress(name);
      if (const auto progress = from_.Get(Family::kMeta, progress_key); progress.ok()) {
        return PutRaw(Family::kMeta, progress_key, *progress);
      }
      records::ScheduleProgressRecord lost;
      lost.set_paused(true);
      lost.set_error("how far it was is lost: it is paused until it is resumed");
      lost.set_error_time(time_seen_);
      report_.schedules_paused.push_back(name);
      return PutRecord(Family::kMeta, progress_key, lost);
    };
    RETURN_IF_ERROR(EachOf(Family::kMeta, 'd', save));
    return EachOf(Family::kMeta, 'n', [&](std::string_view key, std::string_view) {
      const std::string name(key.substr(2));
      if (!names.contains(name)) report_.schedules_lost.push_back(name);
      return absl::OkStatus();
    });
  }

  // Their buckets are full again: what started before is not known.
  absl::Status SaveThrottles() {
    return EachOf(Family::kMeta, 'l',
                  [&](std::string_view key, std::string_view value) { return PutRaw(Family::kMeta, key, value); });
  }

  // Those that ran go on: what they look at next is found by its place, which is still where it was.
  absl::Status SaveBulkJobs() {
    return EachOf(Family::kMeta, 'b',
                  [&](std::string_view key, std::string_view value) { return PutRaw(Family::kMeta, key, value); });
  }

  absl::Status SaveHistoryAddresses() {
    for (const auto& [id, block] : history_) {
      if (living_blocks_.contains(id)) continue;
      uint32_t last = 0;
      for (const HistoryAddress& address : block.addresses) last = std::max(last, address.bucket);
      const std::string key = keys_.Finishes(id);
      RETURN_IF_ERROR(PutBody(Family::kIndex, key, EncodeAddresses(block.addresses)));
      lists_[last].push_back(key);
    }
    return absl::OkStatus();
  }

  absl::Status SaveLists() {
    uint64_t number = 0;
    for (const auto& [bucket, keys] : lists_) {
      for (size_t begin = 0; begin < keys.size(); begin += kKeysPerList) {
        std::string body;
        for (size_t i = begin; i < std::min(keys.size(), begin + kKeysPerList); ++i) PutBytes(&body, keys[i]);
        RETURN_IF_ERROR(PutBody(Family::kIndex, keys_.ExpiryList(bucket, number++), body));
      }
    }
    return absl::OkStatus();
  }

  // --- what is lost ---

  bool IsKnown(TaskId task) {
    const BlockId block(task.block());
    if (blocks_.contains(block)) return true;
    const auto history = history_.find(block);
    if (history != history_.end() && history->second.finished.contains(task.slot())) return true;
    if (done_.contains(task)) return true;
    const BlockState* state = known_.state.FindBlock(block);
    if (state != nullptr && state->is_finished(task.slot())) return true;
    return from_.Get(Family::kTasks, keys_.TaskRecord(task)).ok() ||
           from_.Get(Family::kIndex, keys_.Finishes(block)).ok();
  }

  // A lane may still name blocks of which every task left out of turn: such a one is gone rightly. So it counts how
  // many tasks the lane should have.
  absl::Status FindLostOf(const Lane& lane) {
    std::vector<BlockId> missing;
    uint64_t found = 0;
    auto run = [&](const FreshRun& fresh) -> absl::Status {
      const BlockState* state = known_.state.FindBlock(fresh.block);
      const auto stored = blocks_.find(fresh.block);
      if (stored == blocks_.end()) {
        if (state == nullptr) missing.push_back(fresh.block);  // otherwise its tasks are named one by one
        return absl::OkStatus();
      }
      ASSIGN_OR_RETURN(const auto block, LoadBlock(fresh.block, stored->second));
      const auto slots = block->FreshSlots(fresh.entry);
      for (size_t i = fresh.position; i < slots.size(); ++i) found += state == nullptr || !state->is_gone(slots[i]);
      return absl::OkStatus();
    };
    std::vector<FreshRun> runs;
    auto add = [&](const FreshRun& fresh) { runs.push_back(fresh); };
    lane.runs.VisitFirst(add);
    for (uint64_t segment = lane.runs.segment_begin(); segment < lane.runs.segment_end(); ++segment) {
      const std::string key = keys_.Segment(lane.id, segment);
      const auto value = from_.Get(Family::kIndex, key);
      if (!value.ok()) continue;  // its blocks were found where they are stored
      const auto body = OpenValue(key, *value);
      const auto stored = body.ok() ? DecodeRuns(*body, lane.key.fifo) : body.status();
      if (stored.ok()) runs.insert(runs.end(), stored->begin(), stored->end());
    }
    lane.runs.VisitBack(add);
    for (const FreshRun& fresh : runs) RETURN_IF_ERROR(run(fresh));
    if (found >= lane.fresh_count) return absl::OkStatus();
    for (const BlockId block : missing) {
      Lost(TaskId(options_.partition, block.value(), 0), "a block that is lost", /*whole_block=*/true);
    }
    return absl::OkStatus();
  }

  // Whoever still names tasks of blocks that are not there any more.
  absl::Status FindLost() {
    constexpr std::string_view kWhy = "its block is lost";
    for (const auto& [id, state] : known_.state.blocks()) {
      for (uint32_t slot = 0; slot < state->total; ++slot) {
        const TaskId task(options_.partition, id.value(), slot);
        if (!IsKnown(task)) Lost(task, kWhy);
      }
    }
    known_.state.ForEachLease([&](const Lease& lease) {
      if (!IsKnown(lease.task)) Lost(lease.task, "its block is lost; it was running");
    });
    for (const auto& [id, lane] : known_.state.lanes()) RETURN_IF_ERROR(FindLostOf(*lane));
    for (const TaskId task : enqueued_) {
      if (report_.state_known && !blocks_.contains(BlockId(task.block())))
        continue;  // finished and forgotten, or named
      if (!IsKnown(task)) Lost(task, kWhy);
    }
    return EachOf(Family::kIndex, 'T', [&](std::string_view key, std::string_view value) -> absl::Status {
      Decoder decoder(key.substr(2));
      const LaneId lane(decoder.Big32());
      TimerRun timer;
      timer.position.task = ParseTimerKey(key).task;
      const auto body = OpenValue(key, value);
      if (!body.ok() || !DecodeTimer(*body, &timer.count, &timer.kind)) return absl::OkStatus();
      for (uint32_t i = 0; i < timer.count; ++i) {
        const TaskId task(timer.position.task.value() + i);
        if (!WasPurged(task, lane) && !IsKnown(task)) Lost(task, kWhy);
      }
      return absl::OkStatus();
    });
  }

  // --- the end ---

  absl::Status SaveState() {
    state_.ClearChanges();
    for (const auto& [name, queue] : state_.queues()) {
      QueueCounters& counters = queue->counters;
      const uint64_t alive = counters.scheduled + counters.available + counters.retryable + counters.dead;
      counters.enqueued_total = std::max(counters.enqueued_total, alive);
    }
    Applied& applied = report_.applied;
    ++applied.sequence;
    applied.epoch = EpochOfRestore(wall_, options_.numbers_begin, epoch_seen_);
    applied.time_micros = time_seen_;
    const std::string body = EncodeCheckpoint(state_);
    uint32_t chunk = 0;
    for (size_t offset = 0; offset < body.size(); offset += kChunkBytes) {
      RETURN_IF_ERROR(PutBody(Family::kMeta, keys_.CheckpointChunk(applied.sequence, chunk++),
                              std::string_view(body).substr(offset, kChunkBytes)));
    }
    const std::string key = AppliedKey(options_.partition);
    batch_.Put(Family::kMeta, key, EncodeApplied(key, applied));
    return Flush(/*sync=*/true);
  }

  const CoreOptions options_;
  const Keys keys_;
  const StoreReader& from_;
  const Time wall_;
  Store& to_;
  RebuildListener& listener_;
  CoreContext known_;  // the old state, as far as it is known
  CoreState state_;    // the new one
  CommitBatch batch_;
  RebuildReport report_;

  std::map<BlockId, bool> blocks_;  // that are stored; true: compacted
  std::set<BlockId> living_blocks_;
  std::map<BlockId, BlockHistory> history_;
  std::map<TaskId, std::pair<State, Time>> done_;
  std::map<LaneKey, LaneId> lane_numbers_;
  std::map<std::string, records::UniqueRecord> unique_;  // that living tasks ask for
  std::set<TaskId> holders_;                             // of unique keys without a window
  std::set<TaskId> enqueued_;                            // that request ids name
  std::map<uint32_t, std::vector<std::string>> lists_;   // keys to forget, by bucket
  std::set<TaskId> lost_;
  uint64_t epoch_seen_ = 0;
  Time time_seen_ = 0;
};

}  // namespace

absl::StatusOr<RebuildReport> RebuildStore(const CoreOptions& options, const StoreReader& from, Time wall, Store* to,
                                           RebuildListener* listener) {
  return Rebuilder(options, from, wall, to, listener).Run();
}

}  // namespace penstock::broker
