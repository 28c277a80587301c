#include "CLI/CLI.hpp"
#include "client/cli/arguments.h"
#include "client/cli/commands.h"
#include "client/cli/completion.h"
#include "client/cli/exit_code.h"

namespace penstock::cli {

void AddCompletionCommand(CLI::App& root, Action* action) {
  using Generator = std::string (*)(const CLI::App&);
  auto generator = std::make_shared<Generator>(nullptr);
  CLI::App& command = AddCommand(root, "completion", "A script that completes command lines in your shell",
                                 "source <(penstock completion bash)\n"
                                 "penstock completion zsh > \"${fpath[1]}/_penstock\"\n"
                                 "penstock completion fish > ~/.config/fish/completions/penstock.fish");
  AddChoice<Generator>(command, "SHELL", generator.get(),
                       {{"bash", BashCompletion}, {"zsh", ZshCompletion}, {"fish", FishCompletion}},
                       "bash, zsh or fish")
      ->required();
  command.callback([generator, &root, action] {
    *action = [generator, &root](CommandContext& context) -> absl::StatusOr<int> {
      context.console.out << (*generator)(root);
      return kExitOk;
    };
  });
}

}  // namespace penstock::cli
