// Makes the golden data folders of this version: make_golden FOLDER, for instance tests/testdata/golden/v2. Each is a
// data folder as a broker leaves it, with what it holds as text beside it. They are made once, when a version is
// released, and never again: later versions have to open them (golden_test).
//
//   flushed   all in table files: the broker was stopped and started again
//   live      the same, and more in the write-ahead log: the broker was killed
//   torn      the same as live, killed by a power cut while it wrote a commit that nobody was promised

#include <filesystem>
#include <fstream>
#include <iostream>

#include "broker/core/schedule.h"
#include "broker/core/throttle.h"
#include "broker/storage/data_dir.h"
#include "broker/storage/records.h"
#include "broker/storage/rocksdb_store.h"
#include "fmt/format.h"
#include "penstock/v1/bulk_service.pb.h"
#include "tests/golden/golden_dump.h"
#include "tests/golden/stepped_broker.h"

namespace penstock::broker {
namespace {

constexpr Time kStart = 1'800'000'000 * kSecond;

v1::TaskSpec Spec(const std::string& queue, const std::string& type, const std::string& payload = "payload") {
  v1::TaskSpec spec;
  spec.set_queue(queue);
  spec.set_type(type);
  spec.set_payload(payload);
  spec.set_content_type("text/plain");
  (*spec.mutable_headers())["trace"] = "t1";
  spec.add_tags("golden");
  return spec;
}

void Settings(SteppedBroker& broker, QueueVerb verb, const std::string& queue, bool relaxed = false) {
  QueueCommand command;
  command.ticket = Ticket(3);
  command.verb = verb;
  command.queue = queue;
  if (relaxed) command.settings.relaxed = true;
  if (verb == QueueVerb::kCreate) command.settings.result_retention = kHour;
  broker.Do(command);
}

// Everything that can happen to a task, so that every state, record and index is there.
void LiveALittle(SteppedBroker& broker) {
  Settings(broker, QueueVerb::kCreate, "relaxed", true);
  Settings(broker, QueueVerb::kCreate, "paused");
  Settings(broker, QueueVerb::kPause, "paused");
  broker.Enqueue(Spec("paused", "work"));
  broker.Connect({"q", "relaxed", "draining"}, {"work"}, 0);

  // Plain lives: completed at once, with and without results.
  for (int i = 0; i < 5; ++i) {
    const TaskId task = broker.Enqueue(Spec(i % 2 ? "q" : "relaxed", "work", fmt::format("plain {}", i)));
    broker.Credit(1);
    broker.Start(task);
    broker.End(task, OutcomeKind::kCompleted, i == 0 ? "" : fmt::format("result {}", i));
  }
  // Completed at the second attempt, with log lines.
  const TaskId second = broker.Enqueue(Spec("q", "work", "second attempt"));
  broker.Credit(1);
  broker.Start(second);
  broker.Log(second, "a line");
  broker.End(second, OutcomeKind::kFailed, "try again");
  broker.Advance(2 * kSecond);
  broker.Credit(1);
  broker.End(second, OutcomeKind::kCompleted, "at last");
  // Dead: attempts used up, rejected, expired; and one that was given another chance.
  v1::TaskSpec once = Spec("q", "work", "once");
  once.mutable_retry_policy()->set_max_attempts(1);
  for (int i = 0; i < 2; ++i) {
    const TaskId dead = broker.Enqueue(once);
    broker.Credit(1);
    broker.End(dead, i == 0 ? OutcomeKind::kFailed : OutcomeKind::kRejected, "no use");
  }
  const TaskId redriven = broker.Enqueue(once);
  broker.Credit(1);
  broker.End(redriven, OutcomeKind::kFailed, "no use");
  broker.Do(RetryTaskCommand{Ticket(4), redriven});
  v1::TaskSpec expires = Spec("q", "nobody.handles.this", "too late");
  expires.mutable_expire_at()->set_seconds(broker.now().wall / kSecond + 5);
  broker.Enqueue(expires);
  broker.Advance(10 * kSecond);
  // Retryable, snoozed, given back, running (one started, one not, one asked to stop).
  const TaskId retryable = broker.Enqueue(Spec("q", "work", "retryable"));
  broker.Credit(2);  // and the redriven one
  broker.End(redriven, OutcomeKind::kReleased);
  broker.End(retryable, OutcomeKind::kFailed, "later");
  broker.Advance(kSecond);
  const TaskId snoozed = broker.Enqueue(Spec("relaxed", "work", "snoozed"));
  broker.Credit(4);
  for (const auto& [task, token] : std::map<TaskId, FencingToken>(broker.held())) {
    if (task == snoozed) broker.End(task, OutcomeKind::kSnoozed);
  }
  for (const char* what : {"running", "prefetched", "asked to stop"}) {
    const TaskId task = broker.Enqueue(Spec("q", "work", what));
    if (std::string(what) == "running") broker.Start(task);
    if (std::string(what) == "asked to stop") broker.Do(CancelTaskCommand{Ticket(5), task, "enough"});
  }
  // Waiting: available in many lanes, scheduled, cancelled, with unique keys.
  for (int i = 0; i < 40; ++i) {
    v1::TaskSpec spec = Spec("waiting", i % 3 ? "work" : "other", fmt::format("waits {}", i));
    spec.set_priority(i % 4);
    if (i % 5 == 0) spec.mutable_run_at()->set_seconds(broker.now().wall / kSecond + 3'600 * (1 + i % 2));
    if (i % 7 == 0) spec.mutable_unique_key()->set_key(fmt::format("key {}", i));
    if (i % 14 == 0) spec.mutable_unique_key()->mutable_window()->set_seconds(7'200);
    if (i % 11 == 0) spec.mutable_expire_at()->set_seconds(broker.now().wall / kSecond + 10'000);
    const TaskId task = broker.Enqueue(spec);
    if (i % 13 == 0) broker.Do(CancelTaskCommand{Ticket(5), task, "not needed"});
  }
  const TaskId duplicate = broker.Enqueue([] {
    v1::TaskSpec spec = Spec("waiting", "work", "duplicate");
    spec.mutable_unique_key()->set_key("key 7");
    return spec;
  }());
  (void)duplicate;  // the first one's id
  Settings(broker, QueueVerb::kDrain, "relaxed");
}

// FIFO keys: held by a task that runs, one that waits for its next attempt, and one that is dead; and groups.
void UseKeysAndGroups(SteppedBroker& broker) {
  QueueCommand keyed;
  keyed.ticket = Ticket(3);
  keyed.verb = QueueVerb::kCreate;
  keyed.queue = "keyed";
  keyed.settings.dead_blocks_key = true;
  keyed.settings.group_weights = std::map<std::string, double>{{"gold", 3.0}};
  broker.Do(keyed);
  broker.Connect({"keyed"}, {"work"}, 0);
  for (const char* key : {"runs", "fails", "dies"}) {
    std::vector<TaskId> tasks;
    for (int i = 0; i < 3; ++i) {
      v1::TaskSpec spec = Spec("keyed", i == 1 ? "other" : "work", fmt::format("{} {}", key, i));
      spec.set_key(key);
      spec.set_priority(i);
      tasks.push_back(broker.Enqueue(spec));
    }
    broker.Credit(1);
    if (std::string(key) == "fails") broker.End(tasks[0], OutcomeKind::kFailed, "again");
    if (std::string(key) == "dies") broker.End(tasks[0], OutcomeKind::kRejected, "never");
  }
  for (int i = 0; i < 6; ++i) {
    v1::TaskSpec spec = Spec("keyed", "work", fmt::format("of a group {}", i));
    spec.set_group(i % 2 ? "gold" : "silver");
    broker.Enqueue(spec);
  }
}

// One that has fired, one that is paused, one that has come to its end.
void MakeSchedules(SteppedBroker& broker) {
  for (const char* name : {"often", "paused", "ended"}) {
    auto change = std::make_shared<ScheduleChange>();
    ScheduleTimes times;
    if (std::string(name) == "paused") {
      times.cron = "30 4 * * *";
      change->paused = true;
    } else {
      times.interval = std::string(name) == "often" ? 10 * kHour : 10 * kSecond;
    }
    if (std::string(name) == "ended") times.end = broker.now().wall + 25 * kSecond;
    change->times = times;
    ScheduledTask task;
    task.queue = "scheduled";
    task.type = "work";
    task.spec = Spec("scheduled", "work", name).SerializeAsString();
    change->task = task;
    change->note = "a note";
    broker.Do(ScheduleCommand{Ticket(7), ScheduleVerb::kCreate, name, change});
  }
  broker.Do(ScheduleCommand{Ticket(7), ScheduleVerb::kRunNow, "often", nullptr});
  for (int i = 0; i < 3; ++i) broker.Advance(10 * kSecond);
}

void Put(SteppedBroker& broker, const std::string& id, v1::BulkJob job, const std::vector<TaskId>& pending) {
  job.set_job_id(id);
  job.mutable_create_time()->set_seconds(broker.now().wall / kSecond);
  records::BulkJobRecord record;
  record.set_job(job.SerializeAsString());
  for (const TaskId task : pending) record.add_pending_task_ids(task.value());
  record.set_at_end(true);
  broker.Do(PutBulkJobCommand{Ticket(9), id, record.SerializeAsString()});
}

// Throttles of each kind, made before what they count.
void MakeThrottles(SteppedBroker& broker) {
  const auto make = [&](const std::string& name, ThrottlePer per, uint32_t max_running, ThrottleRate rate) {
    auto change = std::make_shared<ThrottleChange>();
    change->queues = {"new"};
    change->per = per;
    change->max_running = max_running;
    change->rate = rate;
    change->note = "of " + name;
    broker.Do(ThrottleCommand{Ticket(8), ThrottleVerb::kCreate, name, change});
  };
  make("cap", ThrottlePer::kType, 50, {});
  make("groups", ThrottlePer::kGroup, 5, {30, kMinute, 10});
  make("keys", ThrottlePer::kKey, 0, {60, kHour, 5});
}

// Queues with limits, one of them full; cancelled tasks that are kept longer than others.
void MakeLimits(SteppedBroker& broker) {
  QueueCommand limited;
  limited.ticket = Ticket(3);
  limited.queue = "limited";
  limited.settings.max_waiting = 50;
  limited.settings.max_waiting_bytes = 100'000;
  limited.settings.cancelled_retention.emplace(12 * kHour);
  RetryPolicy linear;
  linear.max_attempts = 4;
  linear.initial_backoff = 10 * kSecond;
  linear.jitter = 0;
  linear.backoff = Backoff::kLinear;
  limited.settings.retry_policy = linear;
  broker.Do(limited);
  for (int i = 0; i < 4; ++i) {
    const TaskId task = broker.Enqueue(Spec("limited", "work", fmt::format("limited {}", i)));
    if (i == 0) broker.Do(CancelTaskCommand{Ticket(5), task, "kept for long"});
  }
  QueueCommand drops;
  drops.ticket = Ticket(3);
  drops.queue = "drops";
  drops.settings.max_waiting = 2;
  drops.settings.drop_oldest = true;
  broker.Do(drops);
  for (int i = 0; i < 4; ++i) broker.Enqueue(Spec("drops", "work", fmt::format("drops {}", i)));
}

// Checkpoints, cooling, and tasks that a completion brought.
void RunWithCheckpoints(SteppedBroker& broker) {
  broker.Connect({"new"}, {"work"}, 0, {{"gpu", "yes"}});
  const auto run = [&](const v1::TaskSpec& spec) {
    const TaskId task = broker.Enqueue(spec);
    broker.Credit(1);
    broker.Start(task);
    return task;
  };
  TaskOutcome fails;
  fails.task = run(Spec("new", "work", "goes on where it was"));
  broker.Save(fails.task, "row 7");
  fails.kind = OutcomeKind::kFailed;
  fails.error = {"Error", "too much at once", "a stack"};
  fails.delay = kHour;
  broker.End(fails);
  broker.Save(run(Spec("new", "work", "runs with a checkpoint")), "row 9");
  v1::TaskSpec noisy = Spec("new", "work", "of a group that is left alone");
  noisy.set_group("noisy");
  fails.task = run(noisy);
  fails.delay = 30 * kMinute;
  fails.cool = CoolScope::kGroup;
  broker.End(fails);
  broker.Enqueue(noisy);  // and waits for that
  TaskOutcome brings;
  brings.task = run(Spec("new", "work", "brings others"));
  const std::string brought = Spec("new", "other", "brought").SerializeAsString();
  NewTask task;
  task.queue = "new";
  task.type = "other";
  task.spec = brought;
  brings.enqueue = std::make_shared<const std::vector<NewTask>>(2, task);
  broker.End(brings);
}

// What waits with what only format 2 can say of it.
void WaitWithConditions(SteppedBroker& broker) {
  v1::TaskSpec spec = Spec("new", "work", "until it is handed out");
  spec.mutable_unique_key()->set_key("waiting");
  spec.mutable_unique_key()->set_scope(v1::UNIQUE_SCOPE_WAITING);
  broker.Enqueue(spec);
  for (const auto conflict : {v1::UNIQUE_CONFLICT_REPLACE, v1::UNIQUE_CONFLICT_DEBOUNCE}) {
    for (const char* which : {"first", "second"}) {
      spec = Spec("new", "work", fmt::format("{} of {}", which, v1::UniqueConflict_Name(conflict)));
      spec.mutable_unique_key()->set_key(v1::UniqueConflict_Name(conflict));
      spec.mutable_unique_key()->set_conflict(conflict);
      spec.mutable_delay()->set_seconds(std::string(which) == "first" ? 600 : 1'200);
      broker.Enqueue(spec);
    }
  }
  spec = Spec("new", "work", "for a worker with labels");
  (*spec.mutable_worker_labels())["gpu"] = "yes";
  (*spec.mutable_worker_labels())["zone"] = "eu";
  broker.Enqueue(spec);
  spec = Spec("new", "work", "with limits of its life");
  spec.mutable_start_within()->set_seconds(36'000);
  spec.mutable_life_timeout()->set_seconds(72'000);
  spec.set_cost(3);
  spec.mutable_retry_policy()->set_backoff(v1::BACKOFF_FIXED);
  spec.mutable_retry_policy()->mutable_initial_backoff()->set_seconds(7);
  broker.Enqueue(spec);
  spec.mutable_delay()->set_seconds(900);
  broker.Enqueue(spec);
  spec = Spec("new", "work", "of a FIFO key");
  spec.set_key("customer 7");
  for (int i = 0; i < 3; ++i) broker.Enqueue(spec);
  // Changed: one where it is, one to another queue, one of a FIFO key; and one deleted.
  const TaskId changed = broker.Enqueue(Spec("new", "work", "before"));
  spec = Spec("new", "work", "after");
  spec.set_priority(9);
  broker.Update(changed, spec);
  broker.Update(broker.Enqueue(Spec("new", "work", "moves")), Spec("limited", "work", "moved"));
  spec = Spec("new", "work", "of a FIFO key, before");
  spec.set_key("customer 8");
  const TaskId keyed = broker.Enqueue(spec);
  spec.set_payload("of a FIFO key, after");
  broker.Update(keyed, spec);
  broker.Do(DeleteTaskCommand{Ticket(5), broker.Enqueue(Spec("new", "work", "deleted"))});
  auto change = std::make_shared<ScheduleChange>();
  change->times.emplace().cron = "0 0 1 1 *";
  change->start_within = kHour;
  change->catch_up = CatchUp::kNone;
  change->overlap = Overlap::kSkip;
  spec = Spec("new", "work", "of a schedule");
  (*spec.mutable_worker_labels())["gpu"] = "yes";
  ScheduledTask& task = change->task.emplace();
  task.queue = "new";
  task.type = "work";
  task.labels = LabelText({{"gpu", "yes"}});
  task.life_timeout = kHour;
  task.retry_change.backoff = Backoff::kLinear;
  task.spec = spec.SerializeAsString();
  broker.Do(ScheduleCommand{Ticket(7), ScheduleVerb::kCreate, "yearly", change});
}

void MakeBulkJobs(SteppedBroker& broker) {
  v1::BulkJob job;
  job.mutable_spec()->set_action(v1::BULK_ACTION_CANCEL);
  job.mutable_spec()->mutable_filter()->set_queue("limited");
  job.mutable_spec()->set_dry_run(true);
  job.set_state(v1::BULK_JOB_STATE_DONE);
  job.mutable_end_time()->set_seconds(broker.now().wall / kSecond);
  job.set_seen(3);
  job.set_matched(3);
  Put(broker, "done", job, {});
  job.mutable_spec()->set_dry_run(false);
  job.set_state(v1::BULK_JOB_STATE_RUNNING);
  job.clear_end_time();
  Put(broker, "running", job, {broker.Enqueue(Spec("limited", "work", "about to be cancelled"))});
}

// A lane so long that pieces of it are stored away; and one that was purged.
void MakeLongLane(SteppedBroker& broker) {
  for (int i = 0; i < 600; ++i) broker.Enqueue(Spec("long", "work", fmt::format("{}", i)));
  for (int i = 0; i < 20; ++i) broker.Enqueue(Spec("purged", "work", "gone"));
  Settings(broker, QueueVerb::kPurge, "purged");
}

// Blocks of which most is finished are rewritten after a minute.
void CompactABlock(SteppedBroker& broker) {
  EnqueueCommand enqueue;
  enqueue.ticket = Ticket(6);
  std::vector<std::string> specs(30, Spec("q", "bulk", std::string(400, 'b')).SerializeAsString());
  for (const std::string& spec : specs) {
    NewTask task;
    task.queue = "q";
    task.type = "bulk";
    task.spec = spec;
    enqueue.tasks.push_back(task);
  }
  broker.Do(enqueue);
  broker.Connect({"q", "relaxed", "draining"}, {"bulk"}, 25);
  for (const auto& [task, token] : std::map<TaskId, FencingToken>(broker.held())) {
    broker.End(task, OutcomeKind::kCompleted, "done");
  }
  for (int i = 0; i < 70; ++i) broker.Advance(2 * kSecond);
}

void CopyFolder(const std::string& from, const std::string& to) {
  std::filesystem::create_directories(to + "/db");
  std::filesystem::copy(from + "/FORMAT", to + "/FORMAT");
  for (const auto& entry : std::filesystem::directory_iterator(from + "/db")) {
    const std::string name = entry.path().filename().string();
    // What RocksDB makes anew at every start, and does not read.
    if (!entry.is_regular_file() || name.starts_with("LOG") || name.starts_with("OPTIONS") || name == "LOCK") continue;
    std::filesystem::copy(entry.path(), std::filesystem::path(to) / "db" / name);
  }
}

std::unique_ptr<Store> Open(const std::string& path) {
  RocksDbStoreOptions options;
  options.path = path + "/db";
  auto store = OpenRocksDbStore(options, nullptr);
  if (!store.ok()) {
    std::cerr << store.status() << "\n";
    std::abort();
  }
  return *std::move(store);
}

void WriteDump(const std::string& path) {
  const auto dump = DumpDataDir(path);
  if (!dump.ok()) {
    std::cerr << path << ": " << dump.status() << "\n";
    std::abort();
  }
  std::ofstream(path + ".txt") << *dump;
}

void Make(const std::string& to) {
  const std::string work = to + "/work.tmp";
  std::filesystem::create_directories(to);
  const auto folder = DataDir::Open(work).value();
  auto store = Open(work);
  SteppedBroker first(SteppedBroker::Options(), store.get(), kStart);
  LiveALittle(first);
  MakeLongLane(first);
  CompactABlock(first);
  MakeThrottles(first);
  MakeLimits(first);
  RunWithCheckpoints(first);
  WaitWithConditions(first);
  MakeBulkJobs(first);
  UseKeysAndGroups(first);
  MakeSchedules(first);
  store.reset();
  store = Open(work);
  const Time later = first.now().wall;
  CopyFolder(work, to + "/flushed");
  SteppedBroker second(SteppedBroker::Options(), store.get(), later);
  second.Enqueue(Spec("q", "work", "after the start"));
  for (int i = 0; i < 10; ++i) second.Enqueue(Spec("long", "work", fmt::format("more {}", i)));
  second.Advance(kSecond);
  CopyFolder(work, to + "/live");
  // The commit after it never came to be synced, and only the beginning of it was written.
  second.set_sync(false);
  second.Enqueue(Spec("q", "work", "never acknowledged " + std::string(500, 'x')));
  CopyFolder(work, to + "/torn");
  std::string log;
  for (const auto& entry : std::filesystem::directory_iterator(to + "/torn/db")) {
    if (entry.path().extension() == ".log") log = std::max(log, entry.path().string());
  }
  std::filesystem::resize_file(log, std::filesystem::file_size(log) - 300);
  std::ofstream(log, std::ios::app | std::ios::binary) << std::string(100, '\0');
  store.reset();
  for (const char* name : {"flushed", "live", "torn"}) WriteDump(to + "/" + name);
}

}  // namespace
}  // namespace penstock::broker

int main(int argc, char** argv) {
  if (argc != 2 || std::filesystem::exists(argv[1])) {
    std::cerr << "call it with a folder that does not exist, for instance tests/testdata/golden/v2\n";
    return 2;
  }
  penstock::broker::Make(argv[1]);
  std::filesystem::remove_all(std::string(argv[1]) + "/work.tmp");
  return 0;
}
