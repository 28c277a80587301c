#include "broker/core/core_context.h"

namespace penstock::broker {

void PutQueueRecord(CoreContext& context, const QueueState& queue) {
  records::QueueRecord record;
  record.set_name(queue.name);
  record.set_relaxed(queue.settings.relaxed);
  const RetryPolicy& policy = queue.settings.retry_policy;
  record.mutable_retry_policy()->set_max_attempts(policy.max_attempts);
  record.mutable_retry_policy()->set_initial_backoff(policy.initial_backoff);
  record.mutable_retry_policy()->set_multiplier(policy.multiplier);
  record.mutable_retry_policy()->set_max_backoff(policy.max_backoff);
  record.mutable_retry_policy()->set_jitter(policy.jitter);
  record.set_result_retention(queue.settings.result_retention);
  record.set_dead_retention(queue.settings.dead_retention);
  record.set_run_timeout(queue.settings.run_timeout);
  record.set_paused(queue.paused);
  record.set_draining(queue.draining);
  record.set_create_time(queue.create_time);
  context.Put(Family::kMeta, context.keys.Queue(queue.id), record);
  context.effects.needs_sync = true;
}

void ReadQueueRecord(const records::QueueRecord& record, QueueState* queue) {
  queue->settings.relaxed = record.relaxed();
  RetryPolicy& policy = queue->settings.retry_policy;
  policy.max_attempts = record.retry_policy().max_attempts();
  policy.initial_backoff = record.retry_policy().initial_backoff();
  policy.multiplier = record.retry_policy().multiplier();
  policy.max_backoff = record.retry_policy().max_backoff();
  policy.jitter = record.retry_policy().jitter();
  queue->settings.result_retention = record.result_retention();
  queue->settings.dead_retention = record.dead_retention();
  queue->settings.run_timeout = record.run_timeout();
  queue->paused = record.paused();
  queue->draining = record.draining();
  queue->create_time = record.create_time();
}

}  // namespace penstock::broker
