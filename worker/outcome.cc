#include "worker/outcome.h"

namespace penstock {

Outcome Outcome::FromStatus(const absl::Status& status) {
  HandlerError error{absl::StatusCodeToString(status.code()), std::string(status.message()), ""};
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return Done();
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kUnimplemented:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
      return Reject(std::move(error));
    default:
      return Retry(std::move(error));
  }
}

}  // namespace penstock
