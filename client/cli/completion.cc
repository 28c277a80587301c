#include "client/cli/completion.h"

#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "client/cli/help.h"
#include "fmt/format.h"

namespace penstock::cli {
namespace {

enum class Values { kNone, kWords, kQueues, kFiles };

// What may follow an option or stand in an argument's place.
struct Taken {
  Values values = Values::kNone;
  std::string words;  // with blanks between them
};

struct OptionEntry {
  std::vector<std::string> names;  // with their dashes
  std::string help;
  bool takes_value = false;
  Taken taken;
};

struct Entry {
  std::string path;  // " queue list"; the root's is empty
  std::string name;
  std::string help;
  std::vector<OptionEntry> options;  // its own; the root's are everybody's
  Taken argument;                    // of the first positional argument that has any
  std::vector<Entry> commands;
};

Taken TakenBy(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  if (type == "QUEUE") return {Values::kQueues, ""};
  if (type == "FILE") return {Values::kFiles, ""};
  if (type.find('|') != std::string::npos) return {Values::kWords, absl::StrReplaceAll(type, {{"|", " "}})};
  return {};
}

OptionEntry ToEntry(const CLI::Option& option) {
  OptionEntry entry;
  for (const std::string& name : option.get_snames()) entry.names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) entry.names.push_back("--" + name);
  entry.help = option.get_description();
  entry.takes_value = TakesValue(option);
  if (entry.takes_value) entry.taken = TakenBy(option);
  return entry;
}

Entry ToEntry(const CLI::App& app, const std::string& parent) {
  Entry entry;
  entry.name = app.get_name();
  entry.help = app.get_description();
  entry.path = app.get_parent() == nullptr ? "" : parent + " " + entry.name;
  for (const CLI::Option* option : OptionsOf(app, false)) {
    // Every command has --help; the root's stands for all.
    if (app.get_parent() == nullptr || option != app.get_help_ptr()) entry.options.push_back(ToEntry(*option));
  }
  for (const CLI::Option* option : OptionsOf(app, true)) {
    if (entry.argument.values == Values::kNone) entry.argument = TakenBy(*option);
  }
  for (const CLI::App* command : app.get_subcommands(nullptr)) entry.commands.push_back(ToEntry(*command, entry.path));
  return entry;
}

template <class Visit>
void Walk(const Entry& entry, const Visit& visit) {
  visit(entry);
  for (const Entry& command : entry.commands) Walk(command, visit);
}

// "' queue'|' queue list'|..." for a shell's case.
std::string AllPaths(const Entry& root, std::string_view separator) {
  std::vector<std::string> paths;
  Walk(root, [&](const Entry& entry) {
    if (!entry.path.empty()) paths.push_back("'" + entry.path + "'");
  });
  return absl::StrJoin(paths, absl::string_view(separator.data(), separator.size()));
}

std::string WithoutQuotes(const std::string& text) { return absl::StrReplaceAll(text, {{"'", ""}}); }

// A case of bash's or zsh's that completes the value after an option: "'path'|--name" patterns, then `offer`.
std::string ValueCases(const Entry& root, std::string (*offer)(const Taken&)) {
  std::string text;
  Walk(root, [&](const Entry& entry) {
    for (const OptionEntry& option : entry.options) {
      if (!option.takes_value) continue;
      std::vector<std::string> patterns;
      for (const std::string& name : option.names) {
        patterns.push_back(entry.path.empty() ? "*'|" + name + "'" : fmt::format("'{}|{}'", entry.path, name));
      }
      text += fmt::format("    {}) {} ;;\n", absl::StrJoin(patterns, " | "), offer(option.taken));
    }
  });
  return text;
}

std::string BashOffer(const Taken& taken) {
  switch (taken.values) {
    case Values::kWords:
      return fmt::format("_penstock_words '{}'; return", taken.words);
    case Values::kQueues:
      return "_penstock_queues; return";
    case Values::kFiles:
      return "compopt -o default; return";
    case Values::kNone:
      return "return";
  }
  return "return";
}

std::string ZshOffer(const Taken& taken) {
  switch (taken.values) {
    case Values::kWords:
      return fmt::format("compadd -- {}; return", taken.words);
    case Values::kQueues:
      return "_penstock_queues; return";
    case Values::kFiles:
      return "_files; return";
    case Values::kNone:
      return "return";
  }
  return "return";
}

std::vector<std::string> OptionNames(const Entry& entry) {
  std::vector<std::string> names;
  for (const OptionEntry& option : entry.options) names.insert(names.end(), option.names.begin(), option.names.end());
  return names;
}

// 'name:what it is' for zsh's _describe.
std::string Described(const std::string& name, const std::string& help) {
  return fmt::format("'{}:{}'", name, WithoutQuotes(absl::StrReplaceAll(help, {{":", " -"}})));
}

}  // namespace

std::string BashCompletion(const CLI::App& app) {
  const Entry root = ToEntry(app, "");
  std::string cases;
  Walk(root, [&](const Entry& entry) {
    std::vector<std::string> commands;
    for (const Entry& command : entry.commands) commands.push_back(command.name);
    std::string arguments = "return";
    if (!commands.empty())
      arguments = fmt::format("_penstock_words '{}'", absl::StrJoin(commands, " "));
    else if (entry.argument.values != Values::kNone)
      arguments = BashOffer(entry.argument);
    cases += fmt::format("    '{}') if [[ $cur == -* ]]; then _penstock_words \"$everywhere {}\"; else {}; fi ;;\n",
                         entry.path, entry.path.empty() ? "" : absl::StrJoin(OptionNames(entry), " "), arguments);
  });
  return fmt::format(R"sh(# Completion of penstock for bash, made by: penstock completion bash
# To use it: source <(penstock completion bash)

_penstock_words() {{ COMPREPLY=($(compgen -W "$1" -- "$cur")); }}

# Asks the broker, at the address that the command line or the environment names.
_penstock_queues() {{
  local endpoint=() i at
  for ((i = 1; i < COMP_CWORD; i++)); do
    # Bash makes three words of host:port, and one more of the = before it.
    case ${{COMP_WORDS[i]}} in
      -e | --endpoint | --broker)
        at=$((i + 1))
        if [[ ${{COMP_WORDS[at]-}} == = ]]; then ((at++)); fi
        if [[ ${{COMP_WORDS[at + 1]-}} == : ]]; then
          endpoint=(--endpoint "${{COMP_WORDS[at]}}:${{COMP_WORDS[at + 2]-}}")
        fi
        ;;
    esac
  done
  _penstock_words "$(penstock queue list -o name --limit 0 --timeout 2s "${{endpoint[@]}}" 2>/dev/null)"
}}

_penstock() {{
  local cur=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}} command='' i
  local everywhere='{}'
  # --option=value
  if [[ $cur == = ]]; then cur=''; elif [[ $before == = ]]; then before=${{COMP_WORDS[COMP_CWORD - 2]}}; fi
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$command ${{COMP_WORDS[i]}}" in
      {}) command+=" ${{COMP_WORDS[i]}}" ;;
    esac
  done
  case "$command|$before" in
{}  esac
  case $command in
{}  esac
}}
complete -F _penstock penstock
)sh",
                     absl::StrJoin(OptionNames(root), " "), AllPaths(root, " | "), ValueCases(root, BashOffer), cases);
}

std::string ZshCompletion(const CLI::App& app) {
  const Entry root = ToEntry(app, "");
  const auto describe_options = [](const Entry& entry) {
    std::vector<std::string> items;
    for (const OptionEntry& option : entry.options) {
      for (const std::string& name : option.names) items.push_back(Described(name, option.help));
    }
    return absl::StrJoin(items, " ");
  };
  std::string cases;
  Walk(root, [&](const Entry& entry) {
    std::vector<std::string> commands;
    for (const Entry& command : entry.commands) commands.push_back(Described(command.name, command.help));
    std::string arguments = "return";
    if (!commands.empty())
      arguments = fmt::format("items=({}); _describe command items", absl::StrJoin(commands, " "));
    else if (entry.argument.values != Values::kNone)
      arguments = ZshOffer(entry.argument);
    cases += fmt::format(
        "    '{}') if [[ $PREFIX == -* ]]; then items=($everywhere {}); _describe option items; else {}; fi ;;\n",
        entry.path, entry.path.empty() ? "" : describe_options(entry), arguments);
  });
  return fmt::format(R"sh(#compdef penstock
# Completion of penstock for zsh, made by: penstock completion zsh
# To use it: penstock completion zsh > "${{fpath[1]}}/_penstock"

_penstock_queues() {{
  local -a queues
  queues=(${{(f)"$(penstock queue list -o name --limit 0 --timeout 2s 2>/dev/null)"}})
  compadd -a queues
}}

_penstock() {{
  local command='' word
  local -a items everywhere
  everywhere=({})
  for word in ${{words[2,CURRENT-1]}}; do
    case "$command $word" in
      {}) command+=" $word" ;;
    esac
  done
  case "$command|${{words[CURRENT-1]}}" in
{}  esac
  case $command in
{}  esac
}}
if [[ $funcstack[1] == _penstock ]]; then _penstock "$@"; else compdef _penstock penstock; fi
)sh",
                     describe_options(root), AllPaths(root, " | "), ValueCases(root, ZshOffer), cases);
}

std::string FishCompletion(const CLI::App& app) {
  const Entry root = ToEntry(app, "");
  std::string lines;
  const auto offer = [](const Taken& taken) -> std::string {
    switch (taken.values) {
      case Values::kWords:
        return fmt::format(" -a '{}'", taken.words);
      case Values::kQueues:
        return " -a '(__penstock_queues)'";
      case Values::kFiles:
        return " -F";
      case Values::kNone:
        return "";
    }
    return "";
  };
  Walk(root, [&](const Entry& entry) {
    const std::string at = fmt::format("complete -c penstock -n \"__penstock_at '{}'\"", entry.path);
    for (const Entry& command : entry.commands) {
      lines += fmt::format("{} -a {} -d '{}'\n", at, command.name, WithoutQuotes(command.help));
    }
    if (entry.argument.values != Values::kNone) lines += at + offer(entry.argument) + "\n";
    for (const OptionEntry& option : entry.options) {
      std::string line = entry.path.empty() ? "complete -c penstock" : at;
      for (const std::string& name : option.names)
        line += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
      if (option.takes_value) line += option.taken.values == Values::kFiles ? " -r" : " -x";
      if (option.takes_value) line += offer(option.taken);
      lines += fmt::format("{} -d '{}'\n", line, WithoutQuotes(option.help));
    }
  });
  return fmt::format(R"sh(# Completion of penstock for fish, made by: penstock completion fish
# To use it: penstock completion fish > ~/.config/fish/completions/penstock.fish

function __penstock_queues
  penstock queue list -o name --limit 0 --timeout 2s 2>/dev/null
end

# Is the command so far "$argv[1]"?
function __penstock_at
  set -l command ''
  for word in (commandline -opc)[2..-1]
    switch "$command $word"
      case {}
        set command "$command $word"
    end
  end
  test "$command" = "$argv[1]"
end

complete -c penstock -f
{})sh",
                     AllPaths(root, " "), lines);
}

}  // namespace penstock::cli
