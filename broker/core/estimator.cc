#include "broker/core/estimator.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/container/btree_map.h"

namespace penstock::broker {
namespace {

// Looked at for a place, and for a queue's drain; what is beyond counts as those.
constexpr int kLanesOfPlace = 10'000;
constexpr int kLanesOfDrain = 256;
// Nine in ten times the truth is within so many deviations of its mean: more than the 1.645 of a normal distribution,
// for the deviation is guessed as well, and what takes long takes longer than what is short is short. This and the next
// ones are what tests/unit/broker/core/estimate_test.cc finds to be so.
constexpr double kNineInTen = 1.8;
// How far, in proportion, the part of other lanes that is guessed to come first may be off: a standard deviation.
constexpr double kOrderError = 0.25;
// The variance of when the last of many ends, in squares of what is left of one on average: pi^2 / 6 where all take
// exponentially long and of how many kinds they are is known.
constexpr double kLastVariance = 2.5;
// Of about so many runs the mean of a run is known.
constexpr double kRunsKnown = 64;
// The key that is done last is not the one with most tasks, but one of those whose tasks also took long: by so many
// deviations.
constexpr double kLongestKey = 1.5;

Span ToSpan(double micros) { return static_cast<Span>(std::clamp(micros, 0.0, 1e17)); }

SpanEstimate Around(double mean, double variance, double earliest) {
  const double deviation = kNineInTen * std::sqrt(std::max(variance, 0.0));
  return {ToSpan(std::max(mean, earliest)), ToSpan(std::max(mean - deviation, earliest)),
          ToSpan(std::max(mean + deviation, earliest))};
}

// The part of a lane's tasks, from the oldest to the newest, that came before a task: since then, or in that block if
// it was enqueued without a delay.
double PartBefore(const Lane& lane, Time since, BlockId block) {
  const FreshRun& last = lane.runs.newest();
  // Blocks are numbered as they come: that tells apart what came in a burst.
  if (!block.empty() && lane.timed_due() == 0 && lane.runs.has_front()) {
    const uint64_t first = lane.runs.front().block.value();
    if (block.value() < first) return 0;
    if (block.value() > last.block.value()) return 1;
    return (static_cast<double>(block.value() - first) + 0.5) / (static_cast<double>(last.block.value() - first) + 1);
  }
  const Time oldest = lane.is_ready() ? lane.ready_since : lane.runs.front().since;
  const Time newest = std::max({oldest, last.since, lane.timed_due() > 0 ? lane.due_cursor().due : 0});
  if (since < oldest) return 0;
  if (since >= newest) return 1;
  return static_cast<double>(since - oldest) / static_cast<double>(newest - oldest);
}

uint64_t Waiting(const Lane& lane) { return lane.fresh_count + lane.timed_due(); }

}  // namespace

void Estimator::Work::Add(const RunSketch& sketch, double count) {
  mean += count * sketch.mean();
  square += count * (sketch.variance() + sketch.mean() * sketch.mean());
  // Each run may be longer or shorter, and the mean itself is only known from so many.
  variance += count * sketch.variance() + count * count * sketch.variance() / sketch.weight();
  tasks += count;
}

const RunSketch* Estimator::SketchOf(TypeId type) const {
  return dispatcher_.sketches().Find(context_.state.BaseType(type));
}

TypeId Estimator::TypeOf(const Lane& lane) {
  if (!lane.key.fifo) return lane.key.type;
  if (lane.runs.has_front()) return lane.runs.front().type();
  return lane.ready != nullptr && lane.is_ready() ? lane.ready->owner->type : TypeId();
}

Estimator::Place Estimator::PlaceOf(Lane* lane, const Lifecycle::StoredTask& task, Time since) {
  const Time now = context_.now.wall;
  const QueueState& queue = *lane->queue;
  const int urgency = kUrgencies - 1 - task.priority;
  Place place;
  place.in_lane = positions_.Before(lane, task, since);
  const Dispatcher::WorkersFor workers = dispatcher_.FindWorkers(queue, task.type);

  // What else is ready for the same workers, and goes first: more urgent, or as urgent and older.
  double urgent = 0, same = 0, lower = 0;
  double urgent_elsewhere = 0, same_elsewhere = 0;
  absl::btree_map<uint64_t, double> groups;     // of as urgent tasks of the queue
  absl::btree_map<TypeId, double> types_ahead;  // all of these
  int lanes_left = kLanesOfPlace;
  const uint64_t own_group = lane->group;
  // Of a task that waited for a time, or came back, its block does not say since when it waits.
  const BlockId block = task.record || task.extras().run_at != 0 ? BlockId() : BlockId(task.id.block());
  dispatcher_.ready().VisitReady([&](const LaneClass& lane_class, const Lane& other) {
    if (lanes_left-- <= 0) return false;
    if (&other == lane || lane_class.parked) return true;
    const bool own_queue = lane_class.queue == queue.id;
    const bool shared_workers =
        std::any_of(lane_class.shares.begin(), lane_class.shares.end(), [&](const Share* share) {
          return std::find(workers.subscriptions.begin(), workers.subscriptions.end(), share->subscription) !=
                 workers.subscriptions.end();
        });
    // Without any worker, the queue's order alone counts.
    const bool counts = shared_workers || (own_queue && workers.subscriptions.empty());
    if (!counts || (lane_class.blocked && !own_queue)) return true;
    const double waiting = static_cast<double>(Waiting(other));
    double ahead = waiting;
    if (lane_class.urgency < urgency) {
      (own_queue ? urgent : urgent_elsewhere) += waiting;
    } else if (lane_class.urgency > urgency) {
      if (own_queue) lower += waiting;
      return true;
    } else if (own_queue && queue.shared && other.group != own_group) {
      groups[other.group] += waiting;
      return true;
    } else {
      ahead = waiting * PartBefore(other, since, block);
      (own_queue ? same : same_elsewhere) += ahead;
    }
    types_ahead[context_.state.BaseType(lane_class.type)] += ahead;
    return true;
  });

  // Keys that a task holds are not in that order; as soon as it has ended, their next one is.
  uint64_t keys = lane->key.fifo ? 1 : 0;
  for (LaneId id : queue.lanes) {
    if (lanes_left-- <= 0) break;
    const Lane& other = *context_.state.FindLane(id);
    if (!other.key.fifo || &other == lane || !other.has_waiting()) continue;
    ++keys;
    if (other.hold == nullptr || other.is_ready() || !other.runs.has_front()) continue;
    if (context_.state.FindLease(other.hold->task) == nullptr && other.hold->due == kNever) continue;  // dead
    const double ahead = static_cast<double>(Waiting(other)) * PartBefore(other, since, block);
    same += ahead;
    types_ahead[context_.state.BaseType(other.runs.front().type())] += ahead;
  }

  // Groups take turns by their weights until theirs is used up.
  const double in_lane = static_cast<double>(place.in_lane.expected);
  const double own_weight = queue.WeightOf(own_group);
  const double in_group = in_lane + same;
  double turns = 0;
  for (const auto& [group, waiting] : groups) {
    turns += std::min(waiting, (in_group + 0.5) * queue.WeightOf(group) / own_weight);
  }
  double expected = in_group + turns;
  // After a burst of more urgent tasks one that is less urgent has its turn.
  const double burst = context_.options.priority_burst;
  if (urgent > 0) expected = std::min(expected + urgent, (expected + 1) * (burst + 1) - 1);
  expected += std::min(lower, std::floor(expected / burst));
  // While those of its key run one by one, others run beside them, whenever they came.
  const double slots = workers.fitting.slots;
  if (lane->key.fifo) {
    const double beside = std::min<double>(slots, static_cast<double>(keys));
    expected = std::max(expected, in_lane * beside);
  }
  // For certain: those of its lane, and at most everything that waits.
  const QueueCounters& counters = queue.counters;
  uint64_t all = counters.available;
  uint64_t of_lane = Waiting(*lane);
  if (since > now) {
    all += counters.scheduled + counters.retryable;
    of_lane = lane->fresh_count + lane->timed_count();
  }
  const uint64_t others = all - std::min(all, of_lane);
  place.in_queue.low = place.in_lane.low;
  place.in_queue.high = place.in_lane.high + others;
  place.in_queue.expected = std::clamp(static_cast<uint64_t>(expected + 0.5), place.in_queue.low, place.in_queue.high);

  // --- when ---
  if (slots == 0) return place;
  const double earliest = static_cast<double>(std::max<Span>(since - now, 0));
  const double elsewhere = urgent_elsewhere + same_elsewhere;
  const double prefetched = workers.fitting.prefetched;
  const double before = static_cast<double>(place.in_queue.expected) + elsewhere + prefetched;
  const double free = workers.fitting.free;
  const TypeId type = context_.state.BaseType(task.type);
  const RunSketch* own = SketchOf(type);
  const Meters::Pace pace =
      dispatcher_.meters().PaceOf(dispatcher_.deliverer().PlaceOf(*lane, type), task.extras().cost);
  const bool paced = pace.at_once > 0 || pace.interval > 0 || lane->key.fifo;
  if (before < free && !paced) {
    place.starts_in = {ToSpan(earliest), ToSpan(earliest), ToSpan(earliest)};
    return place;
  }
  // A usual run of those ahead: of each type by its part.
  // Those of its key may be of any type that the others are.
  types_ahead[type] += (lane->key.fifo ? 0 : in_lane) + 1 + turns;
  Work usual;
  for (const auto& [ahead, count] : types_ahead) {
    if (const RunSketch* sketch = SketchOf(ahead)) usual.Add(*sketch, count);
  }
  if (usual.tasks <= 0) return place;
  const double mean = usual.mean / usual.tasks;
  const double part = before > 0 ? std::max(before - free, 0.0) / usual.tasks : 0;
  const double residual = usual.residual();
  // So many have to end first; then a slot is free for it, but for what is left of those that run now.
  double wait = 0, variance = 0;
  if (before >= free) {
    wait = ((before - free) * mean + residual) / slots;
    variance = (part * usual.variance + residual * residual) / (slots * slots);
  }
  const double in_lane_error = static_cast<double>(place.in_lane.high - place.in_lane.low) / 4;
  const double order_error = kOrderError * (expected - in_lane + elsewhere);
  const double error = std::sqrt(in_lane_error * in_lane_error + order_error * order_error) * mean / slots;
  variance += error * error;
  // What runs one at a time, or so many at a time, takes its own time.
  if (lane->key.fifo) {
    const bool held = lane->hold != nullptr && lane->hold->task != task.id && lane->hold->due == kNever;
    const double alone = in_lane * mean + (held ? residual : 0);
    if (alone > wait) {
      wait = alone;
      variance = in_lane * usual.spread() * (1 + in_lane / kRunsKnown) + (held ? residual * residual : 0);
    }
  }
  if (own != nullptr) {
    const double ahead = static_cast<double>(place.in_queue.expected);
    if (pace.at_once > 0) {
      const double at_once = std::min<double>(static_cast<double>(pace.at_once), slots);
      const double running = std::min<double>(static_cast<double>(counters.running), at_once);
      const double full =
          ahead + running < at_once ? 0 : ((ahead + running - at_once) * own->mean() + own->residual()) / at_once;
      if (full > wait) {
        wait = full;
        variance = (ahead * own->variance() + own->residual() * own->residual()) / (at_once * at_once);
      }
    }
  }
  wait = std::max(wait, static_cast<double>(place.in_queue.expected) * pace.interval);
  // Slots that became busy together become free together: up to a run earlier or later.
  if (wait > 0) variance += mean * mean / 4;
  place.starts_in = Around(wait, variance, earliest);
  return place;
}

Estimator::LastOnes Estimator::LastOf(const absl::btree_map<TypeId, double>& types, const Work& work,
                                      double count) const {
  // Those of a type that run when nothing waits any more, and what is left of each on average.
  struct Left {
    double count;
    double residual;
  };
  std::vector<Left> left;
  double longest = 0, spread = 0, all = 0;
  for (const auto& [type, waiting] : types) {
    const RunSketch& sketch = *SketchOf(type);
    if (sketch.mean() <= 0) continue;
    const double time = waiting * sketch.mean();
    left.push_back({time, sketch.residual()});
    longest = std::max(longest, sketch.residual());
    spread += time * std::min(sketch.variance() / (sketch.mean() * sketch.mean()), 1.0);
    all += time;
  }
  if (left.empty()) return {};
  spread /= all;
  for (Left& of_type : left) of_type.count *= count / all;
  // What is left is taken for exponentially long, by its type. Then the last one ends, in the mean, when e^-gamma of
  // them would be left.
  constexpr double kGamma = 0.5772;
  const auto after = [&](double span) {
    Left sum{0, 0};
    for (const Left& of_type : left) {
      const double still = of_type.count * std::exp(-span / of_type.residual);
      sum.count += still;
      sum.residual += still * of_type.residual;
    }
    return sum;
  };
  double ends = longest * std::max(kGamma + std::log(std::max(count, 1.0)), 1.0);
  if (left.size() > 1) {
    double low = 0;
    for (double step = ends / 2; step > ends / 1'000; step /= 2) {
      if (after(low + step).count > std::exp(-kGamma)) low += step;
    }
    ends = low;
  }
  const Left then = after(ends);
  const double residual = work.residual();
  const double of_last = then.count > 0 ? then.residual / then.count : residual;
  // Runs that take equally long end together.
  return {residual + std::max(ends - residual, 0.0) * spread, of_last * of_last * spread};
}

SpanEstimate Estimator::DrainedIn(const QueueState& queue) {
  const QueueCounters& counters = queue.counters;
  if (counters.available + counters.running == 0 || queue.paused || dispatcher_.stopped()) return {};
  // A part of the lanes stands for all of them.
  absl::btree_map<TypeId, double> types;
  Work of_keys;
  double visited = 0, most_of_key = 0;
  int lanes_left = kLanesOfDrain;
  for (LaneId id : queue.lanes) {
    if (lanes_left-- == 0) break;
    const Lane& lane = *context_.state.FindLane(id);
    const TypeId type = TypeOf(lane);
    const double waiting = static_cast<double>(Waiting(lane));
    if (waiting == 0 || type.empty()) continue;
    types[type] += waiting;
    visited += waiting;
    if (!lane.key.fifo) continue;
    // A key's tasks may be of several types; only that of its first is known.
    if (const RunSketch* sketch = SketchOf(type)) of_keys.Add(*sketch, waiting);
    most_of_key = std::max(most_of_key, waiting);
  }
  Work work;
  absl::btree_map<uint32_t, const Subscription*> subscriptions;  // by id
  double interval = 0;
  double at_once = 0;
  const double scale = visited == 0 ? 0 : static_cast<double>(counters.available) / visited;
  for (const auto& [type, waiting] : types) {
    const RunSketch* sketch = SketchOf(type);
    const Dispatcher::WorkersFor workers = dispatcher_.FindWorkers(queue, type);
    if (sketch == nullptr || workers.fitting.slots == 0) return {};
    work.Add(*sketch, waiting * scale);
    for (const Subscription* of : workers.subscriptions) subscriptions.emplace(of->id, of);
    const Meters::Pace pace = dispatcher_.meters().PaceOf({queue.id, context_.state.BaseType(type), 0, 0}, 1);
    interval = std::max(interval, pace.interval * waiting * scale);
    if (pace.at_once > 0)
      at_once = at_once == 0 ? static_cast<double>(pace.at_once) : at_once + static_cast<double>(pace.at_once);
  }
  if (visited == 0 && counters.available > 0) return {};
  // Workers that take other queues, too, give each its part.
  double slots = 0;
  for (const auto& [id, subscription] : subscriptions) {
    const Subscription::Workers& workers = subscription->workers;
    if (workers.waiting == 0) continue;
    slots += workers.slots * static_cast<double>(counters.available) / static_cast<double>(workers.waiting);
  }
  if (at_once > 0) slots = std::min(slots, at_once);
  const double running = static_cast<double>(counters.running);
  if (work.tasks <= 0) return {};  // only what runs is left: of whichever types
  const double mean = work.mean / work.tasks;
  const double residual = work.residual();
  slots = std::max(slots, 1e-3);
  // All slots are busy until nothing waits any more; then what runs in each ends, and the last of these ends it all.
  const LastOnes last = LastOf(types, work, std::min(slots, work.tasks + running));
  const double busy = std::max((work.mean + running * residual) / slots - residual, 0.0);
  double drained = busy + last.ends;
  double variance = (work.variance + running * residual * residual) / (slots * slots) + kLastVariance * last.variance;
  if (most_of_key > 0 && of_keys.tasks > 0) {
    const double key_variance = most_of_key * of_keys.spread();
    const double longest = most_of_key * of_keys.mean / of_keys.tasks + kLongestKey * std::sqrt(key_variance);
    if (longest > drained) {
      drained = longest;
      variance = 0;
    }
    variance += key_variance;
  }
  // As of a start: runs that began together end together.
  variance += mean * mean / 4;
  return Around(std::max(drained, interval), variance, mean / 2);
}

SpanEstimate Estimator::DrainedIn(const Lane& lane) {
  if (lane.queue == nullptr || lane.queue->paused || lane.hold == nullptr) return {};
  const Time now = context_.now.wall;
  const uint64_t waiting = lane.fresh_count + lane.timed_count();
  const Lease* lease = context_.state.FindLease(lane.hold->task);
  const bool runs = lease != nullptr;
  // A dead holder keeps it until somebody does something.
  if (!runs && lane.hold->due == kNever) return {};
  TypeId type = TypeOf(lane);
  if (type.empty() && runs) type = lease->type;
  if (type.empty() || dispatcher_.FindWorkers(*lane.queue, type).fitting.slots == 0) return {};
  const RunSketch* sketch = SketchOf(type);
  if (sketch == nullptr) return {};
  Work work;
  work.Add(*sketch, static_cast<double>(waiting));
  const double first = runs ? sketch->residual() : static_cast<double>(std::max<Span>(lane.hold->due - now, 0));
  const double first_variance = runs ? sketch->residual() * sketch->residual() : 0;
  return Around(first + work.mean, work.variance + first_variance, 0);
}

}  // namespace penstock::broker
