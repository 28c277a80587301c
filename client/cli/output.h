#ifndef PENSTOCK_CLIENT_CLI_OUTPUT_H_
#define PENSTOCK_CLIENT_CLI_OUTPUT_H_

// What goes to standard output, in the format that --output names.

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/cli/context.h"
#include "client/cli/table.h"

namespace google::protobuf {
class Message;
}

namespace penstock::cli {

// All fields under their names in the API. `pretty`: over several lines, ending in one.
std::string ToJson(const google::protobuf::Message& message, bool pretty);
// The same as YAML.
std::string ToYaml(const google::protobuf::Message& message);

// What -o name says of an object without a name.
inline constexpr char kHasNoName[] = "this has no name: use another --output than name";

// Prints one message. `table` makes the text for people; `name` is what -o name prints, InvalidArgument if it is empty.
absl::Status PrintMessage(CommandContext& context, const google::protobuf::Message& message, std::string_view name,
                          const std::function<std::string()>& table);

// The same for what is no message of the API: `json` is the text of one JSON object.
absl::Status PrintObject(CommandContext& context, const std::string& json, std::string_view name,
                         const std::function<std::string()>& table);

// Prints a list: {"items": [...], "next_page_token": "..."} as JSON and YAML, an item a line as jsonl and name, or a
// table. All but tables are printed as items come.
class ListPrinter {
 public:
  // `things`: what there is none of when the list is empty, for instance "queues".
  ListPrinter(CommandContext& context, std::string_view things, std::vector<Column> columns);

  // `cells` as the columns.
  void Add(const google::protobuf::Message& item, std::string_view name, std::vector<Cell> cells);
  // Call it once, at the end. With a token, tables are followed by a hint on standard error.
  void Finish(std::string_view next_page_token = "");

 private:
  CommandContext& context_;
  const std::string things_;
  Table table_;
  bool any_ = false;
};

// A payload or a result. To `file`, or as it is to standard output; if that is a terminal, text only
// (FailedPrecondition).
absl::Status PrintBytes(CommandContext& context, std::string_view bytes, std::string_view what,
                        std::string_view content_type, const std::string& file);

// "dead" of "TASK_STATE_DEAD" and its prefix "TASK_STATE_".
std::string Word(std::string_view enum_name, std::string_view prefix);
// "2m 5s ago", "in 3h", "now"; "-" for no time.
std::string Relative(absl::Time time, absl::Time now);
// "2m 5s ago (2026-11-22T15:04:05Z)".
std::string RelativeAndExact(absl::Time time, absl::Time now);
// "1 task", "1,234 tasks".
std::string CountOf(uint64_t count, std::string_view thing);
// "0.4", "12", "1,234".
std::string FormatRate(double per_second);

}  // namespace penstock::cli

#endif  // PENSTOCK_CLIENT_CLI_OUTPUT_H_
