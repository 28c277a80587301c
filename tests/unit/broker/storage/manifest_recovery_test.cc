// What damage to RocksDB's MANIFEST does: an unsynced tail is cut, rot is refused. Power cuts that tear it:
// tests/faults/power_loss_test.cc.

#include "broker/storage/manifest_recovery.h"

#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>

#include "broker/storage/rocksdb_store.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_folder.h"

namespace penstock::broker {
namespace {

using ::testing::HasSubstr;

class ManifestRecoveryTest : public ::testing::Test {
 protected:
  // A database in which a flush has made the first log of its life obsolete, as kill -9 leaves it.
  void SetUp() override {
    ASSERT_TRUE(Open(folder_ / "db").ok());
    const std::string first_log = FileWith(".log");
    for (; std::filesystem::exists(first_log); ++committed_) {
      CommitBatch batch;
      batch.Put(Family::kTasks, std::to_string(committed_), std::string(5'000, 'x'));
      ASSERT_TRUE(store_->Commit(batch, /*sync=*/true).ok());
    }
    CopyFolder();
  }
  void CopyFolder() {
    // Again if RocksDB removed a file meanwhile.
    std::error_code error;
    do {
      std::filesystem::remove_all(folder_ / "killed");
      std::filesystem::copy(folder_ / "db", folder_ / "killed", error);
    } while (error);
    store_.reset();
    manifest_ = FileWith("MANIFEST-", folder_ / "killed");
    content_ = Read(manifest_);
  }
  absl::Status Open(const std::string& path) {
    store_.reset();
    RocksDbStoreOptions options;
    options.path = path;
    options.memtable_bytes = size_t{1} << 20;
    absl::StatusOr<std::unique_ptr<Store>> opened = OpenRocksDbStore(options, &report_);
    if (opened.ok()) store_ = *std::move(opened);
    return opened.status();
  }
  absl::Status OpenWithManifest(const std::string& content) {
    std::ofstream(manifest_, std::ios::binary | std::ios::trunc) << content;
    return Open(folder_ / "killed");
  }
  std::string FileWith(const std::string& part) { return FileWith(part, folder_ / "db"); }
  static std::string FileWith(const std::string& part, const std::string& folder) {
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      if (entry.path().filename().string().find(part) != std::string::npos) return entry.path();
    }
    return "";
  }
  static std::string Read(const std::string& path) {
    std::ostringstream text;
    text << std::ifstream(path, std::ios::binary).rdbuf();
    return text.str();
  }
  void ExpectEverything() {
    for (int i = 0; i < committed_; ++i) {
      ASSERT_TRUE(store_->Get(Family::kTasks, std::to_string(i)).ok()) << i;
    }
  }

  penstock::testing::TempFolder folder_;
  OpenReport report_;
  std::unique_ptr<Store> store_;
  int committed_ = 0;
  std::string manifest_;
  std::string content_;
};

TEST_F(ManifestRecoveryTest, WholeManifestIsOpened) {
  ASSERT_TRUE(OpenWithManifest(content_).ok());
  EXPECT_EQ(report_.manifest_dropped_bytes, 0u);
  ExpectEverything();
}

TEST_F(ManifestRecoveryTest, TornTailIsCut) {
  // A record's start, then zeros, garbage or nothing, as a power cut may leave it.
  const std::string header("\x11\x22\x33\x44\x40\x00\x01", 7);
  for (const std::string& rest : {std::string(), std::string(64, '\0'), std::string(64, '\x7f'), std::string(9, 'x')}) {
    const absl::Status opened = OpenWithManifest(content_ + header + rest);
    ASSERT_TRUE(opened.ok()) << opened;
    EXPECT_EQ(report_.manifest_dropped_bytes, header.size() + rest.size());
    ExpectEverything();
    store_.reset();
    std::filesystem::remove_all(folder_ / "killed");
    std::filesystem::copy(folder_ / "db", folder_ / "killed");
    manifest_ = FileWith("MANIFEST-", folder_ / "killed");
    content_ = Read(manifest_);
  }
}

TEST_F(ManifestRecoveryTest, RotOfTheLastEditsIsRefusedWhenTheirLogIsGone) {
  const uint64_t synced = std::stoull(
      Read(folder_ / "killed/SYNCED.penstock").substr(std::string("manifest=MANIFEST-000005 bytes=").size()));
  ASSERT_GT(content_.size(), synced) << "the flush has added edits";
  for (uint64_t byte = synced; byte < content_.size(); ++byte) {
    std::string rotten = content_;
    rotten[byte] = static_cast<char>(rotten[byte] ^ 0x40);
    const absl::Status status = OpenWithManifest(rotten);
    ASSERT_TRUE(absl::IsDataLoss(status)) << "byte " << byte << ": " << status;
    EXPECT_TRUE(Read(manifest_) == rotten) << "nothing is changed";
  }
  EXPECT_TRUE(OpenWithManifest(content_).ok());
  ExpectEverything();
}

TEST_F(ManifestRecoveryTest, RotOfWhatWasSyncedAtTheStartIsRefused) {
  std::string rotten = content_;
  rotten[100] ^= 1;
  const absl::Status status = OpenWithManifest(rotten);
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("Restore a backup"));
}

TEST_F(ManifestRecoveryTest, TailOfUnknownAgeIsRefused) {
  std::ofstream(folder_ / "killed/SYNCED.penstock") << "manifest=MANIFEST-000005 bytes=1 first_log=4 check=00000000\n";
  EXPECT_TRUE(absl::IsDataLoss(OpenWithManifest(content_ + "torn")));
}

TEST_F(ManifestRecoveryTest, DamagedCurrentIsRefused) {
  for (const char* text : {"", "MANIFEST-000005", "MANIFEST-00000x\n", "NANIFEST-000005\n", "MANIFEST-000004\n"}) {
    std::ofstream(folder_ / "killed/CURRENT", std::ios::trunc) << text;
    const absl::Status status = Open(folder_ / "killed");
    EXPECT_TRUE(absl::IsDataLoss(status)) << text << ": " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("CURRENT"));
  }
}

}  // namespace
}  // namespace penstock::broker
