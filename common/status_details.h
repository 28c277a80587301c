#ifndef PENSTOCK_COMMON_STATUS_DETAILS_H_
#define PENSTOCK_COMMON_STATUS_DETAILS_H_

// Statuses with the google.rpc details (AIP-193) that Penstock's errors carry.

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace penstock {

// The domain of every ErrorInfo of Penstock.
inline constexpr std::string_view kErrorDomain = "penstock.dev";

// INVALID_ARGUMENT whose BadRequest detail names `field`; the message is "`field`: `problem`".
absl::Status InvalidField(std::string_view field, std::string_view problem);

// InvalidField for a field that goes over `limit` (an option of the broker's): an ErrorInfo detail names that too.
absl::Status FieldOverLimit(std::string_view field, std::string_view problem, std::string_view limit);

// RESOURCE_EXHAUSTED whose ErrorInfo detail names `limit` (an option, for instance "limits.queues") and whose RetryInfo
// says when to try again; absent: trying again is of no use until somebody acts.
absl::Status LimitReached(std::string_view limit, std::string_view message,
                          std::optional<absl::Duration> retry_after = std::nullopt);

// The field that InvalidField named, or empty.
std::string FieldOf(const absl::Status& status);
// The limit that LimitReached or FieldOverLimit named, or empty.
std::string LimitOf(const absl::Status& status);
// The RetryInfo of a status, if it has one.
std::optional<absl::Duration> RetryAfterOf(const absl::Status& status);

}  // namespace penstock

#endif  // PENSTOCK_COMMON_STATUS_DETAILS_H_
