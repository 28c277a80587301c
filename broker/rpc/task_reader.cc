#include "broker/rpc/task_reader.h"

#include <utility>
#include <vector>

#include "broker/rpc/convert.h"
#include "broker/rpc/fields.h"
#include "common/status.h"

namespace penstock::broker {
namespace {

absl::Status NoSuchTask(TaskId task) {
  return absl::NotFoundError("there is no task " + task.ToString() + ", or it is finished and forgotten");
}

// Being due is a comparison, not a write: what the store has as scheduled or retryable is available once its time has
// come.
State StateAt(State stored, Time run_time, Time now) {
  const bool waits_for_time = stored == State::kScheduled || stored == State::kRetryable;
  return waits_for_time && run_time <= now ? State::kAvailable : stored;
}

void SetAttempt(const records::AttemptRecord& record, v1::Attempt* out) {
  out->set_number(static_cast<int32_t>(record.number()));
  out->set_worker(record.worker());
  if (record.start_time() != 0) SetTimestamp(record.start_time(), out->mutable_start_time());
  if (record.end_time() != 0) SetTimestamp(record.end_time(), out->mutable_end_time());
  out->set_outcome(static_cast<v1::AttemptOutcome>(record.outcome()));
  if (record.outcome() != v1::ATTEMPT_OUTCOME_FAILED && record.outcome() != v1::ATTEMPT_OUTCOME_LOST &&
      (record.outcome() != v1::ATTEMPT_OUTCOME_CANCELLED || record.error_message().empty())) {
    return;
  }
  out->mutable_error()->set_type(record.error_type());
  out->mutable_error()->set_message(record.error_message());
  out->mutable_error()->set_detail(record.error_detail());
}

}  // namespace

TaskReader::TaskReader(std::unique_ptr<StoreReader> store, uint8_t partition, Time now)
    : store_(std::move(store)), keys_(partition), now_(now) {}

absl::Status TaskReader::Read(const TaskSnapshot& snapshot, const TaskParts& parts, v1::Task* out) {
  const absl::Status read = ReadParts(snapshot, parts, out);
  const std::string id = snapshot.task.ToString();
  if (!absl::IsDataLoss(read) || read.message().find(id) != absl::string_view::npos) return read;
  return Annotate(read, "task " + id);
}

absl::Status TaskReader::ReadParts(const TaskSnapshot& snapshot, const TaskParts& parts, v1::Task* out) {
  using Place = TaskSnapshot::Place;
  const TaskId task = snapshot.task;
  if (task.partition() != keys_.partition() || snapshot.place == Place::kGone) return NoSuchTask(task);
  out->set_task_id(task.ToString());
  ASSIGN_OR_RETURN(bool found, FillFromRecord(task, parts, out));
  const bool ended = IsFinal(snapshot.state) && snapshot.end_time != 0;
  const bool may_be_finished = !found && snapshot.place != Place::kRunning;
  if (may_be_finished && !snapshot.finishes.empty()) {
    ASSIGN_OR_RETURN(found, FillFromHistory(task, snapshot.finishes, parts, out));
  }
  if (!found && snapshot.place != Place::kFinished) {
    ASSIGN_OR_RETURN(found, FillFromBlock(task, parts, out));
  }
  if (may_be_finished && !found) {
    ASSIGN_OR_RETURN(const std::vector<HistoryAddress> addresses, Finishes(BlockId(task.block())));
    ASSIGN_OR_RETURN(found, FillFromHistory(task, addresses, parts, out));
  }
  if (!found && !ended && snapshot.place != Place::kRunning) return NoSuchTask(task);
  if (snapshot.place == Place::kRunning) FillRunning(snapshot, parts, out);
  if (ended) FillEnd(snapshot, parts, out);
  if (out->state() == v1::TASK_STATE_AVAILABLE) out->set_waiting_reason(snapshot.waiting_reason);
  return absl::OkStatus();
}

absl::Status TaskReader::ReadStored(TaskId task, const TaskParts& parts, v1::Task* out) {
  TaskSnapshot snapshot;
  snapshot.task = task;
  return Read(snapshot, parts, out);
}

absl::StatusOr<bool> TaskReader::FillFromRecord(TaskId task, const TaskParts& parts, v1::Task* out) {
  auto read = GetRecord<records::TaskRecord>(*store_, Family::kTasks, keys_.TaskRecord(task));
  if (absl::IsNotFound(read.status())) return false;
  RETURN_IF_ERROR(Annotate(read.status(), "task " + task.ToString()));
  const records::TaskRecord& record = *read;
  const State state = StateAt(static_cast<State>(record.state()), record.run_time(), now_);
  const bool keeps_spec = state != State::kCompleted && state != State::kCancelled;
  bool has_spec = false;
  out->set_revision(record.revision());
  if (keeps_spec && record.revision() != 0) {
    RETURN_IF_ERROR(FillFromChange(task, record, parts, out));
    has_spec = true;
  } else if (keeps_spec) {
    ASSIGN_OR_RETURN(has_spec, FillFromBlock(task, parts, out));
  }
  if (!has_spec) {
    RETURN_IF_ERROR(FillNames(QueueId(record.queue_id()), TypeId(record.type_id()), record.priority(), out));
  }
  out->set_state(ToProto(state));
  SetTimestamp(record.create_time(), out->mutable_create_time());
  SetTimestamp(record.run_time(), out->mutable_run_time());
  out->set_attempt(static_cast<int32_t>(record.attempt()));
  // Those before its last redrive do not count.
  if (out->max_attempts() != 0)
    out->set_max_attempts(out->max_attempts() + static_cast<int32_t>(record.attempt_base()));
  out->set_cancel_reason(record.cancel_reason());
  if (IsFinal(state)) {
    SetTimestamp(record.end_time(), out->mutable_end_time());
    if (record.forget_time() != 0) SetTimestamp(record.forget_time(), out->mutable_forget_time());
    out->set_dead_reason(static_cast<v1::DeadReason>(record.dead_reason()));
  }
  if (parts.attempts && record.attempt_records() > 0) RETURN_IF_ERROR(FillAttempts(task, out));
  if (parts.payload && record.has_checkpoint()) {
    ASSIGN_OR_RETURN(records::CheckpointRecord saved,
                     GetRecord<records::CheckpointRecord>(*store_, Family::kTasks, keys_.Checkpoint(task)));
    *out->mutable_checkpoint() = std::move(*saved.mutable_checkpoint());
  }
  if (parts.result && record.has_result()) {
    ASSIGN_OR_RETURN(records::ResultRecord result,
                     GetRecord<records::ResultRecord>(*store_, Family::kTasks, keys_.Result(task)));
    *out->mutable_result() = std::move(*result.mutable_result());
    out->set_result_content_type(result.content_type());
  }
  return true;
}

absl::StatusOr<bool> TaskReader::FillFromBlock(TaskId task, const TaskParts& parts, v1::Task* out) {
  auto read = Block(BlockId(task.block()));
  if (absl::IsNotFound(read.status())) return false;
  RETURN_IF_ERROR(Annotate(read.status(), "task " + task.ToString()));
  const TaskBlock& block = **read;
  const uint32_t slot = task.slot();
  if (slot >= block.slot_count()) return false;
  const TaskBlock::Entry& entry = block.lane_of(slot);
  if (block.dropped(slot)) {
    RETURN_IF_ERROR(FillNames(entry.queue, entry.type, entry.priority, out));
  } else {
    RETURN_IF_ERROR(FillSpec(task, block.spec(slot), parts, out));
  }
  const SlotExtras& extras = block.extras(slot);
  ASSIGN_OR_RETURN(const records::QueueRecord* queue, Queue(entry.queue));
  out->set_priority(static_cast<int32_t>(entry.priority));
  out->set_max_attempts(static_cast<int32_t>(extras.retry_policy ? extras.retry_policy->max_attempts
                                                                 : queue->retry_policy().max_attempts()));
  SetDuration(extras.run_timeout != 0 ? extras.run_timeout : queue->run_timeout(), out->mutable_run_timeout());
  const Time run_at = extras.run_at;
  const Time run_time = run_at == 0 ? block.create_time() : run_at;
  out->set_state(ToProto(StateAt(State::kScheduled, run_time, now_)));
  SetTimestamp(block.create_time(), out->mutable_create_time());
  SetTimestamp(run_time, out->mutable_run_time());
  return true;
}

absl::Status TaskReader::FillSpec(TaskId task, std::string_view spec, const TaskParts& parts, v1::Task* out) {
  if (!out->mutable_spec()->ParseFromArray(spec.data(), static_cast<int>(spec.size()))) {
    return absl::DataLossError("task " + task.ToString() + ": its stored TaskSpec is broken");
  }
  if (!parts.payload) out->mutable_spec()->clear_payload();
  return absl::OkStatus();
}

absl::Status TaskReader::FillFromChange(TaskId task, const records::TaskRecord& record, const TaskParts& parts,
                                        v1::Task* out) {
  auto changed = GetRecord<records::SpecRecord>(*store_, Family::kTasks, keys_.Spec(task));
  if (absl::IsNotFound(changed.status())) return absl::DataLossError("what it was changed to is missing");
  RETURN_IF_ERROR(Annotate(changed.status(), "task " + task.ToString()));
  RETURN_IF_ERROR(FillSpec(task, changed->spec(), parts, out));
  ASSIGN_OR_RETURN(const records::QueueRecord* queue, Queue(QueueId(record.queue_id())));
  out->set_priority(static_cast<int32_t>(record.priority()));
  out->set_max_attempts(static_cast<int32_t>(changed->has_retry_policy() ? changed->retry_policy().max_attempts()
                                                                         : queue->retry_policy().max_attempts()));
  SetDuration(changed->run_timeout() != 0 ? changed->run_timeout() : queue->run_timeout(), out->mutable_run_timeout());
  return absl::OkStatus();
}

absl::StatusOr<bool> TaskReader::FillFromHistory(TaskId task, const std::vector<HistoryAddress>& addresses,
                                                 const TaskParts& parts, v1::Task* out) {
  for (const HistoryAddress& address : addresses) {
    const std::string key = keys_.History(address.bucket, address.sequence);
    auto value = store_->Get(Family::kHistory, key);
    if (absl::IsNotFound(value.status())) continue;
    RETURN_IF_ERROR(value.status());
    ASSIGN_OR_RETURN(const std::string_view body, OpenValue(key, *value));
    bool found = false;
    absl::Status status;
    RETURN_IF_ERROR(VisitHistory(body, [&](const FinishedTask& finished) {
      if (finished.task != task) return true;
      found = true;
      status = ReadFinished(finished, address.bucket, parts, out);
      return false;
    }));
    RETURN_IF_ERROR(status);
    if (found) return true;
  }
  return false;
}

absl::Status TaskReader::ReadFinished(const FinishedTask& finished, uint32_t bucket, const TaskParts& parts,
                                      v1::Task* out) {
  out->set_task_id(finished.task.ToString());
  RETURN_IF_ERROR(FillNames(finished.queue, finished.type, finished.priority, out));
  out->set_state(v1::TASK_STATE_COMPLETED);
  SetTimestamp(finished.create_time, out->mutable_create_time());
  SetTimestamp(finished.end_time, out->mutable_end_time());
  SetTimestamp(EndOfBucket(bucket), out->mutable_forget_time());
  out->set_attempt(1);
  if (parts.attempts) {
    v1::Attempt* attempt = out->add_attempts();
    attempt->set_number(1);
    attempt->set_worker(std::string(finished.worker));
    SetTimestamp(finished.start_time, attempt->mutable_start_time());
    SetTimestamp(finished.end_time, attempt->mutable_end_time());
    attempt->set_outcome(v1::ATTEMPT_OUTCOME_COMPLETED);
  }
  if (parts.result) {
    out->set_result(std::string(finished.result));
    out->set_result_content_type(std::string(finished.content_type));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<HistoryAddress>> TaskReader::Finishes(BlockId block) {
  const std::string key = keys_.Finishes(block);
  auto value = store_->Get(Family::kIndex, key);
  if (absl::IsNotFound(value.status())) return std::vector<HistoryAddress>();
  RETURN_IF_ERROR(value.status());
  ASSIGN_OR_RETURN(const std::string_view body, OpenValue(key, *value));
  return DecodeAddresses(body);
}

void TaskReader::FillRunning(const TaskSnapshot& snapshot, const TaskParts& parts, v1::Task* out) {
  out->set_state(v1::TASK_STATE_RUNNING);
  out->set_attempt(static_cast<int32_t>(snapshot.attempt));
  out->set_worker(snapshot.worker);
  out->set_cancel_requested(snapshot.cancel_requested);
  out->set_stuck(snapshot.stuck);
  if (snapshot.progress_time != 0) {
    out->mutable_progress()->set_percent(snapshot.progress_percent);
    out->mutable_progress()->set_text(snapshot.progress_text);
    SetTimestamp(snapshot.progress_time, out->mutable_progress()->mutable_update_time());
    if (snapshot.progress_remaining >= 0) {
      SetDuration(snapshot.progress_remaining, out->mutable_progress()->mutable_remaining());
    }
  }
  if (parts.attempts && snapshot.start_time != 0) {
    v1::Attempt* attempt = out->add_attempts();
    attempt->set_number(static_cast<int32_t>(snapshot.attempt));
    attempt->set_worker(snapshot.worker);
    SetTimestamp(snapshot.start_time, attempt->mutable_start_time());
  }
}

void TaskReader::FillEnd(const TaskSnapshot& snapshot, const TaskParts& parts, v1::Task* out) {
  const bool keeps_spec = snapshot.state == State::kDead;
  if (!keeps_spec && out->has_spec()) {
    v1::TaskSpec left;
    left.set_queue(out->spec().queue());
    left.set_type(out->spec().type());
    if (out->spec().has_priority()) left.set_priority(out->spec().priority());
    *out->mutable_spec() = std::move(left);
  }
  if (!keeps_spec) {
    out->clear_max_attempts();
    out->clear_run_timeout();
    out->clear_checkpoint();
  }
  out->set_state(ToProto(snapshot.state));
  out->set_attempt(static_cast<int32_t>(snapshot.attempt));
  SetTimestamp(snapshot.end_time, out->mutable_end_time());
  if (parts.result && snapshot.state == State::kCompleted) {
    out->set_result(snapshot.result);
    out->set_result_content_type(snapshot.result_content_type);
  }
}

absl::Status TaskReader::FillNames(QueueId queue, TypeId type, uint32_t priority, v1::Task* out) {
  ASSIGN_OR_RETURN(const records::QueueRecord* record, Queue(queue));
  out->mutable_spec()->set_queue(record->name());
  ASSIGN_OR_RETURN(*out->mutable_spec()->mutable_type(), TypeName(type));
  out->mutable_spec()->set_priority(static_cast<int32_t>(priority));
  out->set_priority(static_cast<int32_t>(priority));
  return absl::OkStatus();
}

absl::Status TaskReader::FillAttempts(TaskId task, v1::Task* out) {
  absl::Status broken;
  RETURN_IF_ERROR(store_->Scan(Family::kTasks, keys_.Attempt(task, 0), keys_.Attempt(task, UINT32_MAX),
                               [&](std::string_view key, std::string_view value) {
                                 auto record = OpenRecord<records::AttemptRecord>(key, value);
                                 broken = record.status();
                                 if (record.ok()) SetAttempt(*record, out->add_attempts());
                                 return record.ok();
                               }));
  return Annotate(broken, "task " + task.ToString());
}

absl::StatusOr<std::optional<records::AttemptRecord>> TaskReader::LastAttempt(TaskId task) const {
  std::optional<records::AttemptRecord> last;
  absl::Status broken;
  RETURN_IF_ERROR(store_->ScanBackward(Family::kTasks, keys_.Attempt(task, 0), keys_.Attempt(task, UINT32_MAX),
                                       [&](std::string_view key, std::string_view value) {
                                         auto record = OpenRecord<records::AttemptRecord>(key, value);
                                         broken = record.status();
                                         if (record.ok()) last = *std::move(record);
                                         return false;
                                       }));
  RETURN_IF_ERROR(Annotate(broken, "task " + task.ToString()));
  return last;
}

absl::Status TaskReader::ReadLog(TaskId task, uint64_t after_position, v1::ListTaskLogLinesResponse* out) {
  uint64_t position = 0;
  absl::Status broken;
  RETURN_IF_ERROR(store_->Scan(Family::kTasks, keys_.Log(task, 0), keys_.Log(task, UINT32_MAX),
                               [&](std::string_view key, std::string_view value) {
                                 auto record = OpenRecord<records::LogRecord>(key, value);
                                 broken = record.status();
                                 if (!record.ok()) return false;
                                 for (auto& line : *record->mutable_lines()) {
                                   if (++position <= after_position) continue;
                                   v1::LogLine* to = out->add_lines();
                                   SetTimestamp(line.time(), to->mutable_time());
                                   to->set_attempt(static_cast<int32_t>(record->attempt()));
                                   to->set_text(std::move(*line.mutable_text()));
                                 }
                                 return true;
                               }));
  RETURN_IF_ERROR(Annotate(broken, "task " + task.ToString()));
  out->set_last_position(std::max(position, after_position));
  auto record = GetRecord<records::TaskRecord>(*store_, Family::kTasks, keys_.TaskRecord(task));
  if (record.ok()) out->set_truncated(record->log_truncated());
  return absl::IsNotFound(record.status()) ? absl::OkStatus() : record.status();
}

absl::StatusOr<std::shared_ptr<const TaskBlock>> TaskReader::Block(BlockId block) {
  if (last_block_ != nullptr && last_block_->id() == block) return last_block_;
  Family family = Family::kBlocks;
  std::string key = keys_.Block(block);
  auto value = store_->Get(family, key);
  if (absl::IsNotFound(value.status())) {
    key = keys_.CompactedBlock(block);
    value = store_->Get(Family::kTasks, key);
  }
  RETURN_IF_ERROR(value.status());
  ASSIGN_OR_RETURN(const std::string_view body, OpenValue(key, *value));
  ASSIGN_OR_RETURN(last_block_, TaskBlock::Parse(std::string(body)));
  return last_block_;
}

absl::StatusOr<const records::QueueRecord*> TaskReader::Queue(QueueId queue) {
  std::unique_ptr<records::QueueRecord>& kept = queues_[queue];
  if (kept == nullptr) {
    auto record = GetRecord<records::QueueRecord>(*store_, Family::kMeta, keys_.Queue(queue));
    // A finished task may outlive its queue, which has no name and no settings then.
    if (!record.ok() && !absl::IsNotFound(record.status())) return record.status();
    kept = std::make_unique<records::QueueRecord>();
    if (record.ok()) *kept = *std::move(record);
  }
  return kept.get();
}

absl::StatusOr<std::string> TaskReader::TypeName(TypeId type) {
  std::string& name = type_names_[type];
  if (name.empty()) {
    ASSIGN_OR_RETURN(const records::TypeRecord record,
                     GetRecord<records::TypeRecord>(*store_, Family::kMeta, keys_.Type(type)));
    name = record.name();
  }
  return name;
}

}  // namespace penstock::broker
