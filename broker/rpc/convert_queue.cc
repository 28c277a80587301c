#include "broker/rpc/convert_queue.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "broker/rpc/convert.h"
#include "broker/rpc/fields.h"
#include "common/status.h"
#include "fmt/format.h"

namespace penstock::broker {
namespace {

constexpr uint32_t kDeadTasksDefault = 1'000;
constexpr size_t kGroupWeightsMax = 1'000;

// Reads settings of a request one by one: those that are set, or those that a mask names.
class SettingsReader {
 public:
  SettingsReader(const v1::QueueSettings& settings, const ApiLimits& limits, QueueSettingsChange* change)
      : settings_(settings), limits_(limits), change_(*change) {}

  absl::Status ReadAllThatAreSet() {
    if (settings_.durability() != v1::DURABILITY_UNSPECIFIED) RETURN_IF_ERROR(ReadDurability());
    if (settings_.has_retry_policy()) RETURN_IF_ERROR(ReadRetryPolicy());
    if (settings_.has_result_retention()) RETURN_IF_ERROR(ReadResultRetention());
    if (settings_.has_dead_retention()) RETURN_IF_ERROR(ReadDeadRetention());
    if (settings_.has_cancelled_retention()) RETURN_IF_ERROR(ReadCancelledRetention());
    if (settings_.has_run_timeout()) RETURN_IF_ERROR(ReadRunTimeout());
    if (settings_.dead_key_policy() != v1::DEAD_KEY_POLICY_UNSPECIFIED) RETURN_IF_ERROR(ReadDeadKeyPolicy());
    if (!settings_.group_weights().empty()) RETURN_IF_ERROR(ReadGroupWeights());
    if (settings_.max_waiting() != 0) change_.max_waiting = settings_.max_waiting();
    if (settings_.max_waiting_bytes() != 0) change_.max_waiting_bytes = settings_.max_waiting_bytes();
    if (settings_.overflow_policy() != v1::OVERFLOW_POLICY_UNSPECIFIED) RETURN_IF_ERROR(ReadOverflowPolicy());
    return absl::OkStatus();
  }

  absl::Status ReadPath(const FieldPath& field, std::string_view path) {
    if (path == "settings") {
      for (std::string_view part :
           {"durability", "retry_policy", "result_retention", "dead_retention", "run_timeout", "dead_key_policy",
            "group_weights", "max_waiting", "max_waiting_bytes", "overflow_policy", "cancelled_retention"}) {
        RETURN_IF_ERROR(ReadPath(field, fmt::format("settings.{}", part)));
      }
      return absl::OkStatus();
    }
    if (path == "settings.durability") return ReadDurability();
    if (path == "settings.retry_policy") return ReadRetryPolicy();
    if (path == "settings.result_retention") return ReadResultRetention();
    if (path == "settings.dead_retention") return ReadDeadRetention();
    if (path == "settings.cancelled_retention") return ReadCancelledRetention();
    if (path == "settings.run_timeout") return ReadRunTimeout();
    if (path == "settings.dead_key_policy") return ReadDeadKeyPolicy();
    if (path == "settings.group_weights") return ReadGroupWeights();
    if (path == "settings.overflow_policy") return ReadOverflowPolicy();
    if (path == "settings.max_waiting" || path == "settings.max_waiting_bytes") {
      const bool tasks = path == "settings.max_waiting";
      (tasks ? change_.max_waiting : change_.max_waiting_bytes) =
          tasks ? settings_.max_waiting() : settings_.max_waiting_bytes();
      return absl::OkStatus();
    }
    return BadField(field,
                    fmt::format("'{}' is no setting; settings, settings.durability, settings.retry_policy, "
                                "settings.result_retention, settings.dead_retention, settings.run_timeout, "
                                "settings.dead_key_policy, settings.group_weights, settings.max_waiting, "
                                "settings.max_waiting_bytes, settings.overflow_policy and settings.cancelled_retention "
                                "are",
                                CutEnd(path, 128)));
  }

 private:
  absl::Status ReadDurability() {
    const v1::Durability durability = settings_.durability();
    if (!v1::Durability_IsValid(durability)) {
      return BadField(FieldPath(at_, "durability"),
                      fmt::format("{} is no durability; valid are sync and relaxed", static_cast<int>(durability)));
    }
    change_.relaxed = durability == v1::DURABILITY_RELAXED;
    return absl::OkStatus();
  }
  absl::Status ReadRetryPolicy() {
    ASSIGN_OR_RETURN(const RetryPolicyChange change,
                     ToRetryPolicyChange(FieldPath(at_, "retry_policy"), settings_.retry_policy(), limits_));
    change_.retry_policy = change.On(limits_.queue_defaults.retry_policy);
    return absl::OkStatus();
  }
  absl::Status ReadResultRetention() {
    return ReadSpan("result_retention", settings_.has_result_retention(), settings_.result_retention(), 0,
                    limits_.postpone_max, limits_.queue_defaults.result_retention, &change_.result_retention);
  }
  absl::Status ReadDeadRetention() {
    return ReadSpan("dead_retention", settings_.has_dead_retention(), settings_.dead_retention(), 0,
                    limits_.dead_retention_max, limits_.queue_defaults.dead_retention, &change_.dead_retention);
  }
  absl::Status ReadCancelledRetention() {
    std::optional<Span>& retention = change_.cancelled_retention.emplace();
    if (!settings_.has_cancelled_retention()) return absl::OkStatus();
    ASSIGN_OR_RETURN(retention, CheckSpan(FieldPath(at_, "cancelled_retention"), settings_.cancelled_retention(), 0,
                                          limits_.postpone_max));
    return absl::OkStatus();
  }
  absl::Status ReadRunTimeout() {
    return ReadSpan("run_timeout", settings_.has_run_timeout(), settings_.run_timeout(), kMilli,
                    limits_.run_timeout_max, limits_.queue_defaults.run_timeout, &change_.run_timeout);
  }
  absl::Status ReadDeadKeyPolicy() {
    const v1::DeadKeyPolicy policy = settings_.dead_key_policy();
    if (!v1::DeadKeyPolicy_IsValid(policy)) {
      return BadField(
          FieldPath(at_, "dead_key_policy"),
          fmt::format("{} is no policy for dead keys; valid are release and block", static_cast<int>(policy)));
    }
    change_.dead_blocks_key = policy == v1::DEAD_KEY_POLICY_BLOCK;
    return absl::OkStatus();
  }
  absl::Status ReadOverflowPolicy() {
    const v1::OverflowPolicy policy = settings_.overflow_policy();
    if (!v1::OverflowPolicy_IsValid(policy)) {
      return BadField(
          FieldPath(at_, "overflow_policy"),
          fmt::format("{} is no overflow policy; valid are reject and drop oldest", static_cast<int>(policy)));
    }
    change_.drop_oldest = policy == v1::OVERFLOW_POLICY_DROP_OLDEST;
    return absl::OkStatus();
  }
  absl::Status ReadGroupWeights() {
    const FieldPath field(at_, "group_weights");
    if (settings_.group_weights().size() > kGroupWeightsMax) {
      return BadField(field,
                      fmt::format("must be at most {}, are {}", kGroupWeightsMax, settings_.group_weights().size()));
    }
    std::map<std::string, double> weights;
    for (const auto& [group, weight] : settings_.group_weights()) {
      RETURN_IF_ERROR(CheckSize(field, group, 1, limits_.key));
      if (!(weight >= 0.001 && weight <= 1'000)) {
        return BadField(field, fmt::format("must be 0.001 to 1000, that of group {} is {}", group, weight));
      }
      weights[group] = weight;
    }
    change_.group_weights = std::move(weights);
    return absl::OkStatus();
  }
  absl::Status ReadSpan(std::string_view name, bool has, const google::protobuf::Duration& value, Span min, Span max,
                        Span otherwise, std::optional<Span>* out) {
    *out = otherwise;
    if (!has) return absl::OkStatus();
    ASSIGN_OR_RETURN(*out, CheckSpan(FieldPath(at_, name), value, min, max));
    return absl::OkStatus();
  }

  const FieldPath queue_at_{"queue"};
  const FieldPath at_{queue_at_, "settings"};
  const v1::QueueSettings& settings_;
  const ApiLimits& limits_;
  QueueSettingsChange& change_;
};

absl::StatusOr<QueueCommand> ToQueueCommand(QueueVerb verb, const FieldPath& field, std::string_view name,
                                            const ApiLimits& limits) {
  QueueCommand command;
  RETURN_IF_ERROR(CheckName(field, name, limits.name));
  command.verb = verb;
  command.queue = name;
  return command;
}

template <class Request>
absl::StatusOr<DeadTasksCommand> ToDeadTasksCommand(DeadVerb verb, const Request& request, const ApiLimits& limits) {
  DeadTasksCommand command;
  command.verb = verb;
  RETURN_IF_ERROR(CheckName(FieldPath("queue"), request.queue(), limits.name));
  command.queue = request.queue();
  if (!request.type().empty()) RETURN_IF_ERROR(CheckName(FieldPath("type"), request.type(), limits.name));
  command.type = request.type();
  command.limit = kDeadTasksDefault;
  if (request.limit() != 0) {
    RETURN_IF_ERROR(CheckNumber(FieldPath("limit"), request.limit(), 1, limits.dead_tasks));
    command.limit = static_cast<uint32_t>(request.limit());
  }
  return command;
}

Span AgeOf(const QueueView& queue, Time now) {
  return queue.oldest_available == kNever ? 0 : std::max<Span>(now - queue.oldest_available, 0);
}

}  // namespace

absl::StatusOr<QueueCommand> ToCommand(const v1::CreateQueueRequest& request, const ApiLimits& limits) {
  const FieldPath at("queue");
  ASSIGN_OR_RETURN(QueueCommand command,
                   ToQueueCommand(QueueVerb::kCreate, FieldPath(at, "name"), request.queue().name(), limits));
  RETURN_IF_ERROR(SettingsReader(request.queue().settings(), limits, &command.settings).ReadAllThatAreSet());
  return command;
}

absl::StatusOr<QueueCommand> ToCommand(const v1::UpdateQueueRequest& request, const ApiLimits& limits) {
  const FieldPath at("queue");
  ASSIGN_OR_RETURN(QueueCommand command,
                   ToQueueCommand(QueueVerb::kUpdate, FieldPath(at, "name"), request.queue().name(), limits));
  SettingsReader reader(request.queue().settings(), limits, &command.settings);
  if (request.update_mask().paths().empty()) {
    RETURN_IF_ERROR(reader.ReadAllThatAreSet());
    return command;
  }
  const FieldPath mask("update_mask");
  for (int i = 0; i < request.update_mask().paths_size(); ++i) {
    RETURN_IF_ERROR(reader.ReadPath(FieldPath(mask, "paths", i), request.update_mask().paths(i)));
  }
  return command;
}

absl::StatusOr<QueueCommand> ToQueueCommand(QueueVerb verb, std::string_view name, const ApiLimits& limits) {
  return ToQueueCommand(verb, FieldPath("name"), name, limits);
}

absl::StatusOr<DeadTasksCommand> ToCommand(const v1::RedriveDeadTasksRequest& request, const ApiLimits& limits) {
  return ToDeadTasksCommand(DeadVerb::kRedrive, request, limits);
}

absl::StatusOr<DeadTasksCommand> ToCommand(const v1::PurgeDeadTasksRequest& request, const ApiLimits& limits) {
  return ToDeadTasksCommand(DeadVerb::kPurge, request, limits);
}

absl::StatusOr<ListKeysCommand> ToCommand(const v1::ListKeysRequest& request, const ApiLimits& limits) {
  RETURN_IF_ERROR(CheckName(FieldPath("queue"), request.queue(), limits.name));
  ListKeysCommand command;
  command.queue = request.queue();
  ASSIGN_OR_RETURN(const size_t page_size, ToPageSize(request.page_size(), limits));
  command.limit = static_cast<uint32_t>(page_size);
  return command;
}

absl::StatusOr<ReleaseKeyCommand> ToCommand(const v1::ReleaseKeyRequest& request, const ApiLimits& limits) {
  RETURN_IF_ERROR(CheckName(FieldPath("queue"), request.queue(), limits.name));
  RETURN_IF_ERROR(CheckSize(FieldPath("key"), request.key(), 1, limits.key));
  ReleaseKeyCommand command;
  command.queue = request.queue();
  command.key = request.key();
  return command;
}

absl::StatusOr<DrainWorkerCommand> ToCommand(const v1::DrainWorkerRequest& request, const ApiLimits& limits) {
  RETURN_IF_ERROR(CheckSize(FieldPath("worker"), request.worker(), 1, limits.label));
  DrainWorkerCommand command;
  command.worker = request.worker();
  return command;
}

void ToProto(const QueueView& queue, const Rates& rates, Time now, v1::Queue* out) {
  out->set_name(queue.name);
  v1::QueueSettings* settings = out->mutable_settings();
  settings->set_durability(queue.settings.relaxed ? v1::DURABILITY_RELAXED : v1::DURABILITY_SYNC);
  ToProto(queue.settings.retry_policy, settings->mutable_retry_policy());
  SetDuration(queue.settings.result_retention, settings->mutable_result_retention());
  SetDuration(queue.settings.dead_retention, settings->mutable_dead_retention());
  if (queue.settings.cancelled_retention) {
    SetDuration(*queue.settings.cancelled_retention, settings->mutable_cancelled_retention());
  }
  SetDuration(queue.settings.run_timeout, settings->mutable_run_timeout());
  settings->set_dead_key_policy(queue.settings.dead_blocks_key ? v1::DEAD_KEY_POLICY_BLOCK
                                                               : v1::DEAD_KEY_POLICY_RELEASE);
  for (const auto& [group, weight] : queue.settings.group_weights) (*settings->mutable_group_weights())[group] = weight;
  settings->set_max_waiting(queue.settings.max_waiting);
  settings->set_max_waiting_bytes(queue.settings.max_waiting_bytes);
  settings->set_overflow_policy(queue.settings.drop_oldest ? v1::OVERFLOW_POLICY_DROP_OLDEST
                                                           : v1::OVERFLOW_POLICY_REJECT);
  out->set_paused(queue.paused);
  out->set_draining(queue.draining);
  SetTimestamp(queue.create_time, out->mutable_create_time());
  v1::QueueStats* stats = out->mutable_stats();
  AddToTotals(queue, now, stats);
  stats->set_waiting_bytes(queue.waiting_bytes);
  stats->set_enqueue_rate(rates.enqueue);
  stats->set_finish_rate(rates.finish);
  if (queue.drained_in.known()) ToProto(queue.drained_in, stats->mutable_drained_in());
  for (const std::string& type : queue.unhandled_types) stats->add_unhandled_types(type);
}

void AddToTotals(const QueueView& queue, Time now, v1::QueueStats* totals) {
  const QueueCounters& counters = queue.counters;
  totals->set_scheduled(totals->scheduled() + counters.scheduled);
  totals->set_available(totals->available() + counters.available);
  totals->set_running(totals->running() + counters.running);
  totals->set_retryable(totals->retryable() + counters.retryable);
  totals->set_dead(totals->dead() + counters.dead);
  totals->set_enqueued_total(totals->enqueued_total() + counters.enqueued_total);
  totals->set_completed_total(totals->completed_total() + counters.completed_total);
  totals->set_failed_total(totals->failed_total() + counters.failed_total);
  totals->set_cancelled_total(totals->cancelled_total() + counters.cancelled_total);
  totals->set_dead_total(totals->dead_total() + counters.dead_total);
  const google::protobuf::Duration& oldest = totals->oldest_age();
  const Span age = std::max(AgeOf(queue, now), oldest.seconds() * kSecond + oldest.nanos() / 1'000);
  if (age > 0) SetDuration(age, totals->mutable_oldest_age());
}

void ToProto(const WorkerView& worker, v1::Worker* out) {
  out->set_worker_id(fmt::format("w{}", worker.number.value()));
  out->set_name(worker.name);
  out->set_host(worker.host);
  out->set_pid(worker.pid);
  out->set_version(worker.version);
  for (const std::string& queue : worker.queues) out->add_queues(queue);
  for (const std::string& type : worker.types) out->add_types(type);
  out->set_concurrency(static_cast<int32_t>(worker.concurrency));
  out->set_running(static_cast<int32_t>(worker.running));
  out->set_started(static_cast<int32_t>(worker.started));
  SetTimestamp(worker.connect_time, out->mutable_connect_time());
  SetDuration(worker.silence, out->mutable_silence());
  out->set_connected(worker.connected);
  out->set_draining(worker.draining);
  for (TaskId task : worker.stuck_tasks) out->add_stuck_task_ids(task.ToString());
  SetDuration(worker.oldest_run, out->mutable_oldest_run());
  out->mutable_labels()->insert(worker.labels.begin(), worker.labels.end());
}

}  // namespace penstock::broker
