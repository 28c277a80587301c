#ifndef PENSTOCK_TESTS_FAULTS_FAULTY_BROKER_H_
#define PENSTOCK_TESTS_FAULTS_FAULTY_BROKER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "tests/faults/fault_plan.h"
#include "tests/support/process.h"

namespace penstock::broker {

// How long a broker may take for anything before it counts as hung. Only so that a test ends.
inline constexpr absl::Duration kPatience = absl::Seconds(90);

// The file through which a test tells the shim in its broker what shall fail, and hears what has happened.
class FaultPlanFile {
 public:
  explicit FaultPlanFile(std::string path);
  ~FaultPlanFile();
  FaultPlanFile(const FaultPlanFile&) = delete;
  FaultPlanFile& operator=(const FaultPlanFile&) = delete;

  penstock::testing::FaultPlan& plan() { return *plan_; }
  const std::string& path() const { return path_; }
  // No call fails any more.
  void Lift() { plan_->first.store(0); }

 private:
  const std::string path_;
  penstock::testing::FaultPlan* plan_ = nullptr;
};

// What a power cut leaves of the files below `folder`: those that the broker wrote lose what it did not sync, or some
// of it, as `seed` says. REQUIRES: the broker has ended.
void LoseUnsynced(const penstock::testing::FaultPlan& plan, const std::string& folder, uint64_t seed);

// A penstock-broker in a process of its own, with the shim in it if there is a plan.
class FaultyBroker {
 public:
  // Programs and the shim are searched here.
  static const std::string& BinaryDir();

  // `plan` may be null; calls on files below `folder` count.
  FaultyBroker(const std::string& data_dir, const std::vector<std::string>& flags, FaultPlanFile* plan,
               const std::string& folder);

  // False: it ended, or hung, before it listened.
  bool WaitReady();
  int port() const { return port_; }
  bool ended() { return process_.WaitUntilClosed(absl::ZeroDuration()); }
  // The exit code, or 128 + the signal's number; nullopt: it hangs, and was killed now.
  std::optional<int> WaitEnd();
  std::optional<int> Stop();
  void Kill();
  std::string output() const { return process_.output(); }

 private:
  penstock::testing::Process process_;
  int port_ = 0;
};

// A run of the program that ends by itself.
struct ProgramRun {
  int code = -1;
  std::string output;
};
ProgramRun RunBroker(const std::vector<std::string>& arguments);

}  // namespace penstock::broker

#endif  // PENSTOCK_TESTS_FAULTS_FAULTY_BROKER_H_
