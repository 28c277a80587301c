#ifndef PENSTOCK_BROKER_STORAGE_STORAGE_FILES_H_
#define PENSTOCK_BROKER_STORAGE_STORAGE_FILES_H_

// Files of a database's folder, read and changed by ourselves before or after RocksDB does. Errors: ResourceExhausted
// if the disk is full, Unavailable for the others.

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace rocksdb {
class Env;
}

namespace penstock::broker {

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
