#ifndef PENSTOCK_CLIENT_PROTO_TIME_H_
#define PENSTOCK_CLIENT_PROTO_TIME_H_

// Times of the library to and from those of messages.

#include "absl/time/time.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/timestamp.pb.h"

namespace penstock {

inline void SetProto(absl::Duration value, google::protobuf::Duration* out) {
  absl::Duration rest;
  out->set_seconds(absl::IDivDuration(value, absl::Seconds(1), &rest));
  out->set_nanos(static_cast<int32_t>(rest / absl::Nanoseconds(1)));
}

inline void SetProto(absl::Time value, google::protobuf::Timestamp* out) {
  const int64_t seconds = absl::ToUnixSeconds(value);
  out->set_seconds(seconds);
  out->set_nanos(static_cast<int32_t>((value - absl::FromUnixSeconds(seconds)) / absl::Nanoseconds(1)));
}

inline absl::Duration FromProto(const google::protobuf::Duration& value) {
  return absl::Seconds(value.seconds()) + absl::Nanoseconds(value.nanos());
}

inline absl::Time FromProto(const google::protobuf::Timestamp& value) {
  return absl::FromUnixSeconds(value.seconds()) + absl::Nanoseconds(value.nanos());
}

}  // namespace penstock

#endif  // PENSTOCK_CLIENT_PROTO_TIME_H_
