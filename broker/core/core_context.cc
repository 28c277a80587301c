#include "broker/core/core_context.h"

#include <algorithm>

#include "common/name_hash.h"

namespace penstock::broker {

records::QueueRecord MakeQueueRecord(const QueueState& queue) {
  records::QueueRecord record = StartFrom<records::QueueRecord>(queue.newer_record);
  record.set_name(queue.name);
  record.set_relaxed(queue.settings.relaxed);
  const RetryPolicy& policy = queue.settings.retry_policy;
  record.mutable_retry_policy()->set_max_attempts(policy.max_attempts);
  record.mutable_retry_policy()->set_initial_backoff(policy.initial_backoff);
  record.mutable_retry_policy()->set_multiplier(policy.multiplier);
  record.mutable_retry_policy()->set_max_backoff(policy.max_backoff);
  record.mutable_retry_policy()->set_jitter(policy.jitter);
  record.mutable_retry_policy()->set_backoff(static_cast<uint32_t>(policy.backoff));
  record.set_result_retention(queue.settings.result_retention);
  record.set_dead_retention(queue.settings.dead_retention);
  record.clear_cancelled_retention();
  if (queue.settings.cancelled_retention) record.set_cancelled_retention(*queue.settings.cancelled_retention);
  record.set_run_timeout(queue.settings.run_timeout);
  record.set_dead_blocks_key(queue.settings.dead_blocks_key);
  for (const auto& [group, weight] : queue.settings.group_weights) (*record.mutable_group_weights())[group] = weight;
  record.set_max_waiting(queue.settings.max_waiting);
  record.set_max_waiting_bytes(queue.settings.max_waiting_bytes);
  record.set_drop_oldest(queue.settings.drop_oldest);
  record.set_waiting_bytes_from(queue.bytes_from);
  record.set_paused(queue.paused);
  record.set_draining(queue.draining);
  record.set_create_time(queue.create_time);
  return record;
}

void PutQueueRecord(CoreContext& context, const QueueState& queue) {
  context.Put(Family::kMeta, context.keys.Queue(queue.id), MakeQueueRecord(queue));
  context.effects.needs_sync = true;
}

void SetWeights(QueueState* queue) {
  queue->weights.clear();
  for (const auto& [group, weight] : queue->settings.group_weights) {
    queue->weights[NameHash(group)] = static_cast<uint32_t>(std::clamp(weight * 1'000, 1.0, 1e6));
  }
}

void ReadQueueRecord(const records::QueueRecord& record, QueueState* queue) {
  queue->settings.relaxed = record.relaxed();
  RetryPolicy& policy = queue->settings.retry_policy;
  policy.max_attempts = record.retry_policy().max_attempts();
  policy.initial_backoff = record.retry_policy().initial_backoff();
  policy.multiplier = record.retry_policy().multiplier();
  policy.max_backoff = record.retry_policy().max_backoff();
  policy.jitter = record.retry_policy().jitter();
  if (record.retry_policy().backoff() != 0) policy.backoff = static_cast<Backoff>(record.retry_policy().backoff());
  queue->settings.result_retention = record.result_retention();
  queue->settings.dead_retention = record.dead_retention();
  if (record.has_cancelled_retention()) queue->settings.cancelled_retention = record.cancelled_retention();
  queue->settings.run_timeout = record.run_timeout();
  queue->settings.dead_blocks_key = record.dead_blocks_key();
  for (const auto& [group, weight] : record.group_weights()) queue->settings.group_weights[group] = weight;
  SetWeights(queue);
  queue->settings.max_waiting = record.max_waiting();
  queue->settings.max_waiting_bytes = record.max_waiting_bytes();
  queue->settings.drop_oldest = record.drop_oldest();
  queue->bytes_from = record.waiting_bytes_from();
  queue->paused = record.paused();
  queue->draining = record.draining();
  queue->create_time = record.create_time();
  queue->newer_record = IfNewer(record);
}

}  // namespace penstock::broker
