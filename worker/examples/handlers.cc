// handlers_example BROKER: a handler for everything that handlers can do. docs/handlers.md explains each; a test
// compares its snippets with this file.
//
//   handlers_example 127.0.0.1:7420 &
//   penstock enqueue mail mail.import '{"pages": 3}' --wait

#include <chrono>
#include <iostream>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "google/protobuf/wrappers.pb.h"
#include "nlohmann/json.hpp"
#include "worker/fencing.h"
#include "worker/json_handler.h"
#include "worker/worker.h"

namespace {

using google::protobuf::StringValue;
using penstock::BatchTask;
using penstock::CoolScope;
using penstock::FencedRegister;
using penstock::FencingToken;
using penstock::Outcome;
using penstock::RawBatchTask;
using penstock::RawHandler;
using penstock::TaskContext;

// What stands for the services that real handlers call.
struct Answer {
  int code = 200;
  int retry_after_seconds = 0;
};
Answer Send(const std::string& mail) { return {mail.find("busy") == std::string::npos ? 200 : 429, 30}; }
bool ImportPage(int page) { return page >= 0; }
bool Insert(const std::vector<std::string>& rows) { return !rows.empty(); }

}  // namespace

int main(int argc, char** argv) {
  const std::string broker = argc > 1 ? argv[1] : "127.0.0.1:7420";

  penstock::Worker worker(
      {.broker = broker, .queues = {"mail"}, .labels = {{"gpu", "yes"}, {"zone", "eu-1"}}, .concurrency = 100});

  worker.RegisterRaw("mail.ping", [](TaskContext&, std::string_view payload) {
    return Outcome::Done(std::string(payload), "text/plain");
  });

  worker.Register<StringValue, StringValue>("mail.greet",
                                            [](TaskContext&, const StringValue& name) -> absl::StatusOr<StringValue> {
                                              if (name.value().empty())
                                                return absl::InvalidArgumentError("the name is empty");  // dead at once
                                              StringValue greeting;
                                              greeting.set_value("Hello, " + name.value());
                                              return greeting;
                                            });

  penstock::RegisterJson(worker, "mail.count",
                         [](TaskContext&, const nlohmann::json& in) -> absl::StatusOr<nlohmann::json> {
                           return nlohmann::json{{"count", in.at("mails").size()}};
                         });

  worker.RegisterRawBatch("mail.store",
                          [](std::span<const RawBatchTask> tasks) {
                            std::vector<std::string> rows;
                            for (const RawBatchTask& task : tasks) rows.emplace_back(task.payload);
                            const bool stored = Insert(rows);  // one statement for all
                            std::vector<Outcome> outcomes;
                            for (const RawBatchTask& task : tasks) {
                              if (stored) {
                                outcomes.push_back(Outcome::Done(task.context.id().ToString()));
                              } else {
                                outcomes.push_back(Outcome::Retry({"database", "the insert failed", ""}));
                              }
                            }
                            return outcomes;
                          },
                          {.max_size = 50, .max_wait = absl::Milliseconds(20)});

  worker.RegisterBatch<StringValue, StringValue>("mail.translate", [](std::span<const BatchTask<StringValue>> tasks) {
    std::vector<absl::StatusOr<StringValue>> answers;
    for (const BatchTask<StringValue>& task : tasks) answers.push_back(task.request);
    return answers;
  });

  worker.RegisterRaw("mail.import", [](TaskContext& context, std::string_view) {
    const std::string& saved = context.checkpoint();  // empty at the first attempt
    for (int page = saved.empty() ? 1 : std::stoi(saved) + 1; page <= 100; ++page) {
      if (context.cancelled()) return Outcome::Release();
      if (!ImportPage(page)) return Outcome::Retry({"page", "cannot import page " + std::to_string(page), ""});
      context.Progress(page, "page " + std::to_string(page));
      if (absl::Status status = context.SaveCheckpoint(std::to_string(page)); !status.ok()) {
        return Outcome::FromStatus(status);
      }
    }
    return Outcome::Done();
  });

  worker.RegisterRaw("mail.order", [](TaskContext& context, std::string_view payload) {
    absl::Status status = context.Enqueue("mail", "mail.send", std::string(payload));
    if (status.ok()) status = context.Enqueue("mail", "mail.remind", std::string(payload), {.delay = absl::Hours(24)});
    if (!status.ok()) return Outcome::FromStatus(status);
    return Outcome::Done("ordered");
  });

  worker.RegisterRaw("mail.send", [](TaskContext&, std::string_view payload) {
    const Answer answer = Send(std::string(payload));
    if (answer.code == 429) {
      return Outcome::RetryAfter(absl::Seconds(answer.retry_after_seconds), {"429", "too many requests", ""},
                                 CoolScope::kType);
    }
    return Outcome::Done();
  });

  FencedRegister fences;
  std::map<std::string, std::string> subjects;  // guarded by fences
  worker.RegisterRaw("mail.subject", [&](TaskContext& context, std::string_view payload) {
    const FencingToken token(context);
    const absl::Status written = fences.Write("subject/1", token, [&] { subjects["1"] = std::string(payload); });
    if (!written.ok()) return Outcome::Cancelled();  // a newer run has written
    return Outcome::Done();
  });

  worker.Use([](TaskContext& context, std::string_view payload, const RawHandler& next) {
    const auto begin = std::chrono::steady_clock::now();
    Outcome outcome = next(context, payload);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    context.Log("took " + std::to_string(took.count()) + " s");
    return outcome;
  });

  if (const absl::Status status = worker.Run(); !status.ok()) {
    std::cerr << "handlers_example: " << status.message() << "\n";
    return 1;
  }
  return 0;
}
