#include "broker/offline_main.h"

#include <ostream>

#include "absl/strings/numbers.h"
#include "broker/offline/repair.h"
#include "broker/offline/restore.h"
#include "broker/offline/verify.h"
#include "broker/server.h"
#include "broker/storage/storage_files.h"
#include "common/logging.h"
#include "common/status.h"
#include "fmt/format.h"
#include "fmt/ostream.h"

namespace penstock::broker {
namespace {

// What contradicts itself; empty if nothing does.
std::string WrongFlags(const OfflineFlags& flags) {
  const int actions = flags.verify + flags.repair + flags.paused_fork + !flags.restore.empty();
  if (actions > 1) return "of --verify, --repair, --restore and --paused-fork one at a time";
  if (flags.repair == flags.to.empty()) return "--repair and --to go together: --repair --to NEW_FOLDER";
  const bool of_restore = !flags.backup.empty() || !flags.until.empty() || !flags.logs.empty();
  if (of_restore && flags.restore.empty()) return "--backup, --until and --logs go with --restore";
  if (!flags.output.empty() && flags.output != "text" && flags.output != "json") {
    return fmt::format("--output: '{}' is neither text nor json", flags.output);
  }
  if (!flags.output.empty() && (actions == 0 || flags.paused_fork)) {
    return "--output goes with --verify, --repair and --restore";
  }
  return "";
}

template <class Report>
void Print(const OfflineFlags& flags, const Report& report, std::ostream& out) {
  out << (flags.output == "json" ? ToJson(report) : ToText(report));
}

absl::StatusOr<int> Verify(const OfflineFlags& flags, const BrokerOptions& options, std::ostream& out) {
  const absl::StatusOr<VerifyReport> verified = VerifyDataDir(options.data_dir, CoreOptions());
  if (!verified.ok()) return WithDamageAdvice(verified.status());
  const VerifyReport& report = *verified;
  Print(flags, report, out);
  return report.damaged() ? kExitDamaged : 0;
}

absl::StatusOr<int> Repair(const OfflineFlags& flags, const BrokerOptions& options, std::ostream& out) {
  ASSIGN_OR_RETURN(const RepairReport report, RepairDataDir(options.data_dir, flags.to, CoreOptions()));
  Print(flags, report, out);
  return report.lossless() ? 0 : kExitDamaged;
}

absl::StatusOr<int> Restore(const OfflineFlags& flags, const BrokerOptions& options, std::ostream& out) {
  RestoreRequest request;
  request.repository = flags.restore;
  request.data_dir = options.data_dir;
  if (!flags.backup.empty()) {
    uint32_t id = 0;
    if (!absl::SimpleAtoi(flags.backup, &id)) {
      return absl::InvalidArgumentError(fmt::format("--backup: '{}' is not the number of a backup", flags.backup));
    }
    request.backup = id;
  }
  if (!flags.until.empty()) {
    absl::StatusOr<RestoreUntil> until = RestoreUntil::Parse(flags.until);
    if (!until.ok()) return Annotate(until.status(), "--until");
    request.until = *until;
  }
  if (!flags.logs.empty()) {
    request.logs.push_back(flags.logs);
    if (!request.until) request.until = RestoreUntil();
  }
  ASSIGN_OR_RETURN(const RestoreReport report, RestoreBackup(request, CoreOptions()));
  Print(flags, report, out);
  return report.verified.damaged() ? kExitDamaged : 0;
}

}  // namespace

std::vector<ProgramFlag> DeclareOfflineFlags(OfflineFlags* out) {
  return {
      {"--verify", "",
       "Check the data folder of a stopped broker, all of it, without changing a byte, and exit: 0 whole, 65 damaged, "
       "78 "
       "not to be opened.",
       &out->verify, nullptr},
      {"--repair", "",
       "Save what can be read of a damaged data folder to a new one (--to), which is whole then, and list what is "
       "saved "
       "and lost. The damaged folder is not changed. Exit: 0 nothing lost, 65 something is.",
       &out->repair, nullptr},
      {"--to", "FOLDER", "With --repair: the new data folder.", nullptr, &out->to},
      {"--restore", "FOLDER", "Make data_dir, which must be new, from a backup in this folder of backups, and exit.",
       nullptr, &out->restore},
      {"--backup", "ID", "With --restore: this backup. Default: the newest, or the newest before --until.", nullptr,
       &out->backup},
      {"--until", "TIME|COMMIT|latest",
       "With --restore: replay logs over the backup up to this moment, or commit, or as far as they go.", nullptr,
       &out->until},
      {"--logs", "FOLDER",
       "With --restore: replay from the logs in this folder, too: db/ of the data folder that was lost.", nullptr,
       &out->logs},
      {"--paused-fork", "",
       "Run to look at the data folder of a stopped broker: serves what only asks, hands out nothing, fires no timer, "
       "and "
       "writes nothing to the folder.",
       &out->paused_fork, nullptr},
      {"-o,--output", "text|json", "How --verify, --repair and --restore print.", nullptr, &out->output},
  };
}

bool IsOffline(const OfflineFlags& flags) { return flags.verify || flags.repair || !flags.restore.empty(); }

std::optional<int> RunOffline(const OfflineFlags& flags, const BrokerOptions& options, std::ostream& out,
                              std::ostream& err) {
  if (const std::string wrong = WrongFlags(flags); !wrong.empty()) {
    fmt::print(err, "penstock-broker: {}\n", wrong);
    return kExitConfig;
  }
  absl::StatusOr<int> code;
  if (flags.verify) {
    code = Verify(flags, options, out);
  } else if (flags.repair) {
    code = Repair(flags, options, out);
  } else if (!flags.restore.empty()) {
    code = Restore(flags, options, out);
  } else {
    return std::nullopt;
  }
  if (code.ok()) return *code;
  fmt::print(err, "penstock-broker: {}\n", std::string(code.status().message()));
  return ExitCodeOf(code.status());
}

}  // namespace penstock::broker
