#ifndef PENSTOCK_BROKER_ENGINE_COMMIT_PIPELINE_H_
#define PENSTOCK_BROKER_ENGINE_COMMIT_PIPELINE_H_

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <thread>

#include "absl/status/status.h"
#include "broker/core/broker_core.h"
#include "broker/engine/commit_writer.h"
#include "broker/engine/door.h"
#include "broker/storage/store.h"
#include "common/clock.h"
#include "common/mutex.h"

namespace penstock::broker {

// Upper bounds of the commit latency histogram, in microseconds; the last bucket has none.
inline constexpr std::array<int64_t, 15> kCommitLatencyBounds = {
    100, 200, 350, 500, 750, 1'000, 1'500, 2'500, 5'000, 10'000, 25'000, 50'000, 100'000, 250'000, 1'000'000};

struct CommitStats {
  uint64_t commits = 0;
  uint64_t syncs = 0;
  uint64_t bytes = 0;
  std::array<uint64_t, kCommitLatencyBounds.size() + 1> latency_counts{};  // not cumulative
  uint64_t latency_micros_sum = 0;
  // Of the last 1,024 commits.
  absl::Duration latency_p50;
  absl::Duration latency_p99;
};

// Writes batches in their order and releases their effects when they are as safe as was promised. One batch is being
// written while the next may wait: so the engine is at most two ahead, and under load its batches grow.
class CommitPipeline {
 public:
  // `on_failure` is called once, on the commit thread, when a commit or a sync failed, before anybody is told.
  // `on_idle` is called on the commit thread when what was submitted is in the store and nothing else waits.
  // After `seal_after` without work an empty record is written: it says in the log that all before it was on disk, so
  // that damage to the last commit, too, is recognised as such at the next start (storage/wal_recovery.h).
  CommitPipeline(Store& store, EffectReceiver& receiver, Clock& clock, absl::Duration seal_after,
                 std::function<void(absl::Status)> on_failure, std::function<void()> on_idle);
  ~CommitPipeline();

  void Start();
  // Writes what was submitted and ends. Safe twice and early.
  void Stop();

  // Hands a batch over; waits while another waits already. Engine's thread.
  void Submit(CoreBatch batch);
  // The number of batches with writes that are in the store since the last call. Engine's thread.
  int TakeCommitted();

  CommitStats stats() const;

 private:
  void Run();
  // A commit's writes are in the store, or never will be; its effects are not released yet.
  void OnWritten(const CommitWriter::Written& written, size_t bytes);

  mutable Mutex mu_;
  CondVar changed_;
  std::deque<CoreBatch> waiting_ ABSL_GUARDED_BY(mu_);
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  int committed_count_ ABSL_GUARDED_BY(mu_) = 0;
  CommitStats stats_ ABSL_GUARDED_BY(mu_);
  std::array<int64_t, 1'024> recent_micros_ ABSL_GUARDED_BY(mu_) = {};
  const std::function<void()> on_idle_;
  CommitWriter writer_;  // the commit thread's
  std::thread thread_;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_ENGINE_COMMIT_PIPELINE_H_
