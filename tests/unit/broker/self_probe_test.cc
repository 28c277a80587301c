#include "broker/self_probe.h"

#include <atomic>
#include <thread>

#include "gtest/gtest.h"

namespace penstock::broker {
namespace {

// A broker that answers as the test says, asked without a pause.
class SelfProbeTest : public ::testing::Test {
 protected:
  SelfProbeTest()
      : probe_(
            {.interval = absl::Milliseconds(1)},
            [this](absl::Duration) {
              MutexLock lock(mu_);
              return answer_;
            },
            [this] { ++alive_; }) {}

  void Answer(const absl::Status& status) {
    MutexLock lock(mu_);
    answer_ = status;
  }
  // Returns when it has asked anew, twice: the one under way may have begun before.
  SelfProbeFigures AwaitProbes() const {
    const uint64_t before = probe_.figures().probes;
    while (probe_.figures().probes < before + 2) std::this_thread::yield();
    return probe_.figures();
  }

  Mutex mu_;
  absl::Status answer_ ABSL_GUARDED_BY(mu_);
  std::atomic<uint64_t> alive_ = 0;
  SelfProbe probe_;
};

TEST_F(SelfProbeTest, ServiceManagerIsToldOnlyWhileTheBrokerAnswers) {
  probe_.Start();
  EXPECT_EQ(AwaitProbes().failure, "");
  Answer(absl::DeadlineExceededError("no answer within 10s"));
  const SelfProbeFigures deaf = AwaitProbes();
  EXPECT_EQ(deaf.failure, "no answer within 10s");
  EXPECT_GT(deaf.failed, 0u);
  const uint64_t told = alive_;
  AwaitProbes();
  EXPECT_EQ(alive_, told);
  Answer(absl::OkStatus());
  const SelfProbeFigures again = AwaitProbes();
  EXPECT_EQ(again.failure, "");
  EXPECT_GE(again.failed, deaf.failed);
  AwaitProbes();
  EXPECT_GT(alive_, told);
}

TEST_F(SelfProbeTest, WhatARestartDoesNotMendIsAFailureThatKeepsTheBrokerRunning) {
  Answer(absl::FailedPreconditionError("the TLS key is gone"));
  probe_.Start();
  EXPECT_EQ(AwaitProbes().failure, "the TLS key is gone");
  AwaitProbes();
  EXPECT_GT(alive_, 0u);
}

TEST_F(SelfProbeTest, StopsEarlyAndTwice) {
  probe_.Stop();
  probe_.Stop();
  EXPECT_EQ(probe_.figures().probes, 0u);
}

}  // namespace
}  // namespace penstock::broker
