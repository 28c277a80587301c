#ifndef PENSTOCK_BROKER_RPC_TASK_WALK_H_
#define PENSTOCK_BROKER_RPC_TASK_WALK_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "broker/rpc/page_token.h"
#include "broker/rpc/task_filter.h"
#include "broker/rpc/task_reader.h"
#include "broker/rpc/task_source.h"
#include "penstock/v1/task.pb.h"

namespace penstock::broker {

// What one walk found.
struct TaskPage {
  std::vector<v1::Task> tasks;  // without their payloads
  PageToken next;               // where the next page begins
  bool at_end = false;          // nothing is left: there is none
  uint64_t seen = 0;            // tasks that were looked at
};

// One walk through the tasks of a queue, for a page of those that fit a filter. It goes through the phases in which
// they may be found, and in each alternates between asking the core and reading in the pool, until the page is full,
// nothing is left, or it has looked at enough. One step runs at a time; the steps share ownership.
class TaskWalk final : public std::enable_shared_from_this<TaskWalk> {
 public:
  using Done = std::function<void(absl::StatusOr<TaskPage>)>;

  // Calls `done` once, from a thread that must not be blocked. `from`: the `next` of a page before, or nothing.
  // InvalidArgument: `from` is no place of a walk. NotFound: there is no such queue. Unavailable, ResourceExhausted:
  // not now.
  static void Start(std::shared_ptr<TaskSource> source, std::shared_ptr<const TaskFilter> filter, const PageToken& from,
                    uint32_t page_size, Done done);
  static void Start(RpcContext& context, std::shared_ptr<const TaskFilter> filter, const PageToken& from,
                    uint32_t page_size, Done done);
  TaskWalk(std::shared_ptr<TaskSource> source, std::shared_ptr<const TaskFilter> filter, const PageToken& from,
           uint32_t page_size, Done done)
      : source_(std::move(source)),
        filter_(std::move(filter)),
        page_size_(page_size),
        done_(std::move(done)),
        token_(from) {}

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

  bool WantsPhase(Phase phase) const;
  void NextPhase();
  void MoveTo(Phase phase, uint64_t a = 0, uint64_t b = 0, uint64_t c = 0) {
    token_.phase = phase;
    token_.place = {a, b, c};
  }

  // Takes the next step, or answers.
  void Step();
  void AskLanes(uint32_t runs_max, void (TaskWalk::*read)(const LanesReply&));
  void AskRunning();
  // Runs `read` with a fresh reader, then steps on.
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
  absl::Status AddIfWanted(TaskId id, v1::Task task);
  bool Full() const;

  const std::shared_ptr<TaskSource> source_;
  const std::shared_ptr<const TaskFilter> filter_;
  const uint32_t page_size_;
  Done done_;
  PageToken token_;
  TaskPage page_;
  absl::flat_hash_set<uint64_t> in_page_;
  int steps_ = 0;
  size_t cost_ = 0;                     // of what it has looked at
  std::unique_ptr<TaskReader> reader_;  // of the step that reads
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_TASK_WALK_H_
