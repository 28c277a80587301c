#ifndef PENSTOCK_TESTS_OVERLOAD_SLOW_BROKER_H_
#define PENSTOCK_TESTS_OVERLOAD_SLOW_BROKER_H_

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "tests/support/process.h"
#include "tests/support/temp_folder.h"

namespace penstock::overload {

// How slow the disk is (slow_disk_shim.cc).
struct Disk {
  absl::Duration sync;
  uint64_t bytes_per_second = 0;
};

// A real broker in a process of its own, on a slow disk, whose memory is watched.
class SlowBroker {
 public:
  // Internal: it did not start, and why.
  static absl::StatusOr<std::unique_ptr<SlowBroker>> Start(const Disk& disk);
  ~SlowBroker();

  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  bool running() const { return process_.running(); }
  std::string output() const { return process_.output(); }
  // The most it held so far, and what it may hold: its limits.memory.
  uint64_t memory_max() const { return memory_max_; }
  static constexpr uint64_t kMemoryLimit = uint64_t{384} << 20;

 private:
  explicit SlowBroker(const Disk& disk);

  const testing::TempFolder folder_;
  testing::Process process_;
  int port_ = 0;
  std::atomic<bool> stop_ = false;
  std::atomic<uint64_t> memory_max_ = 0;
  std::thread watcher_;
};

}  // namespace penstock::overload

#endif  // PENSTOCK_TESTS_OVERLOAD_SLOW_BROKER_H_
