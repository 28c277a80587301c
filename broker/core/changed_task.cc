#include "broker/core/changed_task.h"

#include <algorithm>
#include <string>
#include <utility>

namespace penstock::broker {
namespace {

SlotExtras ReadExtras(const records::SpecRecord& record) {
  SlotExtras extras;
  if (record.expire_at() != 0) extras.expire_at = record.expire_at();
  extras.run_timeout = record.run_timeout();
  if (record.has_retry_policy()) {
    const records::RetryPolicyRecord& stored = record.retry_policy();
    RetryPolicy policy;
    policy.max_attempts = stored.max_attempts();
    policy.initial_backoff = stored.initial_backoff();
    policy.multiplier = stored.multiplier();
    policy.max_backoff = stored.max_backoff();
    policy.jitter = stored.jitter();
    if (stored.backoff() != 0) policy.backoff = static_cast<Backoff>(stored.backoff());
    extras.retry_policy = policy;
  }
  extras.unique_key = record.unique_key();
  extras.unique_window = record.unique_window();
  extras.unique_waiting = record.unique_waiting();
  if (record.has_result_retention()) extras.result_retention = record.result_retention();
  extras.cost = static_cast<uint16_t>(std::max<uint32_t>(record.cost(), 1));
  extras.life_timeout = record.life_timeout();
  return extras;
}

}  // namespace

ChangedTask::ChangedTask(records::SpecRecord stored) : record(std::move(stored)), extras(ReadExtras(record)) {}

records::SpecRecord MakeSpecRecord(const SlotExtras& extras, std::string_view spec, uint64_t group) {
  records::SpecRecord record;
  record.set_spec(std::string(spec));
  if (extras.expire_at != kNever) record.set_expire_at(extras.expire_at);
  record.set_run_timeout(extras.run_timeout);
  if (extras.retry_policy) {
    const RetryPolicy& policy = *extras.retry_policy;
    records::RetryPolicyRecord* stored = record.mutable_retry_policy();
    stored->set_max_attempts(policy.max_attempts);
    stored->set_initial_backoff(policy.initial_backoff);
    stored->set_multiplier(policy.multiplier);
    stored->set_max_backoff(policy.max_backoff);
    stored->set_jitter(policy.jitter);
    if (policy.backoff != Backoff::kExponential) stored->set_backoff(static_cast<uint32_t>(policy.backoff));
  }
  record.set_unique_key(std::string(extras.unique_key));
  record.set_unique_window(extras.unique_window);
  record.set_unique_waiting(extras.unique_waiting);
  if (extras.result_retention) record.set_result_retention(*extras.result_retention);
  if (extras.cost != 1) record.set_cost(extras.cost);
  record.set_life_timeout(extras.life_timeout);
  record.set_group(group);
  return record;
}

}  // namespace penstock::broker
