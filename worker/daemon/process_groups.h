#ifndef PENSTOCK_WORKER_DAEMON_PROCESS_GROUPS_H_
#define PENSTOCK_WORKER_DAEMON_PROCESS_GROUPS_H_

#include <sys/types.h>

namespace penstock {

// The process group of a command, from its start until the command has ended. Any thread.
class RunningGroup {
 public:
  explicit RunningGroup(pid_t leader);
  ~RunningGroup();
  RunningGroup(const RunningGroup&) = delete;
  RunningGroup& operator=(const RunningGroup&) = delete;

  void Signal(int signal_number) const;

 private:
  const pid_t leader_;
};

// Kills what runs still. For a worker that ends: after it nobody would, and a run that was given up, or told to end
// with time left for it, must not go on beside the next attempt. REQUIRES: no command begins any more.
void KillRunningGroups();

}  // namespace penstock

#endif  // PENSTOCK_WORKER_DAEMON_PROCESS_GROUPS_H_
