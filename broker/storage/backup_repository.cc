#include "broker/storage/backup_repository.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "broker/storage/rocksdb_options.h"
#include "broker/storage/storage_files.h"
#include "common/crc32c.h"
#include "common/status.h"
#include "common/text.h"
#include "fmt/format.h"
#include "rocksdb/utilities/backup_engine.h"

namespace penstock::broker {
namespace {

// As that of the data folder, which is in the backups.
constexpr uint64_t kFormat = 2;
constexpr uint64_t kProgressBytes = 1 << 20;

absl::Status Errno(const std::string& what) {
  const int error = errno;
  const std::string text = fmt::format("{}: {}", what, std::strerror(error));
  if (error == ENOSPC || error == EDQUOT) return absl::ResourceExhaustedError(text);
  if (error == EACCES || error == EPERM || error == EROFS) return absl::PermissionDeniedError(text);
  return absl::UnavailableError(text);
}

using Fields = std::map<std::string, std::string>;

// key=value lines; unknown keys are kept.
Fields ParseFields(const std::string& text) {
  Fields fields;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const size_t equals = line.find('=');
    if (equals != std::string::npos) fields[line.substr(0, equals)] = line.substr(equals + 1);
  }
  return fields;
}

uint64_t NumberOf(const Fields& fields, const std::string& key) {
  uint64_t number = 0;
  const auto found = fields.find(key);
  if (found == fields.end() || !absl::SimpleAtoi(found->second, &number)) return 0;
  return number;
}

std::string TextOf(const Fields& fields, const std::string& key) {
  const auto found = fields.find(key);
  return found == fields.end() ? std::string() : found->second;
}

absl::Status WriteWhole(const std::string& path, const std::string& text) {
  const std::string new_path = path + ".new";
  const int fd = open(new_path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return Errno(fmt::format("cannot write {}", new_path));
  const bool written = write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) && fsync(fd) == 0;
  const absl::Status status = written ? absl::OkStatus() : Errno(fmt::format("cannot write {}", new_path));
  close(fd);
  RETURN_IF_ERROR(status);
  if (rename(new_path.c_str(), path.c_str()) != 0) return Errno(fmt::format("cannot write {}", path));
  return SyncFolder(std::filesystem::path(path).parent_path().string());
}

std::string ReadText(const std::string& path) {
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

std::string EncodeNote(const BackupNote& note) {
  return fmt::format("version={}\ninstance={}\nlabel={}\nsequence={}\nepoch={}\ntime={}\nhash={}\n", note.version,
                     note.instance, absl::CEscape(note.label), note.applied.sequence, note.applied.epoch,
                     note.applied.time_micros, note.applied.hash);
}

BackupNote DecodeNote(const std::string& text) {
  const Fields fields = ParseFields(text);
  BackupNote note;
  note.version = TextOf(fields, "version");
  note.instance = TextOf(fields, "instance");
  if (!absl::CUnescape(TextOf(fields, "label"), &note.label)) note.label.clear();
  note.applied.sequence = NumberOf(fields, "sequence");
  note.applied.epoch = NumberOf(fields, "epoch");
  note.applied.time_micros = static_cast<int64_t>(NumberOf(fields, "time"));
  note.applied.hash = NumberOf(fields, "hash");
  return note;
}

BackupSummary ToSummary(const rocksdb::BackupInfo& info) {
  return {info.backup_id, absl::FromUnixSeconds(info.timestamp), info.size, info.number_files,
          DecodeNote(info.app_metadata)};
}

absl::Status NoSuchBackup(uint32_t id, const std::string& path) {
  return absl::NotFoundError(fmt::format("there is no backup {} in {}", id, path));
}

// Everything below `path`, and the folder itself.
absl::Status SyncTree(const std::string& path) {
  std::error_code error;
  for (std::filesystem::recursive_directory_iterator it(path, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().string();
    if (it->is_directory()) {
      RETURN_IF_ERROR(SyncFolder(name));
      continue;
    }
    const int fd = open(name.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return Errno(fmt::format("cannot open {}", name));
    const absl::Status synced = fsync(fd) == 0 ? absl::OkStatus() : Errno(fmt::format("cannot sync {}", name));
    close(fd);
    RETURN_IF_ERROR(synced);
  }
  if (error) return absl::UnavailableError(fmt::format("cannot list {}: {}", path, error.message()));
  return SyncFolder(path);
}

}  // namespace

BackupRepository::BackupRepository(std::string path, int lock_fd, uint64_t bytes_per_second)
    : path_(std::move(path)), lock_fd_(lock_fd), bytes_per_second_(bytes_per_second) {}

absl::StatusOr<std::unique_ptr<BackupRepository>> BackupRepository::Open(const std::string& path,
                                                                         uint64_t bytes_per_second) {
  const std::string lock = path + "/LOCK.penstock";
  const int fd = open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return Errno(fmt::format("cannot write to backup folder {}", path));
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    close(fd);
    return absl::UnavailableError(fmt::format("somebody else works with backup folder {} just now: try later", path));
  }
  return std::unique_ptr<BackupRepository>(new BackupRepository(path, fd, bytes_per_second));
}

absl::StatusOr<std::unique_ptr<BackupRepository>> BackupRepository::OpenFor(const std::string& path,
                                                                            const std::string& instance,
                                                                            uint64_t bytes_per_second) {
  struct stat found {};
  if (lstat(path.c_str(), &found) == 0) {
    if (!S_ISDIR(found.st_mode)) {
      return absl::FailedPreconditionError(fmt::format("{} is not a folder (a link is not followed)", path));
    }
  } else if (mkdir(path.c_str(), 0700) != 0) {
    return Errno(fmt::format("cannot make backup folder {}", path));
  }
  // Tasks' payloads are nobody else's business.
  if (chmod(path.c_str(), 0700) != 0) return Errno(fmt::format("cannot close backup folder {} to others", path));
  ASSIGN_OR_RETURN(std::unique_ptr<BackupRepository> repository, Open(path, bytes_per_second));
  const std::string file = path + "/BACKUPS";
  std::error_code error;
  if (!std::filesystem::exists(file, error)) {
    for (const auto& entry : std::filesystem::directory_iterator(path, error)) {
      const std::string name = entry.path().filename().string();
      if (name == "LOCK.penstock" || name == "BACKUPS.new" || name == "lost+found") continue;
      return absl::FailedPreconditionError(
          fmt::format("{} is no folder of backups: it contains {} and has no file BACKUPS; name an empty or new folder",
                      path, name));
    }
    RETURN_IF_ERROR(
        WriteWhole(file, fmt::format("format={}\nmin_reader={}\ninstance={}\n", kFormat, kFormat, instance)));
  }
  RETURN_IF_ERROR(repository->OpenEngine());
  const std::string owner = TextOf(ParseFields(ReadText(file)), "instance");
  if (owner != instance) {
    return absl::FailedPreconditionError(
        fmt::format("{} has the backups of another broker's data (instance {}, this is {}): name another folder", path,
                    owner, instance));
  }
  // An older Penstock must not restore what is added from now on.
  if (NumberOf(ParseFields(ReadText(file)), "min_reader") < kFormat) {
    RETURN_IF_ERROR(
        WriteWhole(file, fmt::format("format={}\nmin_reader={}\ninstance={}\n", kFormat, kFormat, instance)));
  }
  return repository;
}

absl::StatusOr<std::unique_ptr<BackupRepository>> BackupRepository::OpenExisting(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::exists(path + "/BACKUPS", error)) {
    return absl::FailedPreconditionError(fmt::format("{} is no folder of backups: it has no file BACKUPS", path));
  }
  ASSIGN_OR_RETURN(std::unique_ptr<BackupRepository> repository, Open(path, 0));
  RETURN_IF_ERROR(repository->OpenEngine());
  return repository;
}

absl::Status BackupRepository::OpenEngine() {
  const std::string file = path_ + "/BACKUPS";
  const Fields fields = ParseFields(ReadText(file));
  const uint64_t min_reader = NumberOf(fields, "min_reader");
  if (min_reader == 0) return absl::DataLossError(fmt::format("{} is damaged", file));
  if (min_reader > kFormat) {
    return absl::FailedPreconditionError(fmt::format(
        "a newer Penstock wrote the backups in {}: it takes one that reads backup format {}, this one reads "
        "format {}",
        path_, min_reader, kFormat));
  }
  rocksdb::BackupEngineOptions options(path_ + "/rocksdb");
  // Files are known by the session of RocksDB that made them, so that those of a restored database with the same
  // numbers are not taken for each other.
  options.share_table_files = true;
  options.share_files_with_checksum = true;
  options.share_files_with_checksum_naming = static_cast<rocksdb::BackupEngineOptions::ShareFilesNaming>(
      rocksdb::BackupEngineOptions::kUseDbSessionId | rocksdb::BackupEngineOptions::kFlagIncludeFileSize);
  options.sync = true;
  options.backup_log_files = true;
  options.backup_rate_limit = bytes_per_second_;
  options.max_background_operations = 1;
  options.callback_trigger_interval_size = kProgressBytes;
  rocksdb::BackupEngine* engine = nullptr;
  const rocksdb::IOStatus opened = rocksdb::BackupEngine::Open(options, rocksdb::Env::Default(), &engine);
  if (!opened.ok()) return Annotate(ToStatus(opened), fmt::format("cannot open the backups in {}", path_));
  engine_.reset(engine);
  return absl::OkStatus();
}

BackupRepository::~BackupRepository() {
  engine_.reset();
  close(lock_fd_);
}

std::vector<BackupSummary> BackupRepository::List() const {
  std::vector<rocksdb::BackupInfo> infos;
  engine_->GetBackupInfo(&infos);
  std::vector<BackupSummary> backups;
  backups.reserve(infos.size());
  for (const rocksdb::BackupInfo& info : infos) backups.push_back(ToSummary(info));
  return backups;
}

std::vector<uint32_t> BackupRepository::Damaged() const {
  std::vector<rocksdb::BackupID> ids;
  engine_->GetCorruptedBackups(&ids);
  return {ids.begin(), ids.end()};
}

absl::StatusOr<BackupSummary> BackupRepository::Get(uint32_t id) const {
  const std::vector<uint32_t> unreadable = Damaged();
  if (std::find(unreadable.begin(), unreadable.end(), id) != unreadable.end()) {
    return absl::DataLossError(
        fmt::format("backup {} in {} is damaged: its list of files, rocksdb/meta/{}, cannot be read", id, path_, id));
  }
  rocksdb::BackupInfo info;
  if (!engine_->GetBackupInfo(id, &info).ok()) return NoSuchBackup(id, path_);
  return ToSummary(info);
}

absl::StatusOr<BackupSummary> BackupRepository::Create(
    rocksdb::DB& db, const BackupNote& note, const std::function<void(uint64_t copied, bool verifying)>& progress) {
  rocksdb::CreateBackupOptions options;
  // Without a flush: nothing is asked of the running database but to keep its files for a while, and the log, at most
  // 64 MiB of it, is copied as it is.
  options.flush_before_backup = false;
  uint64_t bytes = 0;
  options.progress_callback = [&] {
    bytes += kProgressBytes;
    progress(bytes, false);
  };
  options.decrease_background_thread_cpu_priority = true;
  options.background_thread_cpu_priority = rocksdb::CpuPriority::kLow;
  if (stopped_) return absl::CancelledError("the backup was given up");
  rocksdb::BackupID id = 0;
  const rocksdb::IOStatus made = engine_->CreateNewBackupWithMetadata(options, &db, EncodeNote(note), &id);
  if (stopped_) return absl::CancelledError("the backup was given up");
  if (!made.ok()) return Annotate(ToStatus(made), fmt::format("cannot write a backup to {}", path_));
  progress(bytes, true);
  if (absl::Status whole = Verify(id); !whole.ok()) {
    if (absl::IsCancelled(whole)) return whole;
    Delete(id).IgnoreError();
    return Annotate(whole, "the new backup is not what was written, and was deleted; look at its disk");
  }
  return Get(id);
}

// RocksDB's own verification cannot be ended early, and a stopping broker does not wait for a terabyte. Its list of a
// backup's files (schema 1, which is all that 7.8 writes):
//
//   time, sequence number, [metadata HEX,] number of files, and for each file: NAME crc32 VALUE
absl::Status BackupRepository::Verify(uint32_t id) {
  ASSIGN_OR_RETURN(const BackupSummary backup, Get(id));
  const auto damaged = [&](std::string_view what) {
    return absl::DataLossError(fmt::format("backup {} in {} is damaged: {}", id, path_, what));
  };
  std::istringstream lines(ReadText(fmt::format("{}/rocksdb/meta/{}", path_, id)));
  uint32_t files = 0;
  for (std::string line; std::getline(lines, line);) {
    const std::vector<std::string> words = absl::StrSplit(line, ' ');
    uint32_t crc = 0;
    if (words.size() != 3 || words[1] != "crc32") continue;
    if (!absl::SimpleAtoi(words[2], &crc)) return damaged("its list of files cannot be read");
    ++files;
    const absl::Status whole = VerifyFile(words[0], crc);
    if (absl::IsDataLoss(whole)) return damaged(ToStd(whole.message()));
    RETURN_IF_ERROR(whole);
  }
  if (files == 0 || files != backup.files) return damaged("its list of files is cut short");
  return absl::OkStatus();
}

absl::Status BackupRepository::VerifyFile(const std::string& name, uint32_t crc) const {
  std::ifstream in(fmt::format("{}/rocksdb/{}", path_, name), std::ios::binary);
  if (!in) return absl::DataLossError(fmt::format("file {} is missing", name));
  std::string chunk(kProgressBytes, '\0');
  uint32_t computed = 0;
  while (in) {
    if (stopped_) return absl::CancelledError("the backup was given up");
    in.read(chunk.data(), static_cast<std::streamsize>(chunk.size()));
    const auto count = static_cast<size_t>(in.gcount());
    computed = Crc32c(std::string_view(chunk).substr(0, count), computed);
    if (bytes_per_second_ > 0) {
      absl::SleepFor(absl::Seconds(static_cast<double>(count) / static_cast<double>(bytes_per_second_)));
    }
  }
  if (in.bad()) return absl::DataLossError(fmt::format("file {} cannot be read", name));
  if (computed == crc) return absl::OkStatus();
  return absl::DataLossError(fmt::format("file {} has the checksum {}, not {}", name, computed, crc));
}

absl::Status BackupRepository::Delete(uint32_t id) {
  RETURN_IF_ERROR(Get(id).status());
  return ToStatus(engine_->DeleteBackup(id));
}

absl::StatusOr<uint64_t> BackupRepository::KeepNewest(uint32_t count) {
  const size_t before = List().size();
  RETURN_IF_ERROR(ToStatus(engine_->PurgeOldBackups(count)));
  return before - List().size();
}

absl::Status BackupRepository::Restore(uint32_t id, const std::string& db_path) {
  RETURN_IF_ERROR(Verify(id));
  // By its id: the call for the latest may pass over a damaged one in 7.8.
  const rocksdb::IOStatus restored = engine_->RestoreDBFromBackup(id, db_path, db_path);
  if (!restored.ok()) return Annotate(ToStatus(restored), fmt::format("cannot restore backup {} to {}", id, db_path));
  return SyncTree(db_path);
}

std::vector<uint64_t> BackupRepository::RestoreEpochs() const {
  std::vector<uint64_t> epochs;
  std::istringstream lines(ReadText(path_ + "/RESTORES"));
  for (std::string line; std::getline(lines, line);) {
    std::replace(line.begin(), line.end(), ' ', '\n');
    if (const uint64_t epoch = NumberOf(ParseFields(line), "epoch"); epoch > 0) epochs.push_back(epoch);
  }
  std::sort(epochs.begin(), epochs.end());
  return epochs;
}

absl::Status BackupRepository::NoteRestore(uint32_t id, uint64_t epoch, const std::string& data_dir) {
  const std::string file = path_ + "/RESTORES";
  const std::string line =
      fmt::format("epoch={} backup={} time={} data_dir={}\n", epoch, id,
                  absl::FormatTime(absl::RFC3339_sec, absl::Now(), absl::UTCTimeZone()), absl::CEscape(data_dir));
  return Annotate(WriteWhole(file, ReadText(file) + line),
                  "a restore is noted with the backups, so that a later one does not give out the same ids and tokens; "
                  "copy them to where they can be written");
}

void BackupRepository::Stop() {
  stopped_ = true;
  engine_->StopBackup();
}

}  // namespace penstock::broker
