#ifndef PENSTOCK_TESTS_CHAOS_CHAOS_ROUND_H_
#define PENSTOCK_TESTS_CHAOS_CHAOS_ROUND_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/client.h"
#include "penstock/v1/admin_service.grpc.pb.h"
#include "tests/chaos/chaos_broker.h"
#include "tests/chaos/recorder.h"
#include "tests/support/process.h"
#include "tests/support/tcp_relay.h"

namespace penstock::chaos {

// A mistake that the round makes on purpose: then the checker must find it.
enum class Plant {
  kNone,
  kLie,     // a producer claims what it never did
  kForget,  // the broker is killed once, and its folder becomes what it was at the beginning
};

struct RoundOptions {
  std::string bin;     // the folder of the programs
  std::string folder;  // empty; the round's files stay there
  uint64_t seed = 1;
  int faults = 15;
  int workers = 4;
  int producers = 4;
  int calls_per_second = 40;  // of each producer
  absl::Duration liveness = absl::Minutes(2);
  Plant plant = Plant::kNone;
};

struct RoundResult {
  bool passed = false;
  std::string report;                 // what the checker says, or why there is nothing to judge
  std::map<std::string, int> broken;  // rules, and how often
  std::map<std::string, int> faults;
  uint64_t tasks = 0;
  uint64_t completions = 0;
  uint64_t deliveries = 0;
  uint64_t redeliveries = 0;
  uint64_t refusals = 0;
};

// One broker, its workers and its producers, all real processes, each behind a network of its own. Faults come one
// after the other and overlap; then they end, everything drains, and the history is judged. What is drawn follows from
// the seed; what comes of it does not, for processes run as they like.
class ChaosRound {
 public:
  explicit ChaosRound(const RoundOptions& options);
  ~ChaosRound();

  RoundResult Run();

 private:
  // A process that is killed and started again, under a new name each time.
  struct Actor {
    bool produces = false;
    int number = 0;
    int life = 0;
    std::string name;
    std::unique_ptr<testing::TcpRelay> relay;
    std::unique_ptr<testing::Process> process;
    bool stands = false;
    bool slowed = false;
  };

  absl::Status Prepare();
  void StartActor(Actor* actor);
  std::unique_ptr<testing::Process> StartWorker(const std::string& name, const std::string& broker, bool good);
  // SIGKILL or SIGTERM, and what it has left behind.
  absl::Status EndActor(Actor* actor, int signal_number);

  absl::Status RunFaults();
  absl::Status Fault();
  absl::Status BrokerFault();
  // SIGKILL or SIGTERM; it comes back after a while.
  absl::Status EndBroker(int signal_number);
  // See Plant::kForget.
  absl::Status Forget();
  absl::Status ActorFault(Actor* actor);
  void NetworkFault(Actor* actor);
  void OperatorFault();
  absl::Status Resume(const std::string& queue);
  void Note(const std::string& fault) { ++result_.faults[fault]; }
  // Later, whatever comes between.
  void After(absl::Duration time, std::function<absl::Status()> action);
  // Does what is due until then.
  absl::Status WaitUntil(absl::Time time);

  absl::Status Drain();
  // What all have seen so far, in the order of time.
  absl::StatusOr<histcheck::History> ReadHistory() const;
  absl::Status WriteEnd();
  absl::Status Judge();
  absl::StatusOr<v1::ListQueuesResponse> ListQueues();
  // An operator's call with its lines in the history.
  template <class Call>
  void Ask(const char* kind, const std::string& queue, const Call& call);

  int Below(int n) { return static_cast<int>(random_() % static_cast<uint64_t>(n)); }
  absl::Duration Between(int from_ms, int to_ms) { return absl::Milliseconds(from_ms + Below(to_ms - from_ms)); }
  std::string HistoryOf(const std::string& name) const;

  const RoundOptions options_;
  const HistoryClock clock_;
  std::mt19937_64 random_;
  RoundResult result_;
  ChaosBroker broker_;
  bool broker_stands_ = false;
  std::vector<std::unique_ptr<Actor>> actors_;
  std::vector<std::string> names_;  // of everything with a history
  int64_t next_call_ = 0;
  std::multimap<absl::Time, std::function<absl::Status()>> later_;
  std::unique_ptr<Recorder> recorder_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::AdminService::Stub> admin_;
  std::unique_ptr<Client> client_;
};

}  // namespace penstock::chaos

#endif  // PENSTOCK_TESTS_CHAOS_CHAOS_ROUND_H_
