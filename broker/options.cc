#include "broker/options.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "broker/listen_address.h"
#include "common/config/render.h"
#include "common/config/value_text.h"
#include "common/logging.h"
#include "common/text.h"
#include "fmt/format.h"

namespace penstock::broker {
namespace {

// Of a message, what is not payload, result or headers: names, keys, ids and framing of one task.
constexpr uint64_t kMessageOverhead = 64 << 10;

// Collects problems under the options' names.
class Validator {
 public:
  explicit Validator(const BrokerOptions& options) : options_(options) {}

  ConfigErrors Run() {
    Listening();
    Tls();
    Log();
    Durations();
    Sizes();
    Backups();
    return std::move(errors_);
  }

 private:
  void Add(std::string option, std::string problem) { errors_.Add({"", std::move(option), std::move(problem)}); }

  void Listening() {
    if (options_.data_dir.empty()) Add("data_dir", "is empty; name the folder that keeps the tasks");
    const absl::StatusOr<ListenAddress> grpc = ParseListenAddress(options_.grpc.address);
    if (!grpc.ok()) Add("grpc.address", std::string(grpc.status().message()));
    if (grpc.ok() && !grpc->IsLoopback() && !options_.UsesTls() && !options_.insecure_allow_plaintext) {
      Add("grpc.address",
          fmt::format("{} can be reached from other machines, and TLS is not set up: anybody there could read and run "
                      "tasks. Set "
                      "tls.cert and tls.key, or listen on 127.0.0.1, or, if the network is trusted, pass "
                      "--insecure-allow-plaintext",
                      options_.grpc.address));
    }
    if (options_.http.address.empty()) return;
    const absl::StatusOr<ListenAddress> http = ParseListenAddress(options_.http.address);
    if (!http.ok()) {
      Add("http.address", std::string(http.status().message()) + "; or nothing (\"\") for no HTTP server");
      return;
    }
    if (!http->IsLoopback() && !options_.insecure_allow_plaintext) {
      Add("http.address", fmt::format("{} can be reached from other machines, and metrics and health are served "
                                      "without TLS or a login. Listen on "
                                      "127.0.0.1, or, if the network is trusted, pass --insecure-allow-plaintext",
                                      options_.http.address));
    }
    if (grpc.ok() && grpc->port == http->port && grpc->port != 0 && grpc->host == http->host) {
      Add("http.address", fmt::format("{} is grpc.address too; choose another port", options_.http.address));
    }
  }

  void Tls() {
    const BrokerOptions::Tls& tls = options_.tls;
    if (tls.cert.empty() != tls.key.empty()) {
      Add(tls.cert.empty() ? "tls.cert" : "tls.key",
          fmt::format("is missing, while {} is set; TLS needs both", tls.cert.empty() ? "tls.key" : "tls.cert"));
    }
    if (!tls.client_ca.empty() && tls.cert.empty()) {
      Add("tls.client_ca", "has no effect without tls.cert and tls.key; set those as well");
    }
    Readable("tls.cert", tls.cert);
    Readable("tls.key", tls.key);
    Readable("tls.client_ca", tls.client_ca);
  }

  void Readable(std::string option, const std::string& path) {
    if (path.empty()) return;
    std::ifstream file(path);
    if (!file.is_open() || file.peek() == std::ifstream::traits_type::eof()) {
      Add(std::move(option), fmt::format("'{}' cannot be read, or is empty", path));
    }
  }

  void Log() {
    const absl::Status status = ValidateLogLevel(options_.log.level);
    if (!status.ok()) Add("log.level", std::string(status.message()));
  }

  void Durations() {
    const BrokerOptions::Sessions& sessions = options_.sessions;
    AtMost("sessions.lease_default", sessions.lease_default, "sessions.lease_max", sessions.lease_max);
    // A longer grace would never end: the lease lapses first.
    AtMost("sessions.grace", sessions.grace, "sessions.lease_default", sessions.lease_default);
    AtMost("retry.initial_backoff", options_.retry.initial_backoff, "retry.max_backoff", options_.retry.max_backoff);
    if (options_.retry.backoff != RetryBackoff::kExponential &&
        options_.retry.multiplier != BrokerOptions::Retry().multiplier) {
      Add("retry.multiplier", "counts with retry.backoff=exponential only; leave it out, or choose that");
    }
  }

  void AtMost(std::string option, absl::Duration value, std::string_view other, absl::Duration other_value) {
    if (value <= other_value) return;
    Add(std::move(option), fmt::format("{} is longer than {} ({}); shorten it, or raise {}", ExactDuration(value),
                                       other, ExactDuration(other_value), other));
  }

  void Sizes() {
    const BrokerOptions::Limits& limits = options_.limits;
    Fits("limits.payload", limits.payload);
    Fits("limits.result", limits.result);
    Fits("limits.checkpoint", limits.checkpoint);
    if (limits.mailbox < limits.message) {
      Add("limits.mailbox", fmt::format("{} cannot hold one message of limits.message ({}); raise it",
                                        ExactSize(limits.mailbox), ExactSize(limits.message)));
    }
    if (limits.log_bytes_per_task < limits.log_line) {
      Add("limits.log_bytes_per_task", fmt::format("{} cannot hold one line of limits.log_line ({}); raise it",
                                                   ExactSize(limits.log_bytes_per_task), ExactSize(limits.log_line)));
    }
    const BrokerOptions::Storage& storage = options_.storage;
    // Memtables are charged to the block cache.
    const uint64_t needed = limits.mailbox + storage.block_cache;
    if (limits.memory / 2 < needed) {
      Add("limits.memory",
          fmt::format(
              "half of {} is less than limits.mailbox and storage.block_cache together ({}); raise it, or lower those",
              ExactSize(limits.memory), ExactSize(needed)));
    }
    if (storage.memtables > storage.block_cache) {
      Add("storage.memtables", fmt::format("{} is more than storage.block_cache ({}), to which memtables are charged; "
                                           "lower it, or raise the cache",
                                           ExactSize(storage.memtables), ExactSize(storage.block_cache)));
    }
  }

  void Backups() {
    const BrokerOptions::Backup& backup = options_.backup;
    if (backup.keep_logs > absl::ZeroDuration() && backup.dir.empty()) {
      Add("backup.keep_logs", "has no effect without backup.dir; set that as well");
    }
    if (!backup.dir.empty() && backup.dir == options_.data_dir) {
      Add("backup.dir", "is data_dir too; name a folder on another disk");
    }
  }

  // A task with the largest payload (a report of the largest result) and full headers has to fit into one message.
  void Fits(std::string_view option, uint64_t bytes) {
    const uint64_t needed = bytes + options_.limits.headers + kMessageOverhead;
    if (options_.limits.message >= needed) return;
    Add("limits.message",
        fmt::format("{} is too small for {} ({}) with its headers; set it to at least {}, or lower {}",
                    ExactSize(options_.limits.message), option, ExactSize(bytes), ExactSize(needed), option));
  }

  const BrokerOptions& options_;
  ConfigErrors errors_;
};

}  // namespace

ConfigErrors BrokerOptions::Validate() const { return Validator(*this).Run(); }

bool BrokerOptions::ServesReflection() const {
  if (grpc.reflection != Reflection::kAuto) return grpc.reflection == Reflection::kOn;
  const absl::StatusOr<ListenAddress> address = ParseListenAddress(grpc.address);
  return address.ok() && address->IsLoopback();
}

uint64_t BrokerOptions::DiskWatermark(uint64_t disk_bytes) const {
  return disk.watermark.value_or(std::max<uint64_t>(1'000'000'000, disk_bytes / 20));
}

uint64_t BrokerOptions::DiskBallast() const {
  // To open the database anew, as much is written as the memtables hold; then tasks are finished in the rest.
  return disk.ballast.value_or(storage.memtables + (uint64_t{32} << 20));
}

std::vector<LimitInfo> ListLimits(const BrokerOptions& options) {
  BrokerOptions copy = options;
  BrokerOptions defaults;
  OptionSet in_force;
  OptionSet standard;
  DeclareOptions(&copy, &in_force);
  DeclareOptions(&defaults, &standard);
  std::vector<LimitInfo> limits;
  for (const Option& option : in_force.options()) {
    const OptionText& about = option.about();
    if (!about.limit) continue;
    limits.push_back({about.path, option.Text(), standard.Find(about.path)->Text(), about.what + " " + about.why});
  }
  return limits;
}

std::string CommentedBrokerConfig() {
  BrokerOptions defaults;
  OptionSet set;
  DeclareOptions(&defaults, &set);
  return RenderCommented(
      set,
      "The options of penstock-broker, each at its default: delete what you do not change.\n"
      "Start with: penstock-broker --config FILE. Check with: penstock-broker --config FILE --check-config.\n"
      "A flag (--limits.payload) wins over the environment (PENSTOCK_LIMITS__PAYLOAD), that over this file.\n"
      "Durations: 250ms, 30s, 5m, 1h30m, 7d. Sizes: 4096, 64 KiB, 1 MiB, 1 GB.");
}

}  // namespace penstock::broker
