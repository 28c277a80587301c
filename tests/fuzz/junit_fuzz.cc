// A JUnit XML document, fed whole and in pieces: refused alike, or counted alike. The first byte is the size of the
// pieces.

#include <algorithm>

#include "tests/fuzz/fuzz_input.h"
#include "worker/handlers/report/junit_reader.h"
#include "worker/handlers/report/report_html.h"
#include "worker/handlers/report/report_model.h"

namespace penstock::report {
namespace {

absl::Status ReadDocument(std::string_view text, size_t piece, ReportBuilder* builder) {
  JunitReader reader({.name = "fuzz", .encoding = "", .suite_filter = ""}, builder);
  for (; !text.empty(); text.remove_prefix(std::min(piece, text.size()))) {
    const absl::Status status = reader.Feed(text.substr(0, piece));
    if (!status.ok()) return status;
  }
  return reader.Finish();
}

constexpr size_t kMark = 64;  // the words behind what was cut have less

}  // namespace
}  // namespace penstock::report

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace penstock::report;  // NOLINT: all of it is here
  if (size == 0) return 0;
  const std::string_view text = penstock::fuzz::TextOf(data + 1, size - 1);
  const ReportLimits limits = {.slowest = 2,
                               .failures = 3,
                               .skipped = 2,
                               .suites = 3,
                               .name_bytes = 16,
                               .message_bytes = 24,
                               .detail_bytes = 32};
  ReportBuilder whole(limits), pieces(limits);
  const absl::Status status = ReadDocument(text, std::max<size_t>(text.size(), 1), &whole);
  FUZZ_CHECK(ReadDocument(text, data[0] % 61 + 1, &pieces).code() == status.code());
  if (!status.ok()) {
    FUZZ_CHECK(!status.message().empty());
    return 0;
  }
  FUZZ_CHECK(whole.totals().tests == pieces.totals().tests && whole.totals().broken() == pieces.totals().broken());
  Report report = whole.Build();
  for (const TestCase& test : report.failures) {
    FUZZ_CHECK(test.name.size() <= limits.name_bytes + kMark && test.message.size() <= limits.message_bytes + kMark);
  }
  report.title = "fuzz";
  FUZZ_CHECK(!RenderHtml(report).empty());
  return 0;
}
