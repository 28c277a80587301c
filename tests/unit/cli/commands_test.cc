// What the commands print and send.

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <sstream>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "client/cli/table.h"
#include "gmock/gmock.h"
#include "tests/support/temp_folder.h"
#include "tests/unit/cli/cli_fixture.h"

namespace penstock::cli {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;
using ::testing::Not;
using ::testing::StartsWith;

class CommandsTest : public CliFixture {};

TEST_F(CommandsTest, StatusIsOneScreen) {
  const Ran ran = Run({"status"});
  EXPECT_EQ(ran.code, 0);
  EXPECT_EQ(ran.err, "");
  ExpectGolden("status.txt", ran.out);
}

TEST_F(CommandsTest, StatusFitsTheTerminalAndHasColours) {
  is_terminal = true;
  columns = 72;
  const Ran ran = Run({"status"});
  ExpectGolden("status_terminal.txt", ran.out);
  std::istringstream lines(ran.out);
  for (std::string line; std::getline(lines, line);) EXPECT_EQ(CutLines(line, columns), line);
}

TEST_F(CommandsTest, StatusOfAnEmptyBrokerTeaches) {
  broker.status.clear_queues();
  broker.status.clear_workers();
  broker.status.clear_totals();
  broker.status.set_queue_count(0);
  broker.status.set_worker_count(0);
  const Ran ran = Run({"status"});
  EXPECT_EQ(ran.code, 0);
  ExpectGolden("status_empty.txt", ran.out);
}

TEST_F(CommandsTest, StatusSaysWhatIsWrongAndExitsWith1) {
  broker.status.mutable_broker()->add_problems("the storage refuses writes; see the broker's log");
  broker.status.mutable_broker()->set_enqueues_refused(true);
  broker.status.mutable_broker()->set_disk_free_bytes(1 << 30);
  broker.status.mutable_queues(1)->mutable_stats()->add_unhandled_types("report.render");
  broker.status.mutable_workers(0)->add_stuck_task_ids(kRunning);
  broker.status.mutable_workers(0)->set_connected(false);
  broker.status.mutable_workers(0)->mutable_silence()->set_seconds(40);
  broker.status.set_queue_count(12);
  const Ran ran = Run({"status"});
  EXPECT_EQ(ran.code, 1);
  ExpectGolden("status_problems.txt", ran.out);
}

TEST_F(CommandsTest, StatusSaysWhatHoldsTasksBack) {
  broker.status.mutable_broker()->set_throttles_waiting(2);
  broker.status.mutable_broker()->set_cooled_waiting(1);
  broker.status.mutable_broker()->set_bulk_jobs_running(3);
  broker.status.mutable_queues(0)->mutable_settings()->set_max_waiting(1'214);
  const Ran ran = Run({"status"});
  EXPECT_EQ(ran.code, 0);
  EXPECT_THAT(ran.out, HasSubstr("  held     tasks wait for 2 throttles: penstock throttle list\n"
                                 "  cooled   1 queue, type, group or key with tasks that wait, left alone for a while "
                                 "since a handler asked for it\n"
                                 "  bulk     3 jobs under way: penstock bulk list\n"));
  EXPECT_THAT(ran.out, HasSubstr("  paused, full\n"));
}

TEST_F(CommandsTest, StatusWithATypeThatNobodyHandlesIsDegraded) {
  broker.status.mutable_queues(0)->mutable_stats()->add_unhandled_types("mail.render");
  const Ran ran = Run({"status"});
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.out, StartsWith("degraded  penstock-broker 0.1.0"));
}

TEST_F(CommandsTest, StatusAsJson) { ExpectGolden("status.json", Run({"status", "-o", "json"}).out); }

TEST_F(CommandsTest, NothingHasEscapeSequencesUnlessATerminalOrTheUserAsks) {
  const std::vector<std::vector<std::string>> commands = {{"status"},
                                                          {"queue", "list"},
                                                          {"queue", "get", "mail"},
                                                          {"worker", "list"},
                                                          {"task", "get", kDead},
                                                          {"task", "list"},
                                                          {"dead", "list"},
                                                          {"limits"}};
  for (const std::vector<std::string>& command : commands) {
    EXPECT_THAT(Run(command).out, Not(HasSubstr("\x1b"))) << command[0];
    std::vector<std::string> coloured = command;
    coloured.push_back("--color=always");
    EXPECT_THAT(Run(coloured).out, HasSubstr("\x1b[")) << command[0];
  }
  is_terminal = true;
  EXPECT_THAT(Run({"status"}).out, HasSubstr("\x1b[32mhealthy\x1b[0m"));
  setenv("NO_COLOR", "1", 1);
  EXPECT_THAT(Run({"status"}).out, Not(HasSubstr("\x1b")));
}

TEST_F(CommandsTest, ListsInEveryFormat) {
  ExpectGolden("queue_list.txt", Run({"queue", "list"}).out);
  ExpectGolden("queue_list.json", Run({"queue", "list", "-o", "json"}).out);
  ExpectGolden("queue_list.yaml", Run({"queue", "list", "-o", "yaml"}).out);
  EXPECT_EQ(Run({"queue", "list", "-o", "name"}).out, "mail\nreports\n");
  const std::string lines = Run({"queue", "list", "-o", "jsonl"}).out;
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 2);
  EXPECT_THAT(Run({"queue", "list", "--no-headers"}).out, StartsWith("mail "));
  ExpectGolden("worker_list.txt", Run({"worker", "list"}).out);
  ExpectGolden("limits.txt", Run({"limits"}).out);
}

TEST_F(CommandsTest, EmptyListsAreValidInEveryFormat) {
  broker.queues.clear();
  const Ran table = Run({"queue", "list"});
  EXPECT_EQ(table.out, "");
  EXPECT_EQ(table.err, "no queues\n");
  EXPECT_EQ(Run({"queue", "list", "-o", "json"}).out, "{\n  \"items\": [],\n  \"next_page_token\": \"\"\n}\n");
  EXPECT_EQ(Run({"queue", "list", "-o", "yaml"}).out, "items: []\nnext_page_token: \"\"\n");
  EXPECT_EQ(Run({"queue", "list", "-o", "jsonl"}).out, "");
}

TEST_F(CommandsTest, ListsEndAtTheLimitWithATokenThatGoesOn) {
  const Ran first = Run({"queue", "list", "--limit", "1"});
  EXPECT_THAT(first.out, AllOf(HasSubstr("mail"), Not(HasSubstr("reports"))));
  EXPECT_EQ(first.err, "there are more queues: --page-token 1 goes on, --limit 0 shows all\n");
  EXPECT_EQ(Run({"queue", "list", "--limit", "1", "--page-token", "1", "-o", "name"}).out, "reports\n");
}

TEST_F(CommandsTest, ListsWalkAllPages) {
  broker.queues.resize(1'500, broker.queues[0]);
  const std::string names = Run({"queue", "list", "--limit", "0", "-o", "name"}).out;
  EXPECT_EQ(std::count(names.begin(), names.end(), '\n'), 1'500);
  EXPECT_THAT(Calls(), ElementsAre("ListQueues page_size: 1000", "ListQueues page_size: 1000 page_token: \"1000\""));
}

TEST_F(CommandsTest, TaskListsLookIntoOneQueueOrAll) {
  ExpectGolden("task_list.txt", Run({"task", "list"}).out);
  EXPECT_EQ(Run({"task", "list", "--queue", "mail", "--state", "scheduled", "-o", "name"}).out,
            std::string(kScheduled) + "\n");
  EXPECT_EQ(Run({"dead", "list", "-o", "name"}).out, std::string(kDead) + "\n");
  const Ran cut = Run({"task", "list", "--limit", "2"});
  EXPECT_EQ(cut.err, "there are more tasks: --limit 0 shows all, --queue those of one queue\n");
}

TEST_F(CommandsTest, AQueueIsShownWithItsSettings) { ExpectGolden("queue_get.txt", Run({"queue", "get", "mail"}).out); }

v1::ExplainTaskResponse Explanation() {
  v1::ExplainTaskResponse explain;
  explain.set_state(v1::TASK_STATE_SCHEDULED);
  v1::WaitReason* paused = explain.add_reasons();
  paused->set_code(v1::WaitReason::CODE_QUEUE_PAUSED);
  paused->set_text("queue mail is paused");
  v1::WaitReason* throttled = explain.add_reasons();
  throttled->set_code(v1::WaitReason::CODE_THROTTLED);
  throttled->set_text("throttle gpu is full: 2 of 2 run");
  throttled->add_task_ids(kRunning);
  throttled->set_throttle("gpu");
  v1::WaitReason* turn = explain.add_reasons();
  turn->set_code(v1::WaitReason::CODE_TURN);
  turn->set_text("about 1234 tasks of its queue are before it");
  explain.mutable_position()->set_expected(1'234);
  explain.mutable_position()->set_low(1'000);
  explain.mutable_position()->set_high(5'000);
  explain.mutable_starts_in()->mutable_expected()->set_seconds(75);
  explain.mutable_starts_in()->mutable_low()->set_seconds(61);
  explain.mutable_starts_in()->mutable_high()->set_seconds(4'000);
  return explain;
}

TEST_F(CommandsTest, ExplainNamesEveryReasonAndWhenItStarts) {
  broker.explains[kScheduled] = Explanation();
  ExpectGolden("explain.txt", Run({"explain", kScheduled}).out);
  EXPECT_THAT(Run({"explain", kScheduled, "-o", "json"}).out,
              AllOf(HasSubstr("CODE_QUEUE_PAUSED"), HasSubstr("\"throttle\": \"gpu\""), HasSubstr("starts_in")));
  EXPECT_THAT(Run({"task", "get", kScheduled}).out,
              AllOf(HasSubstr("waits     queue mail is paused\n"), HasSubstr("before    about 1,234 of its queue"),
                    HasSubstr("starts    about 1m 15s")));
  const Ran unknown = Run({"explain", "0000000009999"});
  EXPECT_EQ(unknown.code, 3);
  EXPECT_THAT(unknown.err, HasSubstr("there is no task 0000000009999"));
}

TEST_F(CommandsTest, ExplainSaysWhenNothingKeepsATaskOrNobodyCanTell) {
  v1::ExplainTaskResponse explain;
  explain.set_state(v1::TASK_STATE_AVAILABLE);
  explain.mutable_position();
  explain.mutable_starts_in()->mutable_expected();
  broker.explains[kScheduled] = explain;
  const Ran next = Run({"explain", kScheduled});
  EXPECT_THAT(next.out, HasSubstr("waits     nothing keeps it: it is handed out next"));
  EXPECT_THAT(next.out, HasSubstr("before    none"));
  EXPECT_THAT(next.out, HasSubstr("starts    at once"));
  broker.explains[kScheduled].clear_starts_in();
  EXPECT_THAT(Run({"explain", kScheduled}).out, HasSubstr("starts    nobody can tell"));
  // One that runs waits for nothing.
  broker.explains[kRunning].set_state(v1::TASK_STATE_RUNNING);
  EXPECT_THAT(Run({"explain", kRunning}).out, AllOf(HasSubstr("state     running"), Not(HasSubstr("starts"))));
}

TEST_F(CommandsTest, AQueueIsWatched) {
  v1::SubscribeTasksResponse& told = broker.events.emplace_back();
  v1::TaskEvent* dead = told.add_events();
  dead->set_task_id(kDead);
  dead->set_state(v1::TASK_STATE_DEAD);
  dead->set_type("mail.send");
  dead->set_attempt(3);
  dead->set_dead_reason(v1::DEAD_REASON_REJECTED);
  told.set_missed(1'234);
  const Ran ran = Run({"queue", "watch", "mail", "--state", "dead"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr(std::string(kDead) + "  mail.send  attempt 3  dead      (rejected)"));
  EXPECT_THAT(ran.err, HasSubstr("1,234 more finished while this was too slow"));
  EXPECT_THAT(broker.Calls(), Contains("SubscribeTasks queue: \"mail\" states: TASK_STATE_DEAD"));
  EXPECT_EQ(Run({"queue", "watch", "mail", "-o", "name"}).out, std::string(kDead) + "\n");
  broker.Fail("SubscribeTasks", absl::NotFoundError("there is no queue mail"));
  EXPECT_NE(Run({"queue", "watch", "mail"}).code, 0);
}

TEST_F(CommandsTest, ATaskIsShownWithItsWholeStory) {
  ExpectGolden("task_dead.txt", Run({"dead", "show", kDead}).out);
  ExpectGolden("task_running.txt", Run({"task", "get", kRunning, "--payload"}).out);
  ExpectGolden("task_completed.txt", Run({"task", "get", kCompleted}).out);
  ExpectGolden("task_dead.json", Run({"dead", "show", kDead, "-o", "json"}).out);
}

TEST_F(CommandsTest, WhatATaskMayCountsWithTheQueuesSettings) {
  const Ran ran = Run({"task", "get", kRunning});
  EXPECT_THAT(ran.out, AllOf(HasSubstr("\nattempts  1 of 20\n"), HasSubstr("\npriority  5\n"),
                             HasSubstr("\ntimeout   30m an attempt\n")));
}

TEST_F(CommandsTest, SeveralTasksAreSeveralDocumentsOfYaml) {
  const Ran ran = Run({"task", "get", kCompleted, kScheduled, "-o", "yaml"});
  EXPECT_THAT(ran.out, StartsWith("task_id: \"0000000004000\"\n"));
  EXPECT_THAT(ran.out, HasSubstr("\n---\ntask_id: \"0000000004003\"\n"));
  EXPECT_EQ(Run({"task", "tail", kCompleted, "-o", "yaml"}).out,
            "attempt: 1\ntext: \"reading 30 suites\"\ntime: \"2027-01-15T07:44:20Z\"\n"
            "---\n"
            "attempt: 1\ntext: \"\\x1b[31mred\\x1b[0m\"\ntime: \"2027-01-15T07:44:21Z\"\n");
}

TEST_F(CommandsTest, PausingSeveralQueuesExitsWith7WhenSomeFail) {
  EXPECT_EQ(Run({"queue", "pause", "mail"}).out, "queue mail paused\n");
  const Ran ran = Run({"queue", "resume", "mail", "nope"});
  EXPECT_EQ(ran.code, 7);
  EXPECT_EQ(ran.out, "queue mail resumed\n");
  EXPECT_EQ(ran.err, "penstock: nope: there is no queue nope\n");
  EXPECT_EQ(Run({"queue", "drain", "nope", "none"}).code, 3);
}

TEST_F(CommandsTest, KeysAreListedAndReleased) {
  v1::HeldKey& running = broker.keys.emplace_back();
  running.set_key("customer 7");
  running.set_task_id(kCompleted);
  running.set_state(v1::TASK_STATE_RUNNING);
  running.set_waiting(12'345);
  v1::HeldKey& dead = broker.keys.emplace_back();
  dead.set_key("order-\x1b[31m8");
  dead.set_task_id(kCompleted);
  dead.set_state(v1::TASK_STATE_DEAD);
  const Ran ran = Run({"key", "list", "orders"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  ExpectGolden("key_list.txt", ran.out);
  EXPECT_EQ(Run({"key", "release", "orders", "customer 7"}).out, "key customer 7 is free: its next task runs\n");
  const Ran again = Run({"key", "release", "orders", "customer 7"});
  EXPECT_EQ(again.code, 3);
  EXPECT_EQ(again.err, "penstock: no task holds this key\n");
}

TEST_F(CommandsTest, SettingsAreSentAsGiven) {
  EXPECT_EQ(
      Run({"queue", "create", "q", "--durability", "relaxed", "--max-attempts", "5", "--run-timeout", "1m30s"}).code,
      0);
  EXPECT_THAT(Calls(),
              ElementsAre("CreateQueue queue { name: \"q\" settings { durability: DURABILITY_RELAXED retry_policy { "
                          "max_attempts: 5 } run_timeout { seconds: 90 } } }"));
}

TEST_F(CommandsTest, AnUpdateKeepsTheRestOfTheRetryPolicy) {
  EXPECT_EQ(Run({"queue", "update", "mail", "--max-attempts", "3"}).code, 0);
  EXPECT_THAT(
      Calls(),
      Contains(
          "UpdateQueue queue { name: \"mail\" settings { retry_policy { max_attempts: 3 initial_backoff { seconds: 1 } "
          "multiplier: 2 max_backoff { seconds: 3600 } jitter: 1 } } } update_mask { paths: \"settings.retry_policy\" "
          "}"));
  const Ran nothing = Run({"queue", "update", "mail"});
  EXPECT_EQ(nothing.code, 2);
  EXPECT_THAT(nothing.err, HasSubstr("nothing to change"));
}

TEST_F(CommandsTest, PurgeNeedsYesOrTheQueuesName) {
  const std::string what =
      "This deletes 1,214 waiting tasks (1,204 available, 10 scheduled, 0 retryable) of queue mail.\n";
  const Ran refused = Run({"queue", "purge", "mail"});
  EXPECT_EQ(refused.code, 2);
  EXPECT_EQ(refused.err, what + "penstock: nothing was done: say --yes to do it\n");
  EXPECT_THAT(Calls(), Not(Contains(StartsWith("PurgeQueue"))));

  const Ran done = Run({"queue", "purge", "mail", "--yes"});
  EXPECT_EQ(done.code, 0);
  EXPECT_EQ(done.out, "queue mail: 1,214 tasks deleted\n");

  is_terminal = true;
  input = "male\n";
  const Ran mistyped = Run({"queue", "purge", "mail"});
  EXPECT_EQ(mistyped.code, 1);
  EXPECT_EQ(mistyped.err, what + "Type mail to do it: penstock: nothing was done: that is not mail\n");
  input = "mail\n";
  EXPECT_EQ(Run({"queue", "purge", "mail"}).code, 0);
}

TEST_F(CommandsTest, DeleteOfAQueueWithTasksNeedsForce) {
  const Ran refused = Run({"queue", "delete", "mail", "--yes"});
  EXPECT_EQ(refused.code, 6);
  EXPECT_THAT(refused.err, HasSubstr("--force deletes them too"));
  EXPECT_EQ(Run({"queue", "delete", "mail", "--force", "--yes"}).out, "queue mail deleted\n");
  EXPECT_THAT(Calls(), Contains("DeleteQueue name: \"mail\" force: true"));
}

TEST_F(CommandsTest, RedriveOfAQueueGoesOnUntilAllAreDone) {
  broker.dead_tasks = 25'000;
  broker.queues[1].mutable_stats()->set_dead(25'000);
  const Ran ran = Run({"dead", "redrive", "--queue", "reports", "--all"});
  EXPECT_EQ(ran.out, "queue reports: 25,000 dead tasks redriven, 0 left\n");
  EXPECT_THAT(Calls(), ElementsAre("GetQueue name: \"reports\"", "RedriveDeadTasks queue: \"reports\" limit: 10000",
                                   "RedriveDeadTasks queue: \"reports\" limit: 10000",
                                   "RedriveDeadTasks queue: \"reports\" limit: 5000"));
}

TEST_F(CommandsTest, RedriveTakesIdsOrAQueue) {
  EXPECT_EQ(Run({"dead", "redrive", kDead}).code, 0);
  EXPECT_THAT(Calls(), Contains("RetryTask task_id: \"0000000004001\""));
  EXPECT_EQ(Run({"dead", "redrive", kRunning}).code, 6);
  EXPECT_EQ(Run({"dead", "redrive", kDead, "--queue", "reports"}).code, 2);
  EXPECT_EQ(Run({"dead", "redrive", "--queue", "reports"}).code, 2);
  EXPECT_EQ(Run({"dead", "redrive"}).code, 2);
}

TEST_F(CommandsTest, DeadTasksArePurgedAfterYes) {
  broker.dead_tasks = 2;
  EXPECT_EQ(Run({"dead", "purge", "--queue", "reports", "--limit", "1"}).code, 2);
  const Ran ran = Run({"dead", "purge", "--queue", "reports", "--limit", "1", "--yes"});
  EXPECT_EQ(ran.err, "This deletes at most 1 of 2 dead tasks of queue reports.\n");
  EXPECT_EQ(ran.out, "queue reports: 1 dead task deleted, 1 left\n");
}

TEST_F(CommandsTest, TaskListsTakeWholeFilters) {
  EXPECT_EQ(Run({"task",
                 "list",
                 "--queue",
                 "mail",
                 "--state",
                 "scheduled,dead",
                 "--state",
                 "running",
                 "--type",
                 "t",
                 "--tag",
                 "red",
                 "--key",
                 "k",
                 "--group",
                 "g",
                 "--created-after",
                 "2h",
                 "--created-before",
                 "2027-01-15T07:30:00Z",
                 "--error",
                 "no answer",
                 "--where",
                 "payload.a == 1",
                 "-o",
                 "name"})
                .code,
            0);
  EXPECT_THAT(Calls(),
              Contains("ListTasks filter { queue: \"mail\" states: TASK_STATE_SCHEDULED states: TASK_STATE_DEAD "
                       "states: TASK_STATE_RUNNING type: \"t\" tag: \"red\" key: \"k\" group: \"g\" "
                       "created_from { seconds: 1799992800 } created_before { seconds: 1799998200 } "
                       "error: \"no answer\" where: \"payload.a == 1\" } page_size: 100"));
  EXPECT_THAT(Run({"task", "list", "--state", "scheduled,ded"}).err,
              HasSubstr("'ded' is none of scheduled|available|"));
  EXPECT_THAT(Run({"task", "list", "--created-after", "soon"}).err, HasSubstr("neither a time nor how long ago"));
}

TEST_F(CommandsTest, BulkJobsAreStartedAwaitedAndReported) {
  v1::BulkJob& job = broker.bulk_jobs.emplace_back();
  job.set_job_id("b1");
  job.set_state(v1::BULK_JOB_STATE_DONE);
  job.mutable_spec()->set_action(v1::BULK_ACTION_CANCEL);
  job.set_seen(1'000);
  job.set_matched(335);
  job.set_changed(333);
  job.set_skipped(2);
  EXPECT_EQ(Run({"bulk", "cancel", "--queue", "mail"}).code, 2) << "nobody said --yes";
  const Ran ran = Run({"bulk", "cancel", "--queue", "mail", "--where", "payload.a == 1", "--rate", "30/m", "--limit",
                       "500", "--reason", "left", "--yes"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(ran.err, "This cancels at most 500 tasks of queue mail: where payload.a == 1.\n");
  EXPECT_EQ(ran.out, "b1 done: 333 cancelled, 2 skipped; 335 tasks fitted, 1,000 seen\n");
  EXPECT_THAT(Calls(), ElementsAre("StartBulkJob spec { action: BULK_ACTION_CANCEL filter { queue: \"mail\" where: "
                                   "\"payload.a == 1\" } rate: 0.5 limit: 500 reason: \"left\" }",
                                   "GetBulkJob job_id: \"b1\""));
  const Ran detached = Run({"bulk", "retry", "--queue", "mail", "--state", "dead", "--detach"});
  EXPECT_EQ(detached.code, 0);
  EXPECT_EQ(detached.out, "b1 started; penstock bulk get b1 shows how far it is\n");
  EXPECT_EQ(Run({"bulk", "retry", "--queue", "mail", "--detach", "--wait"}).code, 2);
  EXPECT_EQ(Run({"bulk", "delete"}).code, 2) << "a queue is required";
  job.mutable_spec()->set_dry_run(true);
  EXPECT_EQ(Run({"bulk", "delete", "--queue", "mail", "--dry-run"}).out, "b1 done: 335 tasks fitted, 1,000 seen\n");
  job.set_state(v1::BULK_JOB_STATE_FAILED);
  job.set_error("there is no queue mail");
  const Ran failed = Run({"bulk", "wait", "b1"});
  EXPECT_EQ(failed.code, 1);
  EXPECT_EQ(failed.err, "penstock: bulk job b1 failed: there is no queue mail\n");
}

TEST_F(CommandsTest, BulkJobsAreListedShownAndStopped) {
  v1::BulkJob& first = broker.bulk_jobs.emplace_back();
  first.set_job_id("b00063f4e1a2b3c");
  first.set_state(v1::BULK_JOB_STATE_DONE);
  first.mutable_spec()->set_action(v1::BULK_ACTION_RETRY);
  first.mutable_spec()->set_rate(100);
  first.mutable_spec()->mutable_filter()->set_queue("mail");
  first.mutable_spec()->mutable_filter()->add_states(v1::TASK_STATE_DEAD);
  first.mutable_spec()->mutable_filter()->set_error("timeout");
  first.mutable_create_time()->set_seconds(1'800'000'000 - 3'600);
  first.mutable_end_time()->set_seconds(1'800'000'000 - 60);
  first.set_seen(12'000);
  first.set_matched(1'200);
  first.set_changed(1'199);
  first.set_skipped(1);
  v1::BulkJob second = first;
  second.set_job_id("b00063f4e1a2b3d");
  second.set_state(v1::BULK_JOB_STATE_RUNNING);
  second.mutable_spec()->set_dry_run(true);
  second.clear_end_time();
  broker.bulk_jobs.push_back(second);
  ExpectGolden("bulk_list.txt", Run({"bulk", "list"}).out);
  ExpectGolden("bulk_get.txt", Run({"bulk", "get", "b00063f4e1a2b3c"}).out);
  EXPECT_EQ(Run({"bulk", "list", "-o", "name"}).out, "b00063f4e1a2b3d\nb00063f4e1a2b3c\n");
  EXPECT_EQ(Run({"bulk", "stop", "b00063f4e1a2b3c"}).out,
            "b00063f4e1a2b3c stopped: 1,199 retried, 1 skipped; 1,200 tasks fitted, 12,000 seen\n");
  EXPECT_EQ(Run({"bulk", "get", "b0"}).code, 3);
}

TEST_F(CommandsTest, DeadTasksByFilterOrAtARateAreABulkJob) {
  v1::BulkJob& job = broker.bulk_jobs.emplace_back();
  job.set_job_id("b1");
  job.set_state(v1::BULK_JOB_STATE_DONE);
  job.mutable_spec()->set_action(v1::BULK_ACTION_RETRY);
  EXPECT_EQ(Run({"dead", "redrive", "--queue", "reports", "--all", "--rate", "10/s"}).code, 0);
  EXPECT_THAT(Calls(), Contains("StartBulkJob spec { action: BULK_ACTION_RETRY filter { queue: \"reports\" states: "
                                "TASK_STATE_DEAD } rate: 10 }"));
  const Ran purged = Run({"dead", "purge", "--queue", "reports", "--error", "gone", "--limit", "3", "--yes"});
  EXPECT_EQ(purged.code, 0) << purged.err;
  EXPECT_THAT(purged.err, HasSubstr("those that are dead, with error gone"));
  EXPECT_THAT(Calls(), Contains("StartBulkJob spec { action: BULK_ACTION_DELETE filter { queue: \"reports\" states: "
                                "TASK_STATE_DEAD error: \"gone\" } limit: 3 }"));
}

TEST_F(CommandsTest, WaitExitsAsTheTasksEnded) {
  EXPECT_EQ(Run({"task", "wait", kCompleted}).code, 0);
  const Ran dead = Run({"task", "wait", kDead});
  EXPECT_EQ(dead.code, 1);
  EXPECT_EQ(dead.err,
            "penstock: task 0000000004001 is dead (attempts used up): the worker was gone; see penstock task get "
            "0000000004001\n");
  EXPECT_EQ(Run({"task", "wait", kCancelled}).code, 1);
  EXPECT_EQ(Run({"task", "wait", kCompleted, kDead}).code, 7);
  const Ran late = Run({"task", "wait", kRunning, "--timeout", "10ms"});
  EXPECT_EQ(late.code, 5);
  EXPECT_THAT(late.err, HasSubstr("task 0000000004002 is not finished after 10ms: it is running"));
}

TEST_F(CommandsTest, WaitGoesOnWhileTheBrokerRestarts) {
  std::atomic<bool> ended = false;
  std::thread restart([&] {
    // Calls that wait, for seconds.
    const auto waits = [&] {
      const std::vector<std::string> calls = Calls();
      return std::count_if(calls.begin(), calls.end(), [](const std::string& call) {
        return call.starts_with("WaitTask") && absl::StrContains(call, "seconds: ");
      });
    };
    while (waits() < 1 && !ended) std::this_thread::yield();
    broker.Fail("WaitTask", absl::UnavailableError("the broker is stopping"));
    while (waits() < 2 && !ended) std::this_thread::yield();
    broker.Fail("WaitTask", absl::OkStatus());
  });
  const Ran late = Run({"task", "wait", kRunning, "--timeout", "3s"});
  ended = true;
  restart.join();
  EXPECT_EQ(late.code, 5);
  EXPECT_THAT(late.err, HasSubstr("task 0000000004002 is not finished after 3s: it is running"));
  // One that was never reached is told at once.
  broker.Fail("WaitTask", absl::UnavailableError("the broker is stopping"));
  EXPECT_THAT(Run({"task", "wait", kRunning}).err, HasSubstr("is not available: the broker is stopping"));
}

TEST_F(CommandsTest, ResultsArePrintedAsTheyAreOrWrittenToAFile) {
  EXPECT_EQ(Run({"task", "result", kCompleted}).out, "{\"path\": \"reports/a.html\"}");
  testing::TempFolder folder;
  const Ran written = Run({"task", "result", kCompleted, "--out", folder / "result"});
  EXPECT_EQ(written.out, "");
  std::stringstream content;
  content << std::ifstream(folder / "result").rdbuf();
  EXPECT_EQ(content.str(), "{\"path\": \"reports/a.html\"}");
  EXPECT_EQ(Run({"task", "result", kRunning}).code, 6);
  EXPECT_EQ(Run({"task", "result", kDead}).code, 1);
  EXPECT_EQ(Run({"task", "result", kCompleted, "--out", folder / "no/such/folder"}).code, 1);
}

TEST_F(CommandsTest, BinaryPayloadsAreKeptFromTerminals) {
  EXPECT_EQ(Run({"task", "payload", kDead}).out, "\x01\x02 not text");
  is_terminal = true;
  const Ran refused = Run({"task", "payload", kDead});
  EXPECT_EQ(refused.code, 2);
  EXPECT_EQ(refused.err,
            "penstock: the payload (11 B of application/x-protobuf) is no text for a terminal: use --out FILE\n");
  EXPECT_EQ(Run({"task", "payload", kRunning}).out, "{\"files\": []}\n");
}

TEST_F(CommandsTest, TailPrintsLogLinesAndSaysTheStateElsewhere) {
  const Ran ran = Run({"task", "tail", kCompleted});
  EXPECT_EQ(ran.code, 0);
  EXPECT_EQ(ran.out, "07:44:20.000  reading 30 suites\n07:44:21.000  \x1b[31mred\x1b[0m\n");
  EXPECT_EQ(ran.err, "-- task 0000000004000 completed\n");
  is_terminal = true;
  EXPECT_THAT(Run({"task", "tail", kCompleted}).out, HasSubstr("\\x1b[31mred"));
  const Ran running = Run({"task", "tail", kRunning, "--timeout", "10ms"});
  EXPECT_EQ(running.code, 5);
  EXPECT_THAT(
      running.err,
      StartsWith("-- task 0000000004002 running, attempt 1 on reporter@host8, 40% 12 of 30 suites, 1m 28s left\n"));
}

TEST_F(CommandsTest, CancelSaysWhatBecameOfEachTask) {
  const Ran ran = Run({"task", "cancel", kScheduled, kRunning, kDead, "--reason", "wrong"});
  EXPECT_EQ(ran.code, 7);
  EXPECT_EQ(ran.out, "task 0000000004003 cancelled\ntask 0000000004002 is running and was asked to stop\n");
  EXPECT_EQ(ran.err, "penstock: 0000000004001: the task is finished\n");
}

TEST_F(CommandsTest, EnqueueSendsEveryFieldAndPrintsTheId) {
  const Ran ran = Run({"enqueue",
                       "mail",
                       "mail.send",
                       "{}",
                       "--priority",
                       "9",
                       "--delay",
                       "10m",
                       "--expire-in",
                       "1h",
                       "--run-timeout",
                       "2m",
                       "--life-timeout",
                       "2h",
                       "--max-attempts",
                       "5",
                       "--backoff",
                       "exponential",
                       "--initial-backoff",
                       "500ms",
                       "--multiplier",
                       "3",
                       "--max-backoff",
                       "1m",
                       "--jitter",
                       "0.5",
                       "--unique-key",
                       "k",
                       "--unique-window",
                       "1d",
                       "--retention",
                       "7d",
                       "--header",
                       "a=b=c",
                       "--header",
                       "d=",
                       "--tag",
                       "x",
                       "--tag",
                       "y",
                       "--content-type",
                       "application/json",
                       "--request-id",
                       "r1"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(ran.out, "0000000008000\n");
  EXPECT_THAT(
      Calls(),
      ElementsAre("Enqueue request_id: \"r1\" task { queue: \"mail\" type: \"mail.send\" payload: \"{}\" content_type: "
                  "\"application/json\" headers { key: \"a\" value: \"b=c\" } headers { key: \"d\" value: \"\" } "
                  "priority: 9 delay { "
                  "seconds: 600 } expire_at { seconds: 1800003600 } run_timeout { seconds: 120 } retry_policy { "
                  "max_attempts: 5 "
                  "initial_backoff { nanos: 500000000 } multiplier: 3 max_backoff { seconds: 60 } jitter: 0.5 backoff: "
                  "BACKOFF_EXPONENTIAL } "
                  "unique_key { key: "
                  "\"k\" window { seconds: 86400 } } result_retention { seconds: 604800 } tags: \"x\" tags: \"y\" "
                  "life_timeout { "
                  "seconds: 7200 } }"));
}

TEST_F(CommandsTest, AnUpdateOfATaskSendsWhatWasGivenAndNoMore) {
  const Ran ran =
      Run({"task",    "update",         kScheduled, "--payload",      "{}", "--header",   "a=b=c", "--tag",
           "x",       "--start-within", "5m",       "--life-timeout", "2h", "--priority", "9",     "--worker-label",
           "gpu=yes", "--group",        "",         "--cost",         "3",  "--revision", "0"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(ran.out, "task 0000000004003 changed (revision 1), runs in 1h (2027-01-15T09:00:00.000Z)\n");
  EXPECT_EQ(
      Calls().back(),
      "UpdateTask task_id: \"0000000004003\" spec { payload: \"{}\" headers { key: \"a\" value: \"b=c\" } priority: 9 "
      "tags: \"x\" cost: 3 life_timeout { seconds: 7200 } start_within { seconds: 300 } worker_labels { key: "
      "\"gpu\" value: \"yes\" } } update_mask { paths: \"payload\" paths: \"headers\" paths: \"tags\" paths: "
      "\"priority\" paths: \"start_within\" paths: \"life_timeout\" paths: \"group\" paths: \"cost\" paths: "
      "\"worker_labels\" } revision: 0");
  const Ran cleared =
      Run({"task", "update", kScheduled, "--clear", "worker-labels", "--clear", "expire-at", "-o", "name"});
  EXPECT_EQ(cleared.out, "0000000004003\n") << cleared.err;
  EXPECT_EQ(
      Calls().back(),
      "UpdateTask task_id: \"0000000004003\" spec { } update_mask { paths: \"expire_at\" paths: \"worker_labels\" }");
}

TEST_F(CommandsTest, AnUpdateOfATaskKeepsTheRestOfItsRetryPolicy) {
  for (v1::Task& task : broker.tasks) {
    if (task.task_id() != kScheduled) continue;
    task.set_revision(4);
    v1::RetryPolicy& policy = *task.mutable_spec()->mutable_retry_policy();
    policy.set_max_attempts(5);
    policy.mutable_initial_backoff()->set_seconds(7);
    policy.set_multiplier(3);
    policy.set_jitter(0.5);
  }
  const auto sent = [](const std::string& policy, const std::string& more) {
    return "UpdateTask task_id: \"0000000004003\" spec { retry_policy { " + policy +
           " } } update_mask { paths: \"retry_policy\" }" + more;
  };
  EXPECT_EQ(Run({"task", "update", kScheduled, "--max-attempts", "50", "--initial-backoff", "500ms"}).code, 0);
  EXPECT_THAT(Calls(),
              ElementsAre("GetTask task_id: \"0000000004003\"",
                          sent("max_attempts: 50 initial_backoff { nanos: 500000000 } multiplier: 3 jitter: 0.5",
                               " revision: 4")));
  EXPECT_EQ(Run({"task", "update", kScheduled, "--backoff", "linear", "--revision", "3"}).code, 0);
  EXPECT_EQ(Calls().back(),
            sent("max_attempts: 5 initial_backoff { seconds: 7 } jitter: 0.5 backoff: BACKOFF_LINEAR", " revision: 3"));
  const size_t calls = Calls().size();
  EXPECT_EQ(Run({"task", "update", kScheduled, "--max-attempts", "50", "--clear", "retry-policy"}).code, 0);
  EXPECT_EQ(Calls().size(), calls + 1) << "nothing is to be kept";
  EXPECT_EQ(Calls().back(), sent("max_attempts: 50", ""));
}

TEST_F(CommandsTest, WrongUpdatesOfTasksSayWhatWouldBeRight) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{}, "penstock: change: names nothing to change\n"},
      {{"--clear", "priority"},
       "penstock: --clear: 'priority' is none of headers|tags|worker-labels|retry-policy|expire-at\n"},
      {{"--start-within", "1m", "--expire-at", "2027-01-16T08:00:00Z"},
       "penstock: say --start-within or --expire-at, not both\n"},
      {{"--header", "x"}, "penstock: --header: 'x' is not KEY=VALUE\n"},
      {{"--backoff", "fixed", "--multiplier", "2"},
       "penstock: backoff_multiplier: counts with an exponential backoff only: leave it out\n"},
  };
  for (const auto& [options, error] : cases) {
    std::vector<std::string> arguments = {"task", "update", kScheduled};
    arguments.insert(arguments.end(), options.begin(), options.end());
    const Ran ran = Run(arguments);
    EXPECT_EQ(ran.code, 2);
    EXPECT_THAT(ran.err, HasSubstr(error));
  }
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(CommandsTest, TasksAreDeletedOneByOne) {
  const Ran ran = Run({"task", "delete", kScheduled, "0000000009999", kDead});
  EXPECT_EQ(ran.code, 7);
  EXPECT_EQ(ran.out, "task 0000000004003 deleted\ntask 0000000004001 deleted\n");
  EXPECT_EQ(ran.err, "penstock: 0000000009999: there is no task 0000000009999\n");
}

TEST_F(CommandsTest, EnqueueTakesOneWayToExpire) {
  EXPECT_EQ(Run({"enqueue", "q", "t", "--start-within", "1m"}).code, 0);
  EXPECT_THAT(Calls(), ElementsAre("Enqueue task { queue: \"q\" type: \"t\" start_within { seconds: 60 } }"));
  for (const char* other : {"--expire-in", "--expire-at"}) {
    const Ran ran =
        Run({"enqueue", "q", "t", "--start-within", "1m", other, other[9] == 'i' ? "1h" : "2027-01-16T08:00:00Z"});
    EXPECT_EQ(ran.code, 2);
    EXPECT_THAT(ran.err, HasSubstr("say --start-within or when it expires, not both"));
  }
  EXPECT_EQ(Run({"enqueue", "q", "t", "--backoff", "linear", "--multiplier", "3"}).code, 2);
  EXPECT_EQ(Run({"enqueue", "q", "t", "--backoff", "slowly"}).code, 2);
}

TEST_F(CommandsTest, QueueSettingsReplaceThePolicyAsAWhole) {
  EXPECT_EQ(Run({"queue", "update", "mail", "--backoff", "linear", "--cancelled-retention", "1h"}).code, 0);
  EXPECT_THAT(Calls(), Contains(HasSubstr("initial_backoff { seconds: 1 } max_backoff { seconds: 3600 } jitter: "
                                          "1 backoff: BACKOFF_LINEAR }")));
  EXPECT_THAT(Calls(), Contains(HasSubstr("cancelled_retention { seconds: 3600 }")));
}

TEST_F(CommandsTest, CheckpointsArePrinted) {
  EXPECT_EQ(Run({"task", "checkpoint", kRunning}).out, "suite 12");
  const Ran none = Run({"task", "checkpoint", kScheduled});
  EXPECT_EQ(none.code, 3);
  EXPECT_EQ(none.err, "penstock: the handler of task 0000000004003 has saved nothing\n");
  EXPECT_EQ(Run({"task", "checkpoint", kCompleted}).code, 6);
}

TEST_F(CommandsTest, EnqueueTakesThePayloadFromAFileOrStandardInput) {
  testing::TempFolder folder;
  std::ofstream(folder / "payload") << "from a file";
  EXPECT_EQ(Run({"enqueue", "q", "t", "--file", folder / "payload"}).code, 0);
  input = "from a pipe\n";
  EXPECT_EQ(Run({"enqueue", "q", "t", "--file", "-", "--run-at", "2027-01-16T08:00:00+01:00"}).code, 0);
  EXPECT_THAT(
      Calls(),
      ElementsAre(
          "Enqueue task { queue: \"q\" type: \"t\" payload: \"from a file\" }",
          "Enqueue task { queue: \"q\" type: \"t\" payload: \"from a pipe\\n\" run_at { seconds: 1800082800 } }"));
  EXPECT_EQ(Run({"enqueue", "q", "t", "--file", folder / "missing"}).code, 2);
}

TEST_F(CommandsTest, EnqueueCanWaitForTheResult) {
  broker.next_task_id = kCompleted;
  const Ran ran = Run({"enqueue", "reports", "report.generate", "x", "--wait"});
  EXPECT_EQ(ran.code, 0);
  EXPECT_EQ(ran.out, "{\"path\": \"reports/a.html\"}");
  EXPECT_EQ(ran.err, "task 0000000004000\n");
  broker.next_task_id = kDead;
  EXPECT_EQ(Run({"enqueue", "reports", "report.generate", "x", "--wait"}).code, 1);
}

TEST_F(CommandsTest, EveryLineBecomesATask) {
  input = "one\n\ntwo\nthree";
  const Ran ran = Run({"enqueue", "q", "t", "--stdin-lines"});
  EXPECT_EQ(ran.code, 0);
  EXPECT_EQ(ran.out, "");
  EXPECT_THAT(ran.err, StartsWith("enqueued 3 tasks in "));
  EXPECT_EQ(Run({"enqueue", "q", "t", "--stdin-lines", "-o", "name"}).out,
            "0000000000g00\n0000000000g01\n0000000000g02\n");
}

TEST_F(CommandsTest, LinesThatAreRefusedAreNamedAndTheOthersGoIn) {
  input = "one\nbad\nthree\n";
  const Ran ran = Run({"enqueue", "q", "t", "--stdin-lines"});
  EXPECT_EQ(ran.code, 7);
  EXPECT_THAT(ran.err, AllOf(HasSubstr("penstock: line 2: tasks[0].payload: is bad\n"),
                             HasSubstr("enqueued 2 tasks in "), HasSubstr("; 1 failed\n")));
}

// Over the broker's limits.message: gRPC would end the stream over it.
TEST_F(CommandsTest, ALineThatIsTooLargeIsRefusedLikeOthers) {
  input = "one\n" + std::string(5'000'000, 'x') + "\nthree\n";
  const Ran ran = Run({"enqueue", "q", "t", "--stdin-lines"});
  EXPECT_EQ(ran.code, 7);
  EXPECT_THAT(ran.err, AllOf(HasSubstr("penstock: line 2: "), HasSubstr("limits.message"),
                             HasSubstr("enqueued 2 tasks in "), HasSubstr("; 1 failed\n")));
}

// Moves a little whenever somebody looks, so that what is drawn every 100 ms is drawn often.
class RestlessClock : public Clock {
 public:
  Now Read() const override {
    clock_.Advance(absl::Milliseconds(30));
    return clock_.Read();
  }

 private:
  mutable ManualClock clock_;
};

class ProgressTest : public CliFixture {
 protected:
  ProgressTest() {
    console_clock = &restless_;
    for (int i = 0; i < 5'000; ++i) input += "line " + std::to_string(i) + "\n";
  }
  // What stood on standard error's line, one after the other; the last is what stays.
  std::vector<std::string> Lines() {
    const Ran ran = Run({"enqueue", "q", "t", "--stdin-lines"});
    EXPECT_EQ(ran.code, 0);
    EXPECT_EQ(ran.out, "");
    return absl::StrSplit(ran.err, "\r\x1b[K");
  }

  RestlessClock restless_;
};

TEST_F(ProgressTest, ATerminalSeesABarThatGrowsAndGoes) {
  is_terminal = true;
  input_is_file = true;
  const std::vector<std::string> lines = Lines();
  ASSERT_GT(lines.size(), 100u);
  EXPECT_EQ(lines.front(), "");
  EXPECT_THAT(lines.back(), MatchesRegex("enqueued 5,000 tasks in [^\n]*/s\n"));
  int percent_before = 0;
  int tasks_before = 0;
  for (size_t i = 1; i + 1 < lines.size(); ++i) {
    ASSERT_THAT(lines[i], MatchesRegex("\\[#*\\.*\\] [ 0-9]{3}%  [0-9,]+ tasks, [0-9,.]+/s"));
    const size_t end = lines[i].find(']');
    EXPECT_EQ(end, 31u);
    const int percent = std::stoi(lines[i].substr(end + 1));
    const int tasks = std::stoi(absl::StrReplaceAll(lines[i].substr(lines[i].find('%') + 1), {{",", ""}}));
    const int filled = static_cast<int>(std::count(lines[i].begin(), lines[i].end(), '#'));
    EXPECT_NEAR(filled, percent * 0.3, 1.2) << lines[i];  // both are rounded
    EXPECT_GE(percent, percent_before) << lines[i];
    EXPECT_GE(tasks, tasks_before) << lines[i];
    percent_before = percent;
    tasks_before = tasks;
  }
  EXPECT_GE(percent_before, 99);
}

TEST_F(ProgressTest, APipeOfUnknownLengthHasCountsOnly) {
  is_terminal = true;
  const std::vector<std::string> lines = Lines();
  ASSERT_GT(lines.size(), 100u);
  EXPECT_THAT(lines[1], MatchesRegex("[0-9,]+ tasks, [0-9,.]+/s"));
  EXPECT_THAT(lines.back(), StartsWith("enqueued 5,000 tasks in "));
}

TEST_F(ProgressTest, TheBarFitsANarrowTerminal) {
  is_terminal = true;
  input_is_file = true;
  columns = 20;
  const std::vector<std::string> lines = Lines();
  for (size_t i = 1; i + 1 < lines.size(); ++i) ASSERT_EQ(CutLines(lines[i], 20), lines[i]);
}

TEST_F(ProgressTest, OnlyTheEndIsToldWithoutATerminal) {
  input_is_file = true;
  EXPECT_THAT(Lines(), ElementsAre(StartsWith("enqueued 5,000 tasks in ")));
}

}  // namespace
}  // namespace penstock::cli
