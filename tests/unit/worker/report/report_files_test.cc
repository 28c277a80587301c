#include "worker/handlers/report/report_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <string>

#include "tests/unit/worker/report/temp_folder.h"

namespace penstock::report {
namespace {

using ::testing::ElementsAre;

TEST(FileErrorTest, CodeSaysWhetherTryingAgainHelps) {
  for (const int number : {EIO, ENOSPC, EDQUOT, EMFILE, ENOMEM, EROFS}) {
    EXPECT_EQ(FileError("writing", "/a", number).code(), absl::StatusCode::kUnavailable) << number;
  }
  for (const int number : {ENOENT, EACCES, EISDIR, ENOTDIR, ELOOP, ENAMETOOLONG}) {
    EXPECT_EQ(FileError("writing", "/a", number).code(), absl::StatusCode::kFailedPrecondition) << number;
  }
  EXPECT_EQ(FileError("writing", "/a", ENOSPC).message(), "writing /a: No space left on device");
}

TEST(InputFileTest, OnlyRegularFilesAreOpened) {
  const TempFolder folder;
  EXPECT_EQ(InputFile::Open(folder.path()).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(InputFile::Open(folder.path() + "/none").status().code(), absl::StatusCode::kFailedPrecondition);
  const std::string fifo = folder.path() + "/fifo";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_EQ(InputFile::Open(fifo).status().code(), absl::StatusCode::kFailedPrecondition);  // and does not wait
}

TEST(InputFileTest, ReadsPieceByPiece) {
  const TempFolder folder;
  absl::StatusOr<InputFile> file = InputFile::Open(folder.Write("a", "abcde"));
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(file->size_bytes(), 5u);
  char buffer[3];
  EXPECT_EQ(*file->Read(buffer, 3), "abc");
  EXPECT_EQ(*file->Read(buffer, 3), "de");
  EXPECT_EQ(*file->Read(buffer, 3), "");
}

TEST(ReplaceFileTest, MakesFoldersAndLeavesOnlyTheFile) {
  const TempFolder folder;
  ASSERT_TRUE(ReplaceFile(folder.path() + "/x/y/r.html", "one", "task", 1).ok());
  ASSERT_TRUE(ReplaceFile(folder.path() + "/x/y/r.html", "two", "task", 2).ok());
  EXPECT_EQ(folder.Read("x/y/r.html"), "two");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path() + "/x/y"), {}), 1);
}

TEST(ReplaceFileTest, LeftoversOfEarlierRunsOfTheTaskAreRemoved) {
  const TempFolder folder;
  folder.Write(".penstock-report-task-3.tmp", "half");
  folder.Write(".penstock-report-task-5.tmp", "half, of this very run");
  folder.Write(".penstock-report-task-9.tmp", "a later run");
  folder.Write(".penstock-report-other-3.tmp", "another task");
  folder.Write(".penstock-report-task-x.tmp", "not ours");
  ASSERT_TRUE(ReplaceFile(folder.path() + "/r.html", "page", "task", 5).ok());
  EXPECT_THAT(folder.List(), ElementsAre(".penstock-report-other-3.tmp", ".penstock-report-task-9.tmp",
                                         ".penstock-report-task-x.tmp", "r.html"));
}

TEST(ReplaceFileTest, FailureLeavesNothingBehind) {
  const TempFolder folder;
  std::filesystem::create_directories(folder.path() + "/r.html/full");
  const absl::Status status = ReplaceFile(folder.path() + "/r.html", "page", "task", 5);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_THAT(folder.List(), ElementsAre("r.html"));
  folder.Write("file", "");
  EXPECT_EQ(ReplaceFile(folder.path() + "/file/r.html", "page", "task", 5).code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST(CheckAllowedTest, OnlyPathsBelowTheFoldersPass) {
  const TempFolder folder;
  const std::string root = folder.path() + "/root";
  std::filesystem::create_directories(root);
  std::filesystem::create_directories(folder.path() + "/rootless");
  std::filesystem::create_symlink(folder.path(), root + "/up");
  EXPECT_TRUE(CheckAllowed("/etc/passwd", {}).ok());
  EXPECT_TRUE(CheckAllowed(root + "/a.xml", {root}).ok());
  EXPECT_TRUE(CheckAllowed(root + "/new/folder/a.xml", {"/nowhere", root + "/"}).ok());
  EXPECT_FALSE(CheckAllowed(root + "/../a.xml", {root}).ok());
  EXPECT_FALSE(CheckAllowed(root + "/up/a.xml", {root}).ok());
  EXPECT_FALSE(CheckAllowed(folder.path() + "/rootless/a.xml", {root}).ok());
  EXPECT_FALSE(CheckAllowed("/etc/passwd", {root}).ok());
}

}  // namespace
}  // namespace penstock::report
