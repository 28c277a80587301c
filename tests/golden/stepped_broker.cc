#include "tests/golden/stepped_broker.h"

#include <cstdlib>
#include <iostream>
#include <utility>

namespace penstock::broker {
namespace {

constexpr Ticket kStream{1};

void Check(const absl::Status& status) {
  if (status.ok()) return;
  std::cerr << status << "\n";
  std::abort();
}

Time ToTime(const google::protobuf::Timestamp& time) { return time.seconds() * kSecond + time.nanos() / 1'000; }
Span ToSpan(const google::protobuf::Duration& span) { return span.seconds() * kSecond + span.nanos() / 1'000; }

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

void SteppedBroker::Connect(std::vector<std::string> queues, std::vector<std::string> types, uint32_t credit) {
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
  const std::string bytes = spec.SerializeAsString();
  EnqueueCommand enqueue;
  enqueue.ticket = Ticket(2);
  enqueue.request_id = {static_cast<uint64_t>(now_.wall), ++request_};  // no broker before used it
  enqueue.content_hash = request_;
  NewTask task;
  task.queue = spec.queue();
  task.type = spec.type();
  if (spec.has_priority()) task.priority = static_cast<uint8_t>(spec.priority());
  if (spec.has_run_at()) task.run_at = ToTime(spec.run_at());
  if (spec.has_delay()) task.delay = ToSpan(spec.delay());
  if (spec.has_expire_at()) task.expire_at = ToTime(spec.expire_at());
  if (spec.has_run_timeout()) task.run_timeout = ToSpan(spec.run_timeout());
  if (spec.has_retry_policy())
    task.retry_change.max_attempts = static_cast<uint32_t>(spec.retry_policy().max_attempts());
  if (spec.has_unique_key()) {
    task.unique_key = spec.unique_key().key();
    task.unique_window = ToSpan(spec.unique_key().window());
  }
  if (spec.has_result_retention()) task.result_retention = ToSpan(spec.result_retention());
  task.key = spec.key();
  task.group = spec.group();
  task.spec = bytes;
  enqueue.tasks.push_back(task);
  Do(enqueue);
  return enqueued_;
}

void SteppedBroker::End(TaskId task, OutcomeKind kind, const std::string& text) {
  SessionInput input;
  input.stream = kStream;
  TaskOutcome outcome;
  outcome.task = task;
  outcome.token = held_.at(task);
  outcome.kind = kind;
  outcome.result = text;
  outcome.content_type = "text/plain";
  outcome.error = {"Error", text, "a stack"};
  if (kind == OutcomeKind::kSnoozed) outcome.delay = 90 * kSecond;
  input.outcomes.push_back(outcome);
  held_.erase(task);
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
