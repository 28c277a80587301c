#include "worker/outcome.h"

#include "worker/report_text.h"

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

void Outcome::CleanTexts(size_t type_max, size_t text_max) {
  // Not shortened, so that the broker's answer says what is wrong with it.
  if (!content_type_.empty()) CleanText(content_type_.size(), &content_type_);
  if (kind_ != Kind::kRetry && kind_ != Kind::kReject) return;
  CleanText(type_max, &error_.type);
  CleanErrorText(text_max, &error_.message);
  CleanErrorText(text_max, &error_.detail);
}

}  // namespace penstock
