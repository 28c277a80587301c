#ifndef PENSTOCK_BROKER_CORE_SCHEDULE_H_
#define PENSTOCK_BROKER_CORE_SCHEDULE_H_

// What a schedule is, for commands, replies and the part that keeps them (schedules.h). docs/schedules.md says what it
// means.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "broker/core/command.h"
#include "broker/core/core_types.h"
#include "common/ticks.h"

namespace penstock::broker {

// What becomes of ticks that came while the broker was away. The numbers are stored and equal penstock.v1.
enum class CatchUp : uint8_t { kNone = 1, kOne = 2, kAll = 3 };
// What becomes of a tick whose predecessor's task is not finished.
enum class Overlap : uint8_t { kAllow = 1, kSkip = 2, kCancelPrevious = 3 };

// When it is due; see TickSpec.
struct ScheduleTimes {
  std::string cron;  // empty: every `interval`
  std::string time_zone;
  Span interval = 0;
  Time start = 0;  // 0: none; an interval is counted from it, or from when the schedule was made
  Time end = kNever;

  friend bool operator==(const ScheduleTimes&, const ScheduleTimes&) = default;
};

// As NewTask, with texts of its own.
struct ScheduledTask {
  std::string queue;
  std::string type;
  uint8_t priority = 5;
  Span run_timeout = 0;
  Span life_timeout = 0;
  RetryPolicyChange retry_change;
  std::string unique_key;
  Span unique_window = 0;
  bool unique_waiting = false;
  UniqueConflict unique_conflict = UniqueConflict::kKeep;
  std::string key;
  std::string group;
  uint16_t cost = 1;
  std::optional<Span> result_retention;
  std::string labels;
  std::string spec;

  size_t bytes() const {
    return spec.size() + queue.size() + type.size() + unique_key.size() + key.size() + group.size() + labels.size();
  }
};

struct ScheduleDefinition {
  ScheduleTimes times;
  ScheduledTask task;
  Span start_within = 0;  // of a task's enqueue; 0: without a limit
  CatchUp catch_up = CatchUp::kOne;
  Overlap overlap = Overlap::kAllow;
  std::string note;
};

// Some parts of a definition; the rest stays, or is the default.
struct ScheduleChange {
  std::optional<ScheduleTimes> times;
  std::optional<ScheduledTask> task;
  std::optional<Span> start_within;
  std::optional<CatchUp> catch_up;
  std::optional<Overlap> overlap;
  std::optional<std::string> note;
  std::optional<bool> paused;  // of a new one
};

// A schedule as operators see it.
struct ScheduleView {
  std::string name;
  std::shared_ptr<const ScheduleDefinition> definition;
  Time anchor = 0;  // of an interval
  bool paused = false;
  Time create_time = 0;
  Time update_time = 0;
  Time next = kNever;  // kNever: paused, or there is none any more
  Time last_tick = 0;  // that made a task; 0: none yet
  TaskId last_task;
  uint64_t fired_total = 0;
  uint64_t skipped_total = 0;
  uint64_t missed_total = 0;
  uint64_t failed_total = 0;
  std::string error;  // of the last tick
  Time error_time = 0;
};

inline TickSpec ToTickSpec(const ScheduleTimes& times, Time anchor) {
  TickSpec spec;
  spec.cron = times.cron;
  spec.time_zone = times.time_zone;
  spec.interval = ToDuration(times.interval);
  spec.anchor = ToTime(anchor);
  if (times.start != 0) spec.start = ToTime(times.start);
  if (times.end != kNever) spec.end = ToTime(times.end);
  return spec;
}

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_CORE_SCHEDULE_H_
