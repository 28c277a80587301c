#include "client/cli/app.h"

#include <algorithm>

#include "CLI/CLI.hpp"
#include "client/cli/arguments.h"
#include "client/cli/commands.h"
#include "client/cli/exit_code.h"
#include "client/cli/help.h"
#include "client/cli/output.h"
#include "common/status.h"
#include "common/version.h"
#include "fmt/format.h"
#include "fmt/ostream.h"

namespace penstock::cli {
namespace {

void AddGlobals(CLI::App& root, Globals* out) {
  root.add_option("-e,--endpoint,--broker", out->endpoint, "The broker's address")
      ->check([](const std::string& text) {
        return text.find(':') == std::string::npos ? "write host:port, for instance 127.0.0.1:7420" : std::string();
      })
      ->type_name("HOST:PORT")
      ->envname("PENSTOCK_ENDPOINT")
      ->default_str(out->endpoint);
  AddDuration(root, "--timeout", &out->timeout,
              "How long a call may take. Commands that wait for tasks give up after it; without it they never do",
              absl::Milliseconds(1))
      ->envname("PENSTOCK_TIMEOUT")
      ->default_str("10s");
  AddChoice<Format>(root, "-o,--output", &out->format,
                    {{"table", Format::kTable},
                     {"json", Format::kJson},
                     {"jsonl", Format::kJsonl},
                     {"yaml", Format::kYaml},
                     {"name", Format::kName}},
                    "How to print")
      ->envname("PENSTOCK_OUTPUT")
      ->default_str("table");
  AddChoice<ColorMode>(root, "--color", &out->color,
                       {{"auto", ColorMode::kAuto}, {"always", ColorMode::kAlways}, {"never", ColorMode::kNever}},
                       "Colours; auto: on a terminal, unless NO_COLOR is set")
      ->envname("PENSTOCK_COLOR")
      ->default_str("auto");
  root.add_flag("--no-headers", out->no_headers, "Tables without titles")->envname("PENSTOCK_NO_HEADERS");
  AddText(root, "--tls-ca", &out->tls_ca, "FILE", "Talk TLS; trust this authority (PEM)")->envname("PENSTOCK_TLS_CA");
  CLI::Option* cert = AddText(root, "--tls-cert", &out->tls_cert, "FILE", "Show this certificate (PEM)");
  CLI::Option* key = AddText(root, "--tls-key", &out->tls_key, "FILE", "Its key (PEM)");
  cert->envname("PENSTOCK_TLS_CERT");
  key->envname("PENSTOCK_TLS_KEY");
}

void AddVersionCommand(CLI::App& root, Action* action) {
  CLI::App& version = AddCommand(root, "version", "The version of this program",
                                 "penstock version\npenstock version -o json | jq .version");
  version.callback([action] {
    *action = [](CommandContext& context) -> absl::StatusOr<int> {
      RETURN_IF_ERROR(PrintObject(context, fmt::format(R"({{"version": "{}"}})", kVersion), kVersion,
                                  [] { return fmt::format("penstock {}\n", kVersion); }));
      return kExitOk;
    };
  });
}

void AddCommands(CLI::App& root, Action* action) {
  AddStatusCommand(root, action);
  AddTopCommand(root, action);
  AddEnqueueCommand(root, action);
  AddTaskCommands(root, action);
  AddExplainCommand(root, action);
  AddQueueCommands(root, action);
  AddDeadCommands(root, action);
  AddBulkCommands(root, action);
  AddScheduleCommands(root, action);
  AddThrottleCommands(root, action);
  AddKeyCommands(root, action);
  AddWorkerCommands(root, action);
  AddBackupCommands(root, action);
  AddLimitsCommand(root, action);
  AddBenchCommands(root, action);
  AddCompletionCommand(root, action);
  AddVersionCommand(root, action);
}

// Between the global options that must come together, which CLI11 would say less clearly.
std::string WrongGlobals(const Globals& globals) {
  if (globals.tls_cert.empty() != globals.tls_key.empty()) return "--tls-cert and --tls-key go together";
  if (globals.tls_ca.empty() && !globals.tls_cert.empty()) return "--tls-cert needs --tls-ca";
  return "";
}

// The command that was reached, and its full name.
std::pair<const CLI::App*, std::string> Reached(const CLI::App& root) {
  const CLI::App* app = &root;
  std::string name = root.get_name();
  while (!app->get_subcommands().empty()) {
    app = app->get_subcommands().front();
    name += " " + app->get_name();
  }
  return {app, name};
}

// What is wrong with a command line that CLI11 did not take, better than it says if it is a word that it does not know.
std::string WhatIsWrong(const CLI::App& root, const CLI::App& reached, const CLI::ParseError& error) {
  const std::vector<std::string> unknown = root.remaining(/*recurse=*/true);
  const bool about_words = dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr ||
                           dynamic_cast<const CLI::RequiredError*>(&error) != nullptr;
  if (unknown.empty() || !about_words) return error.what();
  const std::string& word = unknown.front();
  std::vector<std::string> candidates;
  std::string kind = "argument";
  if (word.size() > 1 && word[0] == '-') {
    kind = "option";
    for (const CLI::App* app = &reached; app != nullptr; app = app->get_parent()) {
      for (const CLI::Option* option : OptionsOf(*app, false)) {
        for (const std::string& name : option->get_lnames()) candidates.push_back("--" + name);
      }
    }
  } else if (const auto commands = reached.get_subcommands(nullptr); !commands.empty()) {
    kind = "command";
    for (const CLI::App* command : commands) candidates.push_back(command->get_name());
  }
  const std::string nearest = Nearest(word.substr(0, word.find('=')), candidates);
  return fmt::format("unknown {} '{}'{}", kind, word,
                     nearest.empty() ? "" : fmt::format("; did you mean {}?", nearest));
}

void AddWords(const CLI::App& app, const std::vector<std::string>& words, std::vector<std::vector<std::string>>* all) {
  for (const CLI::App* command : app.get_subcommands(nullptr)) {
    std::vector<std::string> path = words;
    path.push_back(command->get_name());
    all->push_back(path);
    AddWords(*command, path, all);
  }
}

// Exit code of what CLI11 threw.
int Answer(const CLI::App& root, const CLI::ParseError& error, Console& console) {
  const auto [reached, name] = Reached(root);
  if (dynamic_cast<const CLI::CallForHelp*>(&error) != nullptr) {
    console.out << root.help();
    return kExitOk;
  }
  if (dynamic_cast<const CLI::CallForVersion*>(&error) != nullptr) {
    console.out << error.what() << "\n";
    return kExitOk;
  }
  if (dynamic_cast<const CLI::RequiredError*>(&error) != nullptr && root.remaining(true).empty() &&
      !reached->get_subcommands(nullptr).empty()) {
    console.err << root.help();
    return kExitUsage;
  }
  fmt::print(console.err, "penstock: {}\nHow to call it: {} --help\n", WhatIsWrong(root, *reached, error), name);
  return kExitUsage;
}

}  // namespace

std::vector<std::vector<std::string>> AllCommands() {
  CLI::App root;
  Action action;
  AddCommands(root, &action);
  std::vector<std::vector<std::string>> all;
  AddWords(root, {}, &all);
  return all;
}

int RunCli(const std::vector<std::string>& arguments, Console& console) {
  CommandContext context(console);
  Action action;
  CLI::App root("See and steer a Penstock broker: tasks, queues, workers.", "penstock");
  root.formatter(MakeHelpFormatter());
  root.set_help_flag("-h,--help", "This text; of a command: penstock COMMAND --help");
  root.set_version_flag("--version", fmt::format("penstock {}", kVersion), "The version of this program");
  root.fallthrough();
  AddGlobals(root, &context.globals);
  root.require_subcommand(1);
  AddCommands(root, &action);
  // Last: commands would inherit it.
  root.footer(
      "penstock status                                   is all well?\n"
      "penstock enqueue mail mail.send '{\"to\": \"ann\"}'   hand over a task\n"
      "penstock task get 0000000004000                   a task's whole story\n"
      "penstock dead list                                what failed for good\n"
      "penstock queue list -o json                       for programs");
  try {
    root.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::ParseError& error) {
    return Answer(root, error, console);
  }
  absl::StatusOr<int> code = kExitOk;
  if (const std::string wrong = WrongGlobals(context.globals); !wrong.empty()) {
    code = absl::InvalidArgumentError(wrong);
  } else {
    code = action(context);
  }
  if (!code.ok()) context.Error(code.status());
  console.out.flush();
  if (!console.out) {
    context.Error(absl::UnknownError("cannot write to standard output"));
    return kExitFailed;
  }
  return code.ok() ? *code : ExitCodeOf(code.status());
}

}  // namespace penstock::cli
