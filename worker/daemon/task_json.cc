#include "worker/daemon/task_json.h"

#include <algorithm>
#include <string>
#include <utility>

#include "common/names.h"
#include "common/status.h"
#include "common/status_details.h"
#include "fmt/format.h"
#include "google/protobuf/util/json_util.h"
#include "nlohmann/json.hpp"

namespace penstock {

absl::StatusOr<v1::TaskSpec> ParseTaskJson(std::string_view text) {
  nlohmann::json task = nlohmann::json::parse(text, nullptr, false);
  if (!task.is_object()) {
    return absl::InvalidArgumentError(R"(is no JSON object; write {"queue": ..., "type": ..., "text": ...})");
  }
  const auto given = task.contains("payload") + task.contains("text") + task.contains("json");
  if (given > 1) return absl::InvalidArgumentError("set one of text, json and payload (Base64)");
  std::string payload, content_type;
  if (const auto found = task.find("text"); found != task.end()) {
    if (!found->is_string()) return InvalidField("text", "must be a string");
    payload = found->get<std::string>();
    task.erase(found);
  } else if (const auto json = task.find("json"); json != task.end()) {
    payload = json->dump();
    content_type = "application/json";
    task.erase(json);
  }
  v1::TaskSpec spec;
  if (const auto status = google::protobuf::util::JsonStringToMessage(task.dump(), &spec); !status.ok()) {
    return absl::InvalidArgumentError(std::string(status.message()));
  }
  if (!payload.empty()) spec.set_payload(std::move(payload));
  if (spec.content_type().empty()) spec.set_content_type(content_type);
  if (const std::string problem = ProblemOfName(spec.queue()); !problem.empty()) return InvalidField("queue", problem);
  if (const std::string problem = ProblemOfName(spec.type()); !problem.empty()) return InvalidField("type", problem);
  return spec;
}

absl::StatusOr<v1::TaskSpec> ParseTaskOptions(std::string_view options, const std::string& queue,
                                              const std::string& type) {
  nlohmann::json task = options.empty() ? nlohmann::json::object() : nlohmann::json::parse(options, nullptr, false);
  if (!task.is_object()) return absl::InvalidArgumentError(R"(the options are no JSON object; write {"delay": "30s"})");
  for (const char* name : {"queue", "type", "payload", "text", "json"}) {
    if (task.contains(name)) return InvalidField(name, "is given apart from the options");
  }
  if (const std::string problem = ProblemOfName(queue); !problem.empty()) return InvalidField("queue", problem);
  if (const std::string problem = ProblemOfName(type); !problem.empty()) return InvalidField("type", problem);
  task["queue"] = queue;
  task["type"] = type;
  return ParseTaskJson(task.dump());
}

absl::Status EnqueueTaskLines(std::string_view lines, TaskContext& context) {
  for (int number = 1; !lines.empty(); ++number) {
    const std::string_view line = lines.substr(0, lines.find('\n'));
    lines.remove_prefix(std::min(line.size() + 1, lines.size()));
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    absl::StatusOr<v1::TaskSpec> task = ParseTaskJson(line);
    absl::Status status = task.status();
    if (status.ok()) status = context.EnqueueSpec(*std::move(task));
    if (!status.ok()) return Annotate(status, fmt::format("line {}", number));
  }
  return absl::OkStatus();
}

}  // namespace penstock
