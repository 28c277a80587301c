#ifndef PENSTOCK_WORKER_DAEMON_COMMAND_HANDLER_H_
#define PENSTOCK_WORKER_DAEMON_COMMAND_HANDLER_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "worker/worker.h"

namespace penstock {

// A program that handles tasks of a type.
//
//   in    the payload on standard input, or in a file named by PENSTOCK_PAYLOAD_FILE; PENSTOCK_TASK_ID, _QUEUE, _TYPE,
//         _ATTEMPT, _MAX_ATTEMPTS, _FENCING_TOKEN, _DEADLINE (Unix seconds), _CONTENT_TYPE, _KEY and _GROUP. The file
//         PENSTOCK_CHECKPOINT_FILE holds what an attempt before this one saved. Of the daemon's environment only PATH,
//         HOME, LANG, TZ and TMPDIR.
//   out   standard output is the result. Lines on standard error are kept with the task, but some are for the daemon:
//         progress, and when to run it again (daemon/error_lines.h). What it writes into PENSTOCK_CHECKPOINT_FILE is
//         saved within a second, and when it ends without success; a file that is renamed over it is never seen half
//         written. Tasks that it writes into PENSTOCK_ENQUEUE_FILE, one JSON object a line (daemon/task_json.h), are
//         enqueued in the commit that completes this one, or not at all.
//   end   exit code 0: completed. One of reject_exit_codes: dead, rejected. Any other, or a signal: the attempt failed,
//         or was snoozed if it said so. The error's message is the last line of standard error, its detail those before
//         it. On cancel and timeout the whole process group gets SIGTERM, and SIGKILL kill_grace later; at the worker's
//         end after half a second at most. What the program leaves running is killed when it ends.
struct CommandOptions {
  std::vector<std::string> command;  // the program and its arguments; no shell
  bool payload_in_file = false;
  std::string directory;  // to run in; empty: the daemon's
  std::vector<std::pair<std::string, std::string>> environment;
  std::string result_content_type = "application/octet-stream";
  uint64_t result_max = 1 << 20;
  std::vector<int> reject_exit_codes = {65};  // EX_DATAERR
  absl::Duration kill_grace = absl::Seconds(5);
  uint64_t memory_max = 0;       // bytes of address space; 0: no limit
  uint64_t cpu_seconds_max = 0;  // then SIGXCPU, and SIGKILL a second later; 0: no limit
  uint64_t open_files_max = 1'024;
};

// Runs the program for one task. Thread-safe.
Outcome RunCommand(const CommandOptions& options, TaskContext& context, std::string_view payload);

}  // namespace penstock

#endif  // PENSTOCK_WORKER_DAEMON_COMMAND_HANDLER_H_
