#include "worker/daemon/process_groups.h"

#include <signal.h>

#include <set>

#include "common/mutex.h"

namespace penstock {
namespace {

struct Groups {
  Mutex mu;
  std::set<pid_t> leaders ABSL_GUARDED_BY(mu);
};

// Never destroyed: handlers' threads may still end while the process does.
Groups& TheGroups() {
  static Groups& groups = *new Groups();
  return groups;
}

}  // namespace

RunningGroup::RunningGroup(pid_t leader) : leader_(leader) {
  Groups& groups = TheGroups();
  MutexLock lock(groups.mu);
  groups.leaders.insert(leader);
}

RunningGroup::~RunningGroup() {
  Groups& groups = TheGroups();
  MutexLock lock(groups.mu);
  groups.leaders.erase(leader_);
}

void RunningGroup::Signal(int signal_number) const { kill(-leader_, signal_number); }

void KillRunningGroups() {
  Groups& groups = TheGroups();
  MutexLock lock(groups.mu);
  for (pid_t leader : groups.leaders) kill(-leader, SIGKILL);
}

}  // namespace penstock
