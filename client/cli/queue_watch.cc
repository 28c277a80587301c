#include "client/cli/queue_watch.h"

#include <utility>

#include "absl/time/clock.h"
#include "client/cli/connection.h"
#include "client/cli/exit_code.h"
#include "client/cli/output.h"
#include "client/cli/proto_time.h"
#include "client/cli/task_view.h"
#include "common/status.h"
#include "common/units.h"
#include "fmt/format.h"
#include "fmt/ostream.h"
#include "penstock/v1/task_service.pb.h"

namespace penstock::cli {
namespace {

// Between two attempts to reach a broker that has gone away.
constexpr absl::Duration kPause = absl::Milliseconds(500);

class QueueWatch {
 public:
  QueueWatch(CommandContext& context, const QueueWatchOptions& options) : context_(context) {
    request_.set_queue(options.queue);
    request_.set_type(options.type);
    for (v1::TaskState state : options.states) request_.add_states(state);
  }

  absl::StatusOr<int> Run() {
    const absl::Time deadline = context_.WaitDeadline();
    ASSIGN_OR_RETURN(Connection * broker, context_.Broker());
    while (true) {
      const absl::Status status = broker->Read(&TaskStub::SubscribeTasks, request_, deadline,
                                               [this](const v1::SubscribeTasksResponse& response) { Take(response); });
      if (absl::Now() >= deadline) return kExitOk;
      // A broker that never answered may be somewhere else; one that has gone away comes back.
      if (!heard_ || ExitCodeOf(status) != kExitUnavailable) return status.ok() ? absl::StatusOr<int>(kExitOk) : status;
      if (!std::exchange(away_, true)) context_.Note("-- the broker is away; what finishes meanwhile is not told");
      absl::SleepFor(kPause);
    }
  }

 private:
  void Take(const v1::SubscribeTasksResponse& response) {
    heard_ = true;
    if (std::exchange(away_, false)) context_.Note("-- the broker is back");
    for (const v1::TaskEvent& event : response.events()) Print(event);
    context_.console.out.flush();
    if (response.missed() > 0) {
      context_.Note(fmt::format("-- {} more finished while this was too slow", FormatCount(response.missed())));
    }
  }

  void Print(const v1::TaskEvent& event) {
    std::ostream& out = context_.console.out;
    switch (context_.globals.format) {
      case Format::kTable: {
        std::string how =
            Paint(fmt::format("{:<9}", StateWord(event.state())), StyleOf(event.state()), context_.Color());
        if (event.state() == v1::TASK_STATE_DEAD) how += " (" + ReasonWord(event.dead_reason()) + ")";
        fmt::print(out, "{}  {}  {}  attempt {}  {}\n",
                   absl::FormatTime("%H:%M:%E3S", ToTime(event.time()), absl::LocalTimeZone()), event.task_id(),
                   Printable(event.type()), event.attempt(), how);
        break;
      }
      case Format::kYaml:
        if (std::exchange(context_.yaml_begun, true)) out << "---\n";
        out << ToYaml(event);
        break;
      // What follows has no end that a single JSON value could wait for.
      case Format::kJson:
      case Format::kJsonl:
        out << ToJson(event, false) << "\n";
        break;
      case Format::kName:
        out << event.task_id() << "\n";
        break;
    }
  }

  CommandContext& context_;
  v1::SubscribeTasksRequest request_;
  bool heard_ = false;
  bool away_ = false;
};

}  // namespace

absl::StatusOr<int> WatchQueue(CommandContext& context, const QueueWatchOptions& options) {
  return QueueWatch(context, options).Run();
}

}  // namespace penstock::cli
