#include "broker/core/state_codec.h"

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "broker/core/debug_state.h"
#include "gtest/gtest.h"

namespace penstock::broker {
namespace {

// Makes random changes to a state, as the parts of the core would, and keeps the segments that lanes store away.
class Changer {
 public:
  explicit Changer(uint64_t seed) : random_(seed) {
    for (uint32_t id = 1; id <= 2; ++id) state.AddQueue(QueueId(id), "q" + std::to_string(id));
  }

  void Batch() {
    ++sequence;
    for (int i = Draw(30); i > 0; --i) Change();
  }

  // What a recovery starts from: queues have records of their own.
  static void AddQueues(CoreState* fresh) {
    for (uint32_t id = 1; id <= 2; ++id) fresh->AddQueue(QueueId(id), "q" + std::to_string(id));
  }

  absl::StatusOr<std::vector<FreshRun>> Segment(LaneId lane, uint64_t segment, bool fifo) const {
    auto found = segments_.find({lane, segment});
    if (found == segments_.end()) return absl::DataLossError("no such segment");
    return DecodeRuns(found->second, fifo);
  }

  CoreState state{0};
  uint64_t sequence = 0;

 private:
  int Draw(int n) { return static_cast<int>(random_() % static_cast<uint64_t>(n)); }
  Lane* AnyLane() {
    LaneKey key{QueueId(static_cast<uint32_t>(1 + Draw(2))), TypeId(1), static_cast<uint8_t>(Draw(2))};
    if (Draw(3) == 0) key = LaneKey::Fifo(key.queue, 1 + static_cast<uint64_t>(Draw(2)));
    if (!key.fifo && Draw(3) == 0) key.name = 7;
    Lane* lane = state.FindLane(key);
    return lane != nullptr ? lane : state.CreateLane(key, key.fifo ? static_cast<uint64_t>(Draw(2)) : key.name);
  }
  BlockState* AnyBlock() {
    if (state.blocks().empty() || Draw(4) == 0) return state.TouchBlock(BlockId(state.next().block++), 70);
    auto it = state.blocks().begin();
    std::advance(it, Draw(static_cast<int>(state.blocks().size())));
    return it->second.get();
  }
  Lease* AnyLease() {
    std::vector<TaskId> tasks;
    state.ForEachLease([&](const Lease& lease) { tasks.push_back(lease.task); });
    return tasks.empty() ? nullptr : state.FindLease(tasks[static_cast<size_t>(Draw(static_cast<int>(tasks.size())))]);
  }

  void Change() {
    switch (Draw(14)) {
      case 0:
        state.Count(state.FindQueue(QueueId(1)), static_cast<Counter>(Draw(kCounterCount)), Draw(5));
        break;
      case 1:
      case 2:
      case 3:
        for (int i = Draw(300); i >= 0; --i) {
          Lane* lane = AnyLane();
          state.AppendRun(lane,
                          {BlockId(state.next().block++), 1'000 + Draw(1'000), static_cast<uint16_t>(Draw(3)), 0,
                           lane->key.fifo ? FreshRun::Kind(TypeId(2), 7) : 0},
                          static_cast<uint32_t>(1 + Draw(9)));
          if (!lane->runs.ShouldSpill()) continue;
          const uint64_t segment = lane->runs.segment_end();
          segments_[{lane->id, segment}] = EncodeRuns(state.SpillBack(lane), lane->key.fifo);
        }
        break;
      case 4:
        for (int i = Draw(400); i >= 0; --i) TakeRun(AnyLane());
        break;
      case 5:
        state.ChangeTimed(AnyLane(), 3, Draw(3));
        break;
      case 6:
        if (Lane* lane = AnyLane(); lane->key.fifo) {
          const KeyHold hold{TaskId(0, static_cast<uint64_t>(1 + Draw(99)), 3), Draw(2) ? kNever : Draw(1'000)};
          state.SetHold(lane, Draw(2) ? std::optional<KeyHold>(hold) : std::nullopt);
        }
        state.SetDueCursor(AnyLane(), {Draw(1'000'000), TaskId(0, static_cast<uint64_t>(Draw(99)), 3)});
        break;
      case 7: {
        Lease lease;
        lease.task = TaskId(0, AnyBlock()->id.value(), static_cast<uint32_t>(Draw(70)));
        if (state.FindLease(lease.task) != nullptr) break;
        lease.token = FencingToken(++token_);
        lease.session = SessionNumber(static_cast<uint64_t>(1 + Draw(3)));
        lease.queue = QueueId(1);
        lease.type = TypeId(1);
        lease.fifo = Draw(2) != 0;
        lease.lane_name = lease.fifo || Draw(2) != 0 ? static_cast<uint64_t>(1 + Draw(3)) : 0;
        lease.attempt = static_cast<uint16_t>(1 + Draw(3));
        lease.exceptional = Draw(2) != 0;
        lease.create_time = 5;
        lease.start_time = Draw(100);
        state.AddLease(lease);
        break;
      }
      case 8:
        if (Lease* lease = AnyLease()) state.Start(lease, Draw(1'000));
        break;
      case 9:
        if (Lease* lease = AnyLease()) Draw(2) ? state.RequestCancel(lease) : state.MakeExceptional(lease);
        break;
      case 10:
        if (Lease* lease = AnyLease(); lease != nullptr && !FreshLease(lease->task)) {
          const TaskId task = lease->task;
          BlockState* block = state.FindBlock(BlockId(task.block()));
          if (block != nullptr && block->alive <= 2) break;
          state.End(task, {true, Draw(2) != 0, static_cast<uint32_t>(Draw(3))}, block, sequence);
        }
        break;
      case 11: {
        BlockState* block = AnyBlock();
        state.MarkGone(block, static_cast<uint32_t>(Draw(70)));
        if (Draw(5) == 0) state.MarkCompacted(block);
        break;
      }
      case 12:
        // Commands, so purges, come before the janitor's turn.
        if (Draw(6) == 0 && state.changes().purge_operations.empty()) state.PurgeLane(AnyLane());
        break;
      default:
        // The janitor rests in a batch that purges.
        for (int i = Draw(200); i >= 0 && state.changes().purged_lanes.empty() && !state.purged_lanes().empty(); --i) {
          const auto& purged = state.purged_lanes().back();
          if (!purged.runs.empty()) {
            state.PopPurgedRun();
          } else if (purged.segment_begin < purged.segment_end) {
            state.LoadPurgedSegment(*Segment(purged.lane, purged.segment_begin, purged.fifo));
          } else {
            state.RemovePurgedLane();
          }
        }
    }
  }
  // Leased in this batch: nothing ends in the batch that delivers it.
  bool FreshLease(TaskId task) {
    const auto& leased = state.changes().leased;
    return std::any_of(leased.begin(), leased.end(), [&](uint32_t index) { return state.LeaseAt(index).task == task; });
  }
  void TakeRun(Lane* lane) {
    if (lane->runs.has_front()) {
      if (Draw(3) == 0) {
        state.SetFrontPosition(lane, static_cast<uint16_t>(1 + Draw(5)));
      } else {
        state.PopRun(lane);
      }
    } else if (lane->runs.segment_begin() < lane->runs.segment_end()) {
      state.LoadSegment(lane, *Segment(lane->id, lane->runs.segment_begin(), lane->key.fifo));
    }
  }

  std::mt19937_64 random_;
  std::map<std::pair<LaneId, uint64_t>, std::string> segments_;
  uint64_t token_ = 0;
};

TEST(StateCodecTest, ReplayedDeltasGiveTheSameStateAndSoDoCheckpoints) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    Changer changer(seed);
    CoreState replayed(0);
    Changer::AddQueues(&replayed);
    auto read_segment = [&](LaneId lane, uint64_t segment, bool fifo) { return changer.Segment(lane, segment, fifo); };
    for (int batch = 0; batch < 100; ++batch) {
      changer.Batch();
      const std::string delta = EncodeDelta(changer.state);
      changer.state.ClearChanges();
      const absl::Status status = ApplyDelta(delta, changer.sequence, read_segment, &replayed);
      ASSERT_TRUE(status.ok()) << status;
      EXPECT_TRUE(replayed.changes().empty()) << "a replay leaves nothing to be stored";
      const std::string checkpoint = EncodeCheckpoint(changer.state);
      ASSERT_EQ(RenderState(changer.state), RenderState(replayed)) << "batch " << batch;
      ASSERT_EQ(checkpoint, EncodeCheckpoint(replayed)) << "batch " << batch;
      if (batch % 10 != 0) continue;
      CoreState loaded(0);
      Changer::AddQueues(&loaded);
      auto no_segments = [](LaneId, uint64_t, bool) -> absl::StatusOr<std::vector<FreshRun>> {
        return absl::DataLossError("none");
      };
      ASSERT_TRUE(ApplyDelta(checkpoint, changer.sequence, no_segments, &loaded).ok());
      ASSERT_EQ(RenderState(changer.state), RenderState(loaded));
      ASSERT_EQ(checkpoint, EncodeCheckpoint(loaded));
    }
  }
}

TEST(StateCodecTest, BrokenBytesAreDataLossNotACrash) {
  Changer changer(3);
  for (int batch = 0; batch < 10; ++batch) changer.Batch();
  auto read_segment = [&](LaneId lane, uint64_t segment, bool fifo) { return changer.Segment(lane, segment, fifo); };
  for (const std::string& body : {EncodeDelta(changer.state), EncodeCheckpoint(changer.state)}) {
    std::mt19937_64 random(5);
    for (int i = 0; i < 2'000; ++i) {
      std::string broken = body;
      if (i % 2 == 0) {
        broken.resize(random() % body.size());
      } else {
        broken[random() % body.size()] = static_cast<char>(random());
      }
      CoreState state(0);
      Changer::AddQueues(&state);
      (void)ApplyDelta(broken, 1, read_segment, &state);  // an error or another state, never undefined behaviour
    }
  }
}

TEST(StateCodecTest, RunsComeBack) {
  const std::vector<FreshRun> runs = {
      {BlockId(1), 2, 3, 4, 0}, {BlockId(1ull << 41), kNever, 65'535, 16'383, 0}, {BlockId(0), -1, 0, 0, 0}};
  auto decoded = DecodeRuns(EncodeRuns(runs, false), false);
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(*decoded, runs);
  EXPECT_FALSE(DecodeRuns("\x05", false).ok());
  const std::vector<FreshRun> typed = {{BlockId(1), 2, 3, 4, FreshRun::Kind(TypeId(FreshRun::kTypesMax), 9)}};
  auto decoded_typed = DecodeRuns(EncodeRuns(typed, true), true);
  ASSERT_TRUE(decoded_typed.ok());
  EXPECT_EQ(*decoded_typed, typed);
  EXPECT_EQ(decoded_typed->front().type(), TypeId(FreshRun::kTypesMax));
  EXPECT_EQ(decoded_typed->front().priority(), 9);
}

// Checksums keep such records away; should one come all the same, it must not be written behind the end of anything.
TEST(StateCodecTest, WhatDoesNotFitIsDataLoss) {
  auto apply = [](const std::string& sections) {
    CoreState state(0);
    Changer::AddQueues(&state);
    return ApplyDelta(
        std::string("\1\1\1\1\1") + sections, 7,
        [](LaneId, uint64_t, bool) -> absl::StatusOr<std::vector<FreshRun>> { return absl::DataLossError("none"); },
        &state);
  };
  // Block 1 with 200 slots, with as many finished bits as said, none gone, no finishes.
  auto block = [](size_t words, const std::string& last) {
    std::string section = "\x0d\x01\xc8\x01" + std::string(1, '\0') + static_cast<char>(words);
    section += std::string((words - 1) * 8, '\0') + last;
    return section + std::string(2, '\0');
  };
  const std::string none(8, '\0');
  EXPECT_TRUE(apply(block(4, none)).ok());
  EXPECT_TRUE(absl::IsDataLoss(apply(block(1, none))));
  EXPECT_TRUE(absl::IsDataLoss(apply(block(5, none))));
  EXPECT_TRUE(absl::IsDataLoss(apply(block(4, "\x80" + std::string(7, '\0')))));  // slot 255
  EXPECT_TRUE(absl::IsDataLoss(apply(block(4, none) + block(4, none))));
  const std::string lane = "\x0c\1\1\1\5" + std::string(11, '\0');
  EXPECT_TRUE(apply(lane).ok());
  EXPECT_TRUE(absl::IsDataLoss(apply(lane + lane)));
}

}  // namespace
}  // namespace penstock::broker
