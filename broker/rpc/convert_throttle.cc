#include "broker/rpc/convert_throttle.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "broker/rpc/convert.h"
#include "broker/rpc/fields.h"
#include "common/status.h"
#include "fmt/format.h"

namespace penstock::broker {
namespace {

using Names = google::protobuf::RepeatedPtrField<std::string>;

absl::StatusOr<std::vector<std::string>> ToNames(const FieldPath* parent, std::string_view field, const Names& names,
                                                 const ApiLimits& limits) {
  const auto at = [&](int index) { return FieldPath(parent, field, index); };
  if (static_cast<size_t>(names.size()) > limits.throttle_names) {
    return BadField(at(-1), fmt::format("must be at most {}, are {}", limits.throttle_names, names.size()));
  }
  for (int i = 0; i < names.size(); ++i) RETURN_IF_ERROR(CheckName(at(i), names[i], limits.name));
  return std::vector<std::string>(names.begin(), names.end());
}

absl::StatusOr<ThrottleRate> ToRate(const FieldPath& at, const v1::ThrottleRate& request, const ApiLimits& limits) {
  ThrottleRate rate;
  RETURN_IF_ERROR(CheckNumber(FieldPath(at, "tasks"), request.tasks(), 1, limits.throttle_units));
  rate.tasks = request.tasks();
  ASSIGN_OR_RETURN(rate.period, CheckSpan(FieldPath(at, "period"), request.period(), kMilli, kDay));
  RETURN_IF_ERROR(CheckNumber(FieldPath(at, "burst"), request.burst(), 0, limits.throttle_units));
  rate.burst = request.burst();
  return rate;
}

// What a new throttle and a changed one have in common. `parent`: where the fields stand; null: in the request itself.
template <class Request>
absl::Status ReadCommon(const FieldPath* parent, const Request& request, const ApiLimits& limits,
                        ThrottleChange* change) {
  const auto at = [parent](std::string_view name) { return FieldPath(parent, name); };
  if (request.queues_size() > 0) {
    ASSIGN_OR_RETURN(change->queues, ToNames(parent, "queues", request.queues(), limits));
  }
  if (request.types_size() > 0) {
    ASSIGN_OR_RETURN(change->types, ToNames(parent, "types", request.types(), limits));
  }
  if (request.per() != v1::THROTTLE_PER_UNSPECIFIED) {
    if (!v1::ThrottlePer_IsValid(request.per())) {
      return BadField(at("per"), fmt::format("{} is nothing to count by; valid are all, queue, type, group and key",
                                             static_cast<int>(request.per())));
    }
    change->per = static_cast<ThrottlePer>(request.per());
  }
  RETURN_IF_ERROR(CheckNumber(at("max_running"), request.max_running(), 0, limits.throttle_units));
  RETURN_IF_ERROR(CheckSize(at("note"), request.note(), 0, limits.text));
  return absl::OkStatus();
}

ThrottleCommand Finish(ThrottleVerb verb, const std::string& name, ThrottleChange change) {
  ThrottleCommand command;
  command.verb = verb;
  command.name = name;
  command.change = std::make_shared<const ThrottleChange>(std::move(change));
  return command;
}

}  // namespace

absl::StatusOr<ThrottleCommand> ToCommand(const v1::CreateThrottleRequest& request, const ApiLimits& limits) {
  const FieldPath at("throttle");
  const v1::Throttle& throttle = request.throttle();
  RETURN_IF_ERROR(CheckName(FieldPath(at, "name"), throttle.name(), limits.name));
  ThrottleChange change;
  RETURN_IF_ERROR(ReadCommon(&at, throttle, limits, &change));
  change.max_running = throttle.max_running();
  if (throttle.has_rate()) {
    ASSIGN_OR_RETURN(change.rate, ToRate(FieldPath(at, "rate"), throttle.rate(), limits));
  }
  change.note = throttle.note();
  return Finish(ThrottleVerb::kCreate, throttle.name(), std::move(change));
}

absl::StatusOr<ThrottleCommand> ToCommand(const v1::UpdateThrottleRequest& request, const ApiLimits& limits) {
  RETURN_IF_ERROR(CheckName(FieldPath("name"), request.name(), limits.name));
  ThrottleChange change;
  RETURN_IF_ERROR(ReadCommon(nullptr, request, limits, &change));
  if (request.all_queues()) {
    if (change.queues) return BadField(FieldPath("queues"), "must be empty with all_queues");
    change.queues.emplace();
  }
  if (request.all_types()) {
    if (change.types) return BadField(FieldPath("types"), "must be empty with all_types");
    change.types.emplace();
  }
  if (request.has_max_running()) change.max_running = request.max_running();
  if (request.has_rate()) {
    const v1::ThrottleRate& rate = request.rate();
    change.rate.emplace();
    if (rate.tasks() != 0 || rate.has_period() || rate.burst() != 0) {
      ASSIGN_OR_RETURN(change.rate, ToRate(FieldPath("rate"), rate, limits));
    }
  }
  if (request.has_note()) change.note = request.note();
  return Finish(ThrottleVerb::kUpdate, request.name(), std::move(change));
}

absl::StatusOr<ThrottleCommand> ToThrottleCommand(ThrottleVerb verb, std::string_view name, const ApiLimits& limits) {
  return ToNamedCommand<ThrottleCommand>(verb, name, limits);
}

absl::StatusOr<ListThrottlesCommand> ToCommand(const v1::ListThrottlesRequest& request, const ApiLimits& limits) {
  return ToNamePage<ListThrottlesCommand>(request, "ListThrottles", limits);
}

void ToProto(const ThrottleView& throttle, v1::Throttle* out) {
  const ThrottleDefinition& definition = throttle.definition;
  out->set_name(throttle.name);
  out->mutable_queues()->Assign(definition.queues.begin(), definition.queues.end());
  out->mutable_types()->Assign(definition.types.begin(), definition.types.end());
  out->set_per(static_cast<v1::ThrottlePer>(definition.per));
  out->set_max_running(definition.max_running);
  if (definition.rate.tasks > 0) {
    out->mutable_rate()->set_tasks(definition.rate.tasks);
    SetDuration(definition.rate.period, out->mutable_rate()->mutable_period());
    out->mutable_rate()->set_burst(MakeBucket(definition.rate).burst);
  }
  out->set_note(definition.note);
  SetTimestamp(throttle.create_time, out->mutable_create_time());
  SetTimestamp(throttle.update_time, out->mutable_update_time());
  out->set_running(throttle.running);
  out->set_waiting_meters(throttle.waiting_meters);
  for (const MeterView& meter : throttle.meters) {
    v1::ThrottleMeter* view = out->add_meters();
    view->set_scope(meter.scope);
    view->set_running(meter.running);
    view->set_available(meter.available);
    view->set_state(static_cast<v1::MeterState>(meter.state));
    if (meter.opens != 0) SetTimestamp(meter.opens, view->mutable_open_time());
    view->set_waiting(meter.waiting);
  }
  out->set_more_meters(throttle.more_meters);
}

}  // namespace penstock::broker
