#ifndef PENSTOCK_TESTS_SIMULATION_SIM_STORE_H_
#define PENSTOCK_TESTS_SIMULATION_SIM_STORE_H_

#include <array>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "broker/storage/store.h"

namespace penstock::broker {

// A disk in memory, with what is on it (synced) and what only the operating system has. It remembers how to undo every
// commit that was not synced, so that a power failure can take the last ones back. Faults are switched from outside. It
// keeps to Store's contract and holds its caller to it: what a correct core never does is noted in misuse(). One
// thread.
class SimStore final : public Store {
 public:
  absl::StatusOr<std::string> Get(Family family, std::string_view key) const override;
  absl::Status Scan(Family family, std::string_view begin, std::string_view end,
                    absl::FunctionRef<bool(std::string_view key, std::string_view value)> visit) const override;
  absl::Status ScanBackward(Family family, std::string_view begin, std::string_view end,
                            absl::FunctionRef<bool(std::string_view key, std::string_view value)> visit) const override;
  absl::Status Commit(const CommitBatch& batch, bool sync) override;
  std::unique_ptr<StoreReader> Snapshot() const override;
  Health GetHealth() const override;

  // The next commit fails for good; with `keep` it is on disk all the same.
  void FailNextCommit(bool keep) {
    fail_next_ = true;
    keep_failed_ = keep;
  }
  // While the disk is full, commits are refused and nothing is applied.
  void set_full(bool full) { full_ = full; }
  bool full() const { return full_; }

  // The power fails: the last `lost` of the commits that were not synced are gone.
  void LosePower(size_t lost);
  size_t unsynced() const { return undo_.size(); }
  // As after a restart of the process that had it open.
  void Reopen();

  const std::string& misuse() const { return misuse_; }

 private:
  using Table = std::map<std::string, std::string, std::less<>>;
  struct Undo {
    Family family;
    std::string key;
    std::optional<std::string> value;  // before
  };
  class View;
  void Apply(const CommitBatch& batch, std::vector<Undo>* undo);

  std::array<Table, kFamilyCount> tables_;
  std::deque<std::vector<Undo>> undo_;  // of the commits that were not synced
  bool fail_next_ = false;
  bool keep_failed_ = false;
  bool full_ = false;
  bool failed_ = false;
  std::string misuse_;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_TESTS_SIMULATION_SIM_STORE_H_
