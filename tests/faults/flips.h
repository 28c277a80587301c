#ifndef PENSTOCK_TESTS_FAULTS_FLIPS_H_
#define PENSTOCK_TESTS_FAULTS_FLIPS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/faults/wire_client.h"
#include "tests/support/temp_folder.h"

namespace penstock::broker {

// Data folders of brokers that have ended, with tasks in every state, for bits to be flipped in. Read-only once made:
// any thread.
class FlipScenario {
 public:
  // "killed": the log holds the last commits. "stopped": the same, stopped in order. "backup": a folder of backups,
  // from which a data folder is restored. A sentence says why it cannot be made.
  static std::string Make(const std::string& name, uint64_t seed, std::unique_ptr<FlipScenario>* out);
  static const std::vector<std::string>& Names();

  struct File {
    std::string name;  // below the folder
    std::string kind;  // "log", "table", "MANIFEST", "CURRENT", ...
    uint64_t bytes = 0;
  };

  const std::string& name() const { return name_; }
  const std::string path() const { return folder_ / "data"; }
  const std::vector<File>& files() const { return files_; }
  const WireMemory& memory() const { return memory_; }

 private:
  FlipScenario(std::string name, uint64_t seed) : name_(std::move(name)), memory_(seed) {}
  std::string Prepare();

  const std::string name_;
  penstock::testing::TempFolder folder_;
  std::vector<File> files_;
  WireMemory memory_;
};

struct Flip {
  const FlipScenario* scenario = nullptr;
  const FlipScenario::File* file = nullptr;
  uint64_t byte = 0;
  int bit = 0;
  std::string Command(uint64_t seed) const;
};

struct FlipCounts {
  uint64_t flips = 0;
  std::map<std::string, uint64_t> by_kind;
  // "LOG: harmless", "table: DATA_LOSS", ...
  std::map<std::string, uint64_t> by_end;
  void Add(const FlipCounts& other);
};

// Flips the bit in a copy, and looks whether what follows is right: the start is refused with a sentence, or damage is
// named when it is asked for, or nothing is wrong. Empty, or what is wrong. Any thread.
std::string RunFlip(const Flip& flip, FlipCounts* counts);
// The judge alone: of a folder that was changed somehow. `what` becomes the verdict.
std::string JudgeDamaged(const std::string& data_dir, const std::string& changed_file, WireMemory memory,
                         std::string* what);

// Some flips, the same number of every kind of file, or, with a count of 0, one in every byte.
std::vector<Flip> ChooseFlips(const std::vector<std::unique_ptr<FlipScenario>>& scenarios, uint64_t count,
                              uint64_t seed);

std::string RunFlips(const std::vector<Flip>& flips, uint64_t seed, int threads, bool keep_going, FlipCounts* counts,
                     const std::function<void(const FlipCounts&)>& told);

}  // namespace penstock::broker

#endif  // PENSTOCK_TESTS_FAULTS_FLIPS_H_
