#include "broker/core/throttles.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/core_driver.h"

namespace penstock::broker {
namespace {

// What a throttle has to do, in other words than the core's: counted task by task, buckets filled by arithmetic.
struct Model {
  ThrottleDefinition definition;
  struct Meter {
    uint64_t running = 0;
    double tokens = 0;
    Time filled = 0;
  };
  std::map<std::string, Meter> meters;
};

struct Job {
  std::string queue, type, group;
  uint16_t cost = 1;
};

// A broker with throttles of all sorts, one worker that takes everything, and tasks that come, run and end at random.
class Rig {
 public:
  explicit Rig(uint32_t seed, bool with_costs) : random_(seed), with_costs_(with_costs) {
    driver_.set_check_every(5);
    Connect(false);
    ThrottleDefinition cap, queues, tenants, sends, tenant_rate;
    cap.max_running = 6;
    Add("cap", cap);
    queues.per = ThrottlePer::kQueue;
    queues.max_running = 4;
    Add("queues", queues);
    tenants.queues = {"a"};
    tenants.per = ThrottlePer::kGroup;
    tenants.max_running = 2;
    Add("tenants", tenants);
    sends.types = {"x"};
    sends.rate = {5, kSecond, 3};
    Add("sends", sends);
    tenant_rate.per = ThrottlePer::kGroup;
    tenant_rate.rate = {10, 60 * kSecond, 4};
    Add("tenant-rate", tenant_rate);
  }

  void Run(int steps) {
    for (int i = 0; i < steps && !::testing::Test::HasFatalFailure(); ++i) {
      switch (Draw(8)) {
        case 0:
        case 1:
          Enqueue();
          break;
        case 2:
        case 3:
        case 4:
          End();
          break;
        case 5:
          Wait(Draw(2) == 0 ? Draw(400) * kMilli : Draw(20) * kSecond);
          break;
        case 6:
          if (Draw(4) == 0) Change();
          break;
        case 7:
          if (Draw(4) == 0) {
            driver_.CommitAll();
            driver_.Crash();
            Connect(true);
          }
          break;
      }
      Settle();
    }
    EXPECT_GT(delivered_, static_cast<uint64_t>(steps) / 4);
  }

 private:
  int Draw(int n) { return static_cast<int>(random_() % static_cast<uint32_t>(n)); }

  void Add(const std::string& name, ThrottleDefinition definition) {
    auto change = std::make_shared<ThrottleChange>();
    change->queues = definition.queues;
    change->types = definition.types;
    change->per = definition.per;
    change->max_running = definition.max_running;
    change->rate = definition.rate;
    models_[name].definition = definition;
    Take(driver_.Step(ThrottleCommand{driver_.NewTicket(), ThrottleVerb::kCreate, name, std::move(change)}));
  }

  // Another cap for those that have one: what runs goes on.
  void Change() {
    auto model = models_.begin();
    std::advance(model, Draw(static_cast<int>(models_.size())));
    if (model->second.definition.max_running == 0) return;
    auto change = std::make_shared<ThrottleChange>();
    change->max_running = model->second.definition.max_running = static_cast<uint32_t>(2 + Draw(6));
    Take(driver_.Step(ThrottleCommand{driver_.NewTicket(), ThrottleVerb::kUpdate, model->first, std::move(change)}));
  }

  void Connect(bool resume) {
    OpenSessionCommand open;
    open.stream = stream_ = driver_.NewTicket();
    open.resume = resume;
    open.session_id = "session";
    open.worker_name = "w";
    open.queues = {"a", "b"};
    open.types = {{"x", 0}, {"y", 0}};
    open.concurrency = 1'000;
    for (const auto& [task, token] : held_) open.held_tasks.push_back({task, token, true});
    Take(driver_.Step(open));
    SessionInput input;
    input.stream = stream_;
    input.credit = 10'000;
    Take(driver_.Step(Command(input)));
  }

  void Enqueue() {
    EnqueueCommand enqueue;
    enqueue.ticket = driver_.NewTicket();
    std::vector<Job> jobs(static_cast<size_t>(1 + Draw(6)));
    for (Job& job : jobs) {
      job.queue = Draw(2) == 0 ? "a" : "b";
      job.type = Draw(2) == 0 ? "x" : "y";
      if (Draw(3) > 0) job.group = std::string(1, static_cast<char>('p' + Draw(3)));
      if (with_costs_ && Draw(3) == 0) job.cost = static_cast<uint16_t>(1 + Draw(8));
      NewTask task;
      task.queue = job.queue;
      task.type = job.type;
      task.group = job.group;
      task.cost = job.cost;
      task.priority = static_cast<uint8_t>(4 + Draw(2));
      task.spec = "s";
      enqueue.tasks.push_back(task);
    }
    pending_ = std::move(jobs);
    Take(driver_.Step(Command(enqueue)));
  }

  void End() {
    if (held_.empty()) return;
    auto held = held_.begin();
    std::advance(held, Draw(static_cast<int>(held_.size())));
    const auto [id, token] = *held;
    SessionInput input;
    input.stream = stream_;
    input.credit = 1;
    TaskOutcome outcome;
    outcome.task = id;
    outcome.token = token;
    if (Draw(5) == 0) {
      outcome.kind = OutcomeKind::kSnoozed;
      outcome.delay = kSecond;
      resting_.insert(id);
    }
    input.outcomes.push_back(outcome);
    for (Model::Meter* meter : MetersOf(jobs_.at(id))) meter->running -= jobs_.at(id).cost;
    held_.erase(held);
    if (outcome.kind == OutcomeKind::kCompleted) jobs_.erase(id);
    Take(driver_.Step(Command(input)));
  }

  // As an engine would: no later than the core asks to be woken.
  void Wait(Span left) {
    while (left > 0) {
      const Span step = std::clamp<Span>(driver_.core().next_deadline().wall - driver_.now().wall, 1, left);
      SessionInput heartbeat;
      heartbeat.stream = stream_;
      Take(driver_.Advance(step));
      Take(driver_.Step(Command(heartbeat)));
      left -= step;
    }
  }

  std::vector<Model::Meter*> MetersOf(const Job& job) {
    std::vector<Model::Meter*> meters;
    for (auto& [name, model] : models_) {
      if (Counts(model, job)) meters.push_back(&MeterOf(model, job));
    }
    return meters;
  }
  static bool Counts(const Model& model, const Job& job) {
    const ThrottleDefinition& definition = model.definition;
    const auto in = [](const std::vector<std::string>& names, const std::string& name) {
      return names.empty() || std::find(names.begin(), names.end(), name) != names.end();
    };
    return in(definition.queues, job.queue) && in(definition.types, job.type) &&
           (definition.per != ThrottlePer::kGroup || !job.group.empty());
  }
  Model::Meter& MeterOf(Model& model, const Job& job) {
    const ThrottlePer per = model.definition.per;
    const std::string scope = per == ThrottlePer::kQueue ? job.queue : per == ThrottlePer::kGroup ? job.group : "";
    const ThrottleRate& rate = model.definition.rate;
    auto [found, added] = model.meters.try_emplace(scope);
    Model::Meter& meter = found->second;
    const Time now = driver_.now().wall;
    if (added) meter.tokens = rate.burst;
    if (rate.tasks > 0) {
      meter.tokens += static_cast<double>(now - meter.filled) * rate.tasks / static_cast<double>(rate.period);
      meter.tokens = std::min<double>(meter.tokens, rate.burst);
    }
    meter.filled = now;
    return meter;
  }
  bool Admits(Model& model, const Job& job) {
    const Model::Meter& meter = MeterOf(model, job);
    const ThrottleDefinition& definition = model.definition;
    if (definition.max_running > 0 && meter.running > 0 && meter.running + job.cost > definition.max_running) {
      return false;
    }
    // The core counts whole microseconds.
    return definition.rate.tasks == 0 || meter.tokens + 1e-4 >= std::min<double>(job.cost, definition.rate.burst);
  }

  void Take(Effects effects) {
    for (const Reply& reply : effects.replies) {
      ASSERT_TRUE(reply.status.ok()) << reply.status;
      const auto* enqueued = std::get_if<EnqueueReply>(&reply.value);
      if (enqueued == nullptr) continue;
      for (size_t i = 0; i < enqueued->results.size(); ++i) jobs_[enqueued->results[i].task] = pending_[i];
    }
    for (const SessionMessage& message : effects.session_messages) {
      ASSERT_FALSE(message.end) << *message.end;
      for (const Delivery& delivery : message.deliveries) {
        ++delivered_;
        const Job& job = jobs_.at(delivery.task);
        for (auto& [name, model] : models_) {
          if (!Counts(model, job)) continue;
          ASSERT_TRUE(Admits(model, job)) << "throttle " << name << " was overrun";
          Model::Meter& meter = MeterOf(model, job);
          meter.running += job.cost;
          meter.tokens -= job.cost;
        }
        resting_.erase(delivery.task);
        held_[delivery.task] = delivery.token;
      }
    }
  }

  // Nothing is kept back that every throttle would let go.
  void Settle() {
    Take(driver_.Advance(0));
    if (with_costs_) return;  // a small one may wait for a large one that is before it
    for (const auto& [id, job] : jobs_) {
      if (held_.contains(id) || resting_.contains(id)) continue;
      bool admitted = true;
      for (auto& [name, model] : models_) admitted = admitted && (!Counts(model, job) || Admits(model, job));
      ASSERT_FALSE(admitted) << "task " << id.ToString() << " waits for nothing\n" << driver_.core().DebugState();
    }
  }

  std::mt19937 random_;
  const bool with_costs_;
  CoreDriver driver_;
  Ticket stream_;
  std::map<std::string, Model> models_;
  std::vector<Job> pending_;
  std::map<TaskId, Job> jobs_;  // that are not finished
  std::map<TaskId, FencingToken> held_;
  std::set<TaskId> resting_;  // snoozed
  uint64_t delivered_ = 0;
};

TEST(ThrottlesTest, NoneIsOverrunAndNothingWaitsForNothing) {
  for (uint32_t seed = 1; seed <= 40 && !HasFatalFailure(); ++seed) {
    SCOPED_TRACE(seed);
    Rig(seed, /*with_costs=*/false).Run(300);
  }
}

TEST(ThrottlesTest, NoneIsOverrunByTasksThatCostMore) {
  for (uint32_t seed = 1; seed <= 40 && !HasFatalFailure(); ++seed) {
    SCOPED_TRACE(seed);
    Rig(seed, /*with_costs=*/true).Run(300);
  }
}

}  // namespace
}  // namespace penstock::broker
