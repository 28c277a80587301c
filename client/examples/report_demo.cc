// What a service does with Penstock: enqueues tasks, waits for them, uses their results. Here: one HTML report for each
// JUnit XML file, and one for all of them together. A worker with the report plug-in makes them; deploy/demo runs it
// all.
//
//   report_demo --broker localhost:7420 --out reports results/*.xml

#include <filesystem>
#include <future>
#include <iostream>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/time/time.h"
#include "client/client.h"
#include "fmt/core.h"
#include "nlohmann/json.hpp"

namespace {

struct Report {
  std::string title;
  std::future<absl::StatusOr<penstock::EnqueueResult>> enqueued;
};

penstock::NewTask ReportTask(const std::string& title, const std::vector<std::string>& files, const std::string& out) {
  penstock::NewTask task;
  task.queue = "reports";
  task.type = "report.generate";
  task.payload = nlohmann::json{{"title", title}, {"files", files}, {"output", out}}.dump();
  task.options.content_type = "application/json";
  return task;
}

// Prints what became of a report. The result's fields stand in worker/handlers/report/report_handler.h.
bool Print(const std::string& title, const absl::StatusOr<std::string>& result) {
  if (!result.ok()) {
    std::cout << fmt::format("{}: no report: {}", title, result.status().ToString()) << std::endl;
    return false;
  }
  const auto report = nlohmann::json::parse(*result, nullptr, /*allow_exceptions=*/false);
  if (!report.is_object()) {
    std::cout << fmt::format("{}: the result is not JSON", title) << std::endl;
    return false;
  }
  const int failed = report.value("failures", 0) + report.value("errors", 0);
  std::cout << fmt::format("{:<32} {:>4} tests {:>4} passed {:>3} failed {:>3} skipped {:>8.3f} s  {}", title,
                           report.value("tests", 0), report.value("passed", 0), failed, report.value("skipped", 0),
                           report.value("seconds", 0.0), report.value("path", ""))
            << std::endl;
  return true;
}

int Run(const std::string& broker, const std::string& out, const std::vector<std::string>& files) {
  auto client = penstock::Client::Connect(broker);
  if (!client.ok()) {
    std::cerr << "report_demo: " << client.status().ToString() << std::endl;
    return 1;
  }
  // Futures, so that the tasks travel together instead of one by one.
  std::vector<Report> reports;
  const auto enqueue = [&](const std::string& title, const std::vector<std::string>& of) {
    reports.push_back({title, (*client)->EnqueueFuture(ReportTask(title, of, out))});
  };
  for (const std::string& file : files) {
    enqueue(std::filesystem::path(file).stem().string(), {file});
  }
  enqueue("The whole run", files);

  int made = 0;
  for (Report& report : reports) {
    const absl::StatusOr<penstock::EnqueueResult> enqueued = report.enqueued.get();
    const absl::StatusOr<std::string> result =
        enqueued.ok() ? (*client)->Wait<std::string>(enqueued->id, absl::Minutes(5)) : enqueued.status();
    if (Print(report.title, result)) ++made;
  }
  std::cout << fmt::format("{} of {} reports are made, in {}", made, reports.size(), out) << std::endl;
  return made == static_cast<int>(reports.size()) ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Enqueues report.generate tasks and waits for the reports.", "report_demo");
  std::string broker = "localhost:7420";
  std::string out = "reports";
  std::vector<std::string> files;
  app.add_option("--broker", broker, "host:port of the broker")->capture_default_str();
  app.add_option("--out", out, "Folder for the reports")->capture_default_str();
  app.add_option("files", files, "JUnit XML files")->required()->check(CLI::ExistingFile);
  CLI11_PARSE(app, argc, argv);
  // The worker has another working folder.
  for (std::string& file : files) file = std::filesystem::absolute(file).string();
  return Run(broker, std::filesystem::absolute(out).lexically_normal().string(), files);
}
