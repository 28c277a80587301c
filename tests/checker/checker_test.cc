// The rules of a task's life, each with a history that keeps it and one that breaks it.

#include "tests/checker/checker.h"

#include <sstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/checker/short_history.h"

namespace penstock::histcheck {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

const std::string kEnqueued = R"(
10 enqueue who=p call=1 q=q type=t payload=a
11 enqueued who=p call=1 phase=ok task=T
)";
const std::string kDelivered = "20 deliver who=w task=T token=5 attempt=1 max_attempts=3 payload=a q=q type=t\n";
const std::string kCompleted = R"(
30 outcome who=w task=T token=5 kind=completed
31 answer who=w task=T token=5 phase=ok
)";
const std::string kFailed = R"(
30 outcome who=w task=T token=5 kind=failed delay=20
31 answer who=w task=T token=5 phase=ok
)";
const std::string kEnd = "900 quiet\n950 drained\n";
const std::string kLife = kConfig + kEnqueued + kDelivered + kCompleted + kEnd;

std::string Again(const std::string& fields) {
  return fields + " payload=a q=q type=t" +
         (fields.find("max_attempts") == std::string::npos ? " max_attempts=3" : "") + "\n";
}

TEST(CheckerTest, PlainLifeIsFine) { EXPECT_THAT(Broken(kLife + "960 task task=T state=completed\n"), IsEmpty()); }

TEST(CheckerTest, Loss) {
  EXPECT_THAT(Broken(kLife), ElementsAre("loss"));
  EXPECT_THAT(Broken(kLife + "960 task task=T state=gone\n"), ElementsAre("loss"));
  EXPECT_THAT(Broken(kLife + "960 task task=T state=dead\n"), ElementsAre("loss", "nowhere"));
  EXPECT_THAT(Broken(kConfig + kEnqueued + kEnd + "960 task task=T state=gone\n"), ElementsAre("loss"));
  const std::string gone = kEnqueued + kEnd + "960 task task=T state=gone\n";
  EXPECT_THAT(Broken(kConfig + gone + "50 ask call=9 kind=purge q=q\n51 told call=9 phase=ok n=1\n"), IsEmpty());
  EXPECT_THAT(Broken(kConfig + gone + "50 ask call=9 kind=purge q=q\n51 told call=9 phase=fail\n"),
              ElementsAre("loss"));
  // What is forgotten must have ended before.
  const std::string forgets = "0 config liveness=1000 forgets=true\n";
  EXPECT_THAT(Broken(forgets + gone), ElementsAre("loss"));
  EXPECT_THAT(Broken(forgets + kDelivered + kCompleted + gone), IsEmpty());
}

TEST(CheckerTest, RelaxedQueuesMayLoseTheLastMomentBeforeAPowerFailure) {
  const std::string gone = kConfig + kEnqueued + kEnd + "1 queue q=q relaxed=true\n960 task task=T state=gone\n";
  EXPECT_THAT(Broken(gone + "100 power_loss\n"), IsEmpty());
  EXPECT_THAT(Broken(gone + "200 power_loss\n"), ElementsAre("loss"));
  EXPECT_THAT(Broken(kConfig + kEnqueued + kEnd + "960 task task=T state=gone\n100 power_loss\n"), ElementsAre("loss"));
}

TEST(CheckerTest, NothingFromNowhere) {
  EXPECT_THAT(Broken(kConfig + kDelivered), ElementsAre("nowhere"));
  EXPECT_THAT(Broken(kConfig + kEnqueued +
                     "20 deliver who=w task=T token=5 attempt=1 max_attempts=3 payload=a q=other type=t\n"),
              ElementsAre("nowhere"));
  EXPECT_THAT(Broken(kConfig + "10 enqueue call=1 q=q type=t payload=a\n11 enqueued call=1 phase=fail\n" + kDelivered),
              ElementsAre("nowhere"));
  EXPECT_THAT(Broken(kConfig + kEnqueued + kDelivered + kEnd + "960 task task=T state=completed\n"),
              ElementsAre("nowhere"));
  EXPECT_THAT(Broken(kConfig + kEnqueued + kEnd + "960 task task=T state=cancelled\n"), ElementsAre("nowhere"));
  EXPECT_THAT(Broken(kConfig + kEnqueued + kEnd + "960 task task=T state=dead\n"), ElementsAre("nowhere"));
}

TEST(CheckerTest, AnEnqueueOfUnknownOutcomeIsThereOnceAtMost) {
  const std::string unknown = kConfig + "10 enqueue call=1 q=q type=t payload=a\n11 enqueued call=1 phase=unknown\n";
  EXPECT_THAT(Broken(unknown), IsEmpty());
  EXPECT_THAT(Broken(unknown + kDelivered), IsEmpty());
  EXPECT_THAT(Broken(unknown + kDelivered + Again("21 deliver who=w task=U token=6 attempt=1")), ElementsAre("twice"));
}

TEST(CheckerTest, ARepeatedRequestGivesTheSameTasks) {
  EXPECT_THAT(Broken(kConfig + kEnqueued + "15 enqueued call=1 phase=ok task=T\n"), IsEmpty());
  EXPECT_THAT(Broken(kConfig + kEnqueued + "15 enqueued call=1 phase=ok task=U\n"), ElementsAre("request"));
}

TEST(CheckerTest, UniqueKeys) {
  const std::string first =
      kConfig + "10 enqueue call=1 q=q type=t payload=a unique=k\n11 enqueued call=1 phase=ok task=T\n";
  const std::string second = "50 enqueue call=2 q=q type=t payload=b unique=k\n";
  EXPECT_THAT(Broken(first + second + "51 enqueued call=2 phase=ok task=T dup=true\n"), IsEmpty());
  EXPECT_THAT(Broken(first + second + "51 enqueued call=2 phase=ok task=U\n"), ElementsAre("unique"));
  // Free after the end, and then no duplicate any more.
  EXPECT_THAT(Broken(first + kDelivered + kCompleted + second + "51 enqueued call=2 phase=ok task=U\n"), IsEmpty());
  EXPECT_THAT(Broken(first + kDelivered + kCompleted + second + "51 enqueued call=2 phase=ok task=T dup=true\n"),
              ElementsAre("unique"));
  // A window holds whatever becomes of the task.
  const std::string window =
      kConfig + "10 enqueue call=1 q=q type=t payload=a unique=k window=60\n11 enqueued call=1 phase=ok task=T\n" +
      kDelivered + kCompleted;
  EXPECT_THAT(Broken(window + second + "51 enqueued call=2 phase=ok task=U\n"), ElementsAre("unique"));
  EXPECT_THAT(Broken(window + "80 enqueue call=2 q=q type=t payload=b unique=k\n81 enqueued call=2 phase=ok task=U\n"),
              IsEmpty());
  EXPECT_THAT(
      Broken(window + "80 enqueue call=2 q=q type=t payload=b unique=k\n81 enqueued call=2 phase=ok task=T dup=true\n"),
      ElementsAre("unique"));
  EXPECT_THAT(Broken(first + second +
                     "51 enqueued call=2 phase=ok task=T dup=true\n60 deliver who=w task=U token=5 attempt=1 "
                     "max_attempts=1 payload=b q=q type=t\n"),
              ElementsAre("unique"));
}

TEST(CheckerTest, ACompletionCountsOnce) {
  EXPECT_THAT(
      Broken(kConfig + kEnqueued + kDelivered + kCompleted + Again("40 deliver who=v task=T token=6 attempt=2")),
      ElementsAre("completion"));
}

TEST(CheckerTest, StaleLeasesAreRefused) {
  const std::string newer = kConfig + kEnqueued + kDelivered + Again("25 deliver who=v task=T token=6 attempt=1");
  EXPECT_THAT(
      Broken(newer + "30 outcome who=w task=T token=5 kind=failed\n31 answer who=w task=T token=5 phase=stale\n"),
      IsEmpty());
  EXPECT_THAT(
      Broken(newer + "30 outcome who=w task=T token=5 kind=released\n31 answer who=w task=T token=5 phase=ok\n"),
      ElementsAre("stale"));
  EXPECT_THAT(Broken(kConfig + kEnqueued +
                     "30 outcome who=w task=T token=5 kind=failed\n31 answer who=w task=T token=5 phase=ok\n"),
              ElementsAre("stale"));
  EXPECT_THAT(Broken(kConfig + kEnqueued + kDelivered + "25 lost who=w task=T told=true\n" + kFailed),
              ElementsAre("stale"));
}

TEST(CheckerTest, ALeaseIsKeptWhileItHolds) {
  const std::string held = kConfig + kEnqueued + "12 valid who=w until=500\n" + kDelivered;
  EXPECT_THAT(Broken(held + "30 lost who=w task=T told=true\n"), ElementsAre("lease"));
  EXPECT_THAT(Broken(held + "30 lost who=w task=T\n"), IsEmpty());
  EXPECT_THAT(Broken(held + "600 lost who=w task=T told=true\n"), IsEmpty());
  EXPECT_THAT(
      Broken(held + "30 outcome who=w task=T token=5 kind=failed\n31 answer who=w task=T token=5 phase=stale\n"),
      ElementsAre("lease"));
  // Repeated, it may have counted; then it must be said so.
  const std::string repeated =
      held + "30 outcome who=w task=T token=5 kind=completed\n31 answer who=w task=T token=5 phase=stale dup=true\n" +
      kEnd;
  EXPECT_THAT(Broken(repeated + "960 task task=T state=completed\n"), ElementsAre("lease"));
}

TEST(CheckerTest, LeasesOfATaskDoNotOverlap) {
  const std::string held = kConfig + kEnqueued + kDelivered;
  const std::string other = Again("40 deliver who=v task=T token=6 attempt=2");
  EXPECT_THAT(Broken(held + "12 valid who=w until=35\n" + other), IsEmpty());
  EXPECT_THAT(Broken(held + "12 valid who=w until=45\n" + other), ElementsAre("overlap"));
  EXPECT_THAT(Broken(held + "12 valid who=w until=45\n30 valid who=w until=31\n" + other), IsEmpty());
  EXPECT_THAT(Broken(held + "12 valid who=w until=45\n30 lost who=w task=T\n" + other), IsEmpty());
}

TEST(CheckerTest, TokensGrow) {
  const std::string two = kConfig + kEnqueued + "10 enqueue call=2 q=q type=t payload=b\n" + kDelivered;
  const std::string rest = " attempt=1 max_attempts=1 payload=b q=q type=t\n";
  EXPECT_THAT(Broken(two + "21 deliver who=v task=U token=4" + rest), IsEmpty());
  EXPECT_THAT(Broken(two + "21 deliver who=v task=U token=5" + rest), ElementsAre("tokens"));
  EXPECT_THAT(Broken(two + "21 deliver who=w task=U token=4" + rest), ElementsAre("tokens"));
  EXPECT_THAT(Broken(two + "22 enqueue call=3 q=q type=t payload=c\n25 deliver who=v task=V token=4 attempt=1 "
                           "max_attempts=1 payload=c q=q type=t\n"),
              ElementsAre("tokens"));
}

TEST(CheckerTest, Attempts) {
  const std::string failed = kConfig + kEnqueued + kDelivered + kFailed;
  EXPECT_THAT(Broken(failed + Again("60 deliver who=w task=T token=6 attempt=2")), IsEmpty());
  EXPECT_THAT(Broken(failed + Again("60 deliver who=w task=T token=6 attempt=1")), ElementsAre("attempts"));
  EXPECT_THAT(Broken(failed + Again("60 deliver who=w task=T token=6 attempt=3")), ElementsAre("attempts"));
  EXPECT_THAT(Broken(kConfig + kEnqueued + Again("20 deliver who=w task=T token=5 attempt=4")),
              ElementsAre("attempts"));
  // The last one.
  const std::string last =
      kConfig + kEnqueued + Again("20 deliver who=w task=T token=5 attempt=1 max_attempts=1") + kFailed;
  const std::string more = Again("60 deliver who=w task=T token=6 attempt=2 max_attempts=2");
  EXPECT_THAT(Broken(last + more), ElementsAre("attempts"));
  EXPECT_THAT(Broken(last + more + "50 ask call=9 kind=retry task=T\n51 told call=9 phase=ok\n"), IsEmpty());
  EXPECT_THAT(Broken(last + more + "50 ask call=9 kind=redrive q=q\n51 told call=9 phase=ok n=1\n"), IsEmpty());
  // Given back, it is none; lost after a start that the broker knew of, it is one.
  const std::string released =
      kConfig + kEnqueued + kDelivered +
      "30 outcome who=w task=T token=5 kind=released\n31 answer who=w task=T token=5 phase=ok\n";
  EXPECT_THAT(Broken(released + Again("60 deliver who=w task=T token=6 attempt=1")), IsEmpty());
  EXPECT_THAT(Broken(released + Again("60 deliver who=w task=T token=6 attempt=2")), ElementsAre("attempts"));
  const std::string started = kConfig + kEnqueued + kDelivered + "22 start who=w task=T token=5 phase=ok\n";
  const std::string first = Again("60 deliver who=v task=T token=6 attempt=1");
  EXPECT_THAT(Broken(started + "40 lost who=w task=T told=true\n" + first), ElementsAre("attempts"));
  EXPECT_THAT(Broken(started + "40 lost who=w task=T kind=given_back\n" + first), IsEmpty());
  EXPECT_THAT(Broken(kConfig + kEnqueued + kDelivered + "40 lost who=w task=T told=true\n" + first), IsEmpty());
  EXPECT_THAT(Broken(kConfig + "10 enqueue call=1 q=q type=t payload=a max_attempts=7\n" + kDelivered),
              ElementsAre("attempts"));
}

TEST(CheckerTest, NeverEarly) {
  EXPECT_THAT(Broken(kConfig + "10 enqueue call=1 q=q type=t payload=a run_at=20\n" + kDelivered), IsEmpty());
  EXPECT_THAT(Broken(kConfig + "10 enqueue call=1 q=q type=t payload=a run_at=21\n" + kDelivered),
              ElementsAre("early"));
  EXPECT_THAT(Broken(kConfig + "10 enqueue call=1 q=q type=t payload=a delay=11\n" + kDelivered), ElementsAre("early"));
  EXPECT_THAT(Broken(kConfig + "10 enqueue call=1 q=q type=t payload=a delay=11\n12 jump until=12\n" + kDelivered),
              IsEmpty());
  const std::string retried = kConfig + kEnqueued + kDelivered + kFailed;
  EXPECT_THAT(Broken(retried + Again("50 deliver who=w task=T token=6 attempt=2")), IsEmpty());
  EXPECT_THAT(Broken(retried + Again("49 deliver who=w task=T token=6 attempt=2")), ElementsAre("early"));
  EXPECT_THAT(Broken(retried + Again("49 deliver who=w task=T token=6 attempt=2") +
                     "40 ask call=9 kind=retry task=T\n41 told call=9 phase=ok\n"),
              IsEmpty());
}

TEST(CheckerTest, ExpiredTasksAreNotGivenOut) {
  EXPECT_THAT(Broken(kConfig + "10 enqueue call=1 q=q type=t payload=a expire_at=10\n" + kDelivered), IsEmpty());
  EXPECT_THAT(Broken(kConfig + "9 enqueue call=1 q=q type=t payload=a expire_at=9\n" + kDelivered),
              ElementsAre("expired"));
}

TEST(CheckerTest, NothingIsGivenOutAfterItsLife) {
  const std::string lives = kConfig + "10 enqueue call=1 q=q type=t payload=a life=20 delay=5\n" +
                            "11 enqueued who=p call=1 phase=ok task=T\n";
  EXPECT_THAT(Broken(lives + "46 deliver who=w task=T token=5 attempt=1 max_attempts=3 q=q type=t payload=a\n"),
              Not(Contains("life")));
  const std::string late = "47 deliver who=w task=T token=5 attempt=1 max_attempts=3 q=q type=t payload=a\n";
  EXPECT_THAT(Broken(lives + late), Contains("life"));
  EXPECT_THAT(Broken(lives + "40 ask call=9 kind=retry task=T\n41 told call=9 phase=ok\n" + late),
              Not(Contains("life")));
}

TEST(CheckerTest, WhatWasSavedComesBack) {
  auto given = [](int t, int token, const std::string& saved) {
    return std::to_string(t) + " deliver who=w task=T token=" + std::to_string(token) +
           " attempt=1 max_attempts=3 q=q type=t payload=a" + (saved.empty() ? "" : " saved=" + saved) + "\n";
  };
  const std::string first =
      kConfig + kEnqueued + given(20, 5, "") + "30 outcome who=w task=T token=5 kind=snoozed delay=0 saved=one\n";
  EXPECT_THAT(Broken(first + "31 answer who=w task=T token=5 phase=ok\n" + given(40, 6, "one")),
              Not(Contains("checkpoint")));
  EXPECT_THAT(Broken(first + "31 answer who=w task=T token=5 phase=ok\n" + given(40, 6, "")), Contains("checkpoint"));
  EXPECT_THAT(Broken(first + "31 answer who=w task=T token=5 phase=unknown\n" + given(40, 6, "")),
              Not(Contains("checkpoint")));
  EXPECT_THAT(Broken(first + given(40, 6, "two")), Contains("checkpoint"));
}

TEST(CheckerTest, WhatIsCooledIsLeftAlone) {
  const std::string cooled = kConfig + kEnqueued +
                             "20 deliver who=w task=T token=5 attempt=1 max_attempts=3 q=q type=t payload=a\n"
                             "30 outcome who=w task=T token=5 kind=failed delay=40 cool=queue\n"
                             "31 answer who=w task=T token=5 phase=ok\n"
                             "32 enqueue who=p call=2 q=q type=t payload=b\n33 enqueued who=p call=2 phase=ok task=U\n";
  auto given = [](int t) {
    return std::to_string(t) + " deliver who=w task=U token=6 attempt=1 max_attempts=3 q=q type=t payload=b\n";
  };
  EXPECT_THAT(Broken(cooled + given(36)), Not(Contains("cooled"))) << "it may have been on its way";
  EXPECT_THAT(Broken(cooled + given(37)), Contains("cooled"));
  EXPECT_THAT(Broken(cooled + given(70)), Not(Contains("cooled")));
}

TEST(CheckerTest, CancelAndDeleteAreFinal) {
  const std::string cancel = "50 ask call=9 kind=cancel task=T\n51 told call=9 phase=ok state=cancelled\n";
  EXPECT_THAT(Broken(kConfig + kEnqueued + cancel + Again("55 deliver who=w task=T token=5 attempt=1")),
              IsEmpty());  // was on its way
  EXPECT_THAT(Broken(kConfig + kEnqueued + cancel + Again("60 deliver who=w task=T token=5 attempt=1")),
              ElementsAre("final"));
  EXPECT_THAT(Broken(kConfig + kEnqueued + kDelivered + cancel +
                     "60 outcome who=w task=T token=5 kind=completed\n61 answer who=w task=T token=5 phase=ok\n"),
              ElementsAre("final"));
  EXPECT_THAT(Broken(kConfig + kEnqueued + "50 ask call=9 kind=delete q=q\n51 told call=9 phase=ok\n" +
                     Again("60 deliver who=w task=T token=5 attempt=1")),
              ElementsAre("final"));
  // An end that somebody was told of is the end.
  EXPECT_THAT(Broken(kLife + "40 seen who=x task=T state=completed\n960 task task=T state=completed\n"), IsEmpty());
  EXPECT_THAT(Broken(kConfig + kEnqueued + kDelivered + kFailed + "40 seen who=x task=T state=cancelled\n" +
                     Again("60 deliver who=w task=T token=6 attempt=2")),
              ElementsAre("final"));
}

TEST(CheckerTest, PurgedTasksAreNotGivenOut) {
  const std::string purge = "50 ask call=9 kind=purge q=q\n51 told call=9 phase=ok n=1\n";
  const std::string scheduled =
      kConfig + "10 enqueue call=1 q=q type=t payload=a run_at=60\n11 enqueued call=1 phase=ok task=T\n";
  const std::string late = Again("70 deliver who=w task=T token=5 attempt=1");
  EXPECT_THAT(Broken(scheduled + late), IsEmpty());
  EXPECT_THAT(Broken(scheduled + purge + late), ElementsAre("final"));
  const std::string pause = "5 ask call=8 kind=pause q=q\n6 told call=8 phase=ok\n";
  const std::string resume = "60 ask call=7 kind=resume q=q\n61 told call=7 phase=ok\n";
  EXPECT_THAT(Broken(kConfig + kEnqueued + pause + purge + resume + late), ElementsAre("final"));
  EXPECT_THAT(Broken(kConfig + kEnqueued + purge + late), IsEmpty());  // it may have been on its way to a worker
}

TEST(CheckerTest, PausedQueuesGiveNothingOutAndDrainingOnesTakeNothing) {
  EXPECT_THAT(Broken(kConfig + kEnqueued + "12 ask call=9 kind=pause q=q\n13 told call=9 phase=ok\n" + kDelivered),
              ElementsAre("paused"));
  EXPECT_THAT(Broken(kConfig + kEnqueued + "16 ask call=9 kind=pause q=q\n17 told call=9 phase=ok\n" + kDelivered),
              IsEmpty());
  EXPECT_THAT(Broken(kConfig + "1 ask call=9 kind=drain q=q\n2 told call=9 phase=ok\n" + kEnqueued),
              ElementsAre("draining"));
  EXPECT_THAT(Broken(kConfig + "1 ask call=9 kind=drain q=q\n2 told call=9 phase=ok\n5 ask call=8 kind=resume q=q\n" +
                     kEnqueued),
              IsEmpty());
}

// Of the product's future: at most one of a FIFO key runs, and never more than a limit allows.
TEST(CheckerTest, KeysAndLimits) {
  auto two = [](const std::string& fields) {
    return kConfig + "0 limit key=mail n=1\n1 valid who=w until=500\n10 enqueue call=1 i=0 q=q type=t payload=a " +
           fields + "\n10 enqueue call=1 i=1 q=q type=t payload=b " + fields + "\n" + kDelivered;
  };
  const std::string other = "25 deliver who=v task=U token=6 attempt=1 max_attempts=1 payload=b q=q type=t\n";
  const std::string later = "35 deliver who=v task=U token=6 attempt=1 max_attempts=1 payload=b q=q type=t\n";
  EXPECT_THAT(Broken(two("key=k") + other), ElementsAre("fifo"));
  EXPECT_THAT(Broken(two("key=k") + kCompleted + later), IsEmpty());
  EXPECT_THAT(Broken(two("limits=mail") + other), ElementsAre("limit"));
  EXPECT_THAT(Broken(two("limits=mail") + kCompleted + later), IsEmpty());
  EXPECT_THAT(Broken(two("priority=5") + other), IsEmpty());
  // Started in the order of their acknowledgements.
  const std::string keyed = kConfig +
                            "10 enqueue call=1 q=q type=t payload=a key=k\n11 enqueued call=1 phase=ok task=T\n"
                            "12 enqueue call=2 q=q type=t payload=b key=k\n13 enqueued call=2 phase=ok task=U\n";
  EXPECT_THAT(
      Broken(keyed + "14 deliver who=v task=U token=4 attempt=1 max_attempts=1 payload=b q=q type=t\n" + kDelivered),
      ElementsAre("fifo"));
  EXPECT_THAT(
      Broken(keyed + kDelivered + "25 deliver who=v task=U token=6 attempt=1 max_attempts=1 payload=b q=q type=t\n"),
      IsEmpty());
}

TEST(CheckerTest, CountersEqualARecount) {
  const std::string life = kLife + "960 task task=T state=completed\n";
  EXPECT_THAT(Broken(life + "961 counters q=q enqueued_total=1 completed_total=1\n"), IsEmpty());
  EXPECT_THAT(Broken(life + "961 counters q=q enqueued_total=2 completed_total=2\n"), ElementsAre("counters"));
  EXPECT_THAT(Broken(life + "961 counters q=q enqueued_total=1 completed_total=1 dead=1\n"), ElementsAre("counters"));
  EXPECT_THAT(Broken(life + "961 counters q=q enqueued_total=1 completed_total=1 failed_total=1\n"),
              ElementsAre("counters"));
  EXPECT_THAT(Broken(life + "961 counters q=q enqueued_total=1 completed_total=1 running=1\n"),
              ElementsAre("counters"));
  EXPECT_THAT(Broken(life + "961 counters q=q enqueued_total=1 completed_total=1 dead_total=1\n"),
              ElementsAre("counters"));
  EXPECT_THAT(Broken(life + "961 counters q=q enqueued_total=1 completed_total=1 cancelled_total=1\n"),
              ElementsAre("counters"));
}

TEST(CheckerTest, EverythingComesToItsEnd) {
  EXPECT_THAT(Broken(kConfig + "10 quiet\n"), ElementsAre("liveness"));
  EXPECT_THAT(Broken(kConfig + "10 quiet\n1011 drained\n"), ElementsAre("liveness"));
  EXPECT_THAT(Broken(kConfig + kEnqueued + kEnd + "960 task task=T state=available\n"), ElementsAre("drained"));
}

// 40 tasks of priority 5 and one other, given to one worker in this order of priorities.
std::string Given(const std::string& order) {
  std::string text = kConfig + "1 worker who=w kind=,q,|,t,\n";
  for (size_t i = 0; i < order.size(); ++i) {
    const std::string task = " q=q type=t payload=p" + std::to_string(i) + " priority=" + order[i] + "\n";
    text += "10 enqueue call=1 i=" + std::to_string(i) + task;
    text += "11 enqueued call=1 phase=ok task=t" + std::to_string(i) + " i=" + std::to_string(i) + "\n";
    text += "30 deliver who=w attempt=1 max_attempts=1 task=t" + std::to_string(i) + " token=" + std::to_string(i + 5) +
            task;
  }
  return text;
}

TEST(CheckerTest, Priorities) {
  EXPECT_THAT(Broken(Given(std::string(40, '5'))), IsEmpty());
  EXPECT_THAT(Broken(Given("99999999999999915999")), IsEmpty());
  EXPECT_THAT(Broken(Given("1119")), ElementsAre("priority"));                      // passed over too often
  EXPECT_THAT(Broken(Given(std::string(40, '9') + "1")), ElementsAre("priority"));  // starved
  EXPECT_THAT(Broken(Given("1119") + "31 cut who=w\n"), IsEmpty());  // it may have been on its way elsewhere
}

TEST(CheckerTest, TimeMustNotGoBack) {
  History history = Parse(kConfig + kEnqueued);
  std::swap(history[1].t, history[2].t);
  EXPECT_EQ(Check(history).violations.at(0).rule, "format");
}

TEST(CheckerTest, ViolationsNameTheirLines) {
  const Verdict verdict =
      Check(Parse(kConfig + kEnqueued + kDelivered + kCompleted + Again("40 deliver who=v task=T token=6 attempt=2")));
  ASSERT_EQ(verdict.violations.size(), 1u);
  EXPECT_THAT(verdict.violations[0].lines, ElementsAre(6, 7));
  EXPECT_EQ(verdict.deliveries, 2u);
  EXPECT_EQ(verdict.redeliveries, 1u);
  EXPECT_EQ(verdict.completions, 1u);
}

TEST(HistoryTest, LinesThatCannotBeReadAreNamed) {
  auto error = [](const std::string& text) {
    std::istringstream in("{\"t\":1,\"op\":\"quiet\"}\n" + text);
    History history;
    std::string problem;
    EXPECT_FALSE(Read(in, &history, &problem)) << text;
    return problem;
  };
  EXPECT_THAT(error("{\"t\":1"), HasSubstr("line 2"));
  EXPECT_THAT(error("{\"t\":1,\"op\":\"nonsense\"}"), HasSubstr("`op`"));
  EXPECT_THAT(error("{\"t\":1,\"op\":\"quiet\",\"colour\":1}"), HasSubstr("`colour`"));
  EXPECT_THAT(error("{\"t\":\"now\",\"op\":\"quiet\"}"), HasSubstr("line 2"));
  EXPECT_THAT(error("{\"t\":1,\"op\":\"told\",\"phase\":\"perhaps\"}"), HasSubstr("`phase`"));
}

TEST(HistoryTest, WhatIsWrittenIsReadBack) {
  const History history =
      Parse(kLife + "960 task task=T state=completed\n961 counters q=q enqueued_total=1 completed_total=1\n");
  std::stringstream file;
  Write(history, file);
  History again;
  std::string error;
  ASSERT_TRUE(Read(file, &again, &error)) << error;
  ASSERT_EQ(again.size(), history.size());
  for (size_t i = 0; i < history.size(); ++i) EXPECT_EQ(ToJson(again[i]), ToJson(history[i]));
}

// A worker that stood still reads late what was given out early: what it has heard since tells them apart.
TEST(CheckerTest, WhenADeliveryWasGivenOutIsKnownFromWhatTheBrokerAnswered) {
  const std::string told = kConfig + kEnqueued + kDelivered + kCompleted + "40 seen task=T state=completed\n";
  auto late = [](int t, int since) {
    return std::to_string(t) + " deliver who=v task=T token=4 attempt=1 since=" + std::to_string(since) +
           " max_attempts=3 payload=a q=q type=t\n";
  };
  EXPECT_THAT(Broken(told + late(500, 15)), IsEmpty());
  EXPECT_THAT(Broken(told + late(43, 41)), ElementsAre("final"));
  const std::string expires = kConfig +
                              "10 enqueue call=1 q=q type=t payload=a expire_at=100\n11 enqueued call=1 "
                              "phase=ok task=T\n";
  EXPECT_THAT(Broken(expires + late(500, 15)), IsEmpty());
  EXPECT_THAT(Broken(expires + late(500, 106)), ElementsAre("expired"));
}

}  // namespace
}  // namespace penstock::histcheck
