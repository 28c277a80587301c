// Every fuzzing target without libFuzzer: its corpus, and a number of mutations of it that is the same in every run. So
// every build, and AddressSanitizer in CI, sees them; the preset fuzz goes on from there.
//
//   PENSTOCK_FUZZ_RUNS=N   so many mutations of each target instead of 2,000

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/fuzz/fuzz_input.h"

// One function for each target: FUZZ_TARGETS(X) is X(api) X(cron) ...
#include "tests/fuzz/fuzz_targets.h"
#include "tests/support/project_paths.h"
#define DECLARE(name) extern "C" int Fuzz_##name(const uint8_t* data, size_t size);
FUZZ_TARGETS(DECLARE)
#undef DECLARE

namespace penstock::fuzz {
namespace {

constexpr size_t kInputMost = 64 << 10;

struct Target {
  const char* name;
  int (*run)(const uint8_t*, size_t);
};

std::vector<std::string> CorpusOf(const std::string& name) {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(SourcePath("tests/fuzz/corpus/" + name))) {
    paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  std::vector<std::string> inputs;
  for (const auto& path : paths) {
    std::ifstream in(path, std::ios::binary);
    std::stringstream content;
    content << in.rdbuf();
    inputs.push_back(content.str());
  }
  return inputs;
}

// Changes an input in a few places, as fuzzers do.
class Mutator {
 public:
  explicit Mutator(const std::vector<std::string>& corpus) : corpus_(corpus) {}

  std::string Next() {
    std::string input = corpus_[Below(corpus_.size())];
    for (size_t changes = 1 + Below(6); changes > 0; --changes) Change(&input);
    if (input.size() > kInputMost) input.resize(kInputMost);
    return input;
  }

 private:
  size_t Below(size_t n) { return static_cast<size_t>(random_() % n); }
  char Byte() {
    static constexpr unsigned char kTelling[] = {0, 1, 0x7f, 0x80, 0xff, '\n', '"', '0', 0x10, 0x20};
    return static_cast<char>(Below(2) == 0 ? kTelling[Below(std::size(kTelling))] : Below(256));
  }
  void Change(std::string* input) {
    const size_t at = Below(input->size() + 1);
    const size_t size = std::min(1 + Below(Below(8) == 0 ? 64 : 8), input->size() - at);
    switch (Below(7)) {
      case 0:
        if (size > 0) (*input)[at] = static_cast<char>((*input)[at] ^ 1 << Below(8));
        break;
      case 1:
        if (size > 0) (*input)[at] = Byte();
        break;
      case 2:
        input->insert(at, 1, Byte());
        break;
      case 3:
        input->erase(at, size);
        break;
      case 4:
        input->insert(at, input->substr(at, size));
        break;
      case 5:
        input->resize(at);
        break;
      default: {
        const std::string& other = corpus_[Below(corpus_.size())];
        input->replace(at, size, other.substr(Below(other.size() + 1), 1 + Below(64)));
      }
    }
  }

  const std::vector<std::string>& corpus_;
  std::mt19937_64 random_{20'261'201};
};

class FuzzTest : public ::testing::TestWithParam<Target> {};

TEST_P(FuzzTest, HoldsForTheCorpusAndItsMutations) {
  const std::vector<std::string> corpus = CorpusOf(GetParam().name);
  ASSERT_FALSE(corpus.empty());
  auto run = [&](const std::string& input) {
    GetParam().run(reinterpret_cast<const uint8_t*>(input.data()), input.size());
  };
  run("");
  for (const std::string& input : corpus) run(input);
  const char* runs = std::getenv("PENSTOCK_FUZZ_RUNS");
  Mutator mutator(corpus);
  for (int left = runs == nullptr ? 2'000 : std::atoi(runs); left > 0; --left) run(mutator.Next());
}

#define TARGET(name) Target{#name, Fuzz_##name},
INSTANTIATE_TEST_SUITE_P(Targets, FuzzTest, ::testing::ValuesIn(std::vector<Target>{FUZZ_TARGETS(TARGET)}),
                         [](const auto& target) { return target.param.name; });
#undef TARGET

// What a harness does that cannot fail is worth nothing.
TEST(FuzzDeathTest, AViolationEndsTheProcess) { EXPECT_DEATH(FUZZ_CHECK(1 + 1 == 3), "not so: 1 \\+ 1 == 3"); }

}  // namespace
}  // namespace penstock::fuzz
