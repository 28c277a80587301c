#ifndef PENSTOCK_BROKER_STORAGE_ROCKSDB_OPTIONS_H_
#define PENSTOCK_BROKER_STORAGE_ROCKSDB_OPTIONS_H_

// How RocksDB is tuned, with the reasons in the .cc file. Private to the RocksDB store.

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "broker/storage/rocksdb_store.h"
#include "rocksdb/db.h"

namespace penstock::broker {

// The whole database's options. Opening decides about create_if_missing and listeners.
rocksdb::DBOptions MakeDbOptions(const RocksDbStoreOptions& options, const std::shared_ptr<rocksdb::Cache>& cache);

// For looking into a database without changing anything in its folder, RocksDB's log file included. Shows it as it is
// up to the first damage of the write-ahead log.
rocksdb::DBOptions MakeReadOnlyDbOptions(rocksdb::Env* env);

// RocksDB's names of the families, in the order of their numbers.
const std::array<std::string_view, kFamilyCount>& FamilyNames();

// The families in the order of their numbers. kMeta is RocksDB's "default", which every database has.
std::vector<rocksdb::ColumnFamilyDescriptor> MakeFamilies(const RocksDbStoreOptions& options,
                                                          const std::shared_ptr<rocksdb::Cache>& cache);

// Our status for RocksDB's: NotFound, DataLoss for corruption, ResourceExhausted for a full disk, InvalidArgument;
// Unavailable for all others.
absl::Status ToStatus(const rocksdb::Status& status);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_STORAGE_ROCKSDB_OPTIONS_H_
