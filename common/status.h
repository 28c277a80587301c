#ifndef PENSTOCK_COMMON_STATUS_H_
#define PENSTOCK_COMMON_STATUS_H_

// The status macros and helpers that Debian's Abseil (20220623) does not have.

#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/text.h"

// Returns the status of `expr` from the enclosing function unless it is OK.
#define RETURN_IF_ERROR(expr)                      \
  do {                                             \
    absl::Status return_if_error_status_ = (expr); \
    if (!return_if_error_status_.ok()) {           \
      return return_if_error_status_;              \
    }                                              \
  } while (false)

// Assigns the value of `expr`, an absl::StatusOr, to `lhs`, or returns its status from the enclosing function.
#define ASSIGN_OR_RETURN(lhs, expr) \
  PENSTOCK_ASSIGN_OR_RETURN_IMPL(PENSTOCK_STATUS_CONCAT(status_or_, __LINE__), lhs, expr)
#define PENSTOCK_STATUS_CONCAT_INNER(a, b) a##b
#define PENSTOCK_STATUS_CONCAT(a, b) PENSTOCK_STATUS_CONCAT_INNER(a, b)
#define PENSTOCK_ASSIGN_OR_RETURN_IMPL(var, lhs, expr) \
  auto var = (expr);                                   \
  if (!var.ok()) {                                     \
    return std::move(var).status();                    \
  }                                                    \
  lhs = std::move(var).value()

namespace penstock {

// The same status with `context: ` before its message.
inline absl::Status Annotate(const absl::Status& status, std::string_view context) {
  if (status.ok()) return status;
  std::string message(context);
  message += ": ";
  message += ToStd(status.message());
  absl::Status annotated(status.code(), message);
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) { annotated.SetPayload(url, payload); });
  return annotated;
}

}  // namespace penstock

#endif  // PENSTOCK_COMMON_STATUS_H_
