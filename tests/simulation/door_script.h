#ifndef PENSTOCK_TESTS_SIMULATION_DOOR_SCRIPT_H_
#define PENSTOCK_TESTS_SIMULATION_DOOR_SCRIPT_H_

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "broker/core/command.h"
#include "broker/core/effects.h"

namespace penstock::broker {

// What reached a core, as a scenario script (tests/scenario): so that what a seed found becomes a test that reads well.
// Times are rounded to milliseconds. What a script cannot say becomes a comment.
class DoorScript {
 public:
  void Step(const std::vector<Command>& commands, Time wall);
  void Stepped(uint64_t sequence, const Effects& effects);
  void Committed(uint64_t sequence);
  void LosePower(size_t commits);
  // The process is gone, and with it what was not committed.
  void Crash();

  // The last `lines` lines.
  std::string Text(size_t lines) const;

 private:
  struct Turn {
    std::vector<std::string> lines;
    uint64_t sequence = 0;
    std::vector<TaskId> told;  // in the replies to enqueues
    bool committed = false;
  };
  void Say(const Command& command);
  std::string TaskName(TaskId task) const;
  std::string TaskWords(const NewTask& task) const;
  std::string WorkerName(Ticket stream);
  void NameTasks(const Turn& turn);
  void Flush();

  std::vector<std::string> lines_;
  std::vector<Turn> turns_;  // since the last crash
  Time start_ = 0;
  Time last_ = 0;
  std::map<TaskId, int> tasks_;
  std::map<Ticket, std::string> streams_;
  std::map<std::string, std::string> sessions_;  // worker by session id
  std::set<std::pair<uint64_t, uint64_t>> requests_;
  std::vector<std::string>* out_ = nullptr;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_TESTS_SIMULATION_DOOR_SCRIPT_H_
