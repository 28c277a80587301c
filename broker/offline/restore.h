#ifndef PENSTOCK_BROKER_OFFLINE_RESTORE_H_
#define PENSTOCK_BROKER_OFFLINE_RESTORE_H_

// `penstock-broker --restore`: a data folder from a backup.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "broker/core/options.h"
#include "broker/offline/verify.h"
#include "broker/storage/applied.h"

namespace penstock::broker {

// Up to where commits are replayed over a backup. A number is the last commit to take, a time (RFC 3339) the last
// moment, "latest" all that there is.
struct RestoreUntil {
  std::optional<uint64_t> sequence;
  std::optional<Time> time;
  // InvalidArgument says what would be valid.
  static absl::StatusOr<RestoreUntil> Parse(const std::string& text);
};

struct RestoreRequest {
  std::string repository;          // the folder of backups
  std::optional<uint32_t> backup;  // absent: the newest that is not beyond `until`
  std::optional<RestoreUntil> until;
  std::vector<std::string> logs;  // more folders of logs, for instance db/ of the folder that was lost
  std::string data_dir;           // new
};

struct RestoreReport {
  std::string data_dir;
  uint32_t backup = 0;
  uint64_t replayed = 0;  // commits
  Applied applied;        // where it ended
  uint64_t epoch = 0;     // above which the broker begins
  VerifyReport verified;
};

// Makes the new data folder and checks all of it; no broker takes it before that. An error is a sentence; what was made
// so far is removed.
absl::StatusOr<RestoreReport> RestoreBackup(const RestoreRequest& request, const CoreOptions& options);

std::string ToText(const RestoreReport& report);
std::string ToJson(const RestoreReport& report);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_OFFLINE_RESTORE_H_
