#include "broker/storage/task_block.h"

#include <bit>
#include <cstdlib>

#include "absl/status/status.h"
#include "common/coding.h"
#include "fmt/format.h"

namespace penstock::broker {
namespace {

enum Flag : uint64_t {
  kRunAt = 1,
  kExpireAt = 2,
  kRunTimeout = 4,
  kRetryPolicy = 8,
  kUniqueKey = 16,
  kRetention = 32,
  kDropped = 64,
  kCost = 128,
  kLifeTimeout = 256,
  kUniqueWaiting = 512,
  kBackoff = 1'024,
};

enum EntryFlag : uint8_t { kPriority = 0x0f, kNamed = 0x10, kFifo = 0x20 };

// Differences of times: of what is broken they may overflow, and wrap around.
Time Plus(Time time, int64_t difference) {
  return static_cast<Time>(static_cast<uint64_t>(time) + static_cast<uint64_t>(difference));
}
int64_t Minus(Time time, Time other) {
  return static_cast<int64_t>(static_cast<uint64_t>(time) - static_cast<uint64_t>(other));
}

void PutDouble(std::string* out, double value) { PutBig64(out, std::bit_cast<uint64_t>(value)); }

void EncodeHeader(BlockId id, Time create_time, const std::vector<TaskBlock::Entry>& entries, uint32_t slot_count,
                  std::string* out) {
  PutVarint(out, id.value());
  PutSigned(out, create_time);
  PutVarint(out, entries.size());
  for (const auto& entry : entries) {
    PutVarint(out, entry.lane.value());
    PutVarint(out, entry.queue.value());
    PutVarint(out, entry.type.value());
    out->push_back(static_cast<char>(entry.priority | (entry.fifo ? kFifo : entry.name != 0 ? kNamed : 0)));
    if (entry.fifo || entry.name != 0) PutBig64(out, entry.name);
    if (entry.fifo) PutBig64(out, entry.group);
  }
  PutVarint(out, slot_count);
}

void EncodeSlot(uint32_t entry, const SlotExtras& extras, Time create_time, bool dropped, size_t spec_size,
                std::string* out) {
  uint64_t flags = 0;
  if (extras.run_at != 0) flags |= kRunAt;
  if (extras.expire_at != kNever) flags |= kExpireAt;
  if (extras.run_timeout != 0) flags |= kRunTimeout;
  if (extras.retry_policy) flags |= kRetryPolicy;
  if (!extras.unique_key.empty()) flags |= extras.unique_waiting ? kUniqueKey | kUniqueWaiting : kUniqueKey;
  if (extras.result_retention) flags |= kRetention;
  if (dropped) flags |= kDropped;
  if (extras.cost != 1) flags |= kCost;
  if (extras.life_timeout != 0) flags |= kLifeTimeout;
  if (extras.retry_policy && extras.retry_policy->backoff != Backoff::kExponential) flags |= kBackoff;
  PutVarint(out, entry);
  PutVarint(out, flags);
  if (flags & kRunAt) PutSigned(out, Minus(extras.run_at, create_time));
  if (flags & kExpireAt) PutSigned(out, Minus(extras.expire_at, create_time));
  if (flags & kRunTimeout) PutVarint(out, static_cast<uint64_t>(extras.run_timeout));
  if (flags & kRetryPolicy) {
    const RetryPolicy& policy = *extras.retry_policy;
    PutVarint(out, policy.max_attempts);
    PutVarint(out, static_cast<uint64_t>(policy.initial_backoff));
    PutVarint(out, static_cast<uint64_t>(policy.max_backoff));
    PutDouble(out, policy.multiplier);
    PutDouble(out, policy.jitter);
  }
  if (flags & kUniqueKey) {
    PutBytes(out, extras.unique_key);
    PutVarint(out, static_cast<uint64_t>(extras.unique_window));
  }
  if (flags & kRetention) PutVarint(out, static_cast<uint64_t>(*extras.result_retention));
  if (flags & kCost) PutVarint(out, extras.cost);
  if (flags & kLifeTimeout) PutVarint(out, static_cast<uint64_t>(extras.life_timeout));
  if (flags & kBackoff) out->push_back(static_cast<char>(extras.retry_policy->backoff));
  PutVarint(out, spec_size);
}

}  // namespace

const SlotExtras TaskBlock::kPlain;

absl::StatusOr<std::shared_ptr<const TaskBlock>> TaskBlock::Parse(std::string body) {
  auto block = std::make_shared<TaskBlock>();
  block->body_ = std::move(body);
  Decoder decoder(block->body_);
  block->id_ = BlockId(decoder.Varint());
  block->create_time_ = decoder.Signed();
  const uint64_t entry_count = decoder.Varint();
  if (entry_count > TaskId::kSlotsMax) return absl::DataLossError("a block's directory is broken");
  block->entries_.reserve(entry_count);
  for (uint64_t i = 0; i < entry_count; ++i) {
    Entry entry;
    entry.lane = LaneId(static_cast<uint32_t>(decoder.Varint()));
    entry.queue = QueueId(static_cast<uint32_t>(decoder.Varint()));
    entry.type = TypeId(static_cast<uint32_t>(decoder.Varint()));
    const uint8_t byte = decoder.Byte();
    entry.priority = byte & kPriority;
    entry.fifo = (byte & kFifo) != 0;
    if (entry.fifo || (byte & kNamed) != 0) entry.name = decoder.Big64();
    entry.group = entry.fifo ? decoder.Big64() : entry.name;
    block->entries_.push_back(entry);
  }
  const uint64_t slot_count = decoder.Varint();
  if (!decoder.ok() || slot_count > TaskId::kSlotsMax) return absl::DataLossError("a block's directory is broken");
  block->slots_.resize(slot_count);
  uint64_t offset = 0;
  for (Slot& slot : block->slots_) {
    const uint64_t entry = decoder.Varint();
    const uint64_t flags = decoder.Varint();
    if (entry >= entry_count) return absl::DataLossError("a block's slot names no lane");
    slot.entry = static_cast<uint16_t>(entry);
    slot.dropped = (flags & kDropped) != 0;
    if ((flags & ~uint64_t{kDropped}) != 0) {
      SlotExtras extras;
      if (flags & kRunAt) extras.run_at = Plus(block->create_time_, decoder.Signed());
      if (flags & kExpireAt) extras.expire_at = Plus(block->create_time_, decoder.Signed());
      if (flags & kRunTimeout) extras.run_timeout = static_cast<Span>(decoder.Varint());
      if (flags & kRetryPolicy) {
        RetryPolicy policy;
        policy.max_attempts = static_cast<uint32_t>(decoder.Varint());
        policy.initial_backoff = static_cast<Span>(decoder.Varint());
        policy.max_backoff = static_cast<Span>(decoder.Varint());
        policy.multiplier = std::bit_cast<double>(decoder.Big64());
        policy.jitter = std::bit_cast<double>(decoder.Big64());
        extras.retry_policy = policy;
      }
      if (flags & kUniqueKey) {
        extras.unique_key = decoder.Bytes();
        extras.unique_window = static_cast<Span>(decoder.Varint());
        extras.unique_waiting = (flags & kUniqueWaiting) != 0;
      }
      if (flags & kRetention) extras.result_retention = static_cast<Span>(decoder.Varint());
      if (flags & kCost) extras.cost = static_cast<uint16_t>(decoder.Varint());
      if (flags & kLifeTimeout) extras.life_timeout = static_cast<Span>(decoder.Varint());
      if (flags & kBackoff) {
        const auto backoff = static_cast<Backoff>(decoder.Byte());
        if (!extras.retry_policy || backoff < Backoff::kExponential || backoff > Backoff::kFixed) {
          return absl::DataLossError("a block's slot has a broken backoff");
        }
        extras.retry_policy->backoff = backoff;
      }
      slot.extras = static_cast<int32_t>(block->extras_.size());
      block->extras_.push_back(extras);
    }
    slot.spec_size = static_cast<uint32_t>(decoder.Varint());
    slot.spec_offset = static_cast<uint32_t>(offset);
    offset += slot.spec_size;
  }
  if (!decoder.ok() || decoder.rest().size() != offset) return absl::DataLossError("a block is cut short");
  const auto specs = static_cast<uint32_t>(block->body_.size() - offset);
  for (Slot& slot : block->slots_) slot.spec_offset += specs;
  block->IndexFreshSlots();
  return std::shared_ptr<const TaskBlock>(std::move(block));
}

// A counting sort, so that a block of a thousand lanes is as cheap as a block of one.
void TaskBlock::IndexFreshSlots() {
  fresh_begin_.assign(entries_.size() + 1, 0);
  for (uint32_t slot = 0; slot < slot_count(); ++slot) {
    if (extras(slot).run_at == 0) ++fresh_begin_[entry_of(slot) + 1];
  }
  for (size_t entry = 1; entry < fresh_begin_.size(); ++entry) fresh_begin_[entry] += fresh_begin_[entry - 1];
  fresh_slots_.resize(fresh_begin_.back());
  std::vector<uint32_t> next(fresh_begin_.begin(), fresh_begin_.end() - 1);
  for (uint32_t slot = 0; slot < slot_count(); ++slot) {
    if (extras(slot).run_at == 0) fresh_slots_[next[entry_of(slot)]++] = static_cast<uint16_t>(slot);
  }
}

std::string TaskBlock::Compact(absl::FunctionRef<bool(uint32_t slot)> dead) const {
  std::string body;
  EncodeHeader(id_, create_time_, entries_, slot_count(), &body);
  std::string specs;
  for (uint32_t slot = 0; slot < slot_count(); ++slot) {
    const bool drop = dropped(slot) || dead(slot);
    const std::string_view kept = drop ? std::string_view() : spec(slot);
    EncodeSlot(entry_of(slot), extras(slot), create_time_, drop, kept.size(), &body);
    specs += kept;
  }
  return body + specs;
}

uint32_t TaskBlockBuilder::AddEntry(const TaskBlock::Entry& entry) {
  entries_.push_back(entry);
  return static_cast<uint32_t>(entries_.size() - 1);
}

uint32_t TaskBlockBuilder::Add(uint32_t entry, const NewTask& task, Time create_time) {
  SlotExtras extras;
  extras.run_at = task.run_at;
  extras.expire_at = task.expire_at;
  extras.run_timeout = task.run_timeout;
  extras.retry_policy = task.retry_policy;
  extras.unique_key = task.unique_key;
  extras.unique_window = task.unique_window;
  extras.unique_waiting = task.unique_waiting;
  extras.result_retention = task.result_retention;
  extras.cost = task.cost;
  extras.life_timeout = task.life_timeout;
  EncodeSlot(entry, extras, create_time, false, task.spec.size(), &slots_);
  specs_ += task.spec;
  return slot_count_++;
}

uint32_t TaskBlockBuilder::AddPlain(uint32_t entry, std::string_view spec) {
  PutVarint(&slots_, entry);
  PutVarint(&slots_, 0);  // no flags
  PutVarint(&slots_, spec.size());
  specs_ += spec;
  return slot_count_++;
}

std::shared_ptr<const TaskBlock> TaskBlockBuilder::Finish(BlockId id, Time create_time) {
  std::string body;
  body.reserve(32 + entries_.size() * 16 + slots_.size() + specs_.size());
  EncodeHeader(id, create_time, entries_, slot_count_, &body);
  body += slots_;
  body += specs_;
  entries_.clear();
  slots_.clear();
  specs_.clear();
  slot_count_ = 0;
  auto block = TaskBlock::Parse(std::move(body));
  if (!block.ok()) {  // Our own encoding: a broken invariant, not an input.
    fmt::print(stderr, "a block that was just encoded cannot be read: {}\n", std::string(block.status().message()));
    std::abort();
  }
  return *block;
}

}  // namespace penstock::broker
