#ifndef PENSTOCK_COMMON_CONFIG_LOADER_H_
#define PENSTOCK_COMMON_CONFIG_LOADER_H_

// Fills a program's options: a flag wins over the environment, that over the file, that over the default.
//
//   std::optional<int> exit_code = LoadOptions(program, argc, argv, ReadEnvironment(), validate, &set);
//   if (exit_code) return *exit_code;
//
// Every program that uses it has, beside its options, these flags: --config FILE (-c, or PENSTOCK_CONFIG),
// --check-config,
// --print-config, --help (-h), --version (-V).

#include <functional>
#include <iosfwd>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/config/config_errors.h"
#include "common/config/option_set.h"

namespace penstock {

using Environment = std::map<std::string, std::string>;
// The process's variables.
Environment ReadEnvironment();

// A flag that is no option: it says what the program shall do this time, and stands neither in the file nor in the
// environment.
struct ProgramFlag {
  std::string names;  // "--repair", "-o,--output"
  std::string type;   // of its value, "FOLDER"; empty: it has none
  std::string what;
  // Where it goes: `set` becomes true when it is given, `value` is what follows. May be null.
  bool* set = nullptr;
  std::string* value = nullptr;
};

struct ProgramText {
  std::string name;      // "penstock-broker"
  std::string version;   // "0.1.0"
  std::string what;      // one sentence
  std::string examples;  // command lines, for --help
  std::vector<ProgramFlag> flags = {};
};

enum class ProgramAction { kRun, kHelp, kVersion, kCheckConfig, kPrintConfig };

struct LoadedOptions {
  ProgramAction action = ProgramAction::kRun;
  std::string config_file;  // empty: none
  ConfigErrors errors;      // all of them, not only the first
  // Harmless for sure is none of them, wrong for sure neither.
  std::vector<std::string> warnings;
  std::string help;
};

// Finds contradictions between options, naming each that has to do with one. Where single values could not be read,
// those of its errors that may come of that are left out, so that it compares what was meant.
using ValidateOptions = std::function<ConfigErrors()>;

LoadedOptions ReadOptions(const ProgramText& program, int argc, const char* const* argv, const Environment& environment,
                          const ValidateOptions& validate, OptionSet* options);

// Exit codes: the configuration is wrong (EX_CONFIG of sysexits.h, at which systemd need not restart).
inline constexpr int kExitConfig = 78;

// ReadOptions, and then what every main does: prints errors and warnings, answers --help, --version, --check-config and
// --print-config. Returns the code to exit with, or nullopt: go on and run. `out` and `err` are standard output and
// error.
std::optional<int> LoadOptions(const ProgramText& program, int argc, const char* const* argv,
                               const Environment& environment, const ValidateOptions& validate, OptionSet* options,
                               std::ostream& out, std::ostream& err);

}  // namespace penstock

#endif  // PENSTOCK_COMMON_CONFIG_LOADER_H_
