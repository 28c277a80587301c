// The rules that have a file of their own (rules.h), each with histories that keep it and some that break it.

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/checker/short_history.h"

namespace penstock::histcheck {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::string Enqueued(int t, int call, const std::string& task, const std::string& fields) {
  const std::string number = " call=" + std::to_string(call);
  return std::to_string(t) + " enqueue who=p q=q type=t payload=p" + task + number + " " + fields + "\n" +
         std::to_string(t + 1) + " enqueued who=p phase=ok task=" + task + number + "\n";
}

// `since`: when it was given out.
std::string Given(int t, int since, int token, const std::string& task, const std::string& payload,
                  const std::string& who = "w", const std::string& q = "q") {
  return std::to_string(t) + " deliver who=" + who + " attempt=1 max_attempts=3 q=" + q + " type=t task=" + task +
         " payload=" + payload + " token=" + std::to_string(token) + " since=" + std::to_string(since) + "\n";
}

std::string Completed(int t, int token, const std::string& task, const std::string& phase = "ok") {
  const std::string lease = " who=w task=" + task + " token=" + std::to_string(token);
  return std::to_string(t) + " outcome kind=completed" + lease + "\n" + std::to_string(t + 1) +
         " answer phase=" + phase + lease + "\n";
}

std::string Update(int t, int call, const std::string& payload, const std::string& fields, const std::string& phase) {
  const std::string number = " call=" + std::to_string(call);
  return std::to_string(t) + " ask who=p kind=update_task task=T q=q type=t payload=" + payload + number + " " +
         fields + "\n" + std::to_string(t + 1) + " told who=p phase=" + phase + number + "\n";
}

// --- update, delete ---

TEST(ChangesTest, AnUpdatedTaskIsGivenOutAsItWasChanged) {
  const std::string updated = kConfig + Enqueued(10, 1, "T", "") + Update(20, 2, "new", "", "ok");
  EXPECT_THAT(Broken(updated + Given(30, 29, 5, "T", "new")), IsEmpty());
  EXPECT_THAT(Broken(updated + Given(30, 29, 5, "T", "pT")), ElementsAre("update"));
  EXPECT_THAT(Broken(updated + Given(22, 15, 5, "T", "pT")), IsEmpty()) << "given out before, on its way since";
  const std::string twice = updated + Update(23, 3, "newer", "", "ok");
  EXPECT_THAT(Broken(twice + Given(30, 29, 5, "T", "new")), ElementsAre("update"));
  EXPECT_THAT(Broken(twice + Given(30, 29, 5, "T", "newer")), IsEmpty());
  // Of an update without an answer nobody knows.
  const std::string unknown = kConfig + Enqueued(10, 1, "T", "") + Update(20, 2, "new", "", "unknown");
  EXPECT_THAT(Broken(unknown + Given(30, 29, 5, "T", "pT")), IsEmpty());
  EXPECT_THAT(Broken(unknown + Given(30, 29, 5, "T", "new")), IsEmpty());
}

TEST(ChangesTest, ARefusedUpdateChangesNothing) {
  const std::string refused = kConfig + Enqueued(10, 1, "T", "") + Update(20, 2, "new", "", "fail");
  EXPECT_THAT(Broken(refused + Given(30, 29, 5, "T", "pT")), IsEmpty());
  EXPECT_THAT(Broken(refused + Given(30, 29, 5, "T", "new")), ElementsAre("update"));
}

TEST(ChangesTest, AnUpdateIsOfItsTaskAndAllOfIt) {
  const std::string two = kConfig + Enqueued(10, 1, "T", "") + Enqueued(12, 4, "U", "");
  EXPECT_THAT(Broken(two + Update(20, 2, "new", "", "ok") + Given(30, 29, 5, "U", "new")), Contains("update"));
  EXPECT_THAT(Broken(two + Update(20, 2, "new", "priority=9", "ok") + Given(30, 29, 5, "T", "new")),
              ElementsAre("nowhere"));
  const std::string later = two + Update(20, 2, "new", "run_at=40", "ok");
  EXPECT_THAT(Broken(later + Given(30, 29, 5, "T", "new")), ElementsAre("early"));
  EXPECT_THAT(Broken(later + Given(40, 40, 5, "T", "new")), IsEmpty());
}

TEST(ChangesTest, WhatRunsOrHasEndedIsNotChanged) {
  const std::string running =
      kConfig + "1 valid who=w until=500\n" + Enqueued(10, 1, "T", "") + Given(15, 14, 5, "T", "pT");
  const std::string remove = "20 ask call=2 kind=delete_task task=T\n21 told call=2 phase=ok\n";
  EXPECT_THAT(Broken(running + Update(20, 2, "new", "", "ok") + Completed(30, 5, "T")), ElementsAre("update"));
  EXPECT_THAT(Broken(running + Update(20, 2, "new", "", "fail") + Completed(30, 5, "T")), IsEmpty());
  EXPECT_THAT(Broken(running + remove + Completed(30, 5, "T")), ElementsAre("update"));
  EXPECT_THAT(Broken(running + Completed(17, 5, "T") + remove), ElementsAre("update"));
}

TEST(ChangesTest, ADeletedTaskIsGone) {
  const std::string deleted =
      kConfig + Enqueued(10, 1, "T", "") + "20 ask call=2 kind=delete_task task=T\n21 told call=2 phase=ok\n";
  const std::string end = "900 quiet\n950 drained\n960 task task=T state=";
  EXPECT_THAT(Broken(deleted + end + "gone\n"), IsEmpty());
  EXPECT_THAT(Broken(deleted + end + "cancelled\n"), Contains("final"));
  EXPECT_THAT(Broken(deleted + Given(22, 15, 5, "T", "pT")), IsEmpty());
  EXPECT_THAT(Broken(deleted + Given(30, 29, 5, "T", "pT")), ElementsAre("final"));
  const std::string refused =
      kConfig + Enqueued(10, 1, "T", "") + "20 ask call=2 kind=delete_task task=T\n21 told call=2 phase=fail\n";
  EXPECT_THAT(Broken(refused + end + "gone\n"), ElementsAre("loss"));
}

// --- unique keys ---

std::string Second(const std::string& fields, const std::string& answer) {
  return "50 enqueue who=p call=2 q=q type=t payload=pU unique=k " + fields + "\n51 enqueued who=p call=2 phase=ok " +
         answer + "\n";
}

TEST(UniqueTest, AKeyOfWhatWaitsIsFreeOnceItIsGivenOut) {
  const std::string first = kConfig + Enqueued(10, 1, "T", "unique=k scope=waiting");
  const std::string fresh = Second("", "task=U"), duplicate = Second("", "task=T dup=true");
  EXPECT_THAT(Broken(first + Given(20, 19, 5, "T", "pT") + fresh), IsEmpty());
  EXPECT_THAT(Broken(first + Given(20, 19, 5, "T", "pT") + duplicate), ElementsAre("unique"));
  EXPECT_THAT(Broken(first + duplicate + Given(60, 59, 5, "T", "pT")), IsEmpty());
  EXPECT_THAT(Broken(first + fresh + Given(60, 59, 5, "T", "pT")), ElementsAre("unique"));
  EXPECT_THAT(Broken(first + fresh + Given(60, 59, 5, "T", "pT") + "61 cut who=w\n"), IsEmpty())
      << "it may have been given to somebody before";
}

TEST(UniqueTest, AReplacementIsTheOneThatRuns) {
  const std::string first = kConfig + Enqueued(10, 1, "T", "unique=k");
  const std::string replaced = first + Second("conflict=replace", "task=T dup=true replaced=true");
  EXPECT_THAT(Broken(replaced + Given(60, 59, 5, "T", "pU")), IsEmpty());
  EXPECT_THAT(Broken(replaced + Given(60, 59, 5, "T", "pT")), ElementsAre("update"));
  EXPECT_THAT(Broken(replaced + Given(60, 59, 5, "U", "pU")), ElementsAre("unique"));
  EXPECT_THAT(Broken(first + Given(20, 19, 5, "T", "pT") + Second("conflict=replace", "task=T dup=true replaced=true") +
                     Given(60, 59, 6, "T", "pU")),
              ElementsAre("unique"))
      << "a worker had had it";
  const std::string kept = first + Second("conflict=replace", "task=T dup=true");
  EXPECT_THAT(Broken(kept + Given(60, 59, 5, "T", "pT")), ElementsAre("unique")) << "it waited, and was not replaced";
  EXPECT_THAT(Broken(first + Given(20, 19, 5, "T", "pT") + Second("conflict=replace", "task=T dup=true")), IsEmpty());
}

TEST(UniqueTest, ADebouncedTaskWaitsAnew) {
  const std::string first = kConfig + Enqueued(10, 1, "T", "unique=k delay=40");
  const std::string answer = "task=T dup=true replaced=true";
  EXPECT_THAT(Broken(first + Second("conflict=debounce delay=20", answer) + Given(65, 64, 5, "T", "pU")),
              ElementsAre("early"));
  EXPECT_THAT(Broken(first + Second("conflict=debounce delay=20", answer) + Given(75, 74, 5, "T", "pU")), IsEmpty());
  EXPECT_THAT(Broken(first + Second("conflict=replace delay=20", answer) + Given(65, 64, 5, "T", "pU")), IsEmpty())
      << "one that replaces keeps the start";
}

TEST(UniqueTest, AnEnqueueWithoutAnAnswerMayHaveReplaced) {
  const std::string first = kConfig + Enqueued(10, 1, "T", "unique=k");
  const std::string unknown =
      "50 enqueue who=p call=2 q=q type=t payload=pU unique=k conflict=replace\n51 enqueued who=p call=2 "
      "phase=unknown\n";
  EXPECT_THAT(Broken(first + unknown + Given(60, 59, 5, "T", "pU")), IsEmpty());
  EXPECT_THAT(Broken(first + unknown + Given(60, 59, 5, "T", "pT")), IsEmpty());
  const std::string refused =
      "50 enqueue who=p call=2 q=q type=t payload=pU unique=k conflict=replace\n51 enqueued who=p call=2 phase=fail\n";
  EXPECT_THAT(Broken(first + refused + Given(60, 59, 5, "T", "pU")), Contains("nowhere"));
}

// --- limits of queues ---

TEST(WaitingTest, AQueueTakesNoMoreThanItsLimit) {
  const std::string limit =
      kConfig + "1 ask call=9 kind=update q=q max_waiting=1 overflow=reject\n2 told call=9 phase=ok\n";
  const std::string scheduled = Enqueued(10, 1, "T", "run_at=100");
  EXPECT_THAT(Broken(limit + scheduled), IsEmpty());
  EXPECT_THAT(Broken(limit + scheduled + Enqueued(20, 2, "U", "")), ElementsAre("waiting"));
  EXPECT_THAT(Broken(limit + Enqueued(10, 1, "T", "") + Enqueued(20, 2, "U", "") + Given(30, 29, 5, "T", "pT")),
              ElementsAre("waiting"));
  EXPECT_THAT(Broken(limit + Enqueued(10, 1, "T", "") + Given(15, 14, 5, "T", "pT") + Enqueued(20, 2, "U", "")),
              IsEmpty());
  EXPECT_THAT(Broken(limit + scheduled + "15 ask call=8 kind=update q=q max_waiting=9 overflow=reject\n" +
                     Enqueued(20, 2, "U", "")),
              IsEmpty())
      << "it may have been raised";
  const std::string bytes = kConfig +
                            "1 ask call=9 kind=update q=q max_bytes=150 overflow=reject\n2 told call=9 phase=ok\n" +
                            Enqueued(10, 1, "T", "run_at=100 bytes=100");
  EXPECT_THAT(Broken(bytes + Enqueued(20, 2, "U", "bytes=50")), IsEmpty());
  EXPECT_THAT(Broken(bytes + Enqueued(20, 2, "U", "bytes=51")), ElementsAre("waiting"));
}

TEST(WaitingTest, TheOldestIsDropped) {
  const std::string limit = "1 ask call=9 kind=update q=q max_waiting=2 overflow=drop\n2 told call=9 phase=ok\n";
  const std::string tasks = Enqueued(10, 1, "T", "") + Enqueued(20, 2, "U", "");
  auto dropped = [](const std::string& task, const std::string& other, const std::string& state) {
    return "900 quiet\n950 drained\n960 task task=" + task +
           " state=dead reason=dropped until=30\n961 task task=" + other + " state=" + state + "\n";
  };
  EXPECT_THAT(Broken(kConfig + limit + tasks + Given(40, 39, 5, "U", "pU") + Completed(45, 5, "U") +
                     dropped("T", "U", "completed")),
              IsEmpty());
  EXPECT_THAT(Broken(kConfig + limit + tasks + Given(40, 39, 5, "T", "pT") + Completed(45, 5, "T") +
                     dropped("U", "T", "completed")),
              ElementsAre("waiting"));
  EXPECT_THAT(
      Broken(kConfig + tasks + Given(40, 39, 5, "U", "pU") + Completed(45, 5, "U") + dropped("T", "U", "completed")),
      Contains("waiting"))
      << "this queue drops nothing";
}

// --- throttles ---

std::string Throttle(const std::string& fields) {
  return kConfig + "1 ask call=9 kind=throttle_create name=h " + fields +
         "\n2 told call=9 phase=ok\n3 valid who=w until=500\n3 valid who=v until=500\n";
}

TEST(ThrottleTest, NoMoreRunThanItLets) {
  const std::string tasks = Enqueued(10, 1, "T", "group=g") + Enqueued(10, 2, "U", "group=g");
  const std::string both = tasks + Given(20, 19, 5, "T", "pT") + Given(25, 24, 6, "U", "pU", "v");
  EXPECT_THAT(Broken(Throttle("per=all n=1") + both), ElementsAre("limit"));
  EXPECT_THAT(Broken(Throttle("per=all n=2") + both), IsEmpty());
  EXPECT_THAT(Broken(Throttle("per=group n=1") + both), ElementsAre("limit"));
  EXPECT_THAT(Broken(Throttle("per=key n=1") + both), IsEmpty());
  EXPECT_THAT(Broken(Throttle("per=all n=1 queues=a,q") + both), ElementsAre("limit"));
  EXPECT_THAT(Broken(Throttle("per=all n=1 queues=a,b") + both), IsEmpty());
  EXPECT_THAT(Broken(Throttle("per=all n=1 types=other") + both), IsEmpty());
  EXPECT_THAT(Broken(Throttle("per=all n=1") + tasks + Given(20, 19, 5, "T", "pT") + Completed(22, 5, "T") +
                     Given(25, 24, 6, "U", "pU", "v")),
              IsEmpty());
  // Given out before the throttle was there; and one that costs more than there is runs alone.
  EXPECT_THAT(Broken(Throttle("per=all n=1") + tasks + Given(20, 1, 5, "T", "pT") + Given(25, 1, 6, "U", "pU", "v")),
              IsEmpty());
  EXPECT_THAT(Broken(Throttle("per=all n=1") + Enqueued(10, 1, "T", "cost=3") + Given(20, 19, 5, "T", "pT")),
              IsEmpty());
  // A change that is under way, or nobody knows of.
  EXPECT_THAT(Broken(Throttle("per=all n=1") + "18 ask call=8 kind=throttle_delete name=h\n" + both), IsEmpty());
}

TEST(ThrottleTest, NoMoreStartThanItsRateLets) {
  // One every ten, two at once.
  const std::string throttle = Throttle("per=all rate=1 period=10 burst=2");
  std::string tasks;
  for (const char* task : {"A", "B", "C"}) tasks += Enqueued(10, task[0], task, "");
  const std::string two = throttle + tasks + Given(20, 20, 5, "A", "pA") + Given(21, 21, 6, "B", "pB");
  EXPECT_THAT(Broken(two + Given(29, 29, 7, "C", "pC")), ElementsAre("rate"));
  EXPECT_THAT(Broken(two + Given(30, 30, 7, "C", "pC")), IsEmpty());
  EXPECT_THAT(
      Broken(two + "22 ask call=8 kind=throttle_update name=h per=all rate=9 period=1\n23 told call=8 phase=ok\n" +
             Given(29, 29, 7, "C", "pC")),
      IsEmpty());
}

// --- labels ---

TEST(LabelsTest, AWorkerHasTheLabelsOfItsTasks) {
  const std::string task = kConfig + "1 worker who=w labels=gpu:y,zone:a\n2 worker who=v labels=zone:b\n" +
                           Enqueued(10, 1, "T", "labels=gpu:y");
  EXPECT_THAT(Broken(task + Given(20, 19, 5, "T", "pT", "w")), IsEmpty());
  EXPECT_THAT(Broken(task + Given(20, 19, 5, "T", "pT", "v")), ElementsAre("labels"));
}

// --- completions that bring tasks ---

TEST(BroughtTest, WhatACompletionBringsIsThereIfItCounted) {
  const std::string run = kConfig + Enqueued(10, 1, "T", "") + Given(20, 19, 5, "T", "pT");
  const std::string child = "30 enqueue who=w call=7 task=T token=5 q=q type=t payload=child\n";
  const std::string end = "900 quiet\n950 drained\n960 task task=T state=completed\n";
  const std::string ran = Given(40, 39, 6, "C", "child") + Completed(50, 6, "C");
  const std::string there = ran + "961 task task=C state=completed\n";
  auto answered = [](const std::string& phase) {
    return "30 outcome who=w task=T token=5 kind=completed\n31 answer who=w task=T token=5 phase=" + phase + "\n";
  };
  EXPECT_THAT(Broken(run + answered("ok") + child + end + there), IsEmpty());
  EXPECT_THAT(Broken(run + answered("ok") + child + end), ElementsAre("brought"));
  EXPECT_THAT(Broken(run + answered("fail") + child + ran), ElementsAre("brought"));
  EXPECT_THAT(Broken(run + answered("fail") + child), IsEmpty());
  EXPECT_THAT(Broken(run + answered("unknown") + child + ran), IsEmpty());
  // Refused, it was an attempt.
  EXPECT_THAT(Broken(run + answered("fail") + child + Given(40, 39, 6, "T", "pT")), ElementsAre("attempts"));
}

// --- bulk jobs ---

std::string BulkAsked(int t, const std::string& kind, const std::string& fields, const std::string& phase = "ok") {
  return std::to_string(t) + " ask who=b call=70 kind=bulk_" + kind + " q=q " + fields + "\n" + std::to_string(t + 1) +
         " told who=b call=70 phase=" + phase + (phase == "ok" ? " name=J\n" : "\n");
}

std::string BulkView(int t, const std::string& state, int seen, int matched, int changed, int skipped) {
  return std::to_string(t) + " bulk name=J state=" + state + " seen=" + std::to_string(seen) +
         " matched=" + std::to_string(matched) + " changed=" + std::to_string(changed) +
         " skipped=" + std::to_string(skipped) + "\n";
}

std::string AtEnd(int t, const std::string& task, const std::string& fields) {
  return std::to_string(t) + " task task=" + task + " " + fields + "\n";
}

const std::string kTwo = kConfig + Enqueued(10, 1, "T", "") + Enqueued(12, 2, "U", "");
const std::string kOver = "80 quiet\n90 drained\n";

TEST(BulkTest, AJobThatIsDoneHasChangedWhatFitted) {
  const std::string job = kTwo + BulkAsked(20, "cancel", "") + BulkView(40, "done", 2, 2, 2, 0) + kOver;
  const std::string both = AtEnd(100, "T", "state=cancelled until=30") + AtEnd(101, "U", "state=cancelled until=30");
  EXPECT_THAT(Broken(job + both), IsEmpty());
  // Completed later: it was not cancelled.
  const std::string ran = Given(50, 49, 5, "U", "pU") + Completed(52, 5, "U") + AtEnd(100, "U", "state=completed");
  const std::string one = AtEnd(100, "T", "state=cancelled until=30") + ran;
  EXPECT_THAT(Broken(job + one), ElementsAre("bulk"));
  // It may have run meanwhile, and been asked to stop.
  EXPECT_THAT(Broken(job + AtEnd(100, "T", "state=cancelled until=30") + Given(50, 35, 5, "U", "pU") +
                     Completed(52, 5, "U") + AtEnd(100, "U", "state=completed")),
              IsEmpty());
  // What does not fit is not its business.
  for (const std::string filter : {"type=other", "key=k", "group=g", "where=n=1", "states=running"}) {
    const std::string other = kTwo + BulkAsked(20, "cancel", filter) + BulkView(40, "done", 2, 0, 0, 0) + kOver;
    const std::string rest = Given(60, 59, 6, "T", "pT") + Completed(62, 6, "T") + AtEnd(100, "T", "state=completed");
    EXPECT_THAT(Broken(other + rest + ran), IsEmpty()) << filter;
  }
}

TEST(BulkTest, OnlyWhatFitsIsChanged) {
  for (const std::string filter : {"type=other", "key=k", "group=g", "where=n=1"}) {
    const std::string job = kTwo + BulkAsked(20, "cancel", filter) + BulkView(40, "done", 2, 0, 0, 0) + kOver;
    EXPECT_THAT(Broken(job + AtEnd(100, "T", "state=cancelled until=30") + AtEnd(101, "U", "state=cancelled until=30")),
                Contains("nowhere"))
        << filter;
  }
  // Nor what came when it had ended.
  const std::string ended = kConfig + BulkAsked(5, "delete", "") + BulkView(8, "done", 0, 0, 0, 0);
  EXPECT_THAT(Broken(ended + Enqueued(20, 1, "T", "") + kOver + AtEnd(100, "T", "state=gone")), ElementsAre("loss"));
  EXPECT_THAT(Broken(kTwo + BulkAsked(20, "delete", "") + BulkView(40, "done", 2, 2, 2, 0) + kOver +
                     AtEnd(100, "T", "state=gone") + AtEnd(101, "U", "state=gone")),
              IsEmpty());
}

TEST(BulkTest, DeadTasksThatFitAreRedrivenOrDeleted) {
  const std::string dead = kTwo + Given(14, 13, 5, "T", "pT") + "15 outcome who=w task=T token=5 kind=rejected\n" +
                           "16 answer who=w task=T token=5 phase=ok\n";
  const std::string rest = Given(50, 49, 6, "U", "pU") + Completed(52, 6, "U") + AtEnd(100, "U", "state=completed") +
                           AtEnd(101, "T", "state=dead reason=rejected until=16");
  for (const std::string action : {"retry", "delete"}) {
    const std::string asked = dead + BulkAsked(20, action, "states=dead") + kOver + rest;
    EXPECT_THAT(Broken(asked + BulkView(40, "done", 2, 1, 1, 0)), Contains("bulk")) << action;
    EXPECT_THAT(Broken(asked + BulkView(40, "done", 2, 1, 0, 1)), IsEmpty()) << action;
    EXPECT_THAT(Broken(asked + "30 ask call=71 kind=bulk_stop name=J\n31 told call=71 phase=ok\n" +
                       BulkView(40, "stopped", 2, 0, 0, 0)),
                IsEmpty())
        << action;
  }
}

TEST(BulkTest, CountsAddUp) {
  const std::string both = AtEnd(100, "T", "state=cancelled until=30") + AtEnd(101, "U", "state=cancelled until=30");
  const std::string asked = kTwo + BulkAsked(20, "cancel", "") + kOver + both;
  EXPECT_THAT(Broken(asked + BulkView(40, "done", 2, 2, 2, 0)), IsEmpty());
  EXPECT_THAT(Broken(asked + BulkView(40, "done", 2, 2, 1, 1)), ElementsAre("bulk")) << "both were cancelled";
  EXPECT_THAT(Broken(asked + BulkView(40, "done", 4, 3, 3, 0)), ElementsAre("bulk")) << "there are two";
  EXPECT_THAT(Broken(asked + BulkView(40, "done", 2, 2, 1, 0)), ElementsAre("bulk"));
  EXPECT_THAT(Broken(asked + BulkView(40, "done", 1, 2, 2, 0)), ElementsAre("bulk"));
  EXPECT_THAT(Broken(kTwo + BulkAsked(20, "cancel", "n=1") + kOver + both + BulkView(40, "done", 2, 2, 2, 0)),
              ElementsAre("bulk"));
  EXPECT_THAT(Broken(kTwo + BulkAsked(20, "cancel", "dry=true") + BulkView(40, "done", 2, 2, 1, 1)),
              ElementsAre("bulk"));
}

TEST(BulkTest, AJobEndsOnceAndForAReason) {
  const std::string asked = kConfig + BulkAsked(20, "cancel", "");
  const std::string stop = "30 ask call=71 kind=bulk_stop name=J\n31 told call=71 phase=ok\n";
  EXPECT_THAT(Broken(asked + BulkView(40, "running", 2, 0, 0, 0) + kOver), ElementsAre("bulk"));
  EXPECT_THAT(Broken(asked + BulkView(40, "stopped", 2, 0, 0, 0) + kOver), ElementsAre("bulk")) << "by nobody";
  EXPECT_THAT(Broken(asked + stop + BulkView(40, "stopped", 2, 0, 0, 0) + kOver), IsEmpty());
  EXPECT_THAT(Broken(asked + stop + BulkView(40, "running", 2, 0, 0, 0) + BulkView(50, "stopped", 2, 0, 0, 0) + kOver),
              ElementsAre("bulk"));
  EXPECT_THAT(Broken(asked + BulkView(40, "failed", 2, 0, 0, 0) + kOver), ElementsAre("bulk"));
  EXPECT_THAT(Broken(asked + "30 ask call=71 kind=delete q=q\n31 told call=71 phase=ok\n" +
                     BulkView(40, "failed", 2, 0, 0, 0) + kOver),
              IsEmpty());
  const std::string done = asked + BulkView(40, "done", 2, 0, 0, 0) + kOver;
  EXPECT_THAT(Broken(done + BulkView(43, "running", 1, 0, 0, 0)), IsEmpty()) << "on its way since before";
  EXPECT_THAT(Broken(done + BulkView(60, "running", 1, 0, 0, 0)), ElementsAre("bulk"));
  EXPECT_THAT(Broken(done + BulkView(60, "done", 3, 0, 0, 0)), ElementsAre("bulk"));
  EXPECT_THAT(Broken(done + "60 bulk name=J state=gone\n"), ElementsAre("bulk"));
}

TEST(BulkTest, OneRequestIsOneJob) {
  const std::string done = BulkView(40, "done", 2, 0, 0, 0) + kOver;
  EXPECT_THAT(Broken(kConfig + done), ElementsAre("bulk")) << "nobody asked";
  EXPECT_THAT(Broken(kConfig + BulkAsked(20, "cancel", "", "fail") + done), ElementsAre("bulk"));
  EXPECT_THAT(Broken(kConfig + BulkAsked(20, "cancel", "", "unknown") + done), IsEmpty());
  EXPECT_THAT(Broken(kConfig + BulkAsked(20, "cancel", "", "unknown") + done + "95 bulk name=K state=done\n"),
              ElementsAre("bulk"));
  EXPECT_THAT(Broken(kConfig + BulkAsked(20, "cancel", "") + "22 ask call=71 kind=bulk_cancel q=q\n" +
                     "23 told call=71 phase=ok name=J\n" + done),
              ElementsAre("bulk"));
}

TEST(BulkTest, NothingIsCancelledAfterTheStop) {
  const std::string stopped = kTwo + BulkAsked(20, "cancel", "") + "30 ask call=71 kind=bulk_stop name=J\n" +
                              "40 told call=71 phase=ok\n" + BulkView(41, "stopped", 2, 2, 1, 1) + kOver;
  const std::string rest = Given(50, 49, 6, "U", "pU") + Completed(52, 6, "U") + AtEnd(100, "U", "state=completed");
  EXPECT_THAT(Broken(stopped + rest + AtEnd(101, "T", "state=cancelled until=39")), IsEmpty());
  EXPECT_THAT(Broken(stopped + rest + AtEnd(101, "T", "state=cancelled until=60")), ElementsAre("bulk"));
}

}  // namespace
}  // namespace penstock::histcheck
