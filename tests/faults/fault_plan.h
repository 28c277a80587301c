#ifndef PENSTOCK_TESTS_FAULTS_FAULT_PLAN_H_
#define PENSTOCK_TESTS_FAULTS_FAULT_PLAN_H_

// What a test and the shim in its victim (fault_shim.cc) share: a file that both have mapped into memory.

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace penstock::testing {

// Which calls count.
enum CallClass : uint32_t {
  kChanges = 1,  // open for writing, write, sync, rename, unlink, truncate, mkdir, link, allocate
  kReads = 2,    // open for reading, read, stat, access, opendir
  kDiary = 4,    // RocksDB's own LOG files, whatever the call
};

enum class FaultKind : uint32_t {
  kKill,     // the process dies instead of making the call
  kTorn,     // of a write half is done, then the process dies; other calls as kKill
  kError,    // the call fails with `error`
  kShort,    // a write writes half of what it should; other calls are left alone
  kSwallow,  // the call is not made and reports success: what a program would do that passes over an error
};

// A file that the victim has opened for writing: how much of it is on disk for certain.
struct TrackedFile {
  char name[120];  // below the folder; empty: a free place
  uint64_t synced;
};

struct FaultPlan {
  static constexpr size_t kFilesMax = 1024;

  std::atomic<uint32_t> classes;
  std::atomic<FaultKind> kind;
  std::atomic<int32_t> error;
  // Calls first to last meet the fault, counted from 1; 0: none.
  std::atomic<uint64_t> first;
  std::atomic<uint64_t> last;
  // Only calls count whose text, as in `hit`, has this in it; empty: all do.
  char only[64];
  // Syncs say OK and do nothing, like a broker that forgets to sync.
  std::atomic<bool> syncs_lie;

  std::atomic<uint64_t> calls;  // so far
  std::atomic<uint64_t> hits;   // that met the fault
  char hit[256];                // the first of them, as text

  // What a power cut would leave. Of the shim; the test reads it when the victim has ended.
  TrackedFile files[kFilesMax];
};
static_assert(std::atomic<uint64_t>::is_always_lock_free);

// Where the shim finds it: environment variables.
inline constexpr const char* kFaultPlanVariable = "PENSTOCK_FAULT_PLAN";      // path of the mapped file
inline constexpr const char* kFaultFolderVariable = "PENSTOCK_FAULT_FOLDER";  // only calls on files below it count

}  // namespace penstock::testing

#endif  // PENSTOCK_TESTS_FAULTS_FAULT_PLAN_H_
