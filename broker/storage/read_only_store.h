#ifndef PENSTOCK_BROKER_STORAGE_READ_ONLY_STORE_H_
#define PENSTOCK_BROKER_STORAGE_READ_ONLY_STORE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "broker/storage/rocksdb_store.h"

namespace penstock::broker {

// The store of a stopped broker, for looking: shows what the broker would find at its start, and changes nothing in the
// folder, not even RocksDB's own files. Every commit fails with FailedPrecondition. DataLoss if confirmed data is
// damaged, as the broker would say; with `damaged_too` it is opened all the same, and shows what stands before the
// damage. `report` may be null. REQUIRES: nobody writes to it meanwhile (DataDir::OpenReadOnly).
absl::StatusOr<std::unique_ptr<Store>> OpenReadOnlyStore(const std::string& db_path, bool damaged_too,
                                                         OpenReport* report);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_STORAGE_READ_ONLY_STORE_H_
