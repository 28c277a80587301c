// SubscribeTasks at the edge: what finishes is told, many to a message; what a slow reader cannot take is counted.

#include "broker/rpc/subscribe_stream.h"

#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "common/status_details.h"
#include "common/status_grpc.h"
#include "penstock/v1/task_service.grpc.pb.h"
#include "tests/unit/broker/rpc/edge_fixture.h"

namespace penstock::broker {
namespace {

class SubscribeTest : public EdgeFixture {
 protected:
  void Open(const std::vector<v1::TaskState>& states = {}) {
    v1::SubscribeTasksRequest request;
    request.set_queue("mail");
    request.set_type("t");
    for (v1::TaskState state : states) request.add_states(state);
    stream_ = stub_->SubscribeTasks(&call_, request);
  }
  // Until the broker has said that the subscription counts.
  Ticket Begin() {
    const auto command = door.Take<SubscribeCommand>();
    EXPECT_EQ(command.queue, "mail");
    EXPECT_EQ(command.type, "t");
    door.Answer(command.ticket, std::monostate());
    const v1::SubscribeTasksResponse first = Read();
    EXPECT_EQ(first.events_size(), 0);
    EXPECT_EQ(first.missed(), 0u);
    return command.ticket;
  }
  void Tell(Ticket ticket, uint32_t number, State state = State::kCompleted) {
    Effects effects;
    TaskEvent event;
    event.ticket = ticket;
    event.task = TaskId(0, 1 + number / 1'000, number % 1'000);
    event.state = state;
    event.type_name = "t";
    event.attempt = 2;
    event.time = 5 * kSecond;
    if (state == State::kDead) event.dead_reason = DeadReason::kExpired;
    effects.task_events.push_back(std::move(event));
    tickets.Release(std::move(effects));
  }
  v1::SubscribeTasksResponse Read() {
    v1::SubscribeTasksResponse response;
    EXPECT_TRUE(stream_->Read(&response));
    return response;
  }

  std::unique_ptr<v1::TaskService::Stub> stub_ = v1::TaskService::NewStub(channel);
  grpc::ClientContext call_;
  std::unique_ptr<grpc::ClientReader<v1::SubscribeTasksResponse>> stream_;
};

TEST_F(SubscribeTest, TellsOfWhatFinishes) {
  Open();
  const Ticket ticket = Begin();
  Tell(ticket, 7, State::kDead);
  const v1::SubscribeTasksResponse response = Read();
  ASSERT_EQ(response.events_size(), 1);
  const v1::TaskEvent& event = response.events(0);
  EXPECT_EQ(event.task_id(), TaskId(0, 1, 7).ToString());
  EXPECT_EQ(event.state(), v1::TASK_STATE_DEAD);
  EXPECT_EQ(event.dead_reason(), v1::DEAD_REASON_EXPIRED);
  EXPECT_EQ(event.type(), "t");
  EXPECT_EQ(event.attempt(), 2);
  EXPECT_EQ(event.time().seconds(), 5);
  call_.TryCancel();
  EXPECT_EQ(stream_->Finish().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_EQ(door.Take<UnwatchCommand>().ticket, ticket);
}

TEST_F(SubscribeTest, OnlyStatesThatWereAskedFor) {
  Open({v1::TASK_STATE_DEAD, v1::TASK_STATE_CANCELLED});
  const Ticket ticket = Begin();
  Tell(ticket, 1);
  Tell(ticket, 2, State::kCancelled);
  const v1::SubscribeTasksResponse response = Read();
  ASSERT_EQ(response.events_size(), 1);
  EXPECT_EQ(response.events(0).state(), v1::TASK_STATE_CANCELLED);
  call_.TryCancel();
}

TEST_F(SubscribeTest, ASlowReaderIsToldHowManyItMissed) {
  Open();
  const Ticket ticket = Begin();
  // Far more than the connection and the limit of 10,000 hold, all before the client reads anything.
  constexpr uint32_t kEvents = 400'000;
  for (uint32_t i = 0; i < kEvents; ++i) Tell(ticket, i);
  uint64_t told = 0, missed = 0;
  std::string last;
  while (told + missed < kEvents) {
    const v1::SubscribeTasksResponse response = Read();
    ASSERT_TRUE(response.events_size() > 0 || response.missed() > 0);
    for (const v1::TaskEvent& event : response.events()) {
      EXPECT_GT(event.task_id(), last) << "in order";
      last = event.task_id();
    }
    told += static_cast<uint64_t>(response.events_size());
    missed += response.missed();
  }
  EXPECT_EQ(told + missed, kEvents);
  EXPECT_GT(missed, 0u);
  EXPECT_GE(told, 10'000u);
  // And is told of what comes when it reads on.
  Tell(ticket, kEvents);
  EXPECT_EQ(Read().events_size(), 1);
  call_.TryCancel();
}

TEST_F(SubscribeTest, AQueueThatIsNotThereOrGoesEndsIt) {
  Open();
  door.Fail(door.Take<SubscribeCommand>().ticket, absl::NotFoundError("there is no queue mail"));
  EXPECT_EQ(stream_->Finish().error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(door.waiting(), 0u) << "the core does not know it";
}

TEST_F(SubscribeTest, TheQueuesEndEndsIt) {
  Open();
  const Ticket ticket = Begin();
  door.Send(WatchEvent{ticket, absl::NotFoundError("queue mail was deleted"), {}});
  EXPECT_EQ(stream_->Finish().error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(door.waiting(), 0u);
}

TEST_F(SubscribeTest, ACallerThatIsGoneBeforeTheAnswerIsForgotten) {
  Open();
  const auto command = door.Take<SubscribeCommand>();
  call_.TryCancel();
  EXPECT_EQ(stream_->Finish().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_EQ(door.Take<UnwatchCommand>().ticket, command.ticket);
}

TEST_F(SubscribeTest, WhatIsWrongIsNamed) {
  for (const std::string field : {"queue", "type", "states[0]"}) {
    v1::SubscribeTasksRequest request;
    request.set_queue(field == "queue" ? "no name" : "mail");
    if (field == "type") request.set_type("no name");
    if (field == "states[0]") request.add_states(v1::TASK_STATE_RUNNING);
    grpc::ClientContext call;
    EXPECT_EQ(FieldOf(FromGrpc(stub_->SubscribeTasks(&call, request)->Finish())), field);
  }
}

TEST_F(SubscribeTest, AStoppingBrokerEndsIt) {
  Open();
  Begin();
  edge_->Stop(absl::Minutes(1));
  EXPECT_EQ(stream_->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

class ExplainCallTest : public EdgeFixture {};

TEST_F(ExplainCallTest, AnswersWhatTheCoreSaid) {
  auto stub = v1::TaskService::NewStub(channel);
  v1::ExplainTaskResponse response;
  grpc::Status status;
  InBackground([&] {
    grpc::ClientContext call;
    v1::ExplainTaskRequest request;
    request.set_task_id(TaskId(0, 1, 2).ToString());
    status = stub->ExplainTask(&call, request, &response);
  });
  const auto command = door.Take<ExplainTaskCommand>();
  EXPECT_EQ(command.task, TaskId(0, 1, 2));
  ExplainReply reply;
  reply.state = State::kRetryable;
  reply.waits = true;
  reply.before = 5;
  reply.before_low = 3;
  reply.before_high = 9;
  reply.starts_in = {2 * kSecond, kSecond, 3 * kSecond};
  reply.reasons.push_back(
      {WaitReason::Code::kThrottled, "throttle gpu is full", {TaskId(0, 1, 1)}, "gpu", 9 * kSecond});
  door.Answer(command.ticket, reply);
  Join();
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.state(), v1::TASK_STATE_RETRYABLE);
  ASSERT_EQ(response.reasons_size(), 1);
  EXPECT_EQ(response.reasons(0).code(), v1::WaitReason::CODE_THROTTLED);
  EXPECT_EQ(response.reasons(0).text(), "throttle gpu is full");
  EXPECT_EQ(response.reasons(0).task_ids(0), TaskId(0, 1, 1).ToString());
  EXPECT_EQ(response.reasons(0).throttle(), "gpu");
  EXPECT_EQ(response.reasons(0).until().seconds(), 9);
  EXPECT_EQ(response.position().expected(), 5u);
  EXPECT_EQ(response.position().low(), 3u);
  EXPECT_EQ(response.position().high(), 9u);
  EXPECT_EQ(response.starts_in().expected().seconds(), 2);
  EXPECT_EQ(response.starts_in().high().seconds(), 3);
}

}  // namespace
}  // namespace penstock::broker
