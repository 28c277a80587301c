#ifndef PENSTOCK_COMMON_IDS_H_
#define PENSTOCK_COMMON_IDS_H_

#include <compare>
#include <cstdint>
#include <utility>

namespace penstock {

// A number that cannot be mistaken for another kind of number. Ordered and hashable; no implicit conversion.
template <class Tag, class Value = uint64_t>
class Id {
 public:
  constexpr Id() = default;
  constexpr explicit Id(Value value) : value_(value) {}
  constexpr Value value() const { return value_; }
  constexpr bool empty() const { return value_ == 0; }

  friend constexpr auto operator<=>(Id, Id) = default;
  template <typename H>
  friend H AbslHashValue(H h, Id id) {
    return H::combine(std::move(h), id.value_);
  }

 private:
  Value value_ = 0;
};

}  // namespace penstock

#endif  // PENSTOCK_COMMON_IDS_H_
