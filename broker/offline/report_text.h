#ifndef PENSTOCK_BROKER_OFFLINE_REPORT_TEXT_H_
#define PENSTOCK_BROKER_OFFLINE_REPORT_TEXT_H_

#include <string>

#include "absl/time/time.h"
#include "broker/core/core_types.h"

namespace penstock::broker {

// RFC 3339, UTC, with fractions if there are any.
inline std::string FormatMicros(Time micros) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E*SZ", ToTime(micros), absl::UTCTimeZone());
}

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_OFFLINE_REPORT_TEXT_H_
