#include "broker/core/audit.h"

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string_view>
#include <utility>

#include "broker/core/changed_task.h"
#include "broker/core/checkpoint.h"
#include "broker/core/core_context.h"
#include "broker/core/lane_head.h"
#include "broker/core/lifecycle.h"
#include "broker/core/state_codec.h"
#include "broker/storage/envelope.h"
#include "broker/storage/labels.h"
#include "broker/storage/task_block.h"
#include "common/coding.h"
#include "fmt/format.h"

namespace penstock::broker {
namespace {

// Where a task was found.
struct Place {
  enum class Kind : uint8_t { kLease, kLane, kTimers, kPurgedLane, kPurgedTimers, kDeadSet, kFinished };
  Kind kind = Kind::kLease;
  uint32_t lane = 0;

  std::string ToString() const {
    switch (kind) {
      case Kind::kLease:
        return "a lease";
      case Kind::kLane:
        return fmt::format("lane {}", lane);
      case Kind::kTimers:
        return fmt::format("timers of lane {}", lane);
      case Kind::kPurgedLane:
        return fmt::format("purged lane {}", lane);
      case Kind::kPurgedTimers:
        return fmt::format("timers of purged lane {}", lane);
      case Kind::kDeadSet:
        return "the dead set";
      case Kind::kFinished:
        return "the finished records";
    }
    return "nowhere";
  }
};

class Audit {
 public:
  Audit(const CoreOptions& options, const StoreReader& store) : store_(store), context_(options, store) {}

  AuditReport Run() {
    if (!Load()) return std::move(report_);
    ReadTasks();
    CountLeases();
    CountLanes();
    CountTimers();
    CountPurged();
    CountRecords();
    CountHistory();
    CountSlots();
    CheckIndexes();
    CheckExpiry();
    CheckSchedules();
    CheckThrottles();
    CheckBulkJobs();
    CompareCounters();
    TakeCensus();
    return std::move(report_);
  }

 private:
  void Problem(std::string text, TaskId task = TaskId()) { report_.findings.push_back({std::move(text), task}); }
  void Need(const absl::Status& status, std::string_view what, TaskId task = TaskId()) {
    if (!status.ok()) Problem(fmt::format("{}: {}", what, std::string(status.message())), task);
  }
  // Visits the keys of one kind: partition byte, kind byte.
  template <class Visit>
  void Each(Family family, char kind, Visit visit) {
    Need(store_.Scan(family, context_.keys.First(kind), context_.keys.Past(kind),
                     [&](std::string_view key, std::string_view value) {
                       visit(key, value);
                       return true;
                     }),
         fmt::format("scan {}", kind));
  }
  std::string_view Open(std::string_view key, std::string_view value, std::string_view what) {
    auto body = OpenValue(key, value);
    Need(body.status(), what);
    return body.ok() ? *body : std::string_view();
  }

  // The state as a recovery rebuilds it.
  bool Load() {
    const std::string applied_key = AppliedKey(context_.options.partition);
    auto value = store_.Get(Family::kMeta, applied_key);
    if (absl::IsNotFound(value.status()) && IsEmpty()) return false;  // a start that did not come to its first commit
    if (!value.ok()) {
      Need(value.status(), "the record of the last commit");
      return false;
    }
    auto applied = DecodeApplied(applied_key, *value);
    if (!applied.ok()) {
      Need(applied.status(), "the record of the last commit");
      return false;
    }
    report_.applied = *applied;
    Each(Family::kMeta, 't', [&](std::string_view key, std::string_view stored) {
      auto record = OpenRecord<records::TypeRecord>(key, stored);
      Need(record.status(), "type");
      Decoder decoder(key.substr(2));
      if (!record.ok()) return;
      context_.state.AddType(TypeId(decoder.Big32()), record->name(), LabelText(record->labels()));
    });
    Each(Family::kMeta, 'q', [&](std::string_view key, std::string_view stored) {
      auto record = OpenRecord<records::QueueRecord>(key, stored);
      Need(record.status(), "queue");
      Decoder decoder(key.substr(2));
      if (record.ok()) ReadQueueRecord(*record, context_.state.AddQueue(QueueId(decoder.Big32()), record->name()));
    });
    Each(Family::kMeta, 's', [&](std::string_view key, std::string_view stored) {
      Need(OpenRecord<records::SessionRecord>(key, stored).status(), "session");
      Decoder decoder(key.substr(2));
      sessions_.insert(SessionNumber(decoder.Big64()));
    });
    Checkpointer checkpointer(context_);
    const absl::Status status = checkpointer.Recover(store_, applied->sequence);
    Need(status, "recovery");
    return status.ok();
  }

  bool IsEmpty() {
    bool empty = true;
    for (int family = 0; family < kFamilyCount; ++family) {
      Need(store_.Scan(static_cast<Family>(family), "", "",
                       [&](auto, auto) {
                         empty = false;
                         return false;
                       }),
           "scan");
    }
    return empty;
  }

  void AddBlock(BlockId id, std::string_view key, std::string_view value, bool compacted) {
    auto block = TaskBlock::Parse(std::string(Open(key, value, "block")));
    if (!block.ok() || (*block)->id() != id) {
      Problem(fmt::format("block {} cannot be read", id.value()));
      return;
    }
    if (!blocks_.emplace(id, *std::move(block)).second) Problem(fmt::format("block {} is stored twice", id.value()));
    const BlockState* state = context_.state.FindBlock(id);
    if ((state != nullptr && state->compacted) != compacted) {
      Problem(
          fmt::format("block {} is stored {}compacted, the state says otherwise", id.value(), compacted ? "" : "un"));
    }
  }

  void ReadTasks() {
    Need(store_.Scan(Family::kBlocks, "", "",
                     [&](std::string_view key, std::string_view value) {
                       Decoder decoder(key.substr(1));
                       AddBlock(BlockId(decoder.Big64()), key, value, false);
                       return true;
                     }),
         "scan blocks");
    Need(store_.Scan(Family::kTasks, "", "",
                     [&](std::string_view key, std::string_view value) {
                       Decoder decoder(key.substr(1));
                       const TaskId task(decoder.Big64());
                       switch (decoder.Byte()) {
                         case 'R': {
                           auto record = OpenRecord<records::TaskRecord>(key, value);
                           Need(record.status(), "record of " + task.ToString(), task);
                           if (record.ok()) records_[task] = *std::move(record);
                           break;
                         }
                         case 'B':
                           AddBlock(BlockId(task.block()), key, value, true);
                           break;
                         case 'A':
                           ++belongings_[task];
                           Need(OpenRecord<records::AttemptRecord>(key, value).status(), "an attempt", task);
                           break;
                         case 'L':
                           ++belongings_[task];
                           Need(OpenRecord<records::LogRecord>(key, value).status(), "log lines", task);
                           break;
                         case 'O':
                           ++belongings_[task];
                           Need(OpenRecord<records::ResultRecord>(key, value).status(), "a result", task);
                           break;
                         case 'P':
                           ++belongings_[task];
                           checkpoints_.insert(task);
                           Need(OpenRecord<records::CheckpointRecord>(key, value).status(), "a checkpoint", task);
                           break;
                         case 'S': {
                           auto spec = OpenRecord<records::SpecRecord>(key, value);
                           Need(spec.status(), "what a task was changed to", task);
                           if (spec.ok()) changed_[task] = std::make_unique<ChangedTask>(*std::move(spec));
                           break;
                         }
                         default:
                           Problem(fmt::format("an unknown record belongs to task {}", task.ToString()), task);
                       }
                       return true;
                     }),
         "scan tasks");
  }

  const records::TaskRecord* RecordOf(TaskId task) const {
    auto found = records_.find(task);
    return found == records_.end() ? nullptr : &found->second;
  }
  const ChangedTask* ChangeOf(TaskId task) const {
    auto found = changed_.find(task);
    return found == changed_.end() ? nullptr : found->second.get();
  }
  // Its spec waits in the queue.
  void CountBytes(QueueId id, TaskId task, std::string_view slot_spec) {
    const QueueState* queue = context_.state.FindQueue(id);
    if (queue == nullptr || !queue->counts_bytes_of(task)) return;
    const ChangedTask* changed = ChangeOf(task);
    bytes_[id] += changed != nullptr ? changed->record.spec().size() : slot_spec.size();
  }
  // Notes where a task is; nothing may be in two places.
  void Put(TaskId task, Place::Kind kind, LaneId lane = LaneId()) {
    const Place place{kind, lane.value()};
    auto [found, added] = places_.emplace(task, place);
    if (!added) {
      Problem(fmt::format("task {} is in {} and in {}", task.ToString(), found->second.ToString(), place.ToString()),
              task);
    }
  }
  QueueCounters& CountersOf(QueueId queue) { return counters_[queue]; }

  void CountLeases() {
    std::set<FencingToken> tokens;
    context_.state.ForEachLease([&](const Lease& lease) {
      Put(lease.task, Place::Kind::kLease);
      ++CountersOf(lease.queue).running;
      if (!tokens.insert(lease.token).second) Problem("two leases have one token");
      if (!sessions_.contains(lease.session))
        Problem("lease of a session that is not recorded: " + lease.task.ToString());
      if (lease.exceptional != (RecordOf(lease.task) != nullptr)) {
        Problem(fmt::format("lease of {} is {}exceptional, its record says otherwise", lease.task.ToString(),
                            lease.exceptional ? "" : "not "));
      }
    });
  }

  void AddFresh(const Lane* lane, const FreshRun& run, uint64_t* count, LaneId id) {
    auto found = blocks_.find(run.block);
    if (found == blocks_.end()) return;  // every task of it left out of turn
    const BlockState* state = context_.state.FindBlock(run.block);
    const auto slots = found->second->FreshSlots(run.entry);
    for (size_t position = run.position; position < slots.size(); ++position) {
      const TaskId task(context_.options.partition, run.block.value(), slots[position]);
      if (state != nullptr && state->is_gone(slots[position])) continue;
      Put(task, lane != nullptr ? Place::Kind::kLane : Place::Kind::kPurgedLane, id);
      if (RecordOf(task) != nullptr)
        Problem(fmt::format("task {} waits in a lane and has a record", task.ToString()), task);
      ++*count;
      if (lane != nullptr) CountBytes(lane->key.queue, task, found->second->spec(slots[position]));
      if (lane != nullptr && found->second->lane_of(slots[position]).lane != lane->id) {
        Problem(fmt::format("task {} waits in lane {}, its block says another", task.ToString(), lane->id.value()));
      }
    }
  }

  // A FIFO key is held by a task of its lane that runs, waits to run again, or is dead and blocks it.
  void CheckHold(const Lane& lane) {
    const TaskId task = lane.hold->task;
    const std::string hold = fmt::format("lane {} is held by task {}", lane.id.value(), task.ToString());
    const Lease* lease = context_.state.FindLease(task);
    if (lease != nullptr) {
      if (lease->lane() != lane.key) Problem(hold + ", which runs for another", task);
      if (lane.hold->due != kNever) Problem(hold + " with a time, although it runs", task);
      return;
    }
    const records::TaskRecord* record = RecordOf(task);
    if (record == nullptr) return Problem(hold + ", which neither runs nor has a record", task);
    const auto state = static_cast<State>(record->state());
    if (state == State::kDead
            ? lane.hold->due != kNever
            : IsFinal(state) || record->run_time() != lane.hold->due || record->lane_id() != lane.id.value()) {
      Problem(hold + ", whose record says something else", task);
    }
  }

  std::vector<FreshRun> SegmentRuns(LaneId lane, uint64_t segment, bool fifo) {
    const std::string key = context_.keys.Segment(lane, segment);
    auto value = store_.Get(Family::kIndex, key);
    if (!value.ok()) {
      Problem(fmt::format("segment {} of lane {} is missing", segment, lane.value()));
      return {};
    }
    auto runs = DecodeRuns(Open(key, *value, "segment"), fifo);
    Need(runs.status(), "segment");
    return runs.ok() ? *std::move(runs) : std::vector<FreshRun>();
  }

  void CountLanes() {
    for (const auto& [id, lane] : context_.state.lanes()) {
      if (lane->queue == nullptr) {
        Problem(fmt::format("lane {} has no queue", id.value()));
        continue;
      }
      uint64_t fresh = 0;
      auto add = [&, lane = lane.get(), id = id](const FreshRun& run) { AddFresh(lane, run, &fresh, id); };
      lane->runs.VisitFirst(add);
      for (uint64_t segment = lane->runs.segment_begin(); segment < lane->runs.segment_end(); ++segment) {
        for (const FreshRun& run : SegmentRuns(id, segment, lane->key.fifo)) add(run);
      }
      lane->runs.VisitBack(add);
      if (lane->hold != nullptr) CheckHold(*lane);
      if (fresh != lane->fresh_count) {
        Problem(fmt::format("lane {} counts {} fresh tasks and has {}", id.value(), lane->fresh_count, fresh));
      }
      CountersOf(lane->key.queue).available += fresh;
    }
  }

  const CoreState::PurgedLane* Purged(LaneId id) {
    for (const auto& purged : context_.state.purged_lanes()) {
      if (purged.lane == id) return &purged;
    }
    return nullptr;
  }

  // A timer's task by its kind: nothing that is not in order may stay.
  void CountTimed(TaskId task, Lane* lane, const TimerRun& run, uint64_t* timed, uint64_t* due) {
    const BlockState* state = context_.state.FindBlock(BlockId(task.block()));
    if (run.kind == TimerKind::kScheduled && state != nullptr && state->is_gone(task.slot())) return;
    Put(task, Place::Kind::kTimers, lane->id);
    ++*timed;
    const records::TaskRecord* record = RecordOf(task);
    if (run.kind == TimerKind::kScheduled) {
      if (record != nullptr) Problem(fmt::format("scheduled task {} has a record", task.ToString()), task);
    } else if (record == nullptr) {
      Problem(fmt::format("timed task {} has no record", task.ToString()), task);
    } else {
      const State expected = run.kind == TimerKind::kRetryable   ? State::kRetryable
                             : run.kind == TimerKind::kPostponed ? State::kScheduled
                                                                 : State::kAvailable;
      if (record->state() != static_cast<uint32_t>(expected) || record->run_time() != run.position.due ||
          record->lane_id() != lane->id.value()) {
        Problem(fmt::format("the record of timed task {} says something else", task.ToString()), task);
      }
    }
    if (const auto block = blocks_.find(BlockId(task.block())); block != blocks_.end()) {
      CountBytes(lane->key.queue, task, block->second->spec(task.slot()));
    }
    QueueCounters& counters = CountersOf(lane->key.queue);
    if (run.position <= lane->due_cursor()) {
      ++*due;
      ++counters.available;
    } else if (run.kind == TimerKind::kScheduled || run.kind == TimerKind::kPostponed) {
      ++counters.scheduled;
    } else if (run.kind == TimerKind::kRetryable) {
      ++counters.retryable;
    } else {
      ++counters.available;
    }
  }

  void CountTimers() {
    std::map<LaneId, std::pair<uint64_t, uint64_t>> counts;
    Each(Family::kIndex, 'T', [&](std::string_view key, std::string_view value) {
      Decoder decoder(key.substr(2));
      const LaneId id(decoder.Big32());
      const TimerKey timer = ParseTimerKey(key);
      TimerRun run{{timer.due, timer.task}, 1, TimerKind::kScheduled};
      if (!DecodeTimer(Open(key, value, "timer"), &run.count, &run.kind)) Problem("a timer is broken");
      report_.timers += 1;
      Lane* lane = context_.state.FindLane(id);
      for (uint32_t i = 0; i < run.count; ++i) {
        const TaskId task(timer.task.value() + i);
        if (lane != nullptr) {
          CountTimed(task, lane, run, &counts[id].first, &counts[id].second);
          continue;
        }
        const BlockState* state = context_.state.FindBlock(BlockId(task.block()));
        const bool gone = run.kind == TimerKind::kScheduled && state != nullptr && state->is_gone(task.slot());
        if (gone) continue;  // cleared with its block
        if (Purged(id) != nullptr) {
          Put(task, Place::Kind::kPurgedTimers, id);
        } else {
          Problem(fmt::format("task {} has a timer in lane {}, which is not there", task.ToString(), id.value()));
        }
      }
    });
    for (const auto& [id, lane] : context_.state.lanes()) {
      const auto [timed, due] = counts[id];
      if (timed != lane->timed_count() || due != lane->timed_due()) {
        Problem(fmt::format("lane {} counts {} timed tasks, {} due, and has {}, {}", id.value(), lane->timed_count(),
                            lane->timed_due(), timed, due));
      }
    }
  }

  void CountPurged() {
    for (const auto& purged : context_.state.purged_lanes()) {
      uint64_t count = 0;
      for (const FreshRun& run : purged.runs) AddFresh(nullptr, run, &count, purged.lane);
      for (uint64_t segment = purged.segment_begin; segment < purged.segment_end; ++segment) {
        for (const FreshRun& run : SegmentRuns(purged.lane, segment, purged.fifo)) {
          AddFresh(nullptr, run, &count, purged.lane);
        }
      }
    }
  }

  void CountRecords() {
    for (const auto& [task, record] : records_) {
      const auto state = static_cast<State>(record.state());
      const QueueId queue(record.queue_id());
      if (!IsFinal(state)) {
        if (!places_.contains(task))
          Problem(fmt::format("task {} has a record but waits nowhere", task.ToString()), task);
        continue;
      }
      Put(task, state == State::kDead ? Place::Kind::kDeadSet : Place::Kind::kFinished);
      if (state == State::kDead) ++CountersOf(queue).dead;
      if (state == State::kCompleted) ++CountersOf(queue).completed_total;
      if (state == State::kCancelled) ++CountersOf(queue).cancelled_total;
      if (!Has(context_.keys.Done(queue, state, record.end_time(), task))) {
        Problem(fmt::format("finished task {} is not in its index", task.ToString()), task);
      }
      if (!Has(context_.keys.Retention(record.forget_time(), task))) {
        Problem(fmt::format("finished task {} is never forgotten", task.ToString()), task);
      }
    }
    // A changed task has what it was changed to, as long as it has a payload.
    for (const auto& [task, record] : records_) {
      const auto state = static_cast<State>(record.state());
      const bool needs = record.revision() != 0 && state != State::kCompleted && state != State::kCancelled;
      if (needs != (ChangeOf(task) != nullptr)) {
        Problem(fmt::format("task {} {}", task.ToString(),
                            needs ? "was changed, and nobody knows to what" : "was not changed, and something says so"),
                task);
      }
    }
    for (const auto& [task, changed] : changed_) {
      if (RecordOf(task) == nullptr)
        Problem(fmt::format("task {} was changed and has no record", task.ToString()), task);
    }
    for (const auto& [task, count] : belongings_) {
      if (RecordOf(task) == nullptr)
        Problem(fmt::format("{} records of task {}, which has none", count, task.ToString()), task);
    }
    for (const auto& [task, record] : records_) {
      if (record.has_checkpoint() != checkpoints_.contains(task)) {
        Problem(fmt::format("a checkpoint of task {} is {}stored, its record says otherwise", task.ToString(),
                            checkpoints_.contains(task) ? "" : "not "),
                task);
      }
    }
  }
  bool Has(const std::string& key) { return store_.Get(Family::kIndex, key).ok(); }

  void CountHistory() {
    Need(store_.Scan(Family::kHistory, "", "",
                     [&](std::string_view key, std::string_view value) {
                       ++report_.history_records;
                       const std::string_view body = Open(key, value, "history");
                       if (body.empty()) return true;
                       Need(VisitHistory(body,
                                         [&](const FinishedTask& finished) {
                                           CountFinished(finished.task, finished.queue);
                                           return true;
                                         }),
                            "history");
                       return true;
                     }),
         "scan history");
  }
  void CountFinished(TaskId task, QueueId queue) {
    ++CountersOf(queue).completed_total;
    const BlockId id(task.block());
    const BlockState* state = context_.state.FindBlock(id);
    if (blocks_.contains(id) && (state == nullptr || !state->is_finished(task.slot()))) {
      Problem(fmt::format("task {} is in the history, its slot is not finished", task.ToString()), task);
    }
  }

  // Every slot is finished, or its task is somewhere.
  void CountSlots() {
    for (const auto& [id, block] : blocks_) {
      const BlockState* state = context_.state.FindBlock(id);
      if (state != nullptr && state->total != block->slot_count()) {
        Problem(fmt::format("block {} has {} slots, its state {}", id.value(), block->slot_count(), state->total));
      }
      uint32_t alive = 0;
      for (uint32_t slot = 0; slot < block->slot_count(); ++slot) {
        const TaskId task(context_.options.partition, id.value(), slot);
        auto place = places_.find(task);
        if (state != nullptr && state->is_finished(slot)) {
          if (place != places_.end() && place->second.kind != Place::Kind::kFinished) {
            Problem(fmt::format("finished task {} is in {}", task.ToString(), place->second.ToString()), task);
          }
          continue;
        }
        ++alive;
        if (place == places_.end()) {
          Problem(fmt::format("task {} is lost", task.ToString()), task);
        } else if (place->second.kind == Place::Kind::kFinished) {
          Problem(fmt::format("task {} is finished, its slot is not", task.ToString()), task);
        }
        if (block->dropped(slot)) Problem(fmt::format("the payload of task {} is gone", task.ToString()), task);
      }
      if (state != nullptr && state->alive != alive) {
        Problem(fmt::format("block {} counts {} living tasks and has {}", id.value(), state->alive, alive));
      }
      if (alive == 0) Problem(fmt::format("block {} is finished and still stored", id.value()));
    }
    for (const auto& [id, state] : context_.state.blocks()) {
      if (!blocks_.contains(id)) Problem(fmt::format("block {} is not stored", id.value()));
    }
    for (const auto& [task, place] : places_) {
      if (place.kind == Place::Kind::kFinished) continue;
      if (!blocks_.contains(BlockId(task.block()))) {
        Problem(fmt::format("the block of task {} in {} is not stored", task.ToString(), place.ToString()), task);
      }
    }
  }

  // A key that is free once its task was handed out.
  void CheckWaitingKey(TaskId task, std::string_view key) {
    const auto block = blocks_.find(BlockId(task.block()));
    if (block == blocks_.end()) return;
    const ChangedTask* changed = ChangeOf(task);
    const SlotExtras& extras = changed != nullptr ? changed->extras : block->second->extras(task.slot());
    const records::TaskRecord* record = RecordOf(task);
    if (extras.unique_waiting &&
        (places_.at(task).kind == Place::Kind::kLease || (record != nullptr && record->handed_out()))) {
      Problem(fmt::format("unique key {} is held by {}, which was handed out", key.substr(6), task.ToString()), task);
    }
  }

  void CheckIndexes() {
    Each(Family::kIndex, 'D', [&](std::string_view key, std::string_view) {
      Decoder decoder(key.substr(2));
      const QueueId queue(decoder.Big32());
      const auto state = decoder.Byte();
      const auto end = static_cast<Time>(decoder.Big64());
      const TaskId task(decoder.Big64());
      const records::TaskRecord* record = RecordOf(task);
      if (record == nullptr || record->state() != state || record->end_time() != end ||
          record->queue_id() != queue.value()) {
        Problem(fmt::format("the index of finished tasks names {}, which is not so", task.ToString()), task);
      }
    });
    Each(Family::kIndex, 'R', [&](std::string_view key, std::string_view) {
      Decoder decoder(key.substr(2));
      const auto forget = static_cast<Time>(decoder.Big64());
      const TaskId task(decoder.Big64());
      const records::TaskRecord* record = RecordOf(task);
      if (record == nullptr || !IsFinal(static_cast<State>(record->state())) || record->forget_time() != forget) {
        Problem(fmt::format("the retention index names {}, which is not so", task.ToString()), task);
      }
    });
    // A unique key without a window belongs to a task that is not finished.
    Each(Family::kIndex, 'U', [&](std::string_view key, std::string_view value) {
      auto record = OpenRecord<records::UniqueRecord>(key, value);
      Need(record.status(), "unique key");
      ++report_.unique_keys;
      if (!record.ok() || record->until() != 0) return;
      auto place = places_.find(TaskId(record->task_id()));
      if (place == places_.end() || place->second.kind == Place::Kind::kDeadSet ||
          place->second.kind == Place::Kind::kFinished) {
        Problem(fmt::format("unique key {} is held by {}, which is not waiting or running", key.substr(6),
                            TaskId(record->task_id()).ToString()));
        return;
      }
      CheckWaitingKey(TaskId(record->task_id()), key);
    });
    Each(Family::kIndex, 'Q', [&](std::string_view key, std::string_view value) {
      Need(OpenRecord<records::RequestRecord>(key, value).status(), "request id");
      ++report_.request_ids;
    });
    Each(Family::kIndex, 'X', [&](std::string_view key, std::string_view value) {
      Decoder decoder(Open(key, value, "expiry list"));
      while (decoder.ok() && !decoder.done()) decoder.Bytes();
      if (!decoder.ok()) Problem("an expiry list is broken");
    });
    Each(Family::kIndex, 'F', [&](std::string_view key, std::string_view value) {
      const std::string_view body = Open(key, value, "history addresses");
      Need(DecodeAddresses(body).status(), "history addresses");
      Decoder decoder(key.substr(2));
      const BlockId block(decoder.Big64());
      if (blocks_.contains(block))
        Problem(fmt::format("block {} is stored, and its history says it is gone", block.value()));
    });
    Each(Family::kIndex, 'S', [&](std::string_view key, std::string_view) {
      Decoder decoder(key.substr(2));
      const LaneId lane_id(decoder.Big32());
      const uint64_t segment = decoder.Big64();
      const Lane* lane = context_.state.FindLane(lane_id);
      bool known = lane != nullptr && segment >= lane->runs.segment_deleted() && segment < lane->runs.segment_end();
      for (const auto& garbage : context_.state.segment_garbage()) {
        known = known || (garbage.lane == lane_id && segment >= garbage.begin && segment < garbage.end);
      }
      if (!known) Problem(fmt::format("segment {} of lane {} is nobody's", segment, lane_id.value()));
    });
  }

  // A task that waits and dies of it one day is known to the index, by that time or an earlier one.
  void CheckExpiry() {
    std::map<BlockId, Time> known;
    Each(Family::kIndex, 'E', [&](std::string_view key, std::string_view) {
      Decoder decoder(key.substr(2));
      const Time time = static_cast<Time>(decoder.Big64());
      auto [found, added] = known.try_emplace(BlockId(decoder.Big64()), time);
      if (!added) found->second = std::min(found->second, time);
    });
    for (const auto& [id, block] : blocks_) {
      for (uint32_t slot = 0; slot < block->slot_count(); ++slot) {
        const TaskId task(context_.options.partition, id.value(), slot);
        const ChangedTask* changed = ChangeOf(task);
        const SlotExtras& extras = changed != nullptr ? changed->extras : block->extras(slot);
        const Time deadline = Lifecycle::DeadlineOf(extras, block->create_time(), RecordOf(task)).time;
        if (deadline == kNever) continue;
        const auto place = places_.find(task);
        if (place == places_.end()) continue;
        const Place::Kind kind = place->second.kind;
        if (kind != Place::Kind::kLane && kind != Place::Kind::kTimers) continue;
        const auto found = known.find(id);
        if (found == known.end() || found->second > deadline) {
          Problem(fmt::format("task {} would never expire", task.ToString()), task);
        }
      }
    }
  }

  // A schedule is two records: what it is, and how far it is.
  void CheckSchedules() {
    std::set<std::string> names;
    Each(Family::kMeta, 'd', [&](std::string_view key, std::string_view value) {
      const std::string name(key.substr(2));
      ++report_.schedules;
      names.insert(name);
      Need(OpenRecord<records::ScheduleRecord>(key, value).status(), "schedule " + name);
      if (!store_.Get(Family::kMeta, context_.keys.ScheduleProgress(name)).ok()) {
        Problem(fmt::format("nothing tells how far schedule {} is", name));
      }
    });
    Each(Family::kMeta, 'n', [&](std::string_view key, std::string_view value) {
      const std::string name(key.substr(2));
      Need(OpenRecord<records::ScheduleProgressRecord>(key, value).status(), "progress of schedule " + name);
      if (!names.contains(name)) Problem(fmt::format("there is progress of schedule {}, which is not there", name));
    });
  }

  void CheckThrottles() {
    Each(Family::kMeta, 'l', [&](std::string_view key, std::string_view value) {
      const auto record = OpenRecord<records::ThrottleRecord>(key, value);
      Need(record.status(), "throttle " + std::string(key.substr(2)));
      if (record.ok() && record->id() < kThrottleIdsBegin) {
        Problem(fmt::format("throttle {} has the number {}, which is not a throttle's", key.substr(2), record->id()));
      }
      ++report_.throttles;
    });
  }

  void CheckBulkJobs() {
    Each(Family::kMeta, 'b', [&](std::string_view key, std::string_view value) {
      Need(OpenRecord<records::BulkJobRecord>(key, value).status(), "bulk job " + std::string(key.substr(2)));
      ++report_.bulk_jobs;
    });
  }

  void TakeCensus() {
    report_.types = context_.state.type_count();
    report_.sessions = sessions_.size();
    report_.blocks = blocks_.size();
    report_.task_records = records_.size();
    for (const auto& [name, queue] : context_.state.queues()) {
      const QueueCounters& c = counters_[queue->id];
      report_.queues.push_back(
          {name, c.scheduled, c.available, c.running, c.retryable, c.dead, c.completed_total, c.cancelled_total});
    }
  }

  void CompareCounters() {
    for (const auto& [name, queue] : context_.state.queues()) {
      const QueueCounters& counted = counters_[queue->id];
      const QueueCounters& kept = queue->counters;
      auto compare = [this, queue_name = std::string_view(name)](std::string_view what, uint64_t a, uint64_t b) {
        if (a != b) Problem(fmt::format("queue {} counts {} {} tasks and has {}", queue_name, a, what, b));
      };
      compare("scheduled", kept.scheduled, counted.scheduled);
      compare("available", kept.available, counted.available);
      compare("running", kept.running, counted.running);
      compare("retryable", kept.retryable, counted.retryable);
      compare("dead", kept.dead, counted.dead);
      if (queue->waiting_bytes != bytes_[queue->id]) {
        Problem(
            fmt::format("queue {} counts {} waiting bytes and has {}", name, queue->waiting_bytes, bytes_[queue->id]));
      }
    }
  }

  const StoreReader& store_;
  CoreContext context_;
  std::set<SessionNumber> sessions_;
  std::map<BlockId, std::shared_ptr<const TaskBlock>> blocks_;
  std::map<TaskId, records::TaskRecord> records_;
  std::map<TaskId, std::unique_ptr<ChangedTask>> changed_;
  std::map<QueueId, uint64_t> bytes_;  // of TaskSpecs that wait
  std::map<TaskId, int> belongings_;   // attempts, log lines, results, checkpoints
  std::set<TaskId> checkpoints_;
  std::map<TaskId, Place> places_;
  std::map<QueueId, QueueCounters> counters_;
  AuditReport report_;
};

}  // namespace

AuditReport AuditStore(const CoreOptions& options, const StoreReader& store) { return Audit(options, store).Run(); }

}  // namespace penstock::broker
