#include "broker/http/broker_metrics.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "prometheus/metric_type.h"

namespace penstock::broker {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

constexpr char kOther[] = "_other";

// Collects the families in order.
class Families {
 public:
  void Start(std::string name, MetricType type, std::string help) {
    families_.push_back({std::move(name), std::move(help), type, {}});
  }
  void Add(std::vector<ClientMetric::Label> labels, double value) {
    ClientMetric metric;
    metric.label = std::move(labels);
    if (families_.back().type == MetricType::Counter) {
      metric.counter.value = value;
    } else {
      metric.gauge.value = value;
    }
    families_.back().metric.push_back(std::move(metric));
  }
  void Gauge(std::string name, std::string help, double value) {
    Start(std::move(name), MetricType::Gauge, std::move(help));
    Add({}, value);
  }
  void Counter(std::string name, std::string help, double value) {
    Start(std::move(name), MetricType::Counter, std::move(help));
    Add({}, value);
  }
  void Histogram(std::string name, std::string help, const HistogramMetrics& values) {
    Start(std::move(name), MetricType::Histogram, std::move(help));
    AddHistogram({}, values);
  }
  void AddHistogram(std::vector<ClientMetric::Label> labels, const HistogramMetrics& values) {
    ClientMetric metric;
    metric.label = std::move(labels);
    uint64_t count = 0;
    for (size_t i = 0; i < values.counts.size(); ++i) {
      count += values.counts[i];
      const double bound =
          i < values.upper_bounds.size() ? values.upper_bounds[i] : std::numeric_limits<double>::infinity();
      metric.histogram.bucket.push_back({count, bound});
    }
    metric.histogram.sample_count = count;
    metric.histogram.sample_sum = values.sum;
    families_.back().metric.push_back(std::move(metric));
  }
  std::vector<MetricFamily> Take() { return std::move(families_); }

 private:
  std::vector<MetricFamily> families_;
};

void AddTo(const HistogramMetrics& values, HistogramMetrics* sum) {
  if (sum->counts.empty()) {
    *sum = values;
    return;
  }
  for (size_t i = 0; i < std::min(values.counts.size(), sum->counts.size()); ++i) sum->counts[i] += values.counts[i];
  sum->sum += values.sum;
}

void AddTo(const QueueMetrics& queue, QueueMetrics* sum) {
  sum->scheduled += queue.scheduled;
  sum->available += queue.available;
  sum->running += queue.running;
  sum->retryable += queue.retryable;
  sum->dead += queue.dead;
  sum->enqueued_total += queue.enqueued_total;
  sum->completed_total += queue.completed_total;
  sum->failed_total += queue.failed_total;
  sum->cancelled_total += queue.cancelled_total;
  sum->dead_total += queue.dead_total;
  sum->oldest_age = std::max(sum->oldest_age, queue.oldest_age);
  sum->unhandled_types += queue.unhandled_types;
  sum->attempts_lost += queue.attempts_lost;
  sum->refused += queue.refused;
  sum->dropped += queue.dropped;
  AddTo(queue.wait_seconds, &sum->wait_seconds);
  AddTo(queue.run_seconds, &sum->run_seconds);
}

// At most kQueuesMax queues in the order of their names, and the sum of the rest.
std::vector<QueueMetrics> Condense(std::vector<QueueMetrics> queues) {
  QueueMetrics other;
  other.name = kOther;
  bool has_other = false;
  auto fold = [&](const QueueMetrics& queue) {
    AddTo(queue, &other);
    has_other = true;
  };
  // The choice is by a number that only grows, so that queues seldom change sides: a change looks like a counter's
  // reset.
  std::sort(queues.begin(), queues.end(), [](const QueueMetrics& a, const QueueMetrics& b) {
    return std::pair(b.enqueued_total, std::string_view(a.name)) <
           std::pair(a.enqueued_total, std::string_view(b.name));
  });
  while (queues.size() > BrokerMetrics::kQueuesMax) {
    fold(queues.back());
    queues.pop_back();
  }
  // A queue of that very name must not make a second series.
  const auto same = std::find_if(queues.begin(), queues.end(), [](const QueueMetrics& q) { return q.name == kOther; });
  if (same != queues.end()) {
    fold(*same);
    queues.erase(same);
  }
  std::sort(queues.begin(), queues.end(), [](const QueueMetrics& a, const QueueMetrics& b) { return a.name < b.name; });
  if (has_other) queues.push_back(std::move(other));
  return queues;
}

void AddQueues(const MetricsSnapshot& snapshot, Families* out) {
  const std::vector<QueueMetrics> queues = Condense(snapshot.queues);
  out->Gauge("penstock_queues", "Queues that exist.", static_cast<double>(snapshot.queues.size()));
  auto family = [&](std::string name, MetricType type, std::string help, auto value) {
    out->Start(std::move(name), type, std::move(help));
    for (const QueueMetrics& queue : queues) out->Add({{"queue", queue.name}}, static_cast<double>(value(queue)));
  };
  using Values = std::vector<std::pair<const char*, uint64_t>>;
  auto divided = [&](std::string name, MetricType type, std::string help, const char* label, auto values) {
    out->Start(std::move(name), type, std::move(help));
    for (const QueueMetrics& queue : queues) {
      const Values divided_values = values(queue);
      for (const auto& [word, value] : divided_values) {
        out->Add({{"queue", queue.name}, {label, word}}, static_cast<double>(value));
      }
    }
  };
  family("penstock_tasks_enqueued_total", MetricType::Counter, "Tasks enqueued.",
         [](const QueueMetrics& queue) { return queue.enqueued_total; });
  divided("penstock_tasks_finished_total", MetricType::Counter, "Tasks finished, by outcome.", "outcome",
          [](const QueueMetrics& queue) {
            return Values{
                {"completed", queue.completed_total}, {"cancelled", queue.cancelled_total}, {"dead", queue.dead_total}};
          });
  family("penstock_attempts_failed_total", MetricType::Counter, "Attempts that failed.",
         [](const QueueMetrics& queue) { return queue.failed_total; });
  family("penstock_attempts_lost_total", MetricType::Counter,
         "Attempts that ended because their worker was gone, since start; failed ones, too.",
         [](const QueueMetrics& queue) { return queue.attempts_lost; });
  family("penstock_tasks_refused_total", MetricType::Counter,
         "Tasks that were refused because their queue was full, since start.",
         [](const QueueMetrics& queue) { return queue.refused; });
  family("penstock_tasks_dropped_total", MetricType::Counter,
         "Tasks that a full queue gave up for new ones, since start; they are dead ones, too.",
         [](const QueueMetrics& queue) { return queue.dropped; });
  divided("penstock_queue_tasks", MetricType::Gauge, "Tasks that a queue has, by state.", "state",
          [](const QueueMetrics& queue) {
            return Values{{"scheduled", queue.scheduled},
                          {"available", queue.available},
                          {"running", queue.running},
                          {"retryable", queue.retryable},
                          {"dead", queue.dead}};
          });
  family("penstock_queue_oldest_age_seconds", MetricType::Gauge, "Age of the task that has been available for longest.",
         [](const QueueMetrics& queue) { return absl::ToDoubleSeconds(queue.oldest_age); });
  family("penstock_queue_unhandled_types", MetricType::Gauge,
         "Types with waiting tasks that no connected worker handles.",
         [](const QueueMetrics& queue) { return queue.unhandled_types; });
  auto times = [&](std::string name, std::string help, HistogramMetrics QueueMetrics::*values) {
    out->Start(std::move(name), MetricType::Histogram, std::move(help));
    for (const QueueMetrics& queue : queues) out->AddHistogram({{"queue", queue.name}}, queue.*values);
  };
  times("penstock_task_wait_seconds", "From available to started.", &QueueMetrics::wait_seconds);
  times("penstock_task_run_seconds", "Run time of attempts, as workers measured it.", &QueueMetrics::run_seconds);
}

void AddThrottles(const MetricsSnapshot& snapshot, Families* out) {
  out->Start("penstock_throttle_waiting", MetricType::Gauge,
             "Queues, types, groups or keys that a throttle keeps waiting now.");
  size_t left = BrokerMetrics::kThrottlesMax;
  std::optional<uint64_t> other;
  for (const auto& [name, waiting] : snapshot.throttles) {
    if (left == 0 || name == kOther) {
      other = other.value_or(0) + waiting;
      continue;
    }
    --left;
    out->Add({{"throttle", name}}, static_cast<double>(waiting));
  }
  if (other) out->Add({{"throttle", kOther}}, static_cast<double>(*other));
  out->Gauge("penstock_cooled_waiting",
             "Queues, types, groups and keys that handlers asked to leave alone, and that have tasks waiting now.",
             static_cast<double>(snapshot.cooled_waiting));
}

void AddBulk(const BulkMetrics& bulk, Families* out) {
  out->Gauge("penstock_bulk_jobs_running", "Bulk jobs that run now.", static_cast<double>(bulk.running));
  out->Start("penstock_bulk_jobs_ended_total", MetricType::Counter, "Bulk jobs that ended since start, by outcome.");
  for (const auto& [outcome, count] : bulk.ended) out->Add({{"outcome", outcome}}, static_cast<double>(count));
  out->Start("penstock_bulk_tasks_total", MetricType::Counter,
             "Tasks that bulk jobs changed, or could not change any more, since start.");
  for (const auto& [what, count] : bulk.tasks) {
    out->Add({{"action", what.first}, {"outcome", what.second}}, static_cast<double>(count));
  }
}

void AddBackup(const BackupMetrics& backup, Families* out) {
  if (backup.age_seconds >= 0) {
    out->Gauge("penstock_backup_age_seconds", "Since the last backup that succeeded.", backup.age_seconds);
    out->Gauge("penstock_backup_bytes", "Size of that backup.", static_cast<double>(backup.bytes));
  }
  out->Gauge("penstock_backup_duration_seconds", "How long the last backup since start took.", backup.duration_seconds);
  out->Start("penstock_backups_total", MetricType::Counter, "Backups since start, by outcome.");
  out->Add({{"outcome", "succeeded"}}, static_cast<double>(backup.succeeded));
  out->Add({{"outcome", "failed"}}, static_cast<double>(backup.failed));
  out->Gauge("penstock_backup_failed", "1 if the last backup failed.", backup.last_failed ? 1 : 0);
  out->Gauge("penstock_backup_running", "1 while a backup is being made.", backup.running ? 1 : 0);
}

void AddScrub(const ScrubMetrics& scrub, Families* out) {
  if (scrub.age_seconds >= 0) {
    out->Gauge("penstock_scrub_age_seconds", "Since the last reading of all stored files ended.", scrub.age_seconds);
    out->Gauge("penstock_scrub_duration_seconds", "How long that took.", scrub.duration_seconds);
    out->Gauge("penstock_scrub_bytes", "What it read.", static_cast<double>(scrub.bytes));
    out->Gauge("penstock_scrub_damaged_files", "Stored files that it found damaged.",
               static_cast<double>(scrub.damaged_files));
  }
  out->Counter("penstock_scrubs_total", "Readings of all stored files since start.", static_cast<double>(scrub.scrubs));
  out->Gauge("penstock_scrub_running", "1 while all stored files are being read.", scrub.running ? 1 : 0);
}

void AddConnections(const MetricsSnapshot& snapshot, Families* out) {
  out->Gauge("penstock_connections", "gRPC connections that are open.", static_cast<double>(snapshot.connections));
  out->Counter("penstock_connections_accepted_total", "gRPC connections accepted since start.",
               static_cast<double>(snapshot.connections_accepted));
  out->Start("penstock_connections_refused_total", MetricType::Counter,
             "gRPC connections closed at once, by the limit that was reached.");
  for (const auto& [reason, count] : snapshot.connections_refused) {
    out->Add({{"reason", reason}}, static_cast<double>(count));
  }
  out->Counter("penstock_connections_shut_total",
               "gRPC connections closed since start because their clients began and reset too many calls.",
               static_cast<double>(snapshot.connections_shut));
}

void AddProbe(const ProbeMetrics& probe, Families* out) {
  out->Gauge("penstock_self_probe_failing", "1 while the broker does not answer on its own port.",
             probe.failing ? 1 : 0);
  out->Start("penstock_self_probes_total", MetricType::Counter,
             "How often the broker asked itself for an answer since start, by outcome.");
  out->Add({{"outcome", "succeeded"}}, static_cast<double>(probe.probes - probe.failed));
  out->Add({{"outcome", "failed"}}, static_cast<double>(probe.failed));
}

void AddProcess(const ProcessUsage& process, Families* out) {
  out->Counter("process_cpu_seconds_total", "User and system time since the process began.",
               absl::ToDoubleSeconds(process.cpu));
  out->Gauge("process_resident_memory_bytes", "Resident memory.", static_cast<double>(process.resident_bytes));
  out->Counter("process_written_bytes_total", "Bytes written to disks since the process began: log, table files, all.",
               static_cast<double>(process.written_bytes));
  out->Gauge("process_open_fds", "Open file descriptors.", static_cast<double>(process.open_fds));
  out->Gauge("process_max_fds", "File descriptors that the process may open.", static_cast<double>(process.max_fds));
}

}  // namespace

std::vector<MetricFamily> BrokerMetrics::Collect() const {
  const MetricsSnapshot snapshot = read_();
  Families out;
  out.Start("penstock_build_info", MetricType::Gauge, "Always 1; the version stands in the label.");
  out.Add({{"version", snapshot.version}}, 1);
  out.Gauge("penstock_epoch", "Grows with every start of the data folder.", static_cast<double>(snapshot.epoch));
  out.Gauge("penstock_uptime_seconds", "Since the broker started.", absl::ToDoubleSeconds(snapshot.uptime));
  AddQueues(snapshot, &out);
  AddThrottles(snapshot, &out);
  AddBulk(snapshot.bulk, &out);
  out.Start("penstock_rejects_total", MetricType::Counter, "Calls that were refused, by reason.");
  for (const auto& [reason, count] : snapshot.rejects) out.Add({{"reason", reason}}, static_cast<double>(count));
  out.Counter("penstock_commits_total", "Commits since start.", static_cast<double>(snapshot.commit_count));
  out.Counter("penstock_syncs_total", "Commits that waited for fsync, since start.",
              static_cast<double>(snapshot.sync_count));
  out.Histogram("penstock_commit_seconds", "Write and fsync of a commit.", snapshot.commit_seconds);
  out.Counter("penstock_commit_bytes_total", "Written by commits, since start.",
              static_cast<double>(snapshot.commit_bytes));
  out.Gauge("penstock_mailbox_bytes", "Commands waiting in the mailbox.", static_cast<double>(snapshot.mailbox_bytes));
  out.Gauge("penstock_sessions", "Workers connected, or within their grace.", static_cast<double>(snapshot.sessions));
  out.Gauge("penstock_disk_free_bytes", "Free on the data folder's disk.",
            static_cast<double>(snapshot.disk_free_bytes));
  out.Gauge("penstock_disk_watermark_bytes", "Enqueues are refused while less is free.",
            static_cast<double>(snapshot.disk_watermark_bytes));
  out.Gauge("penstock_disk_ballast_bytes", "Kept in reserve for a full disk; 0: given up, or there is none.",
            static_cast<double>(snapshot.disk_ballast_bytes));
  out.Gauge("penstock_data_bytes", "Size of the data folder.", static_cast<double>(snapshot.data_bytes));
  out.Gauge("penstock_enqueues_refused", "1 while enqueues are refused: the disk is below its watermark, or full.",
            snapshot.enqueues_refused ? 1 : 0);
  AddConnections(snapshot, &out);
  if (snapshot.probe) AddProbe(*snapshot.probe, &out);
  if (snapshot.backup) AddBackup(*snapshot.backup, &out);
  if (snapshot.scrub) AddScrub(*snapshot.scrub, &out);
  AddProcess(snapshot.process, &out);
  std::vector<MetricFamily> families = out.Take();
  // A family without series would be a heading over nothing.
  families.erase(std::remove_if(families.begin(), families.end(),
                                [](const MetricFamily& family) { return family.metric.empty(); }),
                 families.end());
  return families;
}

}  // namespace penstock::broker
