#ifndef PENSTOCK_CLIENT_FAKE_SCHEDULES_H_
#define PENSTOCK_CLIENT_FAKE_SCHEDULES_H_

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "client/schedules.h"
#include "common/mutex.h"

namespace penstock {

// The schedules of a FakeClient (client/fake_client.h): remembered and shown with their next ticks, by this machine's
// clock. No tick comes by itself: RunNow makes a task when the test says so. Any thread.
class FakeSchedules final : public ScheduleClient {
 public:
  using Enqueue = std::function<absl::StatusOr<TaskId>(NewTask task)>;
  // How RunNow hands over a task.
  explicit FakeSchedules(Enqueue enqueue) : enqueue_(std::move(enqueue)) {}

  absl::StatusOr<ScheduleInfo> Create(NewSchedule schedule) override;
  absl::StatusOr<ScheduleInfo> Update(const std::string& name, ScheduleChange change) override;
  absl::StatusOr<ScheduleInfo> Get(const std::string& name) override;
  absl::StatusOr<std::vector<ScheduleInfo>> List() override;
  absl::Status Delete(const std::string& name) override;
  absl::StatusOr<ScheduleInfo> Pause(const std::string& name) override;
  absl::StatusOr<ScheduleInfo> Resume(const std::string& name) override;
  // Whatever the overlap policy.
  absl::StatusOr<TaskId> RunNow(const std::string& name) override;
  absl::StatusOr<std::vector<absl::Time>> Preview(const ScheduleTimes& times, int count) override;

 private:
  struct Kept {
    NewTask task;
    ScheduleInfo info;
  };
  // As Preview, with the times' place in the message of an error.
  static absl::StatusOr<std::vector<absl::Time>> TicksOf(const std::string& field, const ScheduleTimes& times,
                                                         int count);
  absl::StatusOr<Kept*> FindLocked(const std::string& name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<ScheduleInfo> SetPaused(const std::string& name, bool paused);

  const Enqueue enqueue_;
  mutable Mutex mu_;
  std::map<std::string, Kept> schedules_ ABSL_GUARDED_BY(mu_);
};

}  // namespace penstock

#endif  // PENSTOCK_CLIENT_FAKE_SCHEDULES_H_
