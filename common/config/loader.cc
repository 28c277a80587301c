#include "common/config/loader.h"

#include <unistd.h>

#include <algorithm>
#include <ostream>

#include "CLI/CLI.hpp"
#include "common/config/render.h"
#include "common/text.h"
#include "fmt/format.h"

namespace penstock {
namespace {

constexpr char kConfigEnv[] = "PENSTOCK_CONFIG";

struct OwnFlags {
  CLI::Option* config;
  CLI::Option* check;
  CLI::Option* print;
  CLI::Option* version;
  CLI::Option* help;
};

std::string HelpLine(const Option& option) {
  std::string text = option.about().what;
  text += fmt::format(" Default: {}", option.default_text().empty() ? "none" : option.default_text());
  if (!option.valid().empty()) text += fmt::format("; valid: {}", option.valid());
  return text + ".";
}

// Of CLI11's many overloads, the ones without a variable.
CLI::Option* AddFlag(CLI::App& app, const std::string& names, const std::string& what) {
  return app.add_flag(names, what)->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
}
CLI::Option* AddOption(CLI::App& app, const std::string& names, const std::string& what, std::string_view type) {
  return app.add_option(names, what)
      ->type_name(std::string(type))
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
}

OwnFlags AddOwnFlags(CLI::App& app) {
  app.set_help_flag();
  OwnFlags own;
  own.config = AddOption(app, "-c,--config", "Read options from this YAML file; or PENSTOCK_CONFIG.", "FILE");
  own.check = AddFlag(app, "--check-config", "Check the configuration, name every error, and exit.");
  own.print = AddFlag(app, "--print-config", "Print the values in force and where each comes from, and exit.");
  own.version = AddFlag(app, "-V,--version", "Print the version, and exit.");
  own.help = AddFlag(app, "-h,--help", "Print this, and exit.");
  for (CLI::Option* option : {own.config, own.check, own.print, own.version, own.help}) {
    option->group("Program");
  }
  return own;
}

// Declares the options as flags. Their values stay text here; OptionSet reads them, as from every other source.
std::vector<std::pair<const Option*, CLI::Option*>> AddFlags(const OptionSet& options, CLI::App& app) {
  std::vector<std::pair<const Option*, CLI::Option*>> flags;
  for (const Option& option : options.options()) {
    if (option.flag().empty()) continue;
    std::string names = option.flag();
    if (option.about().letter != 0) names = fmt::format("-{},{}", option.about().letter, names);
    CLI::Option* flag = nullptr;
    if (option.type() == OptionType::kBool) {
      flag = AddFlag(app, names, HelpLine(option));
    } else {
      flag = AddOption(app, names, HelpLine(option), option.type_name());
      if (option.type() == OptionType::kList) flag->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    }
    const size_t dot = option.about().path.find('.');
    flag->group(dot == std::string::npos ? "General" : option.about().path.substr(0, dot));
    flags.emplace_back(&option, flag);
  }
  return flags;
}

std::string Help(const ProgramText& program, CLI::App& app) {
  app.get_formatter()->column_width(40);
  std::string text = app.help();
  text +=
      "\nA flag wins over the environment, that over the file, that over the default. The option limits.error_text is "
      "the flag\n"
      "--limits.error-text, the variable PENSTOCK_LIMITS__ERROR_TEXT, and error_text below limits: in the file.\n";
  if (!program.examples.empty()) text += "\nExamples:\n" + program.examples + "\n";
  return text;
}

void ReportExtras(const CLI::App& app, const OptionSet& options, ConfigErrors* errors) {
  bool after_flag = false;
  for (const std::string& extra : app.remaining()) {
    if (extra.starts_with("-") && extra != "-" && extra != "--") {
      const std::string name = extra.substr(0, extra.find('='));
      errors->Add({name, "", "no such flag" + options.SuggestFlag(name)});
      after_flag = name.size() == extra.size();
    } else {
      // What follows an unknown flag is most likely its value.
      if (!after_flag) errors->Add({"", "", fmt::format("unexpected argument '{}'", extra)});
      after_flag = false;
    }
  }
}

// What `found` says of options that were read: not of those that `unread` names as wrong, or as probably meant.
ConfigErrors WithoutDoubtful(const ConfigErrors& found, const ConfigErrors& unread, const OptionSet& options) {
  std::vector<std::string> doubtful;
  for (const Option& option : options.options()) {
    const std::string& path = option.about().path;
    const bool named = std::any_of(unread.errors().begin(), unread.errors().end(), [&](const ConfigError& error) {
      return error.option == path || error.problem.find(path) != std::string::npos;
    });
    if (named) doubtful.push_back(path);
  }
  ConfigErrors certain;
  for (const ConfigError& error : found.errors()) {
    const std::string text = error.option + ": " + error.problem;
    const bool doubted = std::any_of(doubtful.begin(), doubtful.end(),
                                     [&](const std::string& path) { return text.find(path) != std::string::npos; });
    if (!doubted) certain.Add(error);
  }
  return certain;
}

}  // namespace

Environment ReadEnvironment() {
  Environment environment;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const size_t equals = text.find('=');
    if (equals != std::string_view::npos) environment.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return environment;
}

LoadedOptions ReadOptions(const ProgramText& program, int argc, const char* const* argv, const Environment& environment,
                          const ValidateOptions& validate, OptionSet* options) {
  LoadedOptions loaded;
  CLI::App app(program.what, program.name);
  app.allow_extras();
  const OwnFlags own = AddOwnFlags(app);
  std::vector<std::pair<const ProgramFlag*, CLI::Option*>> program_flags;
  for (const ProgramFlag& flag : program.flags) {
    program_flags.emplace_back(&flag, flag.type.empty() ? AddFlag(app, flag.names, flag.what)
                                                        : AddOption(app, flag.names, flag.what, flag.type));
    program_flags.back().second->group("Program");
  }
  const auto flags = AddFlags(*options, app);
  // CLI11 takes the words from the back.
  std::vector<std::string> words(argv + std::min(argc, 1), argv + argc);
  std::reverse(words.begin(), words.end());
  try {
    app.parse(words);
  } catch (const CLI::ParseError& error) {
    loaded.errors.Add({"", "", error.what()});
  }
  if (own.help->count() > 0) {
    loaded.action = ProgramAction::kHelp;
    loaded.help = Help(program, app);
    return loaded;
  }
  if (own.version->count() > 0) {
    loaded.action = ProgramAction::kVersion;
    return loaded;
  }
  if (own.check->count() > 0) {
    loaded.action = ProgramAction::kCheckConfig;
  } else if (own.print->count() > 0) {
    loaded.action = ProgramAction::kPrintConfig;
  }
  ReportExtras(app, *options, &loaded.errors);
  // From here on an error is about one option, and the others say what they should.
  bool readable = loaded.errors.empty();
  for (const auto& [flag, given] : program_flags) {
    if (given->count() == 0) continue;
    if (flag->set != nullptr) *flag->set = true;
    if (flag->value != nullptr) *flag->value = given->results().back();
  }

  if (own.config->count() > 0) {
    loaded.config_file = own.config->results().back();
  } else if (const auto found = environment.find(kConfigEnv); found != environment.end()) {
    loaded.config_file = found->second;
  }
  if (!loaded.config_file.empty()) {
    const absl::StatusOr<YamlNode> root = ReadYamlFile(loaded.config_file);
    if (root.ok()) {
      options->ReadYaml(*root, "", &loaded.errors);
    } else {
      loaded.errors.Add({"", "", std::string(root.status().message())});
      readable = false;
    }
  }
  options->ReadEnvironment(environment, &loaded.errors, &loaded.warnings);
  for (const auto& [option, flag] : flags) {
    if (flag->count() > 0) options->ReadFlag(option->about().path, flag->results(), &loaded.errors);
  }

  if (readable && validate) {
    const ConfigErrors contradictions = WithoutDoubtful(validate(), loaded.errors, *options);
    for (ConfigError error : contradictions.errors()) {
      const Option* option = options->Find(error.option);
      if (error.where.empty() && option != nullptr && option->origin().source != OptionSource::kDefault) {
        error.where = option->origin().where;
      }
      loaded.errors.Add(std::move(error));
    }
  }
  return loaded;
}

std::optional<int> LoadOptions(const ProgramText& program, int argc, const char* const* argv,
                               const Environment& environment, const ValidateOptions& validate, OptionSet* options,
                               std::ostream& out, std::ostream& err) {
  const LoadedOptions loaded = ReadOptions(program, argc, argv, environment, validate, options);
  if (loaded.action == ProgramAction::kHelp) {
    out << loaded.help;
    return 0;
  }
  if (loaded.action == ProgramAction::kVersion) {
    out << program.name << " " << program.version << "\n";
    return 0;
  }
  for (const std::string& warning : loaded.warnings) err << program.name << ": warning: " << warning << "\n";
  if (!loaded.errors.empty()) {
    for (const ConfigError& error : loaded.errors.errors()) err << program.name << ": " << error.ToString() << "\n";
    return kExitConfig;
  }
  if (loaded.action == ProgramAction::kCheckConfig) {
    out << "The configuration is valid"
        << (loaded.config_file.empty() ? " (no file was read)" : ": " + loaded.config_file) << ".\n";
    return 0;
  }
  if (loaded.action == ProgramAction::kPrintConfig) {
    out << RenderEffective(*options);
    return 0;
  }
  return std::nullopt;
}

}  // namespace penstock
