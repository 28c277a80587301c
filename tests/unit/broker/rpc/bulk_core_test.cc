// The core of bulk jobs, step by step. What jobs do as a whole shows bulk_jobs_test.cc, and in virtual time the
// simulation.

#include "broker/rpc/bulk_core.h"

#include <string>
#include <utility>
#include <vector>

#include "common/status_details.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace penstock::broker {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class BulkCoreTest : public ::testing::Test {
 protected:
  BulkCoreTest() : core_({}) {
    now_ = clock_.Read();
    job_.set_job_id("b1");
    job_.set_state(v1::BULK_JOB_STATE_RUNNING);
    job_.mutable_create_time()->set_seconds(1'700'000'000);
    job_.mutable_spec()->set_action(v1::BULK_ACTION_DELETE);
    job_.mutable_spec()->mutable_filter()->set_queue("mail");
  }

  // An engine comes in whose store has the job with these tasks to change.
  void Enter(const std::vector<uint64_t>& pending) {
    records::BulkJobRecord record;
    record.set_job(job_.SerializeAsString());
    for (uint64_t task : pending) record.add_pending_task_ids(task);
    BulkCore::Jobs jobs;
    jobs["b1"] = FromRecord(record, ApiLimits()).value();
    core_.Enter(now_, std::move(jobs));
  }
  void Pass(absl::Duration time) {
    clock_.Advance(time);
    now_ = clock_.Read();
  }
  BulkEffects Step() {
    BulkEffects effects;
    core_.Step(now_, &effects);
    return effects;
  }
  // The tasks that are asked for.
  static std::vector<uint64_t> Asked(const BulkEffects& effects) {
    std::vector<uint64_t> tasks;
    for (const BulkPost& post : effects.posts) {
      if (const auto* get = std::get_if<GetTaskCommand>(&post.command)) tasks.push_back(get->task.value());
    }
    return tasks;
  }
  // Answers the first `room` questions; for the others the mailbox has none.
  BulkEffects Answer(const BulkEffects& effects, size_t room) {
    BulkEffects more;
    for (const BulkPost& post : effects.posts) {
      Reply reply;
      if (room == 0) {
        reply.status = LimitReached("limits.mailbox_commands", "full", absl::Seconds(1));
      } else {
        --room;
        reply.value = TaskReply{};
      }
      post.heard(now_, std::move(reply), &more);
    }
    return more;
  }

  ManualClock clock_;
  Now now_;
  v1::BulkJob job_;
  BulkCore core_;
};

TEST_F(BulkCoreTest, WhatWasAnsweredAfterARestartIsNotAskedAgainWhenTheMailboxWasFull) {
  Enter({11, 12, 13, 14, 15});
  BulkEffects effects = Step();
  EXPECT_THAT(Asked(effects), ElementsAre(11, 12, 13, 14, 15));
  EXPECT_TRUE(Answer(effects, 2).empty());
  EXPECT_TRUE(Step().empty()) << "it pauses";
  effects = Step();
  EXPECT_THAT(Asked(effects), ElementsAre(13, 14, 15));
  EXPECT_TRUE(Answer(effects, 2).empty());
  EXPECT_TRUE(Step().empty());
  effects = Step();
  EXPECT_THAT(Asked(effects), ElementsAre(15));
  effects = Answer(effects, 1);
  ASSERT_EQ(effects.checks.size(), 1u);
  // One waits still, one is gone as it was to be; of the others something else has become.
  using enum BulkFate;
  EXPECT_TRUE(effects.checks[0].heard(std::vector{kToChange, kChanged, kSkipped, kSkipped, kSkipped}));
  const v1::BulkJob job = core_.Get("b1").value();
  EXPECT_EQ(job.changed(), 1);
  EXPECT_EQ(job.skipped(), 3);
  effects = Step();
  ASSERT_EQ(effects.posts.size(), 1u);
  records::BulkJobRecord record;
  ASSERT_TRUE(record.ParseFromString(std::get<PutBulkJobCommand>(effects.posts[0].command).record));
  EXPECT_THAT(record.pending_task_ids(), ElementsAre(11)) << "stored before it is changed";
}

TEST_F(BulkCoreTest, ReadersThatAreBusyAreAskedAgainAndTheEngineIsNot) {
  Enter({11});
  BulkEffects effects = Answer(Step(), 1);
  ASSERT_EQ(effects.checks.size(), 1u);
  EXPECT_TRUE(effects.checks[0].heard(absl::ResourceExhaustedError("too many reads wait")));
  EXPECT_TRUE(Step().empty());
  effects = Step();
  EXPECT_THAT(Asked(effects), IsEmpty());
  EXPECT_EQ(effects.checks.size(), 1u);
}

TEST_F(BulkCoreTest, StoppingParksWhatWasNotLookedAtYet) {
  Enter({11});
  EXPECT_FALSE(core_.idle());
  core_.BeginStop();
  EXPECT_TRUE(Step().empty()) << "its record is as it was";
  EXPECT_TRUE(core_.idle());
}

}  // namespace
}  // namespace penstock::broker
