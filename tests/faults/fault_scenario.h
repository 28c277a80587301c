#ifndef PENSTOCK_TESTS_FAULTS_FAULT_SCENARIO_H_
#define PENSTOCK_TESTS_FAULTS_FAULT_SCENARIO_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/faults/faulty_broker.h"
#include "tests/faults/wire_client.h"
#include "tests/support/temp_folder.h"

namespace penstock::broker {

// What a broker finds when it is started, and what clients do to it then. Read-only once made: any thread.
class FaultScenario {
 public:
  // "first": a new folder, and a row of every call.
  // "again": the folder of a broker that was killed in the middle of its second life, and the row once more.
  // "busy": a new folder, small memtables, and so much data that RocksDB writes out, switches logs and compacts.
  // A sentence says why it cannot be made.
  static std::string Make(const std::string& name, uint64_t seed, std::unique_ptr<FaultScenario>* out);
  static const std::vector<std::string>& Names();

  const std::string& name() const { return name_; }
  const std::vector<std::string>& flags() const { return flags_; }
  // Puts the folder that the broker finds there.
  void CopyTo(const std::string& data_dir) const;
  const WireMemory& memory() const { return memory_; }
  bool Run(WireClient* client) const;
  // Calls of these classes in a life without faults, from the start to the end of an orderly stop.
  uint64_t CallsOf(uint32_t classes) const { return calls_.at(classes); }

 private:
  FaultScenario(std::string name, uint64_t seed) : name_(std::move(name)), memory_(seed) {}
  std::string Prepare();
  std::string Count(uint32_t classes);

  const std::string name_;
  std::vector<std::string> flags_;
  penstock::testing::TempFolder folder_;
  WireMemory memory_;
  std::map<uint32_t, uint64_t> calls_;
};

// What `--verify` says of a folder whose broker has ended in order, a judge of its own: it counts everything anew.
// Empty, or what is wrong.
std::string VerifyWhole(const std::string& data_dir);

// The last life of a folder: a broker without faults finds everything that clients were told, runs it to its end, and
// the folder is whole afterwards. `memory` is what the clients know. Empty, or what is wrong.
std::string JudgeFolder(const std::string& data_dir, const std::vector<std::string>& flags, WireMemory* memory);

}  // namespace penstock::broker

#endif  // PENSTOCK_TESTS_FAULTS_FAULT_SCENARIO_H_
