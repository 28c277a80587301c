#include "worker/daemon/process_groups.h"

#include <signal.h>

#include <set>

#include "common/mutex.h"

namespace penstock {
namespace {

Mutex mu;
std::set<pid_t> leaders ABSL_GUARDED_BY(mu);

}  // namespace

RunningGroup::RunningGroup(pid_t leader) : leader_(leader) {
  MutexLock lock(mu);
  leaders.insert(leader);
}

RunningGroup::~RunningGroup() {
  MutexLock lock(mu);
  leaders.erase(leader_);
}

void RunningGroup::Signal(int signal_number) const { kill(-leader_, signal_number); }

void KillRunningGroups() {
  MutexLock lock(mu);
  for (pid_t leader : leaders) kill(-leader, SIGKILL);
}

}  // namespace penstock
