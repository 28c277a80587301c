#include "CLI/CLI.hpp"
#include "client/cli/arguments.h"
#include "client/cli/commands.h"
#include "client/cli/connection.h"
#include "client/cli/exit_code.h"
#include "client/cli/output.h"
#include "client/cli/proto_time.h"
#include "common/status.h"
#include "common/units.h"
#include "fmt/format.h"
#include "fmt/ostream.h"

namespace penstock::cli {
namespace {

struct BackupOptions {
  std::string folder;
  std::string label;
  std::optional<int> keep;
  std::optional<int> id;
  bool yes = false;
};

// One line on a terminal, drawn over itself; nothing elsewhere.
class ProgressLine {
 public:
  explicit ProgressLine(Console& console) : console_(console) {}
  ~ProgressLine() {
    if (drawn_) console_.err << "\r\x1b[K" << std::flush;
  }
  void Show(const v1::BackupProgress& progress) {
    if (!console_.err_is_terminal) return;
    drawn_ = true;
    fmt::print(console_.err, "\r\x1b[K{} copied{}", FormatSize(progress.copied_bytes()),
               progress.verifying() ? ", reading it again" : "");
    console_.err.flush();
  }

 private:
  Console& console_;
  bool drawn_ = false;
};

absl::StatusOr<int> CreateBackup(CommandContext& context, const BackupOptions& options) {
  ASSIGN_OR_RETURN(Connection * broker, context.Broker());
  v1::CreateBackupRequest request;
  request.set_folder(options.folder);
  request.set_label(options.label);
  request.set_keep(options.keep.value_or(0));
  v1::CreateBackupResponse last;
  {
    ProgressLine line(context.console);
    RETURN_IF_ERROR(broker->Read(&AdminStub::CreateBackup, request, context.WaitDeadline(),
                                 [&](const v1::CreateBackupResponse& response) {
                                   if (response.has_progress()) {
                                     line.Show(response.progress());
                                   } else {
                                     last = response;
                                   }
                                 }));
  }
  const v1::Backup& backup = last.backup();
  if (last.deleted() > 0) context.Note(fmt::format("{} deleted", CountOf(last.deleted(), "older backup")));
  RETURN_IF_ERROR(PrintMessage(context, backup, std::to_string(backup.backup_id()), [&] {
    return fmt::format("backup {} in {}: {}, everything up to commit {}\n", backup.backup_id(), backup.path(),
                       FormatSize(backup.bytes()), FormatCount(backup.commit_sequence()));
  }));
  return kExitOk;
}

absl::StatusOr<int> ListBackups(CommandContext& context, const BackupOptions& options) {
  ASSIGN_OR_RETURN(Connection * broker, context.Broker());
  v1::ListBackupsRequest request;
  request.set_folder(options.folder);
  ASSIGN_OR_RETURN(const v1::ListBackupsResponse response, broker->Call(&AdminStub::ListBackups, request));
  ListPrinter list(context, "backups",
                   {{.title = "ID", .right = true},
                    {.title = "MADE", .right = true},
                    {.title = "SIZE", .right = true},
                    {.title = "COMMIT", .right = true},
                    {.title = "VERSION", .optional = 1},
                    {.title = "LABEL", .shrink_to = 10},
                    {.title = "PATH", .shrink_to = 12, .optional = 1}});
  for (const v1::Backup& backup : response.backups()) {
    list.Add(backup, std::to_string(backup.backup_id()),
             {Cell(std::to_string(backup.backup_id()), Style::kBold),
              Relative(ToTime(backup.create_time()), context.Now()), FormatSize(backup.bytes()),
              FormatCount(backup.commit_sequence()), backup.version(), backup.label(), backup.path()});
  }
  list.Finish();
  return kExitOk;
}

absl::StatusOr<int> VerifyBackup(CommandContext& context, const BackupOptions& options) {
  ASSIGN_OR_RETURN(Connection * broker, context.Broker());
  v1::VerifyBackupRequest request;
  request.set_folder(options.folder);
  request.set_backup_id(static_cast<uint32_t>(*options.id));
  // Reading a large backup takes long; only --timeout limits it.
  const absl::Duration timeout = context.globals.timeout.value_or(absl::Hours(24 * 365));
  ASSIGN_OR_RETURN(const v1::VerifyBackupResponse response, broker->Call(&AdminStub::VerifyBackup, request, timeout));
  const v1::Backup& backup = response.backup();
  RETURN_IF_ERROR(PrintMessage(context, backup, std::to_string(backup.backup_id()), [&] {
    return fmt::format("backup {} is whole: {} in {}\n", backup.backup_id(), FormatSize(backup.bytes()),
                       CountOf(static_cast<uint64_t>(backup.files()), "file"));
  }));
  return kExitOk;
}

absl::StatusOr<int> DeleteBackup(CommandContext& context, const BackupOptions& options) {
  const std::string id = std::to_string(*options.id);
  RETURN_IF_ERROR(context.Confirm(options.yes, fmt::format("This deletes backup {}.", id), id));
  ASSIGN_OR_RETURN(Connection * broker, context.Broker());
  v1::DeleteBackupRequest request;
  request.set_folder(options.folder);
  request.set_backup_id(static_cast<uint32_t>(*options.id));
  ASSIGN_OR_RETURN(const v1::DeleteBackupResponse response, broker->Call(&AdminStub::DeleteBackup, request));
  RETURN_IF_ERROR(PrintMessage(context, response, id, [&] { return fmt::format("backup {} deleted\n", id); }));
  return kExitOk;
}

}  // namespace

void AddBackupCommands(CLI::App& root, Action* action) {
  CLI::App& group =
      AddCommand(root, "backup", "Backups of the running broker, on its machine: create, list, verify, delete",
                 "penstock backup create --keep 7\npenstock backup list");
  group.require_subcommand(1);
  auto add = [&](const std::string& verb, const std::string& help, const std::string& examples, auto run) {
    auto options = std::make_shared<BackupOptions>();
    CLI::App& command = AddCommand(group, verb, help, examples);
    AddText(command, "--folder", &options->folder, "NAME", "Which folder of the broker's option backup.dir")
        ->default_str("default");
    command.callback([options, action, run] {
      *action = [options, run](CommandContext& context) { return run(context, *options); };
    });
    return std::pair<CLI::App*, std::shared_ptr<BackupOptions>>(&command, options);
  };
  auto add_id = [](CLI::App& command, BackupOptions* options) {
    AddNumber(command, "ID", &options->id, 1, INT32_MAX, "The backup's number")->required();
  };

  auto [create, created] = add("create", "Makes a backup while the broker works, and reads it again",
                               "penstock backup create\n"
                               "penstock backup create --keep 7                 and delete all but the newest 7\n"
                               "penstock backup create --folder before-upgrade --label 0.2",
                               CreateBackup);
  AddText(*create, "--label", &created->label, "TEXT", "Words that are kept with it");
  AddNumber(*create, "--keep", &created->keep, 1, 10'000,
            "Afterwards, delete all but the newest so many of the folder");

  add("list", "Backups, oldest first", "penstock backup list\npenstock backup list --folder before-upgrade",
      ListBackups);

  auto [verify, verified] =
      add("verify", "Reads all of a backup and compares its checksums", "penstock backup verify 12", VerifyBackup);
  add_id(*verify, verified.get());

  auto [remove, removed] = add("delete", "Deletes a backup, and the files that no other needs",
                               "penstock backup delete 12 --yes", DeleteBackup);
  add_id(*remove, removed.get());
  remove->add_flag("--yes", removed->yes, "Do not ask for the backup's number");
}

}  // namespace penstock::cli
