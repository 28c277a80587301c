#ifndef PENSTOCK_WORKER_PREFETCH_H_
#define PENSTOCK_WORKER_PREFETCH_H_

#include "absl/time/time.h"

namespace penstock {

// How many tasks to hold beyond those that run: at least `least`, and for short tasks as many as this worker finishes
// in 10 ms, at most `most`. So slots never wait for the broker, whose answer takes about that long on a bad day, and a
// task that waits here would hardly start sooner elsewhere.
class Prefetch {
 public:
  Prefetch(int least, int most) : least_(least), most_(most), value_(least) {}

  void OnFinish(absl::Duration now);
  // The guess was wrong: tasks wait here for long.
  void Reset() { value_ = least_; }

  int least() const { return least_; }
  int value() const { return value_; }

 private:
  const int least_;
  const int most_;
  int value_;
  absl::Duration since_;  // what has finished since then
  int finished_ = 0;
};

}  // namespace penstock

#endif  // PENSTOCK_WORKER_PREFETCH_H_
