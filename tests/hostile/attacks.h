#ifndef PENSTOCK_TESTS_HOSTILE_ATTACKS_H_
#define PENSTOCK_TESTS_HOSTILE_ATTACKS_H_

#include <atomic>
#include <functional>
#include <string>
#include <vector>

namespace penstock::hostile {

// Where an attack is aimed at, and when it ends.
struct Target {
  int port = 0;
  const std::atomic<bool>& stop;
};

struct Attack {
  std::string name;
  std::string what;
  // Goes on until it is told to stop. Returns what it did, in a few words.
  std::function<std::string(const Target& target)> run;
};

// All of them; one thread each.
std::vector<Attack> Attacks();

}  // namespace penstock::hostile

#endif  // PENSTOCK_TESTS_HOSTILE_ATTACKS_H_
