#include "broker/core/schedule_record.h"

#include <utility>

#include "broker/storage/labels.h"

namespace penstock::broker {
namespace {

void WriteTask(const ScheduledTask& task, records::ScheduleRecord::Task* out) {
  out->set_queue(task.queue);
  out->set_type(task.type);
  out->set_priority(task.priority);
  out->set_run_timeout(task.run_timeout);
  out->set_life_timeout(task.life_timeout);
  const RetryPolicyChange& retry = task.retry_change;
  if (retry.max_attempts) out->set_max_attempts(*retry.max_attempts);
  if (retry.initial_backoff) out->set_initial_backoff(*retry.initial_backoff);
  if (retry.multiplier) out->set_multiplier(*retry.multiplier);
  if (retry.max_backoff) out->set_max_backoff(*retry.max_backoff);
  if (retry.jitter) out->set_jitter(*retry.jitter);
  if (retry.backoff) out->set_backoff(static_cast<uint32_t>(*retry.backoff));
  out->set_unique_key(task.unique_key);
  out->set_unique_window(task.unique_window);
  out->set_unique_waiting(task.unique_waiting);
  if (task.unique_conflict != UniqueConflict::kKeep) {
    out->set_unique_conflict(static_cast<uint32_t>(task.unique_conflict));
  }
  out->set_key(task.key);
  out->set_group(task.group);
  out->set_cost(task.cost);
  if (task.result_retention) out->set_result_retention(*task.result_retention);
  SetLabels(task.labels, out->mutable_labels());
  out->set_spec(task.spec);
}

ScheduledTask ReadTask(const records::ScheduleRecord::Task& record) {
  ScheduledTask task;
  task.queue = record.queue();
  task.type = record.type();
  task.priority = static_cast<uint8_t>(record.priority());
  task.run_timeout = record.run_timeout();
  task.life_timeout = record.life_timeout();
  RetryPolicyChange& retry = task.retry_change;
  if (record.has_max_attempts()) retry.max_attempts = record.max_attempts();
  if (record.has_initial_backoff()) retry.initial_backoff = record.initial_backoff();
  if (record.has_multiplier()) retry.multiplier = record.multiplier();
  if (record.has_max_backoff()) retry.max_backoff = record.max_backoff();
  if (record.has_jitter()) retry.jitter = record.jitter();
  if (record.has_backoff()) retry.backoff = static_cast<Backoff>(record.backoff());
  task.unique_key = record.unique_key();
  task.unique_window = record.unique_window();
  task.unique_waiting = record.unique_waiting();
  if (record.unique_conflict() != 0) task.unique_conflict = static_cast<UniqueConflict>(record.unique_conflict());
  task.key = record.key();
  task.group = record.group();
  if (record.cost() != 0) task.cost = static_cast<uint16_t>(record.cost());
  if (record.has_result_retention()) task.result_retention = record.result_retention();
  task.labels = LabelText(record.labels());
  task.spec = record.spec();
  return task;
}

}  // namespace

records::ScheduleRecord ToRecord(const ScheduleView& schedule, const std::string& newer) {
  const ScheduleDefinition& definition = *schedule.definition;
  auto record = StartFrom<records::ScheduleRecord>(newer);
  record.set_cron(definition.times.cron);
  record.set_time_zone(definition.times.time_zone);
  record.set_interval(definition.times.interval);
  record.set_start_time(definition.times.start);
  if (definition.times.end != kNever) record.set_end_time(definition.times.end);
  record.set_anchor(schedule.anchor);
  WriteTask(definition.task, record.mutable_task());
  record.set_start_within(definition.start_within);
  record.set_catch_up(static_cast<uint32_t>(definition.catch_up));
  record.set_overlap(static_cast<uint32_t>(definition.overlap));
  record.set_note(definition.note);
  record.set_create_time(schedule.create_time);
  record.set_update_time(schedule.update_time);
  return record;
}

records::ScheduleProgressRecord ToProgressRecord(const ScheduleView& schedule, const std::string& newer) {
  auto record = StartFrom<records::ScheduleProgressRecord>(newer);
  record.set_paused(schedule.paused);
  if (schedule.next != kNever) record.set_next_time(schedule.next);
  record.set_last_tick(schedule.last_tick);
  record.set_last_task_id(schedule.last_task.value());
  record.set_fired_total(schedule.fired_total);
  record.set_skipped_total(schedule.skipped_total);
  record.set_missed_total(schedule.missed_total);
  record.set_failed_total(schedule.failed_total);
  record.set_error(schedule.error);
  record.set_error_time(schedule.error_time);
  return record;
}

void ReadRecord(const records::ScheduleRecord& record, ScheduleView* schedule) {
  ScheduleDefinition definition;
  definition.times.cron = record.cron();
  definition.times.time_zone = record.time_zone();
  definition.times.interval = record.interval();
  definition.times.start = record.start_time();
  if (record.has_end_time()) definition.times.end = record.end_time();
  definition.task = ReadTask(record.task());
  definition.start_within = record.start_within();
  definition.catch_up = static_cast<CatchUp>(record.catch_up());
  definition.overlap = static_cast<Overlap>(record.overlap());
  definition.note = record.note();
  schedule->definition = std::make_shared<const ScheduleDefinition>(std::move(definition));
  schedule->anchor = record.anchor();
  schedule->create_time = record.create_time();
  schedule->update_time = record.update_time();
}

void ReadRecord(const records::ScheduleProgressRecord& record, ScheduleView* schedule) {
  schedule->paused = record.paused();
  schedule->next = record.has_next_time() ? record.next_time() : kNever;
  schedule->last_tick = record.last_tick();
  schedule->last_task = TaskId(record.last_task_id());
  schedule->fired_total = record.fired_total();
  schedule->skipped_total = record.skipped_total();
  schedule->missed_total = record.missed_total();
  schedule->failed_total = record.failed_total();
  schedule->error = record.error();
  schedule->error_time = record.error_time();
}

}  // namespace penstock::broker
