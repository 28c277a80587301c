#ifndef PENSTOCK_BROKER_STORAGE_DATA_DIR_H_
#define PENSTOCK_BROKER_STORAGE_DATA_DIR_H_

// A broker's data folder:
//
//   FORMAT         text, one key=value a line: format, min_reader, instance; unknown keys are left alone
//   LOCK.penstock  held (flock) by the broker that uses the folder, with its process id as text
//   db/            the RocksDB database

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace penstock::broker {

// An open data folder. Owned by the server; keeps other brokers out for as long as it lives. Any thread may ask.
class DataDir {
 public:
  // Opens the folder, or makes a new one (mode 0700). Errors are sentences for the operator: AlreadyExists if another
  // broker uses it, FailedPrecondition if it is not a Penstock data folder or a newer Penstock wrote it,
  // PermissionDenied, InvalidArgument if it cannot be a folder, ResourceExhausted if the disk is full, DataLoss if
  // FORMAT is damaged.
  static absl::StatusOr<std::unique_ptr<DataDir>> Open(const std::string& path);

  ~DataDir();
  DataDir(const DataDir&) = delete;
  DataDir& operator=(const DataDir&) = delete;

  const std::string& path() const { return path_; }
  std::string db_path() const { return path_ + "/db"; }
  // Random, made with the folder: tells one broker's data from another's.
  const std::string& instance() const { return instance_; }

 private:
  DataDir(std::string path, int lock_fd) : path_(std::move(path)), lock_fd_(lock_fd) {}

  absl::Status ReadOrWriteFormat();

  // Constant after Open.
  const std::string path_;
  const int lock_fd_;
  std::string instance_;
};

struct DiskSpace {
  uint64_t free = 0;  // what this process may still use
  uint64_t total = 0;
};

// Of the file system that holds `path`.
absl::StatusOr<DiskSpace> GetDiskSpace(const std::string& path);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_STORAGE_DATA_DIR_H_
