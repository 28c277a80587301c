#include "tests/support/fake_broker.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/status_grpc.h"
#include "common/task_id.h"
#include "grpcpp/server_builder.h"
#include "penstock/v1/admin_service.grpc.pb.h"
#include "penstock/v1/bulk_service.grpc.pb.h"
#include "penstock/v1/schedule_service.grpc.pb.h"
#include "penstock/v1/task_service.grpc.pb.h"
#include "penstock/v1/throttle_service.grpc.pb.h"

namespace penstock::testing {
namespace {

// Items [from, from + size) of `all` whose page token is `from`.
template <class Item, class Add>
std::string FillPage(const std::vector<Item>& all, const std::string& token, int size, Add add) {
  const size_t from = token.empty() ? 0 : std::stoul(token);
  const size_t end = std::min(all.size(), from + static_cast<size_t>(size));
  for (size_t i = from; i < end; ++i) add(all[i]);
  return end < all.size() ? std::to_string(end) : "";
}

bool IsFinished(const v1::Task& task) {
  return task.state() == v1::TASK_STATE_COMPLETED || task.state() == v1::TASK_STATE_CANCELLED ||
         task.state() == v1::TASK_STATE_DEAD;
}

}  // namespace

#define RETURN_IF_FAILED(method) \
  if (absl::Status refused = broker_.OnCall(#method, *request); !refused.ok()) return ToGrpc(refused)

class FakeBroker::Admin : public v1::AdminService::Service {
 public:
  explicit Admin(FakeBroker& broker) : broker_(broker) {}

  grpc::Status GetStatus(grpc::ServerContext*, const v1::GetStatusRequest* request,
                         v1::GetStatusResponse* response) override {
    RETURN_IF_FAILED(GetStatus);
    *response = broker_.status;
    return grpc::Status::OK;
  }
  grpc::Status GetLimits(grpc::ServerContext*, const v1::GetLimitsRequest* request,
                         v1::GetLimitsResponse* response) override {
    RETURN_IF_FAILED(GetLimits);
    *response = broker_.limits;
    return grpc::Status::OK;
  }
  grpc::Status CreateQueue(grpc::ServerContext*, const v1::CreateQueueRequest* request,
                           v1::CreateQueueResponse* response) override {
    RETURN_IF_FAILED(CreateQueue);
    *response->mutable_queue() = request->queue();
    return grpc::Status::OK;
  }
  grpc::Status GetQueue(grpc::ServerContext*, const v1::GetQueueRequest* request,
                        v1::GetQueueResponse* response) override {
    RETURN_IF_FAILED(GetQueue);
    return Find(request->name(), response->mutable_queue());
  }
  grpc::Status ListQueues(grpc::ServerContext*, const v1::ListQueuesRequest* request,
                          v1::ListQueuesResponse* response) override {
    RETURN_IF_FAILED(ListQueues);
    response->set_next_page_token(FillPage(broker_.queues, request->page_token(), request->page_size(),
                                           [&](const v1::Queue& queue) { *response->add_queues() = queue; }));
    return grpc::Status::OK;
  }
  grpc::Status UpdateQueue(grpc::ServerContext*, const v1::UpdateQueueRequest* request,
                           v1::UpdateQueueResponse* response) override {
    RETURN_IF_FAILED(UpdateQueue);
    *response->mutable_queue() = request->queue();
    return grpc::Status::OK;
  }
  grpc::Status PauseQueue(grpc::ServerContext*, const v1::PauseQueueRequest* request,
                          v1::PauseQueueResponse*) override {
    RETURN_IF_FAILED(PauseQueue);
    v1::Queue queue;
    return Find(request->name(), &queue);
  }
  grpc::Status ResumeQueue(grpc::ServerContext*, const v1::ResumeQueueRequest* request,
                           v1::ResumeQueueResponse*) override {
    RETURN_IF_FAILED(ResumeQueue);
    v1::Queue queue;
    return Find(request->name(), &queue);
  }
  grpc::Status DrainQueue(grpc::ServerContext*, const v1::DrainQueueRequest* request,
                          v1::DrainQueueResponse*) override {
    RETURN_IF_FAILED(DrainQueue);
    v1::Queue queue;
    return Find(request->name(), &queue);
  }
  grpc::Status PurgeQueue(grpc::ServerContext*, const v1::PurgeQueueRequest* request,
                          v1::PurgeQueueResponse* response) override {
    RETURN_IF_FAILED(PurgeQueue);
    v1::Queue queue;
    const grpc::Status found = Find(request->name(), &queue);
    response->set_purged(queue.stats().available() + queue.stats().scheduled() + queue.stats().retryable());
    return found;
  }
  grpc::Status DeleteQueue(grpc::ServerContext*, const v1::DeleteQueueRequest* request,
                           v1::DeleteQueueResponse*) override {
    RETURN_IF_FAILED(DeleteQueue);
    v1::Queue queue;
    return Find(request->name(), &queue);
  }
  grpc::Status ListWorkers(grpc::ServerContext*, const v1::ListWorkersRequest* request,
                           v1::ListWorkersResponse* response) override {
    RETURN_IF_FAILED(ListWorkers);
    response->set_next_page_token(FillPage(broker_.workers, request->page_token(), request->page_size(),
                                           [&](const v1::Worker& worker) { *response->add_workers() = worker; }));
    return grpc::Status::OK;
  }
  grpc::Status DrainWorker(grpc::ServerContext*, const v1::DrainWorkerRequest* request,
                           v1::DrainWorkerResponse*) override {
    RETURN_IF_FAILED(DrainWorker);
    for (const v1::Worker& worker : broker_.workers) {
      if (worker.worker_id() == request->worker() || worker.name() == request->worker()) return grpc::Status::OK;
    }
    return ToGrpc(absl::NotFoundError("there is no worker " + request->worker()));
  }
  grpc::Status ListKeys(grpc::ServerContext*, const v1::ListKeysRequest* request,
                        v1::ListKeysResponse* response) override {
    RETURN_IF_FAILED(ListKeys);
    response->set_next_page_token(FillPage(broker_.keys, request->page_token(), request->page_size(),
                                           [&](const v1::HeldKey& key) { *response->add_keys() = key; }));
    return grpc::Status::OK;
  }
  grpc::Status ReleaseKey(grpc::ServerContext*, const v1::ReleaseKeyRequest* request,
                          v1::ReleaseKeyResponse*) override {
    RETURN_IF_FAILED(ReleaseKey);
    const auto erased =
        std::erase_if(broker_.keys, [&](const v1::HeldKey& key) { return key.key() == request->key(); });
    return erased > 0 ? grpc::Status::OK : ToGrpc(absl::NotFoundError("no task holds this key"));
  }
  grpc::Status RedriveDeadTasks(grpc::ServerContext*, const v1::RedriveDeadTasksRequest* request,
                                v1::RedriveDeadTasksResponse* response) override {
    RETURN_IF_FAILED(RedriveDeadTasks);
    response->set_redriven(TakeDead(request->limit()));
    response->set_remaining(broker_.dead_tasks);
    response->set_exhausted(broker_.dead_tasks == 0);
    return grpc::Status::OK;
  }
  grpc::Status PurgeDeadTasks(grpc::ServerContext*, const v1::PurgeDeadTasksRequest* request,
                              v1::PurgeDeadTasksResponse* response) override {
    RETURN_IF_FAILED(PurgeDeadTasks);
    response->set_purged(TakeDead(request->limit()));
    response->set_remaining(broker_.dead_tasks);
    response->set_exhausted(broker_.dead_tasks == 0);
    return grpc::Status::OK;
  }
  grpc::Status CreateBackup(grpc::ServerContext*, const v1::CreateBackupRequest* request,
                            grpc::ServerWriter<v1::CreateBackupResponse>* writer) override {
    RETURN_IF_FAILED(CreateBackup);
    v1::CreateBackupResponse response;
    response.mutable_progress()->set_copied_bytes(1 << 20);
    writer->Write(response);
    response.mutable_progress()->set_verifying(true);
    writer->Write(response);
    response.clear_progress();
    *response.mutable_backup() = broker_.backups.back();
    response.set_deleted(request->keep() == 0 ? 0 : 3);
    writer->Write(response);
    return grpc::Status::OK;
  }
  grpc::Status ListBackups(grpc::ServerContext*, const v1::ListBackupsRequest* request,
                           v1::ListBackupsResponse* response) override {
    RETURN_IF_FAILED(ListBackups);
    for (const v1::Backup& backup : broker_.backups) *response->add_backups() = backup;
    return grpc::Status::OK;
  }
  grpc::Status VerifyBackup(grpc::ServerContext*, const v1::VerifyBackupRequest* request,
                            v1::VerifyBackupResponse* response) override {
    RETURN_IF_FAILED(VerifyBackup);
    for (const v1::Backup& backup : broker_.backups) {
      if (backup.backup_id() == request->backup_id()) *response->mutable_backup() = backup;
    }
    return grpc::Status::OK;
  }
  grpc::Status DeleteBackup(grpc::ServerContext*, const v1::DeleteBackupRequest* request,
                            v1::DeleteBackupResponse*) override {
    RETURN_IF_FAILED(DeleteBackup);
    return grpc::Status::OK;
  }

 private:
  grpc::Status Find(const std::string& name, v1::Queue* out) const {
    for (const v1::Queue& queue : broker_.queues) {
      if (queue.name() != name) continue;
      *out = queue;
      return grpc::Status::OK;
    }
    return ToGrpc(absl::NotFoundError("there is no queue " + name));
  }
  uint64_t TakeDead(int limit) {
    const uint64_t taken = std::min(broker_.dead_tasks, static_cast<uint64_t>(limit));
    broker_.dead_tasks -= taken;
    return taken;
  }

  FakeBroker& broker_;
};

class FakeBroker::Tasks : public v1::TaskService::Service {
 public:
  explicit Tasks(FakeBroker& broker) : broker_(broker) {}

  grpc::Status Enqueue(grpc::ServerContext*, const v1::EnqueueRequest* request,
                       v1::EnqueueResponse* response) override {
    RETURN_IF_FAILED(Enqueue);
    response->mutable_result()->set_task_id(broker_.next_task_id);
    return grpc::Status::OK;
  }
  // Refuses frames with a task whose payload is "bad".
  grpc::Status EnqueueStream(
      grpc::ServerContext*,
      grpc::ServerReaderWriter<v1::EnqueueStreamResponse, v1::EnqueueStreamRequest>* stream) override {
    v1::EnqueueStreamRequest frame;
    for (uint32_t slot = 0; stream->Read(&frame);) {
      v1::EnqueueStreamResponse response;
      response.set_frame_number(frame.frame_number());
      const bool bad = std::any_of(frame.tasks().begin(), frame.tasks().end(),
                                   [](const v1::TaskSpec& task) { return task.payload() == "bad"; });
      if (bad) {
        response.set_error_code(static_cast<int>(absl::StatusCode::kInvalidArgument));
        response.set_error_message("tasks[0].payload: is bad");
      } else {
        for (int i = 0; i < frame.tasks_size(); ++i)
          response.add_results()->set_task_id(TaskId(0, 1, slot++).ToString());
      }
      if (!stream->Write(response)) break;
    }
    return grpc::Status::OK;
  }
  grpc::Status GetTask(grpc::ServerContext*, const v1::GetTaskRequest* request,
                       v1::GetTaskResponse* response) override {
    RETURN_IF_FAILED(GetTask);
    const grpc::Status found = Find(request->task_id(), response->mutable_task());
    if (!request->include_payload()) {
      response->mutable_task()->mutable_spec()->clear_payload();
      response->mutable_task()->clear_checkpoint();
    }
    return found;
  }
  grpc::Status ListTasks(grpc::ServerContext*, const v1::ListTasksRequest* request,
                         v1::ListTasksResponse* response) override {
    RETURN_IF_FAILED(ListTasks);
    std::vector<v1::Task> found;
    for (const v1::Task& task : broker_.tasks) {
      const v1::TaskFilter& filter = request->filter();
      if (task.spec().queue() != filter.queue()) continue;
      const auto& states = filter.states();
      if (!states.empty() && std::find(states.begin(), states.end(), task.state()) == states.end()) continue;
      found.push_back(task);
      found.back().clear_attempts();
      found.back().clear_result();
      found.back().mutable_spec()->clear_payload();
      found.back().clear_checkpoint();
    }
    response->set_next_page_token(FillPage(found, request->page_token(), request->page_size(),
                                           [&](const v1::Task& task) { *response->add_tasks() = task; }));
    return grpc::Status::OK;
  }
  // Waits for nothing: tasks do not change.
  grpc::Status WaitTask(grpc::ServerContext* context, const v1::WaitTaskRequest* request,
                        v1::WaitTaskResponse* response) override {
    RETURN_IF_FAILED(WaitTask);
    const grpc::Status found = Find(request->task_id(), response->mutable_task());
    response->set_finished(IsFinished(response->task()));
    // Nothing happens to the tasks here.
    const absl::Time until =
        absl::Now() + absl::Seconds(request->timeout().seconds()) + absl::Nanoseconds(request->timeout().nanos());
    while (found.ok() && !response->finished() && absl::Now() < until && !context->IsCancelled()) {
      if (const absl::Status failure = broker_.FailureOf("WaitTask"); !failure.ok()) return ToGrpc(failure);
      absl::SleepFor(absl::Milliseconds(1));
    }
    return found;
  }
  grpc::Status ListTaskLogLines(grpc::ServerContext*, const v1::ListTaskLogLinesRequest* request,
                                v1::ListTaskLogLinesResponse* response) override {
    RETURN_IF_FAILED(ListTaskLogLines);
    const std::vector<v1::LogLine>& lines = broker_.log_lines[request->task_id()];
    for (size_t i = request->after_position(); i < lines.size(); ++i) *response->add_lines() = lines[i];
    response->set_last_position(lines.size());
    return grpc::Status::OK;
  }
  grpc::Status ExplainTask(grpc::ServerContext*, const v1::ExplainTaskRequest* request,
                           v1::ExplainTaskResponse* response) override {
    RETURN_IF_FAILED(ExplainTask);
    auto found = broker_.explains.find(request->task_id());
    if (found == broker_.explains.end()) return ToGrpc(absl::NotFoundError("there is no task " + request->task_id()));
    *response = found->second;
    return grpc::Status::OK;
  }
  // Tells what there is and ends.
  grpc::Status SubscribeTasks(grpc::ServerContext*, const v1::SubscribeTasksRequest* request,
                              grpc::ServerWriter<v1::SubscribeTasksResponse>* writer) override {
    RETURN_IF_FAILED(SubscribeTasks);
    writer->Write(v1::SubscribeTasksResponse());
    for (const v1::SubscribeTasksResponse& response : broker_.events) writer->Write(response);
    return grpc::Status::OK;
  }
  grpc::Status CancelTask(grpc::ServerContext*, const v1::CancelTaskRequest* request,
                          v1::CancelTaskResponse* response) override {
    RETURN_IF_FAILED(CancelTask);
    v1::Task task;
    const grpc::Status found = Find(request->task_id(), &task);
    if (!found.ok()) return found;
    if (IsFinished(task)) return ToGrpc(absl::FailedPreconditionError("the task is finished"));
    response->set_state(task.state() == v1::TASK_STATE_RUNNING ? task.state() : v1::TASK_STATE_CANCELLED);
    return grpc::Status::OK;
  }
  grpc::Status RetryTask(grpc::ServerContext*, const v1::RetryTaskRequest* request, v1::RetryTaskResponse*) override {
    RETURN_IF_FAILED(RetryTask);
    v1::Task task;
    return Find(request->task_id(), &task);
  }
  // Its next revision, due as it was.
  grpc::Status UpdateTask(grpc::ServerContext*, const v1::UpdateTaskRequest* request,
                          v1::UpdateTaskResponse* response) override {
    RETURN_IF_FAILED(UpdateTask);
    v1::Task task;
    const grpc::Status found = Find(request->task_id(), &task);
    if (!found.ok()) return found;
    if (IsFinished(task)) return ToGrpc(absl::FailedPreconditionError("the task is finished"));
    response->set_revision(task.revision() + 1);
    *response->mutable_run_time() = task.run_time();
    return grpc::Status::OK;
  }
  grpc::Status DeleteTask(grpc::ServerContext*, const v1::DeleteTaskRequest* request,
                          v1::DeleteTaskResponse*) override {
    RETURN_IF_FAILED(DeleteTask);
    v1::Task task;
    return Find(request->task_id(), &task);
  }

 private:
  grpc::Status Find(const std::string& id, v1::Task* out) const {
    for (const v1::Task& task : broker_.tasks) {
      if (task.task_id() != id) continue;
      *out = task;
      return grpc::Status::OK;
    }
    return ToGrpc(absl::NotFoundError("there is no task " + id));
  }

  FakeBroker& broker_;
};

class FakeBroker::Bulk : public v1::BulkService::Service {
 public:
  explicit Bulk(FakeBroker& broker) : broker_(broker) {}

  // The last of the jobs, as it was when it began.
  grpc::Status StartBulkJob(grpc::ServerContext*, const v1::StartBulkJobRequest* request,
                            v1::StartBulkJobResponse* response) override {
    // Ids of requests are random.
    v1::StartBulkJobRequest told = *request;
    told.clear_request_id();
    if (absl::Status refused = broker_.OnCall("StartBulkJob", told); !refused.ok()) return ToGrpc(refused);
    *response->mutable_job()->mutable_spec() = request->spec();
    response->mutable_job()->set_job_id(broker_.bulk_jobs.back().job_id());
    response->mutable_job()->set_state(v1::BULK_JOB_STATE_RUNNING);
    return grpc::Status::OK;
  }
  grpc::Status GetBulkJob(grpc::ServerContext*, const v1::GetBulkJobRequest* request,
                          v1::GetBulkJobResponse* response) override {
    RETURN_IF_FAILED(GetBulkJob);
    return Find(request->job_id(), response->mutable_job());
  }
  grpc::Status ListBulkJobs(grpc::ServerContext*, const v1::ListBulkJobsRequest* request,
                            v1::ListBulkJobsResponse* response) override {
    RETURN_IF_FAILED(ListBulkJobs);
    for (auto job = broker_.bulk_jobs.rbegin(); job != broker_.bulk_jobs.rend(); ++job) *response->add_jobs() = *job;
    return grpc::Status::OK;
  }
  grpc::Status StopBulkJob(grpc::ServerContext*, const v1::StopBulkJobRequest* request,
                           v1::StopBulkJobResponse* response) override {
    RETURN_IF_FAILED(StopBulkJob);
    const grpc::Status found = Find(request->job_id(), response->mutable_job());
    response->mutable_job()->set_state(v1::BULK_JOB_STATE_STOPPED);
    return found;
  }

 private:
  grpc::Status Find(const std::string& id, v1::BulkJob* out) const {
    for (const v1::BulkJob& job : broker_.bulk_jobs) {
      if (job.job_id() != id) continue;
      *out = job;
      return grpc::Status::OK;
    }
    return ToGrpc(absl::NotFoundError("there is no bulk job " + id));
  }

  FakeBroker& broker_;
};

class FakeBroker::Schedules : public v1::ScheduleService::Service {
 public:
  explicit Schedules(FakeBroker& broker) : broker_(broker) {}

  grpc::Status CreateSchedule(grpc::ServerContext*, const v1::CreateScheduleRequest* request,
                              v1::CreateScheduleResponse* response) override {
    RETURN_IF_FAILED(CreateSchedule);
    *response->mutable_schedule() = request->schedule();
    return grpc::Status::OK;
  }
  grpc::Status UpdateSchedule(grpc::ServerContext*, const v1::UpdateScheduleRequest* request,
                              v1::UpdateScheduleResponse* response) override {
    RETURN_IF_FAILED(UpdateSchedule);
    return Find(request->name(), response->mutable_schedule());
  }
  grpc::Status GetSchedule(grpc::ServerContext*, const v1::GetScheduleRequest* request,
                           v1::GetScheduleResponse* response) override {
    RETURN_IF_FAILED(GetSchedule);
    return Find(request->name(), response->mutable_schedule());
  }
  grpc::Status ListSchedules(grpc::ServerContext*, const v1::ListSchedulesRequest* request,
                             v1::ListSchedulesResponse* response) override {
    RETURN_IF_FAILED(ListSchedules);
    response->set_next_page_token(
        FillPage(broker_.schedules, request->page_token(), request->page_size(),
                 [&](const v1::Schedule& schedule) { *response->add_schedules() = schedule; }));
    return grpc::Status::OK;
  }
  grpc::Status DeleteSchedule(grpc::ServerContext*, const v1::DeleteScheduleRequest* request,
                              v1::DeleteScheduleResponse*) override {
    RETURN_IF_FAILED(DeleteSchedule);
    v1::Schedule schedule;
    return Find(request->name(), &schedule);
  }
  grpc::Status PauseSchedule(grpc::ServerContext*, const v1::PauseScheduleRequest* request,
                             v1::PauseScheduleResponse* response) override {
    RETURN_IF_FAILED(PauseSchedule);
    return Find(request->name(), response->mutable_schedule());
  }
  grpc::Status ResumeSchedule(grpc::ServerContext*, const v1::ResumeScheduleRequest* request,
                              v1::ResumeScheduleResponse* response) override {
    RETURN_IF_FAILED(ResumeSchedule);
    return Find(request->name(), response->mutable_schedule());
  }
  grpc::Status RunScheduleNow(grpc::ServerContext*, const v1::RunScheduleNowRequest* request,
                              v1::RunScheduleNowResponse* response) override {
    RETURN_IF_FAILED(RunScheduleNow);
    v1::Schedule schedule;
    response->set_task_id(broker_.next_task_id);
    return Find(request->name(), &schedule);
  }
  grpc::Status PreviewSchedule(grpc::ServerContext*, const v1::PreviewScheduleRequest* request,
                               v1::PreviewScheduleResponse* response) override {
    RETURN_IF_FAILED(PreviewSchedule);
    response->add_ticks()->set_seconds(1'800'000'000);
    return grpc::Status::OK;
  }

 private:
  grpc::Status Find(const std::string& name, v1::Schedule* out) const {
    for (const v1::Schedule& schedule : broker_.schedules) {
      if (schedule.name() != name) continue;
      *out = schedule;
      return grpc::Status::OK;
    }
    return ToGrpc(absl::NotFoundError("there is no schedule " + name));
  }

  FakeBroker& broker_;
};

class FakeBroker::Throttles : public v1::ThrottleService::Service {
 public:
  explicit Throttles(FakeBroker& broker) : broker_(broker) {}

  grpc::Status CreateThrottle(grpc::ServerContext*, const v1::CreateThrottleRequest* request,
                              v1::CreateThrottleResponse* response) override {
    RETURN_IF_FAILED(CreateThrottle);
    *response->mutable_throttle() = request->throttle();
    return grpc::Status::OK;
  }
  grpc::Status UpdateThrottle(grpc::ServerContext*, const v1::UpdateThrottleRequest* request,
                              v1::UpdateThrottleResponse* response) override {
    RETURN_IF_FAILED(UpdateThrottle);
    return Find(request->name(), response->mutable_throttle());
  }
  grpc::Status GetThrottle(grpc::ServerContext*, const v1::GetThrottleRequest* request,
                           v1::GetThrottleResponse* response) override {
    RETURN_IF_FAILED(GetThrottle);
    return Find(request->name(), response->mutable_throttle());
  }
  grpc::Status ListThrottles(grpc::ServerContext*, const v1::ListThrottlesRequest* request,
                             v1::ListThrottlesResponse* response) override {
    RETURN_IF_FAILED(ListThrottles);
    response->set_next_page_token(
        FillPage(broker_.throttles, request->page_token(), request->page_size(),
                 [&](const v1::Throttle& throttle) { *response->add_throttles() = throttle; }));
    return grpc::Status::OK;
  }
  grpc::Status DeleteThrottle(grpc::ServerContext*, const v1::DeleteThrottleRequest* request,
                              v1::DeleteThrottleResponse*) override {
    RETURN_IF_FAILED(DeleteThrottle);
    v1::Throttle throttle;
    return Find(request->name(), &throttle);
  }

 private:
  grpc::Status Find(const std::string& name, v1::Throttle* out) const {
    for (const v1::Throttle& throttle : broker_.throttles) {
      if (throttle.name() != name) continue;
      *out = throttle;
      return grpc::Status::OK;
    }
    return ToGrpc(absl::NotFoundError("there is no throttle " + name));
  }

  FakeBroker& broker_;
};

FakeBroker::FakeBroker()
    : admin_(std::make_unique<Admin>(*this)),
      task_service_(std::make_unique<Tasks>(*this)),
      bulk_(std::make_unique<Bulk>(*this)),
      schedules_(std::make_unique<Schedules>(*this)),
      throttles_(std::make_unique<Throttles>(*this)) {
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
  builder.RegisterService(admin_.get());
  builder.RegisterService(task_service_.get());
  builder.RegisterService(bulk_.get());
  builder.RegisterService(schedules_.get());
  builder.RegisterService(throttles_.get());
  server_ = builder.BuildAndStart();
}

FakeBroker::~FakeBroker() { server_->Shutdown(std::chrono::system_clock::now()); }

std::vector<std::string> FakeBroker::Calls() const {
  MutexLock lock(mu_);
  return calls_;
}

void FakeBroker::Fail(const std::string& method, const absl::Status& failure) {
  MutexLock lock(mu_);
  failures_[method] = failure;
}

absl::Status FakeBroker::OnCall(const std::string& method, const google::protobuf::Message& request) {
  MutexLock lock(mu_);
  const std::string fields = request.ShortDebugString();
  calls_.push_back(fields.empty() ? method : absl::StrCat(method, " ", fields));
  return FailureOfLocked(method);
}

absl::Status FakeBroker::FailureOf(const std::string& method) const {
  MutexLock lock(mu_);
  return FailureOfLocked(method);
}

absl::Status FakeBroker::FailureOfLocked(const std::string& method) const {
  auto failure = failures_.find(method);
  return failure == failures_.end() ? absl::OkStatus() : failure->second;
}

}  // namespace penstock::testing
