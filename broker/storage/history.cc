#include "broker/storage/history.h"

#include "common/coding.h"

namespace penstock::broker {
namespace {

enum EntryFlag : uint8_t { kAsBefore = 1, kNoResult = 2 };

// Reads entries one behind the other. What an entry shares with the one before it costs nothing: most tasks of a commit
// are neighbours, of one type, done by one worker.
class EntryDecoder {
 public:
  // Of entries that `decoder` stands at.
  EntryDecoder(Decoder& decoder, Time commit_time) : decoder_(decoder) {
    task_.create_time = task_.start_time = task_.end_time = commit_time;
  }

  // The next but for its worker, which stands in worker().
  const FinishedTask& Next() {
    task_.task = TaskId(task_.task.value() + static_cast<uint64_t>(decoder_.Signed()));
    task_.token = FencingToken(task_.token.value() + static_cast<uint64_t>(decoder_.Signed()));
    Add(decoder_.Signed(), &task_.create_time);
    Add(decoder_.Signed(), &task_.start_time);
    const uint8_t flags = decoder_.Byte();
    if ((flags & kAsBefore) == 0) {
      task_.queue = QueueId(static_cast<uint32_t>(decoder_.Varint()));
      task_.type = TypeId(static_cast<uint32_t>(decoder_.Varint()));
      task_.priority = decoder_.Byte();
      worker_ = decoder_.Varint();
    }
    task_.content_type = (flags & kNoResult) != 0 ? std::string_view() : decoder_.Bytes();
    task_.result = (flags & kNoResult) != 0 ? std::string_view() : decoder_.Bytes();
    return task_;
  }
  uint64_t worker() const { return worker_; }

 private:
  // Of what is broken it may overflow, and wraps around.
  static void Add(int64_t difference, Time* time) {
    *time = static_cast<Time>(static_cast<uint64_t>(*time) + static_cast<uint64_t>(difference));
  }

  Decoder& decoder_;
  FinishedTask task_;
  uint64_t worker_ = 0;
};

}  // namespace

void HistoryBuilder::Add(const FinishedTask& task, Time commit_time) {
  if (entries_.empty()) {
    last_ = Last();
    last_.create_time = last_.start_time = commit_time;
  }
  size_t worker = last_.worker;
  if (worker >= workers_.size() || workers_[worker] != task.worker) {
    worker = 0;
    while (worker < workers_.size() && workers_[worker] != task.worker) ++worker;
    if (worker == workers_.size()) workers_.emplace_back(task.worker);
  }
  const bool as_before = !entries_.empty() && task.queue == last_.queue && task.type == last_.type &&
                         task.priority == last_.priority && worker == last_.worker;
  const bool no_result = task.content_type.empty() && task.result.empty();
  PutSigned(&entries_, static_cast<int64_t>(task.task.value() - last_.task.value()));
  PutSigned(&entries_, static_cast<int64_t>(task.token.value() - last_.token.value()));
  PutSigned(&entries_, task.create_time - last_.create_time);
  PutSigned(&entries_, task.start_time - last_.start_time);
  entries_.push_back(static_cast<char>((as_before ? kAsBefore : 0) | (no_result ? kNoResult : 0)));
  if (!as_before) {
    PutVarint(&entries_, task.queue.value());
    PutVarint(&entries_, task.type.value());
    entries_.push_back(static_cast<char>(task.priority));
    PutVarint(&entries_, worker);
  }
  if (!no_result) {
    PutBytes(&entries_, task.content_type);
    PutBytes(&entries_, task.result);
  }
  last_ = {task.task, task.token, task.create_time, task.start_time, task.queue, task.type, task.priority, worker};
}

std::optional<FencingToken> HistoryBuilder::TokenOf(TaskId task) const {
  Decoder decoder(entries_);
  EntryDecoder entries(decoder, 0);
  while (!decoder.done()) {
    if (const FinishedTask& entry = entries.Next(); entry.task == task) return entry.token;
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
  EntryDecoder entries(decoder, commit_time);
  while (decoder.ok() && !decoder.done()) {
    FinishedTask task = entries.Next();
    if (!decoder.ok() || entries.worker() >= workers.size()) {
      return absl::DataLossError("a history record is broken");
    }
    task.worker = workers[entries.worker()];
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
