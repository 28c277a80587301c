#ifndef PENSTOCK_TESTS_FAULTS_FAULT_POINTS_H_
#define PENSTOCK_TESTS_FAULTS_FAULT_POINTS_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/faults/fault_scenario.h"

namespace penstock::broker {

// How a call of a broker goes wrong.
struct FaultMode {
  std::string name;  // of the command line
  penstock::testing::FaultKind kind = penstock::testing::FaultKind::kKill;
  uint32_t classes = penstock::testing::kChanges;
  int error = 0;
  // Every call from the nth on, until the clients have noticed; otherwise the nth alone.
  bool lasting = false;
  // When it has ended: what it did not sync is lost, as with a power cut.
  bool loses_unsynced = false;
  // Mistakes of a broker, which the judge has to find: it is not among the modes that are run.
  bool syncs_lie = false;
};

// The process dies at a call.
const std::vector<FaultMode>& CrashModes();
// A call fails.
const std::vector<FaultMode>& ErrorModes();
// A broker that breaks its promises.
const std::vector<FaultMode>& MutantModes();
const FaultMode* FindMode(const std::string& name);

struct FaultPoint {
  const FaultScenario* scenario = nullptr;
  const FaultMode* mode = nullptr;
  uint64_t nth = 0;
  uint64_t seed = 1;
  // Only calls with this in their text count, for instance "fdatasync 0" or "FORMAT"; empty: all do.
  std::string only = {};
  // What repeats it.
  std::string Command() const;
};

// What became of the points, for the report.
struct FaultCounts {
  uint64_t points = 0;
  uint64_t tasks = 0;      // acknowledged before or in spite of the fault
  uint64_t completed = 0;  // acknowledged
  std::map<std::string, uint64_t> by_mode;
  std::map<std::string, uint64_t> by_end;  // "killed at the start", "exit 74", "went on", ...
  void Add(const FaultCounts& other);
};

// One life with a fault and one without, on a copy of the scenario's folder. Empty, or what is wrong. Any thread.
std::string RunPoint(const FaultPoint& point, FaultCounts* counts);

// Some points of these scenarios and modes, spread evenly, or, with a count of 0, all.
std::vector<FaultPoint> ChoosePoints(const std::vector<std::unique_ptr<FaultScenario>>& scenarios,
                                     const std::vector<FaultMode>& modes, uint64_t count, uint64_t seed);

// Runs them on so many threads, until one is wrong: its description with the command that repeats it. `told` is called
// after each, one at a time. `keep_going`: does not stop there, and describes all that are wrong.
std::string RunPoints(const std::vector<FaultPoint>& points, int threads, bool keep_going, FaultCounts* counts,
                      const std::function<void(const FaultCounts&)>& told);

// For other harnesses: the same for any work, numbered from 0.
std::string RunInParallel(size_t count, int threads, bool keep_going, const std::function<std::string(size_t)>& run);

}  // namespace penstock::broker

#endif  // PENSTOCK_TESTS_FAULTS_FAULT_POINTS_H_
