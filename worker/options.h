#ifndef PENSTOCK_WORKER_OPTIONS_H_
#define PENSTOCK_WORKER_OPTIONS_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace penstock {

struct WorkerOptions {
  // host:port of the broker.
  std::string broker = "127.0.0.1:7420";
  // Shown to operators, 1 to 256 bytes. Default: the program's name @ the machine's.
  std::string name = {};
  // The queues that tasks are taken from: 1 to 1,000. They need not exist. Required.
  std::vector<std::string> queues = {};
  // What this worker is or has, for instance {{"gpu", "yes"}}: a task that asks for labels
  // (EnqueueOptions::worker_labels) comes here only if all of its labels are among these, with the same values. Tasks
  // that ask for none come as ever. At most 32; keys and values 1 to 64 of A-Z a-z 0-9 . _ : - /.
  std::map<std::string, std::string> labels = {};
  // Slots: tasks that run at once, each on a thread of its own, but those of a batch on one. 1 to 1,000.
  int concurrency = 8;
  // Tasks taken beyond the free slots, so that a slot need not wait for the broker. 0 to 64; -1: as many as slots (at
  // most 64) or as the largest batch, and while tasks are short as many as this worker finishes in 10 ms (at most 1,000
  // with those that run); what then waits for longer than 1 s goes back. 0 for long tasks that another worker might
  // start sooner.
  int prefetch = -1;
  // How long the broker waits for a silent worker before others get its tasks. 2 s to 12 h. The runtime renews by
  // itself, however long handlers run.
  absl::Duration lease = absl::Seconds(30);
  // How long running handlers may take to end when the worker drains; then they are cancelled and their tasks handed
  // back.
  absl::Duration drain_grace = absl::Seconds(25);
  // Pause before connecting again: drawn from 0 to a bound that doubles from the first to the second value.
  absl::Duration reconnect_min = absl::Milliseconds(100);
  absl::Duration reconnect_max = absl::Seconds(10);
  // PEM files, as in ClientOptions.
  std::string ca_file = {};
  std::string cert_file = {};
  std::string key_file = {};
  // Of the program, shown to operators. At most 256 bytes.
  std::string version = {};

  // InvalidArgument names the first field that is wrong.
  absl::Status Validate() const;
};

}  // namespace penstock

#endif  // PENSTOCK_WORKER_OPTIONS_H_
