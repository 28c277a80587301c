#include "broker/rpc/convert_bulk.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "broker/rpc/fields.h"
#include "common/status.h"
#include "fmt/format.h"
#include "xxhash.h"

namespace penstock::broker {
namespace {

constexpr double kRateMin = 0.001;
constexpr double kRateMax = 1'000'000;

// "dead" of TASK_STATE_DEAD.
std::string StateWord(v1::TaskState state) {
  return absl::AsciiStrToLower(v1::TaskState_Name(state).substr(std::string_view("TASK_STATE_").size()));
}

std::string WordsOf(const std::vector<v1::TaskState>& states) {
  std::vector<std::string> words;
  words.reserve(states.size());
  for (v1::TaskState state : states) words.push_back(StateWord(state));
  return fmt::format("{}", fmt::join(words, ", "));
}

absl::Status CheckStates(const v1::BulkJobSpec& spec) {
  const std::vector<v1::TaskState> valid = StatesOf(spec.action());
  for (int i = 0; i < spec.filter().states_size(); ++i) {
    const v1::TaskState state = spec.filter().states(i);
    if (std::find(valid.begin(), valid.end(), state) != valid.end()) continue;
    return absl::FailedPreconditionError(fmt::format("spec.filter.states[{}]: {} is not for {} tasks; it is for {}", i,
                                                     WordOf(spec.action()), StateWord(state), WordsOf(valid)));
  }
  return absl::OkStatus();
}

}  // namespace

std::vector<v1::TaskState> StatesOf(v1::BulkAction action) {
  switch (action) {
    case v1::BULK_ACTION_CANCEL:
      return {v1::TASK_STATE_SCHEDULED, v1::TASK_STATE_AVAILABLE, v1::TASK_STATE_RUNNING, v1::TASK_STATE_RETRYABLE};
    case v1::BULK_ACTION_RETRY:
      return {v1::TASK_STATE_SCHEDULED, v1::TASK_STATE_RETRYABLE, v1::TASK_STATE_DEAD};
    case v1::BULK_ACTION_DELETE:
      return {v1::TASK_STATE_SCHEDULED, v1::TASK_STATE_AVAILABLE, v1::TASK_STATE_RETRYABLE, v1::TASK_STATE_DEAD,
              v1::TASK_STATE_CANCELLED};
    default:
      return {};
  }
}

std::string WordOf(v1::BulkAction action) {
  return absl::AsciiStrToLower(v1::BulkAction_Name(action).substr(std::string_view("BULK_ACTION_").size()));
}

absl::StatusOr<std::shared_ptr<const TaskFilter>> ToBulkFilter(const v1::BulkJobSpec& spec, const ApiLimits& limits,
                                                               Time begin) {
  const FieldPath at("spec");
  ASSIGN_OR_RETURN(TaskFilter filter, TaskFilter::Make(FieldPath(at, "filter"), spec.filter(), limits));
  // What a retry did not help is not retried again and again by the same job.
  filter.set_settled_by(begin);
  return std::make_shared<const TaskFilter>(std::move(filter));
}

absl::StatusOr<BulkOrder> ToOrder(const v1::StartBulkJobRequest& request, const ApiLimits& limits, Time now) {
  const FieldPath at("spec");
  BulkOrder order;
  order.spec = request.spec();
  v1::BulkJobSpec& spec = order.spec;
  if (StatesOf(spec.action()).empty()) {
    return BadField(FieldPath(at, "action"), "must be BULK_ACTION_CANCEL, BULK_ACTION_RETRY or BULK_ACTION_DELETE");
  }
  if (!spec.has_filter()) return BadField(FieldPath(at, "filter"), "is required");
  if (spec.rate() != 0) RETURN_IF_ERROR(CheckReal(FieldPath(at, "rate"), spec.rate(), kRateMin, kRateMax));
  RETURN_IF_ERROR(CheckSize(FieldPath(at, "reason"), spec.reason(), 0, limits.text));
  if (!spec.reason().empty() && spec.action() != v1::BULK_ACTION_CANCEL) {
    return BadField(FieldPath(at, "reason"), "is kept with cancelled tasks only: leave it out");
  }
  RETURN_IF_ERROR(CheckSize(FieldPath("request_id"), request.request_id(), 0, limits.request_id));
  // First what is wrong with the filter itself.
  RETURN_IF_ERROR(ToBulkFilter(spec, limits, now).status());
  RETURN_IF_ERROR(CheckStates(spec));
  if (spec.filter().states().empty()) {
    for (v1::TaskState state : StatesOf(spec.action())) spec.mutable_filter()->add_states(state);
  }
  ASSIGN_OR_RETURN(order.filter, ToBulkFilter(spec, limits, now));
  const auto& states = spec.filter().states();
  if (std::none_of(states.begin(), states.end(),
                   [&](int state) { return order.filter->MayFit(static_cast<v1::TaskState>(state)); })) {
    return absl::FailedPreconditionError(
        "spec.filter: nothing can fit: of cancelled tasks neither payload, tags, key nor group are kept");
  }
  if (!request.request_id().empty()) {
    const std::string bytes = "b" + request.request_id();
    const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
    order.request = {hash.high64, hash.low64};
  }
  return order;
}

}  // namespace penstock::broker
