#include "broker/rpc/convert_update.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "broker/rpc/fields.h"
#include "common/status.h"
#include "fmt/format.h"
#include "google/protobuf/field_mask.pb.h"
#include "google/protobuf/util/field_mask_util.h"

namespace penstock::broker {
namespace {

constexpr std::array<std::string_view, 17> kFields = {
    "queue",     "payload",      "content_type", "headers",     "priority",     "run_at",           "delay",
    "expire_at", "start_within", "life_timeout", "run_timeout", "retry_policy", "result_retention", "tags",
    "group",     "cost",         "worker_labels"};

bool IsSet(const v1::TaskSpec& spec, std::string_view name) {
  const auto* field = v1::TaskSpec::descriptor()->FindFieldByName(std::string(name));
  const auto* reflection = v1::TaskSpec::GetReflection();
  return field->is_repeated() ? reflection->FieldSize(spec, field) > 0 : reflection->HasField(spec, field);
}

bool IsStart(std::string_view field) { return field == "run_at" || field == "delay"; }

}  // namespace

absl::StatusOr<std::vector<std::string>> ChangedFields(const v1::UpdateTaskRequest& request) {
  std::vector<std::string> fields;
  const FieldPath mask("update_mask");
  for (int i = 0; i < request.update_mask().paths_size(); ++i) {
    const std::string& path = request.update_mask().paths(i);
    if (std::find(kFields.begin(), kFields.end(), path) == kFields.end()) {
      return BadField(FieldPath(mask, "paths", i),
                      fmt::format("'{}' cannot be changed; {} can", CutEnd(path, 128), fmt::join(kFields, ", ")));
    }
    if (std::find(fields.begin(), fields.end(), path) == fields.end()) fields.push_back(path);
  }
  if (!fields.empty()) return fields;
  for (std::string_view field : kFields) {
    if (IsSet(request.spec(), field)) fields.emplace_back(field);
  }
  if (fields.empty()) return BadField(FieldPath("spec"), "changes nothing; set a field, or name one in update_mask");
  return fields;
}

absl::StatusOr<Sized<UpdateTaskCommand>> ToCommand(const v1::UpdateTaskRequest& request,
                                                   const std::vector<std::string>& fields, v1::TaskSpec spec,
                                                   const ApiLimits& limits, Time now) {
  google::protobuf::FieldMask mask;
  bool starts_anew = false;
  for (const std::string& field : fields) {
    if (IsStart(field)) {
      starts_anew = true;
    } else {
      mask.add_paths(field);
    }
  }
  if (starts_anew) {
    spec.clear_start();
    mask.add_paths(request.spec().has_delay() ? "delay" : "run_at");
  }
  // Likewise of the two ways to expire, unless both are named: then both have to be right together.
  const auto named = [&](std::string_view field) {
    return std::find(fields.begin(), fields.end(), field) != fields.end();
  };
  if (named("expire_at") && request.spec().has_expire_at()) spec.clear_start_within();
  if (named("start_within") && request.spec().has_start_within()) spec.clear_expire_at();
  google::protobuf::util::FieldMaskUtil::MergeOptions options;
  options.set_replace_message_fields(true);
  options.set_replace_repeated_fields(true);
  google::protobuf::util::FieldMaskUtil::MergeMessageTo(request.spec(), mask, options, &spec);
  ASSIGN_OR_RETURN(ConvertedTasks converted, ToTasks(
                                                 {&spec}, [](size_t) { return FieldPath("spec"); }, limits, now));
  Sized<UpdateTaskCommand> sized;
  sized.command.changed = converted.tasks->front();
  sized.command.keep_start = !starts_anew;
  sized.command.keepalive = converted.tasks;
  sized.bytes = sizeof(UpdateTaskCommand) + converted.bytes;
  return sized;
}

}  // namespace penstock::broker
