#include "broker/server.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <utility>
#include <vector>

#include "broker/backup_keeper.h"
#include "broker/engine/engine.h"
#include "broker/engine_slot.h"
#include "broker/http/broker_metrics.h"
#include "broker/http/http_server.h"
#include "broker/http/process_usage.h"
#include "broker/listen_address.h"
#include "broker/rpc/rpc_edge.h"
#include "broker/scrubber.h"
#include "broker/self_probe.h"
#include "broker/storage/applied.h"
#include "broker/storage/ballast.h"
#include "broker/storage/data_dir.h"
#include "broker/storage/read_only_store.h"
#include "broker/storage/rocksdb_store.h"
#include "broker/storage/storage_files.h"
#include "common/logging.h"
#include "common/service_manager.h"
#include "common/status.h"
#include "common/status_details.h"
#include "common/units.h"
#include "common/version.h"
#include "fmt/format.h"

namespace penstock::broker {
namespace {

// How often disk space, storage and rates are looked at.
constexpr absl::Duration kHousekeeping = absl::Seconds(1);
// An engine that ran for so long before it failed is started again soon; others after growing pauses.
constexpr absl::Duration kStable = absl::Seconds(30);
constexpr absl::Duration kPauseMax = absl::Seconds(5);
// The files that the broker opens beside its gRPC connections: the store's, and 128 for HTTP, logs, backups and scrubs.
const size_t kOtherFiles = static_cast<size_t>(RocksDbStoreOptions().open_files) + 128;
// How often the broker asks itself whether it answers.
constexpr absl::Duration kProbeInterval = absl::Seconds(10);
// How long a scrape waits for the core's status.
constexpr absl::Duration kStatusWait = absl::Seconds(2);

Backoff ToBackoff(RetryBackoff backoff) {
  switch (backoff) {
    case RetryBackoff::kExponential:
      return Backoff::kExponential;
    case RetryBackoff::kLinear:
      return Backoff::kLinear;
    case RetryBackoff::kFixed:
      return Backoff::kFixed;
  }
  std::abort();
}

RetryPolicy DefaultPolicy(const BrokerOptions& options) {
  RetryPolicy policy;
  policy.max_attempts = options.retry.max_attempts;
  policy.initial_backoff = ToMicros(options.retry.initial_backoff);
  policy.multiplier = options.retry.multiplier;
  policy.max_backoff = ToMicros(options.retry.max_backoff);
  policy.jitter = options.retry.jitter;
  policy.backoff = ToBackoff(options.retry.backoff);
  return policy;
}

QueueSettings QueueDefaults(const BrokerOptions& options) {
  QueueSettings settings;
  settings.retry_policy = DefaultPolicy(options);
  settings.result_retention = ToMicros(options.retention.completed);
  settings.dead_retention = ToMicros(options.retention.dead);
  settings.run_timeout = ToMicros(options.run_timeout);
  return settings;
}

EngineOptions MakeEngineOptions(const BrokerOptions& options) {
  EngineOptions engine;
  engine.mailbox.bytes = options.limits.mailbox;
  engine.mailbox.commands = options.limits.mailbox_commands;
  engine.mailbox.wait = options.limits.mailbox_wait;
  CoreOptions& core = engine.core;
  core.lease = ToMicros(options.sessions.lease_default);
  core.session_grace = ToMicros(options.sessions.grace);
  core.reclaim_window = ToMicros(options.sessions.reclaim_window);
  core.queue_defaults = QueueDefaults(options);
  core.max_queues = options.limits.queues;
  core.max_types = options.limits.types;
  core.max_schedules = options.limits.schedules;
  core.max_schedule_bytes = options.limits.schedule_bytes;
  core.max_throttles = options.limits.throttles;
  core.max_sessions = options.limits.sessions;
  core.max_tasks_per_worker = options.limits.tasks_per_worker;
  core.max_watchers = options.limits.watchers;
  core.max_log_bytes_per_task = options.limits.log_bytes_per_task;
  return engine;
}

RpcEdge::Options MakeRpcOptions(const BrokerOptions& options) {
  RpcEdge::Options rpc;
  rpc.server.address = options.grpc.address;
  if (options.UsesTls()) {
    rpc.server.tls = TlsOptions{options.tls.cert, options.tls.key, options.tls.client_ca};
  }
  rpc.server.reflection = options.ServesReflection();
  rpc.server.receive_message_bytes_max = options.limits.message;
  rpc.server.connections_max = ConnectionsThatFit(options.limits.connections, kOtherFiles);
  rpc.server.connections_per_address_max = options.limits.connections_per_address;
  // Half of what the broker may use: the rest is the mailbox's, the store's and the core's.
  rpc.server.buffer_bytes_max = options.limits.memory / 2;
  rpc.limits.queue_defaults = QueueDefaults(options);
  rpc.limits.held_back = options.limits.mailbox;
  rpc.limits.payload = options.limits.payload;
  rpc.limits.result = options.limits.result;
  rpc.limits.headers = options.limits.headers;
  rpc.limits.error_text = options.limits.error_text;
  rpc.limits.log_line = options.limits.log_line;
  rpc.limits.checkpoint = options.limits.checkpoint;
  rpc.limits.tasks_per_call = options.limits.tasks_per_call;
  rpc.limits.concurrency = options.limits.tasks_per_worker;
  rpc.limits.subscription_events = options.limits.subscription_events;
  rpc.limits.name = options.limits.name;
  rpc.limits.key = options.limits.key;
  rpc.reads_waiting = options.limits.reads;
  rpc.bulk.running_max = options.limits.bulk_jobs;
  rpc.limits.lease_max = ToMicros(options.sessions.lease_max);
  rpc.limit_infos = ListLimits(options);
  rpc.version = kVersion;
  return rpc;
}

BackupKeeperOptions MakeBackupOptions(const BrokerOptions& options, const DataDir& data_dir) {
  BackupKeeperOptions backup;
  backup.dir = options.backup.dir;
  backup.bytes_per_second = options.backup.rate;
  backup.copy_logs = options.backup.keep_logs > absl::ZeroDuration();
  backup.db_path = data_dir.db_path();
  backup.instance = data_dir.instance();
  return backup;
}

// One probe that fails must not be the last before the service manager loses its patience.
absl::Duration ProbeInterval() { return std::min(kProbeInterval, WatchdogPause() / 3); }

HistogramMetrics ToHistogram(const TimeCounts& times) {
  HistogramMetrics histogram;
  for (Span bound : kTimeBounds) histogram.upper_bounds.push_back(static_cast<double>(bound) / 1e6);
  histogram.counts.assign(times.counts.begin(), times.counts.end());
  histogram.sum = static_cast<double>(times.sum) / 1e6;
  return histogram;
}

BackupMetrics ToMetrics(const BackupFigures& figures) {
  BackupMetrics metrics;
  if (figures.last_success != absl::InfinitePast()) {
    metrics.age_seconds = std::max(0.0, absl::ToDoubleSeconds(absl::Now() - figures.last_success));
  }
  metrics.bytes = figures.last_bytes;
  metrics.duration_seconds = absl::ToDoubleSeconds(figures.last_duration);
  metrics.succeeded = figures.succeeded;
  metrics.failed = figures.failed;
  metrics.last_failed = !figures.last_error.empty();
  metrics.running = figures.running;
  return metrics;
}

BulkMetrics ToMetrics(const BulkJobs::Figures& figures) {
  BulkMetrics metrics;
  metrics.running = figures.running;
  metrics.ended = {{"done", figures.done}, {"stopped", figures.stopped}, {"failed", figures.failed}};
  // All that there may be, so that a first one is a change from 0.
  for (const auto& [action, word] :
       {std::pair(v1::BULK_ACTION_CANCEL, "cancel"), std::pair(v1::BULK_ACTION_RETRY, "retry"),
        std::pair(v1::BULK_ACTION_DELETE, "delete")}) {
    const auto found = figures.tasks.find(action);
    const BulkJobs::Figures::Tasks tasks = found == figures.tasks.end() ? BulkJobs::Figures::Tasks() : found->second;
    metrics.tasks[{word, "changed"}] = tasks.changed;
    metrics.tasks[{word, "skipped"}] = tasks.skipped;
  }
  return metrics;
}

ScrubMetrics ToMetrics(const ScrubFigures& figures) {
  ScrubMetrics metrics;
  if (figures.scrubs > 0) {
    metrics.age_seconds = std::max(0.0, absl::ToDoubleSeconds(absl::Now() - figures.last_end));
  }
  metrics.duration_seconds = absl::ToDoubleSeconds(figures.last_duration);
  metrics.bytes = figures.last_bytes;
  metrics.damaged_files = figures.damage.size();
  metrics.scrubs = figures.scrubs;
  metrics.running = figures.running;
  return metrics;
}

// Every file that cannot be read, each in words; of many the first ones.
std::string DamageProblem(const std::vector<std::string>& damage) {
  constexpr size_t kNamed = 3;
  std::string files;
  for (size_t i = 0; i < std::min(damage.size(), kNamed); ++i) files += (i == 0 ? "" : "; ") + damage[i];
  if (damage.size() > kNamed) files += fmt::format("; and {} more, see the broker's log", damage.size() - kNamed);
  return fmt::format(
      "stored files are damaged: {}. Keep a copy of the data folder, then restore a backup, or save what can be read: "
      "penstock-broker --repair",
      files);
}

}  // namespace

struct Server::Parts : public BrokerFacts, public HealthSource {
  explicit Parts(const BrokerOptions& broker_options) : options(broker_options) {}

  absl::Status OpenStore();
  absl::Status OpenDatabase();
  absl::Status OpenPausedFork();
  absl::Status StartEngine();
  // Makes room on a full disk from the reserve. False: there is none.
  bool MakeRoom() { return ballast != nullptr && ballast->Release(); }
  // What the housekeeper starts after a full disk: the database anew, then an engine.
  absl::Status StartAgain();
  absl::Status Start();
  void Stop();
  void Housekeep();
  void LookAtDisk();
  // Why enqueues are refused for want of space, or OK; `health`: the store's.
  absl::Status JudgeDisk(const Store::Health& health, DiskSpace* space);
  // Takes the engine that has failed out of service, and closes its store.
  void LeaveEngine(std::shared_ptr<Engine> engine, const absl::Status& failure);
  // What grpc.health.v1 says.
  void TellHealth();
  void OnEngineFailure(const absl::Status& status);
  MetricsSnapshot ReadMetrics() const;

  BrokerFigures Read() const override;
  Health GetHealth() const override;

  const BrokerOptions options;
  Clock* clock = &SystemClock();
  Store* store = nullptr;
  absl::Time start_time;
  // Of a paused fork: its clock, which stands still, and what it answers to whoever wants to change something.
  std::unique_ptr<ManualClock> own_clock;
  absl::Status paused;

  std::unique_ptr<DataDir> data_dir;  // null on a store of the caller's
  std::unique_ptr<Ballast> ballast;   // null without a data folder of its own; of the housekeeper once that runs
  std::unique_ptr<Store> own_store;
  TicketTable tickets;
  EngineSlot slot;
  std::unique_ptr<BackupKeeper> backups;  // null: this broker makes none
  std::unique_ptr<Scrubber> scrubber;     // null: there are no files of its own
  std::unique_ptr<RpcEdge> rpc;
  std::shared_ptr<BrokerMetrics> metrics;
  std::unique_ptr<HttpServer> http;
  std::unique_ptr<SelfProbe> probe;  // null: this is not a process of its own
  std::thread housekeeper;

  mutable Mutex mu;
  CondVar changed;
  bool stop_requested ABSL_GUARDED_BY(mu) = false;
  bool stopping ABSL_GUARDED_BY(mu) = false;
  absl::Status engine_failure ABSL_GUARDED_BY(mu);  // to be handled by the housekeeper
  absl::Status fatal ABSL_GUARDED_BY(mu);
  DiskSpace disk ABSL_GUARDED_BY(mu);
  uint64_t ballast_bytes ABSL_GUARDED_BY(mu) = 0;
  Store::Health storage ABSL_GUARDED_BY(mu);
  absl::Status enqueues_refused ABSL_GUARDED_BY(mu);
  bool stopped = false;
};

absl::Status Server::Parts::OpenStore() {
  auto folder = DataDir::Open(options.data_dir);
  if (absl::IsUnavailable(folder.status())) {
    // The folder cannot be made or written there: for a person to mend, and no address that is taken.
    return absl::FailedPreconditionError(folder.status().message());
  }
  ASSIGN_OR_RETURN(data_dir, std::move(folder));
  ballast = std::make_unique<Ballast>(data_dir->path(), options.DiskBallast());
  const absl::Status opened = OpenDatabase();
  // What an earlier broker has kept may be enough for this one to finish tasks.
  return absl::IsResourceExhausted(opened) && MakeRoom() ? OpenDatabase() : opened;
}

absl::Status Server::Parts::OpenDatabase() {
  RocksDbStoreOptions store_options;
  store_options.path = data_dir->db_path();
  store_options.block_cache_bytes = options.storage.block_cache;
  store_options.memtable_bytes = options.storage.memtables;
  store_options.keep_logs_seconds = static_cast<uint64_t>(absl::ToInt64Seconds(options.backup.keep_logs));
  OpenReport report;
  auto opened = OpenRocksDbStore(store_options, &report);
  if (absl::IsUnavailable(opened.status())) {
    // Unavailable is what an address that is taken is called.
    return absl::InternalError(opened.status().message());
  }
  ASSIGN_OR_RETURN(own_store, std::move(opened));
  store = own_store.get();
  if (report.dropped_bytes > 0) {
    LogFor("storage").warn("dropped unacknowledged bytes={} from={}", report.dropped_bytes, report.dropped_from);
  }
  return absl::OkStatus();
}

absl::Status Server::Parts::OpenPausedFork() {
  ASSIGN_OR_RETURN(data_dir, DataDir::OpenReadOnly(options.data_dir));
  ASSIGN_OR_RETURN(own_store, OpenReadOnlyStore(data_dir->db_path(), /*damaged_too=*/false, nullptr));
  store = own_store.get();
  const std::string key = AppliedKey(CoreOptions().partition);
  ASSIGN_OR_RETURN(const std::string value, store->Get(Family::kMeta, key));
  ASSIGN_OR_RETURN(const Applied applied, DecodeApplied(key, value));
  own_clock = std::make_unique<ManualClock>(ToTime(applied.time_micros));
  clock = own_clock.get();
  paused = absl::FailedPreconditionError(
      fmt::format("this broker is a paused fork: it shows {} as it was at {} and changes nothing", data_dir->path(),
                  ToStd(absl::FormatTime(absl::RFC3339_sec, ToTime(applied.time_micros), absl::UTCTimeZone()))));
  slot.RefuseChanges(paused);
  return absl::OkStatus();
}

absl::Status Server::Parts::StartEngine() {
  EngineOptions engine_options = MakeEngineOptions(options);
  engine_options.core.paused = !paused.ok();
  auto engine = std::make_shared<Engine>(engine_options, *store, tickets, *clock,
                                         [this](const absl::Status& status) { OnEngineFailure(status); });
  if (absl::Status status = engine->Start(); absl::IsUnavailable(status)) {
    // As in OpenDatabase.
    return absl::InternalError(status.message());
  } else if (!status.ok()) {
    return status;
  }
  slot.Set(std::move(engine), absl::OkStatus());
  return absl::OkStatus();
}

absl::Status Server::Parts::StartAgain() {
  if (store == nullptr) {
    RETURN_IF_ERROR(OpenDatabase());
    if (backups != nullptr) backups->SetStore(store);
    if (scrubber != nullptr) scrubber->SetStore(store);
  }
  return StartEngine();
}

absl::Status Server::Parts::Start() {
  start_time = absl::Now();
  LookAtDisk();
  RETURN_IF_ERROR(StartEngine());
  RpcEdge::Options rpc_options = MakeRpcOptions(options);
  rpc_options.bulk.runs = paused.ok();
  if (rpc_options.server.connections_max < options.limits.connections) {
    LogFor("server").info("too few open files for limits.connections={}: connections={}", options.limits.connections,
                          rpc_options.server.connections_max);
  }
  if (data_dir != nullptr && !options.backup.dir.empty() && paused.ok()) {
    backups = std::make_unique<BackupKeeper>(MakeBackupOptions(options, *data_dir));
    backups->SetStore(store);
    rpc_options.backups = backups.get();
  }
  if (ballast != nullptr) {
    ScrubberOptions scrub;
    scrub.interval = options.storage.scrub_interval;
    scrub.bytes_per_second = options.storage.scrub_rate;
    scrubber = std::make_unique<Scrubber>(scrub);
    scrubber->SetStore(store);
  }
  if (data_dir != nullptr) {
    probe = std::make_unique<SelfProbe>(
        SelfProbe::Options{.interval = ProbeInterval()}, [this](absl::Duration time) { return rpc->Probe(time); },
        [] { NotifyServiceManager("WATCHDOG=1"); });
  }
  ASSIGN_OR_RETURN(rpc, RpcEdge::Start(std::move(rpc_options), slot, tickets, *this, *clock));
  if (!options.http.address.empty()) {
    metrics = std::make_shared<BrokerMetrics>([this] { return ReadMetrics(); });
    HttpOptions http_options;
    http_options.address = options.http.address;
    http =
        std::make_unique<HttpServer>(http_options, *this, std::vector<std::weak_ptr<prometheus::Collectable>>{metrics});
    RETURN_IF_ERROR(http->Start());
  }
  TellHealth();
  if (probe != nullptr) probe->Start();
  housekeeper = std::thread([this] { Housekeep(); });
  LogFor("server").info("ready grpc={} http={} version={}", rpc->port(), http ? http->port() : 0, kVersion);
  return absl::OkStatus();
}

void Server::Parts::Stop() {
  if (std::exchange(stopped, true)) return;
  // One that could not start says so, and no more.
  const bool started = housekeeper.joinable();
  if (started) LogFor("server").info("stopping");
  {
    MutexLock lock(mu);
    stopping = true;
    stop_requested = true;
  }
  changed.SignalAll();
  if (housekeeper.joinable()) housekeeper.join();
  if (probe != nullptr) probe->Stop();
  if (std::shared_ptr<Engine> engine = slot.Get()) engine->StopDispatch();
  // Before the edge, whose calls it answers, and the store.
  if (backups != nullptr) backups->Stop();
  if (scrubber != nullptr) scrubber->Stop();
  if (rpc != nullptr) {
    rpc->SetServing(false);
    rpc->Stop(options.shutdown_grace);
  }
  if (http != nullptr) http->Stop();
  if (std::shared_ptr<Engine> engine = slot.Get()) {
    engine->Stop();
    slot.Set(nullptr, absl::UnavailableError("the broker is stopping"));
  }
  rpc.reset();
  own_store.reset();
  data_dir.reset();
  if (started) LogFor("server").info("stopped");
}

void Server::Parts::OnEngineFailure(const absl::Status& status) {
  {
    MutexLock lock(mu);
    engine_failure = status;
  }
  changed.SignalAll();
}

absl::Status Server::Parts::JudgeDisk(const Store::Health& health, DiskSpace* space) {
  if (auto read = GetDiskSpace(data_dir->path()); read.ok()) *space = *read;
  const bool known = space->total > 0;
  const uint64_t watermark = options.DiskWatermark(space->total);
  if (absl::IsResourceExhausted(health.status)) {
    // A write in the background found no room: RocksDB tries it again by itself.
    MakeRoom();
  } else if (known && ballast->Keep(*space, watermark)) {
    space->free -= std::min(space->free, ballast->kept_bytes());
  }
  if (known && space->free < watermark) {
    return LimitReached("disk.watermark",
                        fmt::format("the disk of {} has {} free, less than the watermark of {}; free some space",
                                    data_dir->path(), FormatSize(space->free), FormatSize(watermark)),
                        absl::Seconds(30));
  }
  if (absl::IsResourceExhausted(health.status)) {
    return LimitReached("disk.watermark", "the disk is full; free some space", absl::Seconds(30));
  }
  if (ballast->spent()) {
    return LimitReached(
        "disk.watermark",
        fmt::format("the disk of {} was full and has {} free, which is kept for finishing tasks; free "
                    "some space, until it has {}",
                    data_dir->path(), FormatSize(space->free), FormatSize(ballast->NeededFree(watermark))),
        absl::Seconds(30));
  }
  return absl::OkStatus();
}

// Refuses enqueues below the watermark, so that completions still find room.
void Server::Parts::LookAtDisk() {
  Store::Health health;
  if (store == nullptr) {
    health.status = absl::ResourceExhaustedError("the disk is full");
  } else {
    health = store->GetHealth();
  }
  DiskSpace space;
  const absl::Status refuse = ballast != nullptr ? JudgeDisk(health, &space) : paused;
  bool turned;
  {
    MutexLock lock(mu);
    turned = refuse.ok() != enqueues_refused.ok();
    disk = space;
    ballast_bytes = ballast != nullptr ? ballast->kept_bytes() : 0;
    storage = health;
    enqueues_refused = refuse;
  }
  slot.RefuseEnqueues(refuse);
  if (turned && !refuse.ok() && paused.ok())
    LogFor("server").error("enqueues refused reason=\"{}\"", ToStd(refuse.message()));
  if (turned && refuse.ok()) LogFor("server").info("enqueues accepted again free={}", FormatSize(space.free));
}

void Server::Parts::TellHealth() {
  const bool running = slot.Get() != nullptr;
  rpc->SetServing(running);
  MutexLock lock(mu);
  rpc->SetTakingTasks(running && enqueues_refused.ok());
}

void Server::Parts::LeaveEngine(std::shared_ptr<Engine> engine, const absl::Status& failure) {
  slot.Set(nullptr, absl::IsResourceExhausted(failure)
                        ? LimitReached("disk.watermark", "the disk is full; free some space", kHousekeeping)
                        : OutcomeUnknown(failure));
  TellHealth();
  engine->Stop();
  rpc->LeaveEngine();  // streams and waits belong to the core that is gone: clients come again
  engine.reset();
  if (own_store == nullptr) return;
  if (backups != nullptr) backups->SetStore(nullptr);
  if (scrubber != nullptr) scrubber->SetStore(nullptr);
  store = nullptr;
  own_store.reset();
}

void Server::Parts::Housekeep() {
  absl::Duration pause = kHousekeeping;  // before the next start of a failed engine
  absl::Duration started = -absl::InfiniteDuration();
  while (true) {
    absl::Status failure;
    {
      MutexLock lock(mu);
      if (!stopping && engine_failure.ok()) changed.WaitFor(mu, kHousekeeping);
      if (stopping) return;
      failure = std::exchange(engine_failure, absl::OkStatus());
    }
    if (failure.ok()) {
      LookAtDisk();
      TellHealth();
      if (slot.Get() != nullptr) rpc->SampleRates();
      if (slot.Get() != nullptr) continue;
    }
    // The engine failed. A full disk heals by itself: start a new engine, the same way as at any start. Anything else
    // needs a new process.
    if (std::shared_ptr<Engine> engine = slot.Get()) LeaveEngine(std::move(engine), failure);
    if (!failure.ok() && !absl::IsResourceExhausted(failure)) {
      MutexLock lock(mu);
      fatal = failure;
      stop_requested = true;
      changed.SignalAll();
      return;
    }
    if (MakeRoom()) {
      // At once: workers wait for their outcomes to be taken. Enqueues have to wait for real space.
      LookAtDisk();
    } else {
      // Not at once, and not again and again: a disk that is full stays so for a while.
      const absl::Duration now = SystemClock().Read().elapsed;
      pause = now - started > kStable ? kHousekeeping : std::min(pause * 2, kPauseMax);
      MutexLock lock(mu);
      for (absl::Duration left = pause; !stopping && left > absl::ZeroDuration();
           left = now + pause - SystemClock().Read().elapsed) {
        changed.WaitFor(mu, left);
      }
    }
    started = SystemClock().Read().elapsed;
    if (absl::Status status = StartAgain(); status.ok()) {
      rpc->EnterEngine();
      LookAtDisk();  // enqueues may be taken again
      TellHealth();
    } else if (absl::IsResourceExhausted(status)) {
      LogFor("server").error("still no space error=\"{}\"", ToStd(status.message()));
    } else {
      MutexLock lock(mu);
      fatal = status;
      stop_requested = true;
      changed.SignalAll();
      return;
    }
  }
}

BrokerFigures Server::Parts::Read() const {
  BrokerFigures figures;
  figures.version = kVersion;
  figures.start_time = start_time;
  figures.data_dir = data_dir != nullptr ? data_dir->path() : "(memory)";
  const ProcessUsage usage = ReadProcessUsage();
  figures.memory_bytes = usage.resident_bytes;
  figures.cpu_time = usage.cpu;
  figures.written_bytes = usage.written_bytes;
  if (std::shared_ptr<Engine> engine = slot.Get()) {
    const CommitStats stats = engine->commit_stats();
    figures.commit_count = stats.commits;
    figures.sync_count = stats.syncs;
    figures.commit_latency_p50 = stats.latency_p50;
    figures.commit_latency_p99 = stats.latency_p99;
    figures.mailbox_bytes = engine->mailbox_bytes();
    if (const uint64_t unreadable = engine->unreadable_records(); unreadable > 0) {
      figures.problems.push_back(fmt::format(
          "stored data is damaged: {} records cannot be read since the start, and tasks in them do not run; the "
          "broker's log names them (\"record unreadable\")",
          unreadable));
    }
  } else {
    figures.problems.push_back("the storage refuses writes; see the broker's log");
  }
  const std::string deaf = probe != nullptr ? probe->figures().failure : "";
  if (!deaf.empty()) figures.problems.push_back("the broker does not answer on its own port: " + deaf);
  const std::string backup_error = backups != nullptr ? backups->figures().last_error : "";
  const std::vector<std::string> damage = scrubber != nullptr ? scrubber->figures().damage : std::vector<std::string>();
  if (!damage.empty()) figures.problems.push_back(DamageProblem(damage));
  MutexLock lock(mu);
  figures.disk_free_bytes = disk.free;
  figures.disk_watermark_bytes = data_dir != nullptr && paused.ok() ? options.DiskWatermark(disk.total) : 0;
  figures.data_bytes = storage.data_bytes;
  figures.enqueues_refused = !enqueues_refused.ok();
  if (!paused.ok()) {
    figures.problems.emplace_back(ToStd(paused.message()));
  } else if (!enqueues_refused.ok()) {
    figures.problems.push_back("enqueues are refused: " + std::string(enqueues_refused.message()));
  }
  if (storage.stalled) {
    figures.problems.push_back(
        "the disk is too slow: writes wait for compaction; move the data folder to a faster disk or enqueue less");
  }
  if (!backup_error.empty()) figures.problems.push_back("the last backup failed: " + backup_error);
  return figures;
}

Health Server::Parts::GetHealth() const {
  Health health;
  if (const std::string deaf = probe != nullptr ? probe->figures().failure : ""; !deaf.empty()) {
    health.live = false;
    health.ready = false;
    health.reason = "the broker does not answer on its own port: " + deaf;
    return health;
  }
  if (slot.Get() == nullptr) {
    health.ready = false;
    health.reason = "the storage refuses writes";
    return health;
  }
  MutexLock lock(mu);
  if (!enqueues_refused.ok()) {
    health.ready = false;
    health.reason = std::string(enqueues_refused.message());
  } else if (stopping) {
    health.ready = false;
    health.reason = "the broker is stopping";
  }
  return health;
}

MetricsSnapshot Server::Parts::ReadMetrics() const {
  struct Asked {
    Mutex mu;
    CondVar done;
    bool answered ABSL_GUARDED_BY(mu) = false;
    std::shared_ptr<const StatusReply> reply ABSL_GUARDED_BY(mu);
  };
  auto asked = std::make_shared<Asked>();
  rpc->status().Get([asked](const StatusFeed::Answer& answer) {
    MutexLock lock(asked->mu);
    asked->answered = true;
    if (answer.ok()) asked->reply = *answer;
    asked->done.SignalAll();
  });
  std::shared_ptr<const StatusReply> reply;
  {
    MutexLock lock(asked->mu);
    const absl::Time limit = absl::Now() + kStatusWait;
    while (!asked->answered && asked->done.WaitFor(asked->mu, limit - absl::Now()) && absl::Now() < limit) {
    }
    reply = asked->reply;
  }
  const BrokerFigures figures = Read();
  MetricsSnapshot snapshot;
  snapshot.version = figures.version;
  snapshot.uptime = absl::Now() - start_time;
  snapshot.commit_count = figures.commit_count;
  snapshot.sync_count = figures.sync_count;
  snapshot.mailbox_bytes = figures.mailbox_bytes;
  snapshot.disk_free_bytes = figures.disk_free_bytes;
  snapshot.disk_watermark_bytes = figures.disk_watermark_bytes;
  snapshot.data_bytes = figures.data_bytes;
  snapshot.enqueues_refused = figures.enqueues_refused;
  snapshot.rejects = slot.rejects();
  const ListenerFigures connections = rpc->connections();
  snapshot.connections = connections.open;
  snapshot.connections_accepted = connections.accepted;
  snapshot.connections_refused = connections.refused;
  snapshot.connections_shut = connections.shut;
  if (probe != nullptr) {
    const SelfProbeFigures probes = probe->figures();
    snapshot.probe = ProbeMetrics{!probes.failure.empty(), probes.probes, probes.failed};
  }
  snapshot.process = ReadProcessUsage();
  snapshot.bulk = ToMetrics(rpc->bulk_figures());
  if (backups != nullptr) snapshot.backup = ToMetrics(backups->figures());
  if (scrubber != nullptr) snapshot.scrub = ToMetrics(scrubber->figures());
  {
    MutexLock lock(mu);
    snapshot.disk_ballast_bytes = ballast_bytes;
  }
  if (std::shared_ptr<Engine> engine = slot.Get()) {
    const CommitStats stats = engine->commit_stats();
    snapshot.commit_bytes = stats.bytes;
    snapshot.epoch = engine->epoch();
    for (int64_t bound : kCommitLatencyBounds) {
      snapshot.commit_seconds.upper_bounds.push_back(static_cast<double>(bound) / 1e6);
    }
    snapshot.commit_seconds.counts.assign(stats.latency_counts.begin(), stats.latency_counts.end());
    snapshot.commit_seconds.sum = static_cast<double>(stats.latency_micros_sum) / 1e6;
  }
  if (reply == nullptr) return snapshot;
  snapshot.sessions = reply->workers.size();
  for (const ThrottleLoad& throttle : reply->throttles) snapshot.throttles[throttle.name] = throttle.waiting;
  snapshot.cooled_waiting = reply->cooled_waiting;
  const Time now = ToMicros(clock->Read().wall);
  for (const QueueView& queue : reply->queues) {
    QueueMetrics row;
    row.name = queue.name;
    row.scheduled = queue.counters.scheduled;
    row.available = queue.counters.available;
    row.running = queue.counters.running;
    row.retryable = queue.counters.retryable;
    row.dead = queue.counters.dead;
    row.enqueued_total = queue.counters.enqueued_total;
    row.completed_total = queue.counters.completed_total;
    row.failed_total = queue.counters.failed_total;
    row.cancelled_total = queue.counters.cancelled_total;
    row.dead_total = queue.counters.dead_total;
    if (queue.oldest_available != kNever) row.oldest_age = ToDuration(std::max<Span>(now - queue.oldest_available, 0));
    row.unhandled_types = queue.unhandled_types.size();
    row.attempts_lost = queue.times.attempts_lost;
    row.refused = queue.times.refused;
    row.dropped = queue.times.dropped;
    row.wait_seconds = ToHistogram(queue.times.wait);
    row.run_seconds = ToHistogram(queue.times.run);
    snapshot.queues.push_back(std::move(row));
  }
  return snapshot;
}

Server::Server(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Server::~Server() { Stop(); }

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const BrokerOptions& options) {
  std::unique_ptr<Server> server(new Server(std::make_unique<Parts>(options)));
  RETURN_IF_ERROR(WithDamageAdvice(server->parts_->OpenStore()));
  RETURN_IF_ERROR(WithDamageAdvice(server->parts_->Start()));
  return server;
}

absl::StatusOr<std::unique_ptr<Server>> Server::StartPausedFork(const BrokerOptions& options) {
  std::unique_ptr<Server> server(new Server(std::make_unique<Parts>(options)));
  RETURN_IF_ERROR(server->parts_->OpenPausedFork());
  RETURN_IF_ERROR(server->parts_->Start());
  return server;
}

absl::StatusOr<std::unique_ptr<Server>> Server::StartOn(const BrokerOptions& options, Store& store, Clock& clock) {
  std::unique_ptr<Server> server(new Server(std::make_unique<Parts>(options)));
  server->parts_->store = &store;
  server->parts_->clock = &clock;
  RETURN_IF_ERROR(server->parts_->Start());
  return server;
}

int Server::grpc_port() const { return parts_->rpc->port(); }

int Server::http_port() const { return parts_->http ? parts_->http->port() : 0; }

void Server::LookAtClock() {
  if (std::shared_ptr<Engine> engine = parts_->slot.Get()) engine->LookAtClock();
  parts_->rpc->LookAtClock();
}

void Server::ScrubNow() {
  if (parts_->scrubber != nullptr) parts_->scrubber->ScrubNow();
}

absl::Status Server::Wait() {
  MutexLock lock(parts_->mu);
  while (!parts_->stop_requested) parts_->changed.Wait(parts_->mu);
  return parts_->fatal;
}

void Server::RequestStop() {
  {
    MutexLock lock(parts_->mu);
    parts_->stop_requested = true;
  }
  parts_->changed.SignalAll();
}

void Server::Stop() { parts_->Stop(); }

int ExitCodeOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return 0;
    case absl::StatusCode::kAlreadyExists:
      return kExitLocked;
    case absl::StatusCode::kUnavailable:
      return kExitUnavailable;
    case absl::StatusCode::kDataLoss:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kPermissionDenied:
      return 78;
    default:
      return kExitStorage;
  }
}

}  // namespace penstock::broker
