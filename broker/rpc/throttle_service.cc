#include "broker/rpc/throttle_service.h"

#include <memory>
#include <utility>

#include "broker/rpc/convert_throttle.h"
#include "broker/rpc/task_reader.h"
#include "broker/rpc/unary.h"
#include "common/status.h"

namespace penstock::broker {
namespace {

// The names of groups and keys, which only tasks tell.
absl::Status FillScopes(RpcContext& context, const ThrottleView& throttle, v1::Throttle* out) {
  std::unique_ptr<StoreReader> store = context.door.Snapshot();
  if (store == nullptr) return StoppingError();
  TaskReader reader(std::move(store), context.partition, context.WallNow());
  for (size_t i = 0; i < throttle.meters.size(); ++i) {
    if (throttle.meters[i].sample.empty()) continue;
    v1::Task task;
    const absl::Status status = reader.ReadStored(throttle.meters[i].sample, {}, &task);
    if (absl::IsNotFound(status)) continue;  // finished meanwhile
    RETURN_IF_ERROR(status);
    const bool key = throttle.definition.per == ThrottlePer::kKey;
    out->mutable_meters(static_cast<int>(i))->set_scope(key ? task.spec().key() : task.spec().group());
  }
  return absl::OkStatus();
}

template <class Response>
grpc::ServerUnaryReactor* AnswerThrottle(RpcContext& context, grpc::CallbackServerContext* call,
                                         absl::StatusOr<ThrottleCommand> command, Response* response) {
  grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
  if (!command.ok()) {
    FinishWith(reactor, command.status());
    return reactor;
  }
  Ask(context.door, context.tickets, *std::move(command), kSmallCommandBytes,
      [&context, reactor, response](Reply reply) {
        auto* value = std::get_if<ThrottleReply>(&reply.value);
        if (value == nullptr) return FinishWith(reactor, reply.status);
        ToProto(value->throttle, response->mutable_throttle());
        const absl::Status status =
            context.reads.Submit([&context, reactor, response, throttle = std::move(value->throttle)] {
              FinishWith(reactor, FillScopes(context, throttle, response->mutable_throttle()));
            });
        if (!status.ok()) FinishWith(reactor, status);
      });
  return reactor;
}

}  // namespace

grpc::ServerUnaryReactor* ThrottleService::CreateThrottle(grpc::CallbackServerContext* call,
                                                          const v1::CreateThrottleRequest* request,
                                                          v1::CreateThrottleResponse* response) {
  return AnswerThrottle(context_, call, ToCommand(*request, context_.limits), response);
}

grpc::ServerUnaryReactor* ThrottleService::UpdateThrottle(grpc::CallbackServerContext* call,
                                                          const v1::UpdateThrottleRequest* request,
                                                          v1::UpdateThrottleResponse* response) {
  return AnswerThrottle(context_, call, ToCommand(*request, context_.limits), response);
}

grpc::ServerUnaryReactor* ThrottleService::GetThrottle(grpc::CallbackServerContext* call,
                                                       const v1::GetThrottleRequest* request,
                                                       v1::GetThrottleResponse* response) {
  return AnswerThrottle(context_, call, ToThrottleCommand(ThrottleVerb::kGet, request->name(), context_.limits),
                        response);
}

grpc::ServerUnaryReactor* ThrottleService::ListThrottles(grpc::CallbackServerContext* call,
                                                         const v1::ListThrottlesRequest* request,
                                                         v1::ListThrottlesResponse* response) {
  return AskAndAnswer<ThrottlesReply>(context_, call, ToCommand(*request, context_.limits), kSmallCommandBytes,
                                      [response](ThrottlesReply reply) {
                                        for (const ThrottleView& throttle : reply.throttles)
                                          ToProto(throttle, response->add_throttles());
                                        if (reply.more) response->set_next_page_token(reply.throttles.back().name);
                                      });
}

grpc::ServerUnaryReactor* ThrottleService::DeleteThrottle(grpc::CallbackServerContext* call,
                                                          const v1::DeleteThrottleRequest* request,
                                                          v1::DeleteThrottleResponse*) {
  return AskForStatus(context_, call, ToThrottleCommand(ThrottleVerb::kDelete, request->name(), context_.limits));
}

}  // namespace penstock::broker
