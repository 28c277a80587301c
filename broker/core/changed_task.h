#ifndef PENSTOCK_BROKER_CORE_CHANGED_TASK_H_
#define PENSTOCK_BROKER_CORE_CHANGED_TASK_H_

#include <cstdint>
#include <string_view>

#include "broker/storage/records.h"
#include "broker/storage/task_block.h"

namespace penstock::broker {

// What a task that was changed after its enqueue is now, in place of what its slot says. Immutable; shared with
// deliveries on their way out.
struct ChangedTask {
  explicit ChangedTask(records::SpecRecord stored);
  ChangedTask(const ChangedTask&) = delete;
  ChangedTask& operator=(const ChangedTask&) = delete;

  const records::SpecRecord record;
  const SlotExtras extras;  // views of the record; run_at is the task record's
};

records::SpecRecord MakeSpecRecord(const SlotExtras& extras, std::string_view spec, uint64_t group);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_CORE_CHANGED_TASK_H_
