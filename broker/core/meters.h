#ifndef PENSTOCK_BROKER_CORE_METERS_H_
#define PENSTOCK_BROKER_CORE_METERS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "absl/functional/function_ref.h"
#include "broker/core/core_context.h"
#include "broker/core/lifecycle.h"
#include "broker/core/meter.h"
#include "broker/core/throttle.h"
#include "broker/core/throttle_rules.h"

namespace penstock::broker {

// Whether a meter lets a task start, and if not, why.
struct MeterVerdict {
  MeterKey key;
  MeterState state = MeterState::kOpen;
  Time opens = 0;  // when time alone opens it; 0: something has to end first

  // It keeps back everything of a queue and type, not some groups or keys.
  bool whole_class = true;

  bool open() const { return state == MeterState::kOpen; }
};

// Counts what runs and what has started, and says whether one more task may. A task starts only if every meter that
// counts it lets it. Who meets a closed meter waits for that one alone (Wait), out of everybody's way, so a task costs
// the same however much waits; when the meter may be open again, some of those who wait look once more (Unpark), by
// turns.
//
// What runs is counted from the leases, what has started is kept in CoreState::meter_times: a restart changes nothing.
// Counts are exact: they change in the step in which a task is lent or ends.
class Meters {
 public:
  Meters(CoreContext& context, Lifecycle& lifecycle, const ThrottleRules& rules)
      : context_(context), lifecycle_(lifecycle), rules_(rules) {}

  // False: nothing is throttled, so nothing needs to be asked.
  bool any() const { return !rules_.empty() || cooled_until_ > context_.now.wall; }
  // Tasks that a throttle counts are not handed out before a slot is free for them: what it admits runs at once.
  bool Counted(QueueId queue, TypeId type) const { return !rules_.empty() && !rules_.Of(queue, type).empty(); }

  // The first meter that keeps a task of this place and cost back. 0: the next task, whatever it costs; the cost of a
  // task that did not fit is waited for.
  MeterVerdict Check(const TaskPlace& place, uint16_t cost);
  // All of them: those that keep back the next task of its place, whichever that is, and those that have no room for
  // this one.
  std::vector<MeterVerdict> CheckAll(const TaskPlace& place, uint16_t cost);
  // Up to `max` running tasks that a throttle's meter counts.
  std::vector<TaskId> RunningOf(const MeterKey& key, size_t max);
  // How much of the place may start together and how fast, of throttles that count all of its queue or type alike:
  // tasks at once, and the time from one start to the next. 0: as many, as fast as one likes.
  struct Pace {
    uint64_t at_once = 0;
    double interval = 0;  // microseconds
  };
  Pace PaceOf(const TaskPlace& place, uint16_t cost);
  // As Check; one that does not fit is remembered, so that smaller ones do not pass it for ever.
  bool Fits(const TaskPlace& place, uint16_t cost);
  // `waiter` is to look again when the meter may be open. REQUIRES: it is closed.
  void Wait(const MeterVerdict& closed, const Parked& waiter);

  // The task is lent. True: it is counted as running, so GiveBack is to be called at its end.
  bool Take(const TaskPlace& place, uint16_t cost);
  void GiveBack(const TaskPlace& place, uint16_t cost);
  static TaskPlace PlaceOf(CoreState& state, const Lease& lease);

  // Nothing of the meter is handed out before then.
  void Cool(const MeterKey& key, Time until);

  // The throttle is new, changed or gone: what runs is counted anew for it, who waits for it looks again.
  // `new_rate`: its buckets are full.
  void Recount(ThrottleId throttle, bool new_rate);
  // After a recovery, all of them.
  void Restore();

  // Looks at what time has opened. Once a step, before Unpark.
  void Wake();
  // Up to a bounded number of those who wait for what may be open: each is out of its waiting. False: nobody.
  bool Unpark(absl::FunctionRef<void(const Parked&)> visit);
  // When a meter that somebody waits for opens by itself.
  Time next_wake() const { return wakes_.empty() ? kNever : wakes_.begin()->first; }

  // --- views ---
  // The throttle's name; empty: it belongs to none.
  std::string ThrottleOf(const MeterVerdict& closed) const;
  // Why a closed meter keeps a task back, for people.
  std::string Explain(const MeterVerdict& closed);
  void Describe(ThrottleId throttle, size_t max_meters, ThrottleView* view);
  // Of every throttle; and of cooling. They cost nothing but the throttles, however many meters there are.
  std::vector<ThrottleLoad> Loads() const;
  uint64_t CooledWaiting() const;
  // What runs, meter by meter, as text: after a recovery it must be the same.
  std::string DebugState() const;

 private:
  struct Meter {
    uint64_t running = 0;  // units
    uint16_t need = 1;     // what the next task costs at least
    Time wake = kNever;    // its place in wakes_
    absl::btree_set<Parked> waiting;
    Parked turn;  // whoever stands behind it is next
  };
  using MeterMap = absl::btree_map<MeterKey, std::unique_ptr<Meter>>;

  MeterVerdict Judge(const ThrottleRule& rule, const MeterKey& key, uint16_t cost);
  // Calls `visit` for each meter that counts the task, those of cooling among them, until it returns false.
  void ForEach(const TaskPlace& place, absl::FunctionRef<bool(const ThrottleRule* rule, const MeterKey& key)> visit);
  Meter& At(const MeterKey& key);
  Meter* Find(const MeterKey& key);
  uint64_t WaitingOf(ThrottleId throttle) const;
  // Nothing is counted or waits any more.
  void DropIfIdle(const MeterKey& key);
  // It may be open.
  void NoteOpening(const MeterKey& key, Meter& meter);
  void SetWake(const MeterKey& key, Meter& meter, Time wake);
  MeterVerdict JudgeByKey(const MeterKey& key, uint16_t cost);
  // What is cooled, for people.
  std::string CooledName(const MeterKey& key);
  // Until when what a throttle's meter counts is cooled as a whole; 0: it is not.
  Time CooledUntil(ThrottlePer per, uint64_t scope);

  CoreContext& context_;
  Lifecycle& lifecycle_;
  const ThrottleRules& rules_;
  MeterMap meters_;
  absl::btree_map<ThrottleId, uint64_t> waiting_;  // meters that somebody waits for; none of them: not there
  absl::btree_set<std::pair<Time, MeterKey>> wakes_;
  absl::btree_set<MeterKey> opening_;
  std::vector<Parked> released_;  // of throttles that changed or are gone
  Time cooled_until_ = 0;         // the latest of all
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_CORE_METERS_H_
