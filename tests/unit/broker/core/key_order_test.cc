// FIFO keys under random histories: of a key one task runs at a time, and first attempts come in the order of the
// enqueues, whatever fails, snoozes, is given back or crashes in between.

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/core_driver.h"

namespace penstock::broker {
namespace {

constexpr int kKeys = 4;

class KeyOrder {
 public:
  explicit KeyOrder(uint64_t seed) : random_(seed), driver_(Options()) {
    driver_.set_check_every(25);
    Connect();
  }

  void Act() {
    switch (Draw(12)) {
      case 0:
      case 1:
      case 2:
        Enqueue();
        break;
      case 3:
        Pass(Draw(20) * kSecond);
        break;
      case 4:
        if (Draw(10) == 0) Crash();
        break;
      case 5:
        if (Draw(6) == 0) Break();
        break;
      default:
        Finish();
    }
  }

  // Nothing more is enqueued; everything ends.
  void Drain() {
    for (int i = 0; i < 2'000 && ended_.size() < orders_.size(); ++i) {
      if (held_.empty()) Pass(20 * kSecond);
      Finish(/*complete=*/true);
    }
    EXPECT_EQ(ended_.size(), orders_.size()) << driver_.core().DebugState();
    EXPECT_EQ(driver_.Recount(), "");
  }

  int first_attempts() const { return first_attempts_; }

 private:
  static CoreOptions Options() {
    CoreOptions options;
    options.checkpoint_bytes = 4'000;
    options.block_cache_bytes = 2'000;
    options.block_bytes = 600;
    return options;
  }
  int Draw(int n) { return static_cast<int>(random_() % static_cast<uint64_t>(n)); }

  void Connect() {
    OpenSessionCommand open;
    open.stream = stream_ = driver_.NewTicket();
    open.session_id = "secret" + std::to_string(++sessions_);
    open.worker_name = "w";
    open.queues = {"q"};
    open.types = {{"x", 0}, {"y", 0}};
    open.concurrency = 100;
    Take(driver_.Step(Command(open)));
    SessionInput input;
    input.stream = stream_;
    input.credit = 10'000;
    Take(driver_.Step(Command(std::move(input))));
  }
  void Pass(Span time) {
    Take(driver_.Advance(time));
    SessionInput heartbeat;
    heartbeat.stream = stream_;
    Take(driver_.Step(Command(std::move(heartbeat))));
  }
  void Enqueue() {
    EnqueueCommand command;
    command.ticket = driver_.NewTicket();
    std::vector<int> keys;
    static const std::string kNames[kKeys] = {"a", "b", "c", "d"};
    for (int i = Draw(9); i >= 0; --i) {
      NewTask task;
      task.queue = "q";
      task.type = Draw(3) ? "x" : "y";
      task.priority = static_cast<uint8_t>(Draw(10));
      task.group = Draw(2) ? "g" : "";
      const int key = Draw(kKeys);
      keys.push_back(key);
      task.key = kNames[key];
      task.spec = "01234567890123456789";
      command.tasks.push_back(task);
    }
    Effects effects = driver_.Step(Command(std::move(command)));
    const auto& results = std::get<EnqueueReply>(effects.replies.at(0).value).results;
    for (size_t i = 0; i < results.size(); ++i) {
      key_of_[results[i].task] = keys[i];
      orders_[results[i].task] = next_order_++;
    }
    Take(std::move(effects));
  }
  void Take(Effects effects) {
    for (const SessionMessage& message : effects.session_messages) {
      for (const Delivery& delivery : message.deliveries) {
        const TaskId task = delivery.task;
        const int key = key_of_.at(task);
        for (const auto& [other, token] : held_) {
          EXPECT_NE(key_of_.at(other), key) << task.ToString() << " runs beside " << other.ToString();
        }
        held_[task] = delivery.token;
        if (!seen_.insert(task).second) continue;
        ++first_attempts_;
        EXPECT_GT(orders_.at(task), last_first_[key]) << task.ToString() << " overtook another of its key";
        last_first_[key] = orders_.at(task);
      }
    }
  }
  void Finish(bool complete = false) {
    if (held_.empty()) return;
    auto it = held_.begin();
    std::advance(it, Draw(static_cast<int>(held_.size())));
    const auto [task, token] = *it;
    held_.erase(it);
    TaskOutcome outcome;
    outcome.task = task;
    outcome.token = token;
    outcome.run_time = 1 + Draw(1'000) * kMilli;
    switch (complete ? 9 : Draw(10)) {
      case 0:
      case 1:
        outcome.kind = OutcomeKind::kFailed;
        outcome.delay = Draw(20) * kSecond;
        break;
      case 2:
        outcome.kind = OutcomeKind::kSnoozed;
        outcome.delay = Draw(20) * kSecond;
        break;
      case 3:
        outcome.kind = OutcomeKind::kReleased;
        break;
      case 4:
        outcome.kind = OutcomeKind::kRejected;
        ended_.insert(task);
        break;
      default:
        outcome.kind = OutcomeKind::kCompleted;
        ended_.insert(task);
    }
    SessionInput input;
    input.stream = stream_;
    input.outcomes.push_back(outcome);
    Take(driver_.Step(Command(std::move(input))));
  }
  // The worker is gone, and with it what it held; another comes.
  void Break() {
    Take(driver_.Step(Command(SessionBroken{stream_})));
    held_.clear();
    Take(driver_.Advance(5 * kSecond));
    Connect();
  }
  void Crash() {
    driver_.Crash(driver_.in_flight());
    held_.clear();  // its worker crashed, too
    Take(driver_.Advance(40 * kSecond));
    Connect();
  }

  std::mt19937_64 random_;
  CoreDriver driver_;
  Ticket stream_;
  int sessions_ = 0;
  int next_order_ = 1;
  int first_attempts_ = 0;
  std::map<TaskId, int> key_of_;
  std::map<TaskId, int> orders_;
  std::map<int, int> last_first_;
  std::map<TaskId, FencingToken> held_;
  std::set<TaskId> seen_;
  std::set<TaskId> ended_;
};

TEST(KeyOrderTest, OneAtATimeAndInOrderWhateverHappens) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    KeyOrder order(seed);
    for (int i = 0; i < 600; ++i) order.Act();
    order.Drain();
    EXPECT_GT(order.first_attempts(), 200);
    if (::testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace penstock::broker
