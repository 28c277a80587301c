#ifndef PENSTOCK_TESTS_SIMULATION_SIM_TASKS_H_
#define PENSTOCK_TESTS_SIMULATION_SIM_TASKS_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "broker/core/command.h"
#include "tests/checker/history.h"
#include "tests/simulation/sim_loop.h"

namespace penstock::broker {

class SimWorld;

// Tasks with the bytes behind their views.
struct SimTasks {
  std::vector<NewTask> tasks;
  std::deque<std::string> texts;
};

// Draws what tasks are: of producers' enqueues and updates, and of completions that bring some. Views of a task are of
// the world's names, of constants, and of the texts.
class SimTaskMaker {
 public:
  // `name` begins its payloads, no two of which are alike; those of updates end with "u".
  SimTaskMaker(SimWorld& world, SimRandom& random, std::string name)
      : world_(world), random_(random), name_(std::move(name)) {}

  // What an update leaves as it is.
  struct Fixed {
    std::string_view type;
    std::string_view key;
  };
  // A task for `queue`, one of the world's, mostly; `line` says what it is. `fixed`: what a waiting task with these
  // becomes; null: a new one.
  NewTask Make(const std::string& queue, const Fixed* fixed, histcheck::Event* line, std::deque<std::string>* texts);

 private:
  void DrawUniqueKey(NewTask* task, histcheck::Event* line);

  SimWorld& world_;
  SimRandom& random_;
  const std::string name_;
  uint64_t made_ = 0;
};

// A task's bytes say all that a worker is told of it. Where there are bulk jobs, they are a TaskSpec with a JSON
// payload, which the broker's edge reads as it does its own; elsewhere plain text.
struct SpecFields {
  std::string payload, queue, type, priority, group, key, labels;
};
SpecFields ReadSpec(std::string_view spec);

}  // namespace penstock::broker

#endif  // PENSTOCK_TESTS_SIMULATION_SIM_TASKS_H_
