#ifndef PENSTOCK_BROKER_RPC_TASK_SOURCE_H_
#define PENSTOCK_BROKER_RPC_TASK_SOURCE_H_

#include <cstddef>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "broker/core/command.h"
#include "broker/core/effects.h"
#include "broker/rpc/rpc_context.h"
#include "broker/rpc/task_reader.h"

namespace penstock::broker {

// Where whoever reads many tasks gets them: the core, which is asked by commands, and the store. The edge's is made by
// TaskSourceOf; the simulation has one of its own.
class TaskSource {
 public:
  virtual ~TaskSource() = default;

  // Posts `command` under a ticket of its own, and calls `done` once with its reply, or with why it was not taken. Must
  // not be called with a lock held: `done` may come at once.
  virtual void Ask(Command command, size_t bytes, std::function<void(Reply)> done) = 0;

  // Runs `read` soon, once, where reading may take a while, with the store as it is then; null: no engine runs. The
  // reader is to be kept for a moment only. ResourceExhausted, Unavailable: it does not run.
  virtual absl::Status Read(std::function<void(std::unique_ptr<TaskReader> reader)> read) = 0;
};

// Asks through the context's door and reads in its pool.
std::shared_ptr<TaskSource> TaskSourceOf(RpcContext& context);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_TASK_SOURCE_H_
