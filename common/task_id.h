#ifndef PENSTOCK_COMMON_TASK_ID_H_
#define PENSTOCK_COMMON_TASK_ID_H_

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace penstock {

// A task's id says where it was born, never where it waits: its partition, the block that its enqueue was stored in,
// and its slot there. Written as 13 characters of Crockford's base 32 (lower case), which sort like the numbers and fit
// a std::string without allocation.
//
//   bits 63..56 partition | 55..14 block | 13..0 slot
class TaskId {
 public:
  static constexpr int kBlockBits = 42;
  static constexpr int kSlotBits = 14;
  static constexpr uint64_t kBlockMax = (uint64_t{1} << kBlockBits) - 1;
  static constexpr uint32_t kSlotsMax = uint32_t{1} << kSlotBits;  // slots of one block

  constexpr TaskId() = default;
  constexpr explicit TaskId(uint64_t value) : value_(value) {}
  constexpr TaskId(uint8_t partition, uint64_t block, uint32_t slot)
      : value_(uint64_t{partition} << (kBlockBits + kSlotBits) | block << kSlotBits | slot) {}

  constexpr uint64_t value() const { return value_; }
  constexpr uint8_t partition() const { return static_cast<uint8_t>(value_ >> (kBlockBits + kSlotBits)); }
  constexpr uint64_t block() const { return (value_ >> kSlotBits) & kBlockMax; }
  constexpr uint32_t slot() const { return value_ & (kSlotsMax - 1); }
  // The default id is no task's: blocks count from 1.
  constexpr bool empty() const { return value_ == 0; }

  std::string ToString() const;
  // nullopt unless `text` is exactly what ToString gives.
  static std::optional<TaskId> Parse(std::string_view text);

  friend constexpr auto operator<=>(TaskId, TaskId) = default;
  template <typename H>
  friend H AbslHashValue(H h, TaskId id) {
    return H::combine(std::move(h), id.value_);
  }

 private:
  uint64_t value_ = 0;
};

}  // namespace penstock

#endif  // PENSTOCK_COMMON_TASK_ID_H_
