#ifndef PENSTOCK_WORKER_HANDLERS_REPORT_REPORT_MODEL_H_
#define PENSTOCK_WORKER_HANDLERS_REPORT_REPORT_MODEL_H_

// What a test report says, and the builder that gathers it from test cases one at a time. Its size does not grow with
// the tests that passed: only totals, the slowest tests, a bounded number of failed and skipped tests with bounded
// texts, and a bounded number of suites are kept.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/time/time.h"

namespace penstock::report {

enum class CaseOutcome { kPassed, kFailed, kError, kSkipped };

// A text of which only the beginning and the end are kept when it is long. Cuts stand between UTF-8 characters.
class BoundedText {
 public:
  explicit BoundedText(size_t size_bytes_max) : half_(size_bytes_max / 2) {}

  void Append(std::string_view text);
  void Clear();
  bool empty() const { return head_.empty(); }
  // The text, with a line that says how many bytes are missing in the middle.
  std::string ToString() const;

 private:
  size_t half_;
  std::string head_;
  std::string tail_;  // at most 2 * half_, of which the last half_ bytes count
  uint64_t dropped_ = 0;
};

// One test case. Texts are UTF-8.
struct TestCase {
  std::string suite;       // the suites it stands in, from the outermost
  std::string class_name;  // empty, or what the dialect calls its class
  std::string name;
  std::string location;  // "file:line", "file", or empty
  CaseOutcome outcome = CaseOutcome::kPassed;
  absl::Duration time = absl::ZeroDuration();
  // Of cases that did not pass:
  std::string error_type;  // for instance an exception's class; may be empty
  std::string message;     // one or few lines
  std::string detail;      // a stack, or the output of the test
};

struct Totals {
  uint64_t tests = 0;
  uint64_t passed = 0;
  uint64_t failures = 0;
  uint64_t errors = 0;
  uint64_t skipped = 0;
  absl::Duration time = absl::ZeroDuration();  // of the test cases, added up

  uint64_t broken() const { return failures + errors; }
  // Of the tests that ran, the part that passed: 0 to 1, or -1 when none ran.
  double pass_rate() const;
  void Add(CaseOutcome outcome, absl::Duration case_time);
  void Add(const Totals& other);
};

struct Suite {
  std::string name;
  Totals totals;
};

// How many cases took how long. Skipped cases are not counted.
struct DurationHistogram {
  static constexpr size_t kBuckets = 8;
  // Where each bucket ends and the next begins; the last has no end.
  static constexpr std::array<std::string_view, kBuckets - 1> kBounds = {"1 ms", "10 ms", "0.1 s", "1 s",
                                                                         "10 s", "1 min", "10 min"};
  std::array<uint64_t, kBuckets> counts = {};

  void Add(absl::Duration time);
};

struct Report {
  std::string title;
  std::string suite_filter;  // the only suite it is about, or empty
  absl::Time generated_at;
  uint64_t documents = 0;

  Totals totals;
  std::vector<Suite> suites;  // in the order of their first case
  uint64_t suites_left_out = 0;
  Totals left_out_totals;          // of the suites that were left out
  std::vector<TestCase> slowest;   // slowest first; of equal ones the earlier first
  std::vector<TestCase> failures;  // failed and error, in order
  std::vector<TestCase> skipped;   // in order
  DurationHistogram durations;
};

// How much of its input a report keeps.
struct ReportLimits {
  size_t slowest = 15;
  size_t failures = 500;
  size_t skipped = 200;
  size_t suites = 1'000;
  size_t name_bytes = 512;
  size_t message_bytes = 2 << 10;
  size_t detail_bytes = 8 << 10;
};

// Not thread-safe.
class ReportBuilder {
 public:
  explicit ReportBuilder(const ReportLimits& limits) : limits_(limits) {}

  const ReportLimits& limits() const { return limits_; }
  const Totals& totals() const { return report_.totals; }

  void Add(TestCase test);
  // The report without its title, filter and times. The builder is empty afterwards.
  Report Build();

 private:
  void AddToSuite(const TestCase& test);
  void AddToSlowest(const TestCase& test);

  const ReportLimits limits_;
  Report report_;
  std::unordered_map<std::string, size_t> suite_index_;  // of report_.suites
  std::string last_left_out_;                            // the suite that was counted as left out last
};

// The longest beginning of `text` of at most `size_bytes_max` bytes that does not end within a UTF-8 character.
std::string_view CutUtf8(std::string_view text, size_t size_bytes_max);

}  // namespace penstock::report

#endif  // PENSTOCK_WORKER_HANDLERS_REPORT_REPORT_MODEL_H_
