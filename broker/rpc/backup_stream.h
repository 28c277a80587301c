#ifndef PENSTOCK_BROKER_RPC_BACKUP_STREAM_H_
#define PENSTOCK_BROKER_RPC_BACKUP_STREAM_H_

#include <memory>
#include <optional>

#include "broker/rpc/backup_door.h"
#include "broker/rpc/open_calls.h"
#include "common/mutex.h"
#include "grpcpp/support/server_callback.h"
#include "penstock/v1/admin_service.pb.h"

namespace penstock::broker {

void ToProto(const BackupView& backup, v1::Backup* out);

// One CreateBackup call: progress as fast as the caller reads it, then the backup. The backup goes on without it. Owns
// itself until OnDone.
class BackupStream final : public grpc::ServerWriteReactor<v1::CreateBackupResponse>,
                           public OpenCall,
                           public std::enable_shared_from_this<BackupStream> {
 public:
  // The reactor of a new call. REQUIRES: the request was checked.
  static BackupStream* Start(OpenCalls& calls, BackupDoor& door, const v1::CreateBackupRequest& request);
  explicit BackupStream(OpenCalls& calls) : calls_(calls) {}

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;
  void Stop() override;

 private:
  void OnProgress(const BackupProgressView& progress);
  void OnMade(absl::StatusOr<BackupMade> made);
  // Writes what came last, if nothing is being written, or ends the call. Called without the lock.
  void Go();
  // The first end counts; it comes after what is being written, and with OK after what is to be.
  void End(const absl::Status& status);

  OpenCalls& calls_;
  std::shared_ptr<BackupStream> self_;  // until OnDone
  v1::CreateBackupResponse response_;   // of whoever set writing_

  Mutex mu_;
  std::optional<v1::CreateBackupResponse> next_ ABSL_GUARDED_BY(mu_);
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mu_);
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_BACKUP_STREAM_H_
