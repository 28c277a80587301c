#include "client/task_spec.h"

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "common/status_details.h"
#include "gtest/gtest.h"

namespace penstock {
namespace {

NewTask Good() { return {"q", "t", "payload", {}}; }

TEST(TaskSpecTest, EveryFieldArrives) {
  NewTask task = Good();
  task.options = {.unique_key = "u",
                  .unique_window = absl::Seconds(5),
                  .max_attempts = 3,
                  .priority = 9,
                  .delay = absl::Milliseconds(1500),
                  .run_timeout = absl::Minutes(1),
                  .initial_backoff = absl::Seconds(2),
                  .backoff_multiplier = 3,
                  .max_backoff = absl::Minutes(2),
                  .backoff_jitter = 0.5,
                  .result_retention = absl::ZeroDuration(),
                  .headers = {{"h", "v"}},
                  .tags = {"a", "b"},
                  .worker_labels = {{"gpu", "yes"}},
                  .content_type = "text/plain"};
  v1::TaskSpec spec;
  ASSERT_TRUE(FillTaskSpec(task, &spec).ok());
  EXPECT_EQ(spec.ShortDebugString(),
            "queue: \"q\" type: \"t\" payload: \"payload\" content_type: \"text/plain\" headers { key: \"h\" value: "
            "\"v\" } priority: 9 delay { seconds: 1 nanos: 500000000 } run_timeout { seconds: 60 } retry_policy { "
            "max_attempts: 3 initial_backoff { seconds: 2 } multiplier: 3 max_backoff { seconds: 120 } jitter: 0.5 } "
            "unique_key { key: \"u\" window { seconds: 5 } } result_retention { } tags: \"a\" tags: \"b\" "
            "worker_labels { key: \"gpu\" value: "
            "\"yes\" }");
}

TEST(TaskSpecTest, LivesAndBackoffsArrive) {
  NewTask task = Good();
  task.options = {.start_within = absl::Seconds(5), .life_timeout = absl::Minutes(2), .backoff = BackoffKind::kLinear};
  v1::TaskSpec spec;
  ASSERT_TRUE(FillTaskSpec(task, &spec).ok());
  EXPECT_EQ(spec.ShortDebugString(),
            "queue: \"q\" type: \"t\" payload: \"payload\" retry_policy { backoff: BACKOFF_LINEAR } life_timeout { "
            "seconds: 120 } start_within { seconds: 5 }");
  task.options = {.backoff = BackoffKind::kFixed};
  ASSERT_TRUE(FillTaskSpec(task, &spec).ok());
  EXPECT_EQ(spec.retry_policy().backoff(), v1::BACKOFF_FIXED);
  task.options = {.backoff_multiplier = 3, .backoff = BackoffKind::kExponential};
  ASSERT_TRUE(FillTaskSpec(task, &spec).ok());
  EXPECT_EQ(spec.retry_policy().backoff(), v1::BACKOFF_EXPONENTIAL);
}

TEST(TaskSpecTest, AnUpdateNamesWhatItChangesAndNoMore) {
  TaskChange change;
  v1::UpdateTaskRequest request;
  EXPECT_EQ(FieldOf(FillUpdate(TaskId(0, 1, 0), change, &request)), "change");
  change.headers.emplace();  // none
  change.start_within = absl::Seconds(5);
  change.life_timeout = absl::ZeroDuration();  // none
  change.retry_policy = TaskRetryPolicy{.max_attempts = 3, .backoff = BackoffKind::kLinear};
  change.worker_labels = std::map<std::string, std::string>{{"gpu", "yes"}};
  change.revision = 2;
  request.Clear();
  ASSERT_TRUE(FillUpdate(TaskId(0, 1, 0), change, &request).ok());
  request.clear_task_id();
  EXPECT_EQ(
      request.ShortDebugString(),
      "spec { retry_policy { max_attempts: 3 backoff: BACKOFF_LINEAR } start_within { seconds: 5 } worker_labels { "
      "key: \"gpu\" value: \"yes\" } } update_mask { paths: \"headers\" paths: \"start_within\" paths: "
      "\"life_timeout\" paths: \"retry_policy\" paths: \"worker_labels\" } revision: 2");
}

// An UpdateTask of every field that the API lets change, but for the start and the payload's file of the command line.
TEST(TaskSpecTest, EveryFieldThatTheApiLetsChangeCanBeChanged) {
  TaskChange change;
  change.queue = "q";
  change.payload = "p";
  change.content_type = "text/plain";
  change.headers.emplace();
  change.tags.emplace();
  change.priority = 1;
  change.delay = absl::Seconds(1);
  change.expire_at = absl::InfiniteFuture();
  change.start_within = absl::ZeroDuration();
  change.life_timeout = absl::Hours(1);
  change.run_timeout = absl::Hours(1);
  change.retry_policy.emplace();
  change.result_retention = absl::Hours(1);
  change.group = "g";
  change.cost = 2;
  change.worker_labels.emplace();
  v1::UpdateTaskRequest request;
  ASSERT_TRUE(FillUpdate(TaskId(0, 1, 0), change, &request).ok());
  std::set<std::string> named(request.update_mask().paths().begin(), request.update_mask().paths().end());
  for (int i = 0; i < v1::TaskSpec::descriptor()->field_count(); ++i) {
    const std::string field(v1::TaskSpec::descriptor()->field(i)->name());
    const bool fixed = field == "type" || field == "unique_key" || field == "key";
    EXPECT_EQ(named.count(field) == 0, fixed || field == "run_at") << field;
  }
}

TEST(TaskSpecTest, WrongChangesAreNamed) {
  const auto refused = [](const TaskChange& change) {
    v1::UpdateTaskRequest request;
    return FieldOf(FillUpdate(TaskId(0, 1, 0), change, &request));
  };
  TaskChange change;
  change.retry_policy = TaskRetryPolicy{.max_attempts = 1'001};
  EXPECT_EQ(refused(change), "max_attempts");
  change.retry_policy = TaskRetryPolicy{.backoff = BackoffKind::kFixed, .backoff_multiplier = 2};
  EXPECT_EQ(refused(change), "backoff_multiplier");
  change = {};
  change.start_within = absl::Hours(24 * 366);
  EXPECT_EQ(refused(change), "start_within");
  change.start_within = absl::Hours(1);
  change.expire_at = absl::Now();
  EXPECT_EQ(refused(change), "start_within");
  change = {};
  change.life_timeout = -absl::Seconds(1);
  EXPECT_EQ(refused(change), "life_timeout");
  change = {};
  change.worker_labels = std::map<std::string, std::string>{{"gpu", ""}};
  EXPECT_EQ(refused(change), "worker_labels");
}

TEST(TaskSpecTest, WhatATaskSavedAndHasLeftIsRead) {
  v1::Task task;
  task.set_checkpoint("row 100");
  EXPECT_FALSE(ToTaskInfo(task).remaining.has_value());
  task.mutable_progress()->mutable_remaining()->set_seconds(90);
  const TaskInfo info = ToTaskInfo(task);
  EXPECT_EQ(info.checkpoint, "row 100");
  EXPECT_EQ(info.remaining, std::optional(absl::Seconds(90)));
}

TEST(TaskSpecTest, WrongFieldsAreNamed) {
  struct Case {
    std::string field;
    std::function<void(NewTask&)> spoil;
  };
  const std::vector<Case> cases = {
      {"queue", [](NewTask& t) { t.queue = ""; }},
      {"queue", [](NewTask& t) { t.queue = std::string(129, 'q'); }},
      {"type", [](NewTask& t) { t.type = "a b"; }},
      {"payload", [](NewTask& t) { t.payload.resize((16 << 20) + 1); }},
      {"priority", [](NewTask& t) { t.options.priority = -1; }},
      {"worker_labels",
       [](NewTask& t) {
         t.options.worker_labels = {{"a=b", "c"}};
       }},
      {"worker_labels",
       [](NewTask& t) {
         t.options.worker_labels = {{"a", ""}};
       }},
      {"worker_labels",
       [](NewTask& t) {
         for (int i = 0; i < 9; ++i) t.options.worker_labels[std::to_string(i)] = "x";
       }},
      {"run_at",
       [](NewTask& t) {
         t.options.run_at = absl::Now();
         t.options.delay = absl::Seconds(1);
       }},
      {"delay", [](NewTask& t) { t.options.delay = -absl::Seconds(1); }},
      {"run_timeout", [](NewTask& t) { t.options.run_timeout = absl::Hours(24 * 31); }},
      {"max_attempts", [](NewTask& t) { t.options.max_attempts = 1'001; }},
      {"backoff_multiplier", [](NewTask& t) { t.options.backoff_multiplier = 0.5; }},
      {"backoff_multiplier",
       [](NewTask& t) {
         t.options.backoff_multiplier = 2;
         t.options.backoff = BackoffKind::kFixed;
       }},
      {"start_within", [](NewTask& t) { t.options.start_within = -absl::Seconds(1); }},
      {"start_within",
       [](NewTask& t) {
         t.options.start_within = absl::Seconds(1);
         t.options.expire_at = absl::Now();
       }},
      {"life_timeout", [](NewTask& t) { t.options.life_timeout = absl::Hours(24 * 366); }},
      {"backoff_jitter", [](NewTask& t) { t.options.backoff_jitter = 1.5; }},
      {"unique_key", [](NewTask& t) { t.options.unique_key = std::string(257, 'k'); }},
      {"unique_window", [](NewTask& t) { t.options.unique_window = absl::Seconds(1); }},
      {"result_retention", [](NewTask& t) { t.options.result_retention = absl::Hours(24 * 366); }},
      {"headers", [](NewTask& t) { t.options.headers["k"] = std::string(8 << 10, 'v'); }},
      {"tags", [](NewTask& t) { t.options.tags.assign(17, "t"); }},
  };
  for (const Case& test : cases) {
    NewTask task = Good();
    test.spoil(task);
    v1::TaskSpec spec;
    EXPECT_EQ(FieldOf(FillTaskSpec(task, &spec)), test.field);
  }
}

}  // namespace
}  // namespace penstock
