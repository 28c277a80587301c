#ifndef PENSTOCK_BROKER_STORAGE_WAL_SCAN_H_
#define PENSTOCK_BROKER_STORAGE_WAL_SCAN_H_

// Reads RocksDB's write-ahead log files by ourselves, to answer what RocksDB's own recovery cannot: is a log whole, and
// if it is not, was the damaged part ever confirmed to anybody?
//
// RocksDB's format (unchanged since LevelDB; we switch recycling and compression of logs off):
//
//   file     = block*             blocks of 32 KiB; a record's fragments fill them, the rest of a block under 7 bytes
//   is padding fragment = crc:4 length:2 type:1 payload       little-endian; crc32c over type and payload, masked type
//   = 1 FULL, 2 FIRST, 3 MIDDLE, 4 LAST record   = sequence:8 count:4 operation*       a write batch, which uses
//   `count` sequence numbers
//
// To that we add a *sync mark*: the first operation of every record that we write is a comment (RocksDB calls it log
// data, and stores it nowhere else) with the last sequence number that was known to be on disk when the record was
// written:
//
//   operation = 0x03 length:1(=10) 'P' version:1(=1) synced:8 (big-endian)

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"

namespace penstock::broker {

// The comment's content.
std::string EncodeSyncMark(uint64_t synced_sequence);

struct WalScan {
  std::string path;
  uint64_t number = 0;
  uint64_t bytes = 0;
  // The part before the first damage: whole records, one following the other. intact_bytes == bytes if there is no
  // damage.
  uint64_t intact_bytes = 0;
  uint64_t records = 0;
  uint64_t first_sequence = 0;  // if records > 0
  uint64_t next_sequence = 0;   // if records > 0
  // Starts of records that can be read behind the first damage.
  uint64_t records_behind = 0;
  // The greatest sync mark, wherever it stands.
  uint64_t synced_sequence = 0;

  bool damaged() const { return intact_bytes < bytes; }
};

// Scans the content of one log file; sets all but path and number.
WalScan ScanWal(std::string_view content);

// How much of a log in the same format, RocksDB's MANIFEST, is whole: the end of the last of the records that follow
// one another without damage.
uint64_t IntactLogBytes(std::string_view content);

// How a record was found.
struct WalRecordState {
  bool behind_damage = false;  // something before it cannot be read
  bool damaged = false;        // its own checksums are wrong: any of its bytes may be
};

// Visits the records in their order until `visit` returns false. `payload`: the write batch, as RocksDB encodes it.
// Records with wrong checksums are passed over, unless `damaged_too` and it is clear where they end.
void ForEachWalRecord(std::string_view content, bool damaged_too,
                      absl::FunctionRef<bool(std::string_view payload, const WalRecordState& state)> visit);

// Scans the log files of a RocksDB folder, in their order. Empty if there is no such folder. Unavailable if one cannot
// be read.
absl::StatusOr<std::vector<WalScan>> ScanWalFolder(const std::string& folder);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_STORAGE_WAL_SCAN_H_
