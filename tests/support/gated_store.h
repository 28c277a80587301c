#ifndef PENSTOCK_TESTS_SUPPORT_GATED_STORE_H_
#define PENSTOCK_TESTS_SUPPORT_GATED_STORE_H_

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "broker/storage/memory_store.h"
#include "broker/storage/store.h"
#include "common/mutex.h"

namespace penstock::broker {

// A store in memory whose commits a test can hold, fail and watch.
//
// Threads: as for every Store, commits from one thread, reads and switches from any. Reopen only while nobody else uses
// the store.
class GatedStore final : public Store {
 public:
  // --- the engine's side ---
  absl::StatusOr<std::string> Get(Family family, std::string_view key) const override;
  absl::Status Scan(Family family, std::string_view begin, std::string_view end,
                    absl::FunctionRef<bool(std::string_view key, std::string_view value)> visit) const override;
  absl::Status ScanBackward(Family family, std::string_view begin, std::string_view end,
                            absl::FunctionRef<bool(std::string_view key, std::string_view value)> visit) const override;
  absl::Status Commit(const CommitBatch& batch, bool sync) override;
  std::unique_ptr<StoreReader> Snapshot() const override;
  Health GetHealth() const override;

  // --- the test's side ---
  // From now on commits wait, before anything is written; or only those with sync. Open lets them go on.
  void Hold();
  void HoldSyncs();
  void Open();
  // Waits until a commit stands at the gate.
  void AwaitHeld();
  // From now on commits fail; see MemoryStore::FailNextCommits.
  void Fail(absl::Status status, bool keep_first = false);
  // The same data without faults, as after a restart.
  void Reopen();

  // Calls of Commit that came, with and without success.
  size_t attempts() const;
  // Batches that were written, by the first key of each.
  std::vector<std::string> written() const;
  size_t commits() const;
  size_t syncs() const;
  // Of the commits, those that a power failure would not undo.
  size_t durable_commits() const;
  void AwaitSyncs(size_t count);

 private:
  enum class Gate { kOpen, kHoldSyncs, kHoldAll };
  void Set(Gate gate);

  std::unique_ptr<MemoryStore> memory_ = std::make_unique<MemoryStore>();

  mutable Mutex mu_;
  CondVar changed_;
  Gate gate_ ABSL_GUARDED_BY(mu_) = Gate::kOpen;
  bool held_ ABSL_GUARDED_BY(mu_) = false;
  size_t attempts_ ABSL_GUARDED_BY(mu_) = 0;
  size_t syncs_ ABSL_GUARDED_BY(mu_) = 0;
  size_t durable_commits_ ABSL_GUARDED_BY(mu_) = 0;
  std::vector<std::string> written_ ABSL_GUARDED_BY(mu_);
};

}  // namespace penstock::broker

#endif  // PENSTOCK_TESTS_SUPPORT_GATED_STORE_H_
