#include "tests/simulation/sim_tasks.h"

#include <algorithm>

#include "fmt/format.h"
#include "penstock/v1/task.pb.h"
#include "tests/simulation/sim_world.h"

namespace penstock::broker {

NewTask SimTaskMaker::Make(const std::string& queue, const Fixed* fixed, histcheck::Event* line,
                           std::deque<std::string>* texts) {
  static constexpr std::string_view kDigits[] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};
  const Time now = world_.clock().latest();
  NewTask task;
  task.queue = random_.OneIn(6) ? world_.queues()[random_.Below(world_.queues().size())] : queue;
  task.type = world_.types()[random_.Below(world_.types().size())];
  if (world_.has(Feature::kPriorities))
    task.priority = static_cast<uint8_t>(random_.OneIn(2) ? random_.Below(10) : 4 + random_.Below(3));
  const std::string payload = fmt::format("{}.{}{}", name_, ++made_, fixed == nullptr ? "" : "u");
  line->payload = payload;
  if (world_.has(Feature::kDelays) && random_.OneIn(4)) {
    if (random_.OneIn(2)) {
      task.delay = line->delay = static_cast<Span>(random_.Below(30'000)) * kMilli;
    } else {
      task.run_at = line->run_at = now + static_cast<Span>(random_.Below(60'000)) * kMilli;
    }
  }
  if (world_.has(Feature::kExpiry) && random_.OneIn(4)) {
    task.expire_at = line->expire_at = now + static_cast<Span>(random_.Below(40'000)) * kMilli;
  }
  if (world_.has(Feature::kLives) && random_.OneIn(3)) {
    task.life_timeout = line->life = static_cast<Span>(1 + random_.Below(60'000)) * kMilli;
  }
  if (fixed == nullptr) DrawUniqueKey(&task, line);
  if (world_.has(Feature::kFifoKeys) && random_.OneIn(2)) {
    static constexpr std::string_view kFifoKeys[] = {"f1", "f2", "f3"};
    task.key = kFifoKeys[random_.Below(3)];
  }
  if (world_.has(Feature::kGroups) && random_.OneIn(2)) task.group = random_.OneIn(2) ? "g1" : "g2";
  if (world_.has(Feature::kLabels) && random_.OneIn(3)) {
    static constexpr std::string_view kLabels[] = {"gpu=y", "zone=a", "zone=b", "gpu=y\nzone=a"};
    task.labels = kLabels[random_.Below(4)];
  }
  if (world_.has(Feature::kThrottles) && random_.OneIn(4)) {
    task.cost = static_cast<uint16_t>(random_.Between(2, 4));
    line->cost = task.cost;
  }
  if (world_.has(Feature::kPolicies) && random_.OneIn(4)) {
    task.retry_policy = RetryPolicy{.max_attempts = static_cast<uint32_t>(random_.Between(1, 4)),
                                    .initial_backoff = static_cast<Span>(random_.Below(3)) * kSecond,
                                    .multiplier = 2,
                                    .max_backoff = 20 * kSecond,
                                    .jitter = random_.OneIn(2) ? 1.0 : 0.0};
    line->max_attempts = task.retry_policy->max_attempts;
    line->backoff = task.retry_policy->jitter == 0 ? task.retry_policy->initial_backoff : 0;
  }
  if (world_.has(Feature::kShortRetention) && random_.OneIn(4)) task.result_retention = random_.Below(10) * kSecond;
  if (fixed != nullptr) {
    task.type = fixed->type;
    task.key = fixed->key;
  }
  line->q = std::string(task.queue);
  line->type = std::string(task.type);
  line->priority = task.priority;
  line->key = std::string(task.key);
  line->group = std::string(task.group);
  line->labels = std::string(task.labels);
  std::replace(line->labels.begin(), line->labels.end(), '\n', ',');
  const size_t padding =
      world_.has(Feature::kLargeTasks) && random_.OneIn(8) ? 600 + random_.Below(3'000) : random_.Below(40);
  std::string text(fmt::format("{}|{}|{}|{}|{}|{}|{}|", payload, task.queue, task.type, kDigits[task.priority],
                               task.group, task.key, line->labels));
  text.append(padding, '.');
  if (world_.has(Feature::kBulkJobs)) {
    line->n = static_cast<int64_t>(made_ % 3);
    v1::TaskSpec spec;
    spec.set_queue(line->q);
    spec.set_type(line->type);
    spec.set_payload(fmt::format(R"({{"n":{},"task":"{}"}})", line->n, text));
    spec.set_key(line->key);
    spec.set_group(line->group);
    text = spec.SerializeAsString();
  }
  texts->push_back(std::move(text));
  task.spec = texts->back();
  line->bytes = static_cast<int64_t>(task.spec.size());
  return task;
}

void SimTaskMaker::DrawUniqueKey(NewTask* task, histcheck::Event* line) {
  if (!world_.has(Feature::kUniqueKeys) || !random_.OneIn(3)) return;
  static constexpr std::string_view kKeys[] = {"k1", "k2", "k3", "k4"};
  task->unique_key = kKeys[random_.Below(4)];
  line->unique = std::string(task->unique_key);
  if (random_.OneIn(3)) task->unique_window = line->window = static_cast<Span>(1 + random_.Below(60'000)) * kMilli;
  if (!world_.has(Feature::kUniqueScopes)) return;
  if (task->unique_window == 0 && random_.OneIn(2)) {
    task->unique_waiting = true;
    line->scope = "waiting";
  }
  if (random_.OneIn(3)) return;
  task->unique_conflict = random_.OneIn(2) ? UniqueConflict::kReplace : UniqueConflict::kDebounce;
  line->conflict = task->unique_conflict == UniqueConflict::kReplace ? "replace" : "debounce";
}

SpecFields ReadSpec(std::string_view spec) {
  SpecFields fields;
  v1::TaskSpec stored;
  if (spec.starts_with('\n') && stored.ParseFromArray(spec.data(), static_cast<int>(spec.size()))) {
    spec = stored.payload();
    spec.remove_prefix(std::string_view(R"({"n":0,"task":")").size());
  }
  std::string* const order[] = {&fields.payload, &fields.queue, &fields.type,  &fields.priority,
                                &fields.group,   &fields.key,   &fields.labels};
  size_t begin = 0;
  for (std::string* field : order) {
    const size_t end = std::min(spec.find('|', begin), spec.size());
    *field = spec.substr(begin, end - begin);
    begin = std::min(end + 1, spec.size());
  }
  return fields;
}

}  // namespace penstock::broker
