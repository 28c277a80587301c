#ifndef PENSTOCK_TESTS_OVERLOAD_LEDGER_H_
#define PENSTOCK_TESTS_OVERLOAD_LEDGER_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/mutex.h"

namespace penstock::overload {

// What callers and the worker were told of every task, each of which has a serial number. Any thread.
class Ledger {
 public:
  Ledger() { Begin(); }

  // A payload of so many bytes, 8 at least, that carries the serial number of a new task; and back.
  std::string NewTask(size_t bytes, uint64_t* serial);
  static uint64_t SerialOf(std::string_view payload);

  // The answer to an enqueue.
  void Answered(uint64_t serial, const absl::Status& status, absl::Duration latency);
  void Delivered(uint64_t serial, int attempt);
  void Completed(uint64_t serial, absl::Duration latency);
  void Wrong(std::string what);

  // What was answered since the last Begin.
  struct Stretch {
    uint64_t taken = 0;
    uint64_t refused = 0;
    uint64_t late = 0;  // DEADLINE_EXCEEDED
    // In every second.
    std::vector<uint64_t> taken_by_second;
    std::vector<absl::Duration> taken_latencies;
    std::vector<absl::Duration> refused_latencies;
    std::vector<absl::Duration> retry_delays;
    std::vector<absl::Duration> completion_latencies;
  };
  void Begin();
  Stretch Seen() const;

  // Waits until every task that was acknowledged is completed.
  void AwaitCompleted();
  uint64_t completed() const;
  // What must not be: a task that was acknowledged and is not completed, or completed although its enqueue was refused,
  // and whatever was noted as wrong. Empty if all is well.
  std::string Problems() const;

 private:
  enum class Fate : uint8_t { kUnknown, kTaken, kRefused };
  struct Task {
    Fate fate = Fate::kUnknown;
    uint8_t deliveries = 0;
    uint8_t completions = 0;
  };

  void WrongLocked(std::string what) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  mutable Mutex mu_;
  CondVar changed_;
  std::vector<Task> tasks_ ABSL_GUARDED_BY(mu_);  // by serial
  uint64_t open_ ABSL_GUARDED_BY(mu_) = 0;        // acknowledged and not completed
  uint64_t completed_ ABSL_GUARDED_BY(mu_) = 0;
  absl::Time begin_ ABSL_GUARDED_BY(mu_);
  Stretch stretch_ ABSL_GUARDED_BY(mu_);
  std::vector<std::string> wrong_ ABSL_GUARDED_BY(mu_);
};

}  // namespace penstock::overload

#endif  // PENSTOCK_TESTS_OVERLOAD_LEDGER_H_
