#include "broker/engine/commit_pipeline.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace penstock::broker {
namespace {

// Batches that may wait while one is written.
constexpr size_t kWaitingMax = 1;

}  // namespace

CommitPipeline::CommitPipeline(Store& store, EffectReceiver& receiver, Clock& clock, absl::Duration seal_after,
                               std::function<void(absl::Status)> on_failure, std::function<void()> on_idle)
    : on_idle_(std::move(on_idle)), writer_(store, receiver, clock, seal_after, std::move(on_failure)) {}

CommitPipeline::~CommitPipeline() { Stop(); }

void CommitPipeline::Start() {
  thread_ = std::thread([this] { Run(); });
}

void CommitPipeline::Stop() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
  }
  changed_.SignalAll();
  if (thread_.joinable()) thread_.join();
}

void CommitPipeline::Submit(CoreBatch batch) {
  {
    MutexLock lock(mu_);
    while (waiting_.size() >= kWaitingMax) changed_.Wait(mu_);
    waiting_.push_back(std::move(batch));
  }
  changed_.SignalAll();
}

int CommitPipeline::TakeCommitted() {
  MutexLock lock(mu_);
  return std::exchange(committed_count_, 0);
}

CommitStats CommitPipeline::stats() const {
  CommitStats stats;
  std::vector<int64_t> recent;
  {
    MutexLock lock(mu_);
    stats = stats_;
    recent.assign(recent_micros_.begin(), recent_micros_.begin() + static_cast<std::ptrdiff_t>(std::min<uint64_t>(
                                                                       stats_.commits, recent_micros_.size())));
  }
  if (!recent.empty()) {
    std::sort(recent.begin(), recent.end());
    stats.latency_p50 = absl::Microseconds(recent[recent.size() / 2]);
    stats.latency_p99 = absl::Microseconds(recent[recent.size() * 99 / 100]);
  }
  return stats;
}

void CommitPipeline::OnWritten(const CommitWriter::Written& written, size_t bytes) {
  bool idle;
  {
    MutexLock lock(mu_);
    idle = waiting_.empty();
    stats_.syncs += written.synced;
    if (written.committed) {
      const int64_t micros = absl::ToInt64Microseconds(written.latency);
      recent_micros_[stats_.commits % recent_micros_.size()] = micros;
      ++stats_.commits;
      stats_.bytes += bytes;
      stats_.latency_micros_sum += static_cast<uint64_t>(micros);
      const auto bound = std::lower_bound(kCommitLatencyBounds.begin(), kCommitLatencyBounds.end(), micros);
      ++stats_.latency_counts[static_cast<size_t>(bound - kCommitLatencyBounds.begin())];
      ++committed_count_;
    }
  }
  if (idle) on_idle_();
}

void CommitPipeline::Run() {
  while (true) {
    CoreBatch batch;
    bool sync_now = false;
    {
      MutexLock lock(mu_);
      while (waiting_.empty() && !stopping_) {
        const absl::Duration left = writer_.UntilSync();
        if (left == absl::InfiniteDuration()) {
          changed_.Wait(mu_);
        } else if (left <= absl::ZeroDuration() || !changed_.WaitFor(mu_, left)) {
          break;
        }
      }
      if (waiting_.empty()) {
        if (!writer_.unsynced() && stopping_) return;
        sync_now = true;  // nothing else to write: sync what relaxed queues were promised, or seal
      } else {
        batch = std::move(waiting_.front());
        waiting_.pop_front();
      }
    }
    changed_.SignalAll();
    if (sync_now) {
      if (writer_.Sync()) OnWritten({.synced = true}, 0);
      continue;
    }
    const size_t bytes = batch.writes.bytes();
    writer_.Write(batch, [&](const CommitWriter::Written& written) { OnWritten(written, bytes); });
  }
}

}  // namespace penstock::broker
