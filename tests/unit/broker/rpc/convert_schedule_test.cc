#include "broker/rpc/convert_schedule.h"

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "common/status_details.h"
#include "gtest/gtest.h"

namespace penstock::broker {
namespace {

const ApiLimits kLimits{};
constexpr Time kNow = 1'800'000'000 * kSecond;  // 2027-01-15 08:00:00 UTC

v1::CreateScheduleRequest Create() {
  v1::CreateScheduleRequest request;
  v1::Schedule& schedule = *request.mutable_schedule();
  schedule.set_name("nightly");
  schedule.mutable_times()->set_cron("30 2 * * *");
  schedule.mutable_task()->set_queue("reports");
  schedule.mutable_task()->set_type("report.generate");
  return request;
}

TEST(ConvertScheduleTest, EverythingArrives) {
  v1::CreateScheduleRequest request = Create();
  v1::Schedule& schedule = *request.mutable_schedule();
  schedule.mutable_times()->set_time_zone("Europe/Berlin");
  schedule.mutable_times()->mutable_start_time()->set_seconds(1'800'000'100);
  schedule.mutable_times()->mutable_end_time()->set_seconds(1'900'000'000);
  schedule.mutable_task()->set_payload("p");
  schedule.mutable_task()->set_priority(7);
  schedule.mutable_task()->set_key("k");
  schedule.mutable_task()->set_group("g");
  schedule.mutable_task()->mutable_unique_key()->set_key("u");
  schedule.mutable_task()->mutable_unique_key()->mutable_window()->set_seconds(60);
  schedule.mutable_task()->mutable_retry_policy()->set_max_attempts(3);
  schedule.mutable_task()->mutable_run_timeout()->set_seconds(5);
  schedule.mutable_task()->mutable_result_retention()->set_seconds(6);
  schedule.mutable_start_within()->set_seconds(7);
  schedule.set_catch_up(v1::CATCH_UP_ALL);
  schedule.set_overlap(v1::OVERLAP_CANCEL_PREVIOUS);
  schedule.set_note("hello");
  schedule.set_paused(true);
  const auto sized = ToCommand(request, kLimits, kNow);
  ASSERT_TRUE(sized.ok()) << sized.status();
  EXPECT_EQ(sized->command.verb, ScheduleVerb::kCreate);
  EXPECT_EQ(sized->command.name, "nightly");
  const ScheduleChange& change = *sized->command.change;
  const ScheduleTimes times{"30 2 * * *", "Europe/Berlin", 0, 1'800'000'100 * kSecond, 1'900'000'000 * kSecond};
  EXPECT_EQ(*change.times, times);
  EXPECT_EQ(change.task->queue, "reports");
  EXPECT_EQ(change.task->type, "report.generate");
  EXPECT_EQ(change.task->priority, 7);
  EXPECT_EQ(change.task->key, "k");
  EXPECT_EQ(change.task->group, "g");
  EXPECT_EQ(change.task->unique_key, "u");
  EXPECT_EQ(change.task->unique_window, 60 * kSecond);
  EXPECT_EQ(change.task->retry_change.max_attempts, 3);
  EXPECT_EQ(change.task->run_timeout, 5 * kSecond);
  EXPECT_EQ(change.task->result_retention, 6 * kSecond);
  v1::TaskSpec spec;
  ASSERT_TRUE(spec.ParseFromString(change.task->spec));
  EXPECT_EQ(spec.payload(), "p");
  EXPECT_EQ(change.start_within, 7 * kSecond);
  EXPECT_EQ(change.catch_up, CatchUp::kAll);
  EXPECT_EQ(change.overlap, Overlap::kCancelPrevious);
  EXPECT_EQ(change.note, "hello");
  EXPECT_EQ(change.paused, true);

  // And comes back.
  ScheduleView view;
  view.name = "nightly";
  auto definition = std::make_shared<ScheduleDefinition>();
  definition->times = *change.times;
  definition->task = *change.task;
  definition->start_within = *change.start_within;
  definition->catch_up = *change.catch_up;
  definition->overlap = *change.overlap;
  definition->note = *change.note;
  view.definition = definition;
  view.next = 1'800'063'000 * kSecond;  // 2027-01-16 02:30 CET
  view.last_task = TaskId(0, 7, 1);
  view.last_tick = kNow;
  view.fired_total = 4;
  view.failed_total = 1;
  view.error = "too many";
  view.error_time = kNow;
  v1::Schedule shown;
  ToProto(view, ScheduleDetail::kAll, &shown);
  EXPECT_EQ(shown.times().SerializeAsString(), schedule.times().SerializeAsString());
  EXPECT_EQ(shown.task().SerializeAsString(), schedule.task().SerializeAsString());
  EXPECT_EQ(shown.overlap(), v1::OVERLAP_CANCEL_PREVIOUS);
  EXPECT_EQ(shown.last_task_id(), TaskId(0, 7, 1).ToString());
  EXPECT_EQ(shown.error(), "too many");
  ASSERT_EQ(shown.next_times_size(), 5);
  EXPECT_EQ(shown.next_times(1).seconds() - shown.next_times(0).seconds(), 86'400);
  v1::Schedule listed;
  ToProto(view, ScheduleDetail::kInList, &listed);
  EXPECT_EQ(listed.task().payload(), "");
  EXPECT_EQ(listed.task().queue(), "reports");
  EXPECT_EQ(listed.next_times_size(), 1);
}

TEST(ConvertScheduleTest, WhatIsWrongIsNamedWithWhatWouldBeRight) {
  struct Case {
    const char* field;
    const char* says;
    std::function<void(v1::Schedule&)> change;
  };
  const Case cases[] = {
      {"schedule.name", "", [](v1::Schedule& s) { s.set_name(""); }},
      {"schedule.name", "", [](v1::Schedule& s) { s.set_name("with space"); }},
      {"schedule.times", "cron or interval", [](v1::Schedule& s) { s.clear_times(); }},
      {"schedule.times.cron", "0-59", [](v1::Schedule& s) { s.mutable_times()->set_cron("61 * * * *"); }},
      {"schedule.times.cron", "never fires", [](v1::Schedule& s) { s.mutable_times()->set_cron("0 0 30 2 *"); }},
      {"schedule.times.time_zone", "Europe/Berlin",
       [](v1::Schedule& s) { s.mutable_times()->set_time_zone("Mars/Base"); }},
      {"schedule.times.interval", "1s", [](v1::Schedule& s) { s.mutable_times()->mutable_interval(); }},
      {"schedule.times.interval", "",
       [](v1::Schedule& s) { s.mutable_times()->mutable_interval()->set_nanos(999'999'000); }},
      {"schedule.times.interval", "",
       [](v1::Schedule& s) { s.mutable_times()->mutable_interval()->set_seconds(366 * 86'400); }},
      {"schedule.times.time_zone", "goes with cron",
       [](v1::Schedule& s) {
         s.mutable_times()->mutable_interval()->set_seconds(5);
         s.mutable_times()->set_time_zone("UTC");
       }},
      {"schedule.times.end_time", "after start_time",
       [](v1::Schedule& s) {
         s.mutable_times()->mutable_start_time()->set_seconds(1'900'000'000);
         s.mutable_times()->mutable_end_time()->set_seconds(1'900'000'000);
       }},
      {"schedule.times.end_time", "has passed",
       [](v1::Schedule& s) { s.mutable_times()->mutable_end_time()->set_seconds(1'700'000'000); }},
      {"schedule.times.end_time", "before the first tick",
       [](v1::Schedule& s) { s.mutable_times()->mutable_end_time()->set_seconds(1'800'000'060); }},
      {"schedule.times.start_time", "100 years",
       [](v1::Schedule& s) { s.mutable_times()->mutable_start_time()->set_seconds(5'000'000'000); }},
      {"schedule.times.start_time", "1970", [](v1::Schedule& s) { s.mutable_times()->mutable_start_time(); }},
      {"schedule.task.queue", "", [](v1::Schedule& s) { s.mutable_task()->clear_queue(); }},
      {"schedule.task.priority", "", [](v1::Schedule& s) { s.mutable_task()->set_priority(10); }},
      {"schedule.task.run_at", "times say when", [](v1::Schedule& s) { s.mutable_task()->mutable_run_at(); }},
      {"schedule.task.delay", "times say when", [](v1::Schedule& s) { s.mutable_task()->mutable_delay(); }},
      {"schedule.task.expire_at", "start_within", [](v1::Schedule& s) { s.mutable_task()->mutable_expire_at(); }},
      {"schedule.start_within", "", [](v1::Schedule& s) { s.mutable_start_within()->set_seconds(-1); }},
      {"schedule.start_within", "1 ms", [](v1::Schedule& s) { s.mutable_start_within()->set_nanos(1'000); }},
      {"schedule.catch_up", "none, one and all", [](v1::Schedule& s) { s.set_catch_up(static_cast<v1::CatchUp>(9)); }},
      {"schedule.overlap", "skip", [](v1::Schedule& s) { s.set_overlap(static_cast<v1::Overlap>(9)); }},
      {"schedule.note", "", [](v1::Schedule& s) { s.set_note(std::string(1'025, 'n')); }},
  };
  ASSERT_TRUE(ToCommand(Create(), kLimits, kNow).ok());
  for (const Case& one : cases) {
    v1::CreateScheduleRequest request = Create();
    one.change(*request.mutable_schedule());
    const absl::Status status = ToCommand(request, kLimits, kNow).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << one.field;
    EXPECT_EQ(FieldOf(status), one.field) << status;
    EXPECT_NE(std::string(status.message()).find(one.says), std::string::npos) << one.says << " is not in " << status;
  }
}

TEST(ConvertScheduleTest, AnUpdateHasWhatIsGivenAndNoMore) {
  v1::UpdateScheduleRequest request;
  EXPECT_EQ(FieldOf(ToCommand(request, kLimits, kNow).status()), "name");
  request.set_name("nightly");
  auto sized = ToCommand(request, kLimits, kNow);
  ASSERT_TRUE(sized.ok());
  const ScheduleChange& none = *sized->command.change;
  EXPECT_FALSE(none.times || none.task || none.start_within || none.catch_up || none.overlap || none.note ||
               none.paused);
  request.set_note("");
  request.mutable_start_within();
  request.mutable_times()->mutable_interval()->set_seconds(10);
  sized = ToCommand(request, kLimits, kNow);
  ASSERT_TRUE(sized.ok()) << sized.status();
  EXPECT_EQ(sized->command.verb, ScheduleVerb::kUpdate);
  EXPECT_EQ(sized->command.change->note, "");
  EXPECT_EQ(sized->command.change->start_within, 0);
  EXPECT_EQ(sized->command.change->times->interval, 10 * kSecond);
  request.mutable_times()->set_cron("x");
  EXPECT_EQ(FieldOf(ToCommand(request, kLimits, kNow).status()), "times.cron");
  request.clear_times();
  request.mutable_task();
  EXPECT_EQ(FieldOf(ToCommand(request, kLimits, kNow).status()), "task.queue");
}

TEST(ConvertScheduleTest, APreviewIsCountedFromNowOrFromATime) {
  v1::PreviewScheduleRequest request;
  EXPECT_EQ(FieldOf(PreviewTicks(request, kLimits, kNow).status()), "times");
  request.mutable_times()->set_cron("0 9 * * *");
  auto ticks = PreviewTicks(request, kLimits, kNow);
  ASSERT_TRUE(ticks.ok()) << ticks.status();
  ASSERT_EQ(ticks->size(), 10);
  EXPECT_EQ(ticks->front(), kNow + kHour);
  request.set_count(2);
  request.mutable_after()->set_seconds(1'800'000'000 + 3'600);
  ticks = PreviewTicks(request, kLimits, kNow);
  ASSERT_EQ(ticks->size(), 2);
  EXPECT_EQ(ticks->front(), kNow + 25 * kHour);
  request.set_count(101);
  EXPECT_EQ(FieldOf(PreviewTicks(request, kLimits, kNow).status()), "count");
  request.set_count(100);
  request.mutable_times()->mutable_end_time()->set_seconds(1'800'000'000 + 3 * 86'400);
  EXPECT_EQ(PreviewTicks(request, kLimits, kNow)->size(), 2);  // the first of three is not after `after`
}

TEST(ConvertScheduleTest, PageTokensAreNames) {
  v1::ListSchedulesRequest request;
  EXPECT_EQ(ToCommand(request, kLimits)->limit, 100);
  request.set_page_size(7);
  request.set_page_token("nightly");
  EXPECT_EQ(ToCommand(request, kLimits)->limit, 7);
  EXPECT_EQ(ToCommand(request, kLimits)->after, "nightly");
  request.set_page_token("no name");
  EXPECT_EQ(FieldOf(ToCommand(request, kLimits).status()), "page_token");
  request.set_page_size(1'001);
  EXPECT_EQ(FieldOf(ToCommand(request, kLimits).status()), "page_size");
}

}  // namespace
}  // namespace penstock::broker
