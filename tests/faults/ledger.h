#ifndef PENSTOCK_TESTS_FAULTS_LEDGER_H_
#define PENSTOCK_TESTS_FAULTS_LEDGER_H_

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "broker/core/core_types.h"
#include "broker/core/options.h"
#include "broker/storage/store.h"
#include "penstock/v1/task.pb.h"

namespace penstock::broker {

// What may have become of a task; several when nobody can know.
enum Fate : uint8_t {
  kAbsent = 1,      // never stored, purged or forgotten
  kUnfinished = 2,  // scheduled, available, running, retryable
  kCompleted = 4,
  kCancelled = 8,
  kDead = 16,
};
using Fates = uint8_t;
std::string DescribeFates(Fates fates);

// One task that a client tried to enqueue. `serial` names it in the test and stands in its payload.
struct KnownTask {
  uint64_t serial = 0;
  uint64_t request = 0;  // tasks of one call, all or none
  std::string queue;
  std::string unique_key;
  std::string spec;      // serialized TaskSpec
  bool relaxed = false;  // its queue's durability
  bool forgets = false;  // its queue forgets finished tasks soon
  TaskId id;             // empty: not known
  Fates fates = kAbsent;
  bool answered = false;  // something was told of it, or it was looked at since
  bool cancel_asked = false;
  bool may_be_leased = false;  // to somebody, as far as can be known

  // What it could have been before answers that a power cut may undo, and how many syncs there had been then.
  struct Undo {
    Fates fates;
    uint64_t syncs;
  };
  std::vector<Undo> undo;
  std::string story;  // for the report of a failure
};

// What clients sent and what they were told, so: what the store of a broker that keeps its promises may hold. The judge
// of the fault tests. Single-threaded.
class Ledger {
 public:
  KnownTask& Add(KnownTask task);
  KnownTask* Find(uint64_t serial);
  KnownTask* Find(TaskId id);

  // Something was sent that may lead there.
  void May(KnownTask& task, Fates more, std::string_view why);
  // A client was told so, after `syncs` syncs of the store.
  void Told(KnownTask& task, Fates exactly, uint64_t syncs, std::string_view why);
  // Whether the task had this id before, though it may be gone since.
  bool Had(const KnownTask& task, TaskId id) const;
  // The client was told the task's id. Returns what is wrong with that.
  std::string ToldId(KnownTask& task, TaskId id);

  // What may have become of it by now, also without anybody's doing: its worker was lost, with its last attempt, or
  // after a cancel.
  static Fates Allowed(const KnownTask& task);
  // A client looked and this is what it is.
  void Found(KnownTask& task, Fates found);
  static std::string Describe(const KnownTask& task);

  // The power failed after this many syncs: what was said of relaxed queues since the last may be undone.
  void PowerCut(uint64_t syncs);

  // Compares a store, opened anew, with what is possible; from then on what was found is known. Empty, or what is
  // wrong, a line each. `result` gives the result that a task was completed with.
  std::string Check(const CoreOptions& options, const Store& store, Time now);

  std::map<uint64_t, KnownTask>& tasks() { return tasks_; }
  // Answers about relaxed queues that were undone by power cuts so far.
  uint64_t undone() const { return undone_; }

  static Fates FateOf(v1::TaskState state);
  static std::string ResultOf(uint64_t serial) { return "result of " + std::to_string(serial); }
  static std::string Payload(uint64_t serial, std::string_view filler);
  // 0: not one of ours.
  static uint64_t SerialOf(std::string_view spec);

 private:
  std::string FindStored(const StoreReader& store);
  std::string CheckAllOrNone();

  std::map<uint64_t, KnownTask> tasks_;
  std::map<TaskId, uint64_t> serial_of_;
  std::set<uint64_t> stored_;  // serials that the last Check found in blocks
  uint64_t undone_ = 0;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_TESTS_FAULTS_LEDGER_H_
