#ifndef PENSTOCK_BROKER_OFFLINE_REPAIR_H_
#define PENSTOCK_BROKER_OFFLINE_REPAIR_H_

// `penstock-broker --repair --to NEW_FOLDER`: saves what can be read of a damaged data folder.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "broker/core/options.h"
#include "broker/core/rebuild.h"
#include "broker/offline/verify.h"
#include "broker/storage/salvage.h"

namespace penstock::broker {

struct RepairReport {
  std::string from;
  std::string to;
  SalvageReport salvage;
  RebuildReport rebuild;
  // Files with a JSON object a line for every task: which, its queue and state; which, and why.
  std::string saved_list;
  std::string lost_list;
  std::vector<std::string> first_lost;  // the first lines of that list, as text
  VerifyReport verified;

  // Something is gone for good; see lost_list and salvage.damage.
  bool lossless() const {
    return rebuild.lost == 0 && rebuild.schedules_lost.empty() && salvage.damage.empty() && salvage.log_gaps.empty();
  }
};

// Makes a new, whole data folder `to` of what can be read in `from`, the folder of a stopped broker, which is not
// changed. An error is a sentence for the operator; what was made so far is removed.
absl::StatusOr<RepairReport> RepairDataDir(const std::string& from, const std::string& to, const CoreOptions& options);

std::string ToText(const RepairReport& report);
std::string ToJson(const RepairReport& report);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_OFFLINE_REPAIR_H_
