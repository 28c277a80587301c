#include "broker/core/checkpoint.h"

#include <algorithm>
#include <string>
#include <vector>

#include "broker/core/state_codec.h"
#include "common/status.h"
#include "fmt/format.h"

namespace penstock::broker {
namespace {

constexpr size_t kChunkBytes = 1 << 20;

}  // namespace

absl::Status Checkpointer::LoadCheckpoint(const StoreReader& store) {
  std::string body;
  absl::Status broken;
  RETURN_IF_ERROR(store.Scan(Family::kMeta, context_.keys.First('c'), context_.keys.Past('c'),
                             [&](std::string_view key, std::string_view value) {
                               Decoder decoder(key);
                               decoder.Raw(2);
                               const uint64_t sequence = decoder.Big64();
                               const uint32_t chunk = decoder.Big32();
                               auto opened = OpenValue(key, value);
                               if (!opened.ok()) {
                                 broken = opened.status();
                                 return false;
                               }
                               if (sequence != sequence_) {
                                 sequence_ = sequence;
                                 body.clear();
                                 chunks_ = 0;
                               }
                               if (chunk != chunks_) {
                                 broken =
                                     absl::DataLossError(fmt::format("chunk {} of the checkpoint is missing", chunks_));
                                 return false;
                               }
                               body += *opened;
                               ++chunks_;
                               return true;
                             }));
  RETURN_IF_ERROR(broken);
  checkpoint_bytes_ = body.size();
  if (chunks_ == 0) return absl::OkStatus();
  auto no_segments = [](LaneId, uint64_t, bool) -> absl::StatusOr<std::vector<FreshRun>> {
    return absl::DataLossError("a checkpoint reads a segment");
  };
  return Annotate(ApplyDelta(body, sequence_, no_segments, &context_.state), "checkpoint");
}

absl::Status Checkpointer::Recover(const StoreReader& store, uint64_t applied) {
  RETURN_IF_ERROR(LoadCheckpoint(store));
  auto read_segment = [&](LaneId lane, uint64_t segment, bool fifo) -> absl::StatusOr<std::vector<FreshRun>> {
    const std::string key = context_.keys.Segment(lane, segment);
    ASSIGN_OR_RETURN(std::string value, store.Get(Family::kIndex, key));
    ASSIGN_OR_RETURN(std::string_view body, OpenValue(key, value));
    return DecodeRuns(body, fifo);
  };
  uint64_t last = sequence_;
  absl::Status broken;
  RETURN_IF_ERROR(store.Scan(Family::kDeltas, context_.keys.Delta(sequence_ + 1), context_.keys.Delta(applied + 1),
                             [&](std::string_view key, std::string_view value) {
                               Decoder decoder(key);
                               decoder.Byte();
                               const uint64_t sequence = decoder.Big64();
                               auto body = OpenValue(key, value);
                               if (!body.ok()) {
                                 broken = body.status();
                               } else if (sequence != last + 1) {
                                 broken = absl::DataLossError(
                                     fmt::format("the deltas of commits {} to {} are missing", last + 1, sequence - 1));
                               } else {
                                 broken = Annotate(ApplyDelta(*body, sequence, read_segment, &context_.state),
                                                   fmt::format("delta of commit {}", sequence));
                                 delta_bytes_ += body->size();
                               }
                               last = sequence;
                               return broken.ok();
                             }));
  RETURN_IF_ERROR(broken);
  if (last != applied) {
    return absl::DataLossError(fmt::format("the deltas of commits {} to {} are missing", last + 1, applied));
  }
  return absl::OkStatus();
}

void Checkpointer::Store() {
  const size_t due = std::max(context_.options.checkpoint_bytes, 4 * checkpoint_bytes_);
  if (demanded_ || delta_bytes_ >= due) {
    StoreCheckpoint();
    return;
  }
  const std::string key = context_.keys.Delta(context_.sequence);
  const std::string body = EncodeDelta(context_.state);
  delta_bytes_ += body.size();
  context_.PutBody(Family::kDeltas, key, body);
}

void Checkpointer::StoreCheckpoint() {
  CoreState& state = context_.state;
  // Nothing before this checkpoint will be replayed: what only a replay could still need goes.
  std::vector<Lane*> empty;
  for (const auto& [id, lane] : state.lanes()) {
    LaneRuns& runs = lane->runs;
    while (runs.segment_deleted() < runs.segment_begin()) {
      context_.commit.Delete(Family::kIndex, context_.keys.Segment(id, runs.segment_deleted()));
      runs.set_segment_deleted(runs.segment_deleted() + 1);
    }
    if (lane->is_over()) empty.push_back(lane.get());
  }
  for (Lane* lane : empty) {
    context_.drop_lane(lane);
    state.RemoveLane(lane);
  }
  for (const auto& garbage : state.segment_garbage()) {
    const bool purged = std::any_of(state.purged_lanes().begin(), state.purged_lanes().end(),
                                    [&](const auto& lane) { return lane.lane == garbage.lane; });
    if (purged) continue;
    for (uint64_t segment = garbage.begin; segment < garbage.end; ++segment) {
      context_.commit.Delete(Family::kIndex, context_.keys.Segment(garbage.lane, segment));
    }
  }
  std::erase_if(state.segment_garbage(), [&](const auto& garbage) {
    return std::none_of(state.purged_lanes().begin(), state.purged_lanes().end(),
                        [&](const auto& lane) { return lane.lane == garbage.lane; });
  });

  const std::string body = EncodeCheckpoint(state);
  for (uint32_t chunk = 0; chunk < chunks_; ++chunk) {
    context_.commit.Delete(Family::kMeta, context_.keys.CheckpointChunk(sequence_, chunk));
  }
  context_.commit.DeleteRange(Family::kDeltas, context_.keys.Delta(sequence_), context_.keys.Delta(context_.sequence));
  sequence_ = context_.sequence;
  chunks_ = 0;
  for (size_t offset = 0; offset < body.size(); offset += kChunkBytes) {
    context_.PutBody(Family::kMeta, context_.keys.CheckpointChunk(sequence_, chunks_++),
                     std::string_view(body).substr(offset, kChunkBytes));
  }
  checkpoint_bytes_ = body.size();
  delta_bytes_ = 0;
  demanded_ = false;
}

}  // namespace penstock::broker
