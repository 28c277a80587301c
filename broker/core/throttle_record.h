#ifndef PENSTOCK_BROKER_CORE_THROTTLE_RECORD_H_
#define PENSTOCK_BROKER_CORE_THROTTLE_RECORD_H_

// Throttles as records and back.

#include "broker/core/throttle.h"
#include "broker/storage/records.h"

namespace penstock::broker {

// Over `newer`, what a later version stored of it; see IfNewer (storage/records.h).
records::ThrottleRecord ToRecord(const ThrottleView& throttle, ThrottleId id, const std::string& newer);
void ReadRecord(const records::ThrottleRecord& record, ThrottleView* throttle);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_CORE_THROTTLE_RECORD_H_
