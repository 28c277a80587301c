#ifndef PENSTOCK_BROKER_RPC_LIST_TASKS_CALL_H_
#define PENSTOCK_BROKER_RPC_LIST_TASKS_CALL_H_

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "broker/rpc/page_token.h"
#include "broker/rpc/rpc_context.h"
#include "broker/rpc/task_reader.h"
#include "grpcpp/support/server_callback.h"
#include "penstock/v1/task_service.pb.h"

namespace penstock::broker {

// One ListTasks call. It goes through the phases in which the asked-for states are found, and in each alternates
// between asking the core and reading in the pool, until the page is full, nothing is left, or it has looked at enough.
// One step runs at a time; the steps share ownership.
class ListTasksCall final : public std::enable_shared_from_this<ListTasksCall> {
 public:
  static void Start(RpcContext& context, const v1::ListTasksRequest& request, v1::ListTasksResponse* response,
                    grpc::ServerUnaryReactor* reactor);
  ListTasksCall(RpcContext& context, const v1::ListTasksRequest& request, v1::ListTasksResponse* response,
                grpc::ServerUnaryReactor* reactor)
      : context_(context), request_(request), filter_(request.filter()), response_(*response), reactor_(*reactor) {}

 private:
  // Stored in page tokens: never renumber.
  enum Phase : uint8_t {
    kStart = 0,
    kWaiting = 1,    // lanes: place = lane, block, slot
    kTimers = 2,     // one lane's timers: place = lane, due, task
    kRunning = 3,    // place = last task
    kDead = 4,       // newest first: place = end, task of the last
    kCancelled = 5,  // the same
    kCompleted = 6,  // the same: those with a record
    kHistory = 7,    // newest first: place = bucket, sequence, entries seen
    kEnd = 8,
  };

  absl::Status Prepare();
  bool Wants(v1::TaskState state) const {
    if (filter_.states().empty()) return true;
    return std::find(filter_.states().begin(), filter_.states().end(), static_cast<int>(state)) !=
           filter_.states().end();
  }
  bool WantsPhase(Phase phase) const;
  void NextPhase();
  void MoveTo(Phase phase, uint64_t a = 0, uint64_t b = 0, uint64_t c = 0) {
    token_.phase = phase;
    token_.place = {a, b, c};
  }

  // Takes the next step, or answers.
  void Step();
  void AskLanes(uint32_t runs_max, void (ListTasksCall::*read)(const LanesReply&));
  void AskRunning();
  // Runs `read` in the pool with a fresh reader, then steps on.
  void Read(std::function<absl::Status()> read);
  void Finish(const absl::Status& status);

  void ReadLanes(const LanesReply& lanes);
  void ReadDone(const LanesReply& lanes);
  absl::Status VisitLanes(const LanesReply& lanes);
  // True: the lane's runs in the reply have been visited to the end.
  absl::StatusOr<bool> VisitRuns(const LaneView& lane, uint64_t from_block, uint64_t from_slot);
  absl::StatusOr<bool> VisitTimers(LaneId lane, Time from_due, TaskId from_task);
  absl::Status VisitRunning(const RunningReply& running);
  absl::Status VisitDone(QueueId queue, State state);
  absl::Status VisitHistoryRecords(QueueId queue);

  // Reads a task and adds it to the page if it is one of those asked for.
  absl::Status Visit(const TaskSnapshot& snapshot);
  absl::Status Visit(TaskId task);
  void AddIfWanted(v1::Task task);
  bool Full() const;

  RpcContext& context_;
  const v1::ListTasksRequest& request_;  // gRPC keeps it until Finish
  const v1::TaskFilter& filter_;
  v1::ListTasksResponse& response_;
  grpc::ServerUnaryReactor& reactor_;
  uint32_t page_size_ = 0;
  PageToken token_;
  int steps_ = 0;
  size_t visited_ = 0;
  std::optional<TaskReader> reader_;  // of the step that reads
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_LIST_TASKS_CALL_H_
