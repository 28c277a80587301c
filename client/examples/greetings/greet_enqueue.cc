// greet_enqueue BROKER NAME: enqueues a task and prints its result.

#include <penstock/client/client.h>

#include <iostream>

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: greet_enqueue BROKER NAME\n";
    return 64;
  }
  auto client = penstock::Client::Connect(std::string(argv[1]));
  if (!client.ok()) {
    std::cerr << client.status() << "\n";
    return 1;
  }
  const auto id = (*client)->Enqueue("greetings", "greet", std::string(argv[2]));
  if (!id.ok()) {
    std::cerr << id.status() << "\n";
    return 1;
  }
  const auto greeting = (*client)->Wait<std::string>(*id, absl::Minutes(5));
  if (!greeting.ok()) {
    std::cerr << greeting.status() << "\n";
    return 1;
  }
  std::cout << *greeting << "\n";
  return 0;
}
