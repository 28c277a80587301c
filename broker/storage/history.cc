#include "broker/storage/history.h"

#include "common/coding.h"

namespace penstock::broker {
namespace {

// An entry but for its worker, which is returned by its number.
uint64_t GetEntry(Decoder& decoder, Time commit_time, FinishedTask* task) {
  task->task = TaskId(decoder.Varint());
  task->queue = QueueId(static_cast<uint32_t>(decoder.Varint()));
  task->type = TypeId(static_cast<uint32_t>(decoder.Varint()));
  task->priority = decoder.Byte();
  task->token = FencingToken(decoder.Varint());
  const uint64_t worker = decoder.Varint();
  task->create_time = commit_time + decoder.Signed();
  task->start_time = commit_time + decoder.Signed();
  task->end_time = commit_time;
  task->content_type = decoder.Bytes();
  task->result = decoder.Bytes();
  return worker;
}

}  // namespace

void HistoryBuilder::Add(const FinishedTask& task, Time commit_time) {
  size_t worker = 0;
  while (worker < workers_.size() && workers_[worker] != task.worker) ++worker;
  if (worker == workers_.size()) workers_.emplace_back(task.worker);
  PutVarint(&entries_, task.task.value());
  PutVarint(&entries_, task.queue.value());
  PutVarint(&entries_, task.type.value());
  entries_.push_back(static_cast<char>(task.priority));
  PutVarint(&entries_, task.token.value());
  PutVarint(&entries_, worker);
  PutSigned(&entries_, task.create_time - commit_time);
  PutSigned(&entries_, task.start_time - commit_time);
  PutBytes(&entries_, task.content_type);
  PutBytes(&entries_, task.result);
}

std::optional<FencingToken> HistoryBuilder::TokenOf(TaskId task) const {
  Decoder decoder(entries_);
  while (!decoder.done()) {
    FinishedTask entry;
    GetEntry(decoder, 0, &entry);
    if (entry.task == task) return entry.token;
  }
  return std::nullopt;
}

std::string HistoryBuilder::Finish(Time commit_time) {
  std::string body;
  body.reserve(64 + entries_.size());
  PutSigned(&body, commit_time);
  PutVarint(&body, workers_.size());
  for (const std::string& worker : workers_) PutBytes(&body, worker);
  body += entries_;
  workers_.clear();
  entries_.clear();
  return body;
}

absl::Status VisitHistory(std::string_view body, absl::FunctionRef<bool(const FinishedTask&)> visit) {
  Decoder decoder(body);
  const Time commit_time = decoder.Signed();
  const uint64_t worker_count = decoder.Varint();
  std::vector<std::string_view> workers;
  for (uint64_t i = 0; i < worker_count && decoder.ok(); ++i) workers.push_back(decoder.Bytes());
  while (decoder.ok() && !decoder.done()) {
    FinishedTask task;
    const uint64_t worker = GetEntry(decoder, commit_time, &task);
    if (!decoder.ok() || worker >= workers.size()) return absl::DataLossError("a history record is broken");
    task.worker = workers[worker];
    if (!visit(task)) return absl::OkStatus();
  }
  return decoder.ok() ? absl::OkStatus() : absl::DataLossError("a history record is broken");
}

std::string EncodeAddresses(const std::vector<HistoryAddress>& addresses) {
  std::string body;
  for (const HistoryAddress& address : addresses) {
    PutVarint(&body, address.bucket);
    PutVarint(&body, address.sequence);
  }
  return body;
}

absl::StatusOr<std::vector<HistoryAddress>> DecodeAddresses(std::string_view body) {
  std::vector<HistoryAddress> addresses;
  Decoder decoder(body);
  while (decoder.ok() && !decoder.done()) {
    HistoryAddress address;
    address.bucket = static_cast<uint32_t>(decoder.Varint());
    address.sequence = decoder.Varint();
    addresses.push_back(address);
  }
  if (!decoder.ok()) return absl::DataLossError("a list of history addresses is broken");
  return addresses;
}

}  // namespace penstock::broker
