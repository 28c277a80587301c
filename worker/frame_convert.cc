#include "worker/frame_convert.h"

#include <errno.h>
#include <unistd.h>

#include <algorithm>

#include "common/version.h"
#include "fmt/format.h"
#include "worker/follow_ups.h"

namespace penstock {
namespace {

// The longest that a task may be put off.
constexpr absl::Duration kDelayMax = absl::Hours(24 * 365);

void Set(absl::Duration value, google::protobuf::Duration* out) {
  absl::Duration rest;
  out->set_seconds(absl::IDivDuration(value, absl::Seconds(1), &rest));
  out->set_nanos(static_cast<int32_t>(rest / absl::Nanoseconds(1)));
}

std::string HostName() {
  char name[256] = {};
  gethostname(name, sizeof(name) - 1);
  return name;
}

void SetError(const HandlerError& error, v1::TaskError* out) {
  out->set_type(error.type);
  out->set_message(error.message);
  out->set_detail(error.detail);
}

v1::CoolScope ToProto(CoolScope scope) {
  switch (scope) {
    case CoolScope::kTask:
      return v1::COOL_SCOPE_UNSPECIFIED;
    case CoolScope::kQueue:
      return v1::COOL_SCOPE_QUEUE;
    case CoolScope::kType:
      return v1::COOL_SCOPE_TYPE;
    case CoolScope::kGroup:
      return v1::COOL_SCOPE_GROUP;
    case CoolScope::kKey:
      return v1::COOL_SCOPE_KEY;
  }
  return v1::COOL_SCOPE_UNSPECIFIED;
}

// What the outcome's delay cools; nothing for no time is nothing.
v1::CoolScope CoolOf(const Outcome& outcome) {
  return outcome.delay() > absl::ZeroDuration() ? ToProto(outcome.cool()) : v1::COOL_SCOPE_UNSPECIFIED;
}

absl::Duration DelayOf(const Outcome& outcome) {
  const absl::Duration longest = outcome.cool() == CoolScope::kTask ? kDelayMax : kCoolMax;
  return std::clamp(outcome.delay(), absl::ZeroDuration(), longest);
}

void SetOutcome(const WorkerCore::OutcomeReport& report, size_t max_result_bytes, v1::TaskOutcome* out) {
  const Outcome& outcome = report.outcome;
  out->set_task_id(report.task.ToString());
  out->set_fencing_token(report.token);
  if (report.run_time > absl::ZeroDuration()) Set(report.run_time, out->mutable_run_time());
  switch (outcome.kind()) {
    case Outcome::Kind::kDone:
      if (outcome.result().size() > max_result_bytes) {
        auto* failed = out->mutable_failed();
        failed->mutable_error()->set_type("result too large");
        failed->mutable_error()->set_message(
            fmt::format("the result has {} bytes; the broker takes {}: store it elsewhere and return where",
                        outcome.result().size(), max_result_bytes));
        failed->set_reject(true);
        return;
      }
      out->mutable_completed()->set_result(outcome.result());
      out->mutable_completed()->set_content_type(outcome.content_type());
      if (outcome.follow_ups() != nullptr) {
        for (const v1::TaskSpec& task : outcome.follow_ups()->tasks) *out->mutable_completed()->add_enqueue() = task;
      }
      return;
    case Outcome::Kind::kRetry:
    case Outcome::Kind::kReject:
      SetError(outcome.error(), out->mutable_failed()->mutable_error());
      out->mutable_failed()->set_reject(outcome.kind() == Outcome::Kind::kReject);
      if (outcome.delay() >= absl::ZeroDuration()) {
        Set(DelayOf(outcome), out->mutable_failed()->mutable_retry_after());
        out->mutable_failed()->set_cool(CoolOf(outcome));
      }
      return;
    case Outcome::Kind::kSnooze:
      Set(DelayOf(outcome), out->mutable_snoozed()->mutable_delay());
      out->mutable_snoozed()->set_cool(CoolOf(outcome));
      return;
    case Outcome::Kind::kRelease:
      out->mutable_released();
      return;
    case Outcome::Kind::kCancelled:
      out->mutable_cancelled();
      return;
  }
}

}  // namespace

absl::Duration ToDuration(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
}

TaskDelivery ToDelivery(v1::Delivery* in) {
  TaskDelivery task;
  task.id = TaskId::Parse(in->task_id()).value_or(TaskId());
  task.fencing_token = in->fencing_token();
  task.attempt = in->attempt();
  task.max_attempts = in->max_attempts();
  task.create_time = absl::FromUnixSeconds(in->create_time().seconds()) + absl::Nanoseconds(in->create_time().nanos());
  task.run_timeout = ToDuration(in->run_timeout());
  v1::TaskSpec& spec = *in->mutable_spec();
  task.queue = std::move(*spec.mutable_queue());
  task.type = std::move(*spec.mutable_type());
  task.payload = std::move(*spec.mutable_payload());
  task.content_type = std::move(*spec.mutable_content_type());
  for (auto& [key, value] : *spec.mutable_headers()) task.headers[key] = std::move(value);
  for (auto& tag : *spec.mutable_tags()) task.tags.push_back(std::move(tag));
  task.key = std::move(*spec.mutable_key());
  task.group = std::move(*spec.mutable_group());
  task.checkpoint = std::move(*in->mutable_checkpoint());
  return task;
}

void FillHello(const WorkerOptions& options, const std::vector<std::pair<std::string, int>>& types,
               const std::string& session_id, const std::vector<WorkerCore::HeldTask>& held_tasks, v1::Hello* hello) {
  hello->set_worker_name(options.name.empty() ? fmt::format("{}@{}", program_invocation_short_name, HostName())
                                              : options.name);
  for (const std::string& queue : options.queues) hello->add_queues(queue);
  for (const auto& [type, limit] : types) {
    auto* handled = hello->add_types();
    handled->set_type(type);
    handled->set_max_concurrency(limit);
  }
  for (const auto& [key, value] : options.labels) (*hello->mutable_labels())[key] = value;
  hello->set_concurrency(options.concurrency);
  Set(options.lease, hello->mutable_lease());
  hello->set_host(HostName());
  hello->set_pid(getpid());
  hello->set_version(options.version.empty() ? fmt::format("penstock {}", kVersion) : options.version);
  hello->set_late_acknowledgements(true);
  if (session_id.empty()) return;
  hello->set_session_id(session_id);
  for (const WorkerCore::HeldTask& task : held_tasks) {
    auto* held = hello->add_held_tasks();
    held->set_task_id(task.task.ToString());
    held->set_fencing_token(task.token);
    held->set_started(task.started);
  }
}

void FillRequest(const WorkerCore::Frame& frame, size_t max_result_bytes, v1::WorkRequest* request) {
  request->Clear();
  request->set_credit(frame.credit);
  for (const auto& [type, credit] : frame.type_credits) {
    auto* out = request->add_type_credits();
    out->set_type(type);
    out->set_credit(credit);
  }
  for (const auto& [task, token] : frame.starts) {
    auto* start = request->add_starts();
    start->set_task_id(task.ToString());
    start->set_fencing_token(token);
  }
  for (const WorkerCore::OutcomeReport* report : frame.outcomes) {
    SetOutcome(*report, max_result_bytes, request->add_outcomes());
  }
  for (const WorkerCore::ProgressReport& report : frame.progress) {
    auto* out = request->add_progress_reports();
    out->set_task_id(report.task.ToString());
    out->set_fencing_token(report.token);
    out->set_percent(report.percent);
    out->set_text(report.text);
    if (report.checkpoint) out->set_checkpoint(*report.checkpoint);
  }
  for (const WorkerCore::LogReport& report : frame.logs) {
    auto* out = request->add_log_reports();
    out->set_task_id(report.task.ToString());
    out->set_fencing_token(report.token);
    for (const auto& [time, text] : report.lines) {
      auto* line = out->add_lines();
      const int64_t seconds = absl::ToUnixSeconds(time);
      line->mutable_time()->set_seconds(seconds);
      line->mutable_time()->set_nanos(
          static_cast<int32_t>((time - absl::FromUnixSeconds(seconds)) / absl::Nanoseconds(1)));
      line->set_text(text);
    }
  }
  request->set_frame_number(frame.number);
  request->set_stuck_changed(frame.stuck_changed);
  for (TaskId task : frame.stuck) request->add_stuck_task_ids(task.ToString());
  request->set_draining(frame.draining);
}

}  // namespace penstock
