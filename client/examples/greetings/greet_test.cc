// Tests the greeting as a project that uses Penstock would: with a broker in the test's own process and a clock to
// move.

#include <penstock/broker/test_broker.h>
#include <penstock/client/client.h>
#include <penstock/worker/worker.h>

#include <iostream>

int main() {
  auto broker = penstock::TestBroker::Start().value();
  auto client = penstock::Client::Connect(broker->address()).value();
  penstock::Worker worker({.broker = broker->address(), .queues = {"greetings"}, .concurrency = 1});
  worker.RegisterRaw("greet", [](penstock::TaskContext& context, std::string_view name) {
    return penstock::Outcome::Done("Hello, " + std::string(name), "text/plain");
  });
  if (!worker.Start().ok()) return 1;
  const auto id = client->Enqueue("greetings", "greet", std::string("Bob"), {.delay = absl::Hours(1)}).value();
  broker->Advance(absl::Hours(1));
  const auto greeting = client->Wait<std::string>(id, absl::Minutes(5));
  std::cout << greeting.value_or(greeting.status().ToString()) << "\n";
  return greeting.ok() && *greeting == "Hello, Bob" ? 0 : 1;
}
