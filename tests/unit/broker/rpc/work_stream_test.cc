#include <memory>
#include <string>
#include <utility>

#include "common/status_grpc.h"
#include "gtest/gtest.h"
#include "penstock/v1/worker_service.grpc.pb.h"
#include "tests/unit/broker/rpc/edge_fixture.h"

namespace penstock::broker {
namespace {

const TaskId kTask(0, 7, 1);

class WorkStreamTest : public EdgeFixture {
 protected:
  static v1::WorkRequest HelloRequest() {
    v1::WorkRequest request;
    v1::Hello* hello = request.mutable_hello();
    hello->set_worker_name("mailer");
    hello->add_queues("mail");
    hello->add_types()->set_type("mail.send");
    hello->set_concurrency(4);
    return request;
  }
  void Open() { stream_ = stub_->Work(&call_); }
  // Opens the session and reads its welcome.
  void Connect(v1::WorkRequest request = HelloRequest()) {
    Open();
    ASSERT_TRUE(stream_->Write(request));
    const auto open = door.Take<OpenSessionCommand>();
    ticket_ = open.stream;
    SessionMessage message = Message();
    message.welcome = Welcome(open);
    door.Send(std::move(message));
    EXPECT_EQ(Read().welcome().session_id(), open.session_id);
  }
  v1::WorkResponse Read() {
    v1::WorkResponse response;
    EXPECT_TRUE(stream_->Read(&response));
    return response;
  }
  SessionMessage Message() {
    SessionMessage message;
    message.stream = ticket_;
    return message;
  }
  static SessionWelcome Welcome(const OpenSessionCommand& open) {
    SessionWelcome welcome;
    welcome.session_id = open.session_id;
    welcome.lease = 30 * kSecond;
    return welcome;
  }
  static Delivery MakeDelivery(TaskId task, std::string_view spec) {
    Delivery delivery;
    delivery.task = task;
    delivery.token = FencingToken(9);
    delivery.attempt = 2;
    delivery.max_attempts = 20;
    delivery.create_time = 5 * kSecond;
    delivery.run_timeout = 60 * kSecond;
    delivery.spec = spec;
    return delivery;
  }

  std::unique_ptr<v1::WorkerService::Stub> stub_ = v1::WorkerService::NewStub(channel);
  grpc::ClientContext call_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::WorkRequest, v1::WorkResponse>> stream_;
  Ticket ticket_;
};

TEST_F(WorkStreamTest, HelloOpensASessionAndItsCreditFollows) {
  Open();
  v1::WorkRequest request = HelloRequest();
  request.set_credit(4);
  ASSERT_TRUE(stream_->Write(request));
  const auto open = door.Take<OpenSessionCommand>();
  EXPECT_EQ(open.worker_name, "mailer");
  EXPECT_FALSE(open.resume);
  EXPECT_EQ(open.session_id.size(), 32u);
  const auto input = door.Take<SessionInput>();
  EXPECT_EQ(input.stream, open.stream);
  EXPECT_EQ(input.credit, 4u);
  ticket_ = open.stream;
  SessionMessage message = Message();
  message.welcome = Welcome(open);
  message.welcome->lost_tasks.push_back(kTask);
  door.Send(std::move(message));
  const v1::Welcome welcome = Read().welcome();
  EXPECT_EQ(welcome.session_id(), open.session_id);
  EXPECT_EQ(welcome.lease().seconds(), 30);
  EXPECT_EQ(welcome.broker_version(), "1.2.3");
  EXPECT_EQ(welcome.max_result_bytes(), uint64_t{1} << 20);
  ASSERT_EQ(welcome.lost_task_ids_size(), 1);
  EXPECT_EQ(welcome.lost_task_ids(0), kTask.ToString());
}

TEST_F(WorkStreamTest, StreamWithoutHelloIsRefused) {
  Open();
  v1::WorkRequest request;
  request.set_credit(1);
  ASSERT_TRUE(stream_->Write(request));
  EXPECT_EQ(FieldOf(FromGrpc(stream_->Finish())), "hello");
  EXPECT_EQ(door.waiting(), 0u);
}

TEST_F(WorkStreamTest, WrongFieldOfTheFirstRequestOpensNoSession) {
  Open();
  v1::WorkRequest request = HelloRequest();
  request.set_credit(-1);
  ASSERT_TRUE(stream_->Write(request));
  EXPECT_EQ(FieldOf(FromGrpc(stream_->Finish())), "credit");
  EXPECT_EQ(door.waiting(), 0u);
}

// Of a worker that takes late acknowledgements.
class LateAcknowledgementTest : public WorkStreamTest {
 protected:
  void SetUp() override {
    v1::WorkRequest request = HelloRequest();
    request.mutable_hello()->set_late_acknowledgements(true);
    Connect(request);
  }
  // A request with an outcome is sent, taken by the core, and acknowledged by it.
  void SendOutcome(uint64_t frame, size_t result_bytes = 1, bool draining = false) {
    v1::WorkRequest request;
    request.set_frame_number(frame);
    request.set_draining(draining);
    v1::TaskOutcome* outcome = request.add_outcomes();
    outcome->set_task_id(kTask.ToString());
    outcome->set_fencing_token(9);
    outcome->mutable_completed()->set_result(std::string(result_bytes, 'r'));
    ASSERT_TRUE(stream_->Write(request));
    EXPECT_EQ(door.Take<SessionInput>().frame_number, frame);
    SessionMessage message = Message();
    message.acknowledged_frame = frame;
    door.Send(std::move(message));
  }
};

TEST_F(LateAcknowledgementTest, TravelsWithTheNextDelivery) {
  SendOutcome(1);
  SendOutcome(2);
  SessionMessage message = Message();
  message.deliveries.push_back(MakeDelivery(kTask, ""));
  door.Send(std::move(message));
  // Had the acknowledgements been sent alone, they would be read first.
  const v1::WorkResponse response = Read();
  EXPECT_EQ(response.deliveries_size(), 1);
  EXPECT_EQ(response.acknowledged_frame(), 2u);
}

TEST_F(LateAcknowledgementTest, SixteenAreNotKeptWaiting) {
  for (uint64_t frame = 1; frame <= 16; ++frame) SendOutcome(frame);
  EXPECT_EQ(Read().acknowledged_frame(), 16u);
}

TEST_F(LateAcknowledgementTest, ManyBytesAreNotKeptWaiting) {
  SendOutcome(1);
  SendOutcome(2, 64 << 10);
  while (Read().acknowledged_frame() < 2) {
  }
}

TEST_F(LateAcknowledgementTest, SignOfLifeIsAnsweredWithThem) {
  SendOutcome(1);
  ASSERT_TRUE(stream_->Write(v1::WorkRequest()));
  EXPECT_EQ(Read().acknowledged_frame(), 1u);
}

TEST_F(LateAcknowledgementTest, ADrainingWorkerGetsThemAtOnce) {
  SendOutcome(1, 1, true);
  EXPECT_EQ(Read().acknowledged_frame(), 1u);
}

TEST_F(WorkStreamTest, AcknowledgementsTravelAtOnceUnlessAskedOtherwise) {
  Connect();
  SessionMessage message = Message();
  message.acknowledged_frame = 5;
  door.Send(std::move(message));
  EXPECT_EQ(Read().acknowledged_frame(), 5u);
}

TEST_F(WorkStreamTest, DeliveriesCarryTheStoredSpec) {
  Connect();
  v1::TaskSpec spec;
  spec.set_queue("mail");
  spec.set_payload("hello");
  const std::string stored = spec.SerializeAsString();
  SessionMessage message = Message();
  message.deliveries.push_back(MakeDelivery(kTask, stored));
  message.deliveries.push_back(MakeDelivery(kTask, stored));
  message.deliveries.back().checkpoint = std::string(64 << 10, 'c');
  message.acknowledged_frame = 3;
  message.refusals.push_back({kTask, FencingToken(8), RefusalReason::kStaleLease});
  message.cancelled_tasks.push_back(kTask);
  message.drain = true;
  door.Send(std::move(message));
  const v1::WorkResponse response = Read();
  ASSERT_EQ(response.deliveries_size(), 2);
  EXPECT_EQ(response.deliveries(0).checkpoint(), "");
  EXPECT_EQ(response.deliveries(1).checkpoint(), std::string(64 << 10, 'c'));
  const v1::Delivery& delivery = response.deliveries(0);
  EXPECT_EQ(delivery.task_id(), kTask.ToString());
  EXPECT_EQ(delivery.fencing_token(), 9u);
  EXPECT_EQ(delivery.attempt(), 2);
  EXPECT_EQ(delivery.max_attempts(), 20);
  EXPECT_EQ(delivery.create_time().seconds(), 5);
  EXPECT_EQ(delivery.run_timeout().seconds(), 60);
  EXPECT_EQ(delivery.spec().payload(), "hello");
  EXPECT_EQ(response.acknowledged_frame(), 3u);
  EXPECT_EQ(response.refusals(0).reason(), v1::Refusal::REASON_STALE_LEASE);
  EXPECT_EQ(response.cancelled_task_ids(0), kTask.ToString());
  EXPECT_TRUE(response.drain());
}

TEST_F(WorkStreamTest, ResultThatIsTooLargeBecomesAFailureAndARefusal) {
  Connect();
  v1::WorkRequest request;
  request.set_frame_number(1);
  v1::TaskOutcome* outcome = request.add_outcomes();
  outcome->set_task_id(kTask.ToString());
  outcome->set_fencing_token(9);
  outcome->mutable_completed()->set_result(std::string((1 << 20) + 1, 'r'));
  ASSERT_TRUE(stream_->Write(request));
  const auto input = door.Take<SessionInput>();
  ASSERT_EQ(input.outcomes.size(), 1u);
  EXPECT_EQ(input.outcomes[0].kind, OutcomeKind::kFailed);
  EXPECT_EQ(input.frame_number, 1u);
  const v1::WorkResponse response = Read();
  ASSERT_EQ(response.refusals_size(), 1);
  EXPECT_EQ(response.refusals(0).reason(), v1::Refusal::REASON_INVALID);
}

TEST_F(WorkStreamTest, EmptyRequestRenewsTheLease) {
  Connect();
  ASSERT_TRUE(stream_->Write(v1::WorkRequest()));
  EXPECT_EQ(door.Take<SessionInput>().stream, ticket_);
}

TEST_F(WorkStreamTest, NoFrameIsLostWhileTheMailboxIsFull) {
  Connect();
  door.SetFull(true);
  for (uint64_t frame = 1; frame <= 20; ++frame) {
    v1::WorkRequest request;
    request.set_frame_number(frame);
    ASSERT_TRUE(stream_->Write(request));
  }
  door.AwaitRefused(1);
  door.SetFull(false);
  for (uint64_t frame = 1; frame <= 20; ++frame) EXPECT_EQ(door.Take<SessionInput>().frame_number, frame);
}

TEST_F(WorkStreamTest, GoodbyeEndsTheStreamWithOk) {
  Connect();
  v1::WorkRequest request;
  request.set_goodbye(true);
  ASSERT_TRUE(stream_->Write(request));
  stream_->WritesDone();
  EXPECT_TRUE(door.Take<SessionInput>().goodbye);
  SessionMessage message = Message();
  message.acknowledged_frame = 7;
  message.end = absl::OkStatus();
  door.Send(std::move(message));
  EXPECT_EQ(Read().acknowledged_frame(), 7u);
  EXPECT_TRUE(stream_->Finish().ok());
  EXPECT_EQ(door.waiting(), 0u);  // the session was not broken
  edge_->Stop(absl::Minutes(1));
  EXPECT_EQ(tickets.size(), 0u);
}

TEST_F(WorkStreamTest, EndFromTheCoreIsTheStreamsStatus) {
  Open();
  v1::WorkRequest request = HelloRequest();
  request.mutable_hello()->set_session_id("gone");
  ASSERT_TRUE(stream_->Write(request));
  const auto open = door.Take<OpenSessionCommand>();
  EXPECT_TRUE(open.resume);
  ticket_ = open.stream;
  SessionMessage message = Message();
  message.end = absl::NotFoundError("the session has ended");
  door.Send(std::move(message));
  EXPECT_EQ(stream_->Finish().error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(door.waiting(), 0u);
}

TEST_F(WorkStreamTest, CutStreamBreaksTheSessionOnce) {
  Connect();
  call_.TryCancel();
  EXPECT_EQ(door.Take<SessionBroken>().stream, ticket_);
  stream_->Finish();
  edge_->Stop(absl::Minutes(1));
  EXPECT_EQ(door.waiting(), 0u);
}

TEST_F(WorkStreamTest, ClosedStreamWithoutGoodbyeBreaksTheSession) {
  Connect();
  stream_->WritesDone();
  EXPECT_EQ(door.Take<SessionBroken>().stream, ticket_);
  EXPECT_EQ(stream_->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(WorkStreamTest, BrokenSessionIsToldEvenWhenTheMailboxIsFull) {
  Connect();
  door.SetFull(true);
  call_.TryCancel();
  stream_->Finish();
  door.AwaitRefused(1);
  door.SetFull(false);
  EXPECT_EQ(door.Take<SessionBroken>().stream, ticket_);
}

TEST_F(WorkStreamTest, WrongFieldOfTheSessionBreaksIt) {
  Connect();
  v1::WorkRequest request;
  request.set_credit(-1);
  ASSERT_TRUE(stream_->Write(request));
  EXPECT_EQ(door.Take<SessionBroken>().stream, ticket_);
  EXPECT_EQ(FieldOf(FromGrpc(stream_->Finish())), "credit");
}

TEST_F(WorkStreamTest, SecondHelloIsRefused) {
  Connect();
  ASSERT_TRUE(stream_->Write(HelloRequest()));
  EXPECT_EQ(FieldOf(FromGrpc(stream_->Finish())), "hello");
  EXPECT_EQ(door.Take<SessionBroken>().stream, ticket_);
}

TEST_F(WorkStreamTest, StoppingBrokerLeavesTheSessionToBeResumed) {
  Connect();
  edge_->Stop(absl::Minutes(1));
  EXPECT_EQ(stream_->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(door.waiting(), 0u);
}

TEST_F(WorkStreamTest, StreamsOfAFailedEngineEndAndNewOnesBegin) {
  Connect();
  door.SetRefusal(absl::UnavailableError("the storage failed"));
  edge_->LeaveEngine();
  EXPECT_EQ(stream_->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  door.SetRefusal(absl::OkStatus());
  grpc::ClientContext second;
  stream_ = stub_->Work(&second);
  ASSERT_TRUE(stream_->Write(HelloRequest()));
  const auto open = door.Take<OpenSessionCommand>();
  EXPECT_NE(open.stream, ticket_);
  second.TryCancel();
  EXPECT_EQ(door.Take<SessionBroken>().stream, open.stream);
  stream_->Finish();
}

TEST_F(WorkStreamTest, EngineThatTakesNothingEndsTheStream) {
  Connect();
  door.SetRefusal(absl::UnavailableError("the storage failed"));
  ASSERT_TRUE(stream_->Write(v1::WorkRequest()));
  EXPECT_EQ(stream_->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(WorkStreamTest, LargeDeliveriesComeInSeveralFrames) {
  Connect();
  v1::TaskSpec spec;
  spec.set_payload(std::string(700 << 10, 'p'));
  const std::string stored = spec.SerializeAsString();
  SessionMessage message = Message();
  for (uint32_t i = 0; i < 8; ++i) {
    message.deliveries.push_back(MakeDelivery(TaskId(0, 7, i), stored));
  }
  message.acknowledged_frame = 2;
  door.Send(std::move(message));
  for (uint32_t i = 0; i < 8; ++i) {
    const v1::WorkResponse response = Read();
    ASSERT_EQ(response.deliveries_size(), 1);
    EXPECT_EQ(response.deliveries(0).task_id(), TaskId(0, 7, i).ToString());
    EXPECT_EQ(response.acknowledged_frame(), i == 7 ? 2u : 0u);
  }
}

}  // namespace
}  // namespace penstock::broker
