#ifndef PENSTOCK_BROKER_SELF_PROBE_H_
#define PENSTOCK_BROKER_SELF_PROBE_H_

#include <cstdint>
#include <functional>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/mutex.h"

namespace penstock::broker {

// For health, metrics and the status. Since the broker started.
struct SelfProbeFigures {
  std::string failure;  // how the last probe failed; empty: it did not, or there was none yet
  uint64_t probes = 0;
  uint64_t failed = 0;
};

// Asks the broker again and again, on a thread of its own, whether it answers on its own port: a process may look alive
// and be deaf. While it does, the service manager is told that it lives; when it no longer is, it starts the broker
// anew. Owned by the server, stopped before what it asks.
class SelfProbe {
 public:
  struct Options {
    absl::Duration interval = absl::Seconds(10);  // from the begin of one probe to the next, and the time of each
  };

  // `probe` gets the time that it may take, and says how it ended; FailedPrecondition: not well, but a restart would
  // not help. `alive` is called after each probe, unless a restart might help. Both on a thread with all signals
  // blocked.
  SelfProbe(const Options& options, std::function<absl::Status(absl::Duration time)> probe,
            std::function<void()> alive);
  ~SelfProbe() { Stop(); }

  // Asks for the first time. Once at most.
  void Start();
  // Any thread.
  SelfProbeFigures figures() const;
  // Returns when no probe runs any more; one that does may take its time. Safe twice and without Start.
  void Stop();

 private:
  void Run();
  void Note(const absl::Status& answered);

  const Options options_;
  const std::function<absl::Status(absl::Duration)> probe_;
  const std::function<void()> alive_;

  mutable Mutex mu_;
  CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  SelfProbeFigures figures_ ABSL_GUARDED_BY(mu_);
  std::thread thread_;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_SELF_PROBE_H_
