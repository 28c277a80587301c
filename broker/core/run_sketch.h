#ifndef PENSTOCK_BROKER_CORE_RUN_SKETCH_H_
#define PENSTOCK_BROKER_CORE_RUN_SKETCH_H_

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "absl/container/node_hash_map.h"
#include "broker/core/core_types.h"

namespace penstock::broker {

// How long tasks of a type run: their mean and how far they spread, the last few dozen counting most. In memory only;
// decides nothing.
class RunSketch {
 public:
  void Add(Span run_time) {
    if (count_ < kCountMax) ++count_;
    const double weight = 1.0 / std::min(count_, kWindow);
    const double difference = static_cast<double>(run_time) - mean_;
    mean_ += weight * difference;
    variance_ = (1 - weight) * (variance_ + weight * difference * difference);
  }
  // In microseconds.
  double mean() const { return mean_; }
  double variance() const { return variance_; }
  // Of how many runs the mean is the mean, in effect: its own variance is variance() / weight().
  double weight() const {
    if (count_ <= kWindow) return count_;
    // The first ones counted alike, and are forgotten while later ones take their place.
    const double kept = std::pow(1 - 1.0 / kWindow, 2.0 * (count_ - kWindow));
    return 1 / (kept / kWindow + (1 - kept) / (2 * kWindow - 1));
  }
  // What is left on average of a run that somebody meets: more than half of it, since long runs are met more often.
  double residual() const { return mean_ <= 0 ? 0 : (mean_ + variance_ / mean_) / 2; }

 private:
  static constexpr int kWindow = 64;
  static constexpr int kCountMax = 100 * kWindow;  // more of them make no difference

  int count_ = 0;
  double mean_ = 0;
  double variance_ = 0;
};

// By base type (CoreState::BaseType).
class RunSketches {
 public:
  // Most runs are of the type of the one before.
  void Add(TypeId type, Span run_time) {
    if (type != last_type_) {
      last_ = nullptr;
      last_type_ = type;
    }
    if (last_ == nullptr) last_ = &sketches_[type];
    last_->Add(run_time);
  }
  // Null: no task of it has ended since the broker started.
  const RunSketch* Find(TypeId type) const {
    auto found = sketches_.find(type);
    return found == sketches_.end() ? nullptr : &found->second;
  }

 private:
  absl::node_hash_map<TypeId, RunSketch> sketches_;
  TypeId last_type_;
  RunSketch* last_ = nullptr;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_CORE_RUN_SKETCH_H_
