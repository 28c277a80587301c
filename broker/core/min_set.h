#ifndef PENSTOCK_BROKER_CORE_MIN_SET_H_
#define PENSTOCK_BROKER_CORE_MIN_SET_H_

#include <optional>
#include <utility>

#include "absl/container/btree_set.h"

namespace penstock::broker {

// An ordered set that is mostly asked for its least element and mostly has no other: that one stands in the set itself,
// so a set of one costs no allocation.
template <class T>
class MinSet {
 public:
  bool empty() const { return !first_.has_value(); }
  // REQUIRES: !empty().
  const T& first() const { return *first_; }

  void Insert(const T& value) {
    if (!first_) {
      first_ = value;
    } else if (value < *first_) {
      rest_.insert(*first_);
      first_ = value;
    } else {
      rest_.insert(value);
    }
  }
  void Erase(const T& value) {
    if (!first_) return;
    if (value < *first_ || *first_ < value) {
      rest_.erase(value);
    } else if (rest_.empty()) {
      first_.reset();
    } else {
      first_ = *rest_.begin();
      rest_.erase(rest_.begin());
    }
  }
  // In order, until `visit` returns false.
  template <class Visit>
  void ForEach(Visit visit) const {
    if (!first_ || !visit(*first_)) return;
    for (const T& value : rest_) {
      if (!visit(value)) return;
    }
  }

 private:
  std::optional<T> first_;
  absl::btree_set<T> rest_;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_CORE_MIN_SET_H_
