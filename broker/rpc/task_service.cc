#include "broker/rpc/task_service.h"

#include <utility>

#include "broker/rpc/convert.h"
#include "broker/rpc/enqueue_stream.h"
#include "broker/rpc/fields.h"
#include "broker/rpc/list_tasks_call.h"
#include "broker/rpc/subscribe_stream.h"
#include "broker/rpc/task_reader.h"
#include "broker/rpc/unary.h"
#include "broker/rpc/update_task_call.h"
#include "broker/rpc/wait_call.h"
#include "broker/rpc/watch_stream.h"
#include "common/status.h"
#include "grpcpp/impl/codegen/proto_utils.h"
#include "grpcpp/support/byte_buffer.h"

namespace penstock::broker {
namespace {

// A stream that ends before it began.
class RefusedWatch final : public grpc::ServerWriteReactor<v1::WatchTaskResponse> {
 public:
  explicit RefusedWatch(const absl::Status& status) { Finish(ToGrpc(status)); }
  void OnDone() override { delete this; }
};

// An enqueue as it came: refused before it is parsed, if it would be refused anyway. `fill` makes the response.
template <class Request, class Response, class Fill>
grpc::ServerUnaryReactor* EnqueueAndAnswer(RpcContext& context, grpc::CallbackServerContext* call,
                                           const grpc::ByteBuffer& bytes, grpc::ByteBuffer* response, Fill fill) {
  using Command = absl::StatusOr<EnqueueCommand>;
  const auto answer = [&](Command command, size_t size) {
    return AskAndAnswer<EnqueueReply>(context, call, std::move(command), size,
                                      [response, fill](const EnqueueReply& reply) {
                                        Response message;
                                        fill(reply, &message);
                                        bool own = false;
                                        grpc::SerializationTraits<Response>::Serialize(message, response, &own);
                                      });
  };
  if (absl::Status status = context.door.MayEnqueue(bytes.Length(), PatienceOf(*call)); !status.ok()) {
    return answer(std::move(status), 0);
  }
  Request request;
  grpc::ByteBuffer slices = bytes;  // parsing takes them
  if (const grpc::Status parsed = grpc::SerializationTraits<Request>::Deserialize(&slices, &request); !parsed.ok()) {
    return answer(absl::InvalidArgumentError("the request is not a message of this method"), 0);
  }
  absl::StatusOr<Sized<EnqueueCommand>> sized = ToCommand(request, context.limits, context.WallNow());
  if (!sized.ok()) return answer(sized.status(), 0);
  return answer(std::move(sized->command), sized->bytes);
}

// Asks the core for a task, then calls `read` in the pool with what it said and a reader of the store as it then was.
template <class Read>
grpc::ServerUnaryReactor* ReadTask(RpcContext& context, grpc::CallbackServerContext* call, const std::string& task_id,
                                   Read read) {
  grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
  GetTaskCommand command;
  auto task = CheckTaskId(FieldPath("task_id"), task_id);
  if (!task.ok()) {
    FinishWith(reactor, task.status());
    return reactor;
  }
  command.task = *task;
  const auto on_reply = [&context, call, reactor, read](Reply reply) {
    auto* answer = std::get_if<TaskReply>(&reply.value);
    if (answer == nullptr) return FinishWith(reactor, reply.status);
    const absl::Status status =
        context.reads.Submit([&context, call, reactor, read, snapshot = std::move(answer->snapshot)] {
          // Reads are few at a time: none for those who are gone.
          if (call->IsCancelled()) return FinishWith(reactor, absl::CancelledError("the caller is gone"));
          std::unique_ptr<StoreReader> store = context.door.Snapshot();
          if (store == nullptr) return FinishWith(reactor, StoppingError());
          TaskReader reader(std::move(store), context.partition, context.WallNow());
          FinishWith(reactor, read(snapshot, &reader));
        });
    if (!status.ok()) FinishWith(reactor, status);
  };
  Ask(context.door, context.tickets, command, kSmallCommandBytes, on_reply, PatienceOf(*call));
  return reactor;
}

}  // namespace

grpc::ServerUnaryReactor* TaskService::Enqueue(grpc::CallbackServerContext* call, const grpc::ByteBuffer* request,
                                               grpc::ByteBuffer* response) {
  return EnqueueAndAnswer<v1::EnqueueRequest, v1::EnqueueResponse>(
      context_, call, *request, response, [](const EnqueueReply& reply, v1::EnqueueResponse* message) {
        for (const EnqueueResult& result : reply.results) ToProto(result, message->mutable_result());
      });
}

grpc::ServerUnaryReactor* TaskService::EnqueueMany(grpc::CallbackServerContext* call, const grpc::ByteBuffer* request,
                                                   grpc::ByteBuffer* response) {
  return EnqueueAndAnswer<v1::EnqueueManyRequest, v1::EnqueueManyResponse>(
      context_, call, *request, response, [](const EnqueueReply& reply, v1::EnqueueManyResponse* message) {
        for (const EnqueueResult& result : reply.results) ToProto(result, message->add_results());
      });
}

grpc::ServerBidiReactor<v1::EnqueueStreamRequest, v1::EnqueueStreamResponse>* TaskService::EnqueueStream(
    grpc::CallbackServerContext* call) {
  return broker::EnqueueStream::Start(context_);
}

grpc::ServerUnaryReactor* TaskService::GetTask(grpc::CallbackServerContext* call, const v1::GetTaskRequest* request,
                                               v1::GetTaskResponse* response) {
  const TaskParts parts = {.payload = request->include_payload(), .attempts = true, .result = true};
  return ReadTask(context_, call, request->task_id(),
                  [response, parts](const TaskSnapshot& snapshot, TaskReader* reader) {
                    return reader->Read(snapshot, parts, response->mutable_task());
                  });
}

grpc::ServerUnaryReactor* TaskService::ListTasks(grpc::CallbackServerContext* call, const v1::ListTasksRequest* request,
                                                 v1::ListTasksResponse* response) {
  grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
  StartListTasks(context_, *request, response, reactor);
  return reactor;
}

grpc::ServerUnaryReactor* TaskService::WaitTask(grpc::CallbackServerContext* call, const v1::WaitTaskRequest* request,
                                                v1::WaitTaskResponse* response) {
  absl::StatusOr<Span> timeout = context_.limits.wait_max;
  if (request->has_timeout()) {
    timeout = CheckSpan(FieldPath("timeout"), request->timeout(), 0, context_.limits.wait_max);
  }
  const auto task = CheckTaskId(FieldPath("task_id"), request->task_id());
  if (!task.ok() || !timeout.ok()) {
    grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
    FinishWith(reactor, task.ok() ? timeout.status() : task.status());
    return reactor;
  }
  return WaitCall::Start(context_, *task, ToDuration(*timeout), response);
}

grpc::ServerWriteReactor<v1::WatchTaskResponse>* TaskService::WatchTask(grpc::CallbackServerContext* call,
                                                                        const v1::WatchTaskRequest* request) {
  const auto task = CheckTaskId(FieldPath("task_id"), request->task_id());
  if (!task.ok()) return new RefusedWatch(task.status());
  return WatchStream::Start(context_, *task);
}

grpc::ServerUnaryReactor* TaskService::ExplainTask(grpc::CallbackServerContext* call,
                                                   const v1::ExplainTaskRequest* request,
                                                   v1::ExplainTaskResponse* response) {
  return AskAndAnswer<ExplainReply>(context_, call, ToCommand(*request), kSmallCommandBytes,
                                    [response](const ExplainReply& reply) { ToProto(reply, response); });
}

grpc::ServerWriteReactor<v1::SubscribeTasksResponse>* TaskService::SubscribeTasks(
    grpc::CallbackServerContext* call, const v1::SubscribeTasksRequest* request) {
  return SubscribeStream::Start(context_, *request);
}

grpc::ServerUnaryReactor* TaskService::ListTaskLogLines(grpc::CallbackServerContext* call,
                                                        const v1::ListTaskLogLinesRequest* request,
                                                        v1::ListTaskLogLinesResponse* response) {
  const uint64_t after_position = request->after_position();
  return ReadTask(context_, call, request->task_id(),
                  [response, after_position](const TaskSnapshot& snapshot, TaskReader* reader) {
                    v1::Task task;  // only whether there is one
                    RETURN_IF_ERROR(reader->Read(snapshot, {}, &task));
                    return reader->ReadLog(snapshot.task, after_position, response);
                  });
}

grpc::ServerUnaryReactor* TaskService::CancelTask(grpc::CallbackServerContext* call,
                                                  const v1::CancelTaskRequest* request,
                                                  v1::CancelTaskResponse* response) {
  return AskAndAnswer<CancelReply>(context_, call, ToCommand(*request, context_.limits), kSmallCommandBytes,
                                   [response](CancelReply reply) { response->set_state(ToProto(reply.state)); });
}

grpc::ServerUnaryReactor* TaskService::UpdateTask(grpc::CallbackServerContext* call,
                                                  const v1::UpdateTaskRequest* request,
                                                  v1::UpdateTaskResponse* response) {
  grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
  UpdateTaskCall::Start(context_, *request, response, reactor);
  return reactor;
}

grpc::ServerUnaryReactor* TaskService::DeleteTask(grpc::CallbackServerContext* call,
                                                  const v1::DeleteTaskRequest* request, v1::DeleteTaskResponse*) {
  return AskForStatus(context_, call, ToCommand(*request));
}

grpc::ServerUnaryReactor* TaskService::RetryTask(grpc::CallbackServerContext* call, const v1::RetryTaskRequest* request,
                                                 v1::RetryTaskResponse* response) {
  return AskAndAnswer<RetryReply>(
      context_, call, ToCommand(*request), kSmallCommandBytes,
      [response](RetryReply reply) { SetTimestamp(reply.run_time, response->mutable_run_time()); });
}

}  // namespace penstock::broker
