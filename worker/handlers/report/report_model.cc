#include "worker/handlers/report/report_model.h"

#include <algorithm>
#include <utility>

#include "common/units.h"

namespace penstock::report {
namespace {

bool IsContinuation(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

// The longest end of `text` of at most `size_bytes_max` bytes that does not begin within a UTF-8 character.
std::string_view CutUtf8Front(std::string_view text, size_t size_bytes_max) {
  size_t begin = text.size() > size_bytes_max ? text.size() - size_bytes_max : 0;
  while (begin < text.size() && IsContinuation(text[begin])) ++begin;
  return text.substr(begin);
}

void CutTo(std::string* text, size_t size_bytes_max) {
  if (text->size() <= size_bytes_max) return;
  text->resize(CutUtf8(*text, size_bytes_max).size());
  *text += "…";
}

}  // namespace

std::string_view CutUtf8(std::string_view text, size_t size_bytes_max) {
  if (text.size() <= size_bytes_max) return text;
  size_t end = size_bytes_max;
  while (end > 0 && IsContinuation(text[end])) --end;
  return text.substr(0, end);
}

void BoundedText::Append(std::string_view text) {
  if (dropped_ == 0 && tail_.empty()) {
    std::string_view fits = CutUtf8(text, half_ - std::min(half_, head_.size()));
    head_ += fits;
    text.remove_prefix(fits.size());
  }
  if (text.size() > half_) {
    const std::string_view end = text.substr(text.size() - half_);
    dropped_ += tail_.size() + text.size() - end.size();
    tail_ = end;
    return;
  }
  tail_ += text;
  if (tail_.size() > 2 * half_) {  // Trimmed seldom, so that appending stays linear.
    dropped_ += tail_.size() - half_;
    tail_.erase(0, tail_.size() - half_);
  }
}

void BoundedText::Clear() {
  head_.clear();
  tail_.clear();
  dropped_ = 0;
}

std::string BoundedText::ToString() const {
  if (dropped_ == 0 && tail_.size() <= half_) return head_ + tail_;
  const std::string_view end = CutUtf8Front(tail_, half_);
  const uint64_t missing = dropped_ + tail_.size() - end.size();
  return head_ + "\n… " + FormatCount(missing) + " bytes left out …\n" + std::string(end);
}

double Totals::pass_rate() const {
  const uint64_t ran = passed + broken();
  return ran == 0 ? -1 : static_cast<double>(passed) / static_cast<double>(ran);
}

void Totals::Add(CaseOutcome outcome, absl::Duration case_time) {
  ++tests;
  passed += outcome == CaseOutcome::kPassed;
  failures += outcome == CaseOutcome::kFailed;
  errors += outcome == CaseOutcome::kError;
  skipped += outcome == CaseOutcome::kSkipped;
  time += case_time;
}

void Totals::Add(const Totals& other) {
  tests += other.tests;
  passed += other.passed;
  failures += other.failures;
  errors += other.errors;
  skipped += other.skipped;
  time += other.time;
}

void DurationHistogram::Add(absl::Duration time) {
  static const std::array<absl::Duration, kBuckets - 1> bounds = {
      absl::Milliseconds(1), absl::Milliseconds(10), absl::Milliseconds(100), absl::Seconds(1),
      absl::Seconds(10),     absl::Minutes(1),       absl::Minutes(10)};
  ++counts[std::upper_bound(bounds.begin(), bounds.end(), time) - bounds.begin()];
}

void ReportBuilder::Add(TestCase test) {
  CutTo(&test.suite, limits_.name_bytes);
  CutTo(&test.class_name, limits_.name_bytes);
  CutTo(&test.name, limits_.name_bytes);
  CutTo(&test.location, limits_.name_bytes);
  CutTo(&test.error_type, limits_.name_bytes);

  report_.totals.Add(test.outcome, test.time);
  AddToSuite(test);
  if (test.outcome != CaseOutcome::kSkipped) {
    report_.durations.Add(test.time);
    AddToSlowest(test);
  }
  if (test.outcome == CaseOutcome::kSkipped) {
    if (report_.skipped.size() < limits_.skipped) report_.skipped.push_back(std::move(test));
  } else if (test.outcome != CaseOutcome::kPassed) {
    if (report_.failures.size() < limits_.failures) report_.failures.push_back(std::move(test));
  }
}

void ReportBuilder::AddToSuite(const TestCase& test) {
  const auto known = suite_index_.find(test.suite);
  if (known != suite_index_.end()) {
    report_.suites[known->second].totals.Add(test.outcome, test.time);
    return;
  }
  if (report_.suites.size() < limits_.suites) {
    suite_index_.emplace(test.suite, report_.suites.size());
    report_.suites.push_back({test.suite, {}});
    report_.suites.back().totals.Add(test.outcome, test.time);
    return;
  }
  // Cases of one suite follow each other, so counting changes of name counts the suites, without keeping the names.
  if (report_.suites_left_out == 0 || test.suite != last_left_out_) {
    ++report_.suites_left_out;
    last_left_out_ = test.suite;
  }
  report_.left_out_totals.Add(test.outcome, test.time);
}

void ReportBuilder::AddToSlowest(const TestCase& test) {
  std::vector<TestCase>& slowest = report_.slowest;
  if (test.time <= absl::ZeroDuration()) return;
  if (slowest.size() == limits_.slowest && (slowest.empty() || slowest.back().time >= test.time)) return;
  TestCase kept = test;
  kept.error_type.clear();
  kept.message.clear();
  kept.detail.clear();
  const auto place = std::upper_bound(slowest.begin(), slowest.end(), kept,
                                      [](const TestCase& a, const TestCase& b) { return a.time > b.time; });
  slowest.insert(place, std::move(kept));
  if (slowest.size() > limits_.slowest) slowest.pop_back();
}

Report ReportBuilder::Build() {
  suite_index_.clear();
  return std::exchange(report_, {});
}

}  // namespace penstock::report
