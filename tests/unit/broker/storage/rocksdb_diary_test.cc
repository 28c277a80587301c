#include "broker/storage/rocksdb_diary.h"

#include <filesystem>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/file_damage.h"
#include "tests/support/temp_folder.h"

namespace penstock::broker {
namespace {

using penstock::testing::ReadFile;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(RocksDbDiaryTest, LinesGoIntoLogAndTheOneBeforeIsKept) {
  penstock::testing::TempFolder folder;
  const std::string db = folder / "db";
  for (int life = 1; life <= 3; ++life) {
    RocksDbDiary diary(db, 1 << 20);
    rocksdb::Log(rocksdb::INFO_LEVEL, &diary, "life %d", life);
    rocksdb::Log(rocksdb::DEBUG_LEVEL, &diary, "too much");
    rocksdb::Log(rocksdb::WARN_LEVEL, &diary, "%s", std::string(100'000, 'x').c_str());
  }
  EXPECT_THAT(ReadFile(db + "/LOG"), HasSubstr(" life 3\n"));
  EXPECT_THAT(ReadFile(db + "/LOG"), Not(HasSubstr("too much")));
  EXPECT_THAT(ReadFile(db + "/LOG.old"), HasSubstr(" life 2\n"));
}

TEST(RocksDbDiaryTest, AFileStaysWithinItsBytes) {
  penstock::testing::TempFolder folder;
  RocksDbDiary diary(folder.path(), 1'000);
  for (int i = 0; i < 100; ++i) rocksdb::Log(rocksdb::INFO_LEVEL, &diary, "line %d", i);
  EXPECT_LE(std::filesystem::file_size(folder / "LOG"), 1'000u);
  EXPECT_LE(std::filesystem::file_size(folder / "LOG.old"), 1'000u);
  EXPECT_THAT(ReadFile(folder / "LOG"), HasSubstr(" line 99\n"));
}

TEST(RocksDbDiaryTest, WhatCannotBeWrittenIsLeftOut) {
  penstock::testing::TempFolder folder;
  RocksDbDiary nowhere(folder / "no/such/folder", 1'000);
  for (int i = 0; i < 3; ++i) rocksdb::Log(rocksdb::INFO_LEVEL, &nowhere, "line %d", i);
  EXPECT_FALSE(std::filesystem::exists(folder / "no"));
}

}  // namespace
}  // namespace penstock::broker
