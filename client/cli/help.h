#ifndef PENSTOCK_CLIENT_CLI_HELP_H_
#define PENSTOCK_CLIENT_CLI_HELP_H_

#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"

namespace penstock::cli {

// Help with examples first. A command's examples are its footer, a line each; the root's footer is followed by the exit
// codes.
std::shared_ptr<CLI::FormatterBase> MakeHelpFormatter();

bool TakesValue(const CLI::Option& option);

// The options of an app that help shows and completion offers, positional ones or the others.
std::vector<const CLI::Option*> OptionsOf(const CLI::App& app, bool positional);

// The candidate that is most likely meant by `word`, or empty.
std::string Nearest(const std::string& word, const std::vector<std::string>& candidates);

}  // namespace penstock::cli

#endif  // PENSTOCK_CLIENT_CLI_HELP_H_
