#ifndef PENSTOCK_BROKER_STORAGE_SCRUB_H_
#define PENSTOCK_BROKER_STORAGE_SCRUB_H_

// Reads all files of a running store from the disk and compares their checksums, so that bytes that have rotted are
// known of while a backup from before is still there, and before a compaction meets them, which would stop the broker.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "broker/storage/store.h"
#include "common/mutex.h"

namespace penstock::broker {

// How fast a scrub may read, and whether it may go on. Any thread.
class ScrubPace {
 public:
  // `bytes_per_second` 0: as fast as the disk is.
  explicit ScrubPace(uint64_t bytes_per_second) : bytes_per_second_(bytes_per_second) {}

  // Waits until so many more bytes may be read. False: no more, Stop was called.
  bool Take(uint64_t bytes);
  // The same for a time.
  bool Wait(absl::Duration time);
  // For good.
  void Stop();

 private:
  bool WaitUntil(absl::Duration moment);

  const uint64_t bytes_per_second_;

  Mutex mu_;
  CondVar stopped_changed_;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  absl::Duration next_ ABSL_GUARDED_BY(mu_);  // elapsed time from which on more may be read
};

struct ScrubResult {
  uint64_t files = 0;
  uint64_t bytes = 0;
  // A sentence for each file that is damaged, missing or cannot be read.
  std::vector<std::string> damage;
};

// Reads the table files with their checksums, the write-ahead logs that are complete (those in the archive, too), and
// the MANIFEST; in the order in which damage would harm most. Files that the store deletes meanwhile are left out.
// Cancelled: `pace` was stopped. FailedPrecondition: no store on disk. REQUIRES: `store` stays open.
absl::StatusOr<ScrubResult> ScrubStore(Store& store, ScrubPace& pace);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_STORAGE_SCRUB_H_
