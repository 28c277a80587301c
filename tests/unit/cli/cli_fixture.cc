#include "tests/unit/cli/cli_fixture.h"

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "absl/strings/str_replace.h"
#include "client/cli/app.h"
#include "google/protobuf/text_format.h"
#include "tests/support/project_paths.h"

namespace penstock::cli {
namespace {

// Times count from the fixture's clock, which stands at 1800000000.
constexpr char kStatus[] = R"pb(
  broker {
    version: "0.1.0"
    start_time { seconds: 1799730800 }
    data_dir: "/var/lib/penstock"
    disk_free_bytes: 871878361088
    disk_watermark_bytes: 50000000000
    data_bytes: 1299227607
    memory_bytes: 222298112
    cpu_time { seconds: 3900 }
    commit_count: 1234567
    sync_count: 1234500
    commit_latency_p50 { nanos: 900000 }
    commit_latency_p99 { nanos: 3200000 }
    epoch: 7
    mailbox_bytes: 4096
  }
  queue_count: 2
  worker_count: 2
  totals { available: 1204 scheduled: 10 running: 12 retryable: 3 dead: 2 enqueue_rate: 120.2 finish_rate: 118.4 }
)pb";

constexpr const char* kQueues[] = {
    R"pb(
      name: "mail"
      paused: true
      create_time { seconds: 1799000000 }
      settings {
        durability: DURABILITY_SYNC
        retry_policy {
          max_attempts: 20
          initial_backoff { seconds: 1 }
          multiplier: 2
          max_backoff { seconds: 3600 }
          jitter: 1
        }
        result_retention { seconds: 86400 }
        dead_retention { seconds: 2592000 }
        run_timeout { seconds: 1800 }
      }
      stats {
        available: 1204
        scheduled: 10
        oldest_age { seconds: 125 }
        enqueued_total: 8000
        completed_total: 6500
        failed_total: 90
        cancelled_total: 3
        dead_total: 1
        enqueue_rate: 0.2
      }
    )pb",
    R"pb(
      name: "reports"
      create_time { seconds: 1799900000 }
      settings {
        durability: DURABILITY_RELAXED
        retry_policy {
          max_attempts: 5
          initial_backoff { seconds: 1 }
          multiplier: 2
          max_backoff { seconds: 3600 }
          jitter: 1
        }
        result_retention { seconds: 604800 }
        dead_retention { seconds: 2592000 }
        run_timeout { seconds: 300 }
      }
      stats {
        running: 12
        retryable: 3
        dead: 2
        enqueued_total: 1000000
        completed_total: 999980
        failed_total: 17
        dead_total: 2
        enqueue_rate: 120
        finish_rate: 118.4
      }
    )pb"};

constexpr const char* kWorkers[] = {
    R"pb(
      worker_id: "w12"
      name: "mailer@host7"
      host: "host7"
      pid: 4711
      version: "0.1.0"
      queues: "mail"
      types: "mail.send"
      types: "mail.bounce"
      concurrency: 8
      running: 8
      started: 8
      connect_time { seconds: 1799990000 }
      silence { nanos: 400000000 }
      connected: true
    )pb",
    R"pb(
      worker_id: "w13"
      name: "reporter@host8"
      host: "host8"
      pid: 12
      version: "0.1.0"
      queues: "reports"
      types: "report.generate"
      concurrency: 4
      running: 4
      started: 2
      connect_time { seconds: 1799999000 }
      silence { seconds: 4 }
      connected: true
      draining: true
    )pb"};

constexpr const char* kBackups[] = {
    R"pb(
      backup_id: 3
      create_time { seconds: 1799913600 }
      bytes: 1299227607
      files: 41
      label: "nightly"
      commit_sequence: 1200000
      commit_time { seconds: 1799913590 nanos: 250000000 }
      epoch: 7
      version: "0.1.0"
      path: "/backup/penstock/default"
    )pb",
    R"pb(
      backup_id: 4
      create_time { seconds: 1799999999 }
      bytes: 1300000000
      files: 44
      commit_sequence: 1234567
      commit_time { seconds: 1799999990 }
      epoch: 7
      version: "0.1.0"
      path: "/backup/penstock/default"
    )pb"};

constexpr const char* kTasks[] = {
    R"pb(
      task_id: "0000000004000"
      state: TASK_STATE_COMPLETED
      spec { queue: "reports" type: "report.generate" priority: 5 }
      create_time { seconds: 1799999000 }
      run_time { seconds: 1799999000 }
      end_time { seconds: 1799999062 }
      attempt: 1
      attempts {
        number: 1
        worker: "reporter@host8"
        start_time { seconds: 1799999060 }
        end_time { seconds: 1799999062 }
        outcome: ATTEMPT_OUTCOME_COMPLETED
      }
      result: "{\"path\": \"reports/a.html\"}"
      result_content_type: "application/json"
      forget_time { seconds: 1800085462 }
    )pb",
    R"pb(
      task_id: "0000000004001"
      state: TASK_STATE_DEAD
      dead_reason: DEAD_REASON_ATTEMPTS_USED_UP
      spec {
        queue: "reports"
        type: "report.generate"
        priority: 7
        payload: "\x01\x02 not text"
        content_type: "application/x-protobuf"
        headers { key: "traceparent" value: "00-ab-cd-01" }
        tags: "nightly"
        tags: "qa"
        retry_policy { max_attempts: 2 }
        unique_key { key: "run-17" }
      }
      create_time { seconds: 1799990000 }
      end_time { seconds: 1799990100 }
      attempt: 2
      max_attempts: 2
      priority: 7
      run_timeout { seconds: 300 }
      attempts {
        number: 1
        worker: "reporter@host8"
        start_time { seconds: 1799990001 }
        end_time { seconds: 1799990002 nanos: 200000000 }
        outcome: ATTEMPT_OUTCOME_FAILED
        error { type: "XmlError" message: "line 3: tag not closed\n<testsuite>\n          ^" }
      }
      attempts {
        number: 2
        worker: "evil \x1b[2J name"
        start_time { seconds: 1799990090 }
        end_time { seconds: 1799990100 }
        outcome: ATTEMPT_OUTCOME_LOST
        error { message: "the worker was gone" detail: "at frame 1\nat frame 2" }
      }
      forget_time { seconds: 1802582100 }
    )pb",
    R"pb(
      task_id: "0000000004002"
      state: TASK_STATE_RUNNING
      spec { queue: "reports" type: "report.generate" payload: "{\"files\": []}" content_type: "application/json" }
      create_time { seconds: 1799999900 }
      run_time { seconds: 1799999900 }
      attempt: 1
      max_attempts: 20
      priority: 5
      run_timeout { seconds: 1800 }
      worker: "reporter@host8"
      attempts {
        number: 1
        worker: "reporter@host8"
        start_time { seconds: 1799999940 }
      }
      progress {
        percent: 40
        text: "12 of 30 suites"
        update_time { seconds: 1799999998 }
        remaining { seconds: 87 nanos: 400000000 }
      }
      checkpoint: "suite 12"
    )pb",
    R"pb(
      task_id: "0000000004003"
      state: TASK_STATE_SCHEDULED
      spec {
        queue: "mail"
        type: "mail.send"
        payload: "hello"
        run_at { seconds: 1800003600 }
      }
      create_time { seconds: 1799999999 nanos: 900000000 }
      run_time { seconds: 1800003600 }
    )pb",
    R"pb(
      task_id: "0000000004004"
      state: TASK_STATE_CANCELLED
      spec { queue: "mail" type: "mail.send" priority: 5 }
      create_time { seconds: 1799999000 }
      end_time { seconds: 1799999500 }
    )pb"};

template <class Message>
Message Parse(const char* text) {
  Message message;
  if (!google::protobuf::TextFormat::ParseFromString(text, &message)) ADD_FAILURE() << "cannot parse " << text;
  return message;
}

v1::LogLine Line(int64_t seconds, const std::string& text) {
  v1::LogLine line;
  line.mutable_time()->set_seconds(seconds);
  line.set_attempt(1);
  line.set_text(text);
  return line;
}

}  // namespace

CliFixture::CliFixture() {
  // Nothing of the machine that runs the tests shows.
  for (const char* variable :
       {"PENSTOCK_ENDPOINT", "PENSTOCK_TIMEOUT", "PENSTOCK_OUTPUT", "PENSTOCK_COLOR", "PENSTOCK_NO_HEADERS",
        "PENSTOCK_TLS_CA", "PENSTOCK_TLS_CERT", "PENSTOCK_TLS_KEY", "NO_COLOR", "TERM", "COLUMNS"}) {
    unsetenv(variable);
  }
  setenv("TZ", "UTC", 1);
  broker.status = Parse<v1::GetStatusResponse>(kStatus);
  for (const char* queue : kQueues) broker.queues.push_back(*broker.status.add_queues() = Parse<v1::Queue>(queue));
  for (const char* worker : kWorkers)
    broker.workers.push_back(*broker.status.add_workers() = Parse<v1::Worker>(worker));
  for (const char* backup : kBackups) broker.backups.push_back(Parse<v1::Backup>(backup));
  for (const char* task : kTasks) broker.tasks.push_back(Parse<v1::Task>(task));
  broker.log_lines[kCompleted] = {Line(1'799'999'060, "reading 30 suites"), Line(1'799'999'061, "\x1b[31mred\x1b[0m")};
  v1::Limit* limit = broker.limits.add_limits();
  limit->set_option("limits.payload");
  limit->set_value("2 MiB");
  limit->set_default_value("1 MiB");
  limit->set_description("Largest payload of a task.");
}

Ran CliFixture::RunAt(const std::string& address, std::vector<std::string> arguments) {
  // First, so that "--" may be among the others.
  arguments.insert(arguments.begin(), "--endpoint=" + address);
  std::istringstream in(input);
  std::ostringstream out;
  std::ostringstream err;
  Console console{
      in, out, err, is_terminal, is_terminal, is_terminal, columns, input_is_file ? input.size() : 0, console_clock};
  Ran ran;
  ran.code = RunCli(arguments, console);
  ran.out = absl::StrReplaceAll(out.str(), {{address, "localhost:7420"}});
  ran.err = absl::StrReplaceAll(err.str(), {{address, "localhost:7420"}});
  return ran;
}

void ExpectGolden(const std::string& name, const std::string& text) {
  const std::string path = SourcePath("tests/unit/cli/testdata/" + name);
  if (std::getenv("PENSTOCK_REWRITE_GOLDEN") != nullptr) {
    std::ofstream(path, std::ios::binary) << text;
    return;
  }
  std::ifstream file(path, std::ios::binary);
  std::ostringstream expected;
  expected << file.rdbuf();
  EXPECT_EQ(expected.str(), text) << path
                                  << " differs; read the difference, then rewrite it with PENSTOCK_REWRITE_GOLDEN=1";
}

}  // namespace penstock::cli
