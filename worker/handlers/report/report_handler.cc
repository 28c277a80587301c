#include "worker/handlers/report/report_handler.h"

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/status.h"
#include "common/text.h"
#include "common/units.h"
#include "fmt/format.h"
#include "worker/handlers/report/html_text.h"
#include "worker/handlers/report/junit_reader.h"
#include "worker/handlers/report/report_files.h"
#include "worker/handlers/report/report_html.h"
#include "worker/handlers/report/report_model.h"

namespace penstock::report {
namespace {

using plugin::Outcome;
using plugin::Task;

constexpr size_t kPieceBytes = 64 << 10;
constexpr double kReadingPercent = 95;  // The rest is rendering and writing.
constexpr size_t kFilesLogged = 100;    // A task's log is small.

// Reports progress when another whole percent is done, so that the smallest pieces do not flood the host.
class ReadingProgress {
 public:
  ReadingProgress(Task* task, uint64_t bytes_in_all)
      : task_(task), bytes_in_all_(std::max<uint64_t>(bytes_in_all, 1)) {}

  void Read(uint64_t bytes, std::string_view document) {
    bytes_ += bytes;
    const double part = static_cast<double>(bytes_) / static_cast<double>(bytes_in_all_);
    const double percent = kReadingPercent * std::min(part, 1.0);
    if (percent < reported_ + 1) return;
    reported_ = percent;
    task_->Progress(percent,
                    fmt::format("reading {} ({} of {})", document, FormatSize(bytes_), FormatSize(bytes_in_all_)));
  }

 private:
  Task* const task_;
  const uint64_t bytes_in_all_;
  uint64_t bytes_ = 0;
  double reported_ = -1;
};

class Generation {
 public:
  Generation(const ReportOptions& options, const Clock& clock, const ReportRequest& request, Task* task)
      : options_(options), clock_(clock), request_(request), task_(task), builder_(ReportLimits()) {}

  Outcome Run() {
    const std::string path = request_.OutputPath();
    if (absl::Status status = CheckAllowed(path, options_.folders); !status.ok()) return Failed(status);
    if (absl::Status status = ReadDocuments(); !status.ok()) return Failed(status);
    if (!request_.suite.empty() && builder_.totals().tests == 0) {
      return Outcome::Reject("suite", fmt::format("suite: no test case belongs to suite '{}'", request_.suite));
    }

    task_->Progress(kReadingPercent, "writing " + path);
    Report report = builder_.Build();
    report.title = request_.title;
    report.suite_filter = request_.suite;
    report.generated_at = clock_.Read().wall;
    report.documents = request_.files.size() + request_.inline_documents.size();
    const std::string page = RenderHtml(report);
    if (task_->cancelled()) return Failed(absl::CancelledError("cancelled before the report was written"));
    if (absl::Status status = ReplaceFile(path, page, task_->id(), task_->fencing_token()); !status.ok()) {
      return Failed(status);
    }
    task_->Log(fmt::format("wrote {} ({})", path, FormatSize(page.size())));
    task_->Progress(100, Summary(report.totals));
    return Outcome::Done(Result(report, path), "application/json");
  }

 private:
  static Outcome Failed(const absl::Status& status) {
    std::string message(ToStd(status.message()));
    switch (status.code()) {
      case absl::StatusCode::kInvalidArgument:
        return Outcome::Reject("xml", std::move(message));
      case absl::StatusCode::kFailedPrecondition:
        return Outcome::Reject("file", std::move(message));
      case absl::StatusCode::kCancelled:
        return Outcome::Retry("cancelled", std::move(message));
      default:
        return Outcome::Retry("io", std::move(message));
    }
  }

  absl::Status ReadDocuments() {
    // Every file is opened once before anything is read, so that a missing one is told at once, and to know the whole
    // size.
    uint64_t bytes_in_all = 0;
    for (const std::string& path : request_.files) {
      if (task_->cancelled()) return absl::CancelledError("cancelled while the files were looked up");
      RETURN_IF_ERROR(CheckAllowed(path, options_.folders));
      ASSIGN_OR_RETURN(const InputFile file, InputFile::Open(path));
      bytes_in_all += file.size_bytes();
    }
    for (const std::string& text : request_.inline_documents) bytes_in_all += text.size();

    ReadingProgress progress(task_, bytes_in_all);
    for (const std::string& path : request_.files) RETURN_IF_ERROR(ReadFile(path, &progress));
    for (size_t i = 0; i < request_.inline_documents.size(); ++i) {
      RETURN_IF_ERROR(ReadInline(fmt::format("inline[{}]", i), request_.inline_documents[i], &progress));
    }
    return absl::OkStatus();
  }

  absl::Status ReadFile(const std::string& path, ReadingProgress* progress) {
    ASSIGN_OR_RETURN(InputFile file, InputFile::Open(path));
    const uint64_t tests_before = builder_.totals().tests;
    JunitReader reader({.name = path, .encoding = "", .suite_filter = request_.suite}, &builder_);
    while (true) {
      if (task_->cancelled()) return absl::CancelledError("cancelled while reading " + path);
      ASSIGN_OR_RETURN(const std::string_view piece, file.Read(buffer_.data(), buffer_.size()));
      if (piece.empty()) break;
      RETURN_IF_ERROR(reader.Feed(piece));
      progress->Read(piece.size(), path);
    }
    RETURN_IF_ERROR(reader.Finish());
    LogRead(path, tests_before);
    return absl::OkStatus();
  }

  absl::Status ReadInline(const std::string& name, std::string_view text, ReadingProgress* progress) {
    const uint64_t tests_before = builder_.totals().tests;
    // JSON has made it UTF-8, whatever encoding its first line tells.
    JunitReader reader({.name = name, .encoding = "UTF-8", .suite_filter = request_.suite}, &builder_);
    for (size_t begin = 0; begin < text.size(); begin += kPieceBytes) {
      if (task_->cancelled()) return absl::CancelledError("cancelled while reading " + name);
      const std::string_view piece = text.substr(begin, kPieceBytes);
      RETURN_IF_ERROR(reader.Feed(piece));
      progress->Read(piece.size(), name);
    }
    RETURN_IF_ERROR(reader.Finish());
    LogRead(name, tests_before);
    return absl::OkStatus();
  }

  void LogRead(const std::string& document, uint64_t tests_before) {
    if (documents_read_++ >= kFilesLogged) return;
    task_->Log(
        fmt::format("read {}: {}", document, ShowCount(builder_.totals().tests - tests_before, "test", "tests")));
  }

  static std::string Summary(const Totals& totals) {
    return fmt::format("{}, {} failed", ShowCount(totals.tests, "test", "tests"), FormatCount(totals.broken()));
  }

  static std::string Result(const Report& report, const std::string& path) {
    const Totals& totals = report.totals;
    nlohmann::ordered_json result = {{"path", path},
                                     {"title", report.title},
                                     {"tests", totals.tests},
                                     {"passed", totals.passed},
                                     {"failures", totals.failures},
                                     {"errors", totals.errors},
                                     {"skipped", totals.skipped},
                                     {"seconds", absl::ToDoubleSeconds(totals.time)},
                                     {"pass_rate", nullptr},
                                     {"suites", report.suites.size() + report.suites_left_out}};
    if (totals.pass_rate() >= 0) result["pass_rate"] = totals.pass_rate();
    return result.dump();
  }

  const ReportOptions& options_;
  const Clock& clock_;
  const ReportRequest& request_;
  Task* const task_;
  ReportBuilder builder_;
  std::vector<char> buffer_ = std::vector<char>(kPieceBytes);
  size_t documents_read_ = 0;
};

}  // namespace

Outcome GenerateReport(const ReportOptions& options, const Clock& clock, Task& task) {
  const absl::StatusOr<ReportRequest> request = ParseReportRequest(task.payload());
  if (!request.ok()) return Outcome::Reject("payload", std::string(ToStd(request.status().message())));
  return Generation(options, clock, *request, &task).Run();
}

}  // namespace penstock::report
