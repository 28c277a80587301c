#include "broker/storage/data_dir.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_folder.h"

namespace penstock::broker {
namespace {

using ::testing::HasSubstr;

class DataDirTest : public ::testing::Test {
 protected:
  static void Write(const std::string& path, const std::string& text) { std::ofstream(path) << text; }
  static std::string Read(const std::string& path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  }
  static absl::Status OpenError(const std::string& path) { return DataDir::Open(path).status(); }
  static std::string Message(const absl::Status& status) { return std::string(status.message()); }

  penstock::testing::TempFolder parent_;
  const std::string path_ = parent_ / "data";
};

TEST_F(DataDirTest, NewFolderIsPrivateAndKeepsItsInstance) {
  std::string instance;
  {
    absl::StatusOr<std::unique_ptr<DataDir>> dir = DataDir::Open(path_ + "/");
    ASSERT_TRUE(dir.ok()) << dir.status();
    instance = (*dir)->instance();
    EXPECT_EQ(instance.size(), 32u);
    EXPECT_EQ((*dir)->path(), path_);
    EXPECT_EQ((*dir)->db_path(), path_ + "/db");
  }
  struct stat info;
  ASSERT_EQ(stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
  EXPECT_EQ(Read(path_ + "/FORMAT"), "format=2\nmin_reader=2\ninstance=" + instance + "\n");
  absl::StatusOr<std::unique_ptr<DataDir>> again = DataDir::Open(path_);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ((*again)->instance(), instance);
}

TEST_F(DataDirTest, MissingParentsAreMade) { EXPECT_TRUE(DataDir::Open(parent_ / "a/b/c").ok()); }

TEST_F(DataDirTest, EmptyFolderAndCutShortStartAreTaken) {
  std::filesystem::create_directory(path_);
  EXPECT_TRUE(DataDir::Open(path_).ok());
  std::filesystem::rename(path_ + "/FORMAT", path_ + "/FORMAT.new");
  EXPECT_TRUE(DataDir::Open(path_).ok());
}

TEST_F(DataDirTest, SecondBrokerIsKeptOut) {
  absl::StatusOr<std::unique_ptr<DataDir>> first = DataDir::Open(path_);
  ASSERT_TRUE(first.ok()) << first.status();
  const absl::Status second = OpenError(path_);
  EXPECT_TRUE(absl::IsAlreadyExists(second));
  EXPECT_THAT(Message(second), HasSubstr("another broker (pid " + std::to_string(getpid()) + ")"));
  first->reset();
  EXPECT_TRUE(DataDir::Open(path_).ok());
}

TEST_F(DataDirTest, ForeignFolderIsRefusedAndLeftAlone) {
  std::filesystem::create_directory(path_);
  Write(path_ + "/thesis.tex", "precious");
  const absl::Status status = OpenError(path_);
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_THAT(Message(status), HasSubstr("not a Penstock data folder: it contains thesis.tex"));
  EXPECT_FALSE(std::filesystem::exists(path_ + "/LOCK.penstock"));
}

TEST_F(DataDirTest, FileInsteadOfFolderIsRefused) {
  Write(path_, "");
  EXPECT_THAT(Message(OpenError(path_)), HasSubstr("is a file, not a folder"));
  EXPECT_TRUE(absl::IsInvalidArgument(OpenError(path_)));
  EXPECT_TRUE(absl::IsInvalidArgument(OpenError(path_ + "/inside")));
  EXPECT_TRUE(absl::IsInvalidArgument(OpenError("")));
}

TEST_F(DataDirTest, FolderOfANewerPenstockIsRefused) {
  std::filesystem::create_directory(path_);
  for (const char* format : {"3", "4"}) {
    const std::string text = std::string("format=") + format + "\nmin_reader=3\ninstance=abc\nfeature=x\n";
    Write(path_ + "/FORMAT", text);
    for (const absl::Status& status : {OpenError(path_), DataDir::OpenReadOnly(path_).status()}) {
      EXPECT_TRUE(absl::IsFailedPrecondition(status));
      EXPECT_EQ(Message(status), "a newer Penstock wrote " + path_ +
                                     ": it takes one that reads storage format 3, this one reads format 2");
    }
    EXPECT_EQ(Read(path_ + "/FORMAT"), text);
  }
}

TEST_F(DataDirTest, FolderOfFormat1IsRaisedByABrokerAndNotByLooking) {
  std::filesystem::create_directory(path_);
  const std::string text = "format=1\nmin_reader=1\ninstance=abc\nfeature=x\n";
  Write(path_ + "/FORMAT", text);
  {
    const auto looked = DataDir::OpenReadOnly(path_);
    ASSERT_TRUE(looked.ok()) << looked.status();
    EXPECT_EQ(Read(path_ + "/FORMAT"), text);
  }
  const auto opened = DataDir::Open(path_);
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_EQ((*opened)->instance(), "abc");
  EXPECT_EQ(Read(path_ + "/FORMAT"), "format=2\nmin_reader=2\ninstance=abc\nfeature=x\n");
}

TEST_F(DataDirTest, NewerFormatThatThisVersionMayReadIsTaken) {
  std::filesystem::create_directory(path_);
  Write(path_ + "/FORMAT", "format=3\nmin_reader=2\ninstance=abc\nfeature=x\n");
  absl::StatusOr<std::unique_ptr<DataDir>> dir = DataDir::Open(path_);
  ASSERT_TRUE(dir.ok()) << dir.status();
  EXPECT_EQ((*dir)->instance(), "abc");
}

TEST_F(DataDirTest, DamagedFormatIsDataLoss) {
  std::filesystem::create_directory(path_);
  for (const char* text : {"", "format=x\nmin_reader=1\ninstance=abc\n", "format=1\nmin_reader=1\n"}) {
    Write(path_ + "/FORMAT", text);
    EXPECT_TRUE(absl::IsDataLoss(OpenError(path_))) << text;
  }
}

TEST_F(DataDirTest, UnwritableFolderIsASentence) {
  if (geteuid() == 0) GTEST_SKIP() << "root may write everywhere";
  std::filesystem::create_directory(path_);
  ASSERT_EQ(chmod(path_.c_str(), 0500), 0);
  const absl::Status status = OpenError(path_);
  EXPECT_TRUE(absl::IsPermissionDenied(status));
  EXPECT_THAT(Message(status), HasSubstr("cannot write to data folder"));
}

TEST_F(DataDirTest, DiskSpaceIsThatOfTheFileSystem) {
  absl::StatusOr<DiskSpace> space = GetDiskSpace(parent_.path());
  ASSERT_TRUE(space.ok()) << space.status();
  EXPECT_GT(space->total, 0u);
  EXPECT_LE(space->free, space->total);
  EXPECT_FALSE(GetDiskSpace(parent_ / "nothing").ok());
}

}  // namespace
}  // namespace penstock::broker
