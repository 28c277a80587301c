#include "tests/simulation/sim_config.h"

#include <algorithm>

#include "fmt/format.h"
#include "tests/simulation/sim_loop.h"

namespace penstock::broker {
namespace {

constexpr std::string_view kNames[] = {
#define F(name, text) text,
    PENSTOCK_SIM_FEATURES(F)
#undef F
};
constexpr int kFeatures = static_cast<int>(Feature::kCount);
// Those that came later are drawn last, so that the worlds of older seeds stay what they were.
constexpr int kFirstFeatures = static_cast<int>(Feature::kGroups) + 1;

}  // namespace

std::string_view NameOf(Feature feature) { return kNames[static_cast<size_t>(feature)]; }

SimConfig DrawConfig(uint64_t seed) {
  SimRandom random(seed * 2 + 1);
  SimConfig config;
  config.seed = seed;
  // From worlds with almost nothing to worlds with almost everything.
  const double chance = static_cast<double>(10 + random.Below(80));
  for (int i = 0; i < kFirstFeatures; ++i) {
    if (random.Percent(chance)) config.features |= uint64_t{1} << i;
  }
  // Faults that would be in the way of what needs peace: some worlds have none.
  if (random.OneIn(5)) {
    for (Feature feature :
         {Feature::kCuts, Feature::kLostMessages, Feature::kFreezes, Feature::kWorkerCrashes, Feature::kGoodbyes,
          Feature::kDrains, Feature::kBrokerKills, Feature::kPowerLoss, Feature::kCommitErrors, Feature::kDiskFull,
          Feature::kBrokerStops, Feature::kBrokerPauses}) {
      config.Drop(feature);
    }
  }
  config.producers = static_cast<int>(random.Between(1, random.OneIn(3) ? 8 : 3));
  config.workers = static_cast<int>(random.Between(1, random.OneIn(3) ? 12 : 4));
  config.queues = static_cast<int>(random.Between(1, random.OneIn(4) ? 12 : 3));
  config.types = static_cast<int>(random.Between(1, 4));
  config.events = static_cast<uint64_t>(random.Between(400, 2'400));
  config.span = random.Between(5, 150) * kSecond;
  for (int i = kFirstFeatures; i < kFeatures; ++i) {
    if (random.Percent(chance)) config.features |= uint64_t{1} << i;
  }
  Derive(&config);
  return config;
}

// Every draw is made, whatever the features are: so that without a feature the rest stays as it was.
void Derive(SimConfig* config) {
  SimRandom random(config->seed * 2);
  const Span delays[] = {5 * kMilli, 200 * kMilli, 2 * kSecond};
  config->max_delay = delays[random.Below(3)];
  config->max_commit = config->has(Feature::kSlowDisk) ? 4 * kSecond : 20 * kMilli;
  const auto loss = static_cast<double>(random.Below(20));
  config->loss_percent = config->has(Feature::kLostMessages) ? loss : 0;
  const size_t batches[] = {1, 600, 1 << 20, 1 << 20, 1 << 20, 1 << 20};
  config->batch_bytes = batches[random.Below(6)];
  CoreOptions core;
  core.numbers_begin = kNever;
  core.session_grace = std::max<Span>(random.Between(-1, 5), 0) * kSecond;
  core.reclaim_window = random.Between(5, 30) * kSecond;
  core.block_cache_bytes = random.OneIn(2) ? 1'000 : 64 << 20;
  core.checkpoint_bytes = random.OneIn(2) ? 500 : 100'000;
  if (config->has(Feature::kSmallBlocks)) core.block_bytes = 300;
  core.max_tasks_per_worker = static_cast<uint32_t>(random.Between(2, 60));
  core.max_log_bytes_per_task = 100;
  QueueSettings& defaults = core.queue_defaults;
  defaults.retry_policy.max_attempts = static_cast<uint32_t>(random.Between(1, 5));
  defaults.retry_policy.initial_backoff = random.Between(0, 3) * kSecond;
  defaults.retry_policy.max_backoff = 10 * kSecond;
  defaults.retry_policy.jitter = random.OneIn(2) ? 1 : 0;
  const Span result_retention = random.Between(0, 20) * kSecond;
  const Span dead_retention = random.Between(0, 30) * kSecond;
  if (config->has(Feature::kShortRetention)) {
    defaults.result_retention = result_retention;
    defaults.dead_retention = dead_retention;
  }
  const auto max_queues = static_cast<uint32_t>(random.Between(1, config->queues + 1));
  const auto max_types = static_cast<uint32_t>(random.Between(1, config->types + 1));
  const auto max_sessions =
      static_cast<uint32_t>(random.Between(3, 6));  // two workers may stay to the end, and one comes
  const auto max_watchers = static_cast<uint32_t>(random.Between(1, 5));
  config->mailbox_bytes = 64 << 20;
  if (config->has(Feature::kSmallLimits)) {
    core.max_queues = max_queues;
    core.max_types = max_types;
    core.max_sessions = max_sessions;
    core.max_watchers = max_watchers;
    config->mailbox_bytes = 3'000;
  }
  config->core = core;
}

void SimConfig::Drop(Feature feature) {
  features &= ~(uint64_t{1} << static_cast<int>(feature));
  Derive(this);
}

bool DropByName(std::string_view name, SimConfig* config) {
  for (int i = 0; i < kFeatures; ++i) {
    if (kNames[i] != name) continue;
    config->Drop(static_cast<Feature>(i));
    return true;
  }
  return false;
}

std::string CommandLine(const SimConfig& config) {
  const SimConfig drawn = DrawConfig(config.seed);
  std::string line = fmt::format("--seed {}", config.seed);
  std::string dropped;
  for (int i = 0; i < kFeatures; ++i) {
    const auto feature = static_cast<Feature>(i);
    if (drawn.has(feature) && !config.has(feature)) dropped += (dropped.empty() ? "" : ",") + std::string(kNames[i]);
  }
  if (!dropped.empty()) line += " --without " + dropped;
  if (config.producers != drawn.producers) line += fmt::format(" --producers {}", config.producers);
  if (config.workers != drawn.workers) line += fmt::format(" --workers {}", config.workers);
  if (config.events != drawn.events) line += fmt::format(" --events {}", config.events);
  return line;
}

}  // namespace penstock::broker
