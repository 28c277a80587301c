#ifndef PENSTOCK_BROKER_CORE_COMMIT_BUILDER_H_
#define PENSTOCK_BROKER_CORE_COMMIT_BUILDER_H_

#include <deque>
#include <optional>
#include <string>
#include <string_view>

#include "absl/container/btree_map.h"
#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "broker/storage/commit_batch.h"
#include "broker/storage/store.h"

namespace penstock::broker {

// The batch being built, and what the core reads through: the store, the batches in flight, and this batch's own writes
// on top. Engine's thread only. Ranges that are deleted, blocks and deltas do not show in reads: the core does not read
// them back.
class CommitBuilder {
 public:
  explicit CommitBuilder(const StoreReader& store) : store_(store) {}

  void Put(Family family, std::string_view key, std::string_view value);
  void Delete(Family family, std::string_view key);
  void SingleDelete(Family family, std::string_view key) { batch_.SingleDelete(family, key); }
  void DeleteRange(Family family, std::string_view begin, std::string_view end) {
    batch_.DeleteRange(family, begin, end);
  }

  // As in StoreReader.
  absl::StatusOr<std::string> Get(Family family, std::string_view key) const;
  absl::Status Scan(Family family, std::string_view begin, std::string_view end,
                    absl::FunctionRef<bool(std::string_view key, std::string_view value)> visit) const;

  size_t bytes() const { return batch_.bytes(); }
  bool empty() const { return batch_.empty(); }

  // Ends the batch: its writes stay visible to reads until Committed is called for it.
  CommitBatch Seal();
  // The oldest sealed batch is in the store.
  void Committed();

 private:
  // Written values, and nullopt for deleted keys.
  using Overlay = absl::btree_map<std::string, std::optional<std::string>>;

  static std::string OverlayKey(Family family, std::string_view key);
  static bool Shows(Family family) {
    return family == Family::kTasks || family == Family::kIndex || family == Family::kHistory;
  }

  const StoreReader& store_;
  CommitBatch batch_;
  Overlay current_;
  std::deque<Overlay> in_flight_;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_CORE_COMMIT_BUILDER_H_
