#ifndef PENSTOCK_TESTS_FAULTS_POWER_LOSS_LIFE_H_
#define PENSTOCK_TESTS_FAULTS_POWER_LOSS_LIFE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <string>

#include "broker/engine/engine.h"
#include "broker/storage/rocksdb_store.h"
#include "tests/faults/ledger.h"
#include "tests/faults/workload.h"
#include "tests/support/power_loss_fs.h"
#include "tests/support/temp_folder.h"

namespace penstock::broker {

struct PowerLossCounts {
  uint64_t lives = 0;
  uint64_t cuts = 0;
  uint64_t cuts_while_opening = 0;
  uint64_t tails_cut = 0;      // starts that cut a torn tail off the log
  uint64_t manifests_cut = 0;  // and those that cut one off the MANIFEST
  uint64_t tasks = 0;          // acknowledged
  uint64_t outcomes = 0;       // acknowledged
  uint64_t deliveries = 0;
  uint64_t relaxed_undone = 0;  // answers about relaxed queues that a cut undid, as it may
};

// One data folder from its first start to its drained end, with power cuts at random moments in between: the real core,
// engine and RocksDB store in this process, over a file system that forgets what was not synced. After each cut the
// ledger judges what is left.
class PowerLossLife {
 public:
  // `lying_disk`: syncs do nothing, which the judge has to find.
  PowerLossLife(uint64_t seed, bool lying_disk);
  ~PowerLossLife();

  // What was wrong, the first time something was; empty if nothing.
  std::string Run(int cuts, PowerLossCounts* counts);
  const std::string& folder() const { return folder_.path(); }

 private:
  uint64_t Below(uint64_t limit) { return std::uniform_int_distribution<uint64_t>(0, limit - 1)(random_); }
  absl::Status Open();
  // In one of the next appends to what is said of files, where few bytes decide.
  void CutWhereItMatters(uint64_t nth_max);
  // Starts an engine and works until the power fails.
  std::string Work(bool drain);
  std::string Check();

  std::mt19937_64 random_;
  CoreOptions options_;
  penstock::testing::TempFolder folder_;
  const std::shared_ptr<penstock::testing::PowerLossFs> fs_;
  const std::unique_ptr<rocksdb::Env> env_;
  ShiftedClock clock_;
  Ledger ledger_;
  Workload workload_;
  std::unique_ptr<Store> store_;
  OpenReport report_;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_TESTS_FAULTS_POWER_LOSS_LIFE_H_
