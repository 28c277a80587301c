#include "client/cli/help.h"

#include <algorithm>
#include <numeric>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "client/cli/exit_code.h"
#include "fmt/format.h"

namespace penstock::cli {
namespace {

// Where descriptions begin.
constexpr size_t kTextColumn = 28;
constexpr size_t kLineWidth = 100;

// "  names          text", the text broken into lines where need be.
std::string Entry(const std::string& names, const std::string& text) {
  std::string result = "  " + names;
  if (result.size() + 2 > kTextColumn)
    result += '\n' + std::string(kTextColumn, ' ');
  else
    result.append(kTextColumn - result.size(), ' ');
  size_t at = kTextColumn;
  bool first = true;
  for (const std::string& word : std::vector<std::string>(absl::StrSplit(text, ' '))) {
    if (!first && at + 1 + word.size() > kLineWidth) {
      result += '\n' + std::string(kTextColumn, ' ');
      at = kTextColumn;
    } else if (!first) {
      result += ' ';
      ++at;
    }
    result += word;
    at += word.size();
    first = false;
  }
  return result + '\n';
}

std::string NamesOf(const CLI::Option& option) {
  std::vector<std::string> names;
  for (const std::string& name : option.get_snames()) names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) names.push_back("--" + name);
  const std::string joined = fmt::format("{}{}", option.get_snames().empty() ? "    " : "", fmt::join(names, ", "));
  return TakesValue(option) ? joined + " " + option.get_type_name() : joined;
}

std::string TextOf(const CLI::Option& option) {
  std::string text = option.get_description();
  if (!option.get_default_str().empty()) text += fmt::format(" [{}]", option.get_default_str());
  if (!option.get_envname().empty()) text += fmt::format(" ({})", option.get_envname());
  return text;
}

std::string Usage(const CLI::App& app, const std::string& name) {
  std::string usage = "Usage: " + name;
  if (!app.get_subcommands(nullptr).empty()) usage += " COMMAND";
  for (const CLI::Option* option : OptionsOf(app, /*positional=*/true)) {
    std::string argument = option->get_name(/*positional=*/true);
    if (option->get_items_expected_max() > 1) argument += "...";
    usage += option->get_required() ? " " + argument : " [" + argument + "]";
  }
  return usage + " [OPTIONS]\n";
}

class HelpFormatter : public CLI::FormatterBase {
 public:
  std::string make_help(const CLI::App* app, std::string name, CLI::AppFormatMode) const override {
    const bool is_root = app->get_parent() == nullptr;
    std::string help = app->get_description() + "\n";
    if (!app->get_footer().empty()) {
      help += "\nExamples:\n";
      for (const std::string& line : std::vector<std::string>(absl::StrSplit(app->get_footer(), '\n'))) {
        help += "  " + line + "\n";
      }
    }
    help += "\n" + Usage(*app, name);
    if (const auto positional = OptionsOf(*app, true); !positional.empty()) {
      help += "\n";
      for (const CLI::Option* option : positional) help += Entry(option->get_name(true), TextOf(*option));
    }
    if (const auto commands = app->get_subcommands(nullptr); !commands.empty()) {
      help += "\nCommands:\n";
      for (const CLI::App* command : commands) help += Entry(command->get_name(), command->get_description());
    }
    std::string options;
    for (const CLI::Option* option : OptionsOf(*app, false)) {
      if (is_root || option != app->get_help_ptr()) options += Entry(NamesOf(*option), TextOf(*option));
    }
    if (!options.empty())
      help += (is_root ? "\nOptions of every command (and what sets them for all):\n" : "\nOptions:\n") + options;
    if (is_root) {
      help +=
          "\nJSON and YAML have the fields of the API (penstock/v1/*.proto) under their names there, all of them:\n"
          "64-bit numbers and durations as text, times as RFC 3339, bytes in base64. Lists are\n"
          "{\"items\": [...], \"next_page_token\": \"...\"}.\n"
          "\nExit codes:\n";
      help += kExitCodeHelp;
    } else {
      help += "\nOptions of every command: penstock --help\n";
    }
    return help;
  }
};

// Edits (insert, delete, replace, swap neighbours) between two words.
size_t Distance(const std::string& a, const std::string& b) {
  std::vector<size_t> before, last(b.size() + 1), row(b.size() + 1);
  std::iota(last.begin(), last.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    before = std::exchange(last, row);
  }
  return last[b.size()];
}

}  // namespace

std::shared_ptr<CLI::FormatterBase> MakeHelpFormatter() { return std::make_shared<HelpFormatter>(); }

bool TakesValue(const CLI::Option& option) { return option.get_items_expected_max() > 0; }

std::vector<const CLI::Option*> OptionsOf(const CLI::App& app, bool positional) {
  return app.get_options([positional](const CLI::Option* option) {
    return option->get_positional() == positional && !option->get_group().empty();
  });
}

std::string Nearest(const std::string& word, const std::vector<std::string>& candidates) {
  std::string nearest;
  size_t least = std::max<size_t>(word.size() / 2, 1) + 1;
  for (const std::string& candidate : candidates) {
    const size_t distance = absl::StartsWith(candidate, word) ? 1 : Distance(word, candidate);
    if (distance >= least) continue;
    least = distance;
    nearest = candidate;
  }
  return nearest;
}

}  // namespace penstock::cli
