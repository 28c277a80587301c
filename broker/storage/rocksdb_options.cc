#include "broker/storage/rocksdb_options.h"

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstring>

#include "fmt/format.h"
#include "rocksdb/cache.h"
#include "rocksdb/env.h"
#include "rocksdb/filter_policy.h"
#include "rocksdb/table.h"
#include "rocksdb/utilities/table_properties_collectors.h"
#include "rocksdb/write_buffer_manager.h"

namespace penstock::broker {
namespace {

class SilentLogger final : public rocksdb::Logger {
 public:
  using rocksdb::Logger::Logv;
  void Logv(const char*, va_list) override {}
};

// Recovery that loses nothing silently, and what version 7.8 gets wrong. Stated even where it is the default: a later
// RocksDB may have other defaults.
void PinSafety(rocksdb::DBOptions* db) {
  // Errors make the database read-only instead of being passed over.
  db->paranoid_checks = true;
  db->flush_verify_memtable_count = true;
  db->verify_sst_unique_id_in_manifest = true;
  db->best_efforts_recovery = false;
  // RecoverWal has cut what may be cut: any damage left is a reason to refuse.
  db->wal_recovery_mode = rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords;
  // RecoverWal reads the log's plain format, and 7.8 recovers recycled and compressed logs wrongly (fixed later).
  db->recycle_log_file_num = 0;
  db->wal_compression = rocksdb::kNoCompression;
  // A commit that returns has reached the operating system, in order.
  db->manual_wal_flush = false;
  db->enable_pipelined_write = false;
  db->unordered_write = false;
  db->two_write_queues = false;
  db->allow_2pc = false;
  // The logs are written out at once at a start, so that a second crash does not meet the same log again.
  db->avoid_flush_during_recovery = false;
  // RocksDB issue 10892: 7.8 may miss a log that never was and not open. For the same reason SyncWAL is never called.
  db->track_and_verify_wals_in_manifest = false;
  // Deleting a key in both ways is harmless to us; the check would stop compaction, and with it the broker, for good.
  db->enforce_single_del_contracts = false;
  // Families need not be written out together: the log is never off, so it holds what one of them lacks.
  db->atomic_flush = false;
}

rocksdb::ColumnFamilyOptions BaseFamily(size_t memtable_bytes) {
  rocksdb::ColumnFamilyOptions family;
  family.write_buffer_size = memtable_bytes;
  // One being filled, one being written out. With more than two, 7.8 may fail to retry a flush (fixed in 7.9).
  family.max_write_buffer_number = 2;
  family.force_consistency_checks = true;
  family.memtable_protection_bytes_per_key = 8;
  family.compression = rocksdb::kNoCompression;
  family.bottommost_compression = rocksdb::kLZ4Compression;
  family.level_compaction_dynamic_level_bytes = true;
  family.target_file_size_base = uint64_t{64} << 20;
  // Slow writers early and visibly rather than late and for long.
  family.level0_slowdown_writes_trigger = 12;
  family.level0_stop_writes_trigger = 20;
  family.soft_pending_compaction_bytes_limit = uint64_t{8} << 30;
  family.hard_pending_compaction_bytes_limit = uint64_t{32} << 30;
  return family;
}

rocksdb::BlockBasedTableOptions BaseTable(const std::shared_ptr<rocksdb::Cache>& cache, size_t block_bytes) {
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = cache;
  table.block_size = block_bytes;
  table.checksum = rocksdb::kXXH3;
  table.format_version = 5;
  // In the cache, so that they count against its size.
  table.cache_index_and_filter_blocks = true;
  table.cache_index_and_filter_blocks_with_high_priority = true;
  table.pin_l0_filter_and_index_blocks_in_cache = true;
  return table;
}

rocksdb::ColumnFamilyDescriptor Describe(std::string_view name, rocksdb::ColumnFamilyOptions family,
                                         const rocksdb::BlockBasedTableOptions& table) {
  family.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return {std::string(name), family};
}

// For families with a mixed life: files full of the remains of deleted keys are compacted early, and every file once a
// day.
void ReclaimDeleted(rocksdb::ColumnFamilyOptions* family) {
  family->table_properties_collector_factories.push_back(
      rocksdb::NewCompactOnDeletionCollectorFactory(/*sliding_window_size=*/1024, /*deletion_trigger=*/256,
                                                    /*deletion_ratio=*/0.25));
  family->periodic_compaction_seconds = 86400;
}

}  // namespace

rocksdb::DBOptions MakeDbOptions(const RocksDbStoreOptions& options, const std::shared_ptr<rocksdb::Cache>& cache) {
  rocksdb::DBOptions db;
  PinSafety(&db);
  if (options.env != nullptr) db.env = options.env;
  db.create_missing_column_families = true;
  db.max_background_jobs = std::clamp(options.background_jobs, 2, 4);
  db.write_buffer_manager = std::make_shared<rocksdb::WriteBufferManager>(options.memtable_bytes, cache);
  db.max_total_wal_size = options.wal_bytes;
  // RocksDB moves such logs to archive/, where neither its recovery nor ours looks.
  db.WAL_ttl_seconds = options.keep_logs_seconds;
  db.max_open_files = options.open_files;
  // Spreads the writing of a large file, so that a commit's sync does not wait behind it.
  db.bytes_per_sync = uint64_t{1} << 20;
  db.compaction_readahead_size = size_t{2} << 20;
  db.skip_stats_update_on_db_open = true;
  db.stats_persist_period_sec = 0;
  db.write_dbid_to_manifest = true;
  db.max_manifest_file_size = uint64_t{64} << 20;
  db.keep_log_file_num = 4;
  return db;
}

rocksdb::DBOptions MakeReadOnlyDbOptions(rocksdb::Env* env) {
  rocksdb::DBOptions db;
  PinSafety(&db);
  db.env = env;
  db.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;
  db.max_open_files = 64;
  db.info_log = std::make_shared<SilentLogger>();
  return db;
}

const std::array<std::string_view, kFamilyCount>& FamilyNames() {
  static constexpr std::array<std::string_view, kFamilyCount> kNames = {"default", "blocks", "deltas",
                                                                        "tasks",   "index",  "history"};
  return kNames;
}

std::vector<rocksdb::ColumnFamilyDescriptor> MakeFamilies(const RocksDbStoreOptions& options,
                                                          const std::shared_ptr<rocksdb::Cache>& cache) {
  const std::shared_ptr<const rocksdb::FilterPolicy> bloom(rocksdb::NewBloomFilterPolicy(10));
  const size_t large = options.memtable_bytes / 3;
  const size_t small = options.memtable_bytes / 6;
  std::vector<rocksdb::ColumnFamilyDescriptor> families;

  // kMeta: few small keys, overwritten all the time.
  rocksdb::ColumnFamilyOptions meta = BaseFamily(std::min(small, size_t{4} << 20));
  families.push_back(Describe("default", meta, BaseTable(cache, 4 << 10)));

  // kBlocks: values up to a MiB under growing keys, so that written-out files never overlap; read by exact key, most
  // deleted again soon. Patient with level 0: a block that is finished before its file is compacted is never written a
  // second time.
  rocksdb::ColumnFamilyOptions blocks = BaseFamily(large);
  blocks.level0_file_num_compaction_trigger = 6;
  blocks.paranoid_file_checks = true;
  blocks.table_properties_collector_factories.push_back(rocksdb::NewCompactOnDeletionCollectorFactory(1024, 256, 0.25));
  rocksdb::BlockBasedTableOptions blocks_table = BaseTable(cache, 32 << 10);
  blocks_table.filter_policy = bloom;
  families.push_back(Describe("blocks", blocks, blocks_table));

  // kDeltas: one a commit under growing keys, deleted in ranges soon after; read in order, at a start only. Compaction
  // drops what a range deletion covers, mostly before it leaves level 0.
  rocksdb::ColumnFamilyOptions deltas = BaseFamily(small);
  families.push_back(Describe("deltas", deltas, BaseTable(cache, 32 << 10)));

  // kTasks: records by task id, many of them asked for that do not exist: filters in memory and in the files.
  rocksdb::ColumnFamilyOptions tasks = BaseFamily(small);
  tasks.memtable_prefix_bloom_size_ratio = 0.02;
  tasks.memtable_whole_key_filtering = true;
  tasks.paranoid_file_checks = true;
  ReclaimDeleted(&tasks);
  rocksdb::BlockBasedTableOptions tasks_table = BaseTable(cache, 8 << 10);
  tasks_table.filter_policy = bloom;
  families.push_back(Describe("tasks", tasks, tasks_table));

  // kIndex: small keys with small or no values, scanned from a known start, or asked for by exact key.
  rocksdb::ColumnFamilyOptions index = BaseFamily(small);
  index.memtable_prefix_bloom_size_ratio = 0.02;
  index.memtable_whole_key_filtering = true;
  ReclaimDeleted(&index);
  rocksdb::BlockBasedTableOptions index_table = BaseTable(cache, 8 << 10);
  index_table.filter_policy = bloom;
  families.push_back(Describe("index", index, index_table));

  // kHistory: written once, read seldom, deleted in ranges when its retention ends: as small on disk as is cheap.
  rocksdb::ColumnFamilyOptions history = BaseFamily(small);
  history.compression = rocksdb::kLZ4Compression;
  rocksdb::BlockBasedTableOptions history_table = BaseTable(cache, 32 << 10);
  history_table.filter_policy = bloom;
  families.push_back(Describe("history", history, history_table));
  return families;
}

absl::Status ToStatus(const rocksdb::Status& status) {
  if (status.ok()) return absl::OkStatus();
  const std::string text = status.ToString();
  if (status.IsNotFound()) return absl::NotFoundError("no such key");
  // RocksDB knows of a quota as of any other error, and calls a file that it cannot look at a damaged one.
  const auto says = [&](int error) { return text.find(std::strerror(error)) != std::string::npos; };
  if (status.IsIOError() && says(EDQUOT))
    return absl::ResourceExhaustedError(fmt::format("the disk is full: {}", text));
  if (status.IsCorruption() && says(EIO)) return absl::UnavailableError(text);
  if (status.IsCorruption()) return absl::DataLossError(fmt::format("stored data is damaged: {}", text));
  if (status.IsNoSpace() || status.subcode() == rocksdb::Status::kSpaceLimit) {
    return absl::ResourceExhaustedError(fmt::format("the disk is full: {}", text));
  }
  if (status.IsInvalidArgument()) return absl::InvalidArgumentError(text);
  return absl::UnavailableError(text);
}

}  // namespace penstock::broker
