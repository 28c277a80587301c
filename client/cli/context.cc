#include "client/cli/context.h"

#include <algorithm>
#include <cstdlib>

#include "client/cli/connection.h"
#include "client/cli/exit_code.h"
#include "common/status.h"
#include "fmt/format.h"
#include "fmt/ostream.h"

namespace penstock::cli {
namespace {

constexpr absl::Duration kCallTimeout = absl::Seconds(10);

bool IsSet(const char* variable) {
  const char* value = std::getenv(variable);
  return value != nullptr && *value != '\0';
}

}  // namespace

CommandContext::CommandContext(Console& c) : console(c) {}
CommandContext::~CommandContext() = default;

ClientOptions CommandContext::MakeClientOptions() const {
  ClientOptions options;
  options.broker = globals.endpoint;
  options.timeout = globals.timeout.value_or(kCallTimeout);
  options.ca_file = globals.tls_ca;
  options.cert_file = globals.tls_cert;
  options.key_file = globals.tls_key;
  return options;
}

absl::StatusOr<Connection*> CommandContext::Broker() {
  if (connection_ == nullptr) {
    ASSIGN_OR_RETURN(connection_, Connection::Open(MakeClientOptions()));
  }
  return connection_.get();
}

absl::Time CommandContext::WaitDeadline() const {
  return globals.timeout ? absl::Now() + *globals.timeout : absl::InfiniteFuture();
}

bool CommandContext::Color() const {
  if (globals.color != ColorMode::kAuto) return globals.color == ColorMode::kAlways;
  const char* term = std::getenv("TERM");
  return console.out_is_terminal && !IsSet("NO_COLOR") && (term == nullptr || std::string_view(term) != "dumb");
}

TableOptions CommandContext::MakeTableOptions(int indent) const {
  return {.columns = ColumnsOf(console), .color = Color(), .headers = !globals.no_headers, .indent = indent};
}

void CommandContext::Note(std::string_view text) {
  console.out.flush();
  fmt::print(console.err, "{}\n", text);
  console.err.flush();
}

void CommandContext::Error(const absl::Status& status) {
  Note(fmt::format("penstock: {}", Printable(ToStd(status.message()), /*lines=*/true)));
}

absl::Status CommandContext::Confirm(bool yes, std::string_view what, std::string_view name) {
  Note(what);
  if (yes) return absl::OkStatus();
  if (!console.in_is_terminal || !console.err_is_terminal) {
    return absl::InvalidArgumentError("nothing was done: say --yes to do it");
  }
  fmt::print(console.err, "Type {} to do it: ", name);
  console.err.flush();
  std::string typed;
  std::getline(console.in, typed);
  if (typed != name) return absl::CancelledError(fmt::format("nothing was done: that is not {}", name));
  return absl::OkStatus();
}

int CommandContext::ForEach(const std::vector<std::string>& names,
                            const std::function<absl::Status(const std::string&)>& one) {
  std::vector<int> codes;
  for (const std::string& name : names) {
    const absl::Status status = one(name);
    if (!status.ok()) Error(names.size() == 1 ? status : Annotate(status, name));
    codes.push_back(ExitCodeOf(status));
    // The others would only fail the same way, each after its timeout.
    if (codes.back() == kExitUnavailable) break;
  }
  return CombineExitCodes(codes);
}

int CombineExitCodes(const std::vector<int>& codes) {
  if (codes.empty() || std::all_of(codes.begin(), codes.end(), [&](int code) { return code == codes[0]; })) {
    return codes.empty() ? kExitOk : codes[0];
  }
  return std::find(codes.begin(), codes.end(), kExitOk) == codes.end() ? kExitFailed : kExitPartial;
}

}  // namespace penstock::cli
