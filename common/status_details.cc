#include "common/status_details.h"

#include "common/text.h"
#include "common/utf8.h"
#include "fmt/format.h"
#include "google/rpc/error_details.pb.h"

namespace penstock {
namespace {

constexpr std::string_view kTypePrefix = "type.googleapis.com/";

template <class Detail>
void SetDetail(absl::Status& status, const Detail& detail) {
  status.SetPayload(ToAbsl(std::string(kTypePrefix) + detail.GetDescriptor()->full_name()),
                    absl::Cord(detail.SerializeAsString()));
}

template <class Detail>
std::optional<Detail> GetDetail(const absl::Status& status) {
  auto payload = status.GetPayload(ToAbsl(std::string(kTypePrefix) + Detail::descriptor()->full_name()));
  Detail detail;
  if (!payload.has_value() || !detail.ParseFromString(std::string(*payload))) return std::nullopt;
  return detail;
}

void SetLimit(absl::Status& status, std::string_view limit) {
  google::rpc::ErrorInfo info;
  info.set_reason("LIMIT_REACHED");
  info.set_domain(std::string(kErrorDomain));
  (*info.mutable_metadata())["limit"] = std::string(limit);
  SetDetail(status, info);
}

}  // namespace

absl::Status InvalidField(std::string_view field, std::string_view problem) {
  // It may quote what it is about, or a part of that.
  std::string text(problem);
  CleanUtf8(&text);
  absl::Status status = absl::InvalidArgumentError(fmt::format("{}: {}", field, text));
  google::rpc::BadRequest detail;
  auto* violation = detail.add_field_violations();
  violation->set_field(std::string(field));
  violation->set_description(text);
  SetDetail(status, detail);
  return status;
}

absl::Status FieldOverLimit(std::string_view field, std::string_view problem, std::string_view limit) {
  absl::Status status = InvalidField(field, problem);
  SetLimit(status, limit);
  return status;
}

absl::Status LimitReached(std::string_view limit, std::string_view message, std::optional<absl::Duration> retry_after) {
  absl::Status status = absl::ResourceExhaustedError(ToAbsl(message));
  SetLimit(status, limit);
  if (retry_after) {
    google::rpc::RetryInfo retry;
    retry.mutable_retry_delay()->set_seconds(absl::ToInt64Seconds(*retry_after));
    retry.mutable_retry_delay()->set_nanos(
        static_cast<int>(absl::ToInt64Nanoseconds(*retry_after - absl::Seconds(retry.retry_delay().seconds()))));
    SetDetail(status, retry);
  }
  return status;
}

std::string FieldOf(const absl::Status& status) {
  auto detail = GetDetail<google::rpc::BadRequest>(status);
  return detail && detail->field_violations_size() > 0 ? detail->field_violations(0).field() : "";
}

std::string LimitOf(const absl::Status& status) {
  auto detail = GetDetail<google::rpc::ErrorInfo>(status);
  if (!detail) return "";
  auto found = detail->metadata().find("limit");
  return found == detail->metadata().end() ? "" : found->second;
}

std::optional<absl::Duration> RetryAfterOf(const absl::Status& status) {
  auto detail = GetDetail<google::rpc::RetryInfo>(status);
  if (!detail) return std::nullopt;
  return absl::Seconds(detail->retry_delay().seconds()) + absl::Nanoseconds(detail->retry_delay().nanos());
}

}  // namespace penstock
