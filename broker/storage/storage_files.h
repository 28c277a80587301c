#ifndef PENSTOCK_BROKER_STORAGE_STORAGE_FILES_H_
#define PENSTOCK_BROKER_STORAGE_STORAGE_FILES_H_

// Files of a database's folder, read and changed by ourselves before or after RocksDB does. Errors: ResourceExhausted
// if the disk is full, Internal if the device fails (EIO), Unavailable for the others.

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace rocksdb {
class Env;
}

namespace penstock::broker {

// What whoever meets damage is told to do about it.
inline constexpr std::string_view kDamageAdvice =
    "Nothing was changed. Restore a backup, or save what can be read with `penstock-broker --repair --to NEW_FOLDER`; "
    "see \"A damaged folder\" in docs/operations.md";

// Adds it to a DataLoss that does not have it yet; everything else stays as it is.
absl::Status WithDamageAdvice(const absl::Status& status);

// An error is none of both: who takes "cannot be looked at" for "is not there" makes a new database over an old one.
absl::StatusOr<bool> FileExists(const std::string& path);

absl::StatusOr<std::string> ReadWholeFile(const std::string& path);
// Its first `bytes_max`.
absl::StatusOr<std::string> ReadFileStart(const std::string& path, uint64_t bytes_max);

absl::Status SyncFolder(const std::string& path);
// Cuts a file to its first `bytes`, and syncs that.
absl::Status CutFile(const std::string& path, uint64_t bytes);
absl::Status RemoveFile(const std::string& path);

// Puts `content` in the place of a file, as a whole or not at all, and syncs that; through RocksDB's file system, so
// that fault tests see it.
absl::Status ReplaceFile(rocksdb::Env* env, const std::string& folder, const std::string& name,
                         const std::string& content);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_STORAGE_STORAGE_FILES_H_
