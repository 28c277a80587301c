#ifndef PENSTOCK_BROKER_CORE_STATE_CODEC_H_
#define PENSTOCK_BROKER_CORE_STATE_CODEC_H_

// Deltas and checkpoints: CoreState as bytes. A delta holds what one batch changed, a checkpoint everything.
//
//   delta   = next section*
//   next    = varint(block) varint(lane) varint(queue) varint(type) varint(session)      the next numbers
//   section = tag:1 content:
//     1  queue counters   varint(queue) 10 x varint(counter)
//     2  lane changed     varint(lane) lane-key bytes(run operations) alive:1 [counts]
//                         counts: varint(fresh) varint(timed) varint(due) signed(cursor due) varint(cursor task)
//                         varint(front position), of a FIFO key: varint(task that holds it, or 0)
//                         [varint(0: it runs or blocks; else 1 + when it is due)]
//     3  lane removed     varint(lane)
//     4  block touched    varint(block) varint(slots)
//     5  slots gone       varint(n) n x signed(task - task before)
//     6  block compacted  varint(block)
//     7  leases           varint(n) n x (signed(task - before) signed(token - before) flags:1 [details])
//                         flags: 1 details as before, 2 exceptional, 4 started, 8 cancel requested
//                         details: varint(session) varint(queue) varint(type) priority varint(attempt) signed(create)
//                         signed(start)
//     8  leases updated   varint(n) n x (signed(task - before) flags:1 signed(start))
//     9  endings          varint(n) n x (signed(task - before) flags:1 [varint(bucket)])
//                         flags: 1 lease removed, 2 slot finished, 4 has history in bucket
//    10  lane purged      varint(lane) varint(first segment) varint(end segment) varint(timed) fifo:1 runs
//    11  purge progress   bytes(varint(lane) operation:1 ...)
//    15  meter            varint(throttle) scope:8 signed(when its bucket is full, in ns since 1970) signed(cooled
//                         until); both 0: it is forgotten
//    16  waiting bytes    varint(queue) varint(bytes of TaskSpecs that wait); behind the counters of queues that count
//                         or counted them
//   and in checkpoints only:
//    12  lane             varint(lane) lane-key varint(first segment) varint(end segment)
//                         varint(deleted segments) runs(first) runs(back) counts
//    13  block            varint(block) varint(slots) compacted:1 bits(finished) bits(gone) bytes(finishes)
//    14  segment garbage  varint(lane) varint(first) varint(end)
//   lane-key = varint(queue) varint(type) priority [group:8 of a FIFO key]
//   priority = byte:1 [name:8]      byte: priority, 0x10 a name follows, 0x20 it is that of a FIFO key, else of a group
//   runs = varint(n) n x (varint(block) signed(since) varint(entry) varint(position) [varint(kind), of a FIFO key])
//   bits = varint(words) words x 8 bytes

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "broker/core/core_state.h"

namespace penstock::broker {

std::string EncodeDelta(CoreState& state);
std::string EncodeCheckpoint(CoreState& state);

// A stored segment of a lane: `runs` as above.
std::string EncodeRuns(const std::vector<FreshRun>& runs, bool fifo);
absl::StatusOr<std::vector<FreshRun>> DecodeRuns(std::string_view body, bool fifo);

// Reads the segment of a lane; for replays of lanes with segments.
using SegmentReader =
    absl::FunctionRef<absl::StatusOr<std::vector<FreshRun>>(LaneId lane, uint64_t segment, bool fifo)>;

// Applies a delta, or a checkpoint to an empty state. `sequence` is the commit's. DataLoss if it is broken or does not
// fit.
absl::Status ApplyDelta(std::string_view body, uint64_t sequence, SegmentReader read_segment, CoreState* state);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_CORE_STATE_CODEC_H_
