#ifndef PENSTOCK_BROKER_STORAGE_HISTORY_H_
#define PENSTOCK_BROKER_STORAGE_HISTORY_H_

// History: the tasks that one commit completed at their first attempt, with their results; one record for each
// retention bucket.
//
//   history = signed(commit time) varint(workers) bytes(worker)* entry*
//   entry   = signed(task - before) signed(token - before) signed(create - before) signed(start - before) flags:1
//             [varint(queue) varint(type) priority:1 varint(worker)] [bytes(content type) bytes(result)]
//   flags:    1 queue, type, priority and worker as before; 2 content type and result are empty
//   Before the first: task and token 0, both times the commit time.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "broker/core/core_types.h"
#include "broker/core/effects.h"

namespace penstock::broker {

struct FinishedTask {
  TaskId task;
  QueueId queue;
  TypeId type;
  uint8_t priority = 0;
  FencingToken token;
  std::string_view worker;
  Time create_time = 0;
  Time start_time = 0;
  Time end_time = 0;
  std::string_view content_type;
  std::string_view result;
};

class HistoryBuilder {
 public:
  bool empty() const { return entries_.empty(); }
  size_t bytes() const { return entries_.size(); }
  // `end_time` of a task is the commit time.
  void Add(const FinishedTask& task, Time commit_time);
  // Under which lease a task that was added was finished; nullopt if it was not added.
  std::optional<FencingToken> TokenOf(TaskId task) const;
  // The record's body; the builder is empty again.
  std::string Finish(Time commit_time);

 private:
  // What the next entry is compared with.
  struct Last {
    TaskId task;
    FencingToken token;
    Time create_time = 0;
    Time start_time = 0;
    QueueId queue;
    TypeId type;
    uint8_t priority = 0;
    size_t worker = 0;
  };

  std::vector<std::string> workers_;
  std::string entries_;
  Last last_;
};

// Visits the tasks of a record until `visit` returns false; views point into `body`. DataLoss if it is broken.
absl::Status VisitHistory(std::string_view body, absl::FunctionRef<bool(const FinishedTask&)> visit);

// The value of a Finishes key: where the history of a finished block's tasks stands.
std::string EncodeAddresses(const std::vector<HistoryAddress>& addresses);
absl::StatusOr<std::vector<HistoryAddress>> DecodeAddresses(std::string_view body);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_STORAGE_HISTORY_H_
