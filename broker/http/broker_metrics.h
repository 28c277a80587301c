#ifndef PENSTOCK_BROKER_HTTP_BROKER_METRICS_H_
#define PENSTOCK_BROKER_HTTP_BROKER_METRICS_H_

// The broker's state as Prometheus metrics. Counting costs the hot path nothing here: whoever counts keeps plain
// numbers, and hands out a copy when somebody scrapes.

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "broker/http/process_usage.h"
#include "prometheus/collectable.h"
#include "prometheus/metric_family.h"

namespace penstock::broker {

// counts[i]: values in (upper_bounds[i-1], upper_bounds[i]]; the last count, one more than there are bounds, is of
// those above.
struct HistogramMetrics {
  std::vector<double> upper_bounds;
  std::vector<uint64_t> counts;
  double sum = 0;
};

// As QueueStats in the API. Counters count since the queue was created, times since the broker started.
struct QueueMetrics {
  std::string name;
  uint64_t scheduled = 0;
  uint64_t available = 0;
  uint64_t running = 0;
  uint64_t retryable = 0;
  uint64_t dead = 0;
  uint64_t enqueued_total = 0;
  uint64_t completed_total = 0;
  uint64_t failed_total = 0;  // attempts
  uint64_t cancelled_total = 0;
  uint64_t dead_total = 0;
  absl::Duration oldest_age;
  uint64_t unhandled_types = 0;
  uint64_t attempts_lost = 0;
  uint64_t refused = 0;           // tasks, because the queue was full
  uint64_t dropped = 0;           // tasks, for others, because it was full
  HistogramMetrics wait_seconds;  // from available to started
  HistogramMetrics run_seconds;   // of attempts
};

// Absent in a snapshot: the broker makes no backups.
struct BackupMetrics {
  double age_seconds = -1;  // since the last that succeeded; negative: there is none
  uint64_t bytes = 0;       // of that one
  double duration_seconds = 0;
  uint64_t succeeded = 0;  // since start
  uint64_t failed = 0;
  bool last_failed = false;
  bool running = false;
};

// Absent in a snapshot: the broker has no files of its own.
struct ScrubMetrics {
  double age_seconds = -1;      // since the last one ended; negative: none has, since the start
  double duration_seconds = 0;  // of that one
  uint64_t bytes = 0;
  uint64_t damaged_files = 0;
  uint64_t scrubs = 0;  // since start
  bool running = false;
};

struct BulkMetrics {
  uint64_t running = 0;
  std::map<std::string, uint64_t> ended;                          // by outcome, since start
  std::map<std::pair<std::string, std::string>, uint64_t> tasks;  // by action and outcome, since start
};

// Absent in a snapshot: the broker does not ask itself.
struct ProbeMetrics {
  bool failing = false;  // the last one did
  uint64_t probes = 0;   // since start
  uint64_t failed = 0;
};

struct MetricsSnapshot {
  std::string version;
  uint64_t epoch = 0;
  absl::Duration uptime;
  std::vector<QueueMetrics> queues;  // in any order
  uint64_t commit_count = 0;
  uint64_t sync_count = 0;
  uint64_t commit_bytes = 0;
  HistogramMetrics commit_seconds;  // write and fsync of a commit
  uint64_t mailbox_bytes = 0;
  uint64_t sessions = 0;
  uint64_t disk_free_bytes = 0;
  uint64_t disk_watermark_bytes = 0;
  uint64_t disk_ballast_bytes = 0;
  uint64_t data_bytes = 0;
  bool enqueues_refused = false;
  std::map<std::string, uint64_t> rejects;    // by reason: the limit, or a status code
  std::map<std::string, uint64_t> throttles;  // by name: the queues, types, groups or keys that wait for it
  uint64_t cooled_waiting = 0;
  BulkMetrics bulk;
  uint64_t connections = 0;
  uint64_t connections_accepted = 0;
  std::map<std::string, uint64_t> connections_refused;  // by reason: the limit, "resets" or "open_files"
  uint64_t connections_shut = 0;                        // for their calls
  std::optional<ProbeMetrics> probe;
  std::optional<BackupMetrics> backup;
  std::optional<ScrubMetrics> scrub;
  ProcessUsage process;
};

// Makes families of a snapshot. Any thread may collect, if `read` may be called from any.
class BrokerMetrics : public prometheus::Collectable {
 public:
  // Throttles with series of their own: the first by name. The rest is summed as throttle="_other".
  static constexpr size_t kThrottlesMax = 200;
  // Queues with series of their own: those that most tasks were enqueued to. The rest is summed as queue="_other".
  static constexpr size_t kQueuesMax = 200;

  explicit BrokerMetrics(std::function<MetricsSnapshot()> read) : read_(std::move(read)) {}

  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  const std::function<MetricsSnapshot()> read_;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_HTTP_BROKER_METRICS_H_
