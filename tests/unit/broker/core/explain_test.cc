// What ExplainTask says, against what the dispatcher then does, in random states: queues that are paused, keys that are
// held, throttles, delays, labels, workers that drain, are full, or are gone, restarts. PENSTOCK_SEEDS=N runs more
// seeds.

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "broker/core/throttle.h"
#include "broker/storage/labels.h"
#include "fmt/format.h"
#include "gtest/gtest.h"
#include "tests/support/core_driver.h"

namespace penstock::broker {
namespace {

using Code = WaitReason::Code;
using Labels = std::map<std::string, std::string>;

struct Task {
  std::string queue;
  std::string type;
  Labels labels;
};

struct Worker {
  Ticket stream;
  std::string id;
  OpenSessionCommand hello;
  std::map<TaskId, FencingToken> held;
  bool connected = false;
  uint64_t frame = 0;
};

std::string Render(const ExplainReply& explain) {
  std::string out;
  for (const WaitReason& reason : explain.reasons)
    out += fmt::format("\n  {}: {}", static_cast<int>(reason.code), reason.text);
  return out;
}

// What keeps a task back, whoever else is before it.
std::vector<WaitReason> Blocking(const ExplainReply& explain) {
  std::vector<WaitReason> reasons = explain.reasons;
  std::erase_if(reasons, [](const WaitReason& reason) { return reason.code == Code::kTurn; });
  return reasons;
}

class World {
 public:
  explicit World(uint64_t seed) : random_(seed), driver_(Options()) { driver_.set_check_every(20); }

  void Run(int rounds) {
    for (int i = 0; i < rounds; ++i) {
      SCOPED_TRACE(fmt::format("round {}", i));
      std::vector<Command> commands;
      for (int n = Draw(4); n >= 0; --n) Act(&commands);
      Round(std::move(commands));
      if (::testing::Test::HasFailure()) return;
      CheckRest();
      if (Draw(4) == 0 && !tasks_.empty()) Follow();
      if (::testing::Test::HasFailure()) return;
    }
  }

  uint64_t explained() const { return explained_; }
  const std::map<Code, uint64_t>& codes() const { return codes_; }
  uint64_t followed() const { return followed_; }

 private:
  static CoreOptions Options() {
    CoreOptions options;
    options.block_bytes = 700;
    options.queue_defaults.retry_policy.max_attempts = 3;
    options.queue_defaults.retry_policy.max_backoff = 20 * kSecond;
    options.queue_defaults.dead_blocks_key = true;
    options.max_tasks_per_worker = 40;
    return options;
  }
  int Draw(int n) { return static_cast<int>(random_() % static_cast<uint64_t>(n)); }
  template <class Container>
  auto& Pick(Container& from) {
    auto at = from.begin();
    std::advance(at, Draw(static_cast<int>(from.size())));
    return *at;
  }
  std::string_view Keep(std::string text) {
    kept_.push_back(std::make_unique<std::string>(std::move(text)));
    return *kept_.back();
  }

  // --- what happens ---

  void Act(std::vector<Command>* commands) {
    switch (Draw(16)) {
      case 0:
      case 1:
      case 2:
        return Enqueue(commands);
      case 3:
        return Connect(DrawnHello(), commands);
      case 4:
      case 5:
        if (workers_.empty()) return;
        return Credit(Pick(workers_), commands);
      case 6:
      case 7:
      case 8:
      case 9:
        if (workers_.empty()) return;
        return Report(Pick(workers_), commands);
      case 10: {
        QueueCommand queue;
        queue.ticket = driver_.NewTicket();
        queue.queue = DrawnQueue();
        queue.verb = Draw(2) == 0 ? QueueVerb::kPause : QueueVerb::kResume;
        commands->emplace_back(std::move(queue));
        return;
      }
      case 11:
        return Throttle(commands);
      case 12: {
        const Span by = Draw(3) == 0 ? 40 * kSecond : Draw(3'000) * kMilli;
        Take(driver_.Advance(by));
        return;
      }
      case 13: {
        if (workers_.empty()) return;
        Worker& worker = Pick(workers_);
        if (Draw(3) == 0 && worker.connected) {
          worker.connected = false;
          commands->emplace_back(SessionBroken{worker.stream});
        } else if (Draw(2) == 0) {
          if (worker.connected) {
            SessionInput input;
            input.stream = worker.stream;
            input.draining = true;
            commands->emplace_back(std::move(input));
          }
        } else if (!worker.connected && !worker.id.empty()) {
          Resume(worker, commands);
        }
        return;
      }
      case 14:
        if (tasks_.empty()) return;
        if (Draw(2) == 0) {
          commands->emplace_back(CancelTaskCommand{driver_.NewTicket(), Pick(tasks_).first, ""});
        } else {
          commands->emplace_back(RetryTaskCommand{driver_.NewTicket(), Pick(tasks_).first});
        }
        return;
      case 15:
        if (Draw(6) == 0) {
          driver_.Crash();
          for (Worker& worker : workers_) worker.connected = false;
          server_.reset();
        }
        return;
    }
  }

  std::string DrawnQueue() { return fmt::format("q{}", Draw(3)); }
  Labels DrawnLabels() {
    switch (Draw(4)) {
      case 0:
        return {{"gpu", "yes"}};
      case 1:
        return {{"gpu", "yes"}, {"zone", Draw(2) == 0 ? "eu" : "us"}};
      default:
        return {};
    }
  }

  void Enqueue(std::vector<Command>* commands) {
    EnqueueCommand enqueue;
    enqueue.ticket = driver_.NewTicket();
    std::vector<Task>& made = enqueues_[enqueue.ticket];
    for (int n = Draw(3); n >= 0; --n) {
      Task info{DrawnQueue(), fmt::format("t{}", Draw(3)), DrawnLabels()};
      NewTask task;
      task.queue = Keep(info.queue);
      task.type = Keep(info.type);
      task.labels = Keep(LabelText(info.labels));
      task.priority = static_cast<uint8_t>(4 + Draw(3));
      if (Draw(3) == 0) task.key = Keep(fmt::format("k{}", Draw(3)));
      if (Draw(4) == 0) task.group = Keep(fmt::format("g{}", Draw(2)));
      if (Draw(5) == 0) task.delay = Draw(20'000) * kMilli;
      if (Draw(3) == 0) task.cost = static_cast<uint16_t>(1 + Draw(4));
      task.spec = "spec";
      enqueue.tasks.push_back(task);
      made.push_back(std::move(info));
    }
    commands->emplace_back(std::move(enqueue));
  }

  void Throttle(std::vector<Command>* commands) {
    ThrottleCommand throttle;
    throttle.ticket = driver_.NewTicket();
    throttle.name = fmt::format("throttle{}", Draw(3));
    if (Draw(3) == 0) {
      throttle.verb = ThrottleVerb::kDelete;
    } else {
      throttle.verb = ThrottleVerb::kCreate;
      auto change = std::make_shared<ThrottleChange>();
      change->per = static_cast<ThrottlePer>(1 + Draw(5));
      if (Draw(2) == 0) change->types = std::vector<std::string>{fmt::format("t{}", Draw(3))};
      if (Draw(2) == 0) change->queues = std::vector<std::string>{DrawnQueue()};
      if (Draw(3) != 0) change->max_running = 1 + Draw(5);
      if (!change->max_running || Draw(2) == 0) {
        change->rate = ThrottleRate{static_cast<uint32_t>(1 + Draw(5)), 10 * kSecond, static_cast<uint32_t>(Draw(4))};
      }
      throttle.change = change;
    }
    commands->emplace_back(std::move(throttle));
  }

  OpenSessionCommand DrawnHello() {
    OpenSessionCommand hello;
    for (int i = 0; i < 3; ++i) {
      if (Draw(2) == 0) hello.queues.push_back(fmt::format("q{}", i));
      if (Draw(2) == 0) hello.types.push_back({fmt::format("t{}", i), Draw(3) == 0 ? 1u : 0u});
    }
    if (hello.queues.empty()) hello.queues.push_back("q0");
    if (hello.types.empty()) hello.types.push_back({"t0", 0});
    hello.concurrency = static_cast<uint32_t>(1 + Draw(4));
    hello.labels = DrawnLabels();
    return hello;
  }

  void Connect(OpenSessionCommand hello, std::vector<Command>* commands) {
    if (workers_.size() > 12) return;
    Worker& worker = workers_.emplace_back();
    hello.session_id = worker.id = fmt::format("s{}", next_session_++);
    hello.worker_name = worker.id;
    hello.stream = worker.stream = driver_.NewTicket();
    worker.hello = hello;
    worker.connected = true;
    commands->emplace_back(std::move(hello));
    if (Draw(3) != 0) Credit(worker, commands);
  }

  void Resume(Worker& worker, std::vector<Command>* commands) {
    OpenSessionCommand hello = worker.hello;
    hello.resume = true;
    hello.stream = worker.stream = driver_.NewTicket();
    for (const auto& [task, token] : worker.held) hello.held_tasks.push_back({task, token, true});
    worker.connected = true;
    commands->emplace_back(std::move(hello));
  }

  void Credit(Worker& worker, std::vector<Command>* commands) {
    if (!worker.connected) return;
    SessionInput input;
    input.stream = worker.stream;
    input.credit = static_cast<uint32_t>(1 + Draw(6));
    for (const HandledType& type : worker.hello.types) {
      if (type.max_concurrency > 0 && Draw(2) == 0) input.type_credits.push_back({Keep(type.type), 1});
    }
    commands->emplace_back(std::move(input));
  }

  void Report(Worker& worker, std::vector<Command>* commands) {
    if (worker.held.empty() || !worker.connected) return;
    const auto [task, token] = Pick(worker.held);
    SessionInput input;
    input.stream = worker.stream;
    input.frame_number = ++worker.frame;
    TaskOutcome outcome;
    outcome.task = task;
    outcome.token = token;
    outcome.run_time = 1 + Draw(1'000'000);
    switch (Draw(8)) {
      case 0:
        outcome.kind = OutcomeKind::kFailed;
        break;
      case 1:
        outcome.kind = OutcomeKind::kSnoozed;
        outcome.delay = Draw(10) * kSecond;
        outcome.cool = static_cast<CoolScope>(Draw(5));
        break;
      case 2:
        outcome.kind = OutcomeKind::kReleased;
        break;
      case 3:
        outcome.kind = OutcomeKind::kRejected;
        break;
      default:
        outcome.kind = OutcomeKind::kCompleted;
    }
    worker.held.erase(task);
    input.outcomes.push_back(outcome);
    input.credit = static_cast<uint32_t>(Draw(2));
    commands->emplace_back(std::move(input));
  }

  // --- what comes of it ---

  void Take(const Effects& effects) {
    for (const Reply& reply : effects.replies) {
      if (const auto* enqueued = std::get_if<EnqueueReply>(&reply.value)) {
        const std::vector<Task>& made = enqueues_[reply.ticket];
        for (size_t i = 0; i < enqueued->results.size(); ++i) tasks_[enqueued->results[i].task] = made[i];
      }
    }
    for (const SessionMessage& message : effects.session_messages) {
      for (Worker& worker : workers_) {
        if (worker.stream != message.stream) continue;
        for (const Delivery& delivery : message.deliveries) {
          for (Worker& other : workers_) other.held.erase(delivery.task);
          worker.held[delivery.task] = delivery.token;
          const auto task = tasks_.find(delivery.task);
          if (task == tasks_.end()) continue;
          for (const auto& label : task->second.labels) {
            const auto has = worker.hello.labels.find(label.first);
            EXPECT_TRUE(has != worker.hello.labels.end() && has->second == label.second)
                << delivery.task.ToString() << " went to a worker without " << label.first << "=" << label.second;
          }
        }
        if (message.welcome) {
          for (TaskId lost : message.welcome->lost_tasks) worker.held.erase(lost);
        }
        if (message.end) {
          worker.connected = false;
          worker.held.clear();
          worker.id.clear();
        }
      }
    }
    std::erase_if(workers_, [](const Worker& worker) { return worker.id.empty(); });
    for (const SessionMessage& message : effects.session_messages) {
      if (server_ != nullptr && message.stream == server_->stream && message.end) server_.reset();
    }
  }

  // Does what is to be done and asks for every task, in one step: what it says must be what then happens.
  std::map<TaskId, ExplainReply> Round(std::vector<Command> commands) {
    std::map<Ticket, TaskId> asked;
    for (const auto& [task, info] : tasks_) {
      const Ticket ticket = driver_.NewTicket();
      asked[ticket] = task;
      commands.emplace_back(ExplainTaskCommand{ticket, task});
    }
    const Effects effects = driver_.Step(std::move(commands));
    Take(effects);
    std::map<TaskId, ExplainReply> explains;
    for (const Reply& reply : effects.replies) {
      const auto found = asked.find(reply.ticket);
      if (found == asked.end()) continue;
      if (!reply.status.ok()) {
        EXPECT_EQ(reply.status.code(), absl::StatusCode::kNotFound) << reply.status;
        tasks_.erase(found->second);
        continue;
      }
      const auto& explain = std::get<ExplainReply>(reply.value);
      if (IsFinal(explain.state) && explain.state != State::kDead) tasks_.erase(found->second);
      explains[found->second] = explain;
      ++explained_;
      for (const WaitReason& reason : explain.reasons) {
        ++codes_[reason.code];
        EXPECT_FALSE(reason.text.empty());
      }
      EXPECT_TRUE(explain.waits || explain.reasons.empty());
      EXPECT_LE(explain.before_low, explain.before);
      EXPECT_LE(explain.before, explain.before_high);
    }
    for (const SessionMessage& message : effects.session_messages) {
      for (const Delivery& delivery : message.deliveries) {
        const auto found = explains.find(delivery.task);
        if (found == explains.end()) continue;
        EXPECT_TRUE(found->second.waits);
        EXPECT_TRUE(Blocking(found->second).empty())
            << delivery.task.ToString() << " was handed out although" << Render(found->second);
      }
    }
    return explains;
  }

  // When the dispatcher has done all it can, every task that still waits has a reason.
  std::map<TaskId, ExplainReply> CheckRest() {
    Take(driver_.Advance(0));
    std::map<TaskId, ExplainReply> explains = Round({});
    for (const auto& [task, explain] : explains) {
      if (!explain.waits) continue;
      EXPECT_FALSE(Blocking(explain).empty()) << task.ToString() << " has no reason to wait, but waits";
    }
    return explains;
  }

  ExplainReply Ask(TaskId task) {
    const Effects effects = driver_.Step(Command(ExplainTaskCommand{driver_.NewTicket(), task}));
    Take(effects);
    for (const Reply& reply : effects.replies) {
      if (const auto* explain = std::get_if<ExplainReply>(&reply.value)) return *explain;
    }
    return {};
  }

  void Do(Command command) {
    Take(driver_.Step(std::move(command)));
    Take(driver_.Advance(0));
  }

  // Takes the reasons of a task away, one by one: each is gone then, and in the end the task runs.
  void Follow() {
    const TaskId task = target_ = Pick(tasks_).first;
    if (!Ask(task).waits) return;
    ++followed_;
    std::string story;
    for (int i = 0; i < 200; ++i) {
      const ExplainReply explain = Ask(task);
      if (!explain.waits) {
        EXPECT_EQ(explain.state, State::kRunning) << story;
        return;
      }
      const std::vector<WaitReason> reasons = Blocking(explain);
      ASSERT_FALSE(reasons.empty()) << "it has no reason left, but waits" << story;
      const WaitReason& reason = reasons.front();
      story += "\n" + reason.text;
      Resolve(task, reason);
      if (::testing::Test::HasFailure()) return;
      if (reason.code == Code::kKeyHeld || reason.code == Code::kKeyTurn || reason.code == Code::kReclaim) continue;
      for (const WaitReason& left : Ask(task).reasons) {
        EXPECT_FALSE(left.code == reason.code && left.throttle == reason.throttle && left.text == reason.text)
            << left.text << " still, although it was taken away" << story;
      }
    }
    FAIL() << task.ToString() << " does not come to run:" << story;
  }

  // A worker that takes everything that the task may wait for.
  void Serve(TaskId task) {
    const auto found = tasks_.find(task);
    if (found == tasks_.end()) return;
    // What is given to it is done at once.
    for (int i = 0; i < 100; ++i) {
      if (server_ == nullptr || server_labels_ != found->second.labels || server_type_ != found->second.type ||
          server_queue_ != found->second.queue) {
        if (server_ != nullptr) {
          SessionInput goodbye;
          goodbye.stream = server_->stream;
          goodbye.goodbye = true;
          server_.reset();
          Do(Command(std::move(goodbye)));
        }
        server_ = std::make_unique<Worker>();
        OpenSessionCommand hello;
        hello.queues = {found->second.queue};
        hello.types = {{found->second.type, 0}};
        hello.labels = found->second.labels;
        hello.concurrency = 30;
        hello.session_id = fmt::format("server{}", next_session_++);
        hello.worker_name = hello.session_id;
        hello.stream = server_->stream = driver_.NewTicket();
        server_labels_ = found->second.labels;
        server_type_ = found->second.type;
        server_queue_ = found->second.queue;
        TakeServed(driver_.Step(Command(std::move(hello))));
      }
      SessionInput input;
      input.stream = server_->stream;
      input.credit = 30;
      TakeServed(driver_.Step(Command(std::move(input))));
      if (served_.empty() || server_ == nullptr) return;
      SessionInput done;
      done.stream = server_->stream;
      done.frame_number = ++server_->frame;
      for (const auto& [id, token] : served_) {
        TaskOutcome outcome;
        outcome.task = id;
        outcome.token = token;
        done.outcomes.push_back(outcome);
      }
      served_.clear();
      TakeServed(driver_.Step(Command(std::move(done))));
      if (Ask(task).state != State::kAvailable) return;
    }
  }
  // All but the task that is followed is to be completed.
  void TakeServed(const Effects& effects) {
    Take(effects);
    for (const SessionMessage& message : effects.session_messages) {
      if (server_ == nullptr || message.stream != server_->stream) continue;
      for (const Delivery& delivery : message.deliveries) {
        if (delivery.task == target_) continue;
        served_[delivery.task] = delivery.token;
      }
    }
  }

  void Resolve(TaskId task, const WaitReason& reason) {
    switch (reason.code) {
      case Code::kQueuePaused: {
        QueueCommand queue;
        queue.ticket = driver_.NewTicket();
        queue.queue = tasks_[task].queue;
        queue.verb = QueueVerb::kResume;
        return Do(std::move(queue));
      }
      case Code::kThrottled:
        if (!reason.throttle.empty()) {
          ThrottleCommand throttle;
          throttle.ticket = driver_.NewTicket();
          throttle.name = reason.throttle;
          throttle.verb = ThrottleVerb::kDelete;
          return Do(std::move(throttle));
        }
        [[fallthrough]];
      case Code::kCooling:
      case Code::kNotDue:
      case Code::kReclaim:
        ASSERT_GT(reason.until, driver_.now().wall) << reason.text;
        Take(driver_.Advance(reason.until - driver_.now().wall));
        return;
      case Code::kNoWorker:
      case Code::kNoWorkerWithLabels:
      case Code::kWorkersDraining:
      case Code::kWorkersBusy:
        return Serve(task);
      case Code::kKeyTurn:
      case Code::kKeyHeld:
        return ResolveKey(task, reason);
      case Code::kTurn:
      case Code::kBrokerStopping:
        FAIL() << reason.text;
    }
  }

  void ResolveKey(TaskId task, const WaitReason& reason) {
    if (reason.tasks.empty()) return Serve(task);
    const TaskId other = reason.tasks.front();
    for (Worker& worker : workers_) {
      const auto held = worker.held.find(other);
      if (held == worker.held.end() || !worker.connected) continue;
      SessionInput input;
      input.stream = worker.stream;
      input.frame_number = ++worker.frame;
      TaskOutcome outcome;
      outcome.task = other;
      outcome.token = held->second;
      worker.held.erase(held);
      input.outcomes.push_back(outcome);
      return Do(Command(std::move(input)));
    }
    if (reason.until > driver_.now().wall) {
      Take(driver_.Advance(reason.until - driver_.now().wall));
      return;
    }
    const ExplainReply explain = Ask(other);
    if (explain.state == State::kDead) return Do(Command(RetryTaskCommand{driver_.NewTicket(), other}));
    if (explain.waits) {
      const std::vector<WaitReason> reasons = Blocking(explain);
      if (reasons.empty()) return Serve(other);
      if (reasons.front().code == Code::kKeyHeld || reasons.front().code == Code::kKeyTurn)
        return ResolveKey(other, reasons.front());
      // Its worker last: getting it takes the worker of the task that is followed away again.
      const auto first = std::find_if(reasons.begin(), reasons.end(), [](const WaitReason& each) {
        return each.code != Code::kNoWorker && each.code != Code::kNoWorkerWithLabels &&
               each.code != Code::kWorkersDraining && each.code != Code::kWorkersBusy;
      });
      return Resolve(other, first == reasons.end() ? reasons.front() : *first);
    }
    // It runs at a worker that this test gave up: cancelled, or with the server, which completes it.
    if (explain.state == State::kRunning) {
      if (server_ != nullptr) {
        SessionInput goodbye;
        goodbye.stream = server_->stream;
        goodbye.goodbye = true;
        server_.reset();
        return Do(Command(std::move(goodbye)));
      }
      Take(driver_.Advance(31 * kSecond));
    }
  }

  std::mt19937_64 random_;
  CoreDriver driver_;
  std::vector<std::unique_ptr<std::string>> kept_;
  std::map<Ticket, std::vector<Task>> enqueues_;
  std::map<TaskId, Task> tasks_;
  std::vector<Worker> workers_;
  std::unique_ptr<Worker> server_;
  Labels server_labels_;
  std::string server_type_;
  std::string server_queue_;
  std::map<TaskId, FencingToken> served_;
  TaskId target_;  // that is followed
  int next_session_ = 1;
  uint64_t explained_ = 0;
  uint64_t followed_ = 0;
  std::map<Code, uint64_t> codes_;
};

int Seeds() {
  const char* seeds = std::getenv("PENSTOCK_SEEDS");
  return seeds == nullptr ? 15 : std::atoi(seeds);
}

TEST(ExplainTest, TheDispatcherDoesWhatWasSaid) {
  uint64_t explained = 0, followed = 0;
  std::map<Code, uint64_t> codes;
  for (int seed = 1; seed <= Seeds() && !HasFailure(); ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    World world(static_cast<uint64_t>(seed));
    world.Run(100);
    explained += world.explained();
    followed += world.followed();
    for (const auto& [code, count] : world.codes()) codes[code] += count;
  }
  if (HasFailure()) return;
  // It says something only if all of it came up, and often.
  EXPECT_GT(explained, 10'000u);
  EXPECT_GT(followed, 7u * static_cast<uint64_t>(Seeds()));
  for (Code code :
       {Code::kNotDue, Code::kQueuePaused, Code::kKeyHeld, Code::kKeyTurn, Code::kThrottled, Code::kNoWorker,
        Code::kNoWorkerWithLabels, Code::kWorkersDraining, Code::kWorkersBusy, Code::kTurn, Code::kReclaim}) {
    EXPECT_GT(codes[code], 5u) << "code " << static_cast<int>(code);
  }
}

TEST(ExplainTest, AStoppingBrokerSaysSo) {
  CoreDriver driver;
  EnqueueCommand enqueue;
  enqueue.ticket = driver.NewTicket();
  NewTask task;
  task.queue = "q";
  task.type = "t";
  task.spec = "spec";
  enqueue.tasks.push_back(task);
  const Effects enqueued = driver.Step(Command(std::move(enqueue)));
  const TaskId id = std::get<EnqueueReply>(enqueued.replies.at(0).value).results.at(0).task;
  driver.core().StopDispatch();
  const Effects explained = driver.Step(Command(ExplainTaskCommand{driver.NewTicket(), id}));
  const auto& reply = std::get<ExplainReply>(explained.replies.at(0).value);
  ASSERT_FALSE(reply.reasons.empty());
  EXPECT_EQ(reply.reasons[0].code, Code::kBrokerStopping);
  EXPECT_FALSE(reply.starts_in.known());
}

}  // namespace
}  // namespace penstock::broker
