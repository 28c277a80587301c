#ifndef PENSTOCK_BROKER_ENGINE_ENGINE_H_
#define PENSTOCK_BROKER_ENGINE_ENGINE_H_

#include <atomic>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "broker/core/broker_core.h"
#include "broker/engine/commit_pipeline.h"
#include "broker/engine/core_clock.h"
#include "broker/engine/door.h"
#include "broker/engine/mailbox.h"
#include "broker/storage/store.h"
#include "common/clock.h"

namespace penstock::broker {

struct EngineOptions {
  CoreOptions core;
  MailboxLimits mailbox = {};
  // A batch takes at most about this many bytes of commands; the rest waits for the next.
  size_t batch_bytes = 1 << 20;
  // See CommitPipeline.
  absl::Duration seal_after = absl::Milliseconds(100);
};

// Drives one partition: takes all that waits in the mailbox, applies it, hands the batch to the commit thread, and
// while that one syncs, applies the next. No timer: under load the batches grow by themselves. Two threads: the
// engine's, which owns the core, and the commit pipeline's, which owns writing.
//
// When a commit fails, its outcome is unknown: every caller is answered so, and `on_failure` is called once. The owner
// stops the engine and starts a new one on the store opened anew: the same path as any start.
class Engine : public CommandDoor {
 public:
  Engine(const EngineOptions& options, Store& store, EffectReceiver& receiver, Clock& clock,
         std::function<void(absl::Status)> on_failure);
  ~Engine() override;  // stops

  // Recovers the core and starts. DataLoss: see BrokerCore::Recover.
  absl::Status Start();
  // Hands out no more tasks; completions and everything else go on. Any thread, any number of times.
  void StopDispatch();
  // The clock was moved by hand: does what is due now. Any thread.
  void LookAtClock();
  // Takes no more commands, commits what was taken, answers everybody, joins the threads. Safe twice and early.
  void Stop();

  using CommandDoor::Post;
  absl::Status Post(Command&& command, size_t bytes, absl::Duration patience) override;
  absl::Status MayEnqueue(size_t bytes, absl::Duration patience) override;
  void WhenRoom(std::function<void()> room) override;
  std::unique_ptr<StoreReader> Snapshot() const override { return store_.Snapshot(); }

  size_t mailbox_bytes() const { return mailbox_.bytes(); }
  CommitStats commit_stats() const { return pipeline_.stats(); }
  uint64_t epoch() const { return epoch_; }
  // Stored records that turned out to be damaged, each of which the log names.
  uint64_t unreadable_records() const { return unreadable_records_; }

 private:
  void Run();
  absl::Duration UntilDeadline(const CoreNow& now) const;
  void LogFacts(const std::vector<LogFact>& facts);

  const EngineOptions options_;
  Store& store_;
  Clock& clock_;
  Mailbox mailbox_;
  CommitPipeline pipeline_;
  std::atomic<bool> stop_dispatch_ = false;
  // Set after the mailbox was closed.
  std::atomic<bool> stopping_ = false;
  std::atomic<bool> failed_ = false;
  std::atomic<uint64_t> epoch_ = 0;
  std::atomic<uint64_t> unreadable_records_ = 0;
  std::atomic<bool> started_ = false;
  std::thread thread_;

  // Of the engine's thread:
  std::unique_ptr<BrokerCore> core_;
  CoreClock core_clock_;
  uint64_t worker_commands_taken_ = 0;  // ever
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_ENGINE_ENGINE_H_
