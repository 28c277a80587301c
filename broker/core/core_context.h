#ifndef PENSTOCK_BROKER_CORE_CORE_CONTEXT_H_
#define PENSTOCK_BROKER_CORE_CORE_CONTEXT_H_

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "broker/core/block_cache.h"
#include "broker/core/commit_builder.h"
#include "broker/core/core_state.h"
#include "broker/core/effects.h"
#include "broker/core/options.h"
#include "broker/storage/history.h"
#include "broker/storage/keys.h"
#include "broker/storage/records.h"
#include "common/text.h"

namespace penstock::broker {

// What the parts of the core share: the state, the batch being built, and the moment it is built at. Owned by
// BrokerCore.
struct CoreContext {
  CoreContext(const CoreOptions& core_options, const StoreReader& store)
      : options(core_options),
        keys(core_options.partition),
        state(core_options.partition),
        commit(store),
        blocks(store, keys, core_options.block_cache_bytes) {}

  const CoreOptions options;
  const Keys keys;
  CoreState state;
  CommitBuilder commit;
  BlockCache blocks;

  // Of the batch being built:
  CoreNow now;
  uint64_t sequence = 0;
  Effects effects;
  absl::btree_map<uint32_t, HistoryBuilder> history;              // by bucket
  absl::btree_map<uint32_t, std::vector<std::string>> forgotten;  // keys of kIndex to delete, by bucket

  // Tells the parts that know lanes by address that one is going away.
  std::function<void(Lane*)> drop_lane;
  // A task that was charged to its group, or counted by throttles, is not running any more.
  std::function<void(const Lease&)> settle;
  size_t delivered_bytes = 0;  // since the core was made

  // The earliest times that were put under Keys::Expiry and Keys::Retention; the janitor takes them over.
  Time expiry_added = kNever;
  Time retention_added = kNever;
  // A queue was deleted, and before that, perhaps, in an earlier life of the core: its finished tasks are still to be
  // forgotten.
  bool queue_deleted = true;

  template <class Record>
  void Put(Family family, const std::string& key, const Record& record) {
    commit.Put(family, key, SealRecord(key, record));
  }
  void PutBody(Family family, const std::string& key, std::string_view body) {
    commit.Put(family, key, SealValue(key, body));
  }
  // What is promised about this queue's tasks in this batch needs an fsync first, unless its durability is relaxed.
  void Promise(const QueueState& queue) {
    if (!queue.settings.relaxed) effects.needs_sync = true;
  }
  void ReplyTo(Ticket ticket, absl::Status status) { effects.replies.push_back({ticket, std::move(status), {}}); }
  template <class Value>
  void ReplyTo(Ticket ticket, Value value) {
    effects.replies.push_back({ticket, absl::OkStatus(), std::move(value)});
  }
  void Fact(LogFact::Kind kind, std::string text) { effects.facts.push_back({kind, std::move(text)}); }
  // A record that cannot be read is reported and passed over; the rest goes on.
  void Unreadable(const absl::Status& status, std::string_view what) {
    Fact(LogFact::Kind::kRecordUnreadable, std::string(what) + ": " + std::string(status.message()));
  }
  // The message for a stream in this batch; one a stream.
  SessionMessage& MessageFor(Ticket stream) {
    for (auto it = effects.session_messages.rbegin(); it != effects.session_messages.rend(); ++it) {
      if (it->stream == stream) return *it;
    }
    effects.session_messages.emplace_back();
    effects.session_messages.back().stream = stream;
    return effects.session_messages.back();
  }
};

// A queue's settings and flags as they are stored, with what a later version may have written beside them.
records::QueueRecord MakeQueueRecord(const QueueState& queue);
// Stores them.
void PutQueueRecord(CoreContext& context, const QueueState& queue);
// Makes QueueState::weights of its settings.
void SetWeights(QueueState* queue);
// The reverse of PutQueueRecord.
void ReadQueueRecord(const records::QueueRecord& record, QueueState* queue);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_CORE_CORE_CONTEXT_H_
