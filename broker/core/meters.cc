#include "broker/core/meters.h"

#include <algorithm>
#include <cstdlib>

#include "common/units.h"
#include "fmt/format.h"

namespace penstock::broker {
namespace {

// Of those who wait for a meter, so many look again at a time: several, so that priorities and groups are chosen
// among, and few, because most find it closed again.
constexpr size_t kUnparked = 16;

const ThrottleRule kCooling;

}  // namespace

Meters::Meter& Meters::At(const MeterKey& key) {
  std::unique_ptr<Meter>& meter = meters_[key];
  if (meter == nullptr) meter = std::make_unique<Meter>();
  return *meter;
}

Meters::Meter* Meters::Find(const MeterKey& key) {
  auto found = meters_.find(key);
  return found == meters_.end() ? nullptr : found->second.get();
}

void Meters::DropIfIdle(const MeterKey& key) {
  auto found = meters_.find(key);
  if (found == meters_.end() || found->second->running > 0 || !found->second->waiting.empty()) return;
  SetWake(key, *found->second, kNever);
  opening_.erase(key);
  meters_.erase(found);
}

void Meters::SetWake(const MeterKey& key, Meter& meter, Time wake) {
  if (meter.wake == wake) return;
  if (meter.wake != kNever) wakes_.erase({meter.wake, key});
  if (wake != kNever) wakes_.insert({wake, key});
  meter.wake = wake;
}

void Meters::NoteOpening(const MeterKey& key, Meter& meter) {
  if (!meter.waiting.empty()) opening_.insert(key);
}

// --- judging ---

void Meters::ForEach(const TaskPlace& place,
                     absl::FunctionRef<bool(const ThrottleRule* rule, const MeterKey& key)> visit) {
  if (cooled_until_ > context_.now.wall) {
    if (!visit(nullptr, {kCooledQueue, place.queue.value()})) return;
    if (!visit(nullptr, {kCooledType, place.type.value()})) return;
    if (place.group != 0 && !visit(nullptr, {kCooledGroup, place.group})) return;
    if (place.key != 0 && !visit(nullptr, {kCooledKey, place.key})) return;
  }
  if (rules_.empty()) return;
  for (const ThrottleRule* rule : rules_.Of(place.queue, place.type)) {
    MeterKey key;
    if (rule->KeyOf(place, &key) && !visit(rule, key)) return;
  }
}

MeterVerdict Meters::Judge(const ThrottleRule& rule, const MeterKey& key, uint16_t cost) {
  MeterVerdict verdict;
  verdict.key = key;
  verdict.whole_class =
      key.throttle == kCooledQueue || key.throttle == kCooledType ||
      (key.throttle.value() >= kThrottleIdsBegin && rule.per != ThrottlePer::kGroup && rule.per != ThrottlePer::kKey);
  const Time now = context_.now.wall;
  const Meter* meter = Find(key);
  if (cost == 0) cost = meter == nullptr ? 1 : meter->need;
  const MeterTimes times = context_.state.TimesOf(key);
  if (times.cooled_until > now) {
    verdict.state = MeterState::kCooled;
    verdict.opens = times.cooled_until;
  } else if (rule.max_running > 0 && meter != nullptr && meter->running > 0 &&
             meter->running + cost > rule.max_running) {
    verdict.state = MeterState::kFull;
  } else if (rule.bucket.interval > 0) {
    const Time available = rule.bucket.AvailableAt(times.full, cost);
    if (available > now) {
      verdict.state = MeterState::kRate;
      verdict.opens = available;
    }
  }
  return verdict;
}

MeterVerdict Meters::JudgeByKey(const MeterKey& key, uint16_t cost) {
  const ThrottleRule* rule = rules_.Find(key.throttle);
  return Judge(rule == nullptr ? kCooling : *rule, key, cost);
}

MeterVerdict Meters::Check(const TaskPlace& place, uint16_t cost) {
  MeterVerdict closed;
  ForEach(place, [&](const ThrottleRule* rule, const MeterKey& key) {
    closed = Judge(rule == nullptr ? kCooling : *rule, key, cost);
    return closed.open();
  });
  return closed;
}

std::vector<MeterVerdict> Meters::CheckAll(const TaskPlace& place, uint16_t cost) {
  std::vector<MeterVerdict> closed;
  ForEach(place, [&](const ThrottleRule* rule, const MeterKey& key) {
    const ThrottleRule& judged_by = rule == nullptr ? kCooling : *rule;
    MeterVerdict verdict = Judge(judged_by, key, 0);
    if (verdict.open()) verdict = Judge(judged_by, key, cost);
    if (!verdict.open()) closed.push_back(verdict);
    return true;
  });
  return closed;
}

std::vector<TaskId> Meters::RunningOf(const MeterKey& key, size_t max) {
  std::vector<TaskId> tasks;
  const ThrottleRule* rule = rules_.Find(key.throttle);
  if (rule == nullptr) return tasks;
  context_.state.ForEachLease([&](const Lease& lease) {
    if (tasks.size() == max || !lease.metered) return;
    const auto rules = rules_.Of(lease.queue, lease.type);
    if (std::find(rules.begin(), rules.end(), rule) == rules.end()) return;
    MeterKey counted_by;
    if (rule->KeyOf(PlaceOf(context_.state, lease), &counted_by) && counted_by == key) tasks.push_back(lease.task);
  });
  return tasks;
}

Meters::Pace Meters::PaceOf(const TaskPlace& place, uint16_t cost) {
  Pace pace;
  for (const ThrottleRule* rule : rules_.Of(place.queue, place.type)) {
    if (rule->per == ThrottlePer::kGroup || rule->per == ThrottlePer::kKey) continue;
    if (rule->max_running > 0) {
      const uint64_t at_once = std::max<uint64_t>(rule->max_running / cost, 1);
      pace.at_once = pace.at_once == 0 ? at_once : std::min(pace.at_once, at_once);
    }
    pace.interval = std::max(pace.interval, static_cast<double>(rule->bucket.interval) * cost / 1'000);
  }
  return pace;
}

bool Meters::Fits(const TaskPlace& place, uint16_t cost) {
  const MeterVerdict verdict = Check(place, cost);
  if (!verdict.open() && cost > 1) At(verdict.key).need = cost;
  return verdict.open();
}

// --- waiting ---

void Meters::Wait(const MeterVerdict& closed, const Parked& waiter) {
  Meter& meter = At(closed.key);
  if (meter.waiting.empty()) ++waiting_[closed.key.throttle];
  meter.waiting.insert(waiter);
  SetWake(closed.key, meter, closed.opens == 0 ? kNever : closed.opens);
}

void Meters::Wake() {
  while (!wakes_.empty() && wakes_.begin()->first <= context_.now.wall) {
    const MeterKey key = wakes_.begin()->second;
    Meter& meter = At(key);
    SetWake(key, meter, kNever);
    NoteOpening(key, meter);
  }
}

bool Meters::Unpark(absl::FunctionRef<void(const Parked&)> visit) {
  size_t unparked = 0;
  while (!released_.empty() && unparked < kUnparked) {
    const Parked waiter = released_.back();
    released_.pop_back();
    visit(waiter);
    ++unparked;
  }
  // Those that are closed again after all stay as they are: whoever closed them will open them.
  const std::vector<MeterKey> opening(opening_.begin(), opening_.end());
  for (const MeterKey& key : opening) {
    Meter& meter = At(key);
    if (const MeterVerdict verdict = JudgeByKey(key, 0); !verdict.open()) {
      opening_.erase(key);
      SetWake(key, meter, verdict.opens == 0 ? kNever : verdict.opens);
      continue;
    }
    meter.need = 1;
    for (size_t i = 0; i < kUnparked && !meter.waiting.empty(); ++i) {
      auto next = meter.waiting.upper_bound(meter.turn);
      if (next == meter.waiting.end()) next = meter.waiting.begin();
      const Parked waiter = *next;
      meter.waiting.erase(next);
      meter.turn = waiter;
      if (meter.waiting.empty() && --waiting_[key.throttle] == 0) waiting_.erase(key.throttle);
      visit(waiter);
      ++unparked;
    }
    if (!meter.waiting.empty()) continue;
    opening_.erase(key);
    DropIfIdle(key);
  }
  return unparked > 0;
}

// --- counting ---

TaskPlace Meters::PlaceOf(CoreState& state, const Lease& lease) {
  TaskPlace place{lease.queue, state.BaseType(lease.type), 0, 0};
  if (lease.fifo) {
    place.key = lease.lane_name;
    const Lane* lane = state.FindLane(lease.lane());
    if (lane != nullptr) place.group = lane->group;
  } else {
    place.group = lease.lane_name;
  }
  return place;
}

bool Meters::Take(const TaskPlace& place, uint16_t cost) {
  bool counted = false;
  const Time now = context_.now.wall;
  ForEach(place, [&](const ThrottleRule* rule, const MeterKey& key) {
    if (rule == nullptr) return true;
    if (rule->max_running > 0) {
      At(key).running += cost;
      counted = true;
    }
    if (rule->bucket.interval > 0) {
      MeterTimes times = context_.state.TimesOf(key);
      if (times == MeterTimes()) context_.state.PruneTimes(now);
      times.full = rule->bucket.Take(times.full, now, cost);
      context_.state.SetTimes(key, times);
    }
    return true;
  });
  return counted;
}

void Meters::GiveBack(const TaskPlace& place, uint16_t cost) {
  ForEach(place, [&](const ThrottleRule* rule, const MeterKey& key) {
    if (rule == nullptr || rule->max_running == 0) return true;
    Meter* meter = Find(key);
    if (meter == nullptr) return true;
    meter->running -= std::min<uint64_t>(cost, meter->running);
    NoteOpening(key, *meter);
    DropIfIdle(key);
    return true;
  });
}

void Meters::Cool(const MeterKey& key, Time until) {
  MeterTimes times = context_.state.TimesOf(key);
  if (times.cooled_until >= until) return;
  if (times == MeterTimes()) context_.state.PruneTimes(context_.now.wall);
  times.cooled_until = until;
  context_.state.SetTimes(key, times);
  cooled_until_ = std::max(cooled_until_, until);
}

void Meters::Recount(ThrottleId throttle, bool new_rate) {
  const MeterKey first{throttle, 0};
  const MeterKey past{ThrottleId(throttle.value() + 1), 0};
  for (auto it = meters_.lower_bound(first); it != meters_.end() && it->first < past;) {
    Meter& meter = *it->second;
    released_.insert(released_.end(), meter.waiting.begin(), meter.waiting.end());
    SetWake(it->first, meter, kNever);
    opening_.erase(it->first);
    it = meters_.erase(it);
  }
  waiting_.erase(throttle);
  const ThrottleRule* rule = rules_.Find(throttle);
  if (new_rate) {
    std::vector<MeterKey> keys;
    const auto& times = context_.state.meter_times();
    for (auto it = times.lower_bound(first); it != times.end() && it->first < past; ++it) keys.push_back(it->first);
    for (const MeterKey& key : keys) {
      MeterTimes kept;
      if (rule != nullptr) kept.cooled_until = context_.state.TimesOf(key).cooled_until;
      context_.state.SetTimes(key, kept);
    }
  }
  if (rule == nullptr || rule->max_running == 0) return;
  context_.state.ForEachLease([&](const Lease& lease) {
    const auto rules = rules_.Of(lease.queue, lease.type);
    if (std::find(rules.begin(), rules.end(), rule) == rules.end()) return;
    MeterKey key;
    if (!rule->KeyOf(PlaceOf(context_.state, lease), &key)) return;
    Lease* counted = context_.state.FindLease(lease.task);
    lifecycle_.LoadDetails(counted);
    counted->metered = true;
    At(key).running += counted->cost;
  });
}

void Meters::Restore() {
  for (const auto& [key, times] : context_.state.meter_times()) {
    cooled_until_ = std::max(cooled_until_, times.cooled_until);
  }
  for (ThrottleId id : rules_.ids()) Recount(id, false);
}

// --- views ---

std::string Meters::CooledName(const MeterKey& key) {
  if (key.throttle == kCooledQueue) {
    const QueueState* queue = context_.state.FindQueue(QueueId(static_cast<uint32_t>(key.scope)));
    return queue == nullptr ? "its queue" : "queue " + queue->name;
  }
  if (key.throttle == kCooledType) {
    return fmt::format("type {}", context_.state.TypeName(TypeId(static_cast<uint32_t>(key.scope))));
  }
  return key.throttle == kCooledGroup ? "its group" : "its key";
}

Time Meters::CooledUntil(ThrottlePer per, uint64_t scope) {
  if (cooled_until_ <= context_.now.wall) return 0;
  switch (per) {
    case ThrottlePer::kAll:
      return 0;
    case ThrottlePer::kQueue:
      return context_.state.TimesOf({kCooledQueue, scope}).cooled_until;
    case ThrottlePer::kType:
      return context_.state.TimesOf({kCooledType, scope}).cooled_until;
    case ThrottlePer::kGroup:
      return context_.state.TimesOf({kCooledGroup, scope}).cooled_until;
    case ThrottlePer::kKey:
      return context_.state.TimesOf({kCooledKey, scope}).cooled_until;
  }
  std::abort();
}

std::string Meters::ThrottleOf(const MeterVerdict& closed) const {
  const ThrottleRule* rule = rules_.Find(closed.key.throttle);
  return rule == nullptr ? std::string() : rule->name;
}

std::string Meters::Explain(const MeterVerdict& closed) {
  const ThrottleRule* rule = rules_.Find(closed.key.throttle);
  const std::string who = rule == nullptr ? CooledName(closed.key) : "throttle " + rule->name;
  const std::string opens = penstock::FormatDuration(ToDuration(std::max<Span>(closed.opens - context_.now.wall, 0)));
  switch (closed.state) {
    case MeterState::kFull: {
      const Meter* meter = Find(closed.key);
      return fmt::format("{} is full: {} of {} run", who, meter == nullptr ? 0 : meter->running, rule->max_running);
    }
    case MeterState::kRate:
      return fmt::format("{} has reached its rate and opens in {}", who, opens);
    case MeterState::kCooled:
      return fmt::format("a handler asked to leave {} alone for another {}", who, opens);
    case MeterState::kOpen:
      break;
  }
  return "";
}

void Meters::Describe(ThrottleId throttle, size_t max_meters, ThrottleView* view) {
  const MeterKey first{throttle, 0};
  const MeterKey past{ThrottleId(throttle.value() + 1), 0};
  const ThrottleRule* rule = rules_.Find(throttle);
  if (rule == nullptr) return;
  // Both what is counted now and what has only a bucket that is not full.
  absl::btree_set<MeterKey> keys;
  for (auto it = meters_.lower_bound(first); it != meters_.end() && it->first < past; ++it) {
    view->running += it->second->running;
    if (!it->second->waiting.empty()) ++view->waiting_meters;
    if (keys.size() <= max_meters) keys.insert(it->first);
  }
  const auto& times = context_.state.meter_times();
  for (auto it = times.lower_bound(first); it != times.end() && it->first < past && keys.size() <= max_meters; ++it) {
    if (!it->second.is_over(context_.now.wall)) keys.insert(it->first);
  }
  for (const MeterKey& key : keys) {
    if (view->meters.size() == max_meters) {
      view->more_meters = true;
      break;
    }
    MeterView& meter_view = view->meters.emplace_back();
    meter_view.scope_number = key.scope;
    if (const Meter* meter = Find(key)) {
      meter_view.running = meter->running;
      meter_view.waiting = meter->waiting.size();
    }
    const MeterVerdict verdict = Judge(*rule, key, 0);
    meter_view.state = verdict.state;
    meter_view.opens = verdict.opens;
    if (const Time cooled = CooledUntil(rule->per, key.scope); cooled > context_.now.wall) {
      meter_view.state = MeterState::kCooled;
      meter_view.opens = cooled;
    }
    if (rule->bucket.interval > 0) {
      meter_view.available = rule->bucket.Available(context_.state.TimesOf(key).full, context_.now.wall);
    }
    if (rule->per == ThrottlePer::kQueue) {
      const QueueState* queue = context_.state.FindQueue(QueueId(static_cast<uint32_t>(key.scope)));
      if (queue != nullptr) meter_view.scope = queue->name;
    } else if (rule->per == ThrottlePer::kType) {
      meter_view.scope = context_.state.TypeName(TypeId(static_cast<uint32_t>(key.scope)));
    }
  }
}

uint64_t Meters::WaitingOf(ThrottleId throttle) const {
  const auto found = waiting_.find(throttle);
  return found == waiting_.end() ? 0 : found->second;
}

std::vector<ThrottleLoad> Meters::Loads() const {
  std::vector<ThrottleLoad> loads;
  for (ThrottleId id : rules_.ids()) loads.push_back({rules_.Find(id)->name, WaitingOf(id)});
  return loads;
}

uint64_t Meters::CooledWaiting() const {
  uint64_t waiting = 0;
  for (ThrottleId id : {kCooledQueue, kCooledType, kCooledGroup, kCooledKey}) waiting += WaitingOf(id);
  return waiting;
}

std::string Meters::DebugState() const {
  std::string out;
  for (const auto& [key, meter] : meters_) {
    if (meter->running == 0) continue;
    out += fmt::format("throttle {} scope={:016x} running={}\n", key.throttle.value(), key.scope, meter->running);
  }
  return out;
}

}  // namespace penstock::broker
