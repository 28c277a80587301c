#include <algorithm>

#include "CLI/CLI.hpp"
#include "client/cli/arguments.h"
#include "client/cli/commands.h"
#include "client/cli/connection.h"
#include "client/cli/exit_code.h"
#include "client/cli/live_terminal.h"
#include "client/cli/status_screen.h"
#include "common/status.h"
#include "common/units.h"
#include "fmt/format.h"

namespace penstock::cli {
namespace {

struct TopOptions {
  std::optional<absl::Duration> every;
  QueueOrder order = QueueOrder::kOldest;
};

struct SortKey {
  char key;
  QueueOrder order;
  const char* name;
};
constexpr SortKey kSortKeys[] = {{'o', QueueOrder::kOldest, "oldest"},   {'a', QueueOrder::kAvailable, "available"},
                                 {'r', QueueOrder::kRunning, "running"}, {'d', QueueOrder::kDead, "dead"},
                                 {'i', QueueOrder::kIn, "in"},           {'u', QueueOrder::kOut, "out"},
                                 {'n', QueueOrder::kName, "name"}};

class Top {
 public:
  Top(CommandContext& context, const TopOptions& options)
      : context_(context), every_(options.every.value_or(absl::Seconds(1))), order_(options.order) {}

  absl::StatusOr<int> Run() {
    // Before the connection, which starts threads.
    ASSIGN_OR_RETURN(terminal_, LiveTerminal::Take());
    ASSIGN_OR_RETURN(broker_, context_.Broker());
    absl::Time next = absl::InfinitePast();
    while (true) {
      if (absl::Now() >= next) {
        Fetch();
        next = absl::Now() + every_;
      }
      Draw();
      char key = 0;
      switch (terminal_->Wait(next - absl::Now(), &key)) {
        case LiveTerminal::Event::kQuit:
          return kExitOk;
        case LiveTerminal::Event::kKey:
          if (key == 'q' || key == 'Q') return kExitOk;
          if (key == ' ') next = absl::InfinitePast();
          OnSortKey(key);
          break;
        case LiveTerminal::Event::kRedraw:
        case LiveTerminal::Event::kNothing:
          break;
      }
    }
  }

 private:
  void Fetch() {
    // As many as the broker gives: the order may be another than its own. Keys wait meanwhile, so not for long.
    v1::GetStatusRequest request;
    request.set_max_queues(1'000);
    request.set_max_workers(1'000);
    const absl::Duration patience = std::min(context_.globals.timeout.value_or(absl::Seconds(2)), absl::Seconds(2));
    absl::StatusOr<v1::GetStatusResponse> status = broker_->Call(&AdminStub::GetStatus, request, patience);
    error_ = status.status();
    if (!status.ok()) return;
    status_ = *std::move(status);
    fetched_ = absl::Now();
  }

  void Draw() {
    const int columns = terminal_->columns();
    const int rows = terminal_->rows();
    const bool color = context_.Color();
    std::string screen;
    if (!error_.ok()) {
      screen += Paint("NO ANSWER", Style::kRed, color) + "  " + Printable(ToStd(error_.message())) + "\n";
      if (fetched_ != absl::InfinitePast())
        screen +=
            fmt::format("           what follows is {} old\n\n", penstock::FormatDuration(absl::Now() - fetched_));
      screen = CutLines(screen, columns);
    }
    const int above = static_cast<int>(std::count(screen.begin(), screen.end(), '\n'));
    if (fetched_ != absl::InfinitePast()) {
      screen += RenderStatus(status_, {.endpoint = context_.globals.endpoint,
                                       .now = context_.Now(),
                                       .columns = columns,
                                       .rows = rows - above - 1,
                                       .color = color,
                                       .headers = true,
                                       .order = order_});
    }
    terminal_->Draw(WithKeys(screen, rows, columns, color));
  }

  // The screen with the keys in its last row.
  std::string WithKeys(std::string screen, int rows, int columns, bool color) const {
    int lines = 0;
    size_t end = 0;
    while (end < screen.size() && lines < rows - 1) {
      end = screen.find('\n', end) + 1;
      ++lines;
    }
    screen.resize(end);
    screen.append(static_cast<size_t>(std::max(0, rows - 1 - lines)), '\n');
    std::string keys =
        fmt::format("{} quit  {} now  sort by", Paint("q", Style::kBold, color), Paint("space", Style::kBold, color));
    for (const SortKey& sort : kSortKeys) {
      const std::string name = sort.order == order_ ? Paint(sort.name, Style::kGreen, color) : sort.name;
      keys += fmt::format("  {} {}", Paint(std::string(1, sort.key), Style::kBold, color), name);
    }
    return screen + CutLines(keys + fmt::format("  every {}", penstock::FormatDuration(every_)), columns);
  }

  void OnSortKey(char key) {
    for (const SortKey& sort : kSortKeys) {
      if (sort.key == key) order_ = sort.order;
    }
  }

  CommandContext& context_;
  const absl::Duration every_;
  QueueOrder order_;
  std::unique_ptr<LiveTerminal> terminal_;
  Connection* broker_ = nullptr;
  v1::GetStatusResponse status_;
  absl::Time fetched_ = absl::InfinitePast();
  absl::Status error_;
};

}  // namespace

void AddTopCommand(CLI::App& root, Action* action) {
  auto options = std::make_shared<TopOptions>();
  CLI::App& command = AddCommand(root, "top", "Queues and workers, live on the whole screen",
                                 "penstock top\npenstock top --every 500ms --sort available");
  AddDuration(command, "--every", &options->every, "How often to ask the broker", absl::Milliseconds(100))
      ->default_str("1s");
  std::vector<std::pair<std::string, QueueOrder>> orders;
  for (const SortKey& sort : kSortKeys) orders.emplace_back(sort.name, sort.order);
  AddChoice<QueueOrder>(command, "--sort", &options->order, orders, "Which queues come first; keys change it")
      ->default_str("oldest");
  command.callback(
      [options, action] { *action = [options](CommandContext& context) { return Top(context, *options).Run(); }; });
}

}  // namespace penstock::cli
