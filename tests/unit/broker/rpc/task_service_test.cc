#include <atomic>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "common/status_grpc.h"
#include "grpcpp/generic/generic_stub.h"
#include "gtest/gtest.h"
#include "penstock/v1/task_service.grpc.pb.h"
#include "tests/unit/broker/rpc/edge_fixture.h"

namespace penstock::broker {
namespace {

const TaskId kTask(0, 7, 1);

class TaskServiceTest : public EdgeFixture {
 protected:
  std::unique_ptr<v1::TaskService::Stub> stub_ = v1::TaskService::NewStub(channel);
  grpc::ClientContext call_;
};

v1::TaskSpec Spec() {
  v1::TaskSpec spec;
  spec.set_queue("mail");
  spec.set_type("mail.send");
  return spec;
}

TEST_F(TaskServiceTest, EnqueueAnswersWithTheTaskId) {
  v1::EnqueueRequest request;
  *request.mutable_task() = Spec();
  v1::EnqueueResponse response;
  grpc::Status status;
  InBackground([&] { status = stub_->Enqueue(&call_, request, &response); });
  const auto command = door.Take<EnqueueCommand>();
  ASSERT_EQ(command.tasks.size(), 1u);
  EXPECT_EQ(command.tasks[0].queue, "mail");
  door.Answer(command.ticket, EnqueueReply{{{kTask, true}}});
  Join();
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.result().task_id(), kTask.ToString());
  EXPECT_TRUE(response.result().duplicate());
}

TEST_F(TaskServiceTest, RefusedEnqueueSaysWhy) {
  v1::EnqueueManyRequest request;
  *request.add_tasks() = Spec();
  v1::EnqueueManyResponse response;
  grpc::Status status;
  InBackground([&] { status = stub_->EnqueueMany(&call_, request, &response); });
  door.Fail(door.Take<EnqueueCommand>().ticket, LimitReached("disk.watermark", "the disk is full", absl::Seconds(30)));
  Join();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(LimitOf(FromGrpc(status)), "disk.watermark");
  EXPECT_EQ(RetryAfterOf(FromGrpc(status)), absl::Seconds(30));
}

TEST_F(TaskServiceTest, FullMailboxRefusesAUnaryEnqueueAtOnce) {
  door.SetFull(true);
  v1::EnqueueRequest request;
  *request.mutable_task() = Spec();
  v1::EnqueueResponse response;
  const grpc::Status status = stub_->Enqueue(&call_, request, &response);
  EXPECT_EQ(LimitOf(FromGrpc(status)), "limits.mailbox");
  EXPECT_EQ(tickets.size(), 0u);
}

TEST_F(TaskServiceTest, ARefusedEnqueueIsNotParsed) {
  door.SetFull(true);
  v1::EnqueueManyRequest request;
  v1::TaskSpec wrong = Spec();
  wrong.set_priority(12);
  *request.add_tasks() = wrong;
  v1::EnqueueManyResponse response;
  const grpc::Status status = stub_->EnqueueMany(&call_, request, &response);
  EXPECT_EQ(LimitOf(FromGrpc(status)), "limits.mailbox") << status.error_message();
}

TEST_F(TaskServiceTest, BytesThatAreNoRequestAreRefused) {
  grpc::GenericStub stub(channel);
  grpc::Slice slice(std::string("\xff\xff\xff"));
  grpc::ByteBuffer request(&slice, 1);
  grpc::ByteBuffer response;
  std::promise<grpc::Status> status;
  stub.UnaryCall(&call_, "/penstock.v1.TaskService/Enqueue", grpc::StubOptions(), &request, &response,
                 [&](const grpc::Status& answer) { status.set_value(answer); });
  EXPECT_FALSE(status.get_future().get().ok());
  EXPECT_EQ(door.waiting(), 0u);
}

TEST_F(TaskServiceTest, TheCallersDeadlineIsTheCommandsPatience) {
  v1::EnqueueRequest request;
  *request.mutable_task() = Spec();
  v1::EnqueueResponse response;
  grpc::Status status;
  InBackground([&] {
    call_.set_deadline(absl::ToChronoTime(absl::Now() + absl::Minutes(5)));
    status = stub_->Enqueue(&call_, request, &response);
  });
  const auto command = door.Take<EnqueueCommand>();
  EXPECT_GT(door.patience(), absl::ZeroDuration());
  EXPECT_LE(door.patience(), absl::Minutes(6));  // gRPC rounds up
  door.Answer(command.ticket, EnqueueReply{{{kTask, false}}});
  Join();
  EXPECT_TRUE(status.ok()) << status.error_message();
}

TEST_F(TaskServiceTest, WrongFieldIsNamedToTheCaller) {
  v1::EnqueueRequest request;
  *request.mutable_task() = Spec();
  request.mutable_task()->set_priority(12);
  v1::EnqueueResponse response;
  const grpc::Status status = stub_->Enqueue(&call_, request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(FieldOf(FromGrpc(status)), "task.priority");
}

TEST_F(TaskServiceTest, ReplyToACallerWhoIsGoneIsDropped) {
  v1::EnqueueRequest request;
  *request.mutable_task() = Spec();
  v1::EnqueueResponse response;
  grpc::Status status;
  InBackground([&] { status = stub_->Enqueue(&call_, request, &response); });
  const auto command = door.Take<EnqueueCommand>();
  call_.TryCancel();
  Join();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::CANCELLED);
  door.Answer(command.ticket, EnqueueReply{{{kTask, false}}});
  EXPECT_EQ(tickets.size(), 0u);
}

TEST_F(TaskServiceTest, CancelAndRetryAnswer) {
  door.SetScript([](const Command& command, Effects* effects) {
    if (const auto* cancel = std::get_if<CancelTaskCommand>(&command)) {
      effects->replies.push_back({cancel->ticket, absl::OkStatus(), CancelReply{State::kRunning}});
    } else if (const auto* retry = std::get_if<RetryTaskCommand>(&command)) {
      effects->replies.push_back({retry->ticket, absl::OkStatus(), RetryReply{5 * kSecond}});
    }
    return !effects->empty();
  });
  v1::CancelTaskRequest cancel;
  cancel.set_task_id(kTask.ToString());
  v1::CancelTaskResponse cancelled;
  ASSERT_TRUE(stub_->CancelTask(&call_, cancel, &cancelled).ok());
  EXPECT_EQ(cancelled.state(), v1::TASK_STATE_RUNNING);
  v1::RetryTaskRequest retry;
  retry.set_task_id(kTask.ToString());
  v1::RetryTaskResponse retried;
  grpc::ClientContext second;
  ASSERT_TRUE(stub_->RetryTask(&second, retry, &retried).ok());
  EXPECT_EQ(retried.run_time().seconds(), 5);
}

// --- EnqueueStream ---

class EnqueueStreamTest : public TaskServiceTest {
 protected:
  void Open() { stream_ = stub_->EnqueueStream(&call_); }
  bool Write(uint64_t frame_number, int tasks = 1) {
    v1::EnqueueStreamRequest request;
    if (frame_number == 1) request.set_producer_id(std::string(16, 'p'));
    request.set_frame_number(frame_number);
    for (int i = 0; i < tasks; ++i) *request.add_tasks() = Spec();
    return stream_->Write(request);
  }
  v1::EnqueueStreamResponse Read() {
    v1::EnqueueStreamResponse response;
    EXPECT_TRUE(stream_->Read(&response));
    return response;
  }
  static absl::Status StatusOf(const v1::EnqueueStreamResponse& response) {
    absl::Status status(static_cast<absl::StatusCode>(response.error_code()), response.error_message());
    SetDetails(response.error_details(), &status);
    return status;
  }
  void AnswerWith(const EnqueueCommand& command, uint64_t block) {
    EnqueueReply reply;
    for (uint32_t i = 0; i < command.tasks.size(); ++i) reply.results.push_back({TaskId(0, block, i), false});
    door.Answer(command.ticket, std::move(reply));
  }

  std::unique_ptr<grpc::ClientReaderWriter<v1::EnqueueStreamRequest, v1::EnqueueStreamResponse>> stream_;
};

TEST_F(EnqueueStreamTest, AnswersComeInTheOrderOfTheFrames) {
  Open();
  for (uint64_t frame = 1; frame <= 4; ++frame) ASSERT_TRUE(Write(frame, 2));
  v1::EnqueueStreamRequest bad;
  bad.set_frame_number(5);
  ASSERT_TRUE(stream_->Write(bad));
  std::vector<EnqueueCommand> commands;
  for (int i = 0; i < 4; ++i) commands.push_back(door.Take<EnqueueCommand>());
  AnswerWith(commands[1], 2);  // out of order
  AnswerWith(commands[0], 1);
  door.Fail(commands[2].ticket, LimitReached("limits.queues", "too many queues", absl::Seconds(2)));
  AnswerWith(commands[3], 4);
  for (uint64_t frame : {1, 2}) {
    const v1::EnqueueStreamResponse response = Read();
    EXPECT_EQ(response.frame_number(), frame);
    ASSERT_EQ(response.results_size(), 2);
    EXPECT_EQ(response.results(1).task_id(), TaskId(0, frame, 1).ToString());
  }
  v1::EnqueueStreamResponse refused = Read();
  EXPECT_EQ(refused.frame_number(), 3u);
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(refused.error_message(), "too many queues");
  EXPECT_EQ(refused.retry_delay().seconds(), 2);
  EXPECT_EQ(LimitOf(StatusOf(refused)), "limits.queues");
  EXPECT_EQ(RetryAfterOf(StatusOf(refused)), absl::Seconds(2));
  EXPECT_EQ(Read().frame_number(), 4u);
  refused = Read();
  EXPECT_EQ(refused.frame_number(), 5u);
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(refused.error_message(), "tasks: is required");
  EXPECT_EQ(FieldOf(StatusOf(refused)), "tasks");
  stream_->WritesDone();
  EXPECT_TRUE(stream_->Finish().ok());
  EXPECT_EQ(tickets.size(), 0u);
}

TEST_F(EnqueueStreamTest, RepeatedFrameHasTheSameRequestId) {
  Open();
  ASSERT_TRUE(Write(1));
  ASSERT_TRUE(Write(1));
  const auto first = door.Take<EnqueueCommand>();
  const auto second = door.Take<EnqueueCommand>();
  EXPECT_FALSE(first.request_id.empty());
  EXPECT_EQ(first.request_id.high, second.request_id.high);
  EXPECT_EQ(first.request_id.low, second.request_id.low);
  AnswerWith(first, 1);
  AnswerWith(second, 1);
  stream_->WritesDone();
  Read();
  Read();
  EXPECT_TRUE(stream_->Finish().ok());
}

TEST_F(EnqueueStreamTest, ReadsNoFurtherWhileTheMailboxIsFull) {
  Open();
  ASSERT_TRUE(Write(1));
  const auto first = door.Take<EnqueueCommand>();
  door.SetFull(true);
  ASSERT_TRUE(Write(2));
  ASSERT_TRUE(Write(3));
  door.AwaitRefused(1);
  AnswerWith(first, 1);
  EXPECT_EQ(Read().frame_number(), 1u);
  EXPECT_EQ(door.refused(), 1u);  // frame 2 waits for room; frame 3 was not tried
  door.SetFull(false);
  for (uint64_t frame : {2, 3}) {
    AnswerWith(door.Take<EnqueueCommand>(), frame);
    EXPECT_EQ(Read().frame_number(), frame);
  }
  stream_->WritesDone();
  EXPECT_TRUE(stream_->Finish().ok());
}

TEST_F(EnqueueStreamTest, AStreamWithMuchUnderWayIsReadNoFurtherAndOthersOvertakeIt) {
  Open();
  for (uint64_t frame = 1; frame <= 3; ++frame) ASSERT_TRUE(Write(frame, 600));
  const auto first = door.Take<EnqueueCommand>();
  const auto second = door.Take<EnqueueCommand>();
  v1::EnqueueRequest other;
  *other.mutable_task() = Spec();
  InBackground([&] {
    grpc::ClientContext call;
    v1::EnqueueResponse response;
    EXPECT_TRUE(stub_->Enqueue(&call, other, &response).ok());
  });
  const auto overtaking = door.Take<EnqueueCommand>();
  EXPECT_EQ(overtaking.tasks.size(), 1u);
  AnswerWith(overtaking, 9);
  Join();
  AnswerWith(first, 1);
  EXPECT_EQ(Read().frame_number(), 1u);
  AnswerWith(door.Take<EnqueueCommand>(), 3);
  AnswerWith(second, 2);
  EXPECT_EQ(Read().frame_number(), 2u);
  EXPECT_EQ(Read().frame_number(), 3u);
  stream_->WritesDone();
  EXPECT_TRUE(stream_->Finish().ok());
}

TEST_F(EnqueueStreamTest, ManyFramesAreAnsweredWhileTheyAreSent) {
  door.SetScript([](const Command& command, Effects* effects) {
    const auto& enqueue = std::get<EnqueueCommand>(command);
    effects->replies.push_back({enqueue.ticket, absl::OkStatus(), EnqueueReply{{{kTask, false}}}});
    return true;
  });
  Open();
  constexpr uint64_t kFrames = 2'000;
  InBackground([&] {
    for (uint64_t frame = 1; frame <= kFrames; ++frame) EXPECT_TRUE(Write(frame));
    stream_->WritesDone();
  });
  for (uint64_t frame = 1; frame <= kFrames; ++frame) ASSERT_EQ(Read().frame_number(), frame);
  Join();
  EXPECT_TRUE(stream_->Finish().ok());
}

TEST_F(EnqueueStreamTest, FirstRequestWithoutAProducerIsRefused) {
  Open();
  ASSERT_TRUE(Write(2));
  EXPECT_EQ(stream_->Finish().error_code(), grpc::StatusCode::FAILED_PRECONDITION);
}

TEST_F(EnqueueStreamTest, ShortProducerIdIsRefused) {
  Open();
  v1::EnqueueStreamRequest request;
  request.set_producer_id("short");
  stream_->Write(request);
  EXPECT_EQ(FieldOf(FromGrpc(stream_->Finish())), "producer_id");
}

TEST_F(EnqueueStreamTest, StoppingEngineIsAnErrorOfTheFrame) {
  door.SetRefusal(absl::UnavailableError("stopping"));
  Open();
  ASSERT_TRUE(Write(1));
  EXPECT_EQ(Read().error_code(), grpc::StatusCode::UNAVAILABLE);
  stream_->WritesDone();
  EXPECT_TRUE(stream_->Finish().ok());
}

TEST_F(EnqueueStreamTest, FullDiskIsAnErrorOfTheFrame) {
  door.SetRefusal(LimitReached("disk.watermark", "the disk is full", absl::Seconds(30)));
  Open();
  ASSERT_TRUE(Write(1));
  const v1::EnqueueStreamResponse response = Read();
  EXPECT_EQ(response.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(response.retry_delay().seconds(), 30);
  stream_->WritesDone();
  EXPECT_TRUE(stream_->Finish().ok());
}

TEST_F(EnqueueStreamTest, AnswersForAClientThatDiedAreDropped) {
  Open();
  ASSERT_TRUE(Write(1));
  const auto command = door.Take<EnqueueCommand>();
  call_.TryCancel();
  EXPECT_EQ(stream_->Finish().error_code(), grpc::StatusCode::CANCELLED);
  AnswerWith(command, 1);
  EXPECT_EQ(tickets.size(), 0u);
}

TEST_F(EnqueueStreamTest, StoppingBrokerAnswersWhatItHasThenEndsTheStream) {
  Open();
  ASSERT_TRUE(Write(1));
  const auto command = door.Take<EnqueueCommand>();
  InBackground([&] { edge_->Stop(absl::Minutes(1)); });
  AnswerWith(command, 1);
  EXPECT_EQ(Read().frame_number(), 1u);
  EXPECT_EQ(stream_->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

// --- WaitTask and WatchTask ---

TaskSnapshot Running(double percent) {
  TaskSnapshot snapshot;
  snapshot.task = kTask;
  snapshot.place = TaskSnapshot::Place::kRunning;
  snapshot.state = State::kRunning;
  snapshot.attempt = 1;
  snapshot.worker = "w";
  snapshot.progress_percent = percent;
  snapshot.progress_time = kSecond;
  return snapshot;
}

TaskSnapshot Completed() {
  TaskSnapshot snapshot;
  snapshot.task = kTask;
  snapshot.state = State::kCompleted;
  snapshot.attempt = 1;
  snapshot.end_time = 9 * kSecond;
  snapshot.result = "done";
  return snapshot;
}

class WaitTaskTest : public TaskServiceTest {
 protected:
  void Wait(absl::Duration timeout = absl::Minutes(10)) {
    request_.set_task_id(kTask.ToString());
    request_.mutable_timeout()->set_seconds(absl::ToInt64Seconds(timeout));
    InBackground([this] { status_ = stub_->WaitTask(&call_, request_, &response_); });
  }
  v1::WaitTaskRequest request_;
  v1::WaitTaskResponse response_;
  grpc::Status status_;
};

TEST_F(WaitTaskTest, EndOfTheTaskIsAnswered) {
  Wait();
  const auto watch = door.Take<WatchTaskCommand>();
  EXPECT_TRUE(watch.only_end);
  door.Answer(watch.ticket, TaskReply{Running(10)});
  door.Send(WatchEvent{watch.ticket, absl::OkStatus(), Completed()});
  Join();
  ASSERT_TRUE(status_.ok()) << status_.error_message();
  EXPECT_TRUE(response_.finished());
  EXPECT_EQ(response_.task().state(), v1::TASK_STATE_COMPLETED);
  EXPECT_EQ(response_.task().result(), "done");
  EXPECT_EQ(door.waiting(), 0u);  // the watch ended by itself
  EXPECT_EQ(tickets.size(), 0u);
}

TEST_F(WaitTaskTest, CancelledWaitIsUnwatched) {
  Wait();
  const auto watch = door.Take<WatchTaskCommand>();
  call_.TryCancel();
  Join();
  EXPECT_EQ(status_.error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_EQ(door.Take<UnwatchCommand>().ticket, watch.ticket);
}

TEST_F(WaitTaskTest, TimeoutAnswersTheTaskAsItIs) {
  Wait(absl::ZeroDuration());
  Ticket watched, asked;
  for (bool left = false; !left || asked.empty();) {  // the alarm may be sooner than the watch
    const Command command = door.TakeAny();
    if (const auto* watch = std::get_if<WatchTaskCommand>(&command)) watched = watch->ticket;
    if (const auto* get = std::get_if<GetTaskCommand>(&command)) {
      asked = get->ticket;
      door.Answer(asked, TaskReply{Running(40)});
    }
    if (std::holds_alternative<UnwatchCommand>(command)) left = true;
  }
  Join();
  ASSERT_TRUE(status_.ok()) << status_.error_message();
  EXPECT_FALSE(response_.finished());
  EXPECT_EQ(response_.task().progress().percent(), 40);
}

TEST_F(WaitTaskTest, UnknownTaskIsNotFound) {
  Wait();
  door.Fail(door.Take<WatchTaskCommand>().ticket, absl::NotFoundError("no such task"));
  Join();
  EXPECT_EQ(status_.error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(WaitTaskTest, StoppingBrokerEndsTheWait) {
  Wait();
  door.Take<WatchTaskCommand>();
  edge_->Stop(absl::Minutes(1));
  Join();
  EXPECT_EQ(status_.error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(WaitTaskTest, TimeoutIsLimited) {
  request_.set_task_id(kTask.ToString());
  request_.mutable_timeout()->set_seconds(3'601);
  EXPECT_EQ(FieldOf(FromGrpc(stub_->WaitTask(&call_, request_, &response_))), "timeout");
}

class WatchTaskTest : public TaskServiceTest {
 protected:
  void Open() {
    v1::WatchTaskRequest request;
    request.set_task_id(kTask.ToString());
    stream_ = stub_->WatchTask(&call_, request);
  }
  v1::Task Read() {
    v1::WatchTaskResponse response;
    EXPECT_TRUE(stream_->Read(&response));
    return response.task();
  }
  std::unique_ptr<grpc::ClientReader<v1::WatchTaskResponse>> stream_;
};

TEST_F(WatchTaskTest, ShowsChangesUntilTheEnd) {
  Open();
  const auto watch = door.Take<WatchTaskCommand>();
  EXPECT_FALSE(watch.only_end);
  door.Answer(watch.ticket, TaskReply{Running(1)});
  EXPECT_EQ(Read().progress().percent(), 1);
  door.Send(WatchEvent{watch.ticket, absl::OkStatus(), Running(2)});
  EXPECT_EQ(Read().progress().percent(), 2);
  door.Send(WatchEvent{watch.ticket, absl::OkStatus(), Completed()});
  EXPECT_EQ(Read().state(), v1::TASK_STATE_COMPLETED);
  EXPECT_TRUE(stream_->Finish().ok());
  EXPECT_EQ(door.waiting(), 0u);
}

TEST_F(WatchTaskTest, SlowReaderSeesTheNewest) {
  Open();
  const auto watch = door.Take<WatchTaskCommand>();
  // Far more than the connection buffers, all before the client reads anything.
  const std::string text(1'000, 'x');
  constexpr int kEvents = 20'000;
  for (int i = 1; i <= kEvents; ++i) {
    TaskSnapshot snapshot = Running(100.0 * i / kEvents);
    snapshot.progress_text = text;
    door.Send(WatchEvent{watch.ticket, absl::OkStatus(), std::move(snapshot)});
  }
  door.Send(WatchEvent{watch.ticket, absl::OkStatus(), Completed()});
  double last = 0;
  int seen = 0;
  v1::WatchTaskResponse response;
  while (stream_->Read(&response)) {
    ++seen;
    if (response.task().state() == v1::TASK_STATE_COMPLETED) break;
    EXPECT_GT(response.task().progress().percent(), last);
    last = response.task().progress().percent();
  }
  EXPECT_EQ(response.task().state(), v1::TASK_STATE_COMPLETED);
  EXPECT_LT(seen, kEvents);
  EXPECT_TRUE(stream_->Finish().ok());
}

TEST_F(WatchTaskTest, CancelledWatchIsUnwatched) {
  Open();
  const auto watch = door.Take<WatchTaskCommand>();
  call_.TryCancel();
  EXPECT_EQ(stream_->Finish().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_EQ(door.Take<UnwatchCommand>().ticket, watch.ticket);
}

TEST_F(WatchTaskTest, WrongTaskIdIsNamed) {
  v1::WatchTaskRequest request;
  request.set_task_id("x");
  stream_ = stub_->WatchTask(&call_, request);
  EXPECT_EQ(FieldOf(FromGrpc(stream_->Finish())), "task_id");
}

TEST_F(WatchTaskTest, StoppingBrokerEndsTheStream) {
  Open();
  const auto watch = door.Take<WatchTaskCommand>();
  door.Answer(watch.ticket, TaskReply{Running(1)});
  Read();
  edge_->Stop(absl::Minutes(1));
  EXPECT_EQ(stream_->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

}  // namespace
}  // namespace penstock::broker
