// A log file of RocksDB's that we read by ourselves, and its MANIFEST, whose records have the same form.

#include "broker/storage/wal_commits.h"
#include "broker/storage/wal_scan.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace penstock::broker;  // NOLINT: all of it is here
  using penstock::fuzz::Touch;
  const std::string_view content = penstock::fuzz::TextOf(data, size);
  const WalScan scan = ScanWal(content);
  FUZZ_CHECK(scan.bytes == size && scan.intact_bytes <= size);
  FUZZ_CHECK(IntactLogBytes(content) <= size);
  // What is intact is so without what follows.
  if (scan.damaged()) FUZZ_CHECK(!ScanWal(content.substr(0, scan.intact_bytes)).damaged());
  auto take = [](std::string_view payload) {
    const auto commit = ParseLoggedCommit(payload);
    auto touch = [](const CommitBatch& writes) {
      const absl::Status status = writes.ForEach([](const CommitBatch::Operation& operation) {
        Touch(operation.key);
        Touch(operation.value);
      });
      FUZZ_CHECK(status.ok());
    };
    if (commit.ok()) {
      touch(commit->writes);
      FUZZ_CHECK(commit->hashed_bytes <= commit->writes.operations().size());
    }
    touch(ParseDamagedCommit(payload, [](Family, std::string_view key) { Touch(key); }).writes);
  };
  for (bool damaged_too : {false, true}) {
    ForEachWalRecord(content, damaged_too, [&](std::string_view payload, const WalRecordState&) {
      take(payload);
      return true;
    });
  }
  // As a record, too: checksums keep most of what a fuzzer makes away from there.
  take(content);
  ForEachLoggedCommit(content, [](const LoggedCommit&) { return true; });
  return 0;
}
