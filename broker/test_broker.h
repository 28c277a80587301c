#ifndef PENSTOCK_BROKER_TEST_BROKER_H_
#define PENSTOCK_BROKER_TEST_BROKER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace penstock {

struct TestBrokerOptions {
  // false: time stands still until Advance. true: it runs as the machine's does, and Advance moves it further.
  bool time_runs = false;
  // How long the broker waits for a worker whose connection broke, before others get its tasks. At once by default,
  // for where time stands still the wait would not end.
  absl::Duration session_grace = absl::ZeroDuration();
};

// For tests of code that enqueues or runs tasks: the real broker in the test's own process, on a store in memory, on a
// port of its own, with a clock that the test moves. Everything else is as with penstock-broker:
// the same core, the same calls, so that what works here works there.
//
//   auto broker = penstock::TestBroker::Start().value();
//   auto client = penstock::Client::Connect(broker->address()).value();
//   client->Enqueue("mail", "mail.welcome", "...", {.delay = absl::Hours(24)}).value();
//   broker->Advance(absl::Hours(24));  // now it runs
//
// Link to penstock::test_broker (find_package(Penstock COMPONENTS test_broker)). Any thread may use it; Stop, Resume
// and the destructor one at a time. Code that needs no broker at all is tested faster with client/fake_client.h.
class TestBroker {
 public:
  // Unavailable: no port of the loopback address can be had.
  static absl::StatusOr<std::unique_ptr<TestBroker>> Start(const TestBrokerOptions& options = {});
  // Ends it; connected clients and workers find it gone.
  ~TestBroker();
  TestBroker(const TestBroker&) = delete;
  TestBroker& operator=(const TestBroker&) = delete;

  // "127.0.0.1:PORT", for Client::Connect and WorkerOptions::broker. Restart keeps it.
  std::string address() const;

  // The broker's time. It starts at the machine's.
  absl::Time now() const;
  // Moves the broker's time: delayed tasks and retries become due, tasks expire, results past their retention go.
  // Connected workers keep what they run: their leases are renewed by real time. So do the run timeouts of handlers and
  // the timeouts of clients' calls count real time.
  void Advance(absl::Duration by);

  // Stops the broker, so that calls fail with Unavailable, or wait, as the client's options say.
  void Stop();
  // Starts it again: everything that was acknowledged is there. Does nothing if it runs. Aborts the process if the port
  // was taken meanwhile.
  void Resume();
  // Stop and Resume.
  void Restart();

 private:
  struct Parts;
  explicit TestBroker(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace penstock

#endif  // PENSTOCK_BROKER_TEST_BROKER_H_
