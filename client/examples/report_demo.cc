// What a service does with Penstock: enqueues tasks, waits for them, uses their results. Here: one HTML report for each
// JUnit XML file, and one for all of them together. A worker with the report plug-in makes them; deploy/demo runs it
// all.
//
//   report_demo --broker 127.0.0.1:7420 --out reports results/*.xml

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
  std::vector<std::string> titles;
  // Futures, so that the tasks travel together instead of one by one.
  std::vector<std::future<absl::StatusOr<penstock::EnqueueResult>>> enqueued;
  const auto enqueue = [&](const std::string& title, const std::vector<std::string>& of) {
    titles.push_back(title);
    enqueued.push_back((*client)->EnqueueFuture(ReportTask(title, of, out)));
  };
  for (const std::string& file : files) {
    enqueue(std::filesystem::path(file).stem().string(), {file});
  }
  enqueue("The whole run", files);

  std::vector<penstock::TaskId> ids;
  for (auto& future : enqueued) {
    const absl::StatusOr<penstock::EnqueueResult> result = future.get();
    if (!result.ok()) {
      std::cerr << "report_demo: cannot enqueue: " << result.status().ToString() << std::endl;
      return 1;
    }
    ids.push_back(result->id);
  }
  std::cout << fmt::format("{} tasks are enqueued, from {} to {}", ids.size(), ids.front().ToString(),
                           ids.back().ToString())
            << std::endl;

  size_t made = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (Print(titles[i], (*client)->Wait<std::string>(ids[i], absl::Minutes(5)))) ++made;
  }
  std::cout << fmt::format("{} of {} reports are made, in {}", made, ids.size(), out) << std::endl;
  return made == ids.size() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Enqueues report.generate tasks and waits for the reports.", "report_demo");
  std::string broker = "127.0.0.1:7420";
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
