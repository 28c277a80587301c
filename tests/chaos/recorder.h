#ifndef PENSTOCK_TESTS_CHAOS_RECORDER_H_
#define PENSTOCK_TESTS_CHAOS_RECORDER_H_

#include <cstdint>
#include <string>

#include "common/mutex.h"
#include "tests/checker/history.h"

namespace penstock::chaos {

// The time of a history: the machine's, in microseconds since 1970, that no process sees jump. Elapsed time plus an
// offset that one process reads and all others are told.
class HistoryClock {
 public:
  // The offset now.
  HistoryClock();
  explicit HistoryClock(int64_t offset) : offset_(offset) {}

  int64_t offset() const { return offset_; }
  int64_t Now() const;

 private:
  const int64_t offset_;
};

// Writes what one process saw, a line at a time, to a file of its own: what was written is there however the process
// ends. Any thread.
class Recorder {
 public:
  // Ends the process if the file cannot be written.
  Recorder(const std::string& path, const HistoryClock& clock);
  ~Recorder();

  int64_t Now() const { return clock_.Now(); }
  // Sets the line's time.
  void Write(histcheck::Event line);

 private:
  const HistoryClock clock_;
  Mutex mu_;
  int fd_ ABSL_GUARDED_BY(mu_) = -1;
};

// A line of what `who` saw.
inline histcheck::Event LineOf(histcheck::Op op, const std::string& who) {
  histcheck::Event line;
  line.op = op;
  line.who = who;
  return line;
}

}  // namespace penstock::chaos

#endif  // PENSTOCK_TESTS_CHAOS_RECORDER_H_
