#include "broker/core/throttle_record.h"

namespace penstock::broker {

records::ThrottleRecord ToRecord(const ThrottleView& throttle, ThrottleId id, const std::string& newer) {
  const ThrottleDefinition& definition = throttle.definition;
  records::ThrottleRecord record = StartFrom<records::ThrottleRecord>(newer);
  record.set_id(id.value());
  record.mutable_queues()->Assign(definition.queues.begin(), definition.queues.end());
  record.mutable_types()->Assign(definition.types.begin(), definition.types.end());
  record.set_per(static_cast<uint32_t>(definition.per));
  record.set_max_running(definition.max_running);
  record.set_rate_tasks(definition.rate.tasks);
  record.set_rate_period(definition.rate.period);
  record.set_rate_burst(definition.rate.burst);
  record.set_note(definition.note);
  record.set_create_time(throttle.create_time);
  record.set_update_time(throttle.update_time);
  return record;
}

void ReadRecord(const records::ThrottleRecord& record, ThrottleView* throttle) {
  ThrottleDefinition& definition = throttle->definition;
  definition.queues.assign(record.queues().begin(), record.queues().end());
  definition.types.assign(record.types().begin(), record.types().end());
  definition.per = static_cast<ThrottlePer>(record.per());
  definition.max_running = record.max_running();
  definition.rate = {record.rate_tasks(), record.rate_period(), record.rate_burst()};
  definition.note = record.note();
  throttle->create_time = record.create_time();
  throttle->update_time = record.update_time();
}

}  // namespace penstock::broker
