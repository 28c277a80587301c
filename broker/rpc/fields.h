#ifndef PENSTOCK_BROKER_RPC_FIELDS_H_
#define PENSTOCK_BROKER_RPC_FIELDS_H_

// Checks of single fields, and the conversions of times that proto and core share. Every refusal names its field.

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "broker/core/core_types.h"
#include "google/protobuf/map.h"

namespace google::protobuf {
class Duration;
class Timestamp;
}  // namespace google::protobuf

namespace penstock::broker {

// Where a field stands in its request, for instance tasks[3].retry_policy.jitter. Written out only when it is refused;
// lives on the stack, below its parent.
class FieldPath {
 public:
  explicit FieldPath(std::string_view name, int index = -1) : name_(name), index_(index) {}
  FieldPath(const FieldPath& parent, std::string_view name, int index = -1)
      : parent_(&parent), name_(name), index_(index) {}
  // `parent` null: in the request itself.
  FieldPath(const FieldPath* parent, std::string_view name, int index = -1)
      : parent_(parent), name_(name), index_(index) {}

  std::string ToString() const;

 private:
  const FieldPath* const parent_ = nullptr;
  const std::string_view name_;
  const int index_;
};

absl::Status BadField(const FieldPath& field, std::string_view problem);

// 1 to `size_max` characters of A-Z a-z 0-9 . _ : - /.
absl::Status CheckName(const FieldPath& field, std::string_view name, size_t size_max);
// At most `count_max` labels; keys and values are names.
absl::Status CheckLabels(const FieldPath& field, const google::protobuf::Map<std::string, std::string>& labels,
                         size_t count_max, size_t size_max);
absl::Status CheckSize(const FieldPath& field, std::string_view bytes, size_t size_min, size_t size_max);
absl::Status CheckNumber(const FieldPath& field, int64_t number, int64_t min, int64_t max);
absl::Status CheckReal(const FieldPath& field, double number, double min, double max);
// Fractions of a microsecond count as a whole one.
absl::StatusOr<Span> CheckSpan(const FieldPath& field, const google::protobuf::Duration& duration, Span min, Span max);
absl::StatusOr<Time> CheckTime(const FieldPath& field, const google::protobuf::Timestamp& timestamp);
absl::StatusOr<TaskId> CheckTaskId(const FieldPath& field, std::string_view text);

void SetTimestamp(Time time, google::protobuf::Timestamp* out);
void SetDuration(Span span, google::protobuf::Duration* out);

// The longest front of `text` with at most `size_max` bytes that ends between characters of UTF-8.
std::string_view CutEnd(std::string_view text, size_t size_max);
// At most `size_max` bytes of `text`: its beginning, how much is missing, its end.
std::string CutMiddle(std::string_view text, size_t size_max);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_FIELDS_H_
