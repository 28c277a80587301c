#include "broker/storage/memory_store.h"

#include <utility>

#include "common/status.h"

namespace penstock::broker {

// The tables as they are at its construction.
class MemoryStore::View final : public StoreReader {
 public:
  explicit View(std::shared_ptr<Data> data) : data_(std::move(data)) {
    MutexLock lock(data_->mu);
    tables_ = data_->tables;
  }
  // Under the lock, so that a commit which finds a table unshared has seen the end of our reading.
  ~View() override {
    MutexLock lock(data_->mu);
    tables_ = {};
  }

  absl::StatusOr<std::string> Get(Family family, std::string_view key) const override {
    const Table& table = *tables_[static_cast<size_t>(family)];
    auto found = table.find(key);
    if (found == table.end()) return absl::NotFoundError("no such key");
    return *found->second;
  }

  absl::Status Scan(Family family, std::string_view begin, std::string_view end,
                    absl::FunctionRef<bool(std::string_view key, std::string_view value)> visit) const override {
    const Table& table = *tables_[static_cast<size_t>(family)];
    for (auto it = table.lower_bound(begin); it != table.end() && (end.empty() || it->first < end); ++it) {
      if (!visit(it->first, *it->second)) break;
    }
    return absl::OkStatus();
  }

  absl::Status ScanBackward(
      Family family, std::string_view begin, std::string_view end,
      absl::FunctionRef<bool(std::string_view key, std::string_view value)> visit) const override {
    const Table& table = *tables_[static_cast<size_t>(family)];
    auto it = end.empty() ? table.end() : table.lower_bound(end);
    while (it != table.begin()) {
      --it;
      if (it->first < begin || !visit(it->first, *it->second)) break;
    }
    return absl::OkStatus();
  }

 private:
  const std::shared_ptr<Data> data_;
  Tables tables_;
};

MemoryStore::MemoryStore() : MemoryStore(std::make_shared<Data>()) {
  MutexLock lock(data_->mu);
  for (auto& table : data_->tables) table = std::make_shared<Table>();
}

MemoryStore::MemoryStore(std::shared_ptr<Data> data) : data_(std::move(data)) {}

absl::StatusOr<std::string> MemoryStore::Get(Family family, std::string_view key) const {
  std::shared_ptr<const std::string> value;
  {
    MutexLock lock(data_->mu);
    const Table& table = *data_->tables[static_cast<size_t>(family)];
    auto found = table.find(key);
    if (found == table.end()) return absl::NotFoundError("no such key");
    value = found->second;
  }
  return *value;
}

// Scans read a view, so that `visit` may call the store.
absl::Status MemoryStore::Scan(Family family, std::string_view begin, std::string_view end,
                               absl::FunctionRef<bool(std::string_view key, std::string_view value)> visit) const {
  return View(data_).Scan(family, begin, end, visit);
}

absl::Status MemoryStore::ScanBackward(
    Family family, std::string_view begin, std::string_view end,
    absl::FunctionRef<bool(std::string_view key, std::string_view value)> visit) const {
  return View(data_).ScanBackward(family, begin, end, visit);
}

absl::Status MemoryStore::Commit(const CommitBatch& batch, bool /*sync*/) {
  // A broken batch must not be applied by half.
  const absl::Status readable = batch.ForEach([](const CommitBatch::Operation&) {});
  absl::Status failure;
  {
    MutexLock lock(mu_);
    if (failure_.ok() && !readable.ok()) failure_ = readable;
    failure = failure_;
    if (!failure.ok()) {
      final_ = final_ || !absl::IsResourceExhausted(failure);
      if (!std::exchange(keep_first_, false) || !readable.ok()) return failure;
    }
  }
  Apply(batch, data_.get());
  return failure;
}

void MemoryStore::Apply(const CommitBatch& batch, Data* data) {
  MutexLock lock(data->mu);
  auto size = [](const Table::value_type& entry) { return entry.first.size() + entry.second->size(); };
  // The batch has been read to its end before: this cannot fail.
  batch
      .ForEach([&](const CommitBatch::Operation& operation) ABSL_NO_THREAD_SAFETY_ANALYSIS {
        std::shared_ptr<Table>& shared = data->tables[static_cast<size_t>(operation.family)];
        if (shared.use_count() > 1) shared = std::make_shared<Table>(*shared);
        Table& table = *shared;
        auto first = table.lower_bound(operation.key);
        auto last = first;
        switch (operation.kind) {
          case CommitBatch::Kind::kPut:
          case CommitBatch::Kind::kDelete:
          case CommitBatch::Kind::kSingleDelete:
            if (last != table.end() && last->first == operation.key) ++last;
            break;
          case CommitBatch::Kind::kDeleteRange:
            if (operation.key < operation.value) last = table.lower_bound(operation.value);
            break;
        }
        for (auto it = first; it != last; ++it) data->bytes -= size(*it);
        auto next = table.erase(first, last);
        if (operation.kind == CommitBatch::Kind::kPut) {
          data->bytes += size(*table.emplace_hint(next, operation.key, std::make_shared<std::string>(operation.value)));
        }
      })
      .IgnoreError();
}

std::unique_ptr<StoreReader> MemoryStore::Snapshot() const { return std::make_unique<View>(data_); }

Store::Health MemoryStore::GetHealth() const {
  Health health;
  {
    MutexLock lock(mu_);
    health.status = failure_;
  }
  MutexLock lock(data_->mu);
  health.data_bytes = data_->bytes;
  health.memory_bytes = data_->bytes;
  return health;
}

void MemoryStore::FailNextCommits(absl::Status status, bool keep_first) {
  MutexLock lock(mu_);
  if (final_) return;
  failure_ = std::move(status);
  keep_first_ = keep_first && !failure_.ok();
}

std::unique_ptr<MemoryStore> MemoryStore::Reopen() {
  {
    MutexLock lock(mu_);
    failure_ = absl::UnavailableError("the store has been opened anew");
    keep_first_ = false;
    final_ = true;
  }
  return std::unique_ptr<MemoryStore>(new MemoryStore(data_));
}

}  // namespace penstock::broker
