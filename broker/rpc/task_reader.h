#ifndef PENSTOCK_BROKER_RPC_TASK_READER_H_
#define PENSTOCK_BROKER_RPC_TASK_READER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "broker/core/effects.h"
#include "broker/storage/history.h"
#include "broker/storage/keys.h"
#include "broker/storage/records.h"
#include "broker/storage/store.h"
#include "broker/storage/task_block.h"
#include "penstock/v1/task.pb.h"
#include "penstock/v1/task_service.pb.h"

namespace penstock::broker {

// Which costly parts of a task to read.
struct TaskParts {
  bool payload = false;
  bool attempts = false;
  bool result = false;
};

// Puts tasks together from what the core said of them and one snapshot of the store, taken after the core's answer was
// committed. Made for one job, used by one thread of the read pool. Nothing here changes anything.
class TaskReader {
 public:
  // `now` is wall time. REQUIRES: store is not null.
  TaskReader(std::unique_ptr<StoreReader> store, uint8_t partition, Time now);

  // NotFound: no such task, or it is finished and forgotten. DataLoss names the task.
  absl::Status Read(const TaskSnapshot& snapshot, const TaskParts& parts, v1::Task* out);
  // A task of which only the store knows.
  absl::Status ReadStored(TaskId task, const TaskParts& parts, v1::Task* out);
  // A finished task out of a history record, `bucket` being the record's.
  absl::Status ReadFinished(const FinishedTask& finished, uint32_t bucket, const TaskParts& parts, v1::Task* out);

  // The last of its attempts that have ended; none: none has.
  absl::StatusOr<std::optional<records::AttemptRecord>> LastAttempt(TaskId task) const;

  // Log lines after a position. A task without any has none.
  absl::Status ReadLog(TaskId task, uint64_t after_position, v1::ListTaskLogLinesResponse* out);

  // NotFound if it is gone: all its tasks are finished.
  absl::StatusOr<std::shared_ptr<const TaskBlock>> Block(BlockId block);

  const StoreReader& store() const { return *store_; }
  const Keys& keys() const { return keys_; }
  Time now() const { return now_; }

 private:
  absl::Status ReadParts(const TaskSnapshot& snapshot, const TaskParts& parts, v1::Task* out);
  // False: there is no record.
  absl::StatusOr<bool> FillFromRecord(TaskId task, const TaskParts& parts, v1::Task* out);
  absl::StatusOr<bool> FillFromBlock(TaskId task, const TaskParts& parts, v1::Task* out);
  // Of a task that was changed since its enqueue.
  absl::Status FillFromChange(TaskId task, const records::TaskRecord& record, const TaskParts& parts, v1::Task* out);
  static absl::Status FillSpec(TaskId task, std::string_view spec, const TaskParts& parts, v1::Task* out);
  absl::StatusOr<bool> FillFromHistory(TaskId task, const std::vector<HistoryAddress>& addresses,
                                       const TaskParts& parts, v1::Task* out);
  absl::StatusOr<std::vector<HistoryAddress>> Finishes(BlockId block);
  void FillRunning(const TaskSnapshot& snapshot, const TaskParts& parts, v1::Task* out);
  void FillEnd(const TaskSnapshot& snapshot, const TaskParts& parts, v1::Task* out);
  absl::Status FillNames(QueueId queue, TypeId type, uint32_t priority, v1::Task* out);
  absl::Status FillAttempts(TaskId task, v1::Task* out);
  // Lives as long as this.
  absl::StatusOr<const records::QueueRecord*> Queue(QueueId queue);
  absl::StatusOr<std::string> TypeName(TypeId type);

  const std::unique_ptr<StoreReader> store_;
  const Keys keys_;
  const Time now_;
  // A list meets the same few again and again.
  std::shared_ptr<const TaskBlock> last_block_;
  absl::flat_hash_map<QueueId, std::unique_ptr<records::QueueRecord>> queues_;
  absl::flat_hash_map<TypeId, std::string> type_names_;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_TASK_READER_H_
