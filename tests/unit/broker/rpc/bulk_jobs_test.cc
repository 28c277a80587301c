// Bulk jobs in front of a FakeDoor: what they post, keep and count.

#include "broker/rpc/bulk_jobs.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/status_details.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/fake_door.h"
#include "tests/unit/broker/rpc/waiting_tasks.h"

namespace penstock::broker {
namespace {

using ::testing::HasSubstr;

constexpr size_t kTasks = 1'000;

// A thousand waiting tasks of customers 0, 1, 2, 0, ...
class BulkJobsTest : public ::testing::Test {
 protected:
  BulkJobsTest() : now_(ToMicros(clock_.Read().wall)), tasks_(store_, now_) {
    std::vector<v1::TaskSpec> specs(kTasks);
    for (size_t i = 0; i < kTasks; ++i) specs[i].set_payload(fmt::format(R"({{"customer": {}}})", i % 3));
    tasks_.Put(specs);
    door_.SetStore(&store_);
    door_.SetScript([this](const Command& command, Effects* effects) { return Answer(command, effects); });
    spec_.set_action(v1::BULK_ACTION_CANCEL);
    spec_.mutable_filter()->set_queue("mail");
    spec_.mutable_filter()->set_where("payload.customer == 1");
    StartBroker();
  }
  ~BulkJobsTest() override { StopBroker(); }

  void StartBroker(bool runs = true) {
    BulkJobs::Options options;
    options.running_max = 2;
    options.runs = runs;
    reads_ = std::make_unique<ReadPool>();
    context_ = std::make_unique<RpcContext>(
        RpcContext{door_, tickets_, calls_, *reads_, clock_, ApiLimits(), held_back_, std::string("1"), uint8_t{0}});
    jobs_ = std::make_unique<BulkJobs>(*context_, options);
    jobs_->EnterEngine();
  }
  void StopBroker() {
    jobs_->Stop();
    reads_->Stop();
    jobs_.reset();
  }

  // Cancels are held back once `cancels_max_` have been answered, and stay unanswered.
  bool Answer(const Command& command, Effects* effects) {
    if (std::holds_alternative<CancelTaskCommand>(command)) {
      MutexLock lock(mu_);
      if (!cancel_status_.ok()) {
        effects->replies.push_back({std::get<CancelTaskCommand>(command).ticket, cancel_status_, {}});
        return true;
      }
      if (cancels_left_ == 0) return false;
      --cancels_left_;
    }
    return tasks_.Answer(command, effects);
  }
  void LetCancel(size_t count) {
    MutexLock lock(mu_);
    cancels_left_ = count;
  }
  void FailCancels(absl::Status status) {
    MutexLock lock(mu_);
    cancel_status_ = std::move(status);
  }

  absl::StatusOr<v1::BulkJob> Start(const std::string& request_id = "") {
    v1::StartBulkJobRequest request;
    *request.mutable_spec() = spec_;
    request.set_request_id(request_id);
    absl::StatusOr<BulkOrder> order = ToOrder(request, context_->limits, now_);
    if (!order.ok()) return order.status();
    return Wait([&](BulkJobs::Done done) { jobs_->Start(*std::move(order), std::move(done)); });
  }
  absl::StatusOr<v1::BulkJob> End(const std::string& id) {
    return Wait([&](BulkJobs::Done done) { jobs_->End(id, std::move(done)); });
  }
  template <class Begin>
  static absl::StatusOr<v1::BulkJob> Wait(Begin begin) {
    struct Answered {
      Mutex mu;
      CondVar done;
      std::optional<absl::StatusOr<v1::BulkJob>> job ABSL_GUARDED_BY(mu);
    };
    auto answered = std::make_shared<Answered>();
    begin([answered](absl::StatusOr<v1::BulkJob> job) {
      MutexLock lock(answered->mu);
      answered->job = std::move(job);
      answered->done.SignalAll();
    });
    MutexLock lock(answered->mu);
    while (!answered->job) answered->done.Wait(answered->mu);
    return *answered->job;
  }
  // Waits until the job's view is as wanted.
  template <class Wanted>
  v1::BulkJob Await(const std::string& id, Wanted wanted) {
    while (true) {
      const v1::BulkJob job = jobs_->Get(id).value();
      if (wanted(job)) return job;
      absl::SleepFor(absl::Milliseconds(1));
    }
  }
  // Waits until so many commands have been posted and not been answered.
  void AwaitPosted(size_t count) {
    while (door_.waiting() < count) absl::SleepFor(absl::Milliseconds(1));
  }
  v1::BulkJob AwaitEnd(const std::string& id) {
    return Await(id, [](const v1::BulkJob& job) { return job.state() != v1::BULK_JOB_STATE_RUNNING; });
  }
  size_t Waiting(size_t customer) const {
    size_t count = 0;
    for (size_t i = customer; i < kTasks; i += 3) count += tasks_.Waits(i) ? 1 : 0;
    return count;
  }

  ManualClock clock_;
  const Time now_;
  MemoryStore store_;
  TicketTable tickets_;
  FakeDoor door_{tickets_};
  OpenCalls calls_;
  WaitingTasks tasks_;
  Mutex mu_;
  size_t cancels_left_ ABSL_GUARDED_BY(mu_) = kTasks * 10;
  absl::Status cancel_status_ ABSL_GUARDED_BY(mu_);
  Allowance held_back_{1 << 20};
  std::unique_ptr<ReadPool> reads_;
  std::unique_ptr<RpcContext> context_;
  std::unique_ptr<BulkJobs> jobs_;
  v1::BulkJobSpec spec_;
};

TEST_F(BulkJobsTest, ChangesWhatFitsAndNothingElse) {
  const auto started = Start();
  ASSERT_TRUE(started.ok()) << started.status();
  EXPECT_EQ(started->state(), v1::BULK_JOB_STATE_RUNNING);
  EXPECT_EQ(started->spec().filter().states_size(), 4) << "those that can be cancelled";
  const v1::BulkJob ended = AwaitEnd(started->job_id());
  EXPECT_EQ(ended.state(), v1::BULK_JOB_STATE_DONE);
  EXPECT_EQ(ended.matched(), 333);
  EXPECT_EQ(ended.changed(), 333);
  EXPECT_EQ(ended.skipped(), 0);
  EXPECT_GE(ended.seen(), kTasks);
  EXPECT_TRUE(ended.has_end_time());
  EXPECT_EQ(tasks_.cancels(), 333) << "each once";
  const BulkJobs::Figures figures = jobs_->figures();
  EXPECT_EQ(figures.running, 0u);
  EXPECT_EQ(figures.done, 1u);
  EXPECT_EQ(figures.tasks.at(v1::BULK_ACTION_CANCEL).changed, 333u);
  EXPECT_EQ(figures.tasks.at(v1::BULK_ACTION_CANCEL).skipped, 0u);
  EXPECT_EQ(Waiting(0), 334);
  EXPECT_EQ(Waiting(1), 0);
  EXPECT_EQ(Waiting(2), 333);
}

TEST_F(BulkJobsTest, ADryRunOnlyCounts) {
  spec_.set_dry_run(true);
  const v1::BulkJob ended = AwaitEnd(Start()->job_id());
  EXPECT_EQ(ended.matched(), 333);
  EXPECT_EQ(ended.changed(), 0);
  EXPECT_EQ(tasks_.cancels(), 0);
}

TEST_F(BulkJobsTest, TheLimitEndsIt) {
  spec_.set_limit(10);
  const v1::BulkJob ended = AwaitEnd(Start()->job_id());
  EXPECT_EQ(ended.state(), v1::BULK_JOB_STATE_DONE);
  EXPECT_EQ(ended.matched(), 10);
  EXPECT_EQ(ended.changed(), 10);
  EXPECT_EQ(tasks_.cancels(), 10);
}

TEST_F(BulkJobsTest, TheRateCountsTheClocksSeconds) {
  spec_.set_rate(2);
  const std::string id = Start()->job_id();
  Await(id, [](const v1::BulkJob& job) { return job.changed() == 1; });
  for (uint64_t changed = 2; changed <= 7; ++changed) {
    clock_.Advance(absl::Milliseconds(500));
    jobs_->LookAtClock();
    Await(id, [&](const v1::BulkJob& job) { return job.changed() == changed; });
  }
  EXPECT_EQ(tasks_.cancels(), 7);
  clock_.Advance(absl::Hours(1));
  jobs_->LookAtClock();
  Await(id, [&](const v1::BulkJob& job) { return job.changed() == 8; });
  EXPECT_EQ(tasks_.cancels(), 8) << "a rest is not made up for";
}

TEST_F(BulkJobsTest, WhatCannotBeChangedIsSkipped) {
  FailCancels(absl::FailedPreconditionError("the task is finished"));
  const v1::BulkJob ended = AwaitEnd(Start()->job_id());
  EXPECT_EQ(ended.state(), v1::BULK_JOB_STATE_DONE);
  EXPECT_EQ(ended.skipped(), 333);
  EXPECT_EQ(ended.changed(), 0);
  EXPECT_EQ(jobs_->figures().tasks.at(v1::BULK_ACTION_CANCEL).skipped, 333u);
}

TEST_F(BulkJobsTest, AnotherErrorEndsItAndIsKept) {
  FailCancels(absl::UnimplementedError("not in this version"));
  const v1::BulkJob ended = AwaitEnd(Start()->job_id());
  EXPECT_EQ(ended.state(), v1::BULK_JOB_STATE_FAILED);
  EXPECT_EQ(ended.error(), "not in this version");
  EXPECT_EQ(jobs_->figures().failed, 1u);
  v1::BulkJob kept;
  ASSERT_TRUE(kept.ParseFromString(tasks_.Jobs().at(0).job()));
  EXPECT_EQ(kept.state(), v1::BULK_JOB_STATE_FAILED);
  EXPECT_EQ(kept.error(), "not in this version");
}

TEST_F(BulkJobsTest, StoppedItEndsWhereItIs) {
  spec_.set_rate(1);
  const std::string id = Start()->job_id();
  Await(id, [](const v1::BulkJob& job) { return job.changed() == 1; });
  const auto stopped = End(id);
  ASSERT_TRUE(stopped.ok()) << stopped.status();
  EXPECT_EQ(stopped->state(), v1::BULK_JOB_STATE_STOPPED);
  EXPECT_EQ(stopped->changed(), 1);
  EXPECT_EQ(Waiting(1), 332);
  EXPECT_TRUE(absl::IsFailedPrecondition(End(id).status()));
  EXPECT_TRUE(absl::IsNotFound(End("b0").status()));
  EXPECT_TRUE(absl::IsNotFound(jobs_->Get("b0").status()));
}

TEST_F(BulkJobsTest, ARestartGoesOnWithWhatIsLeftAndChangesNothingTwice) {
  spec_.set_rate(100);
  const std::string id = Start()->job_id();
  Await(id, [](const v1::BulkJob& job) { return job.changed() > 0; });
  for (int i = 0; i < 3; ++i) {
    clock_.Advance(absl::Milliseconds(100));
    jobs_->LookAtClock();
  }
  StopBroker();
  const size_t before = tasks_.cancels();
  ASSERT_LT(before, 333);
  records::BulkJobRecord record = tasks_.Jobs().at(0);
  EXPECT_GT(record.pending_task_ids_size(), 0) << "what is left of its page";
  v1::BulkJob kept;
  ASSERT_TRUE(kept.ParseFromString(record.job()));
  EXPECT_EQ(kept.changed(), before);
  StartBroker();
  while (jobs_->Get(id)->state() == v1::BULK_JOB_STATE_RUNNING) {
    clock_.Advance(absl::Seconds(1));
    jobs_->LookAtClock();
    absl::SleepFor(absl::Milliseconds(1));
  }
  const v1::BulkJob ended = jobs_->Get(id).value();
  EXPECT_EQ(ended.state(), v1::BULK_JOB_STATE_DONE);
  EXPECT_EQ(ended.matched(), 333);
  EXPECT_EQ(ended.changed(), 333);
  EXPECT_EQ(tasks_.cancels(), 333);
}

TEST_F(BulkJobsTest, ACrashCountsWhatWasDoneAndNotTold) {
  LetCancel(100);
  const std::string id = Start()->job_id();
  Await(id, [](const v1::BulkJob& job) { return job.changed() == 100; });
  AwaitPosted(156);
  // The broker dies: those under way are never answered, and nothing is stored any more.
  door_.SetScript([](const Command&, Effects*) { return false; });
  const std::vector<records::BulkJobRecord> stored = tasks_.Jobs();
  jobs_->LeaveEngine();
  EXPECT_TRUE(absl::IsUnavailable(jobs_->Get(id).status()));
  LetCancel(kTasks);
  door_.SetScript([this](const Command& command, Effects* effects) { return Answer(command, effects); });
  v1::BulkJob kept;
  ASSERT_TRUE(kept.ParseFromString(stored.at(0).job()));
  EXPECT_EQ(kept.changed(), 0) << "the record is from before";
  EXPECT_EQ(stored.at(0).pending_task_ids_size(), 256);
  jobs_->EnterEngine();
  const v1::BulkJob ended = AwaitEnd(id);
  EXPECT_EQ(ended.matched(), 333);
  EXPECT_EQ(ended.changed(), 333);
  EXPECT_EQ(tasks_.cancels(), 333) << "each once";
}

TEST_F(BulkJobsTest, AFullMailboxIsWaitedFor) {
  LetCancel(10);
  const std::string id = Start()->job_id();
  Await(id, [](const v1::BulkJob& job) { return job.changed() == 10; });
  AwaitPosted(246);
  // What was posted meanwhile is answered as if the mailbox had been full.
  door_.SetFull(true);
  while (door_.waiting() > 0) {
    const CancelTaskCommand cancel = door_.Take<CancelTaskCommand>();
    door_.Fail(cancel.ticket, LimitReached("limits.mailbox", "the mailbox is full", absl::Milliseconds(100)));
  }
  LetCancel(kTasks);
  EXPECT_EQ(jobs_->Get(id)->state(), v1::BULK_JOB_STATE_RUNNING);
  door_.SetFull(false);
  const v1::BulkJob ended = AwaitEnd(id);
  EXPECT_EQ(ended.changed(), 333);
  EXPECT_EQ(tasks_.cancels(), 333);
}

TEST_F(BulkJobsTest, TheSameRequestIsTheSameJobAlsoAfterARestart) {
  const auto first = Start("again");
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(Start("again")->job_id(), first->job_id());
  EXPECT_NE(Start("another")->job_id(), first->job_id());
  AwaitEnd(first->job_id());
  StopBroker();
  StartBroker();
  EXPECT_EQ(Start("again")->job_id(), first->job_id());
  spec_.set_limit(7);
  EXPECT_EQ(FieldOf(Start("again").status()), "request_id");
}

TEST_F(BulkJobsTest, TooManyAreRefusedAndTheRestIsListedTheNewestFirst) {
  spec_.set_rate(0.001);
  const std::string a = Start()->job_id();
  const std::string b = Start()->job_id();
  EXPECT_EQ(LimitOf(Start().status()), "limits.bulk_jobs");
  std::vector<std::string> ids;
  const std::vector<v1::BulkJob> jobs = jobs_->List().value();
  for (const v1::BulkJob& job : jobs) ids.push_back(job.job_id());
  EXPECT_EQ(ids, (std::vector<std::string>{b, a}));
  ASSERT_TRUE(End(a).ok());
  EXPECT_TRUE(Start().ok());
}

TEST_F(BulkJobsTest, EndedJobsAreForgottenAfterADay) {
  const std::string id = Start()->job_id();
  AwaitEnd(id);
  clock_.Advance(absl::Hours(23));
  jobs_->LookAtClock();
  EXPECT_TRUE(jobs_->Get(id).ok());
  clock_.Advance(absl::Hours(2));
  while (jobs_->Get(id).ok()) {
    jobs_->LookAtClock();
    absl::SleepFor(absl::Milliseconds(1));
  }
  StopBroker();
  EXPECT_TRUE(tasks_.Jobs().empty());
  StartBroker();
}

TEST_F(BulkJobsTest, APausedForkShowsItsJobsAndRunsNone) {
  spec_.set_rate(0.001);
  const std::string id = Start()->job_id();
  Await(id, [](const v1::BulkJob& job) { return job.changed() == 1; });
  StopBroker();
  StartBroker(/*runs=*/false);
  EXPECT_EQ(jobs_->Get(id)->state(), v1::BULK_JOB_STATE_RUNNING);
  clock_.Advance(absl::Hours(10));
  jobs_->LookAtClock();
  EXPECT_TRUE(absl::IsFailedPrecondition(End(id).status()));
  EXPECT_EQ(tasks_.cancels(), 1);
}

TEST_F(BulkJobsTest, OrdersAreChecked) {
  const auto field = [this] { return FieldOf(Start().status()); };
  spec_.mutable_filter()->set_where("payload");
  spec_.mutable_filter()->set_where("customer == 1");
  EXPECT_EQ(field(), "spec.filter.where");
  spec_.mutable_filter()->clear_where();
  spec_.set_rate(-1);
  EXPECT_EQ(field(), "spec.rate");
  spec_.set_rate(0);
  spec_.set_action(v1::BULK_ACTION_UNSPECIFIED);
  EXPECT_EQ(field(), "spec.action");
  spec_.set_action(v1::BULK_ACTION_RETRY);
  spec_.set_reason("why");
  EXPECT_EQ(field(), "spec.reason");
  spec_.clear_reason();
  spec_.mutable_filter()->add_states(v1::TASK_STATE_RUNNING);
  absl::Status status = Start().status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_THAT(status.message(), HasSubstr("retry is not for running tasks; it is for scheduled, retryable, dead"));
  spec_.set_action(v1::BULK_ACTION_DELETE);
  spec_.mutable_filter()->set_states(0, v1::TASK_STATE_CANCELLED);
  spec_.mutable_filter()->set_where("payload.customer == 1");
  status = Start().status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_THAT(status.message(), HasSubstr("nothing can fit"));
  spec_.clear_filter();
  EXPECT_EQ(field(), "spec.filter");
  spec_.mutable_filter()->set_queue("none");
  EXPECT_TRUE(absl::IsNotFound(Start().status()));
  EXPECT_TRUE(jobs_->List()->empty());
}

}  // namespace
}  // namespace penstock::broker
