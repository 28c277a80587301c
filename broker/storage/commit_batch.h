#ifndef PENSTOCK_BROKER_STORAGE_COMMIT_BATCH_H_
#define PENSTOCK_BROKER_STORAGE_COMMIT_BATCH_H_

// What one commit changes: our own list of operations, which a store converts into its own and which a replicated log
// will carry as it is.
//
//   operations = { kind:1 family:1 varint(key size) key [ varint(value size) value ] }*
//
// kinds: 1 Put(key, value)  2 Delete(key)  3 SingleDelete(key)  4 DeleteRange(begin, end), the end being the value.

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

namespace penstock::broker {

// The store's fixed column families. The numbers are stored in commits: never reuse one.
enum class Family : uint8_t {
  kMeta = 0,     // applied, epoch, checkpoints, queues, types, sessions: few and small
  kBlocks = 1,   // blocks: Put once, SingleDelete once
  kDeltas = 2,   // one a commit, deleted in ranges after a checkpoint
  kTasks = 3,    // by task id: exceptions, attempts, log lines, payloads moved out of blocks
  kIndex = 4,    // timers, unique keys, request ids, dead sets, retention
  kHistory = 5,  // finished tasks, grouped by commit
};
inline constexpr int kFamilyCount = 6;

class CommitBatch {
 public:
  enum class Kind : uint8_t { kPut = 1, kDelete = 2, kSingleDelete = 3, kDeleteRange = 4 };
  struct Operation {
    Kind kind;
    Family family;
    std::string_view key;
    std::string_view value;  // Put: the value. DeleteRange: the end of the range, itself not deleted.
  };

  void Put(Family family, std::string_view key, std::string_view value) { Add(Kind::kPut, family, key, value); }
  void Delete(Family family, std::string_view key) { Add(Kind::kDelete, family, key, {}); }
  // Only for keys that are Put once: with more, an old value may come back (measured on RocksDB 7.8).
  void SingleDelete(Family family, std::string_view key) { Add(Kind::kSingleDelete, family, key, {}); }
  void DeleteRange(Family family, std::string_view begin, std::string_view end) {
    Add(Kind::kDeleteRange, family, begin, end);
  }

  bool empty() const { return operations_.empty(); }
  size_t bytes() const { return operations_.size(); }
  // The encoded operations, as a replicated log carries them.
  const std::string& operations() const { return operations_; }
  void Clear() { operations_.clear(); }

  // Calls `visit` for every operation in order. DataLoss if the encoding is broken, which only a log from elsewhere can
  // be.
  absl::Status ForEach(absl::FunctionRef<void(const Operation&)> visit) const;

 private:
  void Add(Kind kind, Family family, std::string_view key, std::string_view value);

  std::string operations_;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_STORAGE_COMMIT_BATCH_H_
