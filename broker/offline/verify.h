#ifndef PENSTOCK_BROKER_OFFLINE_VERIFY_H_
#define PENSTOCK_BROKER_OFFLINE_VERIFY_H_

// `penstock-broker --verify`: is a data folder whole?

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "broker/core/audit.h"
#include "broker/core/options.h"
#include "broker/storage/data_dir.h"
#include "broker/storage/storage_check.h"

namespace penstock::broker {

// Exit code: data are damaged (EX_DATAERR of sysexits.h).
inline constexpr int kExitDamaged = 65;

struct VerifyReport {
  std::string data_dir;
  uint64_t format = 0;
  std::string instance;
  bool has_database = true;  // false: its broker's first start was cut short
  StorageCheck storage;
  AuditReport audit;

  bool damaged() const { return !storage.damage.empty() || !audit.findings.empty(); }
};

// Opens the folder of a stopped broker as the broker would, reads all of it, and counts everything anew. Changes not a
// byte. An error is a sentence for the operator: the folder cannot be opened at all.
absl::StatusOr<VerifyReport> VerifyDataDir(const std::string& path, const CoreOptions& options);

// The same of a folder that the caller holds.
absl::StatusOr<VerifyReport> VerifyFolder(const DataDir& folder, const CoreOptions& options);

// For people: what was counted, and the first of what is damaged.
std::string ToText(const VerifyReport& report);
// One JSON object, with everything.
std::string ToJson(const VerifyReport& report);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_OFFLINE_VERIFY_H_
