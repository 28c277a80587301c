// Positions, starts and drains as they are estimated, against what comes when queues are run in virtual time.

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <queue>
#include <random>
#include <string>
#include <vector>

#include "fmt/format.h"
#include "gtest/gtest.h"
#include "tests/support/core_driver.h"

namespace penstock::broker {
namespace {

struct Shape {
  int workers = 2;
  int slots = 2;
  int types = 1;
  int priorities = 1;
  int groups = 0;  // 0: tasks have none
  int keys = 0;
  bool steady = false;  // every run of a type takes the same time; otherwise they are spread exponentially
};

// One queue and its workers, which run tasks for drawn times.
class Plant {
 public:
  Plant(uint32_t seed, const Shape& shape) : random_(seed), shape_(shape) {
    for (int i = 0; i < shape.workers; ++i) {
      OpenSessionCommand hello;
      hello.session_id = hello.worker_name = fmt::format("w{}", i);
      hello.queues = {"q"};
      for (int t = 0; t < shape.types; ++t) hello.types.push_back({TypeName(t), 0});
      hello.concurrency = static_cast<uint32_t>(shape.slots);
      hello.lease = kHour * 1'000;
      hello.stream = driver_.NewTicket();
      streams_.push_back(hello.stream);
      SessionInput credit;
      credit.stream = hello.stream;
      credit.credit = static_cast<uint32_t>(shape.slots);
      Take(driver_.Step(Command(std::move(hello))));
      Take(driver_.Step(Command(std::move(credit))));
    }
  }

  void Enqueue(int count, int commands) {
    for (int i = 0; i < commands; ++i) {
      EnqueueCommand enqueue;
      enqueue.ticket = driver_.NewTicket();
      for (int j = 0; j < count / commands; ++j) {
        NewTask task;
        task.queue = "q";
        const int type = Draw(shape_.types);
        task.type = Keep(TypeName(type));
        task.priority = static_cast<uint8_t>(5 + Draw(shape_.priorities));
        if (shape_.groups > 0) task.group = Keep(fmt::format("g{}", Draw(shape_.groups)));
        if (shape_.keys > 0) task.key = Keep(fmt::format("k{}", Draw(shape_.keys)));
        task.spec = Keep(std::string(1, static_cast<char>('0' + type)));
        enqueue.tasks.push_back(task);
      }
      Take(driver_.Step(Command(std::move(enqueue))));
      Take(driver_.Advance(kMilli));  // no two commits of a broker have the same time
    }
  }

  // Runs until nothing is left, or until the clock is there.
  void Run(Time until = kNever) {
    while (!runs_.empty() && runs_.top().end <= until) {
      const Ending ending = runs_.top();
      runs_.pop();
      Take(driver_.Advance(std::max<Span>(ending.end - driver_.now().wall, 0)));
      SessionInput input;
      input.stream = ending.stream;
      input.frame_number = ++frame_;
      input.credit = 1;
      TaskOutcome outcome;
      outcome.task = ending.task;
      outcome.token = ending.token;
      outcome.run_time = ending.run_time;
      input.outcomes.push_back(outcome);
      Take(driver_.Step(Command(std::move(input))));
      finished_ = driver_.now().wall;
    }
    if (until != kNever) Take(driver_.Advance(std::max<Span>(until - driver_.now().wall, 0)));
  }

  ExplainReply Explain(TaskId task) {
    const Effects effects = driver_.Step(Command(ExplainTaskCommand{driver_.NewTicket(), task}));
    return std::get<ExplainReply>(effects.replies.at(0).value);
  }
  SpanEstimate DrainedIn() {
    const Effects effects = driver_.Step(Command(StatusCommand{driver_.NewTicket()}));
    return std::get<StatusReply>(effects.replies.at(0).value).queues.at(0).drained_in;
  }

  std::vector<TaskId> Waiting() const {
    std::vector<TaskId> waiting;
    for (TaskId task : tasks_) {
      if (!started_.contains(task)) waiting.push_back(task);
    }
    return waiting;
  }
  int Draw(int n) { return static_cast<int>(random_() % static_cast<uint32_t>(n)); }
  Time now() const { return driver_.now().wall; }
  Time StartOf(TaskId task) const { return started_.at(task).first; }
  // How many were started before it.
  uint64_t OrderOf(TaskId task) const { return started_.at(task).second; }
  uint64_t started() const { return started_.size(); }
  Time finished() const { return finished_; }

 private:
  struct Ending {
    Time end = 0;
    Span run_time = 0;
    TaskId task;
    FencingToken token;
    Ticket stream;
    bool operator<(const Ending& other) const { return end > other.end; }
  };

  static std::string TypeName(int type) { return fmt::format("t{}", type); }
  Span Drawn(int type) {
    const double mean = 1e6 * (1 + 4 * type);
    if (shape_.steady) return static_cast<Span>(mean);
    std::exponential_distribution<double> distribution(1 / mean);
    return static_cast<Span>(distribution(random_)) + 1;
  }
  std::string_view Keep(std::string text) {
    kept_.push_back(std::make_unique<std::string>(std::move(text)));
    return *kept_.back();
  }
  void Take(const Effects& effects) {
    for (const Reply& reply : effects.replies) {
      if (const auto* enqueued = std::get_if<EnqueueReply>(&reply.value)) {
        for (const EnqueueResult& result : enqueued->results) tasks_.push_back(result.task);
      }
    }
    for (const SessionMessage& message : effects.session_messages) {
      for (const Delivery& delivery : message.deliveries) {
        started_.emplace(delivery.task, std::pair(driver_.now().wall, started_.size()));
        const Span run_time = Drawn(delivery.spec.front() - '0');
        runs_.push({driver_.now().wall + run_time, run_time, delivery.task, delivery.token, message.stream});
      }
    }
  }

  std::mt19937 random_;
  const Shape shape_;
  CoreDriver driver_;
  std::vector<std::unique_ptr<std::string>> kept_;
  std::vector<Ticket> streams_;
  std::vector<TaskId> tasks_;
  std::map<TaskId, std::pair<Time, uint64_t>> started_;
  std::priority_queue<Ending> runs_;
  uint64_t frame_ = 0;
  Time finished_ = 0;
};

// What estimates were worth.
struct Score {
  int count = 0;
  int within = 0;  // between low and high
  int sooner = 0;
  std::vector<double> error;  // of the expected, in proportion to what came
  void Add(Span actual, const SpanEstimate& estimate) {
    ++count;
    if (actual >= estimate.low && actual <= estimate.high) ++within;
    if (actual < estimate.low) ++sooner;
    error.push_back(std::abs(static_cast<double>(actual - estimate.expected)) /
                    std::max(1.0, static_cast<double>(actual)));
  }
  double share_sooner() const { return static_cast<double>(sooner) / count; }
  double share() const { return static_cast<double>(within) / count; }
  double median() {
    std::nth_element(error.begin(), error.begin() + count / 2, error.end());
    return error[static_cast<size_t>(count / 2)];
  }
};

struct Scores {
  Score starts;
  Score drains;
  double position_error = 0;  // mean, in proportion to the tasks that waited
  int positions = 0;
};

Scores Measure(const Shape& shape) {
  Scores scores;
  for (uint32_t seed = 1; seed <= 40; ++seed) {
    Plant plant(seed, shape);
    plant.Enqueue(200, 4);  // so that it is known how long they run
    plant.Run();
    for (int wave = 0; wave < 3; ++wave) {
      plant.Enqueue(100, 1 + plant.Draw(10));
      plant.Run(plant.now() + kSecond);
    }
    const Time asked = plant.now();
    const uint64_t before = plant.started();
    std::vector<std::pair<TaskId, ExplainReply>> said;
    const std::vector<TaskId> waiting = plant.Waiting();
    if (waiting.size() < 20) continue;
    for (int i = 0; i < 12; ++i) {
      const TaskId task = waiting[static_cast<size_t>(plant.Draw(static_cast<int>(waiting.size())))];
      said.emplace_back(task, plant.Explain(task));
    }
    const SpanEstimate drained_in = plant.DrainedIn();
    plant.Run();
    EXPECT_TRUE(drained_in.known());
    scores.drains.Add(plant.finished() - asked, drained_in);
    for (const auto& [task, explain] : said) {
      const uint64_t position = plant.OrderOf(task) - before;
      EXPECT_GE(position, explain.before_low) << task.ToString();
      EXPECT_LE(position, explain.before_high) << task.ToString();
      scores.position_error += std::abs(static_cast<double>(position) - static_cast<double>(explain.before)) /
                               static_cast<double>(waiting.size());
      ++scores.positions;
      EXPECT_TRUE(explain.starts_in.known());
      scores.starts.Add(plant.StartOf(task) - asked, explain.starts_in);
    }
  }
  scores.position_error /= std::max(scores.positions, 1);
  return scores;
}

void Report(const char* name, Scores scores, double share_least, double error_most, double position_error_most) {
  fmt::print(
      "{:12} position error {:5.1f} %   start: {:3.0f} % within, {:3.0f} % sooner, median error {:4.1f} %   "
      "drain: {:3.0f} % within, {:3.0f} % sooner, median error {:4.1f} %\n",
      name, scores.position_error * 100, scores.starts.share() * 100, scores.starts.share_sooner() * 100,
      scores.starts.median() * 100, scores.drains.share() * 100, scores.drains.share_sooner() * 100,
      scores.drains.median() * 100);
  EXPECT_GE(scores.starts.share(), share_least) << name;
  EXPECT_GE(scores.drains.share(), share_least) << name;
  EXPECT_LE(scores.starts.median(), error_most) << name;
  EXPECT_LE(scores.drains.median(), error_most) << name;
  EXPECT_LE(scores.position_error, position_error_most) << name;
}

// docs/explain.md promises nine in ten, and has what came of it when it was written: of 40 drains and about 480 starts,
// so that 85 in a hundred are no less than that.
TEST(EstimateTest, StartsAndDrainsComeAboutAsEstimated) {
  Report("one type", Measure({}), 0.85, 0.12, 0.001);
  Report("steady", Measure({.steady = true}), 0.75, 0.03, 0.001);
  Report("three types", Measure({.workers = 4, .slots = 5, .types = 3}), 0.85, 0.2, 0.08);
  Report("priorities", Measure({.workers = 3, .slots = 4, .types = 2, .priorities = 4}), 0.85, 0.15, 0.06);
  Report("groups", Measure({.workers = 3, .slots = 4, .groups = 5}), 0.85, 0.2, 0.1);
  Report("keys", Measure({.workers = 5, .slots = 4, .keys = 30}), 0.85, 0.35, 0.18);
}

TEST(EstimateTest, ThePositionInALaneIsExact) {
  for (uint32_t seed = 1; seed <= 20; ++seed) {
    Plant plant(seed, {.workers = 1, .slots = 1});
    // Many blocks of a few tasks.
    plant.Enqueue(300, 50);
    std::map<TaskId, ExplainReply> said;
    const uint64_t before = plant.started();
    for (TaskId task : plant.Waiting()) said[task] = plant.Explain(task);
    plant.Run();
    for (const auto& [task, explain] : said) {
      const uint64_t position = plant.OrderOf(task) - before;
      EXPECT_EQ(explain.before, position);
      EXPECT_EQ(explain.before_low, position);
      EXPECT_EQ(explain.before_high, position);
    }
  }
}

// Bounded work: in the middle of a lane of very many blocks it is estimated, and says how far it may be off.
TEST(EstimateTest, AVeryLongLaneIsEstimatedFromItsEnds) {
  CoreOptions options;
  CoreDriver driver(options);
  std::vector<TaskId> tasks;
  for (int i = 0; i < 6'000; ++i) {
    EnqueueCommand enqueue;
    enqueue.ticket = driver.NewTicket();
    NewTask task;
    task.queue = "q";
    task.type = "t";
    task.spec = "spec";
    enqueue.tasks.push_back(task);
    if (i % 3 == 0) enqueue.tasks.push_back(task);
    const Effects effects = driver.Step(Command(std::move(enqueue)));
    for (const EnqueueResult& result : std::get<EnqueueReply>(effects.replies.at(0).value).results) {
      tasks.push_back(result.task);
    }
  }
  const size_t last = tasks.size() - 1;
  for (size_t position :
       {size_t{0}, size_t{20}, size_t{300}, size_t{2'000}, size_t{4'000}, size_t{6'000}, last - 400, last - 20, last}) {
    const Effects effects = driver.Step(Command(ExplainTaskCommand{driver.NewTicket(), tasks[position]}));
    const auto& explain = std::get<ExplainReply>(effects.replies.at(0).value);
    EXPECT_GE(position, explain.before_low);
    EXPECT_LE(position, explain.before_high);
    EXPECT_NEAR(static_cast<double>(position), static_cast<double>(explain.before),
                0.01 * static_cast<double>(tasks.size()))
        << position;
    if (position <= 20 || position >= last - 20) {
      EXPECT_EQ(explain.before_low, explain.before_high) << position;
    }
  }
}

}  // namespace
}  // namespace penstock::broker
