#ifndef PENSTOCK_TESTS_FAULTS_WIRE_CLIENT_H_
#define PENSTOCK_TESTS_FAULTS_WIRE_CLIENT_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "common/mutex.h"
#include "grpcpp/grpcpp.h"
#include "penstock/v1/admin_service.grpc.pb.h"
#include "penstock/v1/task_service.grpc.pb.h"
#include "penstock/v1/worker_service.grpc.pb.h"
#include "tests/faults/ledger.h"

namespace penstock::broker {

// What a service and a worker remember while brokers come and go: what they sent and were told. Can be copied, so that
// one history has many ends.
struct WireMemory {
  struct Request {
    std::string id;
    std::vector<uint64_t> serials;
    bool answered = false;
  };
  struct Outcome {
    uint64_t serial = 0;
    v1::TaskOutcome outcome;
  };

  explicit WireMemory(uint64_t seed) : random(seed) {}

  std::mt19937_64 random;
  Ledger ledger;
  std::vector<Request> requests;
  std::map<uint64_t, std::string> key_of;  // FIFO keys by serial

  std::string session_id;           // empty: no session
  std::map<TaskId, uint64_t> held;  // fencing tokens
  uint64_t frame = 0;
  std::map<uint64_t, Outcome> unacknowledged;  // by frame
  uint64_t last_token = 0;

  uint64_t acknowledged = 0;  // tasks
  uint64_t completed = 0;     // acknowledged
  uint64_t deliveries = 0;
};

// A service, a worker and an operator in one, over gRPC, against a broker that may fail or die at any moment. Keeps the
// ledger and judges what can be judged at once. Every call that the broker does not answer for good is repeated until
// it does, or has gone. One thread.
class WireClient {
 public:
  struct Host {
    // The broker's process has ended.
    std::function<bool()> gone;
    // A call was answered UNAVAILABLE or RESOURCE_EXHAUSTED.
    std::function<void(const grpc::Status&)> trouble;
  };

  WireClient(WireMemory* memory, int port, Host host);
  ~WireClient();

  // Everything that clients do, once: a fixed row of calls. False: the broker has gone, or something is wrong.
  bool RunScript();
  // Enqueues and completes so much that RocksDB writes out and compacts.
  bool RunBusy(int rounds);

  // Repeats what was never answered, so that it is known.
  bool Resolve();
  // Asks for every task, and compares. With `damaged`, DATA_LOSS is an answer, too, and the task is put there.
  bool Check(std::set<uint64_t>* damaged = nullptr);
  // Runs everything to its end. Tasks of `damaged` may stay, and more may turn out to be damaged.
  bool Drain(std::set<uint64_t>* damaged = nullptr);
  // What GetStatus names as problems; empty if it fails.
  std::vector<std::string> Problems();
  // Makes a backup.
  bool Backup();
  // Waits until the broker, which has nothing to do, has proved on disk that its last commit was there
  // (docs/storage_format.md).
  bool AwaitSeal();

  // What was wrong, a line each; empty if nothing.
  const std::string& problems() const { return problems_; }

 private:
  // One stream of a worker, read by a thread of its own.
  class Stream;

  bool Wrong(std::string text);
  grpc::Status Insist(std::string_view what, absl::FunctionRef<grpc::Status(grpc::ClientContext*)> call);
  // False: the broker has gone. OK or one of `accepted`; anything else is wrong.
  bool Ask(std::string_view what, const std::set<grpc::StatusCode>& accepted,
           absl::FunctionRef<grpc::Status(grpc::ClientContext*)> call, grpc::Status* answer = nullptr);

  struct TaskPlan {
    std::string queue = "s";
    size_t bytes = 20;
    int64_t delay_seconds = 0;
    std::string unique_key = {};
    std::string key = {};
  };
  bool Enqueue(const std::vector<TaskPlan>& plans);
  bool SendRequest(size_t index);
  void HearEnqueued(WireMemory::Request* request, const std::vector<v1::EnqueueResult>& results);
  bool CreateQueue(const std::string& name, bool relaxed);
  bool PurgeQueue(const std::string& name);
  bool Cancel(uint64_t serial);
  bool Retry(uint64_t serial);
  uint64_t LastSerial() const { return memory_.ledger.tasks().size(); }

  bool OpenSession();
  bool EnsureSession() { return stream_ != nullptr || OpenSession(); }
  // Credit for so many tasks, and waits until they came.
  bool Take(size_t count);
  enum class Verdict { kComplete, kFail, kReject };
  // Reports how some held tasks ended, in one frame, and waits until it is acknowledged.
  bool Report(const std::vector<std::pair<TaskId, Verdict>>& outcomes);
  void SendReport(uint64_t frame);
  // Waits for the next message and hears it; false: the stream has ended.
  bool Hear();
  void Heard(const v1::WorkResponse& response);
  void HearDelivery(const v1::Delivery& delivery);
  void HearOutcome(const WireMemory::Outcome& outcome, const v1::Refusal* refusal);
  // The stream has ended: what to do about it. False: the broker has gone, or it is wrong.
  bool StreamEnded();

  WireMemory& memory_;
  const Host host_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::TaskService::Stub> tasks_;
  const std::unique_ptr<v1::AdminService::Stub> admin_;
  const std::unique_ptr<v1::WorkerService::Stub> workers_;
  std::unique_ptr<Stream> stream_;
  std::string problems_;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_TESTS_FAULTS_WIRE_CLIENT_H_
