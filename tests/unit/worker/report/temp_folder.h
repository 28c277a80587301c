#ifndef PENSTOCK_TESTS_UNIT_WORKER_REPORT_TEMP_FOLDER_H_
#define PENSTOCK_TESTS_UNIT_WORKER_REPORT_TEMP_FOLDER_H_

#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace penstock {

// A folder that is removed at the end of its scope.
class TempFolder {
 public:
  TempFolder() : path_(::testing::TempDir() + "/penstock-report-XXXXXX") {
    EXPECT_NE(mkdtemp(path_.data()), nullptr);
    path_ = std::filesystem::canonical(path_).string();
  }
  ~TempFolder() { std::filesystem::remove_all(path_); }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string Write(const std::string& name, const std::string& content) const {
    std::ofstream(path_ + "/" + name, std::ios::binary) << content;
    return path_ + "/" + name;
  }
  std::string Read(const std::string& name) const {
    std::ifstream file(path_ + "/" + name, std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
  }
  // The names in the folder, in order.
  std::vector<std::string> List() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(path_))
      names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
  }

 private:
  std::string path_;
};

}  // namespace penstock

#endif  // PENSTOCK_TESTS_UNIT_WORKER_REPORT_TEMP_FOLDER_H_
