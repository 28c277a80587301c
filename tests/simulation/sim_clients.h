#ifndef PENSTOCK_TESTS_SIMULATION_SIM_CLIENTS_H_
#define PENSTOCK_TESTS_SIMULATION_SIM_CLIENTS_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "broker/core/command.h"
#include "broker/core/effects.h"
#include "tests/simulation/sim_loop.h"
#include "tests/simulation/sim_tasks.h"

namespace penstock::broker {

class SimWorld;

// A service: enqueues, repeats what got no answer under the same request id, cancels, retries and watches its tasks.
class SimProducer {
 public:
  SimProducer(SimWorld& world, int index);

  void Start() { Later(); }
  // Every enqueue that was begun has its answer, or has given up.
  bool idle() const { return open_ == 0; }

 private:
  // One enqueue call, tries included.
  struct Attempt {
    EnqueueCommand command;
    uint64_t call = 0;
    size_t bytes = 0;
    int tries = 0;
    bool unsure = false;  // a try may still be done
    Span since = 0;
  };
  void Later();
  void Act();
  void Enqueue();
  void Try(std::shared_ptr<Attempt> attempt);
  void Hear(const std::shared_ptr<Attempt>& attempt, const absl::Status& status, const Reply* reply);
  void AskAboutTask();
  void CancelOrRetry(TaskId task, bool cancel);
  void UpdateTask();
  void HearUpdate(TaskId task, bool moves, const absl::Status& status, const Reply* reply);
  void DeleteTask(TaskId task);
  // Asks about a task; `heard` is told the answer and may add to its line.
  void Ask(Command command, size_t bytes, uint64_t call,
           std::function<void(const absl::Status&, const Reply*, histcheck::Event*)> heard);

  SimWorld& world_;
  SimLoop& loop_;
  SimRandom random_;
  const std::string name_;
  const int index_;
  const Span pace_;
  SimTaskMaker maker_;
  int open_ = 0;
  std::vector<TaskId> tasks_;
  // What it knows of a task that it may change.
  struct Known {
    TaskId task;
    size_t queue = 0;  // of the world's
    std::string_view type, key;
    uint32_t revision = 0;
  };
  std::vector<Known> known_;
  RequestId last_request_;
  uint64_t next_request_ = 1;
};

// Who limits, throttles, pauses, purges, drains, deletes, redrives and looks.
class SimOperator {
 public:
  explicit SimOperator(SimWorld& world);

  void Start();
  // Deletes a queue with all that is in it.
  void DeleteQueue(const std::string& queue);
  // Asks until every queue surely is open.
  void ResumeAll(std::function<void()> done);

 private:
  void Later();
  void Act();
  void ChangeQueue();
  void ChangeDead();
  void LimitQueue(const std::string& queue, QueueVerb verb);
  void ChangeThrottle(ThrottleVerb verb);
  void LookAtThrottle();
  void Look();
  void Change(QueueCommand command, std::function<void(const absl::Status&)> done);

  SimWorld& world_;
  SimLoop& loop_;
  SimRandom random_;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_TESTS_SIMULATION_SIM_CLIENTS_H_
