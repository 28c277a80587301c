#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "broker/rpc/page_token.h"
#include "common/status_grpc.h"
#include "gtest/gtest.h"
#include "penstock/v1/admin_service.grpc.pb.h"
#include "tests/unit/broker/rpc/edge_fixture.h"

namespace penstock::broker {
namespace {

class AdminServiceTest : public EdgeFixture {
 protected:
  AdminServiceTest() {
    for (const char* name : {"a", "b", "c"}) {
      QueueView& queue = status_.queues.emplace_back();
      queue.id = QueueId(static_cast<uint32_t>(status_.queues.size()));
      queue.name = name;
      queue.counters.available = status_.queues.size();
    }
    status_.queues[1].oldest_available = ToMicros(clock.Read().wall) - 7 * kSecond;
    for (uint64_t number : {3, 5, 8}) {
      WorkerView& worker = status_.workers.emplace_back();
      worker.number = SessionNumber(number);
      worker.name = "worker";
      worker.connected = true;
    }
    status_.epoch = 4;
    status_.throttles = {{"idle", 0}, {"api", 3}};
    status_.cooled_waiting = 5;
    door.SetScript([this](const Command& command, Effects* effects) { return Answer(command, effects); });
  }

  bool Answer(const Command& command, Effects* effects) {
    if (const auto* status = std::get_if<StatusCommand>(&command)) {
      effects->replies.push_back({status->ticket, absl::OkStatus(), status_});
    } else if (const auto* queue = std::get_if<QueueCommand>(&command)) {
      queue_ = *queue;
      QueueReply reply;
      reply.queue.name = queue->queue;
      reply.purged = 12;
      effects->replies.push_back({queue->ticket, queue_status_, {}});
      if (queue_status_.ok()) effects->replies.back().value = reply;
    } else if (const auto* dead = std::get_if<DeadTasksCommand>(&command)) {
      dead_ = *dead;
      effects->replies.push_back({dead->ticket, absl::OkStatus(), DeadTasksReply{5, 6, true}});
    } else if (const auto* drain = std::get_if<DrainWorkerCommand>(&command)) {
      drained_ = drain->worker;
      effects->replies.push_back({drain->ticket, absl::OkStatus(), {}});
    }
    return !effects->empty();
  }

  template <class Request, class Response>
  grpc::Status Call(grpc::Status (v1::AdminService::Stub::*rpc)(grpc::ClientContext*, const Request&, Response*),
                    const Request& request, Response* response) {
    grpc::ClientContext context;
    return ((*stub_).*rpc)(&context, request, response);
  }

  std::unique_ptr<v1::AdminService::Stub> stub_ = v1::AdminService::NewStub(channel);
  StatusReply status_;
  absl::Status queue_status_;
  QueueCommand queue_;
  DeadTasksCommand dead_;
  std::string drained_;
};

using Stub = v1::AdminService::Stub;

TEST_F(AdminServiceTest, StatusJoinsCoreAndServer) {
  facts.figures.version = "1.2.3";
  facts.figures.problems = {"the disk is nearly full: free some space"};
  facts.figures.commit_count = 77;
  facts.figures.commit_latency_p99 = absl::Milliseconds(5);
  v1::GetStatusRequest request;
  request.set_max_queues(2);
  v1::GetStatusResponse response;
  ASSERT_TRUE(Call(&Stub::GetStatus, request, &response).ok());
  EXPECT_EQ(response.broker().version(), "1.2.3");
  EXPECT_EQ(response.broker().problems(0), "the disk is nearly full: free some space");
  EXPECT_EQ(response.broker().commit_count(), 77u);
  EXPECT_EQ(response.broker().commit_latency_p99().nanos(), 5'000'000);
  EXPECT_EQ(response.broker().epoch(), 4u);
  EXPECT_EQ(response.broker().throttles_waiting(), 1u);
  EXPECT_EQ(response.broker().cooled_waiting(), 5u);
  EXPECT_EQ(response.broker().bulk_jobs_running(), 0u);
  ASSERT_EQ(response.queues_size(), 2);
  EXPECT_EQ(response.queues(0).name(), "b");  // the oldest waiting task first
  EXPECT_EQ(response.queues(0).stats().oldest_age().seconds(), 7);
  EXPECT_EQ(response.queues(1).name(), "a");
  EXPECT_EQ(response.queue_count(), 3);
  EXPECT_EQ(response.totals().available(), 6u);
  EXPECT_EQ(response.workers_size(), 3);
  EXPECT_EQ(response.workers(0).worker_id(), "w3");
  request.set_max_queues(1'001);
  EXPECT_EQ(FieldOf(FromGrpc(Call(&Stub::GetStatus, request, &response))), "max_queues");
}

TEST_F(AdminServiceTest, RatesComeFromSamples) {
  edge_->SampleRates();
  clock.Advance(absl::Seconds(2));
  status_.queues[0].counters.enqueued_total = 100;
  edge_->SampleRates();
  v1::GetQueueRequest request;
  request.set_name("a");
  v1::GetQueueResponse response;
  ASSERT_TRUE(Call(&Stub::GetQueue, request, &response).ok());
  EXPECT_DOUBLE_EQ(response.queue().stats().enqueue_rate(), 50);
}

TEST_F(AdminServiceTest, QueuesComeInPagesByName) {
  v1::ListQueuesRequest request;
  request.set_page_size(2);
  v1::ListQueuesResponse response;
  ASSERT_TRUE(Call(&Stub::ListQueues, request, &response).ok());
  ASSERT_EQ(response.queues_size(), 2);
  EXPECT_EQ(response.queues(1).name(), "b");
  request.set_page_token(response.next_page_token());
  response.Clear();
  ASSERT_TRUE(Call(&Stub::ListQueues, request, &response).ok());
  ASSERT_EQ(response.queues_size(), 1);
  EXPECT_EQ(response.queues(0).name(), "c");
  EXPECT_EQ(response.next_page_token(), "");
  request.set_page_size(1'001);
  EXPECT_EQ(FieldOf(FromGrpc(Call(&Stub::ListQueues, request, &response))), "page_size");
}

TEST_F(AdminServiceTest, PageOfQueuesGoesOnWhereADeletedQueueWas) {
  v1::ListQueuesRequest request;
  request.set_page_size(2);
  v1::ListQueuesResponse response;
  ASSERT_TRUE(Call(&Stub::ListQueues, request, &response).ok());
  ASSERT_EQ(response.queues(1).name(), "b");
  request.set_page_token(response.next_page_token());
  status_.queues.erase(status_.queues.begin() + 1);
  response.Clear();
  ASSERT_TRUE(Call(&Stub::ListQueues, request, &response).ok());
  ASSERT_EQ(response.queues_size(), 1);
  EXPECT_EQ(response.queues(0).name(), "c");
}

TEST_F(AdminServiceTest, QueuesWhoseNamesBeginAlikeAreToldApart) {
  status_.queues.resize(3);
  for (uint32_t i = 0; i < 3; ++i) {
    status_.queues[i].id = QueueId(9 - i);
    status_.queues[i].name = "customer-number-" + std::to_string(i);
  }
  v1::ListQueuesRequest request;
  request.set_page_size(1);
  for (const std::string name : {"customer-number-0", "customer-number-1", "customer-number-2"}) {
    v1::ListQueuesResponse response;
    ASSERT_TRUE(Call(&Stub::ListQueues, request, &response).ok());
    ASSERT_EQ(response.queues_size(), 1);
    EXPECT_EQ(response.queues(0).name(), name);
    request.set_page_token(response.next_page_token());
  }
  EXPECT_EQ(request.page_token(), "");
}

TEST_F(AdminServiceTest, TokensOfOtherListsAreRefused) {
  v1::ListQueuesRequest queues;
  v1::ListQueuesResponse queues_response;
  queues.set_page_size(1);
  ASSERT_TRUE(Call(&Stub::ListQueues, queues, &queues_response).ok());
  v1::ListWorkersRequest workers;
  v1::ListWorkersResponse workers_response;
  workers.set_page_size(1);
  ASSERT_TRUE(Call(&Stub::ListWorkers, workers, &workers_response).ok());
  const std::string of_queues = queues_response.next_page_token();
  const std::string of_workers = workers_response.next_page_token();
  const std::string of_tasks = PageToken{.phase = 1, .place = {1, 2, 3}}.ToString();
  for (const std::string& token : {std::string("a"), of_tasks, of_workers}) {
    queues.set_page_token(token);
    EXPECT_EQ(FieldOf(FromGrpc(Call(&Stub::ListQueues, queues, &queues_response))), "page_token") << token;
  }
  for (const std::string& token : {std::string("1"), of_tasks, of_queues}) {
    workers.set_page_token(token);
    EXPECT_EQ(FieldOf(FromGrpc(Call(&Stub::ListWorkers, workers, &workers_response))), "page_token") << token;
  }
}

TEST_F(AdminServiceTest, WorkersComeInPagesByNumber) {
  v1::ListWorkersRequest request;
  request.set_page_size(2);
  v1::ListWorkersResponse response;
  ASSERT_TRUE(Call(&Stub::ListWorkers, request, &response).ok());
  ASSERT_EQ(response.workers_size(), 2);
  EXPECT_EQ(response.workers(1).worker_id(), "w5");
  request.set_page_token(response.next_page_token());
  response.Clear();
  ASSERT_TRUE(Call(&Stub::ListWorkers, request, &response).ok());
  ASSERT_EQ(response.workers_size(), 1);
  EXPECT_EQ(response.workers(0).worker_id(), "w8");
  EXPECT_EQ(response.next_page_token(), "");
}

TEST_F(AdminServiceTest, UnknownQueueIsNotFound) {
  v1::GetQueueRequest request;
  request.set_name("zzz");
  v1::GetQueueResponse response;
  EXPECT_EQ(Call(&Stub::GetQueue, request, &response).error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(FieldOf(FromGrpc(Call(&Stub::GetQueue, v1::GetQueueRequest(), &response))), "name");
}

TEST_F(AdminServiceTest, LimitsAreThoseGiven) {
  v1::GetLimitsResponse response;
  ASSERT_TRUE(Call(&Stub::GetLimits, v1::GetLimitsRequest(), &response).ok());
  ASSERT_EQ(response.limits_size(), 1);
  EXPECT_EQ(response.limits(0).option(), "limits.payload");
  EXPECT_EQ(response.limits(0).value(), "1 MiB");
}

TEST_F(AdminServiceTest, QueuesAreCreatedAndUpdated) {
  v1::CreateQueueRequest create;
  create.mutable_queue()->set_name("new");
  v1::CreateQueueResponse created;
  ASSERT_TRUE(Call(&Stub::CreateQueue, create, &created).ok());
  EXPECT_EQ(created.queue().name(), "new");
  EXPECT_EQ(queue_.verb, QueueVerb::kCreate);
  queue_status_ = absl::AlreadyExistsError("queue new exists");
  EXPECT_EQ(Call(&Stub::CreateQueue, create, &created).error_code(), grpc::StatusCode::ALREADY_EXISTS);
  queue_status_ = absl::OkStatus();
  v1::UpdateQueueRequest update;
  update.mutable_queue()->set_name("new");
  update.mutable_queue()->mutable_settings()->mutable_run_timeout()->set_seconds(5);
  v1::UpdateQueueResponse updated;
  ASSERT_TRUE(Call(&Stub::UpdateQueue, update, &updated).ok());
  EXPECT_EQ(queue_.verb, QueueVerb::kUpdate);
  EXPECT_EQ(queue_.settings.run_timeout, std::optional<Span>(5 * kSecond));
}

TEST_F(AdminServiceTest, VerbsReachTheCore) {
  v1::PauseQueueRequest pause;
  pause.set_name("a");
  v1::PauseQueueResponse paused;
  ASSERT_TRUE(Call(&Stub::PauseQueue, pause, &paused).ok());
  EXPECT_EQ(queue_.verb, QueueVerb::kPause);
  v1::ResumeQueueRequest resume;
  resume.set_name("a");
  v1::ResumeQueueResponse resumed;
  ASSERT_TRUE(Call(&Stub::ResumeQueue, resume, &resumed).ok());
  EXPECT_EQ(queue_.verb, QueueVerb::kResume);
  v1::DrainQueueRequest drain;
  drain.set_name("a");
  v1::DrainQueueResponse drained;
  ASSERT_TRUE(Call(&Stub::DrainQueue, drain, &drained).ok());
  EXPECT_EQ(queue_.verb, QueueVerb::kDrain);
  v1::PurgeQueueRequest purge;
  purge.set_name("a");
  v1::PurgeQueueResponse purged;
  ASSERT_TRUE(Call(&Stub::PurgeQueue, purge, &purged).ok());
  EXPECT_EQ(queue_.verb, QueueVerb::kPurge);
  EXPECT_EQ(purged.purged(), 12u);
  v1::DeleteQueueRequest remove;
  remove.set_name("a");
  remove.set_force(true);
  v1::DeleteQueueResponse removed;
  ASSERT_TRUE(Call(&Stub::DeleteQueue, remove, &removed).ok());
  EXPECT_EQ(queue_.verb, QueueVerb::kDelete);
  EXPECT_TRUE(queue_.force);
  v1::DrainWorkerRequest worker;
  worker.set_worker("w3");
  v1::DrainWorkerResponse worker_response;
  ASSERT_TRUE(Call(&Stub::DrainWorker, worker, &worker_response).ok());
  EXPECT_EQ(drained_, "w3");
  EXPECT_EQ(FieldOf(FromGrpc(Call(&Stub::PauseQueue, v1::PauseQueueRequest(), &paused))), "name");
}

TEST_F(AdminServiceTest, DeadTasksAreRedrivenAndPurged) {
  v1::RedriveDeadTasksRequest redrive;
  redrive.set_queue("a");
  redrive.set_type("t");
  v1::RedriveDeadTasksResponse redriven;
  ASSERT_TRUE(Call(&Stub::RedriveDeadTasks, redrive, &redriven).ok());
  EXPECT_EQ(dead_.verb, DeadVerb::kRedrive);
  EXPECT_EQ(dead_.type, "t");
  EXPECT_EQ(redriven.redriven(), 5u);
  EXPECT_EQ(redriven.remaining(), 6u);
  EXPECT_TRUE(redriven.exhausted());
  v1::PurgeDeadTasksRequest purge;
  purge.set_queue("a");
  v1::PurgeDeadTasksResponse purged;
  ASSERT_TRUE(Call(&Stub::PurgeDeadTasks, purge, &purged).ok());
  EXPECT_EQ(dead_.verb, DeadVerb::kPurge);
  EXPECT_EQ(purged.purged(), 5u);
}

}  // namespace
}  // namespace penstock::broker
