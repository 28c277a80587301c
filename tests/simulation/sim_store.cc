#include "tests/simulation/sim_store.h"

#include <utility>

#include "common/status.h"

namespace penstock::broker {
namespace {

template <class Table, class Visit>
void ScanTable(const Table& table, std::string_view begin, std::string_view end, Visit visit) {
  for (auto it = table.lower_bound(begin); it != table.end() && (end.empty() || it->first < end); ++it) {
    if (!visit(it->first, it->second)) return;
  }
}

template <class Table, class Visit>
void ScanTableBackward(const Table& table, std::string_view begin, std::string_view end, Visit visit) {
  auto it = end.empty() ? table.end() : table.lower_bound(end);
  while (it != table.begin()) {
    --it;
    if (it->first < begin || !visit(it->first, it->second)) return;
  }
}

}  // namespace

class SimStore::View final : public StoreReader {
 public:
  explicit View(const std::array<Table, kFamilyCount>& tables) : tables_(tables) {}
  absl::StatusOr<std::string> Get(Family family, std::string_view key) const override {
    auto found = Of(family).find(key);
    if (found == Of(family).end()) return absl::NotFoundError("no such key");
    return found->second;
  }
  absl::Status Scan(Family family, std::string_view begin, std::string_view end,
                    absl::FunctionRef<bool(std::string_view, std::string_view)> visit) const override {
    ScanTable(Of(family), begin, end, visit);
    return absl::OkStatus();
  }
  absl::Status ScanBackward(Family family, std::string_view begin, std::string_view end,
                            absl::FunctionRef<bool(std::string_view, std::string_view)> visit) const override {
    ScanTableBackward(Of(family), begin, end, visit);
    return absl::OkStatus();
  }

 private:
  const Table& Of(Family family) const { return tables_[static_cast<size_t>(family)]; }
  const std::array<Table, kFamilyCount> tables_;
};

absl::StatusOr<std::string> SimStore::Get(Family family, std::string_view key) const {
  const Table& table = tables_[static_cast<size_t>(family)];
  auto found = table.find(key);
  if (found == table.end()) return absl::NotFoundError("no such key");
  return found->second;
}

absl::Status SimStore::Scan(Family family, std::string_view begin, std::string_view end,
                            absl::FunctionRef<bool(std::string_view, std::string_view)> visit) const {
  ScanTable(tables_[static_cast<size_t>(family)], begin, end, visit);
  return absl::OkStatus();
}

absl::Status SimStore::ScanBackward(Family family, std::string_view begin, std::string_view end,
                                    absl::FunctionRef<bool(std::string_view, std::string_view)> visit) const {
  ScanTableBackward(tables_[static_cast<size_t>(family)], begin, end, visit);
  return absl::OkStatus();
}

void SimStore::Apply(const CommitBatch& batch, std::vector<Undo>* undo) {
  // Our own encoding, just made.
  (void)batch.ForEach([&](const CommitBatch::Operation& operation) {
    Table& table = tables_[static_cast<size_t>(operation.family)];
    auto it = table.lower_bound(operation.key);
    const bool there = it != table.end() && it->first == operation.key;
    auto remember = [&](Table::iterator entry) {
      undo->push_back({operation.family, entry->first, std::move(entry->second)});
    };
    switch (operation.kind) {
      case CommitBatch::Kind::kPut:
        if (operation.family == Family::kBlocks && there) misuse_ = "a block was written twice";
        if (there) {
          undo->push_back({operation.family, it->first, std::exchange(it->second, std::string(operation.value))});
        } else {
          it = table.emplace_hint(it, operation.key, operation.value);
          undo->push_back({operation.family, it->first, std::nullopt});
        }
        break;
      case CommitBatch::Kind::kSingleDelete:
        // Of a key that was put twice, an old value may come back.
        if (operation.family != Family::kBlocks) misuse_ = "SingleDelete outside of the blocks";
        [[fallthrough]];
      case CommitBatch::Kind::kDelete:
        if (!there) break;
        remember(it);
        table.erase(it);
        break;
      case CommitBatch::Kind::kDeleteRange:
        while (it != table.end() && it->first < operation.value) {
          remember(it);
          it = table.erase(it);
        }
        break;
    }
  });
}

absl::Status SimStore::Commit(const CommitBatch& batch, bool sync) {
  if (failed_) return absl::UnavailableError("the store must be opened anew");
  if (full_) return absl::ResourceExhaustedError("no space left on device");
  const bool fails = std::exchange(fail_next_, false);
  if (fails) failed_ = true;
  if (fails && !keep_failed_) return absl::UnavailableError("input/output error");
  if (!batch.empty()) Apply(batch, &undo_.emplace_back());
  if (fails) return absl::UnavailableError("input/output error");
  if (sync) undo_.clear();
  return absl::OkStatus();
}

std::unique_ptr<StoreReader> SimStore::Snapshot() const { return std::make_unique<View>(tables_); }

Store::Health SimStore::GetHealth() const {
  Health health;
  if (failed_) health.status = absl::UnavailableError("input/output error");
  if (full_) health.status = absl::ResourceExhaustedError("no space left on device");
  return health;
}

void SimStore::LosePower(size_t lost) {
  for (; lost > 0 && !undo_.empty(); --lost, undo_.pop_back()) {
    std::vector<Undo>& commit = undo_.back();
    for (auto undo = commit.rbegin(); undo != commit.rend(); ++undo) {
      Table& table = tables_[static_cast<size_t>(undo->family)];
      if (undo->value) {
        table[undo->key] = std::move(*undo->value);
      } else {
        table.erase(undo->key);
      }
    }
  }
  undo_.clear();  // what survived is on disk
}

void SimStore::Reopen() {
  failed_ = false;
  fail_next_ = false;
}

}  // namespace penstock::broker
