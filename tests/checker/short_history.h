#ifndef PENSTOCK_TESTS_CHECKER_SHORT_HISTORY_H_
#define PENSTOCK_TESTS_CHECKER_SHORT_HISTORY_H_

// Histories for the checker's tests, written short: a line is time, op, fields.

#include <algorithm>
#include <set>
#include <sstream>
#include <string>

#include "gtest/gtest.h"
#include "tests/checker/checker.h"

namespace penstock::histcheck {

// "12 deliver who=w token=5" as a line of a file.
inline std::string Line(const std::string& text) {
  std::istringstream words(text);
  std::string t, op, json;
  words >> t >> op;
  json = "{\"t\":" + t + ",\"op\":\"" + op + "\"";
  for (std::string word; words >> word;) {
    const size_t equals = word.find('=');
    const std::string value = word.substr(equals + 1);
    const bool plain = value == "true" || value.find_first_not_of("0123456789") == std::string::npos;
    json += ",\"" + word.substr(0, equals) + "\":" + (plain ? value : "\"" + value + "\"");
  }
  return json + "}";
}

inline History Parse(const std::string& text) {
  std::istringstream lines(text);
  std::string json;
  for (std::string line; std::getline(lines, line);) {
    if (!line.empty()) json += Line(line) + "\n";
  }
  std::istringstream in(json);
  History history;
  std::string error;
  EXPECT_TRUE(Read(in, &history, &error)) << error;
  std::stable_sort(history.begin(), history.end(), [](const Event& a, const Event& b) { return a.t < b.t; });
  return history;
}

// The rules that a history breaks.
inline std::set<std::string> Broken(const std::string& text) {
  std::set<std::string> rules;
  for (const Violation& violation : Check(Parse(text)).violations) rules.insert(violation.rule);
  return rules;
}

inline const std::string kConfig = "0 config max_delay=5 max_commit=5 max_silence=5 window=100 liveness=1000 n=15\n";

}  // namespace penstock::histcheck

#endif  // PENSTOCK_TESTS_CHECKER_SHORT_HISTORY_H_
