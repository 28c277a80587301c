#ifndef PENSTOCK_CLIENT_CLI_PROTO_TIME_H_
#define PENSTOCK_CLIENT_CLI_PROTO_TIME_H_

// Times and durations of the API to and from ours.

#include <cstdint>

#include "absl/time/time.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/timestamp.pb.h"

namespace penstock::cli {

inline absl::Time ToTime(const google::protobuf::Timestamp& time) {
  return absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos());
}

inline absl::Duration ToDuration(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
}

inline void Set(absl::Duration value, google::protobuf::Duration* out) {
  absl::Duration rest;
  out->set_seconds(absl::IDivDuration(value, absl::Seconds(1), &rest));
  out->set_nanos(static_cast<int32_t>(rest / absl::Nanoseconds(1)));
}

}  // namespace penstock::cli

#endif  // PENSTOCK_CLIENT_CLI_PROTO_TIME_H_
