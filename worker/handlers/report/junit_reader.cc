#include "worker/handlers/report/junit_reader.h"

#include <expat.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>
#include <vector>

#include "fmt/format.h"

namespace penstock::report {
namespace {

constexpr size_t kFeedBytesMax = 1 << 20;  // Expat counts a piece with int.
constexpr uint64_t kPendingBytesMax = 2 * JunitReader::kTagBytesMax;
constexpr double kCaseSecondsMax = 1e9;
constexpr std::string_view kUnnamed = "(empty)";  // CTest, when the build has no name
constexpr std::string_view kPytest = "pytest";

enum class Element {
  kOther,  // Passed over with what it contains, except that test cases are found anywhere below suites.
  kSuites,
  kSuite,
  kCase,
  kFailure,
  kError,
  kSkipped,
  kOutput,
};

Element ElementOf(std::string_view tag) {
  // A namespace prefix says nothing here.
  if (const size_t colon = tag.rfind(':'); colon != std::string_view::npos) tag.remove_prefix(colon + 1);
  if (tag == "testcase") return Element::kCase;
  if (tag == "testsuite") return Element::kSuite;
  if (tag == "testsuites") return Element::kSuites;
  if (tag == "failure") return Element::kFailure;
  if (tag == "error") return Element::kError;
  if (tag == "skipped") return Element::kSkipped;
  if (tag == "system-out" || tag == "system-err") return Element::kOutput;
  return Element::kOther;
}

// Expat's attribute array: name, value, name, value, ..., null.
std::string_view Attribute(const XML_Char** attributes, std::string_view name) {
  for (; *attributes != nullptr; attributes += 2) {
    if (name == attributes[0]) return attributes[1];
  }
  return {};
}

std::string_view Trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

bool StartsWith(std::string_view text, std::string_view beginning) {
  return text.substr(0, beginning.size()) == beginning;
}

// A comma separates thousands when three digits follow each one and the number does not begin with zero.
bool CommasSeparateThousands(std::string_view text) {
  const std::string_view whole = text.substr(0, text.find('.'));
  size_t comma = whole.find(',');
  if (comma == 0 || comma > 3 || whole[0] == '0') return false;
  while (comma != std::string_view::npos) {
    const size_t next = whole.find(',', comma + 1);
    if ((next == std::string_view::npos ? whole.size() : next) - comma != 4) return false;
    comma = next;
  }
  return true;
}

}  // namespace

absl::Duration ParseCaseTime(std::string_view text) {
  std::string number(Trim(text));
  if (number.find(',') != std::string::npos) {
    if (CommasSeparateThousands(number)) {
      number.erase(std::remove(number.begin(), number.end(), ','), number.end());
    } else {
      std::replace(number.begin(), number.end(), ',', '.');
    }
  }
  double seconds = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), seconds);
  if (error != std::errc() || end != number.data() + number.size()) return absl::ZeroDuration();
  if (!std::isfinite(seconds) || seconds <= 0) return absl::ZeroDuration();
  return absl::Seconds(std::min(seconds, kCaseSecondsMax));
}

class JunitReader::Impl {
 public:
  Impl(const Options& options, ReportBuilder* builder)
      : options_(options),
        builder_(builder),
        text_(builder->limits().detail_bytes),
        detail_(builder->limits().detail_bytes),
        output_(builder->limits().detail_bytes),
        message_(builder->limits().message_bytes),
        parser_(XML_ParserCreate(options.encoding.empty() ? nullptr : options.encoding.c_str())) {
    XML_SetUserData(parser_, this);
    XML_SetElementHandler(
        parser_,
        [](void* self, const XML_Char* tag, const XML_Char** attributes) { Self(self)->Start(tag, attributes); },
        [](void* self, const XML_Char*) { Self(self)->End(); });
    XML_SetCharacterDataHandler(parser_, [](void* self, const XML_Char* text, int size) {
      Self(self)->Text({text, static_cast<size_t>(size)});
    });
    XML_SetStartDoctypeDeclHandler(parser_, [](void* self, const XML_Char*, const XML_Char*, const XML_Char*, int) {
      Self(self)->Stop("a DOCTYPE is not allowed in JUnit XML");
    });
  }
  ~Impl() { XML_ParserFree(parser_); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  absl::Status Feed(std::string_view piece) {
    while (!piece.empty()) {
      const std::string_view part = piece.substr(0, kFeedBytesMax);
      piece.remove_prefix(part.size());
      fed_ += part.size();
      if (XML_Parse(parser_, part.data(), static_cast<int>(part.size()), XML_FALSE) != XML_STATUS_OK) return Error();
      // Expat keeps a tag until it has seen its end. It looks for that only each time that it has twice as much, and
      // does not tell its place (-1) when it has not looked.
      if (const XML_Index place = XML_GetCurrentByteIndex(parser_); place >= 0) done_ = static_cast<uint64_t>(place);
      if (fed_ - done_ > kPendingBytesMax) {
        Stop(fmt::format("a tag or comment is longer than {} MiB", kTagBytesMax >> 20));
        return Error();
      }
    }
    return absl::OkStatus();
  }

  absl::Status Finish() {
    if (XML_Parse(parser_, nullptr, 0, XML_TRUE) != XML_STATUS_OK) return Error();
    return absl::OkStatus();
  }

 private:
  static Impl* Self(void* self) { return static_cast<Impl*>(self); }

  // Remembers the reason and makes the parser return an error.
  void Stop(std::string why) {
    if (!stop_reason_.empty()) return;
    stop_reason_ = std::move(why);
    stop_line_ = XML_GetCurrentLineNumber(parser_);
    stop_column_ = XML_GetCurrentColumnNumber(parser_);
    XML_StopParser(parser_, XML_FALSE);
  }

  absl::Status Error() const {
    if (!stop_reason_.empty()) return ErrorAt(stop_line_, stop_column_, stop_reason_);
    const XML_LChar* const parser_says = XML_ErrorString(XML_GetErrorCode(parser_));
    return ErrorAt(XML_GetCurrentLineNumber(parser_), XML_GetCurrentColumnNumber(parser_),
                   parser_says != nullptr ? parser_says : "broken XML");
  }

  // Expat counts columns from 0.
  absl::Status ErrorAt(XML_Size line, XML_Size column, std::string_view why) const {
    return absl::InvalidArgumentError(fmt::format("{}:{}:{}: {}", options_.name, line, column + 1, why));
  }

  void Start(std::string_view tag, const XML_Char** attributes) {
    if (!stop_reason_.empty()) return;  // Expat may still deliver what it has parsed.
    const Element element = ElementOf(tag);
    if (stack_.empty() && element != Element::kSuites && element != Element::kSuite) {
      return Stop(fmt::format("this is no JUnit XML: the root element is <{}> instead of <testsuites> or <testsuite>",
                              CutUtf8(tag, 100)));
    }
    if (stack_.size() == static_cast<size_t>(kDepthMax)) {
      return Stop(fmt::format("elements are nested deeper than {}", kDepthMax));
    }
    const Element parent = stack_.empty() ? Element::kOther : stack_.back();
    stack_.push_back(element);
    switch (element) {
      case Element::kSuite:
        return EnterSuite(Trim(Attribute(attributes, "name")));
      case Element::kCase:
        if (in_case_) return Stop("a <testcase> stands inside a <testcase>");
        return EnterCase(attributes);
      case Element::kFailure:
      case Element::kError:
      case Element::kSkipped:
        if (!in_case_ && parent == Element::kSuite && element != Element::kSkipped) {
          // What went wrong outside of any case, for instance when the suite was set up.
          EnterCase(attributes);
          case_.name = "(suite)";
          case_.class_name.clear();
          case_is_suite_ = true;
        }
        if (in_case_) EnterProblem(element, attributes);
        return;
      case Element::kOutput:
        if (in_case_ && !output_.empty()) output_.Append("\n");
        return;
      case Element::kSuites:
      case Element::kOther:
        return;
    }
  }

  void End() {
    if (!stop_reason_.empty()) return;
    const Element element = stack_.back();
    stack_.pop_back();
    switch (element) {
      case Element::kSuite:
        suites_.pop_back();
        return;
      case Element::kCase:
        return LeaveCase();
      case Element::kFailure:
      case Element::kError:
      case Element::kSkipped:
        if (in_case_) LeaveProblem();
        if (case_is_suite_) LeaveCase();
        return;
      default:
        return;
    }
  }

  void Text(std::string_view text) {
    if (!in_case_ || !stop_reason_.empty()) return;
    switch (stack_.back()) {
      case Element::kFailure:
      case Element::kError:
      case Element::kSkipped:
        return text_.Append(text);
      case Element::kOutput:
        return output_.Append(text);
      default:
        return;
    }
  }

  void EnterSuite(std::string_view name) {
    if (name == kUnnamed) name = {};
    suites_.emplace_back(CutUtf8(name, builder_->limits().name_bytes));
  }

  // The name of the suite that a case belongs to.
  std::string SuiteOf(std::string_view class_name) const {
    if (suites_.size() == 1 && suites_[0] == kPytest && !class_name.empty()) return std::string(class_name);
    std::string path;
    for (const std::string& suite : suites_) {
      if (suite.empty()) continue;
      if (!path.empty()) path += " / ";
      path += suite;
    }
    if (!path.empty()) return path;
    return options_.name.substr(options_.name.rfind('/') + 1);
  }

  bool Wanted() const {
    if (options_.suite_filter.empty() || case_.suite == options_.suite_filter) return true;
    return std::find(suites_.begin(), suites_.end(), options_.suite_filter) != suites_.end();
  }

  void EnterCase(const XML_Char** attributes) {
    in_case_ = true;
    case_ = TestCase();
    case_.class_name = CutUtf8(Trim(Attribute(attributes, "classname")), builder_->limits().name_bytes + 1);
    case_.suite = SuiteOf(case_.class_name);
    wanted_ = Wanted();
    case_.name = CutUtf8(Trim(Attribute(attributes, "name")), builder_->limits().name_bytes + 1);
    if (case_.name.empty()) case_.name = "(unnamed)";
    case_.time = ParseCaseTime(Attribute(attributes, "time"));
    case_.location = CutUtf8(Attribute(attributes, "file"), builder_->limits().name_bytes);
    if (const std::string_view line = Attribute(attributes, "line"); !case_.location.empty() && !line.empty()) {
      case_.location += ':';
      case_.location += CutUtf8(line, 20);
    }
    status_ = CutUtf8(Attribute(attributes, "status"), 20);
    if (Attribute(attributes, "result") == "skipped") status_ = "skipped";
    message_.Clear();
    detail_.Clear();
    output_.Clear();
  }

  void EnterProblem(Element element, const XML_Char** attributes) {
    const CaseOutcome outcome = element == Element::kError     ? CaseOutcome::kError
                                : element == Element::kFailure ? CaseOutcome::kFailed
                                                               : CaseOutcome::kSkipped;
    // The worst counts: an error above a failure above skipped.
    if (Severity(outcome) > Severity(case_.outcome)) {
      case_.outcome = outcome;
      case_.error_type = CutUtf8(Trim(Attribute(attributes, "type")), builder_->limits().name_bytes + 1);
    }
    problem_message_ = Trim(Attribute(attributes, "message"));
    text_.Clear();
  }

  static int Severity(CaseOutcome outcome) {
    switch (outcome) {
      case CaseOutcome::kPassed:
        return 0;
      case CaseOutcome::kSkipped:
        return 1;
      case CaseOutcome::kFailed:
        return 2;
      case CaseOutcome::kError:
        return 3;
    }
    return 0;
  }

  // A case may have several problems; their texts are joined.
  void LeaveProblem() {
    if (!wanted_) return;
    const std::string whole = text_.ToString();
    const std::string_view text = Trim(whole);
    if (!text.empty()) {
      if (!detail_.empty()) detail_.Append("\n\n");
      detail_.Append(text);
    }
    // The first message is the case's; a later one is added unless its text says it anyway.
    if (!problem_message_.empty() && (message_.empty() || !StartsWith(text, problem_message_))) {
      if (!message_.empty()) message_.Append("\n");
      message_.Append(problem_message_);
    }
  }

  void LeaveCase() {
    in_case_ = false;
    case_is_suite_ = false;
    if (!wanted_) return;
    const std::string message = message_.ToString();
    if (case_.outcome == CaseOutcome::kPassed) {
      if (status_ == "fail") {
        case_.outcome = CaseOutcome::kFailed;
      } else if (status_ == "notrun" || status_ == "disabled" || status_ == "skipped") {
        case_.outcome = CaseOutcome::kSkipped;
      }
    } else if (case_.outcome == CaseOutcome::kSkipped && status_ == "notrun" &&
               StartsWith(message, "Unable to find executable")) {
      case_.outcome = CaseOutcome::kError;
      case_.error_type = "not run";
    }
    if (case_.outcome != CaseOutcome::kPassed) {
      case_.message = message;
      case_.detail = detail_.ToString();
      if (case_.outcome == CaseOutcome::kSkipped) {
        if (case_.message.empty()) case_.message = case_.detail;
        if (case_.message.empty() && status_ == "disabled") case_.message = "disabled";
        if (case_.message.empty() && status_ == "notrun") case_.message = "not run";
        case_.detail.clear();
      } else {
        // Output is what there is when the failure says nothing, as CTest's.
        if (case_.detail.empty()) case_.detail = Trim(output_.ToString());
      }
    }
    builder_->Add(std::move(case_));
  }

  const Options options_;
  ReportBuilder* const builder_;

  std::vector<Element> stack_;       // the open elements
  std::vector<std::string> suites_;  // the open suites' names
  std::string stop_reason_;          // ours, when we stopped the parser
  XML_Size stop_line_ = 0;
  XML_Size stop_column_ = 0;
  uint64_t fed_ = 0;
  uint64_t done_ = 0;  // of what was fed, parsed

  // The open case.
  bool in_case_ = false;
  bool case_is_suite_ = false;  // made up for a problem that stands directly in a suite
  bool wanted_ = false;
  TestCase case_;
  std::string status_;
  std::string problem_message_;
  BoundedText text_;  // of the open failure, error or skipped
  BoundedText detail_;
  BoundedText output_;
  BoundedText message_;

  XML_Parser parser_;
};

JunitReader::JunitReader(const Options& options, ReportBuilder* builder)
    : impl_(std::make_unique<Impl>(options, builder)) {}
JunitReader::~JunitReader() = default;
absl::Status JunitReader::Feed(std::string_view piece) { return impl_->Feed(piece); }
absl::Status JunitReader::Finish() { return impl_->Finish(); }

}  // namespace penstock::report
