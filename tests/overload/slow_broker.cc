#include "tests/overload/slow_broker.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "fmt/format.h"
#include "tests/support/project_paths.h"

namespace penstock::overload {
namespace {

uint64_t ResidentBytes(pid_t pid) {
  uint64_t pages = 0;
  std::ifstream(fmt::format("/proc/{}/statm", pid)) >> pages >> pages;
  return pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

}  // namespace

SlowBroker::SlowBroker(const Disk& disk)
    : process_({"env", "LD_PRELOAD=" + BuildPath("tests/libpenstock_slow_disk_shim.so"),
                fmt::format("PENSTOCK_SLOW_SYNC_US={}", absl::ToInt64Microseconds(disk.sync)),
                fmt::format("PENSTOCK_SLOW_BYTES_PER_SECOND={}", disk.bytes_per_second),
                BuildPath("bin/penstock-broker"), "--data-dir", folder_ / "data", "--grpc.address", "127.0.0.1:0",
                "--http.address", "", "--log.level", "warn,server=info", "--limits.memory",
                fmt::format("{}MiB", kMemoryLimit >> 20), "--storage.block-cache", "64MiB", "--storage.memtables",
                "32MiB"}) {}

absl::StatusOr<std::unique_ptr<SlowBroker>> SlowBroker::Start(const Disk& disk) {
  auto broker = std::unique_ptr<SlowBroker>(new SlowBroker(disk));
  const std::string line = broker->process_.WaitForLine("ready grpc=");
  if (line.empty()) return absl::InternalError("the broker does not start:\n" + broker->output());
  broker->port_ = std::atoi(line.c_str() + line.find("grpc=") + 5);
  broker->watcher_ = std::thread([watched = broker.get()] {
    for (; !watched->stop_; absl::SleepFor(absl::Milliseconds(20))) {
      watched->memory_max_ = std::max(watched->memory_max_.load(), ResidentBytes(watched->process_.pid()));
    }
  });
  return broker;
}

SlowBroker::~SlowBroker() {
  stop_ = true;
  if (watcher_.joinable()) watcher_.join();
}

}  // namespace penstock::overload
