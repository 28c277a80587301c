#ifndef PENSTOCK_TESTS_SIMULATION_SIM_CONFIG_H_
#define PENSTOCK_TESTS_SIMULATION_SIM_CONFIG_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "broker/core/core_types.h"
#include "broker/core/options.h"

namespace penstock::broker {

// What a seed's world has at all. A world with everything hides what only shows without something ("swarm testing").
// clang-format off
#define PENSTOCK_SIM_FEATURES(F)       \
  F(Cuts, "cuts")                      \
  F(LostMessages, "lost-messages")     \
  F(Freezes, "freezes")                \
  F(WorkerCrashes, "worker-crashes")   \
  F(Goodbyes, "goodbyes")              \
  F(Drains, "drains")                  \
  F(BrokerKills, "broker-kills")       \
  F(PowerLoss, "power-loss")           \
  F(CommitErrors, "commit-errors")     \
  F(DiskFull, "disk-full")             \
  F(SlowDisk, "slow-disk")             \
  F(BrokerPauses, "broker-pauses")     \
  F(BrokerStops, "broker-stops")       \
  F(ClockJumps, "clock-jumps")         \
  F(Delays, "delays")                  \
  F(Expiry, "expiry")                  \
  F(UniqueKeys, "unique-keys")         \
  F(Policies, "policies")              \
  F(Cancels, "cancels")                \
  F(Retries, "retries")                \
  F(Pauses, "pauses")                  \
  F(Purges, "purges")                  \
  F(Deletes, "deletes")                \
  F(QueueDrains, "queue-drains")       \
  F(Dead, "dead")                      \
  F(Relaxed, "relaxed")                \
  F(Watches, "watches")                \
  F(TypeLimits, "type-limits")         \
  F(Failures, "failures")              \
  F(OtherOutcomes, "other-outcomes")   \
  F(Careless, "careless")              \
  F(ShortRetention, "short-retention") \
  F(SmallLimits, "small-limits")       \
  F(Queries, "queries")                \
  F(Priorities, "priorities")          \
  F(RequestIds, "request-ids")         \
  F(Bursts, "bursts")                  \
  F(SmallBlocks, "small-blocks")       \
  F(Reports, "reports")                \
  F(LargeTasks, "large-tasks")         \
  F(Runtime, "runtime")                \
  F(FifoKeys, "fifo-keys")             \
  F(Groups, "groups")                  \
  F(Lives, "lives")                    \
  F(Cooling, "cooling")                \
  F(Checkpoints, "checkpoints")        \
  F(UniqueScopes, "unique-scopes")     \
  F(Updates, "updates")                \
  F(TaskDeletes, "task-deletes")       \
  F(Throttles, "throttles")            \
  F(QueueLimits, "queue-limits")       \
  F(Labels, "labels")                  \
  F(Brought, "brought")                \
  F(BulkJobs, "bulk-jobs")
// clang-format on

enum class Feature : uint8_t {
#define F(name, text) k##name,
  PENSTOCK_SIM_FEATURES(F)
#undef F
      kCount,
};
std::string_view NameOf(Feature feature);

struct SimConfig {
  uint64_t seed = 0;
  uint64_t features = 0;
  int producers = 1;
  int workers = 1;
  int queues = 1;
  int types = 1;
  uint64_t events = 2'000;  // of the safety phase
  Span span = 60 * kSecond;
  // Derived from the seed and the features:
  Span max_delay = 0;   // of a message
  Span max_commit = 0;  // of a commit
  double loss_percent = 0;
  size_t batch_bytes = 1 << 20;
  size_t mailbox_bytes = 64 << 20;
  CoreOptions core;

  bool has(Feature feature) const { return (features >> static_cast<int>(feature) & 1) != 0; }
  void Drop(Feature feature);
};

SimConfig DrawConfig(uint64_t seed);
void Derive(SimConfig* config);
// What a shrunk world is asked for again: "--seed 7 --without cuts,drains --workers 1 ...", compared with the seed's
// own.
std::string CommandLine(const SimConfig& config);
// False: there is no such feature.
bool DropByName(std::string_view name, SimConfig* config);

}  // namespace penstock::broker

#endif  // PENSTOCK_TESTS_SIMULATION_SIM_CONFIG_H_
