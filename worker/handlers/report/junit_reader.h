#ifndef PENSTOCK_WORKER_HANDLERS_REPORT_JUNIT_READER_H_
#define PENSTOCK_WORKER_HANDLERS_REPORT_JUNIT_READER_H_

// Reads JUnit XML as GoogleTest, CTest (--output-junit), pytest and Maven Surefire write it, piece by piece:
//
//   document  = testsuites | testsuite
//   testsuites= (testsuites | testsuite)*            @name
//   testsuite = (testsuite | testcase | failure | error | ...)*   @name
//   testcase  = (failure | error | skipped | system-out | system-err | ...)*   @name @classname @time @status @result
//   @file @line
//
// Counts come from the test cases, never from the suites' attributes, which the dialects define differently. Elements
// and attributes that are not named here are passed over. Other habits of the dialects:
//   - GoogleTest: disabled tests have status="notrun"; a failure's text repeats its message.
//   - CTest: status is run, fail, disabled or notrun; the output of a failed test stands in system-out; a test whose
//   program
//     is missing is written as skipped, but CTest itself counts it as failed, and so do we.
//   - pytest: its one suite is called "pytest"; the class names (modules) serve as suites instead.
//   - Surefire: times with thousands separated ("1,234.5"); flakyFailure (passed in the end) counts as passed.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "worker/handlers/report/report_model.h"

namespace penstock::report {

// One document. Used by one thread; `builder` must outlive it. A document may not have a DOCTYPE (so there are no
// entities of its own, neither external nor multiplying), elements nested deeper than kDepthMax, or a tag longer than
// kTagBytesMax.
class JunitReader {
 public:
  static constexpr int kDepthMax = 100;
  static constexpr size_t kTagBytesMax = 8 << 20;

  // What the document is called in errors. `encoding` overrides the one that the document declares; empty: it does not.
  struct Options {
    std::string name;
    std::string encoding;
    std::string suite_filter;  // Only cases in a suite of this name count; empty: all.
  };

  JunitReader(const Options& options, ReportBuilder* builder);
  ~JunitReader();
  JunitReader(const JunitReader&) = delete;
  JunitReader& operator=(const JunitReader&) = delete;

  // The next piece, cut anywhere. InvalidArgument, "<name>:<line>:<column>: <what the parser says>", when the document
  // is broken or is no JUnit XML; the reader is of no further use then.
  absl::Status Feed(std::string_view piece);
  // REQUIRES: Feed returned OK so far. The document is complete.
  absl::Status Finish();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// "0.001", "1,234.5", "1,234", "0,25" (decimal comma), with spaces around. Zero for anything else, negative included.
absl::Duration ParseCaseTime(std::string_view text);

}  // namespace penstock::report

#endif  // PENSTOCK_WORKER_HANDLERS_REPORT_JUNIT_READER_H_
