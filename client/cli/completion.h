#ifndef PENSTOCK_CLIENT_CLI_COMPLETION_H_
#define PENSTOCK_CLIENT_CLI_COMPLETION_H_

// Scripts that complete a command line in a shell, made from the tree of commands. What an option or argument takes is
// its type name: "a|b|c" offers these words, QUEUE asks the broker for its queues, FILE offers files.

#include <string>

namespace CLI {
class App;
}

namespace penstock::cli {

std::string BashCompletion(const CLI::App& root);
std::string ZshCompletion(const CLI::App& root);
std::string FishCompletion(const CLI::App& root);

}  // namespace penstock::cli

#endif  // PENSTOCK_CLIENT_CLI_COMPLETION_H_
