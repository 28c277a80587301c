// The client that talks to a broker.

#include <atomic>
#include <fstream>
#include <sstream>
#include <thread>
#include <utility>

#include "client/backoff.h"
#include "client/call_status.h"
#include "client/callback_scope.h"
#include "client/client.h"
#include "client/enqueue_stream.h"
#include "client/grpc_bulk.h"
#include "client/grpc_schedules.h"
#include "client/grpc_subscriber.h"
#include "client/grpc_throttles.h"
#include "client/retry_budget.h"
#include "client/task_spec.h"
#include "client/wait_calls.h"
#include "common/mutex.h"
#include "common/status.h"
#include "common/status_grpc.h"
#include "fmt/format.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"

namespace penstock {
namespace {

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream content;
  if (!(content << file.rdbuf())) return absl::InvalidArgumentError("cannot read " + path);
  return content.str();
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeCredentials(const ClientOptions& options) {
  if (options.ca_file.empty()) return grpc::InsecureChannelCredentials();
  grpc::SslCredentialsOptions ssl;
  ASSIGN_OR_RETURN(ssl.pem_root_certs, ReadFile(options.ca_file));
  if (!options.cert_file.empty()) {
    ASSIGN_OR_RETURN(ssl.pem_cert_chain, ReadFile(options.cert_file));
    ASSIGN_OR_RETURN(ssl.pem_private_key, ReadFile(options.key_file));
  }
  return grpc::SslCredentials(ssl);
}

// The status of a call for one task, which is a frame's first: for its caller its field is "payload", not
// "tasks[0].payload".
absl::Status OfOneTask(const absl::Status& status) {
  constexpr std::string_view kPrefix = "tasks[0].";
  const std::string field = FieldOf(status);
  if (field.compare(0, kPrefix.size(), kPrefix) != 0) return status;
  std::string problem(status.message());
  if (problem.compare(0, field.size() + 2, field + ": ") == 0) problem.erase(0, field.size() + 2);
  absl::Status renamed = InvalidField(field.substr(kPrefix.size()), problem);
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) {
    if (!renamed.GetPayload(url)) renamed.SetPayload(url, payload);
  });
  return renamed;
}

// Runs a callback of the user's on the caller's thread, under the same rules as on ours.
template <class Callback, class Result>
void CallBack(const Callback& done, Result result) {
  CallbackScope scope;
  done(std::move(result));
}

class GrpcClient : public Client {
 public:
  using Connect = WaitCalls::Connect;

  GrpcClient(const ClientOptions& options, const Connect& connect) : GrpcClient(options, connect(), connect) {}
  ~GrpcClient() override {
    // A callback of one may call the other.
    stream_.Stop();
    waits_.Stop();
  }

  void EnqueueAsync(NewTask task, EnqueueCallback done) override {
    const absl::Time deadline = DeadlineOf(task.options.timeout);
    std::vector<v1::TaskSpec> tasks(1);
    if (absl::Status status = FillTaskSpec(std::move(task), &tasks[0]); !status.ok()) {
      return CallBack(done, std::move(status));
    }
    stream_.Add(std::move(tasks), deadline,
                [done = std::move(done)](absl::StatusOr<std::vector<EnqueueResult>> results) {
                  if (!results.ok()) return done(OfOneTask(results.status()));
                  if (results->size() != 1) return done(absl::InternalError("the broker answered with no result"));
                  done(results->front());
                });
  }

  void EnqueueManyAsync(std::vector<NewTask> tasks, EnqueueManyCallback done) override {
    if (tasks.empty() || tasks.size() > 10'000) return CallBack(done, InvalidField("tasks", "must be 1 to 10,000"));
    const absl::Time deadline = DeadlineOf(tasks[0].options.timeout);
    std::vector<v1::TaskSpec> specs(tasks.size());
    for (size_t i = 0; i < tasks.size(); ++i) {
      if (absl::Status status = FillTaskSpec(std::move(tasks[i]), &specs[i]); !status.ok()) {
        return CallBack(done, Annotate(status, fmt::format("tasks[{}]", i)));
      }
    }
    stream_.Add(std::move(specs), deadline, std::move(done));
  }

  void WaitAsync(TaskId id, absl::Duration timeout, WaitCallback done) override {
    waits_.Add(id, absl::Now() + timeout, std::move(done));
  }

  absl::StatusOr<TaskInfo> GetTask(TaskId id, bool include_payload) override {
    v1::GetTaskRequest request;
    request.set_task_id(id.ToString());
    request.set_include_payload(include_payload);
    v1::GetTaskResponse response;
    RETURN_IF_ERROR(Call([&](grpc::ClientContext* context) { return stub_->GetTask(context, request, &response); }));
    return ToTaskInfo(std::move(*response.mutable_task()));
  }

  std::shared_ptr<void> Watch(TaskId id, WatchCallback changed) override {
    return std::make_shared<Watcher>(stub_, id, std::move(changed));
  }

  std::shared_ptr<void> Subscribe(const std::string& queue, const SubscribeOptions& options,
                                  SubscribeCallback told) override {
    return std::make_shared<GrpcSubscriber>(options_, stub_, queue, options, std::move(told));
  }

  absl::StatusOr<TaskExplanation> ExplainTask(TaskId id) override {
    v1::ExplainTaskRequest request;
    request.set_task_id(id.ToString());
    v1::ExplainTaskResponse response;
    RETURN_IF_ERROR(
        Call([&](grpc::ClientContext* context) { return stub_->ExplainTask(context, request, &response); }));
    return ToExplanation(response);
  }

  absl::StatusOr<bool> CancelTask(TaskId id, const std::string& reason) override {
    v1::CancelTaskRequest request;
    request.set_task_id(id.ToString());
    request.set_reason(reason);
    v1::CancelTaskResponse response;
    RETURN_IF_ERROR(Call([&](grpc::ClientContext* context) { return stub_->CancelTask(context, request, &response); }));
    return response.state() == v1::TASK_STATE_CANCELLED;
  }

  absl::Status RetryTask(TaskId id) override {
    v1::RetryTaskRequest request;
    request.set_task_id(id.ToString());
    v1::RetryTaskResponse response;
    return Call([&](grpc::ClientContext* context) { return stub_->RetryTask(context, request, &response); });
  }

  absl::StatusOr<ChangedTask> UpdateTask(TaskId id, const TaskChange& change) override {
    v1::UpdateTaskRequest request;
    RETURN_IF_ERROR(FillUpdate(id, change, &request));
    v1::UpdateTaskResponse response;
    RETURN_IF_ERROR(Call([&](grpc::ClientContext* context) { return stub_->UpdateTask(context, request, &response); }));
    return ToChangedTask(response);
  }

  absl::Status DeleteTask(TaskId id) override {
    v1::DeleteTaskRequest request;
    request.set_task_id(id.ToString());
    v1::DeleteTaskResponse response;
    return Call([&](grpc::ClientContext* context) { return stub_->DeleteTask(context, request, &response); });
  }

  absl::StatusOr<TaskPage> ListTasks(const TaskFilter& filter, int page_size, const std::string& page_token) override {
    v1::ListTasksRequest request;
    FillTaskFilter(filter, request.mutable_filter());
    request.set_page_size(page_size);
    request.set_page_token(page_token);
    v1::ListTasksResponse response;
    RETURN_IF_ERROR(Call([&](grpc::ClientContext* context) { return stub_->ListTasks(context, request, &response); }));
    TaskPage page;
    for (v1::Task& task : *response.mutable_tasks()) page.tasks.push_back(ToTaskInfo(std::move(task)));
    page.next_page_token = response.next_page_token();
    return page;
  }

  BulkClient& Bulk() override { return bulk_; }
  ScheduleClient& Schedules() override { return schedules_; }
  ThrottleClient& Throttles() override { return throttles_; }

 private:
  // A thread that reads a watch until it is over.
  class Watcher {
   public:
    Watcher(std::shared_ptr<v1::TaskService::Stub> stub, TaskId id, WatchCallback changed)
        : call_(std::make_shared<WatchCall>()),
          thread_([call = call_, stub = std::move(stub), id, changed = std::move(changed)] {
            Read(*call, *stub, id, changed);
          }) {}
    ~Watcher() {
      // In this order: the reading thread must not take our own cancellation for an error to tell of.
      call_->stopped = true;
      call_->context.TryCancel();
      if (thread_.get_id() == std::this_thread::get_id()) {
        thread_.detach();  // Destroyed by the callback itself.
      } else {
        thread_.join();
      }
    }

   private:
    struct WatchCall {
      grpc::ClientContext context;
      std::atomic<bool> stopped = false;
    };

    static void Read(WatchCall& call, v1::TaskService::Stub& stub, TaskId id, const WatchCallback& changed) {
      v1::WatchTaskRequest request;
      request.set_task_id(id.ToString());
      auto reader = stub.WatchTask(&call.context, request);
      bool finished = false;
      v1::WatchTaskResponse response;
      while (reader->Read(&response)) {
        absl::StatusOr<TaskInfo> task = ToTaskInfo(std::move(*response.mutable_task()));
        finished = task.ok() && task->finished();
        if (!call.stopped) changed(std::move(task));
      }
      const absl::Status status = CallStatus(reader->Finish());
      if (!status.ok() && !finished && !call.stopped) changed(status);
    }

    const std::shared_ptr<WatchCall> call_;  // Shared with the thread, which may outlive the handle.
    std::thread thread_;
  };

  absl::Time DeadlineOf(absl::Duration timeout) const {
    return absl::Now() + (timeout > absl::ZeroDuration() ? timeout : options_.timeout);
  }

  GrpcClient(const ClientOptions& options, const std::shared_ptr<grpc::Channel>& channel, const Connect& connect)
      : options_(options),
        stub_(v1::TaskService::NewStub(channel)),
        schedules_(channel,
                   [this](GrpcSchedules::IfAway if_away, const GrpcSchedules::Rpc& rpc) { return Call(rpc, if_away); }),
        throttles_(channel, [this](const GrpcThrottles::Rpc& rpc) { return Call(rpc); }),
        bulk_(channel, [this](const GrpcBulk::Rpc& rpc) { return Call(rpc); }),
        waits_(options, channel, connect),
        stream_(options, channel) {}

  // Makes a call, and with kWait makes it again, until its time is up, while the broker is away or busy.
  template <class Rpc>
  absl::Status Call(Rpc rpc, GrpcSchedules::IfAway if_away = GrpcSchedules::IfAway::kRepeat) {
    RETURN_IF_ERROR(CallbackScope::CheckMayBlock());
    const absl::Time deadline = absl::Now() + options_.timeout;
    {
      MutexLock lock(budget_mu_);
      budget_.OnCall();
    }
    absl::Status status;
    for (int failures = 1;; ++failures) {
      grpc::ClientContext context;
      context.set_deadline(absl::ToChronoTime(deadline));
      context.set_wait_for_ready(options_.when_unavailable == WhenUnavailable::kWait);
      const bool was_refused = IsRefusedForNow(status);
      status = CallStatus(rpc(&context));
      const bool refused = IsRefusedForNow(status);
      if (was_refused && !refused) {
        MutexLock lock(budget_mu_);
        budget_.OnTaken();
      }
      const bool fail_fast = options_.when_unavailable == WhenUnavailable::kFailFast;
      const absl::Duration pause = RetryPause(options_, failures, status);
      if (refused) {
        // Nothing was done, so that it may be made again whatever it is; but not too often.
        if (fail_fast || !PauseBeforeRepetition(pause, deadline)) return status;
        continue;
      }
      if (!absl::IsUnavailable(status)) return status;
      const absl::Status away = Annotate(status, "broker at " + options_.broker);
      if (fail_fast || if_away == GrpcSchedules::IfAway::kGiveUp) return away;
      if (absl::Now() + pause >= deadline) return absl::DeadlineExceededError(away.message());
      absl::SleepFor(pause);
    }
  }

  // Waits for the pause, and then until the budget has a repetition. False: that would be too late.
  bool PauseBeforeRepetition(absl::Duration pause, absl::Time deadline) {
    while (absl::Now() + pause < deadline) {
      absl::SleepFor(pause);
      MutexLock lock(budget_mu_);
      if (budget_.Take(absl::Now())) return true;
      pause = budget_.UntilNext();
    }
    return false;
  }

  const ClientOptions options_;
  const std::shared_ptr<v1::TaskService::Stub> stub_;
  Mutex budget_mu_;
  RetryBudget budget_ ABSL_GUARDED_BY(budget_mu_);
  GrpcSchedules schedules_;
  GrpcThrottles throttles_;
  GrpcBulk bulk_;
  WaitCalls waits_;
  EnqueueStream stream_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Client>> Client::Connect(const ClientOptions& options) {
  RETURN_IF_ERROR(options.Validate());
  ASSIGN_OR_RETURN(std::shared_ptr<grpc::ChannelCredentials> credentials, MakeCredentials(options));
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(64 << 20);
  // A dead connection is noticed within 15 s, even when nothing is under way.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 10'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 5'000);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS,
                   static_cast<int>(absl::ToInt64Milliseconds(options.reconnect_max)));
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS,
                   static_cast<int>(absl::ToInt64Milliseconds(options.reconnect_min)));
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS,
                   static_cast<int>(absl::ToInt64Milliseconds(options.reconnect_min)));
  // Channels do not share a connection: each client of a process has its own flow.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return std::make_unique<GrpcClient>(options, [broker = options.broker, credentials, arguments] {
    return grpc::CreateCustomChannel(broker, credentials, arguments);
  });
}

}  // namespace penstock
