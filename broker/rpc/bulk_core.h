#ifndef PENSTOCK_BROKER_RPC_BULK_CORE_H_
#define PENSTOCK_BROKER_RPC_BULK_CORE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "broker/core/command.h"
#include "broker/core/effects.h"
#include "broker/rpc/bulk_job.h"
#include "broker/rpc/convert_bulk.h"
#include "broker/rpc/task_walk.h"
#include "broker/storage/store.h"
#include "common/clock.h"
#include "penstock/v1/bulk_service.pb.h"

namespace penstock::broker {

struct BulkEffects;

// What a job's pending tasks are looked at for, when it is back after a restart.
struct BulkInquiry {
  v1::BulkJobSpec spec;
  std::shared_ptr<const TaskFilter> filter;
  std::vector<std::optional<TaskSnapshot>> snapshots;  // as the core answered; none: it has not yet
  size_t left = 0;                                     // answers that are to come
  absl::Status failure;
};
// What has become of each, once all were answered. `reader`: null: no engine runs.
absl::StatusOr<std::vector<BulkFate>> ReadFates(const BulkInquiry& inquiry, TaskReader* reader);

// What a BulkCore wants done. `heard` is to be called once with what came of it, as any function of the core. True:
// Step has something to do now.

// A command to be posted; its reply, or why it was not taken.
struct BulkPost {
  Command command;
  size_t bytes = 0;
  std::function<bool(const Now&, Reply, BulkEffects*)> heard;
};
// A page to be looked for (task_walk.h).
struct BulkLook {
  std::shared_ptr<const TaskFilter> filter;
  PageToken from;
  uint32_t page_size = 0;
  std::function<bool(absl::StatusOr<TaskPage>)> heard;
};
// Tasks to be looked at (ReadFates), where reading may take a while.
struct BulkCheck {
  std::shared_ptr<const BulkInquiry> inquiry;
  std::function<bool(absl::StatusOr<std::vector<BulkFate>>)> heard;
};
// Whoever asked is to be answered.
struct BulkAnswer {
  enum class News : uint8_t { kNone, kStarted, kEnded };  // for the log
  std::vector<BulkJob::Done> waiting;
  absl::StatusOr<v1::BulkJob> answer;
  News news = News::kNone;
};

struct BulkEffects {
  std::vector<BulkPost> posts;
  std::vector<BulkLook> looks;
  std::vector<BulkCheck> checks;
  std::vector<BulkAnswer> answers;
  std::function<bool()> await_room;  // is to be called as soon as the mailbox has room, if there is one

  bool empty() const {
    return posts.empty() && looks.empty() && checks.empty() && answers.empty() && await_room == nullptr;
  }
};

// All that bulk jobs are and do, without threads, clocks, locks and waiting: it is told the time, takes what callers
// ask and what came of its effects, and says what is to be done next. bulk_jobs.h runs it in a broker, the simulation
// in virtual time.
//
// A job's record is stored before each page of changes; so jobs go on after a restart, and after an engine that was
// started anew. What `heard` of an effect is called with when its engine is gone already does no harm, as long as the
// core is there.
class BulkCore {
 public:
  struct Options {
    size_t running_max = 16;  // limits.bulk_jobs
    bool runs = true;         // false: shows the jobs of a broker that is not running (a paused fork)
  };
  using Done = BulkJob::Done;
  using Job = std::shared_ptr<BulkJob>;
  using Jobs = std::map<std::string, Job>;  // by id, which begins with when it began

  // What metrics tell, since the broker started.
  struct Figures {
    uint64_t running = 0;  // now
    // Jobs that ended.
    uint64_t done = 0;
    uint64_t stopped = 0;
    uint64_t failed = 0;
    struct Tasks {
      uint64_t changed = 0;
      uint64_t skipped = 0;  // could not be: they had begun to run, or were finished, meanwhile
    };
    std::map<v1::BulkAction, Tasks> tasks;  // of every action that a job had
  };

  explicit BulkCore(const Options& options) : options_(options) {}
  BulkCore(const BulkCore&) = delete;
  BulkCore& operator=(const BulkCore&) = delete;

  Figures figures() const;
  bool runs() const { return options_.runs; }

  // --- what callers ask; `done` is called by an answer ---
  void Start(const Now& now, BulkOrder order, Done done, BulkEffects* effects);
  absl::StatusOr<v1::BulkJob> Get(const std::string& id) const;
  absl::StatusOr<std::vector<v1::BulkJob>> List() const;
  void End(const std::string& id, Done done, BulkEffects* effects);

  // --- the engine comes and goes ---
  // The jobs whose records a store has. Touches nothing of any core.
  static Jobs ReadJobs(const StoreReader& store, uint8_t partition, const ApiLimits& limits);
  void Enter(const Now& now, Jobs jobs);
  void Leave(BulkEffects* effects);

  // --- what is to be done ---
  // Takes the next steps of all jobs. Returns how long it is until there may be more, unless there is news before.
  absl::Duration Step(const Now& now, BulkEffects* effects);

  // The broker stops: what is under way ends, what is left to do is stored.
  void BeginStop() { stopping_ = true; }
  bool stopping() const { return stopping_; }
  // Nothing is under way that would come back.
  bool idle() const;

 private:
  absl::Duration Advance(const Now& now, const Job& job, BulkEffects* effects);
  absl::Duration Change(const Now& now, const Job& job, BulkEffects* effects);
  void Forget(const Now& now, BulkEffects* effects);
  void BeginEnd(const Now& now, const Job& job, v1::BulkJobState state, BulkEffects* effects);
  // What comes of an error that is nobody's fault: the job waits. False: it is another error.
  static bool Waits(const Job& job, const absl::Status& status);
  size_t running() const;
  void Count(const v1::BulkJobSpec& spec, uint64_t changed, uint64_t skipped);
  absl::StatusOr<Job> Find(const std::string& id) const;

  static void Answer(std::vector<Done> waiting, absl::StatusOr<v1::BulkJob> answer, BulkEffects* effects,
                     BulkAnswer::News news = BulkAnswer::News::kNone) {
    effects->answers.push_back({std::move(waiting), std::move(answer), news});
  }
  // Stores `record`.
  static void Put(const std::string& id, std::string record,
                  std::function<bool(const Now&, const absl::Status&, BulkEffects*)> heard, BulkEffects* effects);
  void Keep(const Now& now, const Job& job, BulkEffects* effects);
  void Inquire(const Job& job, BulkEffects* effects);
  static Command CommandFor(const v1::BulkJobSpec& spec, TaskId task);

  void OnStarted(const Now& now, const Job& job, const absl::Status& status, BulkEffects* effects);
  void OnPage(const Job& job, absl::StatusOr<TaskPage> page);
  void OnKept(const Job& job, const absl::Status& status);
  void OnEnded(const Job& job, const absl::Status& status, BulkEffects* effects);
  bool OnChanged(const Job& job, TaskId task, const absl::Status& status);
  void OnSnapshot(const Job& job, const std::shared_ptr<BulkInquiry>& inquiry, size_t index, Reply reply,
                  BulkEffects* effects);
  void Check(const Job& job, BulkEffects* effects);
  void OnFates(const Job& job, const absl::StatusOr<std::vector<BulkFate>>& fates);
  void OnRoom();
  void GiveUpCheck(const Job& job, const absl::Status& status);

  const Options options_;
  Jobs jobs_;
  Figures figures_;        // `running` apart
  bool here_ = false;      // an engine runs
  bool stopping_ = false;  // for good
  bool room_asked_ = false;
  absl::Duration forget_next_ = -absl::InfiniteDuration();
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_BULK_CORE_H_
