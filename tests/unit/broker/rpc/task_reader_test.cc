// Reads over a MemoryStore that holds what the core would have written.

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "broker/core/lane_head.h"
#include "broker/storage/history.h"
#include "broker/storage/keys.h"
#include "broker/storage/records.h"
#include "broker/storage/task_block.h"
#include "common/status_grpc.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "penstock/v1/task_service.grpc.pb.h"
#include "tests/unit/broker/rpc/edge_fixture.h"

namespace penstock::broker {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

constexpr QueueId kQueue(3);
constexpr TypeId kType(4);
constexpr LaneId kLane(5);
constexpr BlockId kBlock(7);

TaskId Slot(uint32_t slot) { return TaskId(0, kBlock.value(), slot); }

// Slots 0 and 1 wait, 2 is scheduled, 3 failed and is retryable, 4 is dead, 5 is cancelled, 6 was completed at its
// second attempt, 7 at its first, 8 runs, 9 was given back.
class TaskReaderTest : public EdgeFixture {
 protected:
  TaskReaderTest() {
    now_ = ToMicros(clock.Read().wall);
    CommitBatch batch;
    records::QueueRecord queue;
    queue.set_name("mail");
    queue.mutable_retry_policy()->set_max_attempts(7);
    queue.set_run_timeout(kMinute);
    Put(&batch, Family::kMeta, keys_.Queue(kQueue), queue);
    records::TypeRecord type;
    type.set_name("mail.send");
    Put(&batch, Family::kMeta, keys_.Type(kType), type);
    PutBlock(&batch);
    PutRecord(&batch, 3, State::kRetryable, now_ + kMinute);
    PutRecord(&batch, 4, State::kDead, now_);
    PutRecord(&batch, 5, State::kCancelled, now_);
    PutRecord(&batch, 6, State::kCompleted, now_);
    PutRecord(&batch, 9, State::kAvailable, now_ - kMinute);
    PutTimer(&batch, Slot(2), now_ + kHour, TimerKind::kScheduled);
    PutTimer(&batch, Slot(3), now_ + kMinute, TimerKind::kRetryable);
    PutTimer(&batch, Slot(9), now_ - kMinute, TimerKind::kReturned);
    PutHistory(&batch);
    EXPECT_TRUE(store.Commit(batch, true).ok());
    door.SetScript([this](const Command& command, Effects* effects) { return Answer(command, effects); });
  }

  template <class Record>
  static void Put(CommitBatch* batch, Family family, const std::string& key, const Record& record) {
    batch->Put(family, key, SealRecord(key, record));
  }

  void PutBlock(CommitBatch* batch) {
    TaskBlockBuilder builder;
    const uint32_t entry = builder.AddEntry({kLane, kQueue, kType, 5});
    for (uint32_t slot = 0; slot < 10; ++slot) {
      v1::TaskSpec spec;
      spec.set_queue("mail");
      spec.set_type("mail.send");
      spec.set_payload("payload");
      if (slot == 1) spec.add_tags("red");
      const std::string bytes = spec.SerializeAsString();
      NewTask task;
      task.spec = bytes;
      if (slot == 2) task.run_at = now_ + kHour;
      if (slot == 3) task.retry_policy = RetryPolicy{.max_attempts = 4};
      if (slot == 3) task.run_timeout = 9 * kSecond;
      builder.Add(entry, task, now_ - kHour);
    }
    const std::string key = keys_.Block(kBlock);
    batch->Put(Family::kBlocks, key, SealValue(key, builder.Finish(kBlock, now_ - kHour)->body()));
  }

  void PutRecord(CommitBatch* batch, uint32_t slot, State state, Time time) {
    const TaskId task = Slot(slot);
    records::TaskRecord record;
    record.set_state(static_cast<uint32_t>(state));
    record.set_queue_id(kQueue.value());
    record.set_type_id(kType.value());
    record.set_priority(5);
    record.set_create_time(now_ - kHour);
    record.set_run_time(IsFinal(state) ? now_ - kHour : time);
    record.set_attempt(2);
    record.set_attempt_records(2);
    if (IsFinal(state)) {
      record.set_end_time(time);
      record.set_forget_time(now_ + kHour);
      const std::string key = keys_.Done(kQueue, state, time, task);
      batch->Put(Family::kIndex, key, SealValue(key, ""));
    }
    if (state == State::kDead) record.set_dead_reason(static_cast<uint32_t>(DeadReason::kRejected));
    for (uint32_t i = 0; i < 2; ++i) {
      records::AttemptRecord attempt;
      attempt.set_number(i + 1);
      attempt.set_worker("w");
      attempt.set_start_time(now_ - kMinute);
      attempt.set_end_time(now_);
      const bool completed = state == State::kCompleted && i == 1;
      attempt.set_outcome(completed ? v1::ATTEMPT_OUTCOME_COMPLETED : v1::ATTEMPT_OUTCOME_FAILED);
      attempt.set_error_message(completed ? "" : "no");
      Put(batch, Family::kTasks, keys_.Attempt(task, i), attempt);
    }
    if (state == State::kCompleted) {
      record.set_has_result(true);
      records::ResultRecord result;
      result.set_result("second");
      Put(batch, Family::kTasks, keys_.Result(task), result);
    }
    if (state == State::kRetryable) {
      record.set_has_checkpoint(true);
      records::CheckpointRecord saved;
      saved.set_checkpoint("row 7");
      Put(batch, Family::kTasks, keys_.Checkpoint(task), saved);
      record.set_log_truncated(true);
      for (uint32_t i = 0; i < 2; ++i) {
        records::LogRecord log;
        log.set_attempt(i + 1);
        for (const char* text : {"one", "two"}) {
          log.add_lines()->set_text(text);
        }
        Put(batch, Family::kTasks, keys_.Log(task, i), log);
      }
    }
    Put(batch, Family::kTasks, keys_.TaskRecord(task), record);
  }

  void PutTimer(CommitBatch* batch, TaskId task, Time due, TimerKind kind) {
    const std::string key = keys_.Timer(kLane, due, task);
    batch->Put(Family::kIndex, key, SealValue(key, EncodeTimer(1, kind)));
  }

  void PutHistory(CommitBatch* batch) {
    HistoryBuilder history;
    FinishedTask finished;
    finished.task = Slot(7);
    finished.queue = kQueue;
    finished.type = kType;
    finished.priority = 5;
    finished.worker = "w";
    finished.create_time = now_ - kHour;
    finished.start_time = now_ - kMinute;
    finished.result = "first";
    finished.content_type = "text/plain";
    history.Add(finished, now_);
    finished.task = TaskId(0, 8, 0);  // of another queue, in a block that is gone
    finished.queue = QueueId(99);
    history.Add(finished, now_);
    address_ = {BucketOf(now_ + kDay), 11};
    const std::string key = keys_.History(address_.bucket, address_.sequence);
    batch->Put(Family::kHistory, key, SealValue(key, history.Finish(now_)));
    const std::string finishes = keys_.Finishes(BlockId(8));
    batch->Put(Family::kIndex, finishes, SealValue(finishes, EncodeAddresses({address_})));
  }

  TaskSnapshot SnapshotOf(TaskId task) {
    TaskSnapshot snapshot;
    snapshot.task = task;
    if (task == Slot(7)) {
      snapshot.place = TaskSnapshot::Place::kFinished;
      snapshot.finishes = {address_};
    } else if (task == Slot(8)) {
      snapshot.place = TaskSnapshot::Place::kRunning;
      snapshot.state = State::kRunning;
      snapshot.attempt = 1;
      snapshot.worker = "w";
      snapshot.start_time = now_;
      snapshot.cancel_requested = true;
    } else if (task == Slot(1)) {
      snapshot.waiting_reason = "the queue is paused";
    }
    return snapshot;
  }

  bool Answer(const Command& command, Effects* effects) {
    if (const auto* get = std::get_if<GetTaskCommand>(&command)) {
      effects->replies.push_back({get->ticket, absl::OkStatus(), TaskReply{SnapshotOf(get->task)}});
    } else if (const auto* lanes = std::get_if<ListLanesCommand>(&command)) {
      if (lanes->queue != "mail") {
        effects->replies.push_back({lanes->ticket, absl::NotFoundError("no such queue"), {}});
        return true;
      }
      LanesReply reply;
      reply.queue = kQueue;
      if (lanes->from_lane <= kLane) {
        LaneView& lane = reply.lanes.emplace_back();
        lane.lane = kLane;
        lane.type = "mail.send";
        lane.priority = 5;
        lane.runs.push_back({kBlock, 0, false, {0, 1}});
        lane.has_timed = true;
      }
      effects->replies.push_back({lanes->ticket, absl::OkStatus(), std::move(reply)});
    } else if (const auto* running = std::get_if<ListRunningCommand>(&command)) {
      RunningReply reply;
      if (begins_meanwhile_ && running->after < Slot(0)) {
        TaskSnapshot& snapshot = reply.tasks.emplace_back(SnapshotOf(Slot(0)));
        snapshot.place = TaskSnapshot::Place::kRunning;
        snapshot.state = State::kRunning;
      }
      if (running->after < Slot(8)) reply.tasks.push_back(SnapshotOf(Slot(8)));
      effects->replies.push_back({running->ticket, absl::OkStatus(), std::move(reply)});
    }
    return !effects->empty();
  }

  grpc::Status Get(TaskId task, v1::Task* out, bool payload = false) {
    v1::GetTaskRequest request;
    request.set_task_id(task.ToString());
    request.set_include_payload(payload);
    v1::GetTaskResponse response;
    grpc::ClientContext context;
    const grpc::Status status = stub_->GetTask(&context, request, &response);
    *out = response.task();
    return status;
  }

  // The slots of all tasks that a list shows, page by page.
  std::vector<uint32_t> List(const v1::ListTasksRequest& from, int page_size) {
    std::vector<uint32_t> slots;
    v1::ListTasksRequest request = from;
    request.set_page_size(page_size);
    for (int page = 0; page < 100; ++page) {
      v1::ListTasksResponse response;
      grpc::ClientContext context;
      const grpc::Status status = stub_->ListTasks(&context, request, &response);
      EXPECT_TRUE(status.ok()) << status.error_message();
      EXPECT_LE(response.tasks_size(), page_size);
      for (const v1::Task& task : response.tasks()) {
        slots.push_back(TaskId::Parse(task.task_id())->slot());
        EXPECT_EQ(task.spec().payload(), "");
        EXPECT_EQ(task.attempts_size(), 0);
      }
      if (response.next_page_token().empty()) return slots;
      request.set_page_token(response.next_page_token());
    }
    ADD_FAILURE() << "the list does not end";
    return slots;
  }
  v1::ListTasksRequest ListRequest(v1::TaskState state = v1::TASK_STATE_UNSPECIFIED) {
    v1::ListTasksRequest request;
    request.mutable_filter()->set_queue("mail");
    if (state != v1::TASK_STATE_UNSPECIFIED) request.mutable_filter()->add_states(state);
    return request;
  }

  const Keys keys_{0};
  Time now_ = 0;
  HistoryAddress address_;
  bool begins_meanwhile_ = false;  // the first task, between two steps of a list
  std::unique_ptr<v1::TaskService::Stub> stub_ = v1::TaskService::NewStub(channel);
};

TEST_F(TaskReaderTest, WaitingTaskIsReadFromItsBlock) {
  v1::Task task;
  ASSERT_TRUE(Get(Slot(1), &task).ok());
  EXPECT_EQ(task.state(), v1::TASK_STATE_AVAILABLE);
  EXPECT_EQ(task.spec().type(), "mail.send");
  EXPECT_EQ(task.spec().payload(), "");
  EXPECT_EQ(task.waiting_reason(), "the queue is paused");
  EXPECT_EQ(task.attempt(), 0);
  ASSERT_TRUE(Get(Slot(1), &task, true).ok());
  EXPECT_EQ(task.spec().payload(), "payload");
}

TEST_F(TaskReaderTest, WhatIsInForceIsTheTasksOwnOrItsQueues) {
  v1::Task task;
  ASSERT_TRUE(Get(Slot(1), &task).ok());
  EXPECT_EQ(task.max_attempts(), 7);
  EXPECT_EQ(task.run_timeout().seconds(), 60);
  EXPECT_EQ(task.priority(), 5);
  ASSERT_TRUE(Get(Slot(3), &task).ok());
  EXPECT_EQ(task.max_attempts(), 4);
  EXPECT_EQ(task.run_timeout().seconds(), 9);
}

TEST_F(TaskReaderTest, ScheduledTaskIsAvailableOnceItsTimeHasCome) {
  v1::Task task;
  ASSERT_TRUE(Get(Slot(2), &task).ok());
  EXPECT_EQ(task.state(), v1::TASK_STATE_SCHEDULED);
  clock.Advance(absl::Hours(1));
  ASSERT_TRUE(Get(Slot(2), &task).ok());
  EXPECT_EQ(task.state(), v1::TASK_STATE_AVAILABLE);
}

TEST_F(TaskReaderTest, ExceptionsAreReadFromTheirRecords) {
  v1::Task task;
  ASSERT_TRUE(Get(Slot(3), &task).ok());
  EXPECT_EQ(task.state(), v1::TASK_STATE_RETRYABLE);
  EXPECT_EQ(task.attempt(), 2);
  ASSERT_EQ(task.attempts_size(), 2);
  EXPECT_EQ(task.attempts(1).number(), 2);
  EXPECT_EQ(task.attempts(1).error().message(), "no");
  ASSERT_TRUE(Get(Slot(4), &task, true).ok());
  EXPECT_EQ(task.state(), v1::TASK_STATE_DEAD);
  EXPECT_EQ(task.dead_reason(), v1::DEAD_REASON_REJECTED);
  EXPECT_EQ(task.spec().payload(), "payload");
  EXPECT_TRUE(task.has_forget_time());
  ASSERT_TRUE(Get(Slot(5), &task, true).ok());
  EXPECT_EQ(task.state(), v1::TASK_STATE_CANCELLED);
  EXPECT_EQ(task.spec().payload(), "");
  EXPECT_EQ(task.spec().type(), "mail.send");
  ASSERT_TRUE(Get(Slot(6), &task).ok());
  EXPECT_EQ(task.state(), v1::TASK_STATE_COMPLETED);
  EXPECT_EQ(task.result(), "second");
}

TEST_F(TaskReaderTest, WhatAHandlerSavedIsReadWithThePayload) {
  v1::Task task;
  ASSERT_TRUE(Get(Slot(3), &task, true).ok());
  EXPECT_EQ(task.checkpoint(), "row 7");
  ASSERT_TRUE(Get(Slot(3), &task).ok());
  EXPECT_EQ(task.checkpoint(), "");
  ASSERT_TRUE(Get(Slot(4), &task, true).ok());
  EXPECT_EQ(task.checkpoint(), "");
}

TEST_F(TaskReaderTest, TaskFinishedAtItsFirstAttemptIsReadFromHistory) {
  v1::Task task;
  ASSERT_TRUE(Get(Slot(7), &task).ok());
  EXPECT_EQ(task.state(), v1::TASK_STATE_COMPLETED);
  EXPECT_EQ(task.result(), "first");
  EXPECT_EQ(task.result_content_type(), "text/plain");
  ASSERT_EQ(task.attempts_size(), 1);
  EXPECT_EQ(task.attempts(0).outcome(), v1::ATTEMPT_OUTCOME_COMPLETED);
  EXPECT_EQ(task.spec().queue(), "mail");
  EXPECT_EQ(task.spec().priority(), 5);
}

TEST_F(TaskReaderTest, TaskOfAFinishedBlockIsFoundByItsAddresses) {
  v1::Task task;
  ASSERT_TRUE(Get(TaskId(0, 8, 0), &task).ok());
  EXPECT_EQ(task.state(), v1::TASK_STATE_COMPLETED);
  EXPECT_EQ(task.result(), "first");
}

TEST_F(TaskReaderTest, RunningTaskShowsItsLease) {
  v1::Task task;
  ASSERT_TRUE(Get(Slot(8), &task).ok());
  EXPECT_EQ(task.state(), v1::TASK_STATE_RUNNING);
  EXPECT_EQ(task.worker(), "w");
  EXPECT_TRUE(task.cancel_requested());
  ASSERT_EQ(task.attempts_size(), 1);
  EXPECT_FALSE(task.attempts(0).has_end_time());
}

TEST_F(TaskReaderTest, UnknownTaskIsNotFound) {
  v1::Task task;
  for (TaskId unknown : {TaskId(0, 1'000, 0), Slot(500), TaskId(9, 7, 0)}) {
    EXPECT_EQ(Get(unknown, &task).error_code(), grpc::StatusCode::NOT_FOUND);
  }
}

TEST_F(TaskReaderTest, DamagedBlockIsDataLossThatNamesTheTask) {
  CommitBatch batch;
  batch.Put(Family::kBlocks, keys_.Block(BlockId(9)), "damaged");
  ASSERT_TRUE(store.Commit(batch, true).ok());
  v1::Task task;
  const grpc::Status status = Get(TaskId(0, 9, 0), &task);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DATA_LOSS);
  EXPECT_NE(status.error_message().find(TaskId(0, 9, 0).ToString()), std::string::npos);
}

TEST_F(TaskReaderTest, ListShowsEveryTaskOnceInPagesOfAnySize) {
  for (int page_size : {1, 2, 3, 100}) {
    EXPECT_THAT(List(ListRequest(), page_size), UnorderedElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9)) << page_size;
  }
}

// A bulk job that cancels counted it twice.
TEST_F(TaskReaderTest, TaskThatBeginsWhileAPageIsReadIsInItOnce) {
  begins_meanwhile_ = true;
  EXPECT_THAT(List(ListRequest(), 100), UnorderedElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9));
}

TEST_F(TaskReaderTest, ListShowsOneState) {
  const std::pair<v1::TaskState, std::vector<uint32_t>> cases[] = {
      {v1::TASK_STATE_SCHEDULED, {2}},    {v1::TASK_STATE_AVAILABLE, {0, 1, 9}},
      {v1::TASK_STATE_RUNNING, {8}},      {v1::TASK_STATE_RETRYABLE, {3}},
      {v1::TASK_STATE_DEAD, {4}},         {v1::TASK_STATE_CANCELLED, {5}},
      {v1::TASK_STATE_COMPLETED, {6, 7}}, {v1::TASK_STATE_BLOCKED, {}},
  };
  for (const auto& [state, slots] : cases) {
    EXPECT_EQ(List(ListRequest(state), 1), slots) << v1::TaskState_Name(state);
    EXPECT_EQ(List(ListRequest(state), 100), slots) << v1::TaskState_Name(state);
  }
}

TEST_F(TaskReaderTest, ListShowsOneTypeOrTag) {
  v1::ListTasksRequest request = ListRequest();
  request.mutable_filter()->set_tag("red");
  EXPECT_THAT(List(request, 100), ElementsAre(1));
  request = ListRequest();
  request.mutable_filter()->set_type("other");
  EXPECT_THAT(List(request, 100), IsEmpty());
}

TEST_F(TaskReaderTest, ListOfAnUnknownQueueIsNotFound) {
  v1::ListTasksRequest request;
  request.mutable_filter()->set_queue("none");
  v1::ListTasksResponse response;
  grpc::ClientContext context;
  EXPECT_EQ(stub_->ListTasks(&context, request, &response).error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(TaskReaderTest, LogLinesFollowAPosition) {
  v1::ListTaskLogLinesRequest request;
  request.set_task_id(Slot(3).ToString());
  v1::ListTaskLogLinesResponse response;
  grpc::ClientContext context;
  ASSERT_TRUE(stub_->ListTaskLogLines(&context, request, &response).ok());
  EXPECT_EQ(response.lines_size(), 4);
  EXPECT_EQ(response.last_position(), 4u);
  EXPECT_TRUE(response.truncated());
  request.set_after_position(3);
  v1::ListTaskLogLinesResponse rest;
  grpc::ClientContext second;
  ASSERT_TRUE(stub_->ListTaskLogLines(&second, request, &rest).ok());
  ASSERT_EQ(rest.lines_size(), 1);
  EXPECT_EQ(rest.lines(0).text(), "two");
  EXPECT_EQ(rest.lines(0).attempt(), 2);
  EXPECT_EQ(rest.last_position(), 4u);
}

}  // namespace
}  // namespace penstock::broker
