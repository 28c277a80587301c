#ifndef PENSTOCK_TESTS_SUPPORT_FAKE_BROKER_H_
#define PENSTOCK_TESTS_SUPPORT_FAKE_BROKER_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/mutex.h"
#include "grpcpp/server.h"
#include "penstock/v1/admin_service.pb.h"
#include "penstock/v1/bulk_service.pb.h"
#include "penstock/v1/schedule_service.pb.h"
#include "penstock/v1/task_service.pb.h"
#include "penstock/v1/throttle_service.pb.h"

namespace penstock::testing {

// The services that operators' programs call, on a port of this machine, with the answers that a test puts in: no logic
// of a broker, so that what a program shows is what the test says. Fill the fields before the first call; Calls and
// Fail may be used at any time.
class FakeBroker {
 public:
  FakeBroker();
  ~FakeBroker();

  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

  // The requests so far: "PauseQueue name: \"mail\"".
  std::vector<std::string> Calls() const;
  // From now on `method`, for instance "GetStatus", fails, WaitTask also while it waits; OK ends that.
  void Fail(const std::string& method, const absl::Status& status);

  v1::GetStatusResponse status;
  v1::GetLimitsResponse limits;
  std::vector<v1::Queue> queues;  // in the order of their names
  std::vector<v1::Worker> workers;
  std::vector<v1::HeldKey> keys;    // of every queue
  std::vector<v1::Backup> backups;  // in the order of their ids; the last is what a CreateBackup makes
  std::vector<v1::Task> tasks;      // in the order of their ids; with payload and result
  std::map<std::string, std::vector<v1::LogLine>> log_lines;  // by task id
  std::map<std::string, v1::ExplainTaskResponse> explains;    // by task id
  std::vector<v1::SubscribeTasksResponse> events;             // of every queue
  std::vector<v1::BulkJob> bulk_jobs;  // the oldest first; the last is what a StartBulkJob begins
  std::vector<v1::Schedule> schedules;
  std::vector<v1::Throttle> throttles;
  uint64_t dead_tasks = 0;  // that redrive and purge find, whatever the queue
  std::string next_task_id = "0000000008000";

 private:
  class Admin;
  class Tasks;
  class Bulk;
  class Schedules;
  class Throttles;

  // Remembers the call; what Fail said of it.
  absl::Status OnCall(const std::string& method, const google::protobuf::Message& request);
  absl::Status FailureOf(const std::string& method) const;
  absl::Status FailureOfLocked(const std::string& method) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  mutable Mutex mu_;
  std::vector<std::string> calls_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, absl::Status> failures_ ABSL_GUARDED_BY(mu_);
  std::unique_ptr<Admin> admin_;
  std::unique_ptr<Tasks> task_service_;
  std::unique_ptr<Bulk> bulk_;
  std::unique_ptr<Schedules> schedules_;
  std::unique_ptr<Throttles> throttles_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
};

}  // namespace penstock::testing

#endif  // PENSTOCK_TESTS_SUPPORT_FAKE_BROKER_H_
