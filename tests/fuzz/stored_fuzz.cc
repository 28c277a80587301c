// Everything that is stored in an encoding of our own. The first byte says which; the rest is the body, as it stands in
// its envelope. It is refused, or can be used in every way.

#include "absl/status/status.h"
#include "broker/core/core_state.h"
#include "broker/core/state_codec.h"
#include "broker/storage/applied.h"
#include "broker/storage/envelope.h"
#include "broker/storage/history.h"
#include "broker/storage/keys.h"
#include "broker/storage/task_block.h"
#include "tests/fuzz/fuzz_input.h"

namespace penstock::broker {
namespace {

using fuzz::Touch;

bool IsRefusal(const absl::Status& status) { return absl::IsDataLoss(status) && !status.message().empty(); }

void Block(std::string_view body) {
  const auto block = TaskBlock::Parse(std::string(body));
  if (!block.ok()) return FUZZ_CHECK(IsRefusal(block.status()));
  size_t fresh = 0;
  for (uint32_t entry = 0; entry < (*block)->entries().size(); ++entry) {
    for (uint16_t slot : (*block)->FreshSlots(entry)) {
      FUZZ_CHECK(slot < (*block)->slot_count());
      ++fresh;
    }
  }
  FUZZ_CHECK(fresh <= (*block)->slot_count());
  for (uint32_t slot = 0; slot < (*block)->slot_count(); ++slot) {
    FUZZ_CHECK((*block)->entry_of(slot) < (*block)->entries().size());
    Touch((*block)->spec(slot));
    Touch((*block)->extras(slot).unique_key);
  }
  // What is compacted can be read, and says the same of what was kept.
  const auto compacted = TaskBlock::Parse((*block)->Compact([](uint32_t slot) { return slot % 2 == 0; }));
  FUZZ_CHECK(compacted.ok());
  FUZZ_CHECK((*compacted)->slot_count() == (*block)->slot_count());
  for (uint32_t slot = 1; slot < (*block)->slot_count(); slot += 2) {
    if ((*block)->dropped(slot)) continue;
    FUZZ_CHECK((*compacted)->spec(slot) == (*block)->spec(slot));
    FUZZ_CHECK((*compacted)->extras(slot).unique_key == (*block)->extras(slot).unique_key);
  }
}

void History(std::string_view body) {
  const absl::Status status = VisitHistory(body, [](const FinishedTask& task) {
    Touch(task.worker);
    Touch(task.content_type);
    Touch(task.result);
    return true;
  });
  FUZZ_CHECK(status.ok() || IsRefusal(status));
}

void Addresses(std::string_view body) {
  const auto addresses = DecodeAddresses(body);
  if (!addresses.ok()) return FUZZ_CHECK(IsRefusal(addresses.status()));
  FUZZ_CHECK(DecodeAddresses(EncodeAddresses(*addresses)).ok());
}

void Runs(std::string_view body, bool fifo) {
  const auto runs = DecodeRuns(body, fifo);
  if (!runs.ok()) return FUZZ_CHECK(IsRefusal(runs.status()));
  FUZZ_CHECK(DecodeRuns(EncodeRuns(*runs, fifo), fifo).ok());
}

// A checkpoint or a first delta, to a state with the queues that it may name.
void Delta(std::string_view body) {
  CoreState state(0);
  for (uint32_t id = 1; id <= 3; ++id) state.AddQueue(QueueId(id), "q" + std::to_string(id));
  const absl::Status status = ApplyDelta(
      body, 7,
      [](LaneId, uint64_t, bool) -> absl::StatusOr<std::vector<FreshRun>> {
        return absl::DataLossError("no segment is stored");
      },
      &state);
  if (!status.ok()) return FUZZ_CHECK(IsRefusal(status));
  // What could be read can be written and read again.
  CoreState again(0);
  for (uint32_t id = 1; id <= 3; ++id) again.AddQueue(QueueId(id), "q" + std::to_string(id));
  const absl::Status second = ApplyDelta(
      EncodeCheckpoint(state), 8,
      [](LaneId, uint64_t, bool) -> absl::StatusOr<std::vector<FreshRun>> {
        return absl::DataLossError("no segment is stored");
      },
      &again);
  FUZZ_CHECK(second.ok());
}

void Envelope(std::string_view value) {
  const auto body = OpenValue("key", value);
  if (!body.ok()) return FUZZ_CHECK(!body.status().message().empty());
  FUZZ_CHECK(SealValue("key", *body) == value);
}

void AppliedRecord(std::string_view body) {
  const std::string key = AppliedKey(0);
  const auto applied = DecodeApplied(key, SealValue(key, body));
  if (!applied.ok()) return FUZZ_CHECK(IsRefusal(applied.status()));
  FUZZ_CHECK(DecodeApplied(key, EncodeApplied(key, *applied)).value() == *applied);
}

}  // namespace
}  // namespace penstock::broker

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace penstock::broker;  // NOLINT: all of it is here
  if (size == 0) return 0;
  const std::string_view body = penstock::fuzz::TextOf(data + 1, size - 1);
  switch (data[0] % 9) {
    case 0:
      Block(body);
      break;
    case 1:
      History(body);
      break;
    case 2:
      Addresses(body);
      break;
    case 3:
      Runs(body, false);
      break;
    case 4:
      Runs(body, true);
      break;
    case 5:
      Delta(body);
      break;
    case 6:
      Envelope(body);
      break;
    case 7:
      AppliedRecord(body);
      break;
    default:
      (void)ParseTimerKey(body);
      break;
  }
  return 0;
}
