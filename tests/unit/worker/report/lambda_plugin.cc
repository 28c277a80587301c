// A plug-in in C++ whose handlers end in every way that there is.

#include <chrono>
#include <stdexcept>
#include <string>
#include <vector>

#include "worker/plugin_cpp.h"

namespace {

using penstock::plugin::Outcome;
using penstock::plugin::Registry;
using penstock::plugin::Task;

class LedgerError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

void Register(Registry& registry) {
  if (registry.options_json() == R"({"fail":true})") return registry.Fail("fail: is not allowed to be true");
  if (registry.options_json() == R"({"throw":true})") throw LedgerError("no ledger");
  registry.Log("registering");
  registry.Handle("done", [](Task& task) {
    std::string seen = std::string(task.id()) + " " + std::string(task.queue()) + " " + std::string(task.type()) + " " +
                       std::to_string(task.attempt()) + "/" + std::to_string(task.max_attempts()) + " " +
                       std::to_string(task.fencing_token()) + " " + std::string(task.content_type()) + " " +
                       std::string(task.payload()) + " " + std::string(task.header("trace").value_or("-")) + " " +
                       std::string(task.header("other").value_or("-")) + " " +
                       (task.deadline().has_value()
                            ? std::to_string(task.deadline()->time_since_epoch() / std::chrono::microseconds(1))
                            : "never");
    return Outcome::Done(seen, "text/plain");
  });
  registry.Handle("retry", [](Task&) { return Outcome::Retry("busy", "try again"); });
  registry.Handle("retry_after",
                  [](Task&) { return Outcome::RetryAfter(std::chrono::milliseconds(1500), "busy", "try later"); });
  registry.Handle("snooze", [](Task&) { return Outcome::Snooze(std::chrono::minutes(1)); });
  registry.Handle("enqueue", [](Task& task) {
    const auto said = [](bool yes) { return std::string(yes ? "yes" : "no"); };
    std::string told = said(task.Enqueue("next", "step.two", task.payload(), R"({"delay": "30s"})"));
    told += " " + said(task.Enqueue("next", "no blanks", ""));
    told += " " + said(task.Enqueue("next", "step.two", "", R"({"priorty": 3})"));
    return Outcome::Done(told, "text/plain");
  });
  registry.Handle("resume", [](Task& task) {
    task.SaveCheckpoint(std::string(task.checkpoint()) + " " + std::string(task.key()) + "+");
    return Outcome::RetryAfter(std::chrono::seconds(30), "429", "slow down", penstock::plugin::Cool::kKey);
  });
  if (registry.options_json() == R"({"batch":true})" || registry.knows_batches()) {
    const penstock::plugin::BatchOptions three = {3, std::chrono::seconds(10)};
    registry.HandleBatch(
        "batch",
        [](const std::vector<Task*>& tasks) {
          std::vector<Outcome> outcomes;
          for (const Task* task : tasks) {
            outcomes.push_back(task->payload() == "2" ? Outcome::Reject("number", "two")
                                                      : Outcome::Done(std::string(task->payload()) + " of " +
                                                                      std::to_string(tasks.size())));
          }
          return outcomes;
        },
        three);
    registry.HandleBatch(
        "batch_throw", [](const std::vector<Task*>&) -> std::vector<Outcome> { throw LedgerError("page missing"); },
        three);
  }
  registry.Handle("reject", [](Task&) { return Outcome::Reject("format", "unreadable"); });
  registry.Handle("throw", [](Task&) -> Outcome { throw LedgerError("page missing"); });
  registry.Handle("throw_number", [](Task&) -> Outcome { throw 7; });
  if (registry.options_json() == R"({"twice":true})") {
    registry.Handle("done", [](Task&) { return Outcome::Done(); });
  }
}

}  // namespace

PENSTOCK_PLUGIN("lambdas", "2.1", Register)
