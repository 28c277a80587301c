#include "client/fake_throttles.h"

#include <utility>

#include "common/names.h"
#include "common/status.h"
#include "common/status_details.h"

namespace penstock {
namespace {

absl::Status Check(const NewThrottle& throttle) {
  if (throttle.max_running == 0 && !throttle.rate) {
    return InvalidField("throttle", "limits nothing; give it max_running, or a rate, or both");
  }
  if (throttle.per == ThrottlePer::kKey && throttle.max_running != 0) {
    return InvalidField("throttle.max_running", "says nothing per key: of a FIFO key one task runs at a time anyway");
  }
  if (throttle.rate && (throttle.rate->period < absl::Milliseconds(1) || throttle.rate->period > absl::Hours(24))) {
    return InvalidField("throttle.rate.period", "must be 1 ms to 24 h");
  }
  return absl::OkStatus();
}

absl::Status NoThrottle(const std::string& name) { return absl::NotFoundError("there is no throttle " + name); }

}  // namespace

absl::StatusOr<ThrottleInfo> FakeThrottles::Create(NewThrottle throttle) {
  if (const std::string problem = ProblemOfName(throttle.name); !problem.empty()) {
    return InvalidField("throttle.name", problem);
  }
  if (throttle.rate && throttle.rate->tasks == 0) return InvalidField("throttle.rate.tasks", "must be at least 1");
  RETURN_IF_ERROR(Check(throttle));
  ThrottleInfo info;
  static_cast<NewThrottle&>(info) = std::move(throttle);
  MutexLock lock(mu_);
  const auto [made, added] = throttles_.try_emplace(info.name, info);
  if (!added) return absl::AlreadyExistsError("throttle " + info.name + " exists already");
  return made->second;
}

absl::StatusOr<ThrottleInfo> FakeThrottles::Update(const std::string& name, ThrottleChange change) {
  MutexLock lock(mu_);
  auto found = throttles_.find(name);
  if (found == throttles_.end()) return NoThrottle(name);
  ThrottleInfo changed = found->second;
  if (change.queues) changed.queues = *std::move(change.queues);
  if (change.types) changed.types = *std::move(change.types);
  if (change.per) changed.per = *change.per;
  if (change.max_running) changed.max_running = *change.max_running;
  if (change.rate) changed.rate = change.rate->tasks == 0 ? std::nullopt : change.rate;
  if (change.note) changed.note = *std::move(change.note);
  RETURN_IF_ERROR(Check(changed));
  found->second = changed;
  return changed;
}

absl::StatusOr<ThrottleInfo> FakeThrottles::Get(const std::string& name) {
  MutexLock lock(mu_);
  auto found = throttles_.find(name);
  if (found == throttles_.end()) return NoThrottle(name);
  return found->second;
}

absl::StatusOr<std::vector<ThrottleInfo>> FakeThrottles::List() {
  MutexLock lock(mu_);
  std::vector<ThrottleInfo> all;
  for (const auto& [name, throttle] : throttles_) all.push_back(throttle);
  return all;
}

absl::Status FakeThrottles::Delete(const std::string& name) {
  MutexLock lock(mu_);
  return throttles_.erase(name) > 0 ? absl::OkStatus() : NoThrottle(name);
}

}  // namespace penstock
