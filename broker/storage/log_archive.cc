#include "broker/storage/log_archive.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "broker/storage/storage_files.h"
#include "broker/storage/wal_commits.h"
#include "broker/storage/wal_scan.h"
#include "common/status.h"
#include "fmt/format.h"

namespace penstock::broker {
namespace {

// Enough for the first record of nearly every log.
constexpr uint64_t kHeadBytes = 4 << 20;

struct CopyName {
  uint64_t epoch = 0;
  uint64_t first = 0;
  uint64_t last = 0;
  uint64_t number = 0;

  std::string Prefix() const { return fmt::format("{:020}-{:020}-", epoch, first); }
  std::string ToString() const { return fmt::format("{}{:020}-{:020}.log", Prefix(), last, number); }
  static std::optional<CopyName> Parse(const std::string& file) {
    CopyName name;
    const std::vector<std::string> parts = absl::StrSplit(file.substr(0, file.find('.')), '-');
    if (parts.size() != 4 || !absl::SimpleAtoi(parts[0], &name.epoch) || !absl::SimpleAtoi(parts[1], &name.first) ||
        !absl::SimpleAtoi(parts[2], &name.last) || !absl::SimpleAtoi(parts[3], &name.number)) {
      return std::nullopt;
    }
    return name;
  }
};

// Paths of the *.log files of a folder, in the order of their names. Empty if there is no such folder.
std::vector<std::filesystem::path> LogFiles(const std::string& folder) {
  std::vector<std::filesystem::path> files;
  std::error_code error;
  for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    if (it->path().extension() == ".log") files.push_back(it->path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::optional<Applied> FirstCommit(std::string_view content) {
  std::optional<Applied> first;
  ForEachLoggedCommit(content, [&](const LoggedCommit& commit) {
    first = commit.applied;
    return false;
  });
  return first;
}

absl::Status WriteSynced(const std::string& path, std::string_view content) {
  const std::string new_path = path + ".new";
  const int fd = open(new_path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return absl::UnavailableError(fmt::format("cannot write {}: {}", new_path, std::strerror(errno)));
  bool written = true;
  while (written && !content.empty()) {
    const ssize_t count = write(fd, content.data(), content.size());
    written = count > 0 || (count < 0 && errno == EINTR);
    if (count > 0) content.remove_prefix(static_cast<size_t>(count));
  }
  written = written && fsync(fd) == 0;
  const absl::Status status =
      written ? absl::OkStatus()
              : absl::UnavailableError(fmt::format("cannot write {}: {}", new_path, std::strerror(errno)));
  close(fd);
  RETURN_IF_ERROR(status);
  if (rename(new_path.c_str(), path.c_str()) == 0) return absl::OkStatus();
  return absl::UnavailableError(fmt::format("cannot write {}: {}", path, std::strerror(errno)));
}

// True if a copy was made.
absl::StatusOr<bool> CopyLog(const std::filesystem::path& log, const std::string& log_path) {
  CopyName name;
  if (!absl::SimpleAtoi(log.stem().string(), &name.number)) return false;
  absl::StatusOr<std::string> content = ReadFileStart(log.string(), kHeadBytes);
  std::error_code error;
  // A log may be moved to archive/, or deleted there, at any time: then the next backup, or none, has it.
  if (!content.ok()) return std::filesystem::exists(log, error) ? content.status() : absl::StatusOr<bool>(false);
  std::optional<Applied> first = FirstCommit(*content);
  const uint64_t size = std::filesystem::file_size(log, error);
  auto set_first = [&] {
    name.epoch = first->epoch;
    name.first = first->sequence;
  };
  if (first) {
    set_first();
    // What is there and has the same size is the same.
    for (const std::filesystem::path& copy : LogFiles(log_path)) {
      const std::string file = copy.filename().string();
      const auto known = CopyName::Parse(file);
      if (known && file.starts_with(name.Prefix()) && known->number == name.number && !error &&
          std::filesystem::file_size(copy, error) >= size) {
        return false;
      }
    }
  }
  content = ReadWholeFile(log.string());
  if (!content.ok()) return std::filesystem::exists(log, error) ? content.status() : absl::StatusOr<bool>(false);
  ForEachLoggedCommit(*content, [&](const LoggedCommit& commit) {
    if (!first) first = commit.applied;
    name.last = std::max(name.last, commit.applied->sequence);
    return true;
  });
  if (!first) return false;
  set_first();
  RETURN_IF_ERROR(WriteSynced(log_path + "/" + name.ToString(), *content));
  // An earlier copy of the same log is a part of this one.
  for (const std::filesystem::path& copy : LogFiles(log_path)) {
    const std::string file = copy.filename().string();
    const auto known = CopyName::Parse(file);
    if (known && file.starts_with(name.Prefix()) && known->number == name.number && known->last < name.last) {
      std::filesystem::remove(copy, error);
    }
  }
  return true;
}

}  // namespace

absl::StatusOr<uint64_t> CopyLogs(const std::string& db_path, const std::string& log_path) {
  if (mkdir(log_path.c_str(), 0700) != 0 && errno != EEXIST) {
    return absl::UnavailableError(fmt::format("cannot make folder {}: {}", log_path, std::strerror(errno)));
  }
  uint64_t copied = 0;
  // The logs in use first: one that is moved meanwhile is then found in the archive.
  for (const std::string& folder : {db_path, db_path + "/archive"}) {
    for (const std::filesystem::path& log : LogFiles(folder)) {
      ASSIGN_OR_RETURN(const bool made, CopyLog(log, log_path));
      copied += made ? 1 : 0;
    }
  }
  RETURN_IF_ERROR(SyncFolder(log_path));
  return copied;
}

absl::Status DropLogs(const std::string& log_path, uint64_t oldest) {
  std::error_code error;
  for (const std::filesystem::path& copy : LogFiles(log_path)) {
    const auto name = CopyName::Parse(copy.filename().string());
    if (name && name->last <= oldest) std::filesystem::remove(copy, error);
    if (error) return absl::UnavailableError(fmt::format("cannot delete {}: {}", copy.string(), error.message()));
  }
  return absl::OkStatus();
}

absl::StatusOr<ReplayResult> ReplayLogs(const std::vector<std::string>& folders, const Applied& from,
                                        const ReplayLimit& limit, Store& store) {
  ReplayResult result;
  result.applied = from;
  std::vector<std::filesystem::path> files;
  for (const std::string& folder : folders) {
    for (std::filesystem::path& file : LogFiles(folder)) files.push_back(std::move(file));
  }
  // Mostly one pass suffices; files of several folders may be in any order.
  for (bool progress = true; progress && !result.limit_reached;) {
    progress = false;
    for (const std::filesystem::path& file : files) {
      const auto name = CopyName::Parse(file.filename().string());
      if (name && (name->last <= result.applied.sequence || name->epoch >= limit.epoch_end)) continue;
      ASSIGN_OR_RETURN(const std::string content, ReadWholeFile(file.string()));
      absl::Status committed;
      ForEachLoggedCommit(content, [&](const LoggedCommit& commit) {
        if (!commit.Follows(result.applied) || commit.applied->epoch >= limit.epoch_end) return true;
        if (!limit.Allows(*commit.applied)) {
          result.limit_reached = true;
          return false;
        }
        committed = store.Commit(commit.writes, /*sync=*/false);
        if (!committed.ok()) return false;
        result.applied = *commit.applied;
        ++result.commits;
        progress = true;
        return true;
      });
      RETURN_IF_ERROR(committed);
      if (result.limit_reached) break;
    }
  }
  if (limit.sequence && result.applied.sequence == *limit.sequence) result.limit_reached = true;
  RETURN_IF_ERROR(store.Commit(CommitBatch(), /*sync=*/true));
  return result;
}

}  // namespace penstock::broker
