#include "broker/storage/wal_scan.h"

#include <random>
#include <string>

#include "common/crc32c.h"
#include "fmt/format.h"
#include "gtest/gtest.h"

namespace penstock::broker {
namespace {

void PutLittle(std::string* out, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out->push_back(static_cast<char>(value >> 8 * i));
}

// Writes logs by the grammar in wal_scan.h.
class LogWriter {
 public:
  void Add(uint64_t sequence, uint32_t count, uint64_t synced, size_t body_bytes) {
    std::string record;
    PutLittle(&record, sequence, 8);
    PutLittle(&record, count, 4);
    record += "\x03\x0a" + EncodeSyncMark(synced) + std::string(body_bytes, 'b');
    bool first = true;
    do {
      if (Left() < 7) log.append(Left(), '\0');
      const std::string part = record.substr(0, Left() - 7);
      record.erase(0, part.size());
      const char type = static_cast<char>(first ? (record.empty() ? 1 : 2) : (record.empty() ? 4 : 3));
      const uint32_t crc = Crc32c(type + part);
      PutLittle(&log, (crc >> 15 | crc << 17) + 0xa282ead8u, 4);
      PutLittle(&log, part.size(), 2);
      log += type + part;
      first = false;
    } while (!record.empty());
  }
  size_t Left() const { return 32768 - log.size() % 32768; }

  std::string log;
};

std::string Render(const WalScan& scan) {
  return fmt::format("intact {} of {}, {} records [{},{}), {} behind, synced {}", scan.intact_bytes, scan.bytes,
                     scan.records, scan.first_sequence, scan.next_sequence, scan.records_behind, scan.synced_sequence);
}

TEST(WalScanTest, EmptyLogIsWhole) {
  EXPECT_EQ(Render(ScanWal("")), "intact 0 of 0, 0 records [0,0), 0 behind, synced 0");
}

TEST(WalScanTest, RecordsOfAllSizesAreRead) {
  LogWriter writer;
  uint64_t sequence = 1;
  for (const size_t size : {0, 10, 32'700, 32'768, 5, 100'000, 200'000, 1}) {
    writer.Add(sequence, 3, sequence - 1, size);
    sequence += 3;
  }
  EXPECT_EQ(Render(ScanWal(writer.log)),
            fmt::format("intact {0} of {0}, 8 records [1,25), 0 behind, synced 21", writer.log.size()));
}

// Every position of a record within a block, padding and fragments without payload included.
TEST(WalScanTest, RecordsMayStartAnywhereInABlock) {
  for (size_t left = 0; left < 60; ++left) {
    LogWriter writer;
    writer.Add(1, 1, 0, 32'768 - 7 - 24 - left);
    writer.Add(2, 1, 1, 100);
    writer.Add(3, 1, 2, 100);
    EXPECT_EQ(Render(ScanWal(writer.log)),
              fmt::format("intact {0} of {0}, 3 records [1,4), 0 behind, synced 2", writer.log.size()));
  }
}

TEST(WalScanTest, DamageIsFoundAndWhatStandsBehindIt) {
  LogWriter writer;
  for (uint64_t i = 1; i <= 10; ++i) writer.Add(i, 1, i - 1, 100);
  const size_t record = writer.log.size() / 10;
  for (size_t byte = 3 * record; byte < 4 * record; ++byte) {
    std::string damaged = writer.log;
    damaged[byte] = static_cast<char>(damaged[byte] ^ 0x10);
    EXPECT_EQ(Render(ScanWal(damaged)),
              fmt::format("intact {} of {}, 3 records [1,4), 6 behind, synced 9", 3 * record, damaged.size()))
        << byte;
  }
}

TEST(WalScanTest, CutRecordProvesWhatItsStartSays) {
  LogWriter writer;
  writer.Add(1, 1, 0, 100);
  const size_t first = writer.log.size();
  writer.Add(2, 1, 1, 100'000);
  EXPECT_EQ(Render(ScanWal(writer.log.substr(0, 50'000))),
            fmt::format("intact {} of 50000, 1 records [1,2), 0 behind, synced 1", first));
}

TEST(WalScanTest, MissingRecordIsADamage) {
  LogWriter writer;
  writer.Add(1, 2, 0, 100);
  const size_t first = writer.log.size();
  writer.Add(5, 2, 0, 100);
  EXPECT_EQ(Render(ScanWal(writer.log)),
            fmt::format("intact {} of {}, 1 records [1,3), 0 behind, synced 0", first, writer.log.size()));
}

TEST(WalScanTest, ZerosAndGarbageAreTornTails) {
  LogWriter writer;
  writer.Add(1, 1, 0, 100);
  const size_t first = writer.log.size();
  EXPECT_EQ(Render(ScanWal(writer.log + std::string(100'000, '\0'))),
            fmt::format("intact {} of {}, 1 records [1,2), 0 behind, synced 0", first, first + 100'000));
  std::mt19937_64 random(1);
  std::string garbage(100'000, '\0');
  for (char& c : garbage) c = static_cast<char>(random());
  EXPECT_EQ(Render(ScanWal(writer.log + garbage)),
            fmt::format("intact {} of {}, 1 records [1,2), 0 behind, synced 0", first, first + 100'000));
}

TEST(WalScanTest, AnyBytesAreScannedWithoutHarm) {
  std::mt19937_64 random(2);
  for (int round = 0; round < 200; ++round) {
    std::string bytes(random() % 70'000, '\0');
    // Few distinct values, so that lengths and types come out plausible.
    for (char& c : bytes) c = static_cast<char>(random() % 5);
    const WalScan scan = ScanWal(bytes);
    EXPECT_LE(scan.intact_bytes, scan.bytes);
  }
}

}  // namespace
}  // namespace penstock::broker
