#include "broker/engine/commit_pipeline.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "common/logging.h"
#include "common/status.h"
#include "common/text.h"
#include "fmt/format.h"

namespace penstock::broker {
namespace {

// Batches that may wait while one is written.
constexpr size_t kWaitingMax = 1;
// What a relaxed queue may lose when the power fails.
constexpr absl::Duration kRelaxedSync = absl::Milliseconds(100);

}  // namespace

absl::Status OutcomeUnknown(const absl::Status& cause) {
  return absl::UnavailableError(
      ToAbsl(fmt::format("the broker could not store it: {}; the outcome is unknown, repeat with the same request id",
                         ToStd(cause.message()))));
}

void FailEffects(const absl::Status& status, Effects* effects) {
  for (Reply& reply : effects->replies) {
    reply.status = status;
    reply.value = std::monostate();
  }
  for (SessionMessage& message : effects->session_messages) {
    const Ticket stream = message.stream;
    message = SessionMessage();
    message.stream = stream;
    message.end = status;
  }
  for (WatchEvent& event : effects->watch_events) event.status = status;
}

CommitPipeline::CommitPipeline(Store& store, EffectReceiver& receiver, Clock& clock, absl::Duration seal_after,
                               std::function<void(absl::Status)> on_failure, std::function<void()> on_idle)
    : store_(store),
      receiver_(receiver),
      clock_(clock),
      seal_after_(seal_after),
      on_failure_(std::move(on_failure)),
      on_idle_(std::move(on_idle)) {}

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

void CommitPipeline::Count(absl::Duration latency, size_t bytes, bool synced) {
  const int64_t micros = absl::ToInt64Microseconds(latency);
  MutexLock lock(mu_);
  recent_micros_[stats_.commits % recent_micros_.size()] = micros;
  ++stats_.commits;
  stats_.syncs += synced;
  stats_.bytes += bytes;
  stats_.latency_micros_sum += static_cast<uint64_t>(micros);
  const auto bound = std::lower_bound(kCommitLatencyBounds.begin(), kCommitLatencyBounds.end(), micros);
  ++stats_.latency_counts[static_cast<size_t>(bound - kCommitLatencyBounds.begin())];
}

void CommitPipeline::Run() {
  while (true) {
    CoreBatch batch;
    bool sync_now = false;
    {
      MutexLock lock(mu_);
      while (waiting_.empty() && !stopping_) {
        if (!unsynced_) {
          if (!unsealed_) {
            changed_.Wait(mu_);
          } else if (!changed_.WaitFor(mu_, seal_after_)) {
            break;
          }
          continue;
        }
        const absl::Duration left = kRelaxedSync - (clock_.Read().elapsed - unsynced_since_);
        if (left <= absl::ZeroDuration() || !changed_.WaitFor(mu_, left)) break;
      }
      if (waiting_.empty()) {
        if (!unsynced_ && stopping_) return;
        sync_now = true;  // nothing else to write: sync what relaxed queues were promised, or seal
      } else {
        batch = std::move(waiting_.front());
        waiting_.pop_front();
      }
    }
    changed_.SignalAll();
    if (sync_now) {
      if (absl::Status status = Sync(); !status.ok()) Fail(status, 0);
      continue;
    }
    Write(batch);
  }
}

absl::Status CommitPipeline::Sync() {
  // With an empty batch everything written before is on disk.
  RETURN_IF_ERROR(store_.Commit(CommitBatch(), true));
  unsealed_ = unsynced_;  // written before that was known to be on disk
  unsynced_ = false;
  MutexLock lock(mu_);
  ++stats_.syncs;
  return absl::OkStatus();
}

void CommitPipeline::Fail(const absl::Status& status, uint64_t sequence) {
  unsynced_ = false;  // nothing can be done about it any more
  unsealed_ = false;
  {
    MutexLock lock(mu_);
    failure_ = status;
  }
  LogFor("engine").error("commit failed sequence={} error=\"{}\"", sequence, ToStd(status.message()));
  on_failure_(status);
}

void CommitPipeline::Write(CoreBatch& batch) {
  absl::Status failure;
  {
    MutexLock lock(mu_);
    failure = failure_;
  }
  if (failure.ok()) {
    failure = Commit(batch);
    if (!failure.ok()) Fail(failure, batch.sequence);
  }
  bool idle;
  {
    MutexLock lock(mu_);
    idle = waiting_.empty();
  }
  if (idle) on_idle_();
  if (!failure.ok()) FailEffects(OutcomeUnknown(failure), &batch.effects);
  if (!batch.effects.empty()) receiver_.Release(std::move(batch.effects));
}

absl::Status CommitPipeline::Commit(const CoreBatch& batch) {
  const absl::Duration begin = clock_.Read().elapsed;
  // A relaxed batch is synced by the next that is not, or within 100 ms, whichever comes first.
  const bool overdue = unsynced_ && begin - unsynced_since_ >= kRelaxedSync;
  const bool sync = batch.effects.needs_sync || overdue;
  if (batch.sequence == 0) {
    // An answer may rest on what was written before it.
    return sync && unsynced_ ? Sync() : absl::OkStatus();
  }
  RETURN_IF_ERROR(store_.Commit(batch.writes, sync));
  Count(clock_.Read().elapsed - begin, batch.writes.bytes(), sync);
  unsealed_ = true;
  if (sync) {
    unsynced_ = false;
  } else if (!unsynced_) {
    unsynced_ = true;
    unsynced_since_ = begin;
  }
  MutexLock lock(mu_);
  ++committed_count_;
  return absl::OkStatus();
}

}  // namespace penstock::broker
