// tenants [BROKER]: two tenants share a queue, and each customer's orders run in order.
//
//   penstock-broker &
//   tenants 127.0.0.1:7420
//
// It enqueues 20 orders of the tenant "big" and then 2 of "small", runs them with one slot, and prints the order in
// which they ran: "small" does not wait for the others, and no customer's orders overtake one another.

#include <iostream>
#include <string>
#include <vector>

#include "client/client.h"
#include "worker/worker.h"

int main(int argc, char** argv) {
  const std::string broker = argc > 1 ? argv[1] : "127.0.0.1:7420";
  auto client = penstock::Client::Connect(broker);
  if (!client.ok()) {
    std::cerr << "tenants: " << client.status().message() << "\n";
    return 1;
  }
  std::vector<penstock::TaskId> orders;
  auto enqueue = [&](const std::string& tenant, const std::string& customer, int number) {
    penstock::EnqueueOptions options;
    options.group = tenant;
    options.key = tenant + "/" + customer;
    auto id =
        (*client)->Enqueue("orders", "order.handle", tenant + " " + customer + " " + std::to_string(number), options);
    if (!id.ok()) {
      std::cerr << "tenants: " << id.status().message() << "\n";
      return false;
    }
    orders.push_back(*id);
    return true;
  };
  for (int i = 0; i < 20; ++i) {
    if (!enqueue("big", i % 2 == 0 ? "ann" : "bob", i / 2)) return 1;
  }
  for (int i = 0; i < 2; ++i) {
    if (!enqueue("small", "eve", i)) return 1;
  }

  penstock::WorkerOptions options;
  options.broker = broker;
  options.queues = {"orders"};
  options.concurrency = 1;
  penstock::Worker worker(options);
  worker.RegisterRaw("order.handle", [](penstock::TaskContext&, std::string_view order) {
    std::cout << order << std::endl;
    return penstock::Outcome::Done();
  });
  if (const absl::Status status = worker.Start(); !status.ok()) {
    std::cerr << "tenants: " << status.message() << "\n";
    return 1;
  }
  for (penstock::TaskId order : orders) {
    if (auto task = (*client)->WaitTask(order, absl::Minutes(1)); !task.ok()) {
      std::cerr << "tenants: " << task.status().message() << "\n";
      return 1;
    }
  }
  worker.Stop();
  return 0;
}
