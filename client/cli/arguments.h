#ifndef PENSTOCK_CLIENT_CLI_ARGUMENTS_H_
#define PENSTOCK_CLIENT_CLI_ARGUMENTS_H_

// Options of CLI11 with values as ours are: durations, times, numbers with bounds, words to choose from. What an option
// takes is its type name, which help shows and completion uses: "a|b|c", QUEUE and FILE are completed.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/time/time.h"

namespace penstock::cli {

// A command with its examples, a line each.
CLI::App& AddCommand(CLI::App& parent, const std::string& name, const std::string& help,
                     const std::string& examples = "");

// "30s", "1h30m", "7d"; at least `min`.
CLI::Option* AddDuration(CLI::App& app, const std::string& name, std::optional<absl::Duration>* out,
                         const std::string& help, absl::Duration min = absl::ZeroDuration());
// "2026-11-22T15:04:05Z".
CLI::Option* AddTime(CLI::App& app, const std::string& name, std::optional<absl::Time>* out, const std::string& help);
// A moment in the past: a time as above, or how long ago it was.
struct Moment {
  std::optional<absl::Time> time;
  absl::Duration ago;
  absl::Time At(absl::Time now) const { return time.value_or(now - ago); }
};
CLI::Option* AddMoment(CLI::App& app, const std::string& name, std::optional<Moment>* out, const std::string& help);
// "100/s", "5/10m": 1 to 1,000,000 tasks in 1 ms to 24 h.
struct Rate {
  uint32_t tasks = 0;
  absl::Duration period;
};
CLI::Option* AddRate(CLI::App& app, const std::string& name, std::optional<Rate>* out, const std::string& help);
// A whole number from `min` to `max`.
CLI::Option* AddNumber(CLI::App& app, const std::string& name, std::optional<int>* out, int min, int max,
                       const std::string& help);
// A whole number that may be large.
CLI::Option* AddCount(CLI::App& app, const std::string& name, std::optional<uint64_t>* out, const std::string& help);
CLI::Option* AddReal(CLI::App& app, const std::string& name, std::optional<double>* out, double min, double max,
                     const std::string& help);
CLI::Option* AddText(CLI::App& app, const std::string& name, std::string* out, const std::string& type,
                     const std::string& help);
// May be given several times, a value each time.
CLI::Option* AddTexts(CLI::App& app, const std::string& name, std::vector<std::string>* out, const std::string& type,
                      const std::string& help);
// KEY=VALUE; may be given several times.
CLI::Option* AddPairs(CLI::App& app, const std::string& name, std::map<std::string, std::string>* out,
                      const std::string& help);
// One or more positional arguments.
CLI::Option* AddNames(CLI::App& app, const std::string& type, std::vector<std::string>* out, const std::string& help);

// Lists walk all pages up to --limit, or one page on from --page-token.
struct PageOptions {
  int limit = 100;  // 0: all
  std::string page_token;
};
void AddPageOptions(CLI::App& app, PageOptions* out);

// One of the words of `values`.
template <class T>
CLI::Option* AddChoice(CLI::App& app, const std::string& name, T* out, std::vector<std::pair<std::string, T>> values,
                       const std::string& help) {
  std::string words;
  for (const auto& value : values) words += (words.empty() ? "" : "|") + value.first;
  const auto find = [values = std::move(values)](const std::string& text) -> const T* {
    for (const auto& value : values) {
      if (value.first == text) return &value.second;
    }
    return nullptr;
  };
  const auto check = [find, words](const std::string& text) {
    return find(text) == nullptr ? "'" + text + "' is none of " + words : std::string();
  };
  return app
      .add_option_function<std::string>(
          name, [find, out](const std::string& text) { *out = *find(text); }, help)
      ->check(check)
      ->type_name(words);
}

}  // namespace penstock::cli

#endif  // PENSTOCK_CLIENT_CLI_ARGUMENTS_H_
