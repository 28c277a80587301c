#ifndef PENSTOCK_TESTS_SUPPORT_FILE_DAMAGE_H_
#define PENSTOCK_TESTS_SUPPORT_FILE_DAMAGE_H_

#include <sys/stat.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

namespace penstock::testing {

inline std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

inline void WriteFile(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
}

inline void FlipBit(const std::string& path, uint64_t offset, int bit = 3) {
  std::string content = ReadFile(path);
  content.at(offset) = static_cast<char>(content.at(offset) ^ (1 << bit));
  WriteFile(path, content);
}

// Paths of the files of a folder that end so, sorted.
inline std::vector<std::string> FilesIn(const std::string& folder, const std::string& ending) {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    const std::string path = entry.path().string();
    if (entry.is_regular_file() && path.ends_with(ending)) files.push_back(path);
  }
  std::sort(files.begin(), files.end());
  return files;
}

// Everything below a folder: names, content, modes and times of change. Equal before and after: nothing was touched.
inline std::map<std::string, std::string> Fingerprint(const std::string& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    struct stat info {};
    stat(entry.path().c_str(), &info);
    std::string text = std::to_string(info.st_mode) + " " + std::to_string(info.st_mtim.tv_sec) + "." +
                       std::to_string(info.st_mtim.tv_nsec) + " ";
    if (entry.is_regular_file()) text += ReadFile(entry.path().string());
    files[entry.path().string()] = text;
  }
  return files;
}

}  // namespace penstock::testing

#endif  // PENSTOCK_TESTS_SUPPORT_FILE_DAMAGE_H_
