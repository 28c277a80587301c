#ifndef PENSTOCK_BROKER_STORAGE_ROCKSDB_DIARY_H_
#define PENSTOCK_BROKER_STORAGE_ROCKSDB_DIARY_H_

#include <cstdint>
#include <string>

#include "common/mutex.h"
#include "rocksdb/env.h"

namespace penstock::broker {

// RocksDB's own log, db/LOG, for its experts; the one before it is db/LOG.old. What cannot be written is left out:
// RocksDB 7.8's own logger, which this replaces, ends the process at the second line that a full disk does not take.
// Any thread.
class RocksDbDiary final : public rocksdb::Logger {
 public:
  // `folder`: the database's; made if its parent exists. A file has at most `bytes_max`.
  RocksDbDiary(std::string folder, uint64_t bytes_max);
  ~RocksDbDiary() override;

  using rocksdb::Logger::Logv;
  void Logv(const char* format, va_list arguments) override;
  size_t GetLogFileSize() const override;

 private:
  void Open() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const std::string folder_;
  const uint64_t bytes_max_;

  mutable Mutex mu_;
  int fd_ ABSL_GUARDED_BY(mu_) = -1;
  uint64_t bytes_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_STORAGE_ROCKSDB_DIARY_H_
