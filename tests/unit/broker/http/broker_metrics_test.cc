#include "broker/http/broker_metrics.h"

#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "prometheus/text_serializer.h"

namespace penstock::broker {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string TextOf(const MetricsSnapshot& snapshot) {
  std::ostringstream text;
  prometheus::TextSerializer().Serialize(text, BrokerMetrics([&] { return snapshot; }).Collect());
  return text.str();
}

MetricsSnapshot Example() {
  MetricsSnapshot snapshot;
  snapshot.version = "0.1.0";
  snapshot.epoch = 3;
  snapshot.uptime = absl::Seconds(90);
  QueueMetrics mail;
  mail.name = "mail";
  mail.scheduled = 1;
  mail.available = 2;
  mail.running = 3;
  mail.retryable = 4;
  mail.dead = 5;
  mail.enqueued_total = 100;
  mail.completed_total = 80;
  mail.failed_total = 9;
  mail.cancelled_total = 6;
  mail.dead_total = 7;
  mail.oldest_age = absl::Milliseconds(2'500);
  mail.unhandled_types = 1;
  mail.attempts_lost = 8;
  mail.refused = 11;
  mail.dropped = 12;
  mail.wait_seconds = {{0.001, 0.01}, {1, 2, 3}, 0.5};
  mail.run_seconds = {{0.001, 0.01}, {3, 2, 1}, 0.75};
  snapshot.queues = {mail};
  snapshot.commit_count = 10;
  snapshot.sync_count = 8;
  snapshot.commit_seconds = {{0.001, 0.01}, {4, 5, 1}, 0.25};
  snapshot.commit_bytes = 1'234;
  snapshot.mailbox_bytes = 4'096;
  snapshot.sessions = 2;
  snapshot.disk_free_bytes = 1'000'000;
  snapshot.disk_ballast_bytes = 700;
  snapshot.data_bytes = 5'000;
  snapshot.scrub = {.age_seconds = 60, .duration_seconds = 3, .bytes = 4'000, .damaged_files = 2, .scrubs = 1};
  snapshot.enqueues_refused = true;
  snapshot.rejects = {{"limits.mailbox", 3}, {"not_found", 1}};
  snapshot.throttles = {{"api", 3}, {"mail", 0}};
  snapshot.cooled_waiting = 4;
  snapshot.bulk.running = 2;
  snapshot.bulk.ended = {{"done", 1}, {"failed", 0}};
  snapshot.bulk.tasks = {{{"cancel", "changed"}, 100}, {{"cancel", "skipped"}, 1}};
  snapshot.connections = 20;
  snapshot.connections_accepted = 30;
  snapshot.connections_refused = {{"limits.connections_per_address", 7}};
  snapshot.connections_shut = 2;
  snapshot.probe = ProbeMetrics{.failing = true, .probes = 10, .failed = 3};
  snapshot.process = {absl::Milliseconds(1'500), 1 << 20, 12, 1'024};
  return snapshot;
}

TEST(BrokerMetricsTest, SnapshotIsRenderedWhole) {
  const std::string text = TextOf(Example());
  for (const char* line : {
           "# TYPE penstock_build_info gauge\npenstock_build_info{version=\"0.1.0\"} 1\n",
           "penstock_epoch 3\n",
           "penstock_connections 20\n",
           "penstock_connections_accepted_total 30\n",
           "penstock_connections_refused_total{reason=\"limits.connections_per_address\"} 7\n",
           "penstock_connections_shut_total 2\n",
           "penstock_self_probe_failing 1\n",
           "penstock_self_probes_total{outcome=\"succeeded\"} 7\n"
           "penstock_self_probes_total{outcome=\"failed\"} 3\n",
           "penstock_uptime_seconds 90\n",
           "penstock_queues 1\n",
           "# TYPE penstock_tasks_enqueued_total counter\npenstock_tasks_enqueued_total{queue=\"mail\"} 100\n",
           "penstock_tasks_finished_total{queue=\"mail\",outcome=\"completed\"} 80\n"
           "penstock_tasks_finished_total{queue=\"mail\",outcome=\"cancelled\"} 6\n"
           "penstock_tasks_finished_total{queue=\"mail\",outcome=\"dead\"} 7\n",
           "penstock_attempts_failed_total{queue=\"mail\"} 9\n",
           "penstock_queue_tasks{queue=\"mail\",state=\"scheduled\"} 1\n"
           "penstock_queue_tasks{queue=\"mail\",state=\"available\"} 2\n"
           "penstock_queue_tasks{queue=\"mail\",state=\"running\"} 3\n"
           "penstock_queue_tasks{queue=\"mail\",state=\"retryable\"} 4\n"
           "penstock_queue_tasks{queue=\"mail\",state=\"dead\"} 5\n",
           "penstock_queue_oldest_age_seconds{queue=\"mail\"} 2.5\n",
           "penstock_queue_unhandled_types{queue=\"mail\"} 1\n",
           "penstock_rejects_total{reason=\"limits.mailbox\"} 3\n",
           "penstock_commits_total 10\n",
           "penstock_syncs_total 8\n",
           "# TYPE penstock_commit_seconds histogram\npenstock_commit_seconds_count 10\npenstock_commit_seconds_sum "
           "0.25\n"
           "penstock_commit_seconds_bucket{le=\"0.001\"} 4\npenstock_commit_seconds_bucket{le=\"0.01\"} 9\n"
           "penstock_commit_seconds_bucket{le=\"+Inf\"} 10\n",
           "penstock_commit_bytes_total 1234\n",
           "penstock_attempts_lost_total{queue=\"mail\"} 8\n",
           "# TYPE penstock_tasks_refused_total counter\npenstock_tasks_refused_total{queue=\"mail\"} 11\n",
           "penstock_tasks_dropped_total{queue=\"mail\"} 12\n",
           "# TYPE penstock_throttle_waiting gauge\npenstock_throttle_waiting{throttle=\"api\"} 3\n"
           "penstock_throttle_waiting{throttle=\"mail\"} 0\n",
           "penstock_cooled_waiting 4\n",
           "penstock_bulk_jobs_running 2\n",
           "penstock_bulk_jobs_ended_total{outcome=\"done\"} 1\npenstock_bulk_jobs_ended_total{outcome=\"failed\"} 0\n",
           "penstock_bulk_tasks_total{action=\"cancel\",outcome=\"changed\"} 100\n"
           "penstock_bulk_tasks_total{action=\"cancel\",outcome=\"skipped\"} 1\n",
           "penstock_task_wait_seconds_count{queue=\"mail\"} 6\npenstock_task_wait_seconds_sum{queue=\"mail\"} 0.5\n",
           "penstock_task_run_seconds_bucket{queue=\"mail\",le=\"0.01\"} 5\n",
           "penstock_mailbox_bytes 4096\n",
           "penstock_sessions 2\n",
           "penstock_disk_ballast_bytes 700\n",
           "penstock_scrub_age_seconds 60\n",
           "penstock_scrub_damaged_files 2\n",
           "penstock_scrubs_total 1\n",
           "penstock_enqueues_refused 1\n",
           "process_cpu_seconds_total 1.5\n",
           "process_resident_memory_bytes 1048576\n",
       }) {
    EXPECT_THAT(text, HasSubstr(line));
  }
}

TEST(BrokerMetricsTest, FamiliesAreConsistent) {
  const auto families = BrokerMetrics([] { return Example(); }).Collect();
  std::set<std::string> names;
  for (const prometheus::MetricFamily& family : families) {
    EXPECT_TRUE(names.insert(family.name).second) << family.name << " stands twice";
    EXPECT_TRUE(family.name.starts_with("penstock_") || family.name.starts_with("process_")) << family.name;
    EXPECT_FALSE(family.help.empty()) << family.name;
    EXPECT_EQ(family.name.ends_with("_total"), family.type == prometheus::MetricType::Counter) << family.name;
    std::set<std::vector<prometheus::ClientMetric::Label>> series;
    for (const prometheus::ClientMetric& metric : family.metric) {
      EXPECT_TRUE(series.insert(metric.label).second) << family.name << " has a series twice";
      uint64_t before = 0;
      for (const auto& bucket : metric.histogram.bucket) {
        EXPECT_GE(bucket.cumulative_count, before) << family.name;
        before = bucket.cumulative_count;
      }
      if (family.type == prometheus::MetricType::Histogram) {
        EXPECT_EQ(before, metric.histogram.sample_count) << family.name;
      }
    }
  }
}

TEST(BrokerMetricsTest, BusiestQueuesHaveSeriesAndTheRestIsSummed) {
  MetricsSnapshot snapshot;
  for (size_t i = 0; i < BrokerMetrics::kQueuesMax + 50; ++i) {
    QueueMetrics queue;
    queue.name = "q" + std::to_string(i);
    queue.enqueued_total = i;
    queue.available = 1;
    queue.oldest_age = absl::Seconds(static_cast<int64_t>(i));
    snapshot.queues.push_back(queue);
  }
  const std::string text = TextOf(snapshot);
  EXPECT_THAT(text, HasSubstr("penstock_queues 250\n"));
  EXPECT_THAT(text, HasSubstr("penstock_tasks_enqueued_total{queue=\"q249\"} 249\n"));
  EXPECT_THAT(text, HasSubstr("penstock_tasks_enqueued_total{queue=\"q50\"} 50\n"));
  EXPECT_THAT(text, Not(HasSubstr("queue=\"q49\"")));
  EXPECT_THAT(text, HasSubstr("penstock_tasks_enqueued_total{queue=\"_other\"} 1225\n"));  // 0 + ... + 49
  EXPECT_THAT(text, HasSubstr("penstock_queue_tasks{queue=\"_other\",state=\"available\"} 50\n"));
  EXPECT_THAT(text, HasSubstr("penstock_queue_oldest_age_seconds{queue=\"_other\"} 49\n"));
}

TEST(BrokerMetricsTest, ThrottlesBeyondTheFirstAreSummed) {
  MetricsSnapshot snapshot;
  for (size_t i = 0; i < BrokerMetrics::kThrottlesMax + 10; ++i)
    snapshot.throttles["t" + std::to_string(1'000 + i)] = 2;
  snapshot.throttles["_other"] = 1;
  const std::string text = TextOf(snapshot);
  EXPECT_THAT(text, HasSubstr("penstock_throttle_waiting{throttle=\"t1199\"} 2\n"));
  EXPECT_THAT(text, Not(HasSubstr("t1200")));
  EXPECT_THAT(text, HasSubstr("penstock_throttle_waiting{throttle=\"_other\"} 21\n"));
}

TEST(BrokerMetricsTest, QueueNamedOtherMakesNoSecondSeries) {
  MetricsSnapshot snapshot;
  for (const char* name : {"_other", "mail"}) {
    QueueMetrics queue;
    queue.name = name;
    queue.enqueued_total = 5;
    snapshot.queues.push_back(queue);
  }
  const std::string text = TextOf(snapshot);
  const std::string series = "penstock_tasks_enqueued_total{queue=\"_other\"} 5\n";
  const size_t first = text.find(series);
  ASSERT_NE(first, std::string::npos);
  EXPECT_EQ(text.find(series, first + 1), std::string::npos);
}

TEST(BrokerMetricsTest, FamilyWithoutSeriesIsLeftOut) {
  EXPECT_THAT(TextOf({}), Not(HasSubstr("penstock_rejects_total")));
}

}  // namespace
}  // namespace penstock::broker
