// AdminService's calls about backups.

#include <utility>

#include "broker/rpc/admin_service.h"
#include "broker/rpc/backup_stream.h"
#include "broker/rpc/fields.h"
#include "broker/rpc/unary.h"
#include "common/status.h"

namespace penstock::broker {
namespace {

constexpr size_t kFolderNameMax = 64;
constexpr size_t kLabelMax = 256;
constexpr int32_t kKeepMax = 10'000;

// A plain name: nothing that leads out of the option's folder.
absl::Status CheckFolder(const std::string& folder) {
  const FieldPath field("folder");
  if (folder.empty()) return absl::OkStatus();
  RETURN_IF_ERROR(CheckSize(field, folder, 1, kFolderNameMax));
  for (const char c : folder) {
    const bool allowed =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
    if (!allowed) return BadField(field, "may have A-Z a-z 0-9 . _ - only: it names a folder within backup.dir");
  }
  if (folder[0] == '.') return BadField(field, "must not begin with a dot");
  return absl::OkStatus();
}

absl::Status CheckDoor(const BackupDoor* door) {
  if (door != nullptr) return absl::OkStatus();
  return absl::FailedPreconditionError(
      "this broker makes no backups: set its option backup.dir to a folder on another disk, and start it anew");
}

absl::Status Check(const v1::CreateBackupRequest& request) {
  RETURN_IF_ERROR(CheckFolder(request.folder()));
  RETURN_IF_ERROR(CheckSize(FieldPath("label"), request.label(), 0, kLabelMax));
  return CheckNumber(FieldPath("keep"), request.keep(), 0, kKeepMax);
}

absl::Status Check(const BackupDoor* door, const std::string& folder, uint32_t id) {
  RETURN_IF_ERROR(CheckDoor(door));
  RETURN_IF_ERROR(CheckFolder(folder));
  return CheckNumber(FieldPath("backup_id"), id, 1, UINT32_MAX);
}

// A call that is refused before it begins.
class RefusedStream final : public grpc::ServerWriteReactor<v1::CreateBackupResponse> {
 public:
  explicit RefusedStream(const absl::Status& status) { Finish(ToGrpc(status)); }
  void OnDone() override { delete this; }
};

}  // namespace

grpc::ServerWriteReactor<v1::CreateBackupResponse>* AdminService::CreateBackup(grpc::CallbackServerContext*,
                                                                               const v1::CreateBackupRequest* request) {
  absl::Status status = CheckDoor(backups_);
  if (status.ok()) status = Check(*request);
  if (!status.ok()) return new RefusedStream(status);
  return BackupStream::Start(context_.calls, *backups_, *request);
}

grpc::ServerUnaryReactor* AdminService::ListBackups(grpc::CallbackServerContext* call,
                                                    const v1::ListBackupsRequest* request,
                                                    v1::ListBackupsResponse* response) {
  grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
  absl::Status status = CheckDoor(backups_);
  if (status.ok()) status = CheckFolder(request->folder());
  if (!status.ok()) {
    FinishWith(reactor, status);
    return reactor;
  }
  backups_->List(request->folder(), [reactor, response](const absl::StatusOr<std::vector<BackupView>>& backups) {
    if (backups.ok()) {
      for (const BackupView& backup : *backups) ToProto(backup, response->add_backups());
    }
    FinishWith(reactor, backups.status());
  });
  return reactor;
}

grpc::ServerUnaryReactor* AdminService::VerifyBackup(grpc::CallbackServerContext* call,
                                                     const v1::VerifyBackupRequest* request,
                                                     v1::VerifyBackupResponse* response) {
  grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
  if (absl::Status status = Check(backups_, request->folder(), request->backup_id()); !status.ok()) {
    FinishWith(reactor, status);
    return reactor;
  }
  backups_->Verify(request->folder(), request->backup_id(),
                   [reactor, response](const absl::StatusOr<BackupView>& backup) {
                     if (backup.ok()) ToProto(*backup, response->mutable_backup());
                     FinishWith(reactor, backup.status());
                   });
  return reactor;
}

grpc::ServerUnaryReactor* AdminService::DeleteBackup(grpc::CallbackServerContext* call,
                                                     const v1::DeleteBackupRequest* request,
                                                     v1::DeleteBackupResponse*) {
  grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
  if (absl::Status status = Check(backups_, request->folder(), request->backup_id()); !status.ok()) {
    FinishWith(reactor, status);
    return reactor;
  }
  backups_->Delete(request->folder(), request->backup_id(),
                   [reactor](const absl::StatusOr<BackupView>& backup) { FinishWith(reactor, backup.status()); });
  return reactor;
}

}  // namespace penstock::broker
