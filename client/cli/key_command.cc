#include "CLI/CLI.hpp"
#include "client/cli/arguments.h"
#include "client/cli/commands.h"
#include "client/cli/connection.h"
#include "client/cli/estimate_text.h"
#include "client/cli/exit_code.h"
#include "client/cli/output.h"
#include "client/cli/pages.h"
#include "client/cli/proto_time.h"
#include "client/cli/table.h"
#include "client/cli/task_view.h"
#include "common/status.h"
#include "common/units.h"
#include "fmt/format.h"

namespace penstock::cli {
namespace {

absl::StatusOr<int> ListKeys(CommandContext& context, const std::string& queue, const PageOptions& page) {
  ListPrinter list(context, "keys",
                   {{.title = "KEY", .shrink_to = 12},
                    {.title = "HELD BY"},
                    {.title = "STATE"},
                    {.title = "RUNS"},
                    {.title = "WAITING", .right = true},
                    {.title = "DRAINED IN"}});
  ASSIGN_OR_RETURN(Connection * broker, context.Broker());
  const auto token = WalkPages<v1::ListKeysResponse>(
      page,
      [&](int size, const std::string& from) {
        v1::ListKeysRequest request;
        request.set_queue(queue);
        request.set_page_size(size);
        request.set_page_token(from);
        return broker->Call(&AdminStub::ListKeys, request);
      },
      [&](const v1::ListKeysResponse& response) {
        for (const v1::HeldKey& key : response.keys()) {
          list.Add(key, key.key(),
                   {Cell(Printable(key.key()), Style::kBold), key.task_id(),
                    Cell(StateWord(key.state()), StyleOf(key.state())),
                    key.has_run_time() ? Relative(ToTime(key.run_time()), context.Now()) : "-",
                    FormatCount(key.waiting()), key.has_drained_in() ? EstimateText(key.drained_in()) : "-"});
        }
        return response.keys_size();
      });
  if (!token.ok()) return token.status();
  list.Finish(*token);
  return kExitOk;
}

absl::StatusOr<int> ReleaseKey(CommandContext& context, const std::string& queue, const std::string& key) {
  ASSIGN_OR_RETURN(Connection * broker, context.Broker());
  v1::ReleaseKeyRequest request;
  request.set_queue(queue);
  request.set_key(key);
  ASSIGN_OR_RETURN(const v1::ReleaseKeyResponse response, broker->Call(&AdminStub::ReleaseKey, request));
  RETURN_IF_ERROR(PrintMessage(context, response, key,
                               [&] { return fmt::format("key {} is free: its next task runs\n", Printable(key)); }));
  return kExitOk;
}

struct KeyArguments {
  std::string queue;
  std::string key;
};

}  // namespace

void AddKeyCommands(CLI::App& root, Action* action) {
  CLI::App& group = AddCommand(root, "key", "FIFO keys: see which task holds one, release it",
                               "penstock key list orders\npenstock key release orders customer-42");
  group.require_subcommand(1);

  auto queue = std::make_shared<std::string>();
  auto page = std::make_shared<PageOptions>();
  CLI::App& list = AddCommand(group, "list", "Keys that a task holds, and how many wait behind it",
                              "penstock key list orders\npenstock key list orders -o json");
  AddText(list, "QUEUE", queue.get(), "QUEUE", "Its name")->required();
  AddPageOptions(list, page.get());
  list.callback([queue, page, action] {
    *action = [queue, page](CommandContext& context) { return ListKeys(context, *queue, *page); };
  });

  auto arguments = std::make_shared<KeyArguments>();
  CLI::App& release =
      AddCommand(group, "release",
                 "Lets the next task of a key run although the one that holds it is not finished, unless it runs",
                 "penstock key release orders customer-42");
  AddText(release, "QUEUE", &arguments->queue, "QUEUE", "Its queue")->required();
  AddText(release, "KEY", &arguments->key, "KEY", "The key")->required();
  release.callback([arguments, action] {
    *action = [arguments](CommandContext& context) { return ReleaseKey(context, arguments->queue, arguments->key); };
  });
}

}  // namespace penstock::cli
