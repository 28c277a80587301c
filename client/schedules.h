#ifndef PENSTOCK_CLIENT_SCHEDULES_H_
#define PENSTOCK_CLIENT_SCHEDULES_H_

// Schedules: the broker makes a task at each of their ticks. docs/schedules.md says what they do; fields, defaults and
// limits: proto/penstock/v1/schedule_service.proto.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/task.h"
#include "common/task_id.h"

namespace penstock {

// When a schedule has ticks: give `cron` or `interval`.
struct ScheduleTimes {
  std::string cron = {};                      // "30 2 * * *", with seconds "0 30 2 * * *", or "@daily"
  std::string time_zone = {};                 // of `cron`, for instance "Europe/Berlin"; default UTC
  absl::Duration interval = {};               // from 1 s to 365 days
  std::optional<absl::Time> start_time = {};  // no tick before it; an interval is counted from it
  std::optional<absl::Time> end_time = {};    // no tick after it
};

// Ticks that came while the broker was away: missed; the last of them made; all of them made.
enum class CatchUp { kNone = 1, kOne = 2, kAll = 3 };
// A tick while the schedule's last task is not finished: a task of its own; none; the last task is cancelled.
enum class Overlap { kAllow = 1, kSkip = 2, kCancelPrevious = 3 };

struct NewSchedule {
  std::string name = {};
  ScheduleTimes times = {};
  NewTask task = {};                 // what each tick enqueues: without delay, run_at, expire_at and timeout
  absl::Duration start_within = {};  // a task not started this long after its tick was made dies; 0: it waits
  CatchUp catch_up = CatchUp::kOne;
  Overlap overlap = Overlap::kAllow;
  std::string note = {};  // for people
  bool paused = false;    // begins paused
};

// What is not set stays as it is.
struct ScheduleChange {
  std::optional<ScheduleTimes> times = {};  // other times begin anew: the next tick is the first from now on
  std::optional<NewTask> task = {};
  std::optional<absl::Duration> start_within = {};
  std::optional<CatchUp> catch_up = {};
  std::optional<Overlap> overlap = {};
  std::optional<std::string> note = {};
};

struct ScheduleInfo {
  std::string name = {};
  ScheduleTimes times = {};
  std::string queue = {};  // of its tasks, as type and payload
  std::string type = {};
  std::string payload = {};  // not in lists
  absl::Duration start_within = {};
  CatchUp catch_up = CatchUp::kOne;
  Overlap overlap = Overlap::kAllow;
  std::string note = {};
  bool paused = false;
  std::vector<absl::Time> next_times = {};  // at most 5, in lists the next; empty: paused, ended, or `error` says why
  std::optional<absl::Time> last_tick_time = {};
  std::optional<TaskId> last_task = {};
  uint64_t fired_total = 0;    // tasks made
  uint64_t skipped_total = 0;  // ticks without a task: overlap, or a held unique key
  uint64_t missed_total = 0;   // ticks that came while the broker was away
  uint64_t failed_total = 0;   // ticks whose task was refused
  std::string error = {};      // of the last tick
};

// The headers of a task that a schedule made: its schedule's name, and its tick's time (RFC 3339, UTC).
inline constexpr char kScheduleHeader[] = "penstock-schedule";
inline constexpr char kTickHeader[] = "penstock-tick";

// Makes and steers schedules. Belongs to a Client (client/client.h), whose rules hold: any thread; calls block until
// their time is up and are repeated while the broker is away, except where it says otherwise; InvalidArgument names the
// field.
//
//   penstock::NewSchedule nightly;
//   nightly.name = "nightly-report";
//   nightly.times = {.cron = "30 2 * * *", .time_zone = "Europe/Berlin"};
//   nightly.task = {.queue = "reports", .type = "report.generate"};
//   absl::StatusOr<penstock::ScheduleInfo> made = client->Schedules().Create(nightly);
class ScheduleClient {
 public:
  virtual ~ScheduleClient() = default;

  // AlreadyExists: one of that name exists; with kWait also one that this very call made, when its answer got lost.
  // ResourceExhausted: limits.schedules.
  virtual absl::StatusOr<ScheduleInfo> Create(NewSchedule schedule) = 0;
  // NotFound.
  virtual absl::StatusOr<ScheduleInfo> Update(const std::string& name, ScheduleChange change) = 0;
  // NotFound.
  virtual absl::StatusOr<ScheduleInfo> Get(const std::string& name) = 0;
  // All of them, in the order of their names.
  virtual absl::StatusOr<std::vector<ScheduleInfo>> List() = 0;
  // NotFound; with kWait also when the first call was heard and its answer got lost. Tasks that it made stay.
  virtual absl::Status Delete(const std::string& name) = 0;
  // No ticks until Resume. NotFound.
  virtual absl::StatusOr<ScheduleInfo> Pause(const std::string& name) = 0;
  // Goes on with the first tick from now on. NotFound.
  virtual absl::StatusOr<ScheduleInfo> Resume(const std::string& name) = 0;
  // Makes a task at once; the next tick stays. AlreadyExists: the last task is not finished and overlap is kSkip, or
  // its unique key is held. Not repeated: Unavailable and DeadlineExceeded leave open whether there is a task.
  virtual absl::StatusOr<TaskId> RunNow(const std::string& name) = 0;
  // The next `count` ticks (1 to 100) that such times have.
  virtual absl::StatusOr<std::vector<absl::Time>> Preview(const ScheduleTimes& times, int count = 10) = 0;
};

}  // namespace penstock

#endif  // PENSTOCK_CLIENT_SCHEDULES_H_
