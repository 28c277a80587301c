#ifndef PENSTOCK_BROKER_STORAGE_DATA_DIR_H_
#define PENSTOCK_BROKER_STORAGE_DATA_DIR_H_

// A broker's data folder:
//
//   FORMAT         text, one key=value a line: format, min_reader, instance; unknown keys are left alone
//   LOCK.penstock  held (flock) by the broker that uses the folder, with its process id as text
//   BALLAST        space in reserve for a full disk (ballast.h)
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
  // Opens the folder, or makes a new one (mode 0700). One of an older format is raised to this version's: older brokers
  // refuse it from then on. Errors are sentences for the operator: AlreadyExists if another
  // broker uses it, FailedPrecondition if it is not a Penstock data folder or a newer Penstock wrote it,
  // PermissionDenied, InvalidArgument if it cannot be a folder, ResourceExhausted if the disk is full, DataLoss if
  // FORMAT is damaged.
  static absl::StatusOr<std::unique_ptr<DataDir>> Open(const std::string& path);

  // For looking into the folder of a stopped broker: changes nothing in it, and keeps brokers out meanwhile. Several
  // may look at the same time. Errors as Open; FailedPrecondition if there is no data folder. `damaged_too`: FORMAT may
  // be damaged; then the folder has no instance, and format 0.
  static absl::StatusOr<std::unique_ptr<DataDir>> OpenReadOnly(const std::string& path, bool damaged_too = false);

  // Makes a new folder for data that come from elsewhere. FORMAT, which makes it a data folder, is written by
  // FinishNew: what was cut short before is no data folder, and no broker takes it. `instance` empty: a new one.
  // FailedPrecondition if there is anything at `path` already.
  static absl::StatusOr<std::unique_ptr<DataDir>> CreateNew(const std::string& path, const std::string& instance);
  absl::Status FinishNew();

  ~DataDir();
  DataDir(const DataDir&) = delete;
  DataDir& operator=(const DataDir&) = delete;

  const std::string& path() const { return path_; }
  std::string db_path() const { return path_ + "/db"; }
  // Random, made with the folder: tells one broker's data from another's.
  const std::string& instance() const { return instance_; }
  // The newest version that opened the folder, as FORMAT says.
  uint64_t format() const { return format_; }

 private:
  DataDir(std::string path, int lock_fd) : path_(std::move(path)), lock_fd_(lock_fd) {}

  absl::Status ReadOrWriteFormat();
  absl::Status ReadFormat();
  absl::Status WriteFormat();

  // Constant after Open.
  const std::string path_;
  const int lock_fd_;  // -1: there is nothing to lock
  std::string instance_;
  uint64_t format_ = 0;
  uint64_t min_reader_ = 0;
  std::string other_lines_;
};

struct DiskSpace {
  uint64_t free = 0;  // what this process may still use
  uint64_t total = 0;
};

// Of the file system that holds `path`.
absl::StatusOr<DiskSpace> GetDiskSpace(const std::string& path);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_STORAGE_DATA_DIR_H_
