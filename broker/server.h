#ifndef PENSTOCK_BROKER_SERVER_H_
#define PENSTOCK_BROKER_SERVER_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "broker/options.h"
#include "broker/storage/store.h"
#include "common/clock.h"

namespace penstock::broker {

// The exit codes of penstock-broker, beside 0 and kExitConfig (78: configuration or damaged data, at which systemd need
// not restart).
inline constexpr int kExitUnavailable = 69;  // the address is taken
inline constexpr int kExitLocked = 73;       // another broker uses the data folder
inline constexpr int kExitStorage = 74;      // the storage failed: restart

// A whole broker: owns the parts, starts them in order, stops them in reverse. One thread starts and stops it; the rest
// looks after itself.
class Server {
 public:
  struct Parts;

  // Opens the data folder, recovers, and listens. The status says what is wrong and what to do; ExitCodeOf tells what
  // to exit with.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const BrokerOptions& options);
  // To look at the data folder of a stopped broker: shows it as it was at its last commit, refuses whatever would
  // change it, and writes nothing to it. No timer fires, nothing expires, no worker gets a task.
  static absl::StatusOr<std::unique_ptr<Server>> StartPausedFork(const BrokerOptions& options);
  // On a store of the caller's, for tests of users (broker/test_broker.h): no data folder, no disk watermark, and no
  // question to itself whether it answers (broker/self_probe.h), which is for a process of its own. `store`
  // and `clock` outlive it.
  static absl::StatusOr<std::unique_ptr<Server>> StartOn(const BrokerOptions& options, Store& store, Clock& clock);
  ~Server();

  int grpc_port() const;
  int http_port() const;  // 0: no HTTP server

  // To be called when the clock of StartOn was moved: what is due by it happens now. Any thread.
  void LookAtClock();

  // Reads all stored files and compares their checksums, now (broker/scrubber.h). Any thread; does not wait for it.
  void ScrubNow();

  // Blocks until Stop is called or the storage failed for good; then the status says how.
  absl::Status Wait();
  // Ends Wait. Any thread, also from a signal-waiting one.
  void RequestStop();
  // Hands out nothing new, lets calls under way end, finishes commits. Safe twice.
  void Stop();

 private:
  explicit Server(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

int ExitCodeOf(const absl::Status& status);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_SERVER_H_
