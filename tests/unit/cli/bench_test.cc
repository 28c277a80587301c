// The parts of `penstock bench` that need no broker.

#include "client/cli/bench/bench_result.h"
#include "client/cli/bench/histogram.h"
#include "client/cli/bench/producer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace penstock::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(HistogramTest, PercentilesAreWithinOnePercent) {
  Histogram values;
  for (int64_t micros = 1; micros <= 100'000; ++micros) values.Add(absl::Microseconds(micros));
  EXPECT_EQ(values.count(), 100'000u);
  for (double part : {0.01, 0.5, 0.9, 0.99, 0.999}) {
    const double exact = part * 100'000;
    const double told = absl::ToDoubleMicroseconds(values.At(part));
    EXPECT_GE(told, exact) << part;
    EXPECT_LE(told, exact * 1.01) << part;
  }
  EXPECT_EQ(values.At(1), absl::Microseconds(100'000));
  EXPECT_EQ(values.max(), absl::Microseconds(100'000));
}

TEST(HistogramTest, ExtremesAreKept) {
  Histogram values;
  EXPECT_EQ(values.At(0.5), absl::ZeroDuration());
  values.Add(-absl::Seconds(1));
  EXPECT_EQ(values.At(1), absl::ZeroDuration());
  values.Add(absl::Hours(100));
  EXPECT_EQ(values.max(), absl::Hours(100));
  EXPECT_EQ(values.count(), 2u);
}

TEST(HistogramTest, SumsAddUp) {
  Histogram low, high;
  for (int i = 0; i < 90; ++i) low.Add(absl::Milliseconds(1));
  for (int i = 0; i < 10; ++i) high.Add(absl::Milliseconds(100));
  low.Add(high);
  EXPECT_EQ(low.count(), 100u);
  EXPECT_LT(low.At(0.9), absl::Milliseconds(2));
  EXPECT_GE(low.At(0.91), absl::Milliseconds(100));
}

TEST(PayloadTest, CarriesWhenTheTaskWasDue) {
  const BenchClock::time_point due = BenchClock::now();
  const std::string payload = MakePayload(256, due);
  EXPECT_EQ(payload.size(), 256u);
  EXPECT_EQ(TimeIn(payload), due);
}

BenchResult Example(Scenario scenario) {
  BenchResult result;
  result.options.scenario = scenario;
  result.tasks = 200'000;
  result.elapsed = absl::Milliseconds(500);
  result.broker = {absl::Milliseconds(600), 300, 200, 76'800'000, 50 << 20};
  result.own_cpu = absl::Milliseconds(400);
  result.enqueue.Add(absl::Milliseconds(3));
  if (scenario == Scenario::kLatency) result.start.Add(absl::Milliseconds(4));
  result.machine.cores = 2;
  result.machine.fsync_dir = "/tmp";
  result.machine.fdatasync.Add(absl::Microseconds(200));
  result.machine.round_trip.Add(absl::Microseconds(150));
  return result;
}

TEST(BenchResultTest, TextHasRatesLatenciesAndCpuAMillionTasks) {
  const std::string text = RenderText(Example(Scenario::kEnqueue));
  EXPECT_THAT(text, HasSubstr("enqueue: 200,000 tasks of 256 B, 1 producer, 1 task a call, 4,096 in flight"));
  EXPECT_THAT(text, HasSubstr("400,000/s in 500ms"));
  EXPECT_THAT(text, HasSubstr("p50 3.00 ms  p99 3.00 ms  p99.9 3.00 ms  max 3.00 ms"));
  EXPECT_THAT(text, HasSubstr("3.00 CPU seconds a million tasks, 50 MiB of memory"));
  EXPECT_THAT(text, HasSubstr("300 commits, 200 fsyncs, 73.2 MiB written, 1.50 times the payloads"));
  EXPECT_THAT(text, Not(HasSubstr("handler start")));
  EXPECT_THAT(RenderText(Example(Scenario::kLatency)), HasSubstr("handler start p50 4.00 ms"));
}

TEST(BenchResultTest, IdleTellsWhatAWorkerCosts) {
  BenchResult result = Example(Scenario::kIdle);
  result.options.workers = 100;
  result.memory_before = 40 << 20;
  result.elapsed = absl::Seconds(60);
  EXPECT_THAT(RenderText(result), HasSubstr("idle: 100 workers for 1m\n"));
  EXPECT_THAT(RenderText(result), HasSubstr("1.00 % of a core, 50 MiB of memory, 102 KiB for each worker"));
  const auto json = nlohmann::json::parse(RenderJson(result));
  EXPECT_DOUBLE_EQ(json["broker"]["cores"], 0.01);
  EXPECT_EQ(json["broker"]["memory_bytes_per_worker"], (10 << 20) / 100);
}

TEST(BenchResultTest, CallersTakeThePlaceOfWhatIsInFlight) {
  BenchResult result = Example(Scenario::kEnqueue);
  result.options.callers = 64;
  EXPECT_THAT(RenderText(result), HasSubstr("1 task a call, 64 blocking callers"));
  const auto json = nlohmann::json::parse(RenderJson(result));
  EXPECT_EQ(json["callers"], 64);
  EXPECT_FALSE(json.contains("in_flight"));
}

TEST(BenchResultTest, JsonHasTheSameInSeconds) {
  const auto json = nlohmann::json::parse(RenderJson(Example(Scenario::kBoth)));
  EXPECT_EQ(json["scenario"], "both");
  EXPECT_EQ(json["tasks"], 200'000);
  EXPECT_DOUBLE_EQ(json["tasks_per_second"], 400'000);
  EXPECT_DOUBLE_EQ(json["broker"]["cpu_seconds_per_million"], 3);
  EXPECT_DOUBLE_EQ(json["enqueue_seconds"]["p999"], 0.003);
  EXPECT_FALSE(json.contains("start_seconds"));
  EXPECT_EQ(json["slots"], 64);
}

}  // namespace
}  // namespace penstock::cli
