#ifndef PENSTOCK_BROKER_STORAGE_KEYS_H_
#define PENSTOCK_BROKER_STORAGE_KEYS_H_

// The keys of everything stored. Numbers are big-endian, so that keys sort like them; the first byte is the partition.
//
//   kMeta     "applied"                                 Applied (storage/applied.h)
//             'q' queue:4                               QueueRecord
//             't' type:4                                TypeRecord
//             's' session:8                             SessionRecord
//             'd' name                                  ScheduleRecord
//             'n' name                                  ScheduleProgressRecord
//             'l' name                                  ThrottleRecord
//             'b' id                                    BulkJobRecord
//             'c' sequence:8 chunk:4                    a piece of a checkpoint (core/checkpoint.h)
//   kBlocks   block:8                                   TaskBlock (storage/task_block.h)
//   kDeltas   sequence:8                                Delta (core/state_codec.h)
//   kTasks    task:8 'R'                                TaskRecord
//             task:8 'A' attempt:4                      AttemptRecord
//             task:8 'L' record:4                       LogRecord
//             task:8 'O'                                ResultRecord
//             task:8 'S'                                SpecRecord
//             task:8 'P'                                CheckpointRecord
//             task(block, slot 0):8 'B'                 a compacted TaskBlock
//   kIndex    'T' lane:4 due:8 task:8                   a timer; value: varint number of tasks in consecutive timed
//   slots, from task on
//             'E' time:8 block:8                        a block with a task that expires then
//             'U' queue:4 key                           UniqueRecord
//             'Q' request id:16                         RequestRecord
//             'D' queue:4 state:1 end:8 task:8          finished tasks that have a TaskRecord
//             'R' forget:8 task:8                       when a TaskRecord and all that belongs to it are deleted
//             'F' block:8                               HistoryAddresses of a finished block's tasks
//             'X' bucket:4 sequence:8                   keys of kIndex to delete when the bucket has passed
//             'S' lane:4 segment:8                      a piece of a long lane (core/state_codec.h)
//   kHistory  bucket:4 sequence:8                       finished tasks of one commit (storage/history.h)
//
// A bucket is the minute, since 1970, at whose end its content is forgotten.

#include <cstdint>
#include <string>
#include <string_view>

#include "broker/core/core_types.h"
#include "common/coding.h"

namespace penstock::broker {

class Keys {
 public:
  explicit Keys(uint8_t partition) : partition_(partition) {}

  uint8_t partition() const { return partition_; }

  std::string Queue(QueueId queue) const { return Make('q', queue.value(), 4); }
  std::string Type(TypeId type) const { return Make('t', type.value(), 4); }
  std::string Session(SessionNumber session) const { return Make('s', session.value(), 8); }
  std::string Schedule(std::string_view name) const { return First('d') + std::string(name); }
  std::string ScheduleProgress(std::string_view name) const { return First('n') + std::string(name); }
  std::string Throttle(std::string_view name) const { return First('l') + std::string(name); }
  std::string BulkJob(std::string_view id) const { return First('b') + std::string(id); }
  std::string CheckpointChunk(uint64_t sequence, uint32_t chunk) const { return Make('c', sequence, 8, chunk, 4); }

  std::string Block(BlockId block) const {
    std::string key(1, static_cast<char>(partition_));
    PutBig64(&key, block.value());
    return key;
  }
  std::string Delta(uint64_t sequence) const { return Block(BlockId(sequence)); }

  std::string TaskRecord(TaskId task) const { return Task(task, 'R'); }
  std::string Attempt(TaskId task, uint32_t number) const {
    std::string key = Task(task, 'A');
    PutBig32(&key, number);
    return key;
  }
  std::string Log(TaskId task, uint32_t record) const {
    std::string key = Task(task, 'L');
    PutBig32(&key, record);
    return key;
  }
  std::string Result(TaskId task) const { return Task(task, 'O'); }
  std::string Spec(TaskId task) const { return Task(task, 'S'); }
  std::string Checkpoint(TaskId task) const { return Task(task, 'P'); }
  std::string CompactedBlock(BlockId block) const { return Task(TaskId(partition_, block.value(), 0), 'B'); }

  std::string Timer(LaneId lane, Time due, TaskId task) const {
    std::string key = Make('T', lane.value(), 4, static_cast<uint64_t>(due), 8);
    PutBig64(&key, task.value());
    return key;
  }
  std::string Expiry(Time time, BlockId block) const {
    return Make('E', static_cast<uint64_t>(time), 8, block.value(), 8);
  }
  std::string Unique(QueueId queue, std::string_view unique_key) const {
    std::string key = Make('U', queue.value(), 4);
    key += unique_key;
    return key;
  }
  std::string Request(uint64_t high, uint64_t low) const { return Make('Q', high, 8, low, 8); }
  std::string Done(QueueId queue, State state, Time end, TaskId task) const {
    std::string key = DonePrefix(queue, state);
    PutBig64(&key, static_cast<uint64_t>(end));
    PutBig64(&key, task.value());
    return key;
  }
  std::string DonePrefix(QueueId queue, State state) const {
    return Make('D', queue.value(), 4, static_cast<uint64_t>(state), 1);
  }
  std::string Retention(Time forget, TaskId task) const {
    return Make('R', static_cast<uint64_t>(forget), 8, task.value(), 8);
  }
  std::string Finishes(BlockId block) const { return Make('F', block.value(), 8); }
  std::string ExpiryList(uint32_t bucket, uint64_t sequence) const { return Make('X', bucket, 4, sequence, 8); }
  std::string Segment(LaneId lane, uint64_t segment) const { return Make('S', lane.value(), 4, segment, 8); }

  std::string History(uint32_t bucket, uint64_t sequence) const {
    std::string key(1, static_cast<char>(partition_));
    PutBig32(&key, bucket);
    PutBig64(&key, sequence);
    return key;
  }

  // The first key of a kind, and the first that is past it: bounds of a scan.
  std::string First(char kind) const { return {static_cast<char>(partition_), kind}; }
  std::string Past(char kind) const { return {static_cast<char>(partition_), static_cast<char>(kind + 1)}; }
  // The first key past everything of a lane's timers or segments.
  std::string PastLane(char kind, LaneId lane) const { return Make(kind, uint64_t{lane.value()} + 1, 4); }
  std::string FirstOfLane(char kind, LaneId lane) const { return Make(kind, lane.value(), 4); }

 private:
  std::string Make(char kind, uint64_t a, int a_bytes) const {
    std::string key = First(kind);
    PutBigEndian(&key, a, a_bytes);
    return key;
  }
  std::string Make(char kind, uint64_t a, int a_bytes, uint64_t b, int b_bytes) const {
    std::string key = Make(kind, a, a_bytes);
    PutBigEndian(&key, b, b_bytes);
    return key;
  }
  std::string Task(TaskId task, char kind) const {
    std::string key(1, static_cast<char>(partition_));
    PutBig64(&key, task.value());
    key.push_back(kind);
    return key;
  }

  const uint8_t partition_;
};

// The key of a timer, taken apart.
struct TimerKey {
  Time due = 0;
  TaskId task;
};
inline TimerKey ParseTimerKey(std::string_view key) {
  Decoder decoder(key);
  decoder.Raw(1 + 1 + 4);
  TimerKey timer;
  timer.due = static_cast<Time>(decoder.Big64());
  timer.task = TaskId(decoder.Big64());
  return timer;
}

// The bucket whose end is the first at or after `time`.
inline uint32_t BucketOf(Time time) {
  const Time minute = (time + kMinute - 1) / kMinute;
  return minute <= 0 ? 0 : minute >= UINT32_MAX ? UINT32_MAX : static_cast<uint32_t>(minute);
}
inline Time EndOfBucket(uint32_t bucket) { return bucket * kMinute; }

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_STORAGE_KEYS_H_
