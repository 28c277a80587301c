#ifndef PENSTOCK_TESTS_SIMULATION_SIM_LOOP_H_
#define PENSTOCK_TESTS_SIMULATION_SIM_LOOP_H_

#include <algorithm>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "broker/core/core_types.h"
#include "common/clock.h"
#include "common/random.h"

namespace penstock::broker {

// Numbers that depend on the seed alone; no distribution of the standard library, whose results differ between
// libraries.
class SimRandom {
 public:
  explicit SimRandom(uint64_t seed) : state_(MixBits(seed)) {}

  uint64_t Bits() { return MixBits(state_ += 0x9e3779b97f4a7c15); }
  // From [0, n).
  uint64_t Below(uint64_t n) { return n == 0 ? 0 : Bits() % n; }
  // From [low, high].
  int64_t Between(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(Below(static_cast<uint64_t>(high - low + 1)));
  }
  bool OneIn(uint64_t n) { return Below(n) == 0; }
  bool Percent(double chance) { return static_cast<double>(Bits() >> 11) * 0x1p-53 * 100 < chance; }
  // Mostly short, sometimes up to 16 times `usual`.
  Span About(Span usual) { return static_cast<Span>(Below(static_cast<uint64_t>(usual) << Below(Below(6))) + 1); }
  template <class Container>
  auto& Pick(Container& container) {
    return container[Below(container.size())];
  }

 private:
  uint64_t state_;
};

// Virtual time: what happens next is the earliest event; of several at one moment, the seed decides.
class SimLoop {
 public:
  explicit SimLoop(uint64_t seed) : random_(seed) {}

  Span now() const { return now_; }
  uint64_t events() const { return events_; }
  // Of everything that happened so far, in its order.
  uint64_t trace_hash() const { return hash_; }
  void Trace(uint64_t what) { hash_ = MixBits(hash_ ^ what); }

  void At(Span when, std::function<void()> action) {
    heap_.push_back({std::max(when, now_), random_.Bits(), std::move(action)});
    std::push_heap(heap_.begin(), heap_.end(), Later);
  }
  void After(Span delay, std::function<void()> action) { At(now_ + delay, std::move(action)); }

  // False: nothing is left to do.
  bool RunOne() {
    if (heap_.empty()) return false;
    std::pop_heap(heap_.begin(), heap_.end(), Later);
    Entry entry = std::move(heap_.back());
    heap_.pop_back();
    now_ = entry.when;
    ++events_;
    Trace(static_cast<uint64_t>(now_) ^ entry.tie);
    entry.action();
    return true;
  }

 private:
  struct Entry {
    Span when;
    uint64_t tie;
    std::function<void()> action;
  };
  static bool Later(const Entry& a, const Entry& b) { return a.when != b.when ? a.when > b.when : a.tie > b.tie; }

  SimRandom random_;
  std::vector<Entry> heap_;
  Span now_ = 0;
  uint64_t events_ = 0;
  uint64_t hash_ = 0;
};

// The machine's clocks: elapsed time is the loop's, wall time may jump.
class SimClock : public Clock {
 public:
  explicit SimClock(const SimLoop& loop) : loop_(loop) {}

  Now Read() const override { return {ToTime(wall()), ToDuration(loop_.now())}; }
  Time wall() const { return kStart + offset_ + loop_.now(); }
  // The latest that wall time ever was: what histories are written in.
  Time latest() {
    latest_ = std::max(latest_, wall());
    return latest_;
  }
  // It went back and has not caught up yet.
  bool behind() { return wall() < latest(); }
  void Jump(Span by) {
    (void)latest();
    offset_ += by;
  }

 private:
  static constexpr Time kStart = 1'800'000'000 * kSecond;
  const SimLoop& loop_;
  Span offset_ = 0;
  Time latest_ = 0;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_TESTS_SIMULATION_SIM_LOOP_H_
