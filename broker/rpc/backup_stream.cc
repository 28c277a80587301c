#include "broker/rpc/backup_stream.h"

#include <utility>

#include "broker/rpc/fields.h"
#include "common/status_grpc.h"

namespace penstock::broker {

void ToProto(const BackupView& backup, v1::Backup* out) {
  out->set_backup_id(backup.id);
  SetTimestamp(ToMicros(backup.create_time), out->mutable_create_time());
  out->set_bytes(backup.bytes);
  out->set_files(static_cast<int32_t>(backup.files));
  out->set_label(backup.label);
  out->set_commit_sequence(backup.commit_sequence);
  SetTimestamp(backup.commit_time, out->mutable_commit_time());
  out->set_epoch(backup.epoch);
  out->set_version(backup.version);
  out->set_path(backup.path);
}

BackupStream* BackupStream::Start(OpenCalls& calls, BackupDoor& door, const v1::CreateBackupRequest& request) {
  auto stream = std::make_shared<BackupStream>(calls);
  stream->self_ = stream;
  calls.Add(stream);
  door.Create(
      request.folder(), request.label(), static_cast<uint32_t>(request.keep()),
      [stream](const BackupProgressView& progress) { stream->OnProgress(progress); },
      [stream](absl::StatusOr<BackupMade> made) { stream->OnMade(std::move(made)); });
  return stream.get();
}

void BackupStream::OnProgress(const BackupProgressView& progress) {
  {
    MutexLock lock(mu_);
    if (end_) return;
    next_.emplace();
    next_->mutable_progress()->set_copied_bytes(progress.copied_bytes);
    next_->mutable_progress()->set_verifying(progress.verifying);
  }
  Go();
}

void BackupStream::OnMade(absl::StatusOr<BackupMade> made) {
  if (!made.ok()) return End(made.status());
  {
    MutexLock lock(mu_);
    if (end_) return;
    next_.emplace();
    ToProto(made->backup, next_->mutable_backup());
    next_->set_deleted(made->deleted);
    end_ = absl::OkStatus();
  }
  Go();
}

void BackupStream::Go() {
  bool write = false;
  grpc::Status finish;
  {
    MutexLock lock(mu_);
    if (writing_ || finished_) return;
    if (next_ && (!end_ || end_->ok())) {
      write = writing_ = true;
      response_ = *std::exchange(next_, std::nullopt);
    } else if (end_) {
      finished_ = true;
      finish = ToGrpc(*end_);
    } else {
      return;
    }
  }
  // Nobody else does either before the write is done.
  if (write) return StartWrite(&response_);
  Finish(finish);
}

void BackupStream::OnWriteDone(bool ok) {
  {
    MutexLock lock(mu_);
    writing_ = false;
    if (!ok && (!end_ || end_->ok())) end_ = absl::CancelledError("the caller is gone");
  }
  Go();
}

void BackupStream::End(const absl::Status& status) {
  {
    MutexLock lock(mu_);
    if (!end_) end_ = status;
  }
  Go();
}

void BackupStream::OnCancel() { End(absl::CancelledError("the caller is gone")); }

void BackupStream::Stop() { End(StoppingError()); }

void BackupStream::OnDone() {
  calls_.Remove(this);
  self_.reset();  // may destroy this
}

}  // namespace penstock::broker
