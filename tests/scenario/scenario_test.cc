// Runs the scripts of testdata and compares what they tell with what stands below each command.
// PENSTOCK_REWRITE_GOLDEN=1 writes the files anew instead: read every changed line in review.

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/scenario/script.h"
#include "tests/support/project_paths.h"

namespace penstock::broker {
namespace {

std::filesystem::path Folder() { return SourcePath("tests/scenario/testdata"); }

std::vector<std::string> ScriptNames() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(Folder())) {
    if (entry.path().extension() == ".txt") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

// A file is made of comments (#), empty lines, and blocks: one or more commands, a line ----, and what they tell, up to
// an empty line.
std::string Replay(const std::string& text) {
  Script script;
  std::string out;
  std::string told;  // by the commands of the block so far
  std::istringstream lines(text);
  bool skipping = false;  // the old output
  for (std::string line; std::getline(lines, line);) {
    if (skipping) {
      if (!line.empty()) continue;
      skipping = false;
    }
    if (line == "----") {
      out += "----\n" + told;
      told.clear();
      skipping = true;
      continue;
    }
    out += line + "\n";
    if (line.empty() || line.starts_with("#")) continue;
    try {
      told += script.Run(line);
    } catch (const std::exception& error) {
      ADD_FAILURE() << line << ": " << error.what();
      return out;
    }
    if (::testing::Test::HasFailure()) {
      ADD_FAILURE() << "after: " << line;
      return out;
    }
  }
  return out;
}

class ScenarioTest : public ::testing::TestWithParam<std::string> {};

TEST_P(ScenarioTest, TellsWhatIsExpected) {
  const std::filesystem::path path = Folder() / (GetParam() + ".txt");
  const std::string expected = ReadFile(path);
  const std::string told = Replay(expected);
  if (HasFailure()) return;
  if (std::getenv("PENSTOCK_REWRITE_GOLDEN") != nullptr) {
    std::ofstream(path, std::ios::binary) << told;
    return;
  }
  EXPECT_EQ(expected, told);
}

INSTANTIATE_TEST_SUITE_P(Scripts, ScenarioTest, ::testing::ValuesIn(ScriptNames()),
                         [](const auto& named) { return named.param; });

}  // namespace
}  // namespace penstock::broker
