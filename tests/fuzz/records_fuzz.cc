// The small stored records. The first byte says which; what can be read can be brought into memory and back, and keeps
// what a later version wrote.

#include "broker/core/schedule_record.h"
#include "broker/core/throttle_record.h"
#include "broker/storage/records.h"
#include "tests/fuzz/fuzz_input.h"

namespace penstock::broker {
namespace {

template <class Record>
void Keep(std::string_view body) {
  const auto record = OpenRecord<Record>("key", SealValue("key", body));
  if (!record.ok()) return FUZZ_CHECK(absl::IsDataLoss(record.status()));
  const std::string newer = IfNewer(*record);
  FUZZ_CHECK(IfNewer(StartFrom<Record>(newer)) == newer);
}

void Throttle(std::string_view body) {
  records::ThrottleRecord record;
  if (!record.ParseFromArray(body.data(), static_cast<int>(body.size()))) return;
  ThrottleView throttle;
  ReadRecord(record, &throttle);
  ThrottleView again;
  ReadRecord(ToRecord(throttle, ThrottleId(record.id()), IfNewer(record)), &again);
  FUZZ_CHECK(again.definition.queues == throttle.definition.queues &&
             again.definition.types == throttle.definition.types);
}

void Schedule(std::string_view body) {
  records::ScheduleRecord record;
  if (!record.ParseFromArray(body.data(), static_cast<int>(body.size()))) return;
  ScheduleView schedule;
  ReadRecord(record, &schedule);
  const std::string newer = IfNewer(record);
  const records::ScheduleRecord again = ToRecord(schedule, newer);
  FUZZ_CHECK(IfNewer(again) == newer);
  ScheduleView second;
  ReadRecord(again, &second);
  FUZZ_CHECK(second.definition->task.spec == schedule.definition->task.spec);
}

}  // namespace
}  // namespace penstock::broker

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace penstock::broker;  // NOLINT: all of it is here
  if (size == 0) return 0;
  const std::string_view body = penstock::fuzz::TextOf(data + 1, size - 1);
  switch (data[0] % 14) {
    case 0:
      Keep<records::QueueRecord>(body);
      break;
    case 1:
      Keep<records::TypeRecord>(body);
      break;
    case 2:
      Keep<records::SessionRecord>(body);
      break;
    case 3:
      Keep<records::TaskRecord>(body);
      break;
    case 4:
      Keep<records::AttemptRecord>(body);
      break;
    case 5:
      Keep<records::LogRecord>(body);
      break;
    case 6:
      Keep<records::ResultRecord>(body);
      break;
    case 7:
      Keep<records::UniqueRecord>(body);
      break;
    case 8:
      Keep<records::RequestRecord>(body);
      break;
    case 9:
      Keep<records::SpecRecord>(body);
      break;
    case 10:
      Keep<records::BulkJobRecord>(body);
      break;
    case 11:
      Keep<records::ScheduleProgressRecord>(body);
      break;
    case 12:
      Throttle(body);
      break;
    default:
      Schedule(body);
      break;
  }
  return 0;
}
