// Schedules from the client and the command line to the handler, with a clock that the test moves.

#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "broker/test_broker.h"
#include "client/cli/app.h"
#include "client/client.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "common/status_details.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "worker/worker.h"

namespace penstock {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

class SchedulesTest : public ::testing::Test {
 protected:
  NewSchedule Every(const std::string& name, absl::Duration interval) {
    NewSchedule schedule;
    schedule.name = name;
    schedule.times.interval = interval;
    schedule.task = {.queue = "mail", .type = "t", .payload = "hello"};
    return schedule;
  }
  // With every tick that has come: a command is answered before the ticks of its moment are made.
  ScheduleInfo Get(const std::string& name) {
    (void)schedules().Get(name);
    auto info = schedules().Get(name);
    EXPECT_TRUE(info.ok()) << info.status();
    return info.value_or(ScheduleInfo());
  }
  ScheduleClient& schedules() { return client_->Schedules(); }

  // `penstock ARGUMENTS`: its exit code, standard output, standard error.
  struct Ran {
    int code = 0;
    std::string out;
    std::string err;
  };
  Ran Cli(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "--endpoint=" + broker_->address());
    std::istringstream in;
    std::ostringstream out, err;
    cli::Console console{in, out, err};
    Ran ran;
    ran.code = cli::RunCli(arguments, console);
    ran.out = out.str();
    ran.err = err.str();
    return ran;
  }

  std::unique_ptr<TestBroker> broker_ = TestBroker::Start().value();
  std::unique_ptr<Client> client_ = Client::Connect(broker_->address()).value();
};

TEST_F(SchedulesTest, AHandlerSeesWhichTickItRuns) {
  Mutex mu;
  std::vector<std::string> ticks;
  Worker worker({.broker = broker_->address(), .queues = {"mail"}});
  worker.RegisterRaw("t", [&](TaskContext& context, std::string_view payload) {
    EXPECT_EQ(payload, "hello");
    MutexLock lock(mu);
    ticks.push_back(context.headers().at(kScheduleHeader) + " " + context.headers().at(kTickHeader));
    return Outcome::Done("");
  });
  ASSERT_TRUE(worker.Start().ok());
  const auto made = schedules().Create(Every("beat", absl::Minutes(1)));
  ASSERT_TRUE(made.ok()) << made.status();
  ASSERT_EQ(made->next_times.size(), 5);
  std::vector<std::string> expected;
  for (int i = 0; i < 3; ++i) {
    expected.push_back("beat " + absl::FormatTime("%Y-%m-%dT%H:%M:%E*SZ", made->next_times[static_cast<size_t>(i)],
                                                  absl::UTCTimeZone()));
    // The clock is past the tick; the broker need not be.
    broker_->Advance(absl::Minutes(1));
    ScheduleInfo info = Get("beat");
    ASSERT_EQ(info.fired_total, i + 1);
    ASSERT_EQ(client_->WaitTask(*info.last_task, absl::Minutes(1)).value().state, TaskState::kCompleted);
  }
  MutexLock lock(mu);
  EXPECT_EQ(ticks, expected);
}

TEST_F(SchedulesTest, ARestartLosesNoTickAndRepeatsNone) {
  NewSchedule all = Every("all", absl::Minutes(1));
  all.catch_up = CatchUp::kAll;
  ASSERT_TRUE(schedules().Create(all).ok());
  NewSchedule none = Every("none", absl::Minutes(1));
  none.catch_up = CatchUp::kNone;
  ASSERT_TRUE(schedules().Create(none).ok());
  ASSERT_TRUE(schedules().Create(Every("one", absl::Minutes(1))).ok());
  broker_->Advance(absl::Seconds(90));
  EXPECT_EQ(Get("all").fired_total, 1);
  broker_->Stop();
  broker_->Advance(absl::Minutes(10));
  broker_->Resume();
  EXPECT_EQ(Get("all").fired_total, 11);
  EXPECT_EQ(Get("one").fired_total, 2);
  EXPECT_EQ(Get("one").missed_total, 9);
  EXPECT_EQ(Get("none").fired_total, 2);
  broker_->Restart();
  EXPECT_EQ(Get("all").fired_total, 11);
}

TEST_F(SchedulesTest, AreSteeredByTheClient) {
  NewSchedule schedule = Every("nightly", absl::ZeroDuration());
  schedule.times = {.cron = "30 2 * * *", .time_zone = "Europe/Berlin"};
  schedule.overlap = Overlap::kSkip;
  schedule.note = "report";
  ASSERT_TRUE(schedules().Create(schedule).ok());
  EXPECT_TRUE(absl::IsAlreadyExists(schedules().Create(schedule).status()));
  ASSERT_TRUE(schedules().Create(Every("beat", absl::Hours(1))).ok());
  const auto list = schedules().List();
  ASSERT_TRUE(list.ok());
  ASSERT_EQ(list->size(), 2);
  EXPECT_EQ((*list)[1].name, "nightly");
  EXPECT_EQ((*list)[1].note, "report");

  const auto task = schedules().RunNow("nightly");
  ASSERT_TRUE(task.ok()) << task.status();
  EXPECT_TRUE(absl::IsAlreadyExists(schedules().RunNow("nightly").status()));
  EXPECT_TRUE(*client_->CancelTask(*task));
  EXPECT_TRUE(schedules().RunNow("nightly").ok());

  ASSERT_TRUE(schedules().Pause("nightly").ok());
  EXPECT_TRUE(Get("nightly").paused);
  EXPECT_TRUE(Get("nightly").next_times.empty());
  EXPECT_EQ(schedules().Resume("nightly")->next_times.size(), 5);
  ScheduleChange change;
  change.times = ScheduleTimes{.interval = absl::Seconds(5)};
  const auto updated = schedules().Update("nightly", change);
  ASSERT_TRUE(updated.ok()) << updated.status();
  EXPECT_EQ(updated->times.cron, "");
  EXPECT_EQ(updated->note, "report");
  EXPECT_EQ(updated->queue, "mail");
  ASSERT_TRUE(schedules().Delete("nightly").ok());
  EXPECT_TRUE(absl::IsNotFound(schedules().Get("nightly").status()));
  EXPECT_TRUE(absl::IsNotFound(schedules().Delete("nightly")));

  schedule.times.cron = "0 0 30 2 *";
  EXPECT_EQ(FieldOf(schedules().Create(schedule).status()), "schedule.times.cron");
  EXPECT_EQ(schedules().Preview({.cron = "0 9 * * *"}, 3)->size(), 3);
}

TEST_F(SchedulesTest, AreSteeredByTheCommandLine) {
  Ran ran = Cli({"schedule", "create", "nightly", "reports", "report.generate", "{}", "--cron", "30 2 * * *", "--zone",
                 "Europe/Berlin", "--overlap", "skip", "--note", "for the morning", "--max-attempts", "3"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("times       30 2 * * * Europe/Berlin\n"));
  EXPECT_THAT(ran.out, HasSubstr("next        "));
  EXPECT_THAT(ran.out, HasSubstr(" 02:30:00 CE"));
  EXPECT_THAT(ran.out, HasSubstr("overlap     skip"));
  ran = Cli({"schedule", "create", "poll", "mail", "poll", "--every", "10s", "--paused"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  ran = Cli({"schedule", "list"});
  EXPECT_THAT(ran.out, HasSubstr("NAME"));
  EXPECT_THAT(ran.out, HasSubstr("every 10s"));
  EXPECT_THAT(ran.out, HasSubstr("paused"));
  EXPECT_EQ(Cli({"schedule", "list", "-o", "name"}).out, "nightly\npoll\n");

  EXPECT_EQ(Cli({"schedule", "resume", "poll"}).out, "schedule poll resumed\n");
  broker_->Advance(absl::Seconds(10));
  EXPECT_EQ(Get("poll").fired_total, 1);
  EXPECT_EQ(Cli({"schedule", "pause", "poll", "nightly"}).out, "schedule poll paused\nschedule nightly paused\n");
  const std::string id = Cli({"schedule", "run", "nightly"}).out;
  EXPECT_EQ(id, Get("nightly").last_task->ToString() + "\n");
  ran = Cli({"schedule", "run", "nightly"});
  EXPECT_NE(ran.code, 0);
  EXPECT_THAT(ran.err, HasSubstr("is not finished"));

  ran = Cli({"schedule", "update", "nightly", "--payload", "new", "--every", "1h"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("times       every 1h\n"));
  EXPECT_THAT(ran.out, HasSubstr("payload 3 B"));
  EXPECT_EQ(Get("nightly").payload, "new");
  EXPECT_EQ(Get("nightly").type, "report.generate");
  EXPECT_THAT(Cli({"schedule", "update", "nightly"}).err, HasSubstr("nothing to change"));
  EXPECT_THAT(Cli({"schedule", "show", "nightly", "-o", "json"}).out, HasSubstr("\"interval\": \"3600s\""));

  ran = Cli({"schedule", "preview", "--cron", "0 9 * * MON-FRI", "--zone", "America/New_York", "--count", "2",
             "--after", "2027-03-12T15:00:00Z"});
  EXPECT_THAT(ran.out, HasSubstr("2027-03-15 09:00:00 EDT"));
  EXPECT_THAT(ran.out, HasSubstr("2027-03-16 09:00:00 EDT"));
  ran = Cli({"schedule", "preview", "--cron", "0 0 30 2 *"});
  EXPECT_NE(ran.code, 0);
  EXPECT_THAT(ran.err, HasSubstr("never fires"));
  EXPECT_THAT(Cli({"schedule", "preview"}).err, HasSubstr("--cron or --every"));

  EXPECT_EQ(Cli({"schedule", "delete", "poll"}).out, "schedule poll deleted\n");
  EXPECT_THAT(Cli({"schedule", "list"}).out, Not(HasSubstr("poll")));
  EXPECT_NE(Cli({"schedule", "get", "poll"}).code, 0);
}

}  // namespace
}  // namespace penstock
