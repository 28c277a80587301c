#ifndef PENSTOCK_TESTS_SCENARIO_SCRIPT_H_
#define PENSTOCK_TESTS_SCENARIO_SCRIPT_H_

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "broker/core/broker_core.h"
#include "tests/support/core_driver.h"

namespace penstock::broker {

// Runs the commands of a scenario against a core, one at a time, and tells what came of each as text.
// docs/testing.md says how a script is read. Tasks are called T1, T2, ... in the order of their enqueue, tokens
// epoch.sequence, times are seconds since the script's start. After every commit the driver checks that a recovery
// gives the same state and that everything in the store fits.
class Script {
 public:
  // The text below a command, each line with its end; "ok" when there is nothing to tell.
  std::string Run(std::string_view line);

 private:
  // A command's words: the name, those without '=', and the named ones.
  struct Words {
    std::string name;
    std::vector<std::string> plain;
    std::map<std::string, std::string> named;
  };
  struct Worker {
    std::string name;
    OpenSessionCommand hello;  // as it connected last
    std::string session_id;
    Ticket stream;
    uint64_t frame = 0;
    std::map<TaskId, FencingToken> tokens;  // of the last delivery of each task
  };

  // What a command asks of the core; false if it is not such a command.
  bool Build(const Words& words, std::vector<Command>* commands);
  bool BuildWorkerCommand(const Words& words, std::vector<Command>* commands);
  // What the script itself does.
  bool RunOwn(const Words& words, std::string* out);
  // The fields of a task, of those that a line names.
  NewTask ReadTask(const std::map<std::string, std::string>& named);
  void BuildEnqueue(const Words& words, std::vector<Command>* commands);
  // schedule create|update|get|pause|resume|run|delete NAME, and schedules; script_schedules.cc.
  bool BuildScheduleCommand(const Words& words, std::vector<Command>* commands);
  // throttle create|update|get|delete NAME, and throttles; script_throttles.cc.
  bool BuildThrottleCommand(const Words& words, std::vector<Command>* commands);
  // explain TASK, estimate QUEUE, subscribe QUEUE; script_explain.cc.
  bool BuildExplainCommand(const Words& words, std::vector<Command>* commands);
  void SetOptions(const Words& words);
  // `settle`: with what the step leaves for later, as the engine would do at once.
  std::string Step(std::vector<Command> commands, bool settle = true);
  std::string Advance(const Words& words);

  std::string Tell(Effects effects);
  std::string TellReply(const Reply& reply);
  std::string TellMessage(const SessionMessage& message);
  std::string TellSnapshot(const TaskSnapshot& snapshot);
  std::string TellStored(const TaskSnapshot& snapshot);
  std::string TellStatus(const StatusReply& status);
  std::string TellKeys(const KeysReply& keys);
  std::string TellLanes(const LanesReply& lanes);
  std::string TellQueue(const QueueView& queue);
  std::string TellSchedule(const ScheduleView& schedule);
  std::string TellThrottle(const ThrottleView& throttle);
  std::string TellExplain(const ExplainReply& explain);
  std::string TellEstimate(const std::string& queue, const StatusReply& status);
  std::string TellEvent(const TaskEvent& event);
  std::string TellState();
  std::string TellStore();

  CoreDriver& driver();
  Worker& WorkerOf(const std::string& name);
  TaskId TaskOf(const std::string& name) const;
  // T1, T2, T3, T7 as "T1..T3 T7".
  std::string NamesOf(const std::vector<TaskId>& tasks);
  std::string NameOf(TaskId task);
  FencingToken TokenOf(const Words& words, const Worker& worker, TaskId task) const;
  Ticket NewTicket(std::string label);
  std::string When(Time time) const;
  std::string_view Keep(std::string text);

  CoreOptions options_;
  std::unique_ptr<CoreDriver> driver_;
  Time start_ = 0;
  bool facts_ = false;
  bool together_ = false;  // between `begin` and `end`
  std::vector<Command> collected_;
  std::map<std::string, Worker> workers_;
  std::map<Ticket, std::string> streams_;  // stream to worker
  std::map<Ticket, std::string> tickets_;  // what was asked
  std::map<std::string, Ticket> watches_;  // by task name
  std::vector<TaskId> tasks_;
  std::set<std::string, std::less<>> payloads_;  // that lines gave, to be told when they are delivered
  std::map<TaskId, std::string> names_;
  std::vector<std::shared_ptr<std::string>> kept_;  // bytes behind the views of commands
  int next_session_ = 1;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_TESTS_SCENARIO_SCRIPT_H_
