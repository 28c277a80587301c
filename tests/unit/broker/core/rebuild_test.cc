// What is left of a store after damage becomes a whole store again, and nothing that waits is lost without a word.
// PENSTOCK_SEEDS=N runs more seeds.

#include "broker/core/rebuild.h"

#include <cstdlib>
#include <functional>
#include <map>
#include <random>
#include <set>
#include <string>

#include "broker/core/audit.h"
#include "broker/core/epochs.h"
#include "broker/core/lane_head.h"
#include "broker/storage/history.h"
#include "broker/storage/keys.h"
#include "broker/storage/records.h"
#include "common/coding.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "penstock/v1/task.pb.h"
#include "tests/support/core_driver.h"
#include "tests/support/recount.h"

namespace penstock::broker {
namespace {

using ::testing::HasSubstr;

std::string Spec(const std::string& queue, const std::string& type) {
  v1::TaskSpec spec;
  spec.set_queue(queue);
  spec.set_type(type);
  spec.set_payload("0123456789012345678901234567890123456789");
  return spec.SerializeAsString();
}

// A broker's life: tasks of all kinds, a worker that does what it likes, crashes.
class World {
 public:
  explicit World(uint64_t seed) : random_(seed), driver_(Options()) {
    QueueCommand blocking;
    blocking.ticket = driver_.NewTicket();
    blocking.queue = "b";
    blocking.settings.dead_blocks_key = seed % 2 == 0;
    Do(blocking);
    Connect();
    for (int i = 0; i < 250; ++i) Act();
  }

  static CoreOptions Options() {
    CoreOptions options;
    options.checkpoint_bytes = 3'000;
    options.block_bytes = 900;
    options.block_cache_bytes = 2'000;
    options.queue_defaults.retry_policy.max_attempts = 3;
    return options;
  }
  MemoryStore& store() { return driver_.store(); }
  Time now() const { return driver_.now().wall; }
  int Draw(int n) { return static_cast<int>(random_() % static_cast<uint64_t>(n)); }

 private:
  void Take(const Effects& effects) {
    for (const Reply& reply : effects.replies) {
      const auto* enqueued = std::get_if<EnqueueReply>(&reply.value);
      if (enqueued == nullptr || !reply.status.ok()) continue;
      for (const EnqueueResult& result : enqueued->results) tasks_.push_back(result.task);
    }
    for (const SessionMessage& message : effects.session_messages) {
      if (message.stream != stream_) continue;
      if (message.welcome) session_ = message.welcome->session_id;
      for (const Delivery& delivery : message.deliveries) held_[delivery.task] = delivery.token;
    }
  }
  void Do(Command command) { Take(driver_.Step(std::move(command))); }

  void Connect() {
    OpenSessionCommand open;
    open.stream = stream_ = driver_.NewTicket();
    open.session_id = session_.empty() ? "s" : session_;
    open.resume = !session_.empty();
    open.worker_name = "w";
    open.queues = {"a", "b"};
    open.types = {{"x", 0}, {"y", 0}};
    open.concurrency = 4;
    for (const auto& [task, token] : held_) open.held_tasks.push_back({task, token, true});
    Do(open);
    SessionInput input;
    input.stream = stream_;
    input.credit = 6;
    Do(input);
  }

  void Enqueue() {
    EnqueueCommand enqueue;
    enqueue.ticket = driver_.NewTicket();
    if (Draw(2) == 0) enqueue.request_id = {7, random_()};
    std::vector<std::string> specs;
    const int count = 1 + Draw(12);
    for (int i = 0; i < count; ++i) {
      NewTask task;
      task.queue = Draw(3) ? "a" : "b";
      task.type = Draw(3) ? "x" : "y";
      task.priority = static_cast<uint8_t>(Draw(2) * 4);
      if (Draw(4) == 0) task.run_at = now() + (Draw(3) ? 3'600 : 5) * kSecond;
      if (Draw(12) == 0) task.expire_at = now() + (20 + Draw(600)) * kSecond;
      if (Draw(8) == 0) task.life_timeout = (20 + Draw(600)) * kSecond;
      if (Draw(4) == 0) task.key = Draw(2) ? "f1" : "f2";
      if (Draw(5) == 0) task.group = Draw(2) ? "g1" : "g2";
      if (Draw(6) == 0) task.unique_key = Draw(2) ? "k1" : "k2";
      if (!task.unique_key.empty() && Draw(2)) task.unique_window = kHour;
      specs.push_back(Spec(std::string(task.queue), std::string(task.type)));
      enqueue.tasks.push_back(task);
    }
    for (size_t i = 0; i < specs.size(); ++i) enqueue.tasks[i].spec = specs[i];
    Do(enqueue);
  }

  void Report() {
    SessionInput input;
    input.stream = stream_;
    input.frame_number = ++frame_;
    for (auto it = held_.begin(); it != held_.end();) {
      if (Draw(2) == 0) {
        input.starts.push_back({it->first, it->second});
        ++it;
        continue;
      }
      TaskOutcome outcome;
      outcome.task = it->first;
      outcome.token = it->second;
      const int way = Draw(8);
      outcome.kind = way == 0   ? OutcomeKind::kFailed
                     : way == 1 ? OutcomeKind::kRejected
                     : way == 2 ? OutcomeKind::kReleased
                                : OutcomeKind::kCompleted;
      outcome.error = {"E", "failed", ""};
      outcome.result = "result";
      input.outcomes.push_back(outcome);
      if (way < 3) input.progress_reports.push_back({it->first, it->second, 50, "half", "a checkpoint"});
      if (way == 3) input.log_reports.push_back({it->first, it->second, {{now(), "a line"}}});
      ++input.credit;
      it = held_.erase(it);
    }
    Do(input);
  }

  void Act() {
    switch (Draw(12)) {
      case 0:
      case 1:
      case 2:
      case 3:
        return Enqueue();
      case 4:
        if (tasks_.empty()) return;
        return Do(CancelTaskCommand{driver_.NewTicket(),
                                    tasks_[static_cast<size_t>(Draw(static_cast<int>(tasks_.size())))], "why not"});
      case 5:
        if (tasks_.empty()) return;
        return Do(
            RetryTaskCommand{driver_.NewTicket(), tasks_[static_cast<size_t>(Draw(static_cast<int>(tasks_.size())))]});
      case 6:
        return Take(driver_.Advance(Draw(8) * kSecond));
      case 7: {
        if (Draw(3) == 0) return Do(ReleaseKeyCommand{driver_.NewTicket(), Draw(2) ? "a" : "b", Draw(2) ? "f1" : "f2"});
        if (Draw(6) != 0) return;
        QueueCommand queue;
        queue.ticket = driver_.NewTicket();
        queue.queue = "b";
        queue.verb = QueueVerb::kPurge;
        return Do(queue);
      }
      case 8:
        if (Draw(8) != 0) return;
        driver_.Crash();
        return Connect();
      default:
        return Report();
    }
  }

  std::mt19937_64 random_;
  CoreDriver driver_;
  Ticket stream_;
  std::string session_;
  uint64_t frame_ = 0;
  std::vector<TaskId> tasks_;
  std::map<TaskId, FencingToken> held_;
};

using Drop = std::function<bool(Family family, std::string_view key)>;

std::unique_ptr<MemoryStore> CopyWithout(const StoreReader& from, const Drop& drop) {
  auto to = std::make_unique<MemoryStore>();
  CommitBatch batch;
  for (int family = 0; family < kFamilyCount; ++family) {
    EXPECT_TRUE(from.Scan(static_cast<Family>(family), "", "",
                          [&](std::string_view key, std::string_view value) {
                            if (!drop(static_cast<Family>(family), key)) {
                              batch.Put(static_cast<Family>(family), key, value);
                            }
                            return true;
                          })
                    .ok());
  }
  EXPECT_TRUE(to->Commit(batch, true).ok());
  return to;
}

class Heard final : public RebuildListener {
 public:
  void OnSaved(const SavedTask& task) override {
    EXPECT_TRUE(saved.emplace(task.task, task.state).second) << "saved twice: " << task.task.ToString();
    if (!task.note.empty()) notes[task.task] = std::string(task.note);
  }
  void OnLost(const LostTask& task) override {
    if (task.whole_block) {
      lost_blocks.insert(task.task.block());
    } else {
      lost.insert(task.task);
    }
  }

  std::map<TaskId, State> saved;
  std::map<TaskId, std::string> notes;
  std::set<TaskId> lost;
  std::set<uint64_t> lost_blocks;
};

// Every task that is not finished, by the store's own state.
std::map<TaskId, State> LivingTasks(const StoreReader& store, Time now) {
  CoreOptions options = World::Options();
  options.numbers_begin = kNever;
  options.paused = true;
  auto core = BrokerCore::Recover(options, store, {now, 0});
  EXPECT_TRUE(core.ok()) << core.status();
  std::map<TaskId, State> living;
  auto ask = [&](TaskId task) {
    std::vector<Command> commands;
    commands.emplace_back(GetTaskCommand{Ticket(1), task});
    const CoreBatch batch = (*core)->Step(absl::MakeSpan(commands), {now, 0});
    const TaskSnapshot snapshot = std::get<TaskReply>(batch.effects.replies.at(0).value).snapshot;
    const bool waits =
        snapshot.place == TaskSnapshot::Place::kRunning || snapshot.state == State::kDead ||
        (snapshot.place != TaskSnapshot::Place::kFinished && snapshot.place != TaskSnapshot::Place::kGone &&
         snapshot.state != State{} && !IsFinal(snapshot.state));
    if (waits) living[task] = snapshot.state;
  };
  const auto each_block = [&](Family family) {
    EXPECT_TRUE(store
                    .Scan(family, "", "",
                          [&](std::string_view key, std::string_view value) {
                            Decoder decoder(key.substr(1));
                            const uint64_t number = decoder.Big64();
                            if (family == Family::kTasks && decoder.Byte() != 'B') return true;
                            auto block = TaskBlock::Parse(std::string(OpenValue(key, value).value()));
                            EXPECT_TRUE(block.ok());
                            for (uint32_t slot = 0; slot < (*block)->slot_count(); ++slot) {
                              ask(TaskId(0, family == Family::kTasks ? TaskId(number).block() : number, slot));
                            }
                            return true;
                          })
                    .ok());
  };
  each_block(Family::kBlocks);
  each_block(Family::kTasks);
  return living;
}

// Runs a broker on the store until nothing is left to do. The tasks that it handed out.
std::set<TaskId> Drain(Store& store, Time wall) {
  CoreOptions options = World::Options();
  CoreNow now{wall, 0};
  auto core = BrokerCore::Recover(options, store, now);
  EXPECT_TRUE(core.ok()) << core.status();
  std::set<TaskId> delivered;
  std::map<TaskId, FencingToken> held;
  auto step = [&](std::vector<Command> commands) {
    CoreBatch batch = (*core)->Step(absl::MakeSpan(commands), now);
    if (batch.sequence != 0) {
      EXPECT_TRUE(store.Commit(batch.writes, true).ok());
      (*core)->Committed();
    }
    for (const SessionMessage& message : batch.effects.session_messages) {
      for (const Delivery& delivery : message.deliveries) {
        EXPECT_TRUE(delivered.insert(delivery.task).second) << "delivered twice: " << delivery.task.ToString();
        held[delivery.task] = delivery.token;
      }
    }
  };
  QueueCommand unblock;  // dead tasks give up their keys
  unblock.ticket = Ticket(2);
  unblock.verb = QueueVerb::kUpdate;
  unblock.queue = "b";
  unblock.settings.dead_blocks_key = false;
  step({Command(unblock)});
  OpenSessionCommand open;
  open.stream = Ticket(1);
  open.session_id = "drain";
  open.worker_name = "w";
  open.queues = {"a", "b"};
  for (int i = 1; i <= 3; ++i) open.queues.push_back(fmt::format("recovered-{}", i));
  open.types = {{"x", 0}, {"y", 0}, {"recovered-1", 0}, {"recovered-2", 0}};
  open.concurrency = 100;
  step({Command(open)});
  for (int round = 0; round < 200; ++round) {
    SessionInput input;
    input.stream = Ticket(1);
    input.credit = 100;
    for (const auto& [task, token] : held) {
      TaskOutcome outcome;
      outcome.task = task;
      outcome.token = token;
      input.outcomes.push_back(outcome);
    }
    held.clear();
    now.wall += kMinute;
    step({Command(input)});
  }
  EXPECT_EQ(Recount(options, store), "");
  return delivered;
}

int Seeds() {
  const char* wanted = std::getenv("PENSTOCK_SEEDS");
  return wanted != nullptr ? std::atoi(wanted) : 20;
}

TEST(RebuildTest, WholeStoreKeepsEveryTask) {
  for (int seed = 1; seed <= Seeds(); ++seed) {
    SCOPED_TRACE(seed);
    World world(static_cast<uint64_t>(seed));
    const std::map<TaskId, State> living = LivingTasks(world.store(), world.now());
    MemoryStore to;
    Heard heard;
    const auto report = RebuildStore(World::Options(), world.store(), world.now(), &to, &heard);
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_TRUE(report->state_known) << report->state_problem;
    EXPECT_EQ(Recount(World::Options(), to), "");
    EXPECT_TRUE(heard.lost.empty() && heard.lost_blocks.empty());
    std::set<TaskId> before, after;
    for (const auto& [task, state] : living) before.insert(task);
    for (const auto& [task, state] : heard.saved) after.insert(task);
    EXPECT_EQ(before, after);
    // Whoever ran says so, and nobody else has lost anything.
    for (const auto& [task, state] : living) EXPECT_EQ(state == State::kRunning, heard.notes.contains(task));
    const std::set<TaskId> runs = Drain(to, world.now());
    for (const TaskId task : runs) EXPECT_NE(heard.saved[task], State::kDead);
    // Nothing stays behind: what is not run has expired meanwhile.
    const std::map<TaskId, State> left = LivingTasks(to, world.now() + 200 * kMinute);
    for (const auto& [task, state] : left) EXPECT_EQ(state, State::kDead) << task.ToString();
    for (const auto& [task, state] : heard.saved) EXPECT_TRUE(runs.contains(task) || left.contains(task));
    if (::testing::Test::HasFailure()) return;
  }
}

TEST(RebuildTest, WhateverIsMissingTheRestIsWholeAndNothingIsLostSilently) {
  for (int seed = 1; seed <= 3 * Seeds(); ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    World world(static_cast<uint64_t>(seed));
    const std::map<TaskId, State> living = LivingTasks(world.store(), world.now());
    // In turn: a few values anywhere, half of one family, the whole state, the end of the log.
    const int way = seed % 5;
    const auto family = static_cast<Family>(world.Draw(kFamilyCount));
    std::set<uint64_t> dropped_blocks;
    auto damaged = CopyWithout(world.store(), [&](Family in, std::string_view key) {
      bool drop = false;
      switch (way) {
        case 0:
          drop = world.Draw(30) == 0;
          break;
        case 1:
          drop = in == family && world.Draw(2) == 0;
          break;
        case 2:
          drop = (in == Family::kMeta && key[1] == 'c') || in == Family::kDeltas;
          break;
        case 3:
          drop = in == Family::kDeltas && world.Draw(4) == 0;
          break;
        default:
          drop = in == Family::kIndex || (in == Family::kMeta && key.substr(1) == "applied");
      }
      if (!drop) return false;
      Decoder decoder(key.substr(1));
      const uint64_t number = decoder.Big64();
      if (in == Family::kBlocks) dropped_blocks.insert(number);
      if (in == Family::kTasks && decoder.Byte() == 'B') dropped_blocks.insert(TaskId(number).block());
      return true;
    });
    MemoryStore to;
    Heard heard;
    const auto report = RebuildStore(World::Options(), *damaged, world.now(), &to, &heard);
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_EQ(Recount(World::Options(), to), "");
    for (const auto& [task, state] : living) {
      if (heard.saved.contains(task) || heard.lost.contains(task)) continue;
      // The salvage, which came before, has named the block.
      EXPECT_TRUE(dropped_blocks.contains(task.block())) << "not a word about " << task.ToString();
    }
    for (const TaskId task : heard.lost) EXPECT_FALSE(heard.saved.contains(task));
    for (const TaskId task : Drain(to, world.now())) {
      EXPECT_TRUE(heard.saved.contains(task)) << task.ToString() << " runs and was not named";
    }
    if (::testing::Test::HasFailure()) return;
  }
}

TEST(RebuildTest, LostCheckpointDoesNotBringCompletedTasksBack) {
  World world(3);
  const std::map<TaskId, State> living = LivingTasks(world.store(), world.now());
  auto damaged = CopyWithout(world.store(), [](Family family, std::string_view key) {
    return (family == Family::kMeta && key[1] == 'c') || family == Family::kDeltas;
  });
  MemoryStore to;
  Heard heard;
  const auto report = RebuildStore(World::Options(), *damaged, world.now(), &to, &heard);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_FALSE(report->state_known);
  EXPECT_THAT(report->state_problem, HasSubstr("missing"));
  // What was purged may come back; what history or a record calls finished does not.
  int finished = 0;
  ASSERT_TRUE(world.store()
                  .Scan(Family::kHistory, "", "",
                        [&](std::string_view key, std::string_view value) {
                          return VisitHistory(OpenValue(key, value).value(),
                                              [&](const FinishedTask& task) {
                                                ++finished;
                                                EXPECT_FALSE(heard.saved.contains(task.task)) << task.task.ToString();
                                                return true;
                                              })
                              .ok();
                        })
                  .ok());
  EXPECT_GT(finished, 0);
  for (const auto& [task, state] : living) EXPECT_TRUE(heard.saved.contains(task)) << task.ToString();
}

TEST(RebuildTest, NumbersGoOnAboveAllThatWereSeen) {
  World world(5);
  const AuditReport before = AuditStore(World::Options(), world.store());
  MemoryStore to;
  Heard heard;
  const auto report = RebuildStore(World::Options(), world.store(), world.now(), &to, &heard);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->applied.epoch, EpochOfRestore(world.now(), World::Options().numbers_begin, before.applied.epoch));
  EXPECT_EQ(report->applied.sequence, before.applied.sequence + 1);
  uint64_t last_block = 0;
  EXPECT_TRUE(world.store()
                  .ScanBackward(Family::kBlocks, "", "",
                                [&](std::string_view key, std::string_view) {
                                  Decoder decoder(key.substr(1));
                                  last_block = decoder.Big64();
                                  return false;
                                })
                  .ok());
  auto core = BrokerCore::Recover(World::Options(), to, {world.now(), 0});
  ASSERT_TRUE(core.ok()) << core.status();
  EXPECT_GT((*core)->epoch(), before.applied.epoch + kRestoreLeap);
  std::vector<Command> commands;
  EnqueueCommand enqueue;
  enqueue.ticket = Ticket(1);
  NewTask task;
  task.queue = "a";
  task.type = "x";
  enqueue.tasks.push_back(task);
  commands.emplace_back(enqueue);
  CoreBatch batch = (*core)->Step(absl::MakeSpan(commands), {world.now(), 0});
  const auto reply = std::get<EnqueueReply>(batch.effects.replies.at(0).value);
  EXPECT_GT(reply.results.at(0).task.block(), last_block);
}

TEST(RebuildTest, EmptyStoreIsRebuiltEmpty) {
  MemoryStore from, to;
  Heard heard;
  const auto report = RebuildStore(World::Options(), from, 1'800'000'000 * kSecond, &to, &heard);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->saved + report->lost, 0u);
  EXPECT_EQ(Recount(World::Options(), to), "");
}

}  // namespace
}  // namespace penstock::broker
