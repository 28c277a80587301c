#ifndef PENSTOCK_BROKER_RPC_UNARY_H_
#define PENSTOCK_BROKER_RPC_UNARY_H_

// Unary calls that ask the core one question. gRPC owns their reactor, request and response until Finish, which comes
// with the reply, whether or not the caller is still there.

#include <chrono>
#include <type_traits>
#include <utility>
#include <variant>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "broker/rpc/rpc_context.h"
#include "common/status_grpc.h"
#include "grpcpp/support/server_callback.h"

namespace penstock::broker {

// How long the caller waits yet.
inline absl::Duration PatienceOf(const grpc::CallbackServerContext& call) {
  const auto deadline = call.deadline();
  if (deadline == std::chrono::system_clock::time_point::max()) return absl::InfiniteDuration();
  return absl::FromChrono(deadline) - absl::Now();
}

// Ends the call.
inline void FinishWith(grpc::ServerUnaryReactor* reactor, const absl::Status& status) {
  reactor->Finish(ToGrpc(status));
}

// Posts the command and calls `fill` with the reply's value before it answers; or refuses at once. With std::monostate
// for Value the call has nothing to answer but its status.
template <class Value, class CommandType, class Fill>
grpc::ServerUnaryReactor* AskAndAnswer(RpcContext& context, grpc::CallbackServerContext* call,
                                       absl::StatusOr<CommandType> command, size_t bytes, Fill fill) {
  grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
  if (!command.ok()) {
    FinishWith(reactor, command.status());
    return reactor;
  }
  Ask(
      context.door, context.tickets, *std::move(command), bytes,
      [reactor, fill = std::move(fill)](Reply reply) {
        if constexpr (!std::is_same_v<Value, std::monostate>) {
          auto* value = std::get_if<Value>(&reply.value);
          if (reply.status.ok() && value == nullptr) {
            reply.status = absl::InternalError("the core gave another answer");
          }
          if (reply.status.ok()) fill(std::move(*value));
        }
        FinishWith(reactor, reply.status);
      },
      PatienceOf(*call));
  return reactor;
}

template <class CommandType>
grpc::ServerUnaryReactor* AskForStatus(RpcContext& context, grpc::CallbackServerContext* call,
                                       absl::StatusOr<CommandType> command) {
  return AskAndAnswer<std::monostate>(context, call, std::move(command), kSmallCommandBytes, [] {});
}

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_UNARY_H_
