#ifndef PENSTOCK_BROKER_STORAGE_MEMORY_STORE_H_
#define PENSTOCK_BROKER_STORAGE_MEMORY_STORE_H_

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "broker/storage/store.h"
#include "common/mutex.h"

namespace penstock::broker {

// A store in memory: for tests, for simulations, and for the test kit of Penstock's users. It answers as RocksDbStore
// does (one conformance suite tests both) and fails only when told to.
//
// Threads: as for every Store, commits from one thread, reads and fault switches from any.
class MemoryStore final : public Store {
 public:
  MemoryStore();

  absl::StatusOr<std::string> Get(Family family, std::string_view key) const override;
  absl::Status Scan(Family family, std::string_view begin, std::string_view end,
                    absl::FunctionRef<bool(std::string_view key, std::string_view value)> visit) const override;
  absl::Status ScanBackward(Family family, std::string_view begin, std::string_view end,
                            absl::FunctionRef<bool(std::string_view key, std::string_view value)> visit) const override;
  absl::Status Commit(const CommitBatch& batch, bool sync) override;
  std::unique_ptr<StoreReader> Snapshot() const override;
  Health GetHealth() const override;

  // From now on commits fail with `status` until this is called with OK. As the contract of Store asks, any code but
  // ResourceExhausted is final: only a reopened store takes commits again. With `keep_first` the first of the failing
  // commits is applied all the same, as a disk may do: "outcome unknown" means both.
  void FailNextCommits(absl::Status status, bool keep_first = false);

  // A store of the same data, without faults, as after a restart. This store takes no more commits.
  std::unique_ptr<MemoryStore> Reopen();

 private:
  using Table = std::map<std::string, std::shared_ptr<const std::string>, std::less<>>;
  using Tables = std::array<std::shared_ptr<Table>, kFamilyCount>;

  // What outlives the store. A table that a snapshot shares is copied before it is changed.
  struct Data {
    mutable Mutex mu;
    Tables tables ABSL_GUARDED_BY(mu);
    uint64_t bytes ABSL_GUARDED_BY(mu) = 0;
  };
  class View;

  explicit MemoryStore(std::shared_ptr<Data> data);

  static void Apply(const CommitBatch& batch, Data* data);

  // Constant after construction.
  const std::shared_ptr<Data> data_;

  mutable Mutex mu_;
  absl::Status failure_ ABSL_GUARDED_BY(mu_);
  bool final_ ABSL_GUARDED_BY(mu_) = false;  // a commit has failed for good
  bool keep_first_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_STORAGE_MEMORY_STORE_H_
