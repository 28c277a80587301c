#ifndef PENSTOCK_BROKER_SCRUBBER_H_
#define PENSTOCK_BROKER_SCRUBBER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "broker/storage/scrub.h"
#include "broker/storage/store.h"
#include "common/mutex.h"

namespace penstock::broker {

struct ScrubberOptions {
  absl::Duration interval = absl::Hours(24);       // from the end of one scrub to the next; 0: only ScrubNow
  absl::Duration first_after = absl::Minutes(10);  // from the start; at most `interval`
  uint64_t bytes_per_second = 0;                   // 0: no limit
};

// For metrics and the status.
struct ScrubFigures {
  bool running = false;
  uint64_t scrubs = 0;  // that ended, since the broker started
  absl::Time last_end = absl::InfinitePast();
  absl::Duration last_duration;
  uint64_t last_files = 0;
  uint64_t last_bytes = 0;
  std::vector<std::string> damage;  // that the last one found
};

// Scrubs the running store now and then, on a thread of its own (storage/scrub.h). Owned by the server; stopped before
// the store goes.
class Scrubber {
 public:
  // Starts the thread. Nothing is read before SetStore.
  explicit Scrubber(const ScrubberOptions& options);
  ~Scrubber() { Stop(); }

  // The store that is read; null: none, because it is closed for a while. Returns when nobody uses the one before any
  // more: a scrub of it is given up, and begun again with the next store.
  void SetStore(Store* store);
  // Begins a scrub, unless one is under way. Any thread.
  void ScrubNow();

  ScrubFigures figures() const;

  // Gives up what is under way and joins the thread. Safe twice.
  void Stop();

 private:
  void Run();
  // Waits for the next scrub. Null: stop.
  Store* Begin();
  void End(const absl::StatusOr<ScrubResult>& result, absl::Duration took);

  const ScrubberOptions options_;

  mutable Mutex mu_;
  CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  Store* store_ ABSL_GUARDED_BY(mu_) = nullptr;
  bool asked_ ABSL_GUARDED_BY(mu_) = false;
  absl::Duration due_ ABSL_GUARDED_BY(mu_);               // elapsed time of the next scrub
  std::shared_ptr<ScrubPace> pace_ ABSL_GUARDED_BY(mu_);  // of the scrub that is under way, otherwise null
  ScrubFigures figures_ ABSL_GUARDED_BY(mu_);
  std::thread thread_;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_SCRUBBER_H_
