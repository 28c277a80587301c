#include "broker/engine/commit_writer.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "common/logging.h"
#include "common/status.h"
#include "common/text.h"
#include "fmt/format.h"

namespace penstock::broker {
namespace {

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

CommitWriter::CommitWriter(Store& store, EffectReceiver& receiver, Clock& clock, absl::Duration seal_after,
                           std::function<void(absl::Status)> on_failure)
    : store_(store), receiver_(receiver), clock_(clock), seal_after_(seal_after), on_failure_(std::move(on_failure)) {}

void CommitWriter::Write(CoreBatch& batch, absl::FunctionRef<void(const Written&)> tell) {
  Written written;
  if (failure_.ok()) {
    if (absl::Status status = Commit(batch, &written); !status.ok()) Fail(status, batch.sequence);
  }
  tell(written);
  if (!failure_.ok()) FailEffects(OutcomeUnknown(failure_), &batch.effects);
  if (!batch.effects.empty()) receiver_.Release(std::move(batch.effects));
}

absl::Status CommitWriter::Commit(const CoreBatch& batch, Written* written) {
  const absl::Duration begin = clock_.Read().elapsed;
  // A relaxed batch is synced by the next that is not, or within 100 ms, whichever comes first.
  const bool overdue = unsynced_ && begin - unsynced_since_ >= kRelaxedSync;
  const bool sync = batch.effects.needs_sync || overdue;
  if (batch.sequence == 0) {
    // An answer may rest on what was written before it.
    if (!sync || !unsynced_) return absl::OkStatus();
    RETURN_IF_ERROR(SyncStore());
    written->synced = true;
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(store_.Commit(batch.writes, sync));
  written->committed = true;
  written->synced = sync;
  written->latency = clock_.Read().elapsed - begin;
  unsealed_ = true;
  if (sync) {
    unsynced_ = false;
  } else if (!unsynced_) {
    unsynced_ = true;
    unsynced_since_ = begin;
  }
  return absl::OkStatus();
}

absl::Duration CommitWriter::UntilSync() const {
  if (unsynced_) return std::max(kRelaxedSync - (clock_.Read().elapsed - unsynced_since_), absl::ZeroDuration());
  return unsealed_ ? seal_after_ : absl::InfiniteDuration();
}

bool CommitWriter::Sync() {
  absl::Status status = SyncStore();
  if (!status.ok()) Fail(status, 0);
  return status.ok();
}

absl::Status CommitWriter::SyncStore() {
  // With an empty batch everything written before is on disk.
  RETURN_IF_ERROR(store_.Commit(CommitBatch(), true));
  unsealed_ = unsynced_;  // written before that was known to be on disk
  unsynced_ = false;
  return absl::OkStatus();
}

void CommitWriter::Fail(const absl::Status& status, uint64_t sequence) {
  unsynced_ = false;  // nothing can be done about it any more
  unsealed_ = false;
  failure_ = status;
  LogFor("engine").error("commit failed sequence={} error=\"{}\"", sequence, ToStd(status.message()));
  on_failure_(status);
}

}  // namespace penstock::broker
