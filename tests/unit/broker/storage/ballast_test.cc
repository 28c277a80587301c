#include "broker/storage/ballast.h"

#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "gtest/gtest.h"
#include "tests/support/temp_folder.h"

namespace penstock::broker {
namespace {

constexpr uint64_t kMiB = 1 << 20;

DiskSpace Free(uint64_t bytes) { return {.free = bytes, .total = 100 * kMiB}; }

class BallastTest : public ::testing::Test {
 protected:
  // What the file takes on the disk; 0: there is none.
  uint64_t TakenBytes() const {
    struct stat found {};
    return stat((folder_ / "BALLAST").c_str(), &found) == 0 ? static_cast<uint64_t>(found.st_blocks) * 512 : 0;
  }

  testing::TempFolder folder_;
};

TEST_F(BallastTest, IsMadeWhenAsMuchStaysFreeBesideIt) {
  Ballast ballast(folder_.path(), kMiB);
  EXPECT_FALSE(ballast.Keep(Free(2 * kMiB - 1), 0));
  EXPECT_EQ(TakenBytes(), 0u);
  EXPECT_EQ(ballast.kept_bytes(), 0u);
  EXPECT_TRUE(ballast.Keep(Free(2 * kMiB), 0));
  EXPECT_GE(TakenBytes(), kMiB);
  EXPECT_EQ(ballast.kept_bytes(), kMiB);
  EXPECT_FALSE(ballast.Keep(Free(2 * kMiB), 0)) << "it is there already";
  EXPECT_FALSE(ballast.spent());
}

TEST_F(BallastTest, LeavesTheWatermarkFree) {
  Ballast ballast(folder_.path(), kMiB);
  EXPECT_EQ(ballast.NeededFree(5 * kMiB), 6 * kMiB);
  EXPECT_FALSE(ballast.Keep(Free(6 * kMiB - 1), 5 * kMiB));
  EXPECT_TRUE(ballast.Keep(Free(6 * kMiB), 5 * kMiB));
}

TEST_F(BallastTest, GivenUpIsSpentUntilItIsMadeAgain) {
  Ballast ballast(folder_.path(), kMiB);
  EXPECT_FALSE(ballast.Release()) << "there is none";
  EXPECT_FALSE(ballast.spent());
  ASSERT_TRUE(ballast.Keep(Free(2 * kMiB), 0));
  EXPECT_TRUE(ballast.Release());
  EXPECT_EQ(TakenBytes(), 0u);
  EXPECT_EQ(ballast.kept_bytes(), 0u);
  EXPECT_TRUE(ballast.spent());
  EXPECT_FALSE(ballast.Release());
  // What it gave back is no reason to make it again.
  EXPECT_FALSE(ballast.Keep(Free(kMiB), 0));
  EXPECT_TRUE(ballast.spent());
  EXPECT_TRUE(ballast.Keep(Free(3 * kMiB), 0));
  EXPECT_FALSE(ballast.spent());
}

TEST_F(BallastTest, OfAnEarlierBrokerIsTakenOver) {
  ASSERT_TRUE(Ballast(folder_.path(), kMiB).Keep(Free(10 * kMiB), 0));
  Ballast next(folder_.path(), kMiB);
  EXPECT_EQ(next.kept_bytes(), kMiB);
  EXPECT_TRUE(next.Release());
}

TEST_F(BallastTest, OfAnotherSizeGoes) {
  ASSERT_TRUE(Ballast(folder_.path(), kMiB).Keep(Free(10 * kMiB), 0));
  Ballast larger(folder_.path(), 2 * kMiB);
  EXPECT_EQ(TakenBytes(), 0u);
  ASSERT_TRUE(larger.Keep(Free(10 * kMiB), 0));
  EXPECT_GE(TakenBytes(), 2 * kMiB);
  Ballast none(folder_.path(), 0);
  EXPECT_EQ(TakenBytes(), 0u);
  EXPECT_FALSE(none.Keep(Free(100 * kMiB), 0));
}

TEST_F(BallastTest, AFileThatOnlyClaimsItsSizeIsNoReserve) {
  std::ofstream(folder_ / "BALLAST") << "";
  ASSERT_EQ(truncate((folder_ / "BALLAST").c_str(), kMiB), 0);
  EXPECT_EQ(Ballast(folder_.path(), kMiB).kept_bytes(), 0u);
}

}  // namespace
}  // namespace penstock::broker
