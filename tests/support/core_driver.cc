#include "tests/support/core_driver.h"

#include <iterator>
#include <utility>

#include "gtest/gtest.h"
#include "tests/support/recount.h"

namespace penstock::broker {

void AppendEffects(Effects more, Effects* effects) {
  auto append = [](auto& from, auto& to) {
    to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
  };
  append(more.replies, effects->replies);
  append(more.session_messages, effects->session_messages);
  append(more.watch_events, effects->watch_events);
  append(more.task_events, effects->task_events);
  append(more.facts, effects->facts);
  effects->needs_sync = effects->needs_sync || more.needs_sync;
}

CoreDriver::CoreDriver(CoreOptions options)
    : options_([&] {
        options.numbers_begin = kNever;
        return std::move(options);
      }()) {
  Recover();
}

void CoreDriver::Recover() {
  auto core = BrokerCore::Recover(options_, *store_, now_);
  ASSERT_TRUE(core.ok()) << core.status();
  core_ = *std::move(core);
  Step();
}

Effects CoreDriver::Step(std::vector<Command> commands, bool keep_in_flight) {
  CoreBatch made = core_->Step(absl::MakeSpan(commands), now_);
  Batch batch;
  batch.writes_something = made.sequence != 0;
  batch.writes = std::move(made.writes);
  batch.effects = std::move(made.effects);
  if (batch.writes_something && check_every_ > 0 && ++since_check_ >= check_every_) {
    since_check_ = 0;
    batch.state = core_->DebugState() + "\n";  // never empty
  }
  in_flight_.push_back(std::move(batch));
  Effects effects;
  while (!keep_in_flight && in_flight_.size() > depth_) CommitOldest(&effects);
  return effects;
}

Effects CoreDriver::Step(Command command) {
  std::vector<Command> commands;
  commands.push_back(std::move(command));
  return Step(std::move(commands));
}

void CoreDriver::CommitOldest(Effects* effects) {
  Batch batch = std::move(in_flight_.front());
  in_flight_.pop_front();
  if (batch.writes_something) {
    EXPECT_TRUE(store_->Commit(batch.writes, true).ok());
    core_->Committed();
    if (!batch.state.empty()) {
      EXPECT_EQ(batch.state, RecoveredState() + "\n") << "a recovery (second) does not give the core's state (first)";
      EXPECT_EQ(Recount(), "");
    }
  }
  AppendEffects(std::move(batch.effects), effects);
}

Effects CoreDriver::CommitAll() {
  Effects effects;
  while (!in_flight_.empty()) CommitOldest(&effects);
  return effects;
}

Effects CoreDriver::Advance(Span by) {
  now_.wall += by;
  now_.elapsed += by;
  Effects all;
  do {
    AppendEffects(Step(), &all);
  } while (core_->next_deadline().wall == 0 && core_->next_deadline().elapsed == 0);
  return all;
}

void CoreDriver::Crash(size_t commits_kept) {
  for (; !in_flight_.empty(); in_flight_.pop_front()) {
    if (!in_flight_.front().writes_something) continue;
    if (commits_kept == 0) continue;
    --commits_kept;
    EXPECT_TRUE(store_->Commit(in_flight_.front().writes, true).ok());
  }
  core_.reset();
  now_.elapsed = 0;
  Recover();
}

std::string CoreDriver::RecoveredState() const {
  auto recovered = BrokerCore::Recover(options_, *store_, now_);
  return recovered.ok() ? (*recovered)->DebugState() : std::string(recovered.status().message());
}

std::string CoreDriver::Recount() const { return broker::Recount(options_, *store_); }

}  // namespace penstock::broker
