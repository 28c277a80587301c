#include "tests/support/recount.h"

#include <map>
#include <memory>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "broker/core/checkpoint.h"
#include "broker/core/core_context.h"
#include "broker/core/lane_head.h"
#include "broker/core/state_codec.h"
#include "broker/storage/applied.h"
#include "broker/storage/envelope.h"
#include "broker/storage/task_block.h"
#include "common/coding.h"
#include "fmt/format.h"

namespace penstock::broker {
namespace {

class Counting {
 public:
  Counting(const CoreOptions& options, const StoreReader& store) : store_(store), context_(options, store) {}

  std::string Run() {
    if (!Load()) return problems_;
    ReadTasks();
    CountLeases();
    CountLanes();
    CountTimers();
    CountPurged();
    CountRecords();
    CountSlots();
    CheckIndexes();
    CompareCounters();
    return problems_;
  }

 private:
  void Problem(std::string text) { problems_ += std::move(text) + "\n"; }
  void Need(const absl::Status& status, std::string_view what) {
    if (!status.ok()) Problem(fmt::format("{}: {}", what, std::string(status.message())));
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
    if (!value.ok()) {
      Problem("nothing is applied");
      return false;
    }
    auto applied = DecodeApplied(applied_key, *value);
    if (!applied.ok()) {
      Problem("`applied` is broken");
      return false;
    }
    Each(Family::kMeta, 't', [&](std::string_view key, std::string_view stored) {
      auto record = OpenRecord<records::TypeRecord>(key, stored);
      Need(record.status(), "type");
      Decoder decoder(key.substr(2));
      if (record.ok()) context_.state.AddType(TypeId(decoder.Big32()), record->name());
    });
    Each(Family::kMeta, 'q', [&](std::string_view key, std::string_view stored) {
      auto record = OpenRecord<records::QueueRecord>(key, stored);
      Need(record.status(), "queue");
      Decoder decoder(key.substr(2));
      if (record.ok()) ReadQueueRecord(*record, context_.state.AddQueue(QueueId(decoder.Big32()), record->name()));
    });
    Each(Family::kMeta, 's', [&](std::string_view key, std::string_view) {
      Decoder decoder(key.substr(2));
      sessions_.insert(SessionNumber(decoder.Big64()));
    });
    Checkpointer checkpointer(context_);
    const absl::Status status = checkpointer.Recover(store_, applied->sequence);
    Need(status, "recovery");
    return status.ok();
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
                           Need(record.status(), "record of " + task.ToString());
                           if (record.ok()) records_[task] = *std::move(record);
                           break;
                         }
                         case 'B':
                           AddBlock(BlockId(task.block()), key, value, true);
                           break;
                         default:
                           ++belongings_[task];
                       }
                       return true;
                     }),
         "scan tasks");
  }

  const records::TaskRecord* RecordOf(TaskId task) const {
    auto found = records_.find(task);
    return found == records_.end() ? nullptr : &found->second;
  }
  // Notes where a task is; nothing may be in two places.
  void Put(TaskId task, const std::string& place) {
    auto [found, added] = places_.emplace(task, place);
    if (!added) Problem(fmt::format("task {} is in {} and in {}", task.ToString(), found->second, place));
  }
  QueueCounters& CountersOf(QueueId queue) { return counters_[queue]; }

  void CountLeases() {
    std::set<FencingToken> tokens;
    context_.state.ForEachLease([&](const Lease& lease) {
      Put(lease.task, "a lease");
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

  void AddFresh(const Lane* lane, const FreshRun& run, uint64_t* count, std::string_view place) {
    auto found = blocks_.find(run.block);
    if (found == blocks_.end()) return;  // every task of it left out of turn
    const BlockState* state = context_.state.FindBlock(run.block);
    const auto slots = found->second->FreshSlots(run.entry);
    for (size_t position = run.position; position < slots.size(); ++position) {
      const TaskId task(context_.options.partition, run.block.value(), slots[position]);
      if (state != nullptr && state->is_gone(slots[position])) continue;
      Put(task, std::string(place));
      if (RecordOf(task) != nullptr) Problem(fmt::format("task {} waits in a lane and has a record", task.ToString()));
      ++*count;
      if (lane != nullptr && found->second->lane_of(slots[position]).lane != lane->id) {
        Problem(fmt::format("task {} waits in lane {}, its block says another", task.ToString(), lane->id.value()));
      }
    }
  }

  std::vector<FreshRun> SegmentRuns(LaneId lane, uint64_t segment) {
    const std::string key = context_.keys.Segment(lane, segment);
    auto value = store_.Get(Family::kIndex, key);
    if (!value.ok()) {
      Problem(fmt::format("segment {} of lane {} is missing", segment, lane.value()));
      return {};
    }
    auto runs = DecodeRuns(Open(key, *value, "segment"));
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
      const std::string place = fmt::format("lane {}", id.value());
      for (size_t i = lane->front_index; i < lane->front.size(); ++i)
        AddFresh(lane.get(), lane->front[i], &fresh, place);
      for (uint64_t segment = lane->segment_begin; segment < lane->segment_end; ++segment) {
        for (const FreshRun& run : SegmentRuns(id, segment)) AddFresh(lane.get(), run, &fresh, place);
      }
      for (const FreshRun& run : lane->back) AddFresh(lane.get(), run, &fresh, place);
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
    Put(task, fmt::format("timers of lane {}", lane->id.value()));
    ++*timed;
    const records::TaskRecord* record = RecordOf(task);
    if (run.kind == TimerKind::kScheduled) {
      if (record != nullptr) Problem(fmt::format("scheduled task {} has a record", task.ToString()));
    } else if (record == nullptr) {
      Problem(fmt::format("timed task {} has no record", task.ToString()));
    } else {
      const State expected = run.kind == TimerKind::kRetryable ? State::kRetryable : State::kAvailable;
      if (record->state() != static_cast<uint32_t>(expected) || record->run_time() != run.position.due ||
          record->lane_id() != lane->id.value()) {
        Problem(fmt::format("the record of timed task {} says something else", task.ToString()));
      }
    }
    QueueCounters& counters = CountersOf(lane->key.queue);
    if (run.position <= lane->due_cursor) {
      ++*due;
      ++counters.available;
    } else if (run.kind == TimerKind::kScheduled) {
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
          Put(task, fmt::format("timers of purged lane {}", id.value()));
        } else {
          Problem(fmt::format("task {} has a timer in lane {}, which is not there", task.ToString(), id.value()));
        }
      }
    });
    for (const auto& [id, lane] : context_.state.lanes()) {
      const auto [timed, due] = counts[id];
      if (timed != lane->timed_count || due != lane->timed_due) {
        Problem(fmt::format("lane {} counts {} timed tasks, {} due, and has {}, {}", id.value(), lane->timed_count,
                            lane->timed_due, timed, due));
      }
    }
  }

  void CountPurged() {
    for (const auto& purged : context_.state.purged_lanes()) {
      uint64_t count = 0;
      const std::string place = fmt::format("purged lane {}", purged.lane.value());
      for (const FreshRun& run : purged.runs) AddFresh(nullptr, run, &count, place);
      for (uint64_t segment = purged.segment_begin; segment < purged.segment_end; ++segment) {
        for (const FreshRun& run : SegmentRuns(purged.lane, segment)) AddFresh(nullptr, run, &count, place);
      }
    }
  }

  void CountRecords() {
    for (const auto& [task, record] : records_) {
      const auto state = static_cast<State>(record.state());
      const QueueId queue(record.queue_id());
      if (!IsFinal(state)) {
        if (!places_.contains(task)) Problem(fmt::format("task {} has a record but waits nowhere", task.ToString()));
        continue;
      }
      Put(task, state == State::kDead ? "the dead set" : "the finished records");
      if (state == State::kDead) ++CountersOf(queue).dead;
      if (!Has(context_.keys.Done(queue, state, record.end_time(), task))) {
        Problem(fmt::format("finished task {} is not in its index", task.ToString()));
      }
      if (!Has(context_.keys.Retention(record.forget_time(), task))) {
        Problem(fmt::format("finished task {} is never forgotten", task.ToString()));
      }
    }
    for (const auto& [task, count] : belongings_) {
      if (RecordOf(task) == nullptr)
        Problem(fmt::format("{} records of task {}, which has none", count, task.ToString()));
    }
  }
  bool Has(const std::string& key) { return store_.Get(Family::kIndex, key).ok(); }

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
          if (place != places_.end() && place->second != "the finished records") {
            Problem(fmt::format("finished task {} is in {}", task.ToString(), place->second));
          }
          continue;
        }
        ++alive;
        if (place == places_.end()) {
          Problem(fmt::format("task {} is lost", task.ToString()));
        } else if (place->second == "the finished records") {
          Problem(fmt::format("task {} is finished, its slot is not", task.ToString()));
        }
        if (block->dropped(slot)) Problem(fmt::format("the payload of task {} is gone", task.ToString()));
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
      if (place == "the finished records") continue;
      if (!blocks_.contains(BlockId(task.block()))) {
        Problem(fmt::format("the block of task {} in {} is not stored", task.ToString(), place));
      }
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
        Problem(fmt::format("the index of finished tasks names {}, which is not so", task.ToString()));
      }
    });
    Each(Family::kIndex, 'R', [&](std::string_view key, std::string_view) {
      Decoder decoder(key.substr(2));
      const auto forget = static_cast<Time>(decoder.Big64());
      const TaskId task(decoder.Big64());
      const records::TaskRecord* record = RecordOf(task);
      if (record == nullptr || !IsFinal(static_cast<State>(record->state())) || record->forget_time() != forget) {
        Problem(fmt::format("the retention index names {}, which is not so", task.ToString()));
      }
    });
    // A unique key without a window belongs to a task that is not finished.
    Each(Family::kIndex, 'U', [&](std::string_view key, std::string_view value) {
      auto record = OpenRecord<records::UniqueRecord>(key, value);
      Need(record.status(), "unique key");
      if (!record.ok() || record->until() != 0) return;
      auto place = places_.find(TaskId(record->task_id()));
      if (place == places_.end() || place->second == "the dead set" || place->second == "the finished records") {
        Problem(fmt::format("unique key {} is held by {}, which is not waiting or running", key.substr(6),
                            TaskId(record->task_id()).ToString()));
      }
    });
    Each(Family::kIndex, 'S', [&](std::string_view key, std::string_view) {
      Decoder decoder(key.substr(2));
      const LaneId lane_id(decoder.Big32());
      const uint64_t segment = decoder.Big64();
      const Lane* lane = context_.state.FindLane(lane_id);
      bool known = lane != nullptr && segment >= lane->segment_deleted && segment < lane->segment_end;
      for (const auto& garbage : context_.state.segment_garbage()) {
        known = known || (garbage.lane == lane_id && segment >= garbage.begin && segment < garbage.end);
      }
      if (!known) Problem(fmt::format("segment {} of lane {} is nobody's", segment, lane_id.value()));
    });
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
    }
  }

  const StoreReader& store_;
  CoreContext context_;
  std::set<SessionNumber> sessions_;
  std::map<BlockId, std::shared_ptr<const TaskBlock>> blocks_;
  std::map<TaskId, records::TaskRecord> records_;
  std::map<TaskId, int> belongings_;  // attempts, log lines, results
  std::map<TaskId, std::string> places_;
  std::map<QueueId, QueueCounters> counters_;
  std::string problems_;
};

}  // namespace

std::string Recount(const CoreOptions& options, const StoreReader& store) { return Counting(options, store).Run(); }

}  // namespace penstock::broker
