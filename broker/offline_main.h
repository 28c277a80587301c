#ifndef PENSTOCK_BROKER_OFFLINE_MAIN_H_
#define PENSTOCK_BROKER_OFFLINE_MAIN_H_

// What penstock-broker does instead of running: look at, restore or repair a data folder.

#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

#include "broker/options.h"
#include "common/config/loader.h"

namespace penstock::broker {

struct OfflineFlags {
  bool verify = false;
  bool repair = false;
  bool paused_fork = false;
  std::string to;
  std::string restore;  // the folder of backups; empty: no restore
  std::string backup;
  std::string until;
  std::string logs;
  std::string output;
};

// For ProgramText. `out` must outlive the flags.
std::vector<ProgramFlag> DeclareOfflineFlags(OfflineFlags* out);

// Whether the flags ask for something that ends with a report.
bool IsOffline(const OfflineFlags& flags);

// Does what the flags say, and returns the code to exit with; nullopt: nothing of that kind was asked for, run.
std::optional<int> RunOffline(const OfflineFlags& flags, const BrokerOptions& options, std::ostream& out,
                              std::ostream& err);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_OFFLINE_MAIN_H_
