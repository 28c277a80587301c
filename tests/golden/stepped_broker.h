#ifndef PENSTOCK_TESTS_GOLDEN_STEPPED_BROKER_H_
#define PENSTOCK_TESTS_GOLDEN_STEPPED_BROKER_H_

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "broker/core/broker_core.h"
#include "broker/storage/store.h"
#include "penstock/v1/task.pb.h"

namespace penstock::broker {

// A core on a store on disk, with one worker, no threads, and time that only moves when told: makes golden data
// folders, and drains them. Every step is committed before the next. Failures end the process: nothing here may fail.
class SteppedBroker {
 public:
  SteppedBroker(const CoreOptions& options, Store* store, Time wall);

  // Options that give small numbers and small files.
  static CoreOptions Options();

  void set_sync(bool sync) { sync_ = sync; }
  void Do(Command command);
  void Advance(Span by);
  // Connects the worker, which handles `types` of `queues`, with so much credit.
  void Connect(std::vector<std::string> queues, std::vector<std::string> types, uint32_t credit,
               std::map<std::string, std::string> labels = {});
  void Credit(uint32_t credit);
  TaskId Enqueue(const v1::TaskSpec& spec);
  // A task that waits, and that nobody changed before, becomes what `spec` says.
  void Update(TaskId task, const v1::TaskSpec& spec);
  // Ends a task that the worker holds.
  void End(TaskId task, OutcomeKind kind, const std::string& text = "");
  void End(TaskOutcome outcome);
  void Save(TaskId task, const std::string& checkpoint);
  void Start(TaskId task);
  void Log(TaskId task, const std::string& line);

  const std::map<TaskId, FencingToken>& held() const { return held_; }
  // The tasks that were delivered, ever.
  const std::set<TaskId>& delivered() const { return delivered_; }
  CoreNow now() const { return now_; }
  BrokerCore& core() { return *core_; }

 private:
  Store& store_;
  std::unique_ptr<BrokerCore> core_;
  CoreNow now_;
  bool sync_ = true;
  uint64_t request_ = 0;
  std::map<TaskId, FencingToken> held_;
  std::set<TaskId> delivered_;
  TaskId enqueued_;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_TESTS_GOLDEN_STEPPED_BROKER_H_
