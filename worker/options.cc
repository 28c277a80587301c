#include "worker/options.h"

#include <string>

#include "common/names.h"
#include "common/status_details.h"

namespace penstock {
namespace {

constexpr size_t kLabelMax = 64;

}  // namespace

absl::Status WorkerOptions::Validate() const {
  if (broker.find(':') == std::string::npos)
    return InvalidField("broker", "write host:port, for instance localhost:7420");
  if (name.size() > 256) return InvalidField("name", "must be at most 256 bytes");
  if (queues.empty()) return InvalidField("queues", "name at least one queue to take tasks from");
  if (queues.size() > 1'000) return InvalidField("queues", "must be at most 1,000");
  for (const std::string& queue : queues) {
    if (const std::string problem = ProblemOfName(queue); !problem.empty()) {
      return InvalidField("queues", "a name " + problem);
    }
  }
  if (labels.size() > 32) return InvalidField("labels", "must be at most 32");
  for (const auto& [key, value] : labels) {
    if (const std::string problem = ProblemOfName(key, kLabelMax); !problem.empty()) {
      return InvalidField("labels", "a key " + problem);
    }
    if (const std::string problem = ProblemOfName(value, kLabelMax); !problem.empty()) {
      return InvalidField("labels", "the value of " + key + " " + problem);
    }
  }
  if (concurrency < 1 || concurrency > 1'000) return InvalidField("concurrency", "must be 1 to 1,000");
  if (prefetch < -1 || prefetch > 64) return InvalidField("prefetch", "must be 0 to 64, or -1");
  if (lease < absl::Seconds(2) || lease > absl::Hours(12)) return InvalidField("lease", "must be 2 s to 12 h");
  if (drain_grace < absl::ZeroDuration()) return InvalidField("drain_grace", "must not be negative");
  if (reconnect_min < absl::Milliseconds(1) || reconnect_max < reconnect_min) {
    return InvalidField("reconnect_max", "must be at least reconnect_min, which must be at least 1 ms");
  }
  if (cert_file.empty() != key_file.empty()) return InvalidField("cert_file", "set cert_file and key_file, or neither");
  if (ca_file.empty() && !cert_file.empty()) return InvalidField("ca_file", "is needed with cert_file");
  if (version.size() > 256) return InvalidField("version", "must be at most 256 bytes");
  return absl::OkStatus();
}

}  // namespace penstock
