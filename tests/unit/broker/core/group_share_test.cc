// Groups share the worker time of a queue by their weights, however many tasks each has and however long they run.

#include <map>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/core_driver.h"

namespace penstock::broker {
namespace {

struct Tenant {
  std::string name;
  double weight;
  Span run_time;  // of each of its tasks
  int backlog;
};

// One worker with some slots works for so long on what was enqueued before it came. Returns the worker time of each
// tenant as a part of the whole.
std::map<std::string, double> Share(const std::vector<Tenant>& tenants, uint32_t slots, Span duration) {
  CoreOptions options;
  options.max_tasks_per_worker = 10'000;
  CoreDriver driver(options);
  QueueCommand create;
  create.ticket = driver.NewTicket();
  create.queue = "q";
  create.settings.group_weights.emplace();
  for (const Tenant& tenant : tenants) (*create.settings.group_weights)[tenant.name] = tenant.weight;
  driver.Step(Command(create));
  std::map<TaskId, const Tenant*> owner;
  for (const Tenant& tenant : tenants) {
    EnqueueCommand command;
    command.ticket = driver.NewTicket();
    NewTask task;
    task.queue = "q";
    task.type = tenant.name;  // of a type of its own, with a run time of its own
    task.group = tenant.name;
    task.spec = "spec";
    command.tasks.assign(static_cast<size_t>(tenant.backlog), task);
    Effects effects = driver.Step(Command(std::move(command)));
    for (const auto& result : std::get<EnqueueReply>(effects.replies.at(0).value).results) {
      owner[result.task] = &tenant;
    }
  }
  OpenSessionCommand open;
  open.stream = driver.NewTicket();
  open.session_id = "secret";
  open.worker_name = "w";
  open.queues = {"q"};
  for (const Tenant& tenant : tenants) open.types.push_back({tenant.name, 0});
  open.concurrency = slots;
  const Ticket stream = open.stream;
  driver.Step(Command(open));

  std::map<std::string, Span> used;
  std::multimap<Span, TaskOutcome> ends;  // by when they end
  Span now = 0, total = 0;
  auto take = [&](const Effects& effects) {
    for (const SessionMessage& message : effects.session_messages) {
      for (const Delivery& delivery : message.deliveries) {
        TaskOutcome outcome;
        outcome.task = delivery.task;
        outcome.token = delivery.token;
        outcome.run_time = owner.at(delivery.task)->run_time;
        ends.emplace(now + outcome.run_time, outcome);
      }
    }
  };
  SessionInput credit;
  credit.stream = stream;
  credit.credit = slots;
  take(driver.Step(Command(std::move(credit))));
  while (!ends.empty() && now < duration) {
    const auto [end, outcome] = *ends.begin();
    ends.erase(ends.begin());
    take(driver.Advance(end - now));
    now = end;
    const Tenant* tenant = owner.at(outcome.task);
    used[tenant->name] += tenant->run_time;
    total += tenant->run_time;
    SessionInput input;
    input.stream = stream;
    input.credit = 1;
    input.outcomes.push_back(outcome);
    take(driver.Step(Command(std::move(input))));
  }
  std::map<std::string, double> shares;
  for (const auto& [name, time] : used) shares[name] = static_cast<double>(time) / static_cast<double>(total);
  return shares;
}

TEST(GroupShareTest, AFloodGetsNoMoreThanItsShare) {
  const auto shares = Share({{"flood", 1, kSecond, 5'000}, {"small", 1, kSecond, 500}}, 4, 200 * kSecond);
  EXPECT_NEAR(shares.at("flood"), 0.5, 0.02);
  EXPECT_NEAR(shares.at("small"), 0.5, 0.02);
}

TEST(GroupShareTest, TimeIsSharedNotTheNumberOfTasks) {
  const auto shares = Share({{"slow", 1, 10 * kSecond, 1'000}, {"fast", 1, 100 * kMilli, 9'000}}, 4, 400 * kSecond);
  EXPECT_NEAR(shares.at("slow"), 0.5, 0.05);
  EXPECT_NEAR(shares.at("fast"), 0.5, 0.05);
}

TEST(GroupShareTest, WeightsAreProportions) {
  const auto shares =
      Share({{"a", 5, kSecond, 3'000}, {"b", 3, 2 * kSecond, 3'000}, {"c", 2, kSecond, 3'000}}, 8, 300 * kSecond);
  EXPECT_NEAR(shares.at("a"), 0.5, 0.03);
  EXPECT_NEAR(shares.at("b"), 0.3, 0.03);
  EXPECT_NEAR(shares.at("c"), 0.2, 0.03);
}

TEST(GroupShareTest, WhoHasNothingLeavesItsShareToTheOthers) {
  const auto shares = Share({{"a", 1, kSecond, 3'000}, {"b", 9, kSecond, 10}}, 4, 200 * kSecond);
  EXPECT_NEAR(shares.at("b"), 10.0 / 800, 0.005);
  EXPECT_NEAR(shares.at("a"), 1 - 10.0 / 800, 0.005);
}

}  // namespace
}  // namespace penstock::broker
