#ifndef PENSTOCK_BROKER_OPTIONS_H_
#define PENSTOCK_BROKER_OPTIONS_H_

// The broker's options: plain values with their defaults. What each does, why one would change it and its bounds stand
// in option_declarations.cc, once; help, the commented deploy/broker.yaml and `penstock limits` are made from there.
//
// Read once in main, validated, then passed down as constants.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "broker/limit_info.h"
#include "common/config/config_errors.h"
#include "common/config/option_set.h"

namespace penstock::broker {

enum class Reflection { kAuto, kOn, kOff };
enum class RetryBackoff { kExponential, kLinear, kFixed };

struct BrokerOptions {
  std::string data_dir = "./penstock-data";

  struct Grpc {
    std::string address = "127.0.0.1:7420";
    Reflection reflection = Reflection::kAuto;  // auto: on loopback only; see ServesReflection
  } grpc;

  struct Http {
    std::string address = "127.0.0.1:7421";  // empty: no HTTP server
  } http;

  // Paths of PEM files. cert and key empty: plaintext. client_ca empty: clients need no certificate.
  struct Tls {
    std::string cert;
    std::string key;
    std::string client_ca;
  } tls;

  bool insecure_allow_plaintext = false;

  // As LogOptions of common/logging.h.
  struct Log {
    std::string level = "info";
    std::string format = "text";
    std::string file;
  } log;

  struct Sessions {
    absl::Duration lease_default = absl::Seconds(30);
    absl::Duration lease_max = absl::Hours(12);
    absl::Duration grace = absl::Seconds(3);
    absl::Duration reclaim_window = absl::Seconds(30);
  } sessions;

  // What a queue that sets nothing else does with its tasks.
  struct Retry {
    uint32_t max_attempts = 20;
    RetryBackoff backoff = RetryBackoff::kExponential;
    absl::Duration initial_backoff = absl::Seconds(1);
    double multiplier = 2;  // of an exponential backoff
    absl::Duration max_backoff = absl::Hours(1);
    double jitter = 1;
  } retry;
  absl::Duration run_timeout = absl::Minutes(30);
  struct Retention {
    absl::Duration completed = absl::Hours(24);
    absl::Duration dead = absl::Hours(24 * 30);
  } retention;

  struct Limits {
    // Bytes, of one task unless said otherwise.
    uint64_t payload = 1 << 20;
    uint64_t result = 1 << 20;
    uint64_t headers = 8 << 10;
    uint64_t name = 128;
    uint64_t key = 256;
    uint64_t error_text = 16 << 10;
    uint64_t log_line = 4 << 10;
    uint64_t log_bytes_per_task = 64 << 10;
    uint64_t checkpoint = 64 << 10;
    uint64_t message = 4 << 20;  // one gRPC message that the broker receives
    uint64_t mailbox = 64 << 20;
    uint32_t mailbox_commands = 10'000;
    absl::Duration mailbox_wait = absl::Seconds(2);
    uint64_t memory = 1 << 30;
    // Counts.
    uint32_t tasks_per_call = 10'000;
    uint32_t tasks_per_worker = 1'000;
    uint32_t queues = 10'000;
    uint32_t types = 10'000;
    uint32_t schedules = 10'000;
    uint64_t schedule_bytes = 64 << 20;
    uint32_t throttles = 1'000;
    uint32_t sessions = 4'096;
    uint32_t watchers = 100'000;
    uint32_t subscription_events = 10'000;
    uint32_t reads = 1'000;
    uint32_t bulk_jobs = 16;  // that run at a time
    uint32_t connections = 10'000;
    uint32_t connections_per_address = 2'000;
  } limits;

  struct Disk {
    std::optional<uint64_t> watermark;  // bytes; absent: see DiskWatermark
    std::optional<uint64_t> ballast;    // bytes; absent: see DiskBallast
  } disk;

  struct Storage {
    uint64_t block_cache = 128 << 20;
    uint64_t memtables = 96 << 20;
    absl::Duration scrub_interval = absl::Hours(24);  // 0: only when asked
    uint64_t scrub_rate = 16 << 20;                   // bytes a second; 0: no limit
  } storage;

  struct Backup {
    std::string dir;                                  // empty: no backups
    uint64_t rate = 64 << 20;                         // bytes a second; 0: no limit
    absl::Duration keep_logs = absl::ZeroDuration();  // 0: no restore to a moment
  } backup;

  absl::Duration shutdown_grace = absl::Seconds(10);

  // Every contradiction between values, and every file that is named but cannot be read. Empty if all is well.
  ConfigErrors Validate() const;

  bool UsesTls() const { return !tls.cert.empty(); }
  bool ServesReflection() const;
  // Free bytes below which enqueues are refused, on a disk of that size.
  uint64_t DiskWatermark(uint64_t disk_bytes) const;
  // Bytes that are kept for finishing tasks on a full disk.
  uint64_t DiskBallast() const;
};

// Binds all options to `set`, for LoadOptions (common/config/loader.h). `options` must outlive the set.
void DeclareOptions(BrokerOptions* options, OptionSet* set);

// The limits, as AdminService.GetLimits tells them.
std::vector<LimitInfo> ListLimits(const BrokerOptions& options);

// deploy/broker.yaml: every option at its default, with what it does.
std::string CommentedBrokerConfig();

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_OPTIONS_H_
