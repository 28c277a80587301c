// What every option of the broker does, why one would change it, and its bounds.

#include "broker/options.h"

namespace penstock::broker {
namespace {

constexpr uint64_t kKiB = 1 << 10;
constexpr uint64_t kMiB = 1 << 20;
constexpr uint64_t kGiB = 1 << 30;
constexpr uint64_t kTiB = uint64_t{1} << 40;

absl::Duration Days(int count) { return absl::Hours(24 * count); }

void DeclareServing(BrokerOptions* o, OptionSet* set) {
  set->Text(
      {.path = "data_dir",
       .what = "Folder that keeps the tasks; made if it does not exist, used by one broker at a time.",
       .why = "Put it on a disk with fast fsync, and not on a network share. The systemd unit sets /var/lib/penstock."},
      &o->data_dir);
  set->Bool({.path = "insecure_allow_plaintext",
             .what = "Listen on addresses that other machines reach, without TLS.",
             .why = "Only for a network in which everybody may read, change and run every task."},
            &o->insecure_allow_plaintext);
  set->Duration(
      {.path = "shutdown_grace",
       .what = "How long calls in progress may take to end after SIGTERM; what is left is cut off.",
       .why =
           "Raise it if clients wait for answers over slow links; keep it below the service manager's stop timeout."},
      &o->shutdown_grace, absl::ZeroDuration(), absl::Minutes(10));

  set->Section("grpc", "The API for services, workers and operators.");
  set->Text({.path = "grpc.address",
             .what = "Address of the API, as host:port; port 0 takes any that is free.",
             .why = "Another than a loopback address needs TLS, or insecure_allow_plaintext."},
            &o->grpc.address);
  set->Choice(
      {.path = "grpc.reflection",
       .what = "Whether gRPC tools may ask for the API's description; auto: only on a loopback address.",
       .why = "Turn it on for debugging with ordinary gRPC tools from elsewhere, off to show strangers nothing."},
      &o->grpc.reflection, {{Reflection::kAuto, "auto"}, {Reflection::kOn, "on"}, {Reflection::kOff, "off"}});

  set->Section("http", "Metrics for Prometheus (/metrics) and health for probes (/healthz, /readyz), unencrypted.");
  set->Text({.path = "http.address",
             .what = "Address of the HTTP server, as host:port; empty: none.",
             .why = "Another than a loopback address, for a scraper elsewhere, needs insecure_allow_plaintext."},
            &o->http.address);

  set->Section("tls", "Encryption of the API. Files are PEM.");
  set->Text({.path = "tls.cert",
             .what = "The broker's certificate, with its chain.",
             .why = "Set it and tls.key to let other machines connect."},
            &o->tls.cert);
  set->Text({.path = "tls.key",
             .what = "The certificate's private key.",
             .why = "Needed with tls.cert; readable by the broker's user only."},
            &o->tls.key);
  set->Text({.path = "tls.client_ca",
             .what = "The authorities whose certificates clients have to show; empty: none has to.",
             .why = "Set it so that only known machines connect; without it everybody who reaches the port can."},
            &o->tls.client_ca);

  set->Section("log", "What the broker says about its work. Payloads are never logged.");
  set->Text({.path = "log.level",
             .what = "trace, debug, info, warn, error or off; one component apart as in \"info,engine=debug\".",
             .why = "Raise it while looking for a fault."},
            &o->log.level);
  set->Choice({.path = "log.format",
               .what = "text for people, json (one object a line) for collectors.",
               .why = "Choose json if a machine reads the lines."},
              &o->log.format, {"text", "json"});
  set->Text({.path = "log.file",
             .what = "File to append to; empty: standard error.",
             .why = "Leave it empty under systemd and in containers, which keep standard error."},
            &o->log.file);
}

void DeclareTasks(BrokerOptions* o, OptionSet* set) {
  set->Section("sessions", "How long a silent worker keeps its tasks.");
  set->Duration(
      {.path = "sessions.lease_default",
       .what =
           "A worker that is not heard of for this long loses its tasks to others, unless it asks for another time.",
       .why = "Shorter: tasks of a dead machine run again sooner. Longer: less renewal, more tolerance of pauses.",
       .limit = true},
      &o->sessions.lease_default, absl::Seconds(2), absl::Hours(12));
  set->Duration({.path = "sessions.lease_max",
                 .what = "Longest lease that a worker may ask for.",
                 .why = "Lower it so that no worker can hold tasks for hours after it died.",
                 .limit = true},
                &o->sessions.lease_max, absl::Seconds(2), absl::Hours(12));
  set->Duration(
      {.path = "sessions.grace",
       .what = "A worker whose connection broke may resume its session within this time; then its tasks go to others.",
       .why = "0 hands them on at once. Raise it on networks that drop connections.",
       .limit = true},
      &o->sessions.grace, absl::ZeroDuration(), absl::Hours(1));
  set->Duration(
      {.path = "sessions.reclaim_window",
       .what = "After a restart, how long running tasks wait for their workers to come back before they run again.",
       .why = "Raise it if workers need longer to reconnect; lower it if a second run does no harm.",
       .limit = true},
      &o->sessions.reclaim_window, absl::ZeroDuration(), absl::Hours(1));

  set->Section("retry", "How failed attempts are repeated, for tasks and queues that have no policy of their own.");
  set->Integer({.path = "retry.max_attempts",
                .what = "Runs of a task in all, the first included; then it is dead.",
                .why = "20 attempts last 4 to 8 hours at the backoff below: time to notice and repair.",
                .limit = true},
               &o->retry.max_attempts, 1, 1'000);
  set->Choice(
      {.path = "retry.backoff",
       .what = "How the wait grows: exponential (times retry.multiplier from attempt to attempt), linear (by "
               "retry.initial_backoff), or fixed.",
       .why = "linear and fixed come back sooner, which suits what is repaired soon and harms what is overloaded.",
       .limit = true},
      &o->retry.backoff,
      {{RetryBackoff::kExponential, "exponential"},
       {RetryBackoff::kLinear, "linear"},
       {RetryBackoff::kFixed, "fixed"}});
  set->Duration({.path = "retry.initial_backoff",
                 .what = "Wait before the second attempt, before jitter.",
                 .why = "Raise it if what fails needs longer to recover.",
                 .limit = true},
                &o->retry.initial_backoff, absl::Milliseconds(1), Days(30));
  set->Number({.path = "retry.multiplier",
               .what = "Growth of the wait from attempt to attempt, with retry.backoff=exponential.",
               .why = "Lower it so that tasks are tried more often during a long outage.",
               .limit = true},
              &o->retry.multiplier, 1, 100);
  set->Duration({.path = "retry.max_backoff",
                 .what = "Longest wait between attempts.",
                 .why = "Lower it so that tasks come back sooner after a long outage.",
                 .limit = true},
                &o->retry.max_backoff, absl::Milliseconds(1), Days(365));
  set->Number({.path = "retry.jitter",
               .what = "The part of the wait that is random, from 0 to 1.",
               .why = "1 spreads the attempts of tasks that failed together; 0 makes waits predictable.",
               .limit = true},
              &o->retry.jitter, 0, 1);
  set->Duration({.path = "run_timeout",
                 .what = "Longest run of one attempt, for tasks and queues that set none; the worker ends it then.",
                 .why = "Lower it to notice handlers that hang; raise it for long work.",
                 .limit = true},
                &o->run_timeout, absl::Milliseconds(1), Days(30));

  set->Section("retention", "How long finished tasks are kept, for tasks and queues that say nothing else.");
  set->Duration({.path = "retention.completed",
                 .what = "Completed and cancelled tasks and their results.",
                 .why = "Shorter saves disk; a task with a result that nobody fetched by then has lost it.",
                 .limit = true},
                &o->retention.completed, absl::ZeroDuration(), Days(365));
  set->Duration({.path = "retention.dead",
                 .what = "Dead tasks, with payload and errors, for redrive.",
                 .why = "Long enough for somebody to look after them.",
                 .limit = true},
                &o->retention.dead, absl::ZeroDuration(), Days(3'650));
}

void DeclareLimits(BrokerOptions* o, OptionSet* set) {
  BrokerOptions::Limits& limits = o->limits;
  set->Section(
      "limits",
      "Everything has a limit. Reaching one gives RESOURCE_EXHAUSTED (or INVALID_ARGUMENT for a field) and its name.");
  auto size = [set](std::string name, uint64_t* value, uint64_t min, uint64_t max, std::string what, std::string why) {
    set->Size({.path = "limits." + name, .what = std::move(what), .why = std::move(why), .limit = true}, value, min,
              max);
  };
  auto count = [set](std::string name, uint32_t* value, int64_t min, int64_t max, std::string what, std::string why) {
    set->Integer({.path = "limits." + name, .what = std::move(what), .why = std::move(why), .limit = true}, value, min,
                 max);
  };
  size("payload", &limits.payload, 1, 16 * kMiB, "Largest payload of a task.",
       "A queue is no file store: put large data elsewhere and its address into the task. Raise limits.message with "
       "it.");
  size("result", &limits.result, 1, 16 * kMiB, "Largest result of a task.",
       "Results are kept until their retention ends. Raise limits.message with it.");
  size("headers", &limits.headers, 0, kMiB, "Keys and values of a task's headers together.",
       "Headers are read by every worker that gets the task; large ones belong into the payload.");
  size("name", &limits.name, 8, 128, "Longest name of a queue or a type.",
       "Lower it if names go into systems that take less; 128 B is the most that the API promises.");
  size("key", &limits.key, 8, 256, "Longest unique key or header key.",
       "Lower it if keys go into systems that take less; 256 B is the most that the API promises.");
  size("error_text", &limits.error_text, 256, kMiB, "Message and detail of an attempt's error; longer text is cut.",
       "Every attempt of a dead task keeps its own.");
  size("log_line", &limits.log_line, 64, 64 * kKiB, "One log line of a task; longer lines are cut.",
       "Raise it for handlers that write long lines.");
  size("log_bytes_per_task", &limits.log_bytes_per_task, 0, 16 * kMiB,
       "Log lines kept with a task; later ones are dropped, and the task says so.",
       "Raise it if handlers' logs are kept nowhere else.");
  size("checkpoint", &limits.checkpoint, 1, kMiB, "What a handler saves for the task's next attempt; more is refused.",
       "It is written to disk each time: save where to go on, and put large data elsewhere.");
  size("message", &limits.message, 128 * kKiB, 64 * kMiB, "Largest gRPC message that the broker receives.",
       "A batch of tasks is one message. At least limits.payload, its headers and 64 KiB.");
  count("tasks_per_call", &limits.tasks_per_call, 1, 10'000, "Tasks of one enqueue call, which are stored all or none.",
        "Lower it to keep single commits short.");
  count("tasks_per_worker", &limits.tasks_per_worker, 1, 10'000,
        "Tasks that one worker may hold, started or prefetched.",
        "Raise it for workers with very many small tasks; what a dead worker holds runs again.");
  count("queues", &limits.queues, 1, 1'000'000, "Queues. They appear on first use, so a slip in a name makes one.",
        "Raise it if you use a queue per customer; each costs memory. Metrics show the 200 busiest.");
  count("types", &limits.types, 1, 1'000'000, "Task types over all queues.",
        "A type names a handler. If something varies per task, it belongs into the payload.");
  count("schedules", &limits.schedules, 1, 1'000'000, "Schedules.",
        "Each costs memory, and a commit at each of its ticks.");
  size("schedule_bytes", &limits.schedule_bytes, 64 * kKiB, 4'096 * kMiB, "Tasks of all schedules together.",
       "They are kept in memory: put large payloads elsewhere and their address into the task.");
  count("throttles", &limits.throttles, 1, 100'000, "Throttles.", "Each is looked at for every task that it counts.");
  count("sessions", &limits.sessions, 1, 100'000, "Workers connected, or within their grace.",
        "Raise it for larger fleets, together with the service's limit of open files (LimitNOFILE).");
  count("watchers", &limits.watchers, 1, 10'000'000, "Calls that wait for a task, watch one, or subscribe to a queue.",
        "Each costs memory; raise it if very many callers wait for results.");
  count("subscription_events", &limits.subscription_events, 1, 1'000'000,
        "Finished tasks that wait for a subscriber who reads slowly; what comes beyond them is told as missed.",
        "Each takes about 200 bytes, for each subscriber that is slow.");
  count("reads", &limits.reads, 1, 1'000'000, "Reads (get, list) that wait for a thread.",
        "Reaching it means that the disk is too slow for the questions asked.");
  count("bulk_jobs", &limits.bulk_jobs, 1, 100, "Bulk jobs that run at a time.",
        "Each has 256 commands under way, and reads for its next ones.");
  count("connections", &limits.connections, 16, 1'000'000,
        "gRPC connections at a time; what comes beyond them is closed at once.",
        "Fewer if the process may not open so many files: of those (LimitNOFILE) 640 are left to the rest of the "
        "broker.");
  count("connections_per_address", &limits.connections_per_address, 1, 1'000'000,
        "gRPC connections at a time from one address (of IPv6: from one network of 64 bits), this machine's own "
        "included; what comes beyond them is closed at once.",
        "A worker or a client has one. Lower it so that no machine can take many; raise it for clients behind one "
        "proxy, or for more workers on a machine.");
  size("mailbox", &limits.mailbox, kMiB, 16 * kGiB, "Commands received and not yet applied.",
       "Larger takes in longer bursts; smaller tells callers sooner to slow down. As much again may wait in enqueue "
       "streams.");
  count("mailbox_commands", &limits.mailbox_commands, 100, 1'000'000, "Commands received and not yet applied.",
        "Each may be a call that waits, and holds more than its task: lower it where memory is short.");
  set->Duration({.path = "limits.mailbox_wait",
                 .what = "Enqueues are refused, with the time to come again, when what waits takes longer than this at "
                         "the rate of the last seconds; 2 MiB may always wait.",
                 .why = "Raise it where callers would rather wait than come again; lower it to answer sooner under "
                        "overload.",
                 .limit = true},
                &limits.mailbox_wait, absl::Milliseconds(10), absl::Minutes(1));
  size("memory", &limits.memory, 128 * kMiB, kTiB,
       "Memory of the whole broker. Half is for messages on their way in or out; limits.mailbox and "
       "storage.block_cache must fit into the other.",
       "Set it below what the machine or the container grants.");
}

void DeclareStorage(BrokerOptions* o, OptionSet* set) {
  set->Section("disk", "What happens before the disk is full.");
  set->Size({.path = "disk.watermark",
             .what = "Enqueues are refused while less than this is free; completions go on. auto: 1 GB or 5 % of the "
                     "disk, whichever is more.",
             .why = "Raise it if others fill the same disk quickly.",
             .limit = true},
            &o->disk.watermark, 0, 1'024 * kTiB, "auto");
  set->Size({.path = "disk.ballast",
             .what = "Space that is kept in reserve, as a file BALLAST in data_dir, and given up when the disk is full "
                     "all the same: so that tasks are finished meanwhile. Made when at least that much, and the "
                     "watermark, stays free beside it. auto: storage.memtables and 32 MiB. 0: none.",
             .why = "Raise it if many tasks have to be finished before somebody frees space.",
             .limit = true},
            &o->disk.ballast, 0, kTiB, "auto");

  set->Section("storage", "Memory of the store, and the care for what is stored.");
  set->Size({.path = "storage.block_cache",
             .what = "Data read from disk that is kept in memory, memtables included.",
             .why = "Raise it if many old tasks are read (get, list) or the backlog is long and the disk slow."},
            &o->storage.block_cache, 8 * kMiB, kTiB);
  set->Size({.path = "storage.memtables",
             .what = "Data written that is kept in memory until it is written out sorted.",
             .why = "Larger means fewer and larger files, and a longer start after a crash."},
            &o->storage.memtables, 4 * kMiB, 64 * kGiB);
  set->Duration(
      {.path = "storage.scrub_interval",
       .what = "How often all stored files are read and their checksums compared (a scrub), the first time 10 "
               "minutes after the start; 0: only when asked (signal USR1).",
       .why = "A disk that loses data does so without a word: the sooner it is known, the newer the backup "
              "that is still whole."},
      &o->storage.scrub_interval, absl::ZeroDuration(), Days(365));
  set->Size({.path = "storage.scrub_rate",
             .what = "Bytes a second that a scrub reads; 0: as fast as the disk is.",
             .why = "Lower it if commits become slow meanwhile; raise it if a scrub takes longer than its interval."},
            &o->storage.scrub_rate, 0, kTiB);
}

void DeclareBackup(BrokerOptions* o, OptionSet* set) {
  set->Section("backup", "Backups of the running broker: penstock backup create.");
  set->Text(
      {.path = "backup.dir",
       .what = "Folder of this machine that backups may be written to, each set in a folder of its own; empty: none.",
       .why = "Put it on another disk than data_dir, or have its content copied elsewhere."},
      &o->backup.dir);
  set->Size({.path = "backup.rate",
             .what = "Bytes a second that a backup copies and reads again; 0: as fast as the disks are.",
             .why = "Lower it if commits become slow during a backup."},
            &o->backup.rate, 0, kTiB);
  set->Duration(
      {.path = "backup.keep_logs",
       .what = "How long write-ahead logs that are not needed any more are kept for the next backup, so that a "
               "restore can stop at any moment between two backups; 0: not at all.",
       .why = "Set it to more than the time from one backup to the next, twice that for safety. All that is "
              "written in that time lies on the data folder's disk meanwhile."},
      &o->backup.keep_logs, absl::ZeroDuration(), Days(30));
}

}  // namespace

void DeclareOptions(BrokerOptions* options, OptionSet* set) {
  DeclareServing(options, set);
  DeclareTasks(options, set);
  DeclareLimits(options, set);
  DeclareStorage(options, set);
  DeclareBackup(options, set);
}

}  // namespace penstock::broker
