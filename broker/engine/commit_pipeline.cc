#include "broker/engine/commit_pipeline.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "common/logging.h"
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

CommitPipeline::CommitPipeline(Store& store, EffectReceiver& receiver, Clock& clock,
                               std::function<void(absl::Status)> on_failure)
    : store_(store),
      receiver_(receiver),
      clock_(clock),
      on_failure_(std::move(on_failure)) {}

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

bool CommitPipeline::idle() const {
  MutexLock lock(mu_);
  return waiting_.empty() && !writing_;
}

bool CommitPipeline::failed() const {
  MutexLock lock(mu_);
  return !failure_.ok();
}

CommitStats CommitPipeline::stats() const {
  CommitStats stats;
  std::vector<int64_t> recent;
  {
    MutexLock lock(mu_);
    stats = stats_;
    recent.assign(recent_micros_.begin(),
                  recent_micros_.begin() + static_cast<std::ptrdiff_t>(std::min<uint64_t>(stats_.commits, recent_micros_.size())));
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
          changed_.Wait(mu_);
          continue;
        }
        const absl::Duration left = kRelaxedSync - (clock_.Read().elapsed - unsynced_since_);
        if (left <= absl::ZeroDuration() || !changed_.WaitFor(mu_, left)) break;
      }
      if (waiting_.empty()) {
        if (!unsynced_ && stopping_) return;
        sync_now = true;  // nothing else to write: sync what relaxed queues were promised
      } else {
        batch = std::move(waiting_.front());
        waiting_.pop_front();
        writing_ = true;
      }
    }
    changed_.SignalAll();
    if (sync_now) {
      // An empty batch with sync: everything written before is on disk after it.
      if (absl::Status status = store_.Commit(CommitBatch(), true); !status.ok()) {
        LogFor("engine").error("sync failed error=\"{}\"", ToStd(status.message()));
      }
      unsynced_ = false;
      MutexLock lock(mu_);
      ++stats_.syncs;
      continue;
    }
    Write(batch);
    {
      MutexLock lock(mu_);
      writing_ = false;
    }
    changed_.SignalAll();
  }
}

void CommitPipeline::Write(CoreBatch& batch) {
  absl::Status status;
  {
    MutexLock lock(mu_);
    status = failure_;
  }
  if (status.ok() && batch.sequence != 0) {
    const absl::Duration begin = clock_.Read().elapsed;
    // A relaxed batch is synced by the next that is not, or within 100 ms, whichever comes first.
    const bool overdue = unsynced_ && begin - unsynced_since_ >= kRelaxedSync;
    const bool sync = batch.effects.needs_sync || overdue;
    // A full disk refuses what is written without harm; the space that completions free may make room for it.
    status = store_.Commit(batch.writes, sync);
    const absl::Duration end = clock_.Read().elapsed;
    if (status.ok()) {
      Count(end - begin, batch.writes.bytes(), sync);
      if (sync) {
        unsynced_ = false;
      } else if (!unsynced_) {
        unsynced_ = true;
        unsynced_since_ = begin;
      }
      MutexLock lock(mu_);
      ++committed_count_;
    }
  } else if (status.ok() && batch.effects.needs_sync && unsynced_) {
    // An answer that rests on what was written before it.
    status = store_.Commit(CommitBatch(), true);
    unsynced_ = false;
  }
  if (!status.ok()) {
    bool first;
    {
      MutexLock lock(mu_);
      first = failure_.ok();
      if (first) failure_ = status;
    }
    if (first) {
      LogFor("engine").error("commit failed sequence={} error=\"{}\"", batch.sequence, ToStd(status.message()));
      on_failure_(status);
    }
    FailEffects(OutcomeUnknown(status), &batch.effects);
  }
  if (!batch.effects.empty()) receiver_.Release(std::move(batch.effects));
}

}  // namespace penstock::broker
