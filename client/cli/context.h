#ifndef PENSTOCK_CLIENT_CLI_CONTEXT_H_
#define PENSTOCK_CLIENT_CLI_CONTEXT_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/cli/console.h"
#include "client/cli/table.h"
#include "client/client_options.h"

namespace penstock::cli {

class Connection;

enum class Format { kTable, kJson, kJsonl, kYaml, kName };
enum class ColorMode { kAuto, kAlways, kNever };

// The options that every command has.
struct Globals {
  std::string endpoint = "127.0.0.1:7420";
  // Not given: 10 s a call, and no limit for commands that wait for tasks.
  std::optional<absl::Duration> timeout;
  Format format = Format::kTable;
  ColorMode color = ColorMode::kAuto;
  bool no_headers = false;
  std::string tls_ca;
  std::string tls_cert;
  std::string tls_key;
};

// What a command has to work with: the global options, the console, the broker. Lives for one command; one thread.
class CommandContext {
 public:
  explicit CommandContext(Console& console);
  ~CommandContext();

  // Opened at the first call.
  absl::StatusOr<Connection*> Broker();
  ClientOptions MakeClientOptions() const;
  // When a command that waits for tasks gives up.
  absl::Time WaitDeadline() const;

  absl::Time Now() const { return console.clock->Read().wall; }
  bool Color() const;
  TableOptions MakeTableOptions(int indent = 0) const;
  // Says something that is not data, on standard error.
  void Note(std::string_view text);
  void Error(const absl::Status& status);
  // OK if `yes` is set or the operator types `name`. Says first what is going to happen.
  absl::Status Confirm(bool yes, std::string_view what, std::string_view name);
  // Does `one` for each of `names`; errors are printed as they come. 0, or what all failures have in common, or 7 if
  // only some failed.
  int ForEach(const std::vector<std::string>& names, const std::function<absl::Status(const std::string&)>& one);

  Globals globals;
  Console& console;
  bool yaml_begun = false;  // an object was printed as YAML: the next is another document

 private:
  std::unique_ptr<Connection> connection_;
};

// 0 if all are, the code of all if they are the same, 7 if some are 0, otherwise 1.
int CombineExitCodes(const std::vector<int>& codes);

// What a command does once the whole command line is understood: its exit code, or an error to print.
using Action = std::function<absl::StatusOr<int>(CommandContext&)>;

}  // namespace penstock::cli

#endif  // PENSTOCK_CLIENT_CLI_CONTEXT_H_
