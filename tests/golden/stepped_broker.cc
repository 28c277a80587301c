#include "tests/golden/stepped_broker.h"

#include <cstdlib>
#include <iostream>
#include <utility>

#include "broker/rpc/convert.h"

namespace penstock::broker {
namespace {

constexpr Ticket kStream{1};

void Check(const absl::Status& status) {
  if (status.ok()) return;
  std::cerr << status << "\n";
  std::abort();
}

}  // namespace

CoreOptions SteppedBroker::Options() {
  CoreOptions options;
  options.numbers_begin = kNever;
  options.queue_defaults.retry_policy.max_attempts = 3;
  options.queue_defaults.retry_policy.jitter = 0;
  return options;
}

SteppedBroker::SteppedBroker(const CoreOptions& options, Store* store, Time wall) : store_(*store), now_{wall, 0} {
  auto core = BrokerCore::Recover(options, store_, now_);
  Check(core.status());
  core_ = *std::move(core);
}

void SteppedBroker::Do(Command command) {
  std::vector<Command> commands;
  commands.push_back(std::move(command));
  CoreBatch batch = core_->Step(absl::MakeSpan(commands), now_);
  if (batch.sequence != 0) {
    Check(store_.Commit(batch.writes, sync_));
    core_->Committed();
  }
  for (const Reply& reply : batch.effects.replies) {
    Check(reply.status);
    if (const auto* enqueued = std::get_if<EnqueueReply>(&reply.value)) enqueued_ = enqueued->results.at(0).task;
  }
  for (const SessionMessage& message : batch.effects.session_messages) {
    Check(message.end.value_or(absl::OkStatus()));
    for (const Delivery& delivery : message.deliveries) {
      held_[delivery.task] = delivery.token;
      delivered_.insert(delivery.task);
    }
  }
}

void SteppedBroker::Advance(Span by) {
  now_.wall += by;
  now_.elapsed += by;
  Credit(0);
}

void SteppedBroker::Connect(std::vector<std::string> queues, std::vector<std::string> types, uint32_t credit,
                            std::map<std::string, std::string> labels) {
  OpenSessionCommand open;
  open.stream = kStream;
  open.session_id = "golden-session";
  open.worker_name = "worker";
  open.queues = std::move(queues);
  for (std::string& type : types) open.types.push_back({std::move(type), 0});
  open.concurrency = 100;
  open.host = "host";
  open.pid = 7;
  open.version = "0.1.0";
  open.labels = std::move(labels);
  open.lease = 12 * kHour;
  Do(open);
  Credit(credit);
}

void SteppedBroker::Credit(uint32_t credit) {
  SessionInput input;
  input.stream = kStream;
  input.credit = credit;
  Do(input);
}

TaskId SteppedBroker::Enqueue(const v1::TaskSpec& spec) {
  v1::EnqueueRequest request;
  *request.mutable_task() = spec;
  auto sized = ToCommand(request, ApiLimits(), now_.wall);
  Check(sized.status());
  sized->command.ticket = Ticket(2);
  sized->command.request_id = {static_cast<uint64_t>(now_.wall), ++request_};  // no broker before used it
  sized->command.content_hash = request_;
  Do(std::move(sized->command));
  return enqueued_;
}

void SteppedBroker::Update(TaskId task, const v1::TaskSpec& spec) {
  v1::EnqueueRequest request;
  *request.mutable_task() = spec;
  auto sized = ToCommand(request, ApiLimits(), now_.wall);
  Check(sized.status());
  UpdateTaskCommand update;
  update.ticket = Ticket(2);
  update.task = task;
  update.changed = sized->command.tasks.at(0);
  update.keepalive = sized->command.keepalive;
  Do(std::move(update));
}

void SteppedBroker::End(TaskId task, OutcomeKind kind, const std::string& text) {
  TaskOutcome outcome;
  outcome.task = task;
  outcome.kind = kind;
  outcome.result = text;
  outcome.content_type = "text/plain";
  outcome.error = {"Error", text, "a stack"};
  if (kind == OutcomeKind::kSnoozed) outcome.delay = 90 * kSecond;
  End(std::move(outcome));
}

void SteppedBroker::End(TaskOutcome outcome) {
  SessionInput input;
  input.stream = kStream;
  outcome.token = held_.at(outcome.task);
  held_.erase(outcome.task);
  input.outcomes.push_back(std::move(outcome));
  Do(input);
}

void SteppedBroker::Save(TaskId task, const std::string& checkpoint) {
  SessionInput input;
  input.stream = kStream;
  input.progress_reports.push_back({task, held_.at(task), 50, "half of it", checkpoint});
  Do(input);
}

void SteppedBroker::Start(TaskId task) {
  SessionInput input;
  input.stream = kStream;
  input.starts.push_back({task, held_.at(task)});
  Do(input);
}

void SteppedBroker::Log(TaskId task, const std::string& line) {
  SessionInput input;
  input.stream = kStream;
  input.log_reports.push_back({task, held_.at(task), {{now_.wall, line}}});
  Do(input);
}

}  // namespace penstock::broker
