#include "broker/rpc/convert_worker.h"

#include <algorithm>

#include "absl/container/flat_hash_set.h"
#include "broker/rpc/fields.h"
#include "common/status.h"
#include "common/text.h"
#include "fmt/format.h"
#include "google/protobuf/arena.h"

namespace penstock::broker {
namespace {

constexpr size_t kSessionIdBytesMax = 64;
constexpr size_t kTaskIdBytesShown = 64;

absl::Status CheckCount(const FieldPath& field, int count, size_t max) {
  if (count == 0) return BadField(field, "is required");
  if (static_cast<size_t>(count) <= max) return absl::OkStatus();
  return BadField(field, fmt::format("must be 1 to {}, are {}", max, count));
}

absl::Status ConvertNames(const v1::Hello& hello, const FieldPath& at, const ApiLimits& limits,
                          OpenSessionCommand* command) {
  RETURN_IF_ERROR(CheckCount(FieldPath(at, "queues"), hello.queues_size(), limits.worker_names));
  RETURN_IF_ERROR(CheckCount(FieldPath(at, "types"), hello.types_size(), limits.worker_names));
  absl::flat_hash_set<std::string> seen;
  for (int i = 0; i < hello.queues_size(); ++i) {
    const FieldPath field(at, "queues", i);
    RETURN_IF_ERROR(CheckName(field, hello.queues(i), limits.name));
    if (!seen.insert(hello.queues(i)).second)
      return BadField(field, fmt::format("'{}' is given twice", hello.queues(i)));
    command->queues.push_back(hello.queues(i));
  }
  seen.clear();
  for (int i = 0; i < hello.types_size(); ++i) {
    const FieldPath type_at(at, "types", i);
    const v1::HandledType& type = hello.types(i);
    const FieldPath field(type_at, "type");
    RETURN_IF_ERROR(CheckName(field, type.type(), limits.name));
    if (!seen.insert(type.type()).second) return BadField(field, fmt::format("'{}' is given twice", type.type()));
    RETURN_IF_ERROR(CheckNumber(FieldPath(type_at, "max_concurrency"), type.max_concurrency(), 0, limits.concurrency));
    command->types.push_back({type.type(), static_cast<uint32_t>(type.max_concurrency())});
  }
  return absl::OkStatus();
}

absl::Status ConvertHeldTasks(const v1::Hello& hello, const FieldPath& at, const ApiLimits& limits,
                              OpenSessionCommand* command) {
  const FieldPath field(at, "held_tasks");
  if (hello.held_tasks().empty()) return absl::OkStatus();
  if (!command->resume) return BadField(field, "counts with session_id only");
  RETURN_IF_ERROR(CheckCount(field, hello.held_tasks_size(), limits.held_tasks));
  for (int i = 0; i < hello.held_tasks_size(); ++i) {
    const FieldPath held_at(at, "held_tasks", i);
    const v1::HeldTask& held = hello.held_tasks(i);
    ASSIGN_OR_RETURN(const TaskId task, CheckTaskId(FieldPath(held_at, "task_id"), held.task_id()));
    command->held_tasks.push_back({task, FencingToken(held.fencing_token()), held.started()});
  }
  return absl::OkStatus();
}

// Brings message and detail together under the limit; each gets half of it if both need it.
void CutError(v1::TaskError* error, size_t size_max) {
  const size_t message = error->message().size();
  const size_t detail = error->detail().size();
  if (message + detail <= size_max) return;
  const size_t half = size_max / 2;
  const size_t message_max = std::min(message, detail <= half ? size_max - detail : half);
  error->set_message(CutMiddle(error->message(), message_max));
  error->set_detail(CutMiddle(error->detail(), size_max - message_max));
}

// `after`: until when, if that was said, in the field `after_name`.
absl::Status ConvertCool(const FieldPath& at, v1::CoolScope scope, std::optional<Span> after,
                         std::string_view after_name, const ApiLimits& limits, TaskOutcome* outcome) {
  if (scope == v1::COOL_SCOPE_UNSPECIFIED) return absl::OkStatus();
  const FieldPath field(at, "cool");
  if (!v1::CoolScope_IsValid(scope)) {
    return BadField(field,
                    fmt::format("{} is no scope; valid are queue, type, group and key", static_cast<int>(scope)));
  }
  if (!after) return BadField(field, fmt::format("needs {}: for how long it is left alone", after_name));
  if (*after > limits.cool_max) {
    return BadField(FieldPath(at, after_name), fmt::format("must be at most {} with cool, is {}",
                                                           absl::FormatDuration(ToDuration(limits.cool_max)),
                                                           absl::FormatDuration(ToDuration(*after))));
  }
  outcome->cool = static_cast<CoolScope>(scope);
  return absl::OkStatus();
}

// The tasks that a completion brings.
absl::Status ConvertEnqueue(const FieldPath& at, const v1::TaskOutcome::Completed& completed, const ApiLimits& limits,
                            Time now, TaskOutcome* outcome) {
  if (static_cast<size_t>(completed.enqueue_size()) > limits.enqueued_by_completion) {
    return BadField(FieldPath(at, "enqueue"),
                    fmt::format("must be at most {}, are {}", limits.enqueued_by_completion, completed.enqueue_size()));
  }
  const std::vector<const v1::TaskSpec*> specs(completed.enqueue().pointer_begin(), completed.enqueue().pointer_end());
  ASSIGN_OR_RETURN(const ConvertedTasks converted,
                   ToTasks(
                       specs, [&at](size_t i) { return FieldPath(at, "enqueue", static_cast<int>(i)); }, limits, now));
  outcome->enqueue = converted.tasks;
  return absl::OkStatus();
}

absl::Status ConvertOutcome(v1::TaskOutcome* from, const ApiLimits& limits, Time now, TaskOutcome* outcome) {
  if (from->has_run_time()) {
    ASSIGN_OR_RETURN(outcome->run_time, CheckSpan(FieldPath("run_time"), from->run_time(), 0, limits.postpone_max));
  }
  switch (from->outcome_case()) {
    case v1::TaskOutcome::kCompleted: {
      const FieldPath at("completed");
      RETURN_IF_ERROR(CheckSize(FieldPath(at, "result"), from->completed().result(), 0, limits.result));
      RETURN_IF_ERROR(
          CheckSize(FieldPath(at, "content_type"), from->completed().content_type(), 0, limits.content_type));
      outcome->kind = OutcomeKind::kCompleted;
      outcome->result = from->completed().result();
      outcome->content_type = from->completed().content_type();
      return from->completed().enqueue().empty() ? absl::OkStatus()
                                                 : ConvertEnqueue(at, from->completed(), limits, now, outcome);
    }
    case v1::TaskOutcome::kFailed: {
      const FieldPath at("failed");
      v1::TaskOutcome::Failed* failed = from->mutable_failed();
      RETURN_IF_ERROR(CheckSize(FieldPath(FieldPath(at, "error"), "type"), failed->error().type(), 0, limits.label));
      if (failed->has_retry_after()) {
        ASSIGN_OR_RETURN(outcome->delay,
                         CheckSpan(FieldPath(at, "retry_after"), failed->retry_after(), 0, limits.postpone_max));
      }
      RETURN_IF_ERROR(ConvertCool(at, failed->cool(), outcome->delay, "retry_after", limits, outcome));
      CutError(failed->mutable_error(), limits.error_text);
      outcome->kind = failed->reject() ? OutcomeKind::kRejected : OutcomeKind::kFailed;
      outcome->error = {failed->error().type(), failed->error().message(), failed->error().detail()};
      return absl::OkStatus();
    }
    case v1::TaskOutcome::kSnoozed: {
      const FieldPath at("snoozed");
      ASSIGN_OR_RETURN(outcome->delay,
                       CheckSpan(FieldPath(at, "delay"), from->snoozed().delay(), 0, limits.postpone_max));
      RETURN_IF_ERROR(ConvertCool(at, from->snoozed().cool(), outcome->delay, "delay", limits, outcome));
      outcome->kind = OutcomeKind::kSnoozed;
      return absl::OkStatus();
    }
    case v1::TaskOutcome::kReleased:
      outcome->kind = OutcomeKind::kReleased;
      return absl::OkStatus();
    case v1::TaskOutcome::kCancelled:
      outcome->kind = OutcomeKind::kCancelled;
      return absl::OkStatus();
    case v1::TaskOutcome::OUTCOME_NOT_SET:
      break;
  }
  return BadField(FieldPath("outcome"), "is required");
}

// Reads the parts of one request; what is wrong with a task's part becomes a refusal.
class WorkReader {
 public:
  WorkReader(v1::WorkRequest* request, const ApiLimits& limits, Time now, ConvertedWork* work)
      : request_(*request), limits_(limits), now_(now), work_(*work) {}

  absl::Status ReadSession() {
    SessionInput& input = work_.input;
    RETURN_IF_ERROR(CheckNumber(FieldPath("credit"), request_.credit(), 0, limits_.credit));
    input.credit = static_cast<uint32_t>(request_.credit());
    for (int i = 0; i < request_.type_credits_size(); ++i) {
      const FieldPath at("type_credits", i);
      const v1::TypeCredit& credit = request_.type_credits(i);
      RETURN_IF_ERROR(CheckName(FieldPath(at, "type"), credit.type(), limits_.name));
      RETURN_IF_ERROR(CheckNumber(FieldPath(at, "credit"), credit.credit(), 0, limits_.credit));
      input.type_credits.push_back({credit.type(), static_cast<uint32_t>(credit.credit())});
    }
    input.stuck_changed = request_.stuck_changed();
    for (int i = 0; i < request_.stuck_task_ids_size(); ++i) {
      ASSIGN_OR_RETURN(const TaskId task, CheckTaskId(FieldPath("stuck_task_ids", i), request_.stuck_task_ids(i)));
      input.stuck_tasks.push_back(task);
    }
    if (!request_.outcomes().empty() && request_.frame_number() == 0) {
      return BadField(FieldPath("frame_number"), "is required with outcomes and counts from 1");
    }
    input.frame_number = request_.frame_number();
    input.draining = request_.draining();
    input.goodbye = request_.goodbye();
    return absl::OkStatus();
  }

  void ReadTasks() {
    SessionInput& input = work_.input;
    input.starts.reserve(static_cast<size_t>(request_.starts_size()));
    for (const v1::TaskStart& start : request_.starts()) {
      if (auto task = Parse(start)) input.starts.push_back({*task, FencingToken(start.fencing_token())});
    }
    input.outcomes.reserve(static_cast<size_t>(request_.outcomes_size()));
    for (v1::TaskOutcome& outcome : *request_.mutable_outcomes()) {
      if (auto task = Parse(outcome)) ReadOutcome(*task, &outcome);
    }
    for (const v1::ProgressReport& report : request_.progress_reports()) {
      if (auto task = Parse(report)) ReadProgress(*task, report);
    }
    for (const v1::LogReport& report : request_.log_reports()) {
      if (auto task = Parse(report)) ReadLog(*task, report);
    }
  }

 private:
  template <class Part>
  std::optional<TaskId> Parse(const Part& part) {
    auto task = CheckTaskId(FieldPath("task_id"), part.task_id());
    if (task.ok()) return *task;
    Refuse(part, task.status());
    return std::nullopt;
  }

  template <class Part>
  void Refuse(const Part& part, const absl::Status& problem) {
    v1::Refusal& refusal = work_.refusals.emplace_back();
    refusal.set_task_id(std::string(CutEnd(part.task_id(), kTaskIdBytesShown)));
    refusal.set_fencing_token(part.fencing_token());
    refusal.set_reason(v1::Refusal::REASON_INVALID);
    refusal.set_message(std::string(problem.message()));
  }

  void ReadOutcome(TaskId task, v1::TaskOutcome* from) {
    TaskOutcome outcome;
    const absl::Status status = ConvertOutcome(from, limits_, now_, &outcome);
    if (!status.ok()) {
      Refuse(*from, status);
      outcome = {};
      outcome.kind = OutcomeKind::kFailed;
      // The refusal's message goes into the request, so that its bytes live as long as the views of the input.
      v1::TaskError* error = from->mutable_failed()->mutable_error();
      error->Clear();
      error->set_type("invalid outcome");
      error->set_message(std::string(status.message()));
      outcome.error = {error->type(), error->message(), {}};
    }
    outcome.task = task;
    outcome.token = FencingToken(from->fencing_token());
    work_.input.outcomes.push_back(outcome);
  }

  void ReadProgress(TaskId task, const v1::ProgressReport& report) {
    const absl::Status status = CheckReal(FieldPath("percent"), report.percent(), 0, 100);
    if (!status.ok()) return Refuse(report, status);
    ProgressReport progress{task, FencingToken(report.fencing_token()), report.percent(),
                            CutEnd(report.text(), limits_.text)};
    if (report.has_checkpoint()) {
      // Half of one would be of no use: what was saved before stays.
      if (report.checkpoint().size() > limits_.checkpoint) {
        return Refuse(report,
                      BadField(FieldPath("checkpoint"),
                               fmt::format("must be at most {} bytes (limits.checkpoint), is {}; what was saved "
                                           "before stays",
                                           limits_.checkpoint, report.checkpoint().size())));
      }
      progress.checkpoint = report.checkpoint();
    }
    work_.input.progress_reports.push_back(progress);
  }

  void ReadLog(TaskId task, const v1::LogReport& report) {
    LogReport log{task, FencingToken(report.fencing_token()), {}};
    log.lines.reserve(static_cast<size_t>(report.lines_size()));
    for (int i = 0; i < report.lines_size(); ++i) {
      const v1::LogLine& line = report.lines(i);
      Time time = now_;
      if (line.has_time()) {
        auto checked = CheckTime(FieldPath(FieldPath("lines", i), "time"), line.time());
        if (!checked.ok()) return Refuse(report, checked.status());
        time = *checked;
      }
      log.lines.push_back({time, CutEnd(line.text(), limits_.log_line)});
    }
    if (!log.lines.empty()) work_.input.log_reports.push_back(std::move(log));
  }

  v1::WorkRequest& request_;
  const ApiLimits& limits_;
  const Time now_;
  ConvertedWork& work_;
};

size_t BytesOf(const SessionInput& input, size_t request_bytes) {
  size_t bytes = sizeof(SessionInput) + request_bytes;
  bytes += input.starts.size() * sizeof(TaskStart) + input.outcomes.size() * sizeof(TaskOutcome);
  for (const TaskOutcome& outcome : input.outcomes) {
    if (outcome.enqueue == nullptr) continue;
    for (const NewTask& task : *outcome.enqueue) bytes += sizeof(NewTask) + task.spec.size();
  }
  bytes += input.progress_reports.size() * sizeof(ProgressReport) + input.log_reports.size() * sizeof(LogReport);
  return bytes + input.type_credits.size() * sizeof(TypeCredit) + input.stuck_tasks.size() * sizeof(TaskId);
}

}  // namespace

absl::StatusOr<Sized<OpenSessionCommand>> ToCommand(const v1::Hello& hello, const ApiLimits& limits) {
  const FieldPath at("hello");
  Sized<OpenSessionCommand> sized;
  OpenSessionCommand& command = sized.command;
  RETURN_IF_ERROR(CheckSize(FieldPath(at, "worker_name"), hello.worker_name(), 1, limits.label));
  RETURN_IF_ERROR(ConvertNames(hello, at, limits, &command));
  RETURN_IF_ERROR(CheckNumber(FieldPath(at, "concurrency"), hello.concurrency(), 1, limits.concurrency));
  if (hello.has_lease()) {
    ASSIGN_OR_RETURN(command.lease,
                     CheckSpan(FieldPath(at, "lease"), hello.lease(), limits.lease_min, limits.lease_max));
  }
  RETURN_IF_ERROR(CheckSize(FieldPath(at, "session_id"), hello.session_id(), 0, kSessionIdBytesMax));
  command.session_id = hello.session_id();
  command.resume = !hello.session_id().empty();
  RETURN_IF_ERROR(ConvertHeldTasks(hello, at, limits, &command));
  RETURN_IF_ERROR(CheckSize(FieldPath(at, "host"), hello.host(), 0, limits.label));
  RETURN_IF_ERROR(CheckNumber(FieldPath(at, "pid"), hello.pid(), 0, INT32_MAX));
  RETURN_IF_ERROR(CheckSize(FieldPath(at, "version"), hello.version(), 0, limits.label));
  RETURN_IF_ERROR(CheckLabels(FieldPath(at, "labels"), hello.labels(), limits.worker_labels, limits.label_part));
  command.labels.insert(hello.labels().begin(), hello.labels().end());
  command.worker_name = hello.worker_name();
  command.concurrency = static_cast<uint32_t>(hello.concurrency());
  command.host = hello.host();
  command.pid = hello.pid();
  command.version = hello.version();
  sized.bytes = sizeof(OpenSessionCommand) + hello.ByteSizeLong() + command.held_tasks.size() * sizeof(HeldTask);
  return sized;
}

std::shared_ptr<v1::WorkRequest> NewWorkRequest() {
  auto arena = std::make_shared<google::protobuf::Arena>();
  return {arena, google::protobuf::Arena::CreateMessage<v1::WorkRequest>(arena.get())};
}

bool HasInput(const v1::WorkRequest& request) {
  return request.credit() != 0 || request.type_credits_size() > 0 || request.starts_size() > 0 ||
         request.outcomes_size() > 0 || request.progress_reports_size() > 0 || request.log_reports_size() > 0 ||
         request.stuck_changed() || request.draining() || request.goodbye();
}

absl::StatusOr<ConvertedWork> ToInput(const std::shared_ptr<v1::WorkRequest>& request, size_t request_bytes,
                                      const ApiLimits& limits, Time now) {
  ConvertedWork work;
  WorkReader reader(request.get(), limits, now, &work);
  RETURN_IF_ERROR(reader.ReadSession());
  reader.ReadTasks();
  work.input.keepalive = request;
  work.bytes = BytesOf(work.input, request_bytes);
  return work;
}

void ToProto(const Refusal& refusal, v1::Refusal* out) {
  out->set_task_id(refusal.task.ToString());
  out->set_fencing_token(refusal.token.value());
  switch (refusal.reason) {
    case RefusalReason::kStaleLease:
      out->set_reason(v1::Refusal::REASON_STALE_LEASE);
      out->set_message("the lease is no longer this session's");
      break;
    case RefusalReason::kAlreadyFinished:
      out->set_reason(v1::Refusal::REASON_ALREADY_FINISHED);
      out->set_message("finished before under this lease");
      break;
    case RefusalReason::kInvalid:
      out->set_reason(v1::Refusal::REASON_INVALID);
      out->set_message(refusal.message);
      break;
  }
}

void ToProto(const SessionWelcome& welcome, const ApiLimits& limits, const std::string& broker_version,
             v1::Welcome* out) {
  out->set_session_id(welcome.session_id);
  out->set_resumed(welcome.resumed);
  SetDuration(welcome.lease, out->mutable_lease());
  for (TaskId task : welcome.lost_tasks) out->add_lost_task_ids(task.ToString());
  for (TaskId task : welcome.cancelled_tasks) out->add_cancelled_task_ids(task.ToString());
  out->set_broker_version(broker_version);
  out->set_max_result_bytes(limits.result);
}

}  // namespace penstock::broker
