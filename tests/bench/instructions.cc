// Does one thing with many tasks while callgrind counts its instructions: see instructions.py.
//
//   valgrind --tool=callgrind --instr-atstart=no instructions SCENARIO     prints "tasks N"
//   instructions --list                                                    prints the scenarios' names
//
// A task is one of 256 bytes, as `penstock bench` makes them, 100 of them in a frame and in a commit. Only what lies
// between CALLGRIND_START and CALLGRIND_STOP is counted, after a warm-up.

#include <valgrind/callgrind.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "broker/core/broker_core.h"
#include "broker/rpc/convert.h"
#include "broker/rpc/convert_worker.h"
#include "broker/rpc/delivery_wire.h"
#include "broker/storage/memory_store.h"
#include "broker/storage/rocksdb_store.h"
#include "fmt/format.h"
#include "penstock/v1/task_service.pb.h"
#include "penstock/v1/worker_service.pb.h"
#include "tests/support/temp_folder.h"

namespace penstock::broker {
namespace {

constexpr int kBatch = 100;
constexpr int kBatches = 20;
constexpr Time kWall = 1'800'000'000 * kSecond;

// Counts nothing when it is not ours to count.
class Counting {
 public:
  explicit Counting(bool on) : on_(on) {
    if (on_) CALLGRIND_START_INSTRUMENTATION;
  }
  ~Counting() {
    if (on_) CALLGRIND_STOP_INSTRUMENTATION;
  }

 private:
  const bool on_;
};

void Check(const absl::Status& status) {
  if (status.ok()) return;
  fmt::print(stderr, "{}\n", std::string(status.message()));
  std::exit(1);
}

v1::TaskSpec Spec(int queue) {
  v1::TaskSpec spec;
  spec.set_queue(fmt::format("queue-{}", queue));
  spec.set_type("bench");
  spec.set_payload(std::string(256, 'x'));
  return spec;
}

v1::EnqueueStreamRequest EnqueueFrame(int frame, int queues) {
  v1::EnqueueStreamRequest request;
  request.set_frame_number(static_cast<uint64_t>(frame) + 1);
  for (int i = 0; i < kBatch; ++i) *request.add_tasks() = Spec((frame * kBatch + i) % queues);
  return request;
}

EnqueueCommand ToEnqueue(const v1::EnqueueStreamRequest& request) {
  auto sized = ToCommand(request, std::string(kProducerIdBytes, 'p'), ApiLimits(), kWall);
  Check(sized.status());
  return std::move(sized->command);
}

// A core over a store in memory, and a worker that takes everything.
class Life {
 public:
  explicit Life(int queues) : queues_(queues) {
    auto core = BrokerCore::Recover(CoreOptions(), store_, {kWall, 0});
    Check(core.status());
    core_ = *std::move(core);
    OpenSessionCommand open;
    open.stream = Ticket(1);
    open.session_id = "session";
    open.worker_name = "worker";
    for (int i = 0; i < queues_; ++i) open.queues.push_back(fmt::format("queue-{}", i));
    open.types = {{"bench", 0}};
    open.concurrency = 1'000;
    Step(std::move(open), false);
  }

  // Encoded before, as the edge hands it over.
  void Enqueue(int frame, bool count) {
    EnqueueCommand command = ToEnqueue(EnqueueFrame(frame, queues_));
    command.ticket = Ticket(2);
    Step(std::move(command), count);
  }
  // The worker asks for kBatch tasks and gets them.
  void Deliver(bool count) {
    SessionInput input;
    input.stream = Ticket(1);
    input.credit = kBatch;
    Step(std::move(input), count);
  }
  void Complete(bool count) {
    SessionInput input;
    input.stream = Ticket(1);
    input.frame_number = ++frame_;
    for (const auto& [task, token] : std::exchange(held_, {})) {
      TaskOutcome& outcome = input.outcomes.emplace_back();
      outcome.task = task;
      outcome.token = token;
      outcome.run_time = 100;
    }
    if (input.outcomes.size() != kBatch) Check(absl::InternalError("not everything was delivered"));
    Step(std::move(input), count);
  }
  CommitBatch& last_writes() { return writes_; }

 private:
  void Step(Command command, bool count) {
    std::vector<Command> commands;
    commands.push_back(std::move(command));
    CoreBatch batch;
    {
      Counting counting(count);
      batch = core_->Step(absl::MakeSpan(commands), {kWall, 0});
    }
    if (batch.sequence != 0) {
      Check(store_.Commit(batch.writes, true));
      core_->Committed();
    }
    writes_ = std::move(batch.writes);
    for (const Reply& reply : batch.effects.replies) Check(reply.status);
    for (const SessionMessage& message : batch.effects.session_messages) {
      if (message.end) Check(*message.end);
      for (const Delivery& delivery : message.deliveries) held_.emplace_back(delivery.task, delivery.token);
    }
  }

  const int queues_;
  MemoryStore store_;
  std::unique_ptr<BrokerCore> core_;
  uint64_t frame_ = 0;
  std::vector<std::pair<TaskId, FencingToken>> held_;
  CommitBatch writes_;
};

// Fills a backlog of twice what is counted, so that delivering has some to choose from.
std::unique_ptr<Life> Filled(int queues) {
  auto life = std::make_unique<Life>(queues);
  for (int i = 0; i < 2 * kBatches; ++i) life->Enqueue(i, false);
  return life;
}

void CoreEnqueue(int queues) {
  Life life(queues);
  for (int i = 0; i < 2 * kBatches; ++i) life.Enqueue(i, i >= kBatches);
}

void CoreDeliver(int queues) {
  auto life = Filled(queues);
  for (int i = 0; i < 2 * kBatches; ++i) {
    life->Deliver(i >= kBatches);
    life->Complete(false);
  }
}

void CoreComplete(int queues) {
  auto life = Filled(queues);
  for (int i = 0; i < 2 * kBatches; ++i) {
    life->Deliver(false);
    life->Complete(i >= kBatches);
  }
}

void WireEnqueue() {
  std::vector<std::string> frames;
  for (int i = 0; i < 2 * kBatches; ++i) frames.push_back(EnqueueFrame(i, 1).SerializeAsString());
  v1::EnqueueStreamRequest request;
  for (int i = 0; i < 2 * kBatches; ++i) {
    Counting counting(i >= kBatches);
    if (!request.ParseFromString(frames[static_cast<size_t>(i)])) Check(absl::InternalError("a frame does not parse"));
    const EnqueueCommand command = ToEnqueue(request);
  }
}

void WireDeliver() {
  const std::string spec = Spec(0).SerializeAsString();
  for (int i = 0; i < 2 * kBatches; ++i) {
    Counting counting(i >= kBatches);
    std::vector<Delivery> deliveries(kBatch);
    for (uint16_t slot = 0; slot < kBatch; ++slot) {
      Delivery& delivery = deliveries[slot];
      delivery.task = TaskId(0, 1'000'000, slot);
      delivery.token = FencingToken(uint64_t{1'000'000'000'000} + slot);
      delivery.max_attempts = 20;
      delivery.create_time = kWall;
      delivery.run_timeout = 30 * kMinute;
      delivery.spec = spec;
    }
    const std::string wire = SerializeResponse(v1::WorkResponse(), deliveries);
  }
}

void WireOutcomes() {
  v1::WorkRequest request;
  request.set_credit(kBatch);
  request.set_frame_number(1);
  for (uint16_t slot = 0; slot < kBatch; ++slot) {
    v1::TaskOutcome* outcome = request.add_outcomes();
    outcome->set_task_id(TaskId(0, 1'000'000, slot).ToString());
    outcome->set_fencing_token(uint64_t{1'000'000'000'000} + slot);
    outcome->mutable_run_time()->set_nanos(1'000);
    outcome->mutable_completed();
  }
  const std::string wire = request.SerializeAsString();
  for (int i = 0; i < 2 * kBatches; ++i) {
    Counting counting(i >= kBatches);
    auto parsed = NewWorkRequest();
    if (!parsed->ParseFromString(wire)) Check(absl::InternalError("a request does not parse"));
    Check(ToInput(parsed, wire.size(), ApiLimits(), kWall).status());
  }
}

// The commits of whole lives, as RocksDB takes them: log, memtable. Without fsync, which has no instructions of ours.
void StoreCommit() {
  testing::TempFolder folder;
  RocksDbStoreOptions options;
  options.path = folder / "db";
  auto store = OpenRocksDbStore(options, nullptr);
  Check(store.status());
  Life life(1);
  auto commit = [&](bool count) {
    Counting counting(count);
    Check((*store)->Commit(life.last_writes(), false));
  };
  for (int i = 0; i < 2 * kBatches; ++i) {
    const bool count = i >= kBatches;
    life.Enqueue(i, false);
    commit(count);
    life.Deliver(false);
    commit(count);
    life.Complete(false);
    commit(count);
  }
}

const std::map<std::string, void (*)()>& Scenarios() {
  static const auto* const scenarios = new std::map<std::string, void (*)()>{
      {"core_enqueue", [] { CoreEnqueue(1); }},
      {"core_enqueue_1000_queues", [] { CoreEnqueue(1'000); }},
      {"core_deliver", [] { CoreDeliver(1); }},
      {"core_deliver_1000_queues", [] { CoreDeliver(1'000); }},
      {"core_complete", [] { CoreComplete(1); }},
      {"core_complete_1000_queues", [] { CoreComplete(1'000); }},
      {"store_commit", StoreCommit},
      {"wire_deliver", WireDeliver},
      {"wire_enqueue", WireEnqueue},
      {"wire_outcomes", WireOutcomes},
  };
  return *scenarios;
}

int Run(const std::string& name) {
  if (name == "--list") {
    for (const auto& [scenario, run] : Scenarios()) fmt::print("{}\n", scenario);
    return 0;
  }
  const auto scenario = Scenarios().find(name);
  if (scenario == Scenarios().end()) {
    fmt::print(stderr, "no scenario \"{}\"; --list names them\n", name);
    return 64;
  }
  scenario->second();
  fmt::print("tasks {}\n", kBatch * kBatches);
  return 0;
}

}  // namespace
}  // namespace penstock::broker

int main(int argc, char** argv) { return penstock::broker::Run(argc == 2 ? argv[1] : ""); }
