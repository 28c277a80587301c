#include "tests/unit/broker/engine/engine_fixture.h"

#include <thread>
#include <utility>

namespace penstock::broker {

EngineTest::EngineTest() { options_.core.numbers_begin = kNever; }

EngineTest::~EngineTest() {
  store_.Open();
  if (engine_ != nullptr) engine_->Stop();
}

void EngineTest::StartEngine() { StartEngineBy(clock_); }

void EngineTest::StartEngineBy(Clock& clock) {
  engine_ = std::make_unique<Engine>(options_, store_, answers_, clock, [this](const absl::Status& status) {
    MutexLock lock(mu_);
    failures_.push_back(status);
    failed_.SignalAll();
  });
  const absl::Status status = engine_->Start();
  ASSERT_TRUE(status.ok()) << status;
}

EnqueueCommand EngineTest::Task(Ticket ticket, const std::string& spec, const std::string& queue, RequestId request) {
  struct Text {
    std::string spec;
    std::string queue;
  };
  auto text = std::make_shared<const Text>(Text{spec, queue});
  NewTask task;
  task.queue = text->queue;
  task.type = "t";
  task.spec = text->spec;
  EnqueueCommand command;
  command.ticket = ticket;
  command.request_id = request;
  command.tasks.push_back(std::move(task));
  command.keepalive = std::move(text);
  return command;
}

Ticket EngineTest::Enqueue(const std::string& spec, const std::string& queue, RequestId request) {
  const Ticket ticket = NewTicket();
  const absl::Status status = Post(Task(ticket, spec, queue, request));
  EXPECT_TRUE(status.ok()) << status;
  return ticket;
}

TaskId EngineTest::EnqueueAndWait(const std::string& spec, const std::string& queue, RequestId request) {
  const Reply reply = answers_.Await(Enqueue(spec, queue, request)).reply;
  EXPECT_TRUE(reply.status.ok()) << reply.status;
  return reply.status.ok() ? std::get<EnqueueReply>(reply.value).results.at(0).task : TaskId();
}

void EngineTest::AwaitMailboxEmpty() {
  while (engine().mailbox_bytes() > 0) std::this_thread::yield();
}

std::vector<Ticket> EngineTest::FillPipeline() {
  Status();  // the engine's first commit, which records its epoch, is through
  store_.Hold();
  std::vector<Ticket> tickets;
  tickets.push_back(Enqueue("written"));
  store_.AwaitHeld();
  for (const char* spec : {"waiting", "handed over"}) {
    // Large enough not to be kept waiting for company.
    tickets.push_back(NewTicket());
    EXPECT_TRUE(Post(Task(tickets.back(), spec), Mailbox::kHeldBytes).ok());
    AwaitMailboxEmpty();
  }
  return tickets;
}

Ticket EngineTest::Connect(uint32_t credit) {
  OpenSessionCommand open;
  open.stream = NewTicket();
  open.session_id = "session " + std::to_string(open.stream.value());
  open.worker_name = "worker";
  open.queues = {"q"};
  open.types = {{"t", 0}};
  open.concurrency = credit;
  const Ticket stream = open.stream;
  EXPECT_TRUE(Post(std::move(open)).ok());
  answers_.AwaitWelcome(stream);
  SessionInput input;
  input.stream = stream;
  input.credit = credit;
  EXPECT_TRUE(Post(std::move(input)).ok());
  return stream;
}

SessionInput EngineTest::Completion(Ticket stream, const EffectRecorder::Delivered& delivered) {
  SessionInput input;
  input.stream = stream;
  input.starts.push_back({delivered.task, delivered.token});
  TaskOutcome outcome;
  outcome.task = delivered.task;
  outcome.token = delivered.token;
  input.outcomes.push_back(outcome);
  return input;
}

StatusReply EngineTest::Status() {
  const Ticket ticket = NewTicket();
  EXPECT_TRUE(Post(StatusCommand{ticket}).ok());
  const Reply reply = answers_.Await(ticket).reply;
  EXPECT_TRUE(reply.status.ok()) << reply.status;
  return reply.status.ok() ? std::get<StatusReply>(reply.value) : StatusReply();
}

QueueCounters EngineTest::Counters(const std::string& queue) {
  for (const QueueView& view : Status().queues) {
    if (view.name == queue) return view.counters;
  }
  return {};
}

std::set<TaskId> EngineTest::RecoveredTasks(size_t count) {
  store_.Reopen();
  StartEngine();
  EXPECT_EQ(Counters().available, count);
  const size_t before = answers_.deliveries().size();
  Connect(static_cast<uint32_t>(count));
  std::set<TaskId> tasks;
  const std::vector<EffectRecorder::Delivered> delivered = answers_.AwaitDeliveries(before + count);
  for (size_t i = before; i < delivered.size(); ++i) {
    EXPECT_TRUE(tasks.insert(delivered[i].task).second) << "delivered twice: " << delivered[i].spec;
  }
  return tasks;
}

absl::Status EngineTest::AwaitFailure() {
  MutexLock lock(mu_);
  while (failures_.empty()) failed_.Wait(mu_);
  return failures_.front();
}

size_t EngineTest::failure_count() const {
  MutexLock lock(mu_);
  return failures_.size();
}

}  // namespace penstock::broker
