#include "tests/overload/ledger.h"

#include <cstring>
#include <utility>

#include "absl/time/clock.h"
#include "common/status_details.h"
#include "fmt/format.h"

namespace penstock::overload {

std::string Ledger::NewTask(size_t bytes, uint64_t* serial) {
  {
    MutexLock lock(mu_);
    *serial = tasks_.size();
    tasks_.emplace_back();
  }
  std::string payload(bytes, 'x');
  std::memcpy(payload.data(), serial, sizeof(*serial));
  return payload;
}

uint64_t Ledger::SerialOf(std::string_view payload) {
  uint64_t serial = 0;
  std::memcpy(&serial, payload.data(), sizeof(serial));
  return serial;
}

void Ledger::Begin() {
  MutexLock lock(mu_);
  begin_ = absl::Now();
  stretch_ = Stretch();
}

Ledger::Stretch Ledger::Seen() const {
  MutexLock lock(mu_);
  return stretch_;
}

void Ledger::Answered(uint64_t serial, const absl::Status& status, absl::Duration latency) {
  MutexLock lock(mu_);
  Task& task = tasks_[serial];
  if (status.ok()) {
    task.fate = Fate::kTaken;
    if (task.completions == 0) ++open_;
    ++stretch_.taken;
    stretch_.taken_latencies.push_back(latency);
    const auto second = static_cast<size_t>(absl::ToInt64Seconds(absl::Now() - begin_));
    if (stretch_.taken_by_second.size() <= second) stretch_.taken_by_second.resize(second + 1);
    ++stretch_.taken_by_second[second];
  } else if (absl::IsResourceExhausted(status)) {
    task.fate = Fate::kRefused;
    ++stretch_.refused;
    stretch_.refused_latencies.push_back(latency);
    const auto delay = RetryAfterOf(status);
    if (delay && *delay > absl::ZeroDuration()) {
      stretch_.retry_delays.push_back(*delay);
    } else {
      WrongLocked("a refusal does not say when to come again: " + std::string(status.message()));
    }
  } else if (absl::IsDeadlineExceeded(status)) {
    ++stretch_.late;
  } else {
    WrongLocked("an enqueue was answered with " + status.ToString());
  }
}

void Ledger::Delivered(uint64_t serial, int attempt) {
  MutexLock lock(mu_);
  if (serial >= tasks_.size()) return WrongLocked("a task was delivered that nobody made");
  if (++tasks_[serial].deliveries > 1 || attempt != 1) {
    WrongLocked(fmt::format("task {} was delivered again, as attempt {}", serial, attempt));
  }
}

void Ledger::Completed(uint64_t serial, absl::Duration latency) {
  MutexLock lock(mu_);
  Task& task = tasks_[serial];
  stretch_.completion_latencies.push_back(latency);
  if (task.completions++ > 0) return WrongLocked(fmt::format("task {} was completed twice", serial));
  ++completed_;
  if (task.fate == Fate::kTaken) --open_;
  changed_.SignalAll();
}

void Ledger::Wrong(std::string what) {
  MutexLock lock(mu_);
  WrongLocked(std::move(what));
}

void Ledger::WrongLocked(std::string what) {
  wrong_.push_back(std::move(what));
  changed_.SignalAll();
}

void Ledger::AwaitCompleted() {
  MutexLock lock(mu_);
  while (open_ > 0 && wrong_.empty()) changed_.Wait(mu_);
}

uint64_t Ledger::completed() const {
  MutexLock lock(mu_);
  return completed_;
}

std::string Ledger::Problems() const {
  MutexLock lock(mu_);
  std::vector<std::string> all = wrong_;
  for (size_t serial = 0; serial < tasks_.size(); ++serial) {
    const Task& task = tasks_[serial];
    if (task.fate == Fate::kTaken && task.completions != 1) {
      all.push_back(fmt::format("task {} was acknowledged and completed {} times", serial, task.completions));
    } else if (task.fate == Fate::kRefused && task.deliveries > 0) {
      all.push_back(fmt::format("task {} was refused, and delivered", serial));
    }
  }
  constexpr size_t kShown = 10;
  std::string text;
  for (size_t i = 0; i < all.size() && i < kShown; ++i) text += all[i] + "\n";
  if (all.size() > kShown) text += fmt::format("and {} more\n", all.size() - kShown);
  return text;
}

}  // namespace penstock::overload
