#include "broker/rpc/fields.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "common/names.h"
#include "common/status.h"
#include "common/status_details.h"
#include "common/units.h"
#include "fmt/format.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/timestamp.pb.h"

namespace penstock::broker {
namespace {

constexpr int kNanosPerSecond = 1'000'000'000;
// What google.protobuf.Duration and Timestamp allow; within it, microseconds fit 64 bits.
constexpr int64_t kDurationSecondsMax = 315'576'000'000;
constexpr int64_t kTimestampSecondsMin = -62'135'596'800;
constexpr int64_t kTimestampSecondsMax = 253'402'300'799;

// The end of a character of UTF-8 at or before `at`.
size_t CharacterEndBefore(std::string_view text, size_t at) {
  while (at > 0 && at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
  return at;
}

size_t CharacterStartAfter(std::string_view text, size_t at) {
  while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) ++at;
  return at;
}

std::string SpanText(Span span) { return penstock::FormatDuration(ToDuration(span)); }

}  // namespace

std::string FieldPath::ToString() const {
  std::string text = parent_ == nullptr ? std::string() : parent_->ToString() + ".";
  text += name_;
  if (index_ >= 0) text += fmt::format("[{}]", index_);
  return text;
}

absl::Status BadField(const FieldPath& field, std::string_view problem) {
  return InvalidField(field.ToString(), problem);
}

absl::Status CheckName(const FieldPath& field, std::string_view name, size_t size_max) {
  const std::string problem = ProblemOfName(name, size_max);
  return problem.empty() ? absl::OkStatus() : BadField(field, problem);
}

absl::Status CheckLabels(const FieldPath& field, const google::protobuf::Map<std::string, std::string>& labels,
                         size_t count_max, size_t size_max) {
  if (labels.size() > count_max) {
    return BadField(field, fmt::format("must be at most {}, are {}", count_max, labels.size()));
  }
  for (const auto& [key, value] : labels) {
    if (const std::string problem = ProblemOfName(key, size_max); !problem.empty()) {
      return BadField(field, fmt::format("the key '{}' {}", CutEnd(key, size_max), problem));
    }
    if (const std::string problem = ProblemOfName(value, size_max); !problem.empty()) {
      return BadField(field, fmt::format("the value of '{}' {}", key, problem));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckSize(const FieldPath& field, std::string_view bytes, size_t size_min, size_t size_max) {
  if (bytes.size() >= size_min && bytes.size() <= size_max) return absl::OkStatus();
  if (bytes.empty()) return BadField(field, "is required");
  if (size_min == size_max) return BadField(field, fmt::format("must be {} bytes, is {}", size_max, bytes.size()));
  return BadField(field, fmt::format("must be at most {} bytes, is {}", size_max, bytes.size()));
}

absl::Status CheckNumber(const FieldPath& field, int64_t number, int64_t min, int64_t max) {
  if (number >= min && number <= max) return absl::OkStatus();
  return BadField(field, fmt::format("must be {} to {}, is {}", min, max, number));
}

absl::Status CheckReal(const FieldPath& field, double number, double min, double max) {
  if (number >= min && number <= max) return absl::OkStatus();  // false for NaN
  return BadField(field, fmt::format("must be {} to {}, is {}", min, max, number));
}

absl::StatusOr<Span> CheckSpan(const FieldPath& field, const google::protobuf::Duration& duration, Span min, Span max) {
  const int64_t seconds = duration.seconds();
  const int32_t nanos = duration.nanos();
  if (seconds < -kDurationSecondsMax || seconds > kDurationSecondsMax || nanos <= -kNanosPerSecond ||
      nanos >= kNanosPerSecond || (seconds > 0 && nanos < 0) || (seconds < 0 && nanos > 0)) {
    return BadField(field, fmt::format("is no valid duration: seconds {}, nanos {}", seconds, nanos));
  }
  const Span span = seconds * kSecond + (nanos > 0 ? (nanos + 999) / 1'000 : nanos / 1'000);
  if (span >= min && span <= max && !(min == 0 && nanos < 0)) return span;
  return BadField(field, fmt::format("must be {} to {}, is {}", SpanText(min), SpanText(max), SpanText(span)));
}

absl::StatusOr<Time> CheckTime(const FieldPath& field, const google::protobuf::Timestamp& timestamp) {
  const int64_t seconds = timestamp.seconds();
  const int32_t nanos = timestamp.nanos();
  if (seconds < kTimestampSecondsMin || seconds > kTimestampSecondsMax || nanos < 0 || nanos >= kNanosPerSecond) {
    return BadField(field, fmt::format("is no valid timestamp: seconds {}, nanos {}", seconds, nanos));
  }
  return seconds * kSecond + (nanos + 999) / 1'000;
}

absl::StatusOr<TaskId> CheckTaskId(const FieldPath& field, std::string_view text) {
  if (text.empty()) return BadField(field, "is required");
  const std::optional<TaskId> task = TaskId::Parse(text);
  if (!task) return BadField(field, fmt::format("'{}' is no task id", CutEnd(text, 64)));
  return *task;
}

void SetTimestamp(Time time, google::protobuf::Timestamp* out) {
  int64_t seconds = time / kSecond;
  int64_t micros = time % kSecond;
  if (micros < 0) {
    --seconds;
    micros += kSecond;
  }
  out->set_seconds(seconds);
  out->set_nanos(static_cast<int32_t>(micros * 1'000));
}

void SetDuration(Span span, google::protobuf::Duration* out) {
  out->set_seconds(span / kSecond);
  out->set_nanos(static_cast<int32_t>(span % kSecond * 1'000));
}

std::string_view CutEnd(std::string_view text, size_t size_max) {
  if (text.size() <= size_max) return text;
  return text.substr(0, CharacterEndBefore(text, size_max));
}

std::string CutMiddle(std::string_view text, size_t size_max) {
  if (text.size() <= size_max) return std::string(text);
  const std::string mark = fmt::format("\n... {} bytes cut ...\n", text.size() - size_max);
  // Room for the mark with its number grown by what the mark itself displaces.
  const size_t room = size_max > mark.size() + 2 ? size_max - mark.size() - 2 : 0;
  if (room == 0) return std::string(CutEnd(text, size_max));
  const size_t head = CharacterEndBefore(text, room / 2);
  const size_t tail = CharacterStartAfter(text, text.size() - (room - room / 2));
  return fmt::format("{}\n... {} bytes cut ...\n{}", text.substr(0, head), tail - head, text.substr(tail));
}

}  // namespace penstock::broker
