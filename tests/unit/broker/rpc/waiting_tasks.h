#ifndef PENSTOCK_TESTS_UNIT_BROKER_RPC_WAITING_TASKS_H_
#define PENSTOCK_TESTS_UNIT_BROKER_RPC_WAITING_TASKS_H_

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "broker/core/command.h"
#include "broker/core/effects.h"
#include "broker/storage/keys.h"
#include "broker/storage/memory_store.h"
#include "broker/storage/records.h"
#include "broker/storage/task_block.h"
#include "common/mutex.h"
#include "gtest/gtest.h"
#include "penstock/v1/task.pb.h"

namespace penstock::broker {

// A queue "mail" whose tasks wait in one block, as a core and a store would have it, for a FakeDoor's script. Tasks may
// be cancelled and retried; bulk jobs' records are kept. Any thread.
class WaitingTasks {
 public:
  static constexpr QueueId kQueue{3};
  static constexpr TypeId kType{4};
  static constexpr LaneId kLane{5};
  static constexpr BlockId kBlock{7};
  static TaskId Slot(size_t slot) { return TaskId(0, kBlock.value(), static_cast<uint32_t>(slot)); }

  WaitingTasks(MemoryStore& store, Time now) : store_(store), now_(now) {}

  // Stores a block with these tasks, made an hour ago.
  void Put(const std::vector<v1::TaskSpec>& specs) {
    CommitBatch batch;
    records::QueueRecord queue;
    queue.set_name("mail");
    PutRecord(&batch, Family::kMeta, keys_.Queue(kQueue), queue);
    records::TypeRecord type;
    type.set_name("mail.send");
    PutRecord(&batch, Family::kMeta, keys_.Type(kType), type);
    TaskBlockBuilder builder;
    const uint32_t entry = builder.AddEntry({kLane, kQueue, kType, 5});
    for (v1::TaskSpec spec : specs) {
      spec.set_queue("mail");
      spec.set_type("mail.send");
      const std::string bytes = spec.SerializeAsString();
      NewTask task;
      task.spec = bytes;
      builder.Add(entry, task, now_ - kHour);
    }
    const std::string key = keys_.Block(kBlock);
    batch.Put(Family::kBlocks, key, SealValue(key, builder.Finish(kBlock, now_ - kHour)->body()));
    Commit(batch);
    MutexLock lock(mu_);
    count_ = specs.size();
  }

  // The task has ended: a record says how.
  void End(size_t slot, State state, Time end, const std::string& error_type = "", const std::string& error = "") {
    CommitBatch batch;
    records::TaskRecord record;
    record.set_state(static_cast<uint32_t>(state));
    record.set_queue_id(kQueue.value());
    record.set_type_id(kType.value());
    record.set_priority(5);
    record.set_create_time(now_ - kHour);
    record.set_run_time(now_ - kHour);
    record.set_end_time(end);
    record.set_forget_time(end + kHour);
    if (!error.empty() || !error_type.empty()) {
      record.set_attempt(2);
      record.set_attempt_records(2);
      for (uint32_t i = 0; i < 2; ++i) {
        records::AttemptRecord attempt;
        attempt.set_number(i + 1);
        attempt.set_end_time(end);
        attempt.set_outcome(v1::ATTEMPT_OUTCOME_FAILED);
        attempt.set_error_type(i == 1 ? error_type : "");
        attempt.set_error_message(i == 1 ? error : "an earlier one");
        PutRecord(&batch, Family::kTasks, keys_.Attempt(Slot(slot), i), attempt);
      }
    }
    PutRecord(&batch, Family::kTasks, keys_.TaskRecord(Slot(slot)), record);
    const std::string key = keys_.Done(kQueue, state, end, Slot(slot));
    batch.Put(Family::kIndex, key, SealValue(key, ""));
    Commit(batch);
    MutexLock lock(mu_);
    ended_.insert(slot);
  }

  // Answers what lists and bulk jobs ask; false: it is another command.
  bool Answer(const Command& command, Effects* effects) {
    const auto reply = [effects](Ticket ticket, absl::Status status) {
      effects->replies.push_back({ticket, std::move(status), {}});
    };
    if (const auto* lanes = std::get_if<ListLanesCommand>(&command)) {
      if (lanes->queue != "mail") {
        reply(lanes->ticket, absl::NotFoundError("there is no queue " + lanes->queue));
        return true;
      }
      effects->replies.push_back({lanes->ticket, absl::OkStatus(), Lanes(*lanes)});
    } else if (const auto* running = std::get_if<ListRunningCommand>(&command)) {
      effects->replies.push_back({running->ticket, absl::OkStatus(), RunningReply()});
    } else if (const auto* get = std::get_if<GetTaskCommand>(&command)) {
      TaskReply answer;
      answer.snapshot.task = get->task;
      effects->replies.push_back({get->ticket, absl::OkStatus(), std::move(answer)});
    } else if (const auto* cancel = std::get_if<CancelTaskCommand>(&command)) {
      const bool waits = Waits(cancel->task.slot());
      if (waits) End(cancel->task.slot(), State::kCancelled, now_);
      reply(cancel->ticket, waits ? absl::OkStatus() : absl::FailedPreconditionError("the task is finished"));
      MutexLock lock(mu_);
      ++cancels_;
    } else if (const auto* put = std::get_if<PutBulkJobCommand>(&command)) {
      CommitBatch batch;
      const std::string key = keys_.BulkJob(put->id);
      if (put->record.empty()) {
        batch.Delete(Family::kMeta, key);
      } else {
        batch.Put(Family::kMeta, key, SealValue(key, put->record));
      }
      Commit(batch);
      reply(put->ticket, absl::OkStatus());
    }
    return !effects->empty();
  }

  bool Waits(size_t slot) const {
    MutexLock lock(mu_);
    return slot < count_ && !ended_.contains(slot);
  }
  size_t cancels() const {
    MutexLock lock(mu_);
    return cancels_;
  }
  // The records of bulk jobs, in the order of their ids.
  std::vector<records::BulkJobRecord> Jobs() const {
    std::vector<records::BulkJobRecord> jobs;
    EXPECT_TRUE(store_
                    .Scan(Family::kMeta, keys_.First('b'), keys_.Past('b'),
                          [&](std::string_view key, std::string_view value) {
                            jobs.push_back(OpenRecord<records::BulkJobRecord>(key, value).value());
                            return true;
                          })
                    .ok());
    return jobs;
  }

 private:
  template <class Record>
  static void PutRecord(CommitBatch* batch, Family family, const std::string& key, const Record& record) {
    batch->Put(family, key, SealRecord(key, record));
  }
  // Commits come from one thread at a time.
  void Commit(const CommitBatch& batch) {
    MutexLock lock(commit_mu_);
    EXPECT_TRUE(store_.Commit(batch, true).ok());
  }
  LanesReply Lanes(const ListLanesCommand& command) const {
    LanesReply reply;
    reply.queue = kQueue;
    MutexLock lock(mu_);
    if (command.from_lane > kLane || command.max_runs == 0 || ended_.size() == count_) return reply;
    LaneView& lane = reply.lanes.emplace_back();
    lane.lane = kLane;
    lane.type = "mail.send";
    lane.priority = 5;
    LaneRun run;
    run.block = kBlock;
    for (size_t slot = 0; slot < count_; ++slot) {
      if (!ended_.contains(slot)) run.slots.push_back(static_cast<uint16_t>(slot));
    }
    lane.runs.push_back(std::move(run));
    return reply;
  }

  MemoryStore& store_;
  const Time now_;
  const Keys keys_{0};
  Mutex commit_mu_;
  mutable Mutex mu_;
  size_t count_ ABSL_GUARDED_BY(mu_) = 0;
  std::set<size_t> ended_ ABSL_GUARDED_BY(mu_);
  size_t cancels_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_TESTS_UNIT_BROKER_RPC_WAITING_TASKS_H_
