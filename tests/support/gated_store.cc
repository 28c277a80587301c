#include "tests/support/gated_store.h"

#include <optional>
#include <utility>

namespace penstock::broker {
namespace {

std::string FirstKey(const CommitBatch& batch) {
  std::optional<std::string> first;
  batch
      .ForEach([&](const CommitBatch::Operation& operation) {
        if (!first) first = std::string(operation.key);
      })
      .IgnoreError();
  return first.value_or("");
}

}  // namespace

absl::StatusOr<std::string> GatedStore::Get(Family family, std::string_view key) const {
  return memory_->Get(family, key);
}

absl::Status GatedStore::Scan(Family family, std::string_view begin, std::string_view end,
                              absl::FunctionRef<bool(std::string_view key, std::string_view value)> visit) const {
  return memory_->Scan(family, begin, end, visit);
}

absl::Status GatedStore::ScanBackward(
    Family family, std::string_view begin, std::string_view end,
    absl::FunctionRef<bool(std::string_view key, std::string_view value)> visit) const {
  return memory_->ScanBackward(family, begin, end, visit);
}

absl::Status GatedStore::Commit(const CommitBatch& batch, bool sync) {
  {
    MutexLock lock(mu_);
    ++attempts_;
    while (gate_ == Gate::kHoldAll || (gate_ == Gate::kHoldSyncs && sync)) {
      held_ = true;
      changed_.SignalAll();
      changed_.Wait(mu_);
    }
    held_ = false;
  }
  absl::Status status = memory_->Commit(batch, sync);
  if (!status.ok()) return status;
  MutexLock lock(mu_);
  if (!batch.empty()) written_.push_back(FirstKey(batch));
  if (sync) {
    ++syncs_;
    durable_commits_ = written_.size();
  }
  changed_.SignalAll();
  return status;
}

std::unique_ptr<StoreReader> GatedStore::Snapshot() const { return memory_->Snapshot(); }

Store::Health GatedStore::GetHealth() const { return memory_->GetHealth(); }

void GatedStore::Set(Gate gate) {
  MutexLock lock(mu_);
  gate_ = gate;
  changed_.SignalAll();
}

void GatedStore::Hold() { Set(Gate::kHoldAll); }

void GatedStore::HoldSyncs() { Set(Gate::kHoldSyncs); }

void GatedStore::Open() { Set(Gate::kOpen); }

void GatedStore::AwaitHeld() {
  MutexLock lock(mu_);
  while (!held_) changed_.Wait(mu_);
}

void GatedStore::Fail(absl::Status status, bool keep_first) { memory_->FailNextCommits(std::move(status), keep_first); }

void GatedStore::Reopen() { memory_ = memory_->Reopen(); }

size_t GatedStore::attempts() const {
  MutexLock lock(mu_);
  return attempts_;
}

std::vector<std::string> GatedStore::written() const {
  MutexLock lock(mu_);
  return written_;
}

size_t GatedStore::commits() const {
  MutexLock lock(mu_);
  return written_.size();
}

size_t GatedStore::syncs() const {
  MutexLock lock(mu_);
  return syncs_;
}

size_t GatedStore::durable_commits() const {
  MutexLock lock(mu_);
  return durable_commits_;
}

void GatedStore::AwaitSyncs(size_t count) {
  MutexLock lock(mu_);
  while (syncs_ < count) changed_.Wait(mu_);
}

}  // namespace penstock::broker
