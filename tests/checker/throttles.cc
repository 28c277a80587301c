#include <algorithm>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "tests/checker/periods.h"
#include "tests/checker/rules.h"

namespace penstock::histcheck {
namespace {

bool Names(const std::string& list, const std::string& name) {
  return list.empty() || ("," + list + ",").find("," + name + ",") != std::string::npos;
}

// What has a meter of its own, of what a throttle counts.
struct Meter {
  std::vector<const Lease*> held;
  int64_t started = 0;  // units
  int64_t largest = 0;  // units of one task
  int64_t latest = 0;   // when all that has started had come
  // The least of what had started before a delivery, less what the rate had allowed until then.
  double least = std::numeric_limits<double>::infinity();
  const Lease* first = nullptr;
};

class Judge {
 public:
  explicit Judge(Index* index) : in_(*index) {
    for (const auto& [id, task] : in_.tasks) {
      for (const Lease& lease : task.leases) {
        if (lease.content != nullptr) leases_.push_back(&lease);
      }
    }
    std::sort(leases_.begin(), leases_.end(),
              [](const Lease* a, const Lease* b) { return a->deliver->t < b->deliver->t; });
    by_start_ = leases_;
    std::stable_sort(by_start_.begin(), by_start_.end(),
                     [this](const Lease* a, const Lease* b) { return Earliest(*a) < Earliest(*b); });
  }

  void Run() {
    for (const auto& [name, asks] : in_.throttles) {
      for (const Period& period : SurePeriods(asks)) {
        if (period.asked->kind == "throttle_delete") continue;
        if (period.asked->n > 0) CheckRunning(period);
        // While wall time is behind its own past, histories stand still.
        if (period.asked->rate > 0 && in_.last_jump < 0) CheckStarts(period);
      }
    }
  }

 private:
  // A sweep over all deliveries: what runs under each meter.
  void CheckRunning(const Period& period) {
    const Event& throttle = *period.asked;
    std::map<std::string, Meter> meters;
    for (const Lease* lease : leases_) {
      if (lease->deliver->t >= period.until) return;
      std::string scope;
      if (!ScopeOf(throttle, *lease->content, &scope)) continue;
      Meter& meter = meters[scope];
      const int64_t t = lease->deliver->t;
      std::erase_if(meter.held, [t](const Lease* held) { return held->held_until <= t; });
      if (in_.SurelyAfter(lease->deliver, period.told)) CheckRunning(throttle, meter, *lease);
      if (lease->held_until > t) meter.held.push_back(lease);
    }
  }

  // Another, in the order in which they were given out, as far as that is known: what starts.
  void CheckStarts(const Period& period) {
    std::map<std::string, Meter> meters;
    for (const Lease* lease : by_start_) {
      std::string scope;
      if (lease->deliver->t >= period.until || !in_.SurelyAfter(lease->deliver, period.told)) continue;
      if (ScopeOf(*period.asked, *lease->content, &scope)) CheckRate(*period.asked, &meters[scope], *lease);
    }
  }

  // False: the throttle does not count the task.
  static bool ScopeOf(const Event& throttle, const Event& task, std::string* scope) {
    if (!Names(throttle.queues, task.q) || !Names(throttle.types, task.type)) return false;
    if (throttle.per == "queue") *scope = task.q;
    if (throttle.per == "type") *scope = task.type;
    if (throttle.per == "key") *scope = task.key;
    if (throttle.per == "group")
      *scope = task.key.empty() ? task.group : "";  // tasks of a key have the group of its first
    return !scope->empty() || throttle.per == "all";
  }

  void CheckRunning(const Event& throttle, const Meter& meter, const Lease& lease) {
    if (meter.held.empty()) return;  // what costs more than there is runs alone
    int64_t units = lease.content->cost;
    for (const Lease* held : meter.held) units += held->content->cost;
    if (units > throttle.n) {
      in_.Report("limit",
                 std::to_string(units) + " units run under throttle " + throttle.name + ", which lets " +
                     std::to_string(throttle.n),
                 {&throttle, meter.held.front()->deliver, lease.deliver});
    }
  }

  // When it was given out, or later.
  int64_t Earliest(const Lease& lease) const {
    const Event& given = *lease.deliver;
    return given.since > 0 ? given.since : given.t - in_.config.max_delay - in_.config.max_commit;
  }

  // In any time, no more start than the burst, and what the rate lets come in it; of what costs more than the burst,
  // one more.
  void CheckRate(const Event& throttle, Meter* meter, const Lease& lease) {
    const Event& given = *lease.deliver;
    const double rate = static_cast<double>(throttle.rate) / static_cast<double>(throttle.period);
    const auto allowed = [rate](int64_t t) { return rate * static_cast<double>(t); };
    const double before = static_cast<double>(meter->started) - allowed(Earliest(lease));
    meter->latest = std::max(meter->latest, given.t);
    if (before < meter->least) {
      meter->least = before;
      meter->first = &lease;
    }
    meter->started += lease.content->cost;
    meter->largest = std::max(meter->largest, lease.content->cost);
    const int64_t burst = throttle.burst == 0 ? throttle.rate : throttle.burst;
    const double most = meter->least + allowed(meter->latest) + static_cast<double>(std::max(burst, meter->largest));
    if (static_cast<double>(meter->started) > most + 0.01) {
      in_.Report("rate", "more started in a time than throttle " + throttle.name + " lets",
                 {&throttle, meter->first->deliver, &given});
    }
  }

  Index& in_;
  std::vector<const Lease*> leases_;    // by their deliveries
  std::vector<const Lease*> by_start_;  // by when they were given out
};

}  // namespace

void CheckThrottles(Index* index) {
  if (!index->throttles.empty() && !index->Forgetful()) Judge(index).Run();
}

}  // namespace penstock::histcheck
