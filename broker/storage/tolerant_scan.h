#ifndef PENSTOCK_BROKER_STORAGE_TOLERANT_SCAN_H_
#define PENSTOCK_BROKER_STORAGE_TOLERANT_SCAN_H_

#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "rocksdb/db.h"

namespace penstock::broker {

// What a scan reads of a family with damaged blocks.
class TolerantVisitor {
 public:
  virtual ~TolerantVisitor() = default;
  // `checked`: the block that it stands in has the right checksum. Otherwise anything may be wrong with it: only the
  // value's own envelope tells.
  virtual void OnEntry(std::string_view key, std::string_view value, bool checked) = 0;
  // A block with a wrong checksum stands behind `after` (empty: at the beginning). `readable`: its entries follow,
  // unchecked; otherwise nothing up to `next` (empty: the end) can be read.
  virtual void OnDamage(std::string_view after, std::string_view next, bool readable, const absl::Status& error) = 0;
};

// Visits every entry of a family that can be read in any way, in the order of keys. Where a block's checksum is wrong,
// its entries are visited all the same, unless they cannot be taken apart; then the scan goes on behind it. Of several
// unreadable blocks close to each other those in between may be passed over.
void TolerantScan(rocksdb::DB& db, rocksdb::ColumnFamilyHandle* family, TolerantVisitor* visitor);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_STORAGE_TOLERANT_SCAN_H_
