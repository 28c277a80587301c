#ifndef PENSTOCK_BROKER_RPC_BROKER_FACTS_H_
#define PENSTOCK_BROKER_RPC_BROKER_FACTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "broker/limit_info.h"

namespace penstock::broker {

// What the server knows of itself beside the core; see penstock.v1.BrokerStatus.
struct BrokerFigures {
  std::string version;
  absl::Time start_time;
  std::vector<std::string> problems;  // worst first, each with what to do
  bool enqueues_refused = false;
  std::string data_dir;
  uint64_t disk_free_bytes = 0;
  uint64_t disk_watermark_bytes = 0;
  uint64_t data_bytes = 0;
  uint64_t memory_bytes = 0;
  absl::Duration cpu_time;
  uint64_t written_bytes = 0;
  uint64_t commit_count = 0;
  uint64_t sync_count = 0;
  absl::Duration commit_latency_p50;
  absl::Duration commit_latency_p99;
  uint64_t mailbox_bytes = 0;
};

// Implemented by the server.
class BrokerFacts {
 public:
  virtual ~BrokerFacts() = default;
  // Any thread, the commit thread among them: must not wait for a disk.
  virtual BrokerFigures Read() const = 0;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_BROKER_FACTS_H_
