#include "tests/faults/wire_client.h"

#include <algorithm>
#include <chrono>
#include <optional>

#include "absl/time/clock.h"
#include "fmt/format.h"
#include "tests/faults/faulty_broker.h"

namespace penstock::broker {
namespace {

constexpr absl::Duration kPause = absl::Milliseconds(10);
constexpr int64_t kFar = 3'600;  // seconds: no timer of the script fires by itself

// Its own connections: what is known of a port's last broker must not slow down the next.
std::shared_ptr<grpc::Channel> Dial(int port) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 50);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 200);
  return grpc::CreateCustomChannel(fmt::format("127.0.0.1:{}", port), grpc::InsecureChannelCredentials(), arguments);
}

// CANCELLED is how gRPC itself answers a call that comes while a server is being shut down.
bool IsTrouble(grpc::StatusCode code) {
  return code == grpc::StatusCode::UNAVAILABLE || code == grpc::StatusCode::RESOURCE_EXHAUSTED ||
         code == grpc::StatusCode::CANCELLED;
}

std::string ToText(const grpc::Status& status) {
  return fmt::format("{} {}", static_cast<int>(status.error_code()), status.error_message());
}

void SetPatience(grpc::ClientContext* context) {
  context->set_deadline(std::chrono::system_clock::now() +
                        std::chrono::milliseconds(absl::ToInt64Milliseconds(kPatience)));
}

}  // namespace

class WireClient::Stream {
 public:
  explicit Stream(v1::WorkerService::Stub* stub) : stream_(stub->Work(&context_)), reader_([this] { Read(); }) {}
  ~Stream() {
    context_.TryCancel();
    reader_.join();
  }

  void Write(const v1::WorkRequest& request) { stream_->Write(request); }

  enum class Next { kMessage, kEnded, kSilence };
  Next Take(v1::WorkResponse* message, absl::Duration at_most) {
    const absl::Time limit = absl::Now() + at_most;
    MutexLock lock(mu_);
    while (messages_.empty() && !ended_) {
      if (absl::Now() >= limit) return Next::kSilence;
      changed_.WaitFor(mu_, limit - absl::Now());
    }
    if (messages_.empty()) return Next::kEnded;
    *message = std::move(messages_.front());
    messages_.pop_front();
    return Next::kMessage;
  }
  grpc::Status status() const {
    MutexLock lock(mu_);
    return status_;
  }

 private:
  void Read() {
    v1::WorkResponse message;
    while (stream_->Read(&message)) {
      MutexLock lock(mu_);
      messages_.push_back(std::move(message));
      changed_.SignalAll();
    }
    const grpc::Status status = stream_->Finish();
    MutexLock lock(mu_);
    ended_ = true;
    status_ = status;
    changed_.SignalAll();
  }

  grpc::ClientContext context_;
  const std::unique_ptr<grpc::ClientReaderWriter<v1::WorkRequest, v1::WorkResponse>> stream_;
  mutable Mutex mu_;
  CondVar changed_;
  std::deque<v1::WorkResponse> messages_ ABSL_GUARDED_BY(mu_);
  bool ended_ ABSL_GUARDED_BY(mu_) = false;
  grpc::Status status_ ABSL_GUARDED_BY(mu_);
  std::thread reader_;
};

WireClient::WireClient(WireMemory* memory, int port, Host host)
    : memory_(*memory),
      host_(std::move(host)),
      channel_(Dial(port)),
      tasks_(v1::TaskService::NewStub(channel_)),
      admin_(v1::AdminService::NewStub(channel_)),
      workers_(v1::WorkerService::NewStub(channel_)) {}

WireClient::~WireClient() = default;

bool WireClient::Wrong(std::string text) {
  problems_ += std::move(text) + "\n";
  return false;
}

grpc::Status WireClient::Insist(std::string_view what, absl::FunctionRef<grpc::Status(grpc::ClientContext*)> call) {
  const absl::Time limit = absl::Now() + kPatience;
  while (true) {
    grpc::ClientContext context;
    SetPatience(&context);
    const grpc::Status status = call(&context);
    if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) {
      Wrong(fmt::format("{}: no answer: a hang", what));
      return status;
    }
    if (!IsTrouble(status.error_code())) return status;
    host_.trouble(status);
    if (host_.gone()) return status;
    if (absl::Now() > limit) {
      Wrong(fmt::format("{}: refused for {} and the broker does not end: {}", what, absl::FormatDuration(kPatience),
                        ToText(status)));
      return status;
    }
    absl::SleepFor(kPause);
  }
}

bool WireClient::Ask(std::string_view what, const std::set<grpc::StatusCode>& accepted,
                     absl::FunctionRef<grpc::Status(grpc::ClientContext*)> call, grpc::Status* answer) {
  const grpc::Status status = Insist(what, call);
  if (answer != nullptr) *answer = status;
  if (IsTrouble(status.error_code()) || !problems_.empty()) return false;
  if (status.ok() || accepted.contains(status.error_code())) return true;
  return Wrong(fmt::format("{} was answered {}", what, ToText(status)));
}

// --- a service ---

bool WireClient::Enqueue(const std::vector<TaskPlan>& plans) {
  WireMemory::Request request;
  request.id = fmt::format("request-{}", memory_.requests.size() + 1);
  for (const TaskPlan& plan : plans) {
    KnownTask known;
    known.request = memory_.requests.size() + 1;
    known.queue = plan.queue;
    known.relaxed = plan.queue == "r";
    known.unique_key = plan.unique_key;
    KnownTask& task = memory_.ledger.Add(std::move(known));
    v1::TaskSpec spec;
    spec.set_queue(plan.queue);
    spec.set_type(task.serial % 4 == 0 ? "y" : "x");
    std::string filler(plan.bytes, '\0');
    for (char& c : filler) c = static_cast<char>(memory_.random());
    spec.set_payload(Ledger::Payload(task.serial, filler));
    if (plan.delay_seconds > 0) spec.mutable_delay()->set_seconds(plan.delay_seconds);
    if (!plan.unique_key.empty()) spec.mutable_unique_key()->set_key(plan.unique_key);
    if (!plan.key.empty()) {
      spec.set_key(plan.key);
      memory_.key_of[task.serial] = plan.key;
    }
    task.spec = spec.SerializeAsString();
    memory_.ledger.May(task, kUnfinished, "enqueue");
    request.serials.push_back(task.serial);
  }
  memory_.requests.push_back(std::move(request));
  return SendRequest(memory_.requests.size() - 1);
}

bool WireClient::SendRequest(size_t index) {
  WireMemory::Request& request = memory_.requests[index];
  v1::EnqueueManyRequest many;
  many.set_request_id(request.id);
  for (const uint64_t serial : request.serials) {
    if (!many.add_tasks()->ParseFromString(memory_.ledger.Find(serial)->spec)) return Wrong("no TaskSpec");
  }
  std::vector<v1::EnqueueResult> results;
  const bool answered = Ask(fmt::format("enqueue {}", request.id), {}, [&](grpc::ClientContext* context) {
    results.clear();
    if (request.serials.size() == 1) {
      v1::EnqueueRequest one;
      one.set_request_id(request.id);
      *one.mutable_task() = many.tasks(0);
      v1::EnqueueResponse response;
      const grpc::Status status = tasks_->Enqueue(context, one, &response);
      if (status.ok()) results.push_back(response.result());
      return status;
    }
    v1::EnqueueManyResponse response;
    const grpc::Status status = tasks_->EnqueueMany(context, many, &response);
    if (status.ok()) results.assign(response.results().begin(), response.results().end());
    return status;
  });
  if (!answered) return false;
  if (results.size() != request.serials.size()) return Wrong("an enqueue was answered in part");
  HearEnqueued(&request, results);
  return problems_.empty();
}

void WireClient::HearEnqueued(WireMemory::Request* request, const std::vector<v1::EnqueueResult>& results) {
  const bool repeated = request->answered;
  request->answered = true;
  for (size_t i = 0; i < results.size(); ++i) {
    KnownTask& task = *memory_.ledger.Find(request->serials[i]);
    const auto id = TaskId::Parse(results[i].task_id());
    if (!id) {
      Wrong(fmt::format("'{}' is no task id", results[i].task_id()));
      return;
    }
    const KnownTask* const holder = memory_.ledger.Find(*id);
    if (results[i].duplicate() && !task.unique_key.empty() && holder != nullptr && holder->serial != task.serial) {
      if (holder->queue != task.queue || holder->unique_key != task.unique_key) {
        Wrong(fmt::format("task {} is called a duplicate of {}, which has another key", task.serial, holder->serial));
      }
      if (!repeated) memory_.ledger.Told(task, kAbsent, 0, "duplicate");
      continue;
    }
    if (const std::string wrong = memory_.ledger.ToldId(task, *id); !wrong.empty()) Wrong(wrong);
    if (repeated) continue;
    ++memory_.acknowledged;
    memory_.ledger.Told(task, kUnfinished, 0, "enqueued");
  }
}

bool WireClient::Resolve() {
  for (size_t i = 0; i < memory_.requests.size(); ++i) {
    if (!memory_.requests[i].answered && !SendRequest(i)) return false;
  }
  return true;
}

bool WireClient::Cancel(uint64_t serial) {
  KnownTask& task = *memory_.ledger.Find(serial);
  v1::CancelTaskRequest request;
  request.set_task_id(task.id.ToString());
  v1::CancelTaskResponse response;
  task.cancel_asked = true;
  memory_.ledger.May(task, kCancelled, "cancel");
  grpc::Status status;
  // Repeated after an answer that was lost: it is cancelled already.
  const bool answered = Ask(
      "cancel", {grpc::StatusCode::FAILED_PRECONDITION},
      [&](grpc::ClientContext* context) { return tasks_->CancelTask(context, request, &response); }, &status);
  if (!answered) return false;
  if (!status.ok() || response.state() == v1::TASK_STATE_CANCELLED) {
    memory_.ledger.Told(task, kCancelled, 0, "cancelled");
  }
  return true;
}

bool WireClient::Retry(uint64_t serial) {
  KnownTask& task = *memory_.ledger.Find(serial);
  v1::RetryTaskRequest request;
  request.set_task_id(task.id.ToString());
  memory_.ledger.May(task, kUnfinished, "retry");
  memory_.key_of.erase(serial);  // it was dead, so others of its key may have overtaken it
  const bool answered = Ask("retry", {grpc::StatusCode::FAILED_PRECONDITION}, [&](grpc::ClientContext* context) {
    v1::RetryTaskResponse response;
    return tasks_->RetryTask(context, request, &response);
  });
  if (answered) memory_.ledger.Told(task, kUnfinished, 0, "retried");
  return answered;
}

// --- an operator ---

bool WireClient::CreateQueue(const std::string& name, bool relaxed) {
  v1::CreateQueueRequest request;
  request.mutable_queue()->set_name(name);
  request.mutable_queue()->mutable_settings()->set_durability(relaxed ? v1::DURABILITY_RELAXED : v1::DURABILITY_SYNC);
  return Ask("create queue", {grpc::StatusCode::ALREADY_EXISTS}, [&](grpc::ClientContext* context) {
    v1::CreateQueueResponse response;
    return admin_->CreateQueue(context, request, &response);
  });
}

bool WireClient::PurgeQueue(const std::string& name) {
  v1::PurgeQueueRequest request;
  request.set_name(name);
  for (auto& [serial, task] : memory_.ledger.tasks()) {
    if (task.queue == name && (task.fates & kUnfinished) != 0) memory_.ledger.May(task, kAbsent, "purge");
  }
  const bool answered = Ask("purge queue", {}, [&](grpc::ClientContext* context) {
    v1::PurgeQueueResponse response;
    return admin_->PurgeQueue(context, request, &response);
  });
  if (!answered) return false;
  for (auto& [serial, task] : memory_.ledger.tasks()) {
    if (task.queue != name || (task.fates & kUnfinished) == 0 || task.may_be_leased) continue;
    memory_.ledger.Told(task, static_cast<Fates>((task.fates & ~kUnfinished) | kAbsent), 0, "purged");
  }
  return true;
}

std::vector<std::string> WireClient::Problems() {
  v1::GetStatusResponse response;
  if (!Ask("get status", {}, [&](grpc::ClientContext* context) {
        return admin_->GetStatus(context, v1::GetStatusRequest(), &response);
      })) {
    return {};
  }
  return {response.broker().problems().begin(), response.broker().problems().end()};
}

bool WireClient::Backup() {
  return Ask("create backup", {}, [&](grpc::ClientContext* context) {
    const auto reader = admin_->CreateBackup(context, v1::CreateBackupRequest());
    v1::CreateBackupResponse response;
    while (reader->Read(&response)) {
    }
    return reader->Finish();
  });
}

bool WireClient::AwaitSeal() {
  uint64_t last = 0;
  // The seal is a sync behind the last: none has come for ten times the time it takes.
  for (int quiet = 0; quiet < 10; ++quiet) {
    v1::GetStatusResponse response;
    if (!Ask("get status", {}, [&](grpc::ClientContext* context) {
          return admin_->GetStatus(context, v1::GetStatusRequest(), &response);
        })) {
      return false;
    }
    if (std::exchange(last, response.broker().sync_count()) != response.broker().sync_count()) quiet = 0;
    absl::SleepFor(absl::Milliseconds(100));
  }
  return true;
}

// --- a worker ---

bool WireClient::StreamEnded() {
  const grpc::Status status = stream_->status();
  stream_.reset();
  switch (status.error_code()) {
    case grpc::StatusCode::NOT_FOUND:
    case grpc::StatusCode::ABORTED:
      // Its tasks are others' now; what became of the reports under way is not known.
      memory_.session_id.clear();
      memory_.held.clear();
      memory_.unacknowledged.clear();
      return true;
    case grpc::StatusCode::CANCELLED:
    case grpc::StatusCode::UNAVAILABLE:
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      host_.trouble(status);
      if (host_.gone()) return false;
      absl::SleepFor(kPause);
      return true;
    default:
      return Wrong(fmt::format("a worker's stream ended with {}", ToText(status)));
  }
}

bool WireClient::OpenSession() {
  const absl::Time limit = absl::Now() + kPatience;
  while (absl::Now() < limit) {
    stream_ = std::make_unique<Stream>(workers_.get());
    v1::WorkRequest request;
    v1::Hello& hello = *request.mutable_hello();
    hello.set_worker_name("w");
    for (const char* queue : {"s", "r", "p"}) hello.add_queues(queue);
    for (const char* type : {"x", "y"}) hello.add_types()->set_type(type);
    hello.set_concurrency(50);
    hello.set_session_id(memory_.session_id);
    auto hold = [&](TaskId task, uint64_t token) {
      v1::HeldTask& held = *hello.add_held_tasks();
      held.set_task_id(task.ToString());
      held.set_fencing_token(token);
      held.set_started(true);
    };
    if (!memory_.session_id.empty()) {
      for (const auto& [task, token] : memory_.held) hold(task, token);
      for (const auto& [frame, sent] : memory_.unacknowledged) {
        hold(*TaskId::Parse(sent.outcome.task_id()), sent.outcome.fencing_token());
      }
    }
    stream_->Write(request);
    v1::WorkResponse response;
    switch (stream_->Take(&response, kPatience)) {
      case Stream::Next::kSilence:
        return Wrong("a worker was not welcomed: a hang");
      case Stream::Next::kEnded:
        if (!StreamEnded()) return false;
        continue;
      case Stream::Next::kMessage:
        break;
    }
    memory_.session_id = response.welcome().session_id();
    for (const std::string& lost : response.welcome().lost_task_ids()) memory_.held.erase(*TaskId::Parse(lost));
    // Under new numbers: a frame's is that of the stream's order.
    auto again = std::exchange(memory_.unacknowledged, {});
    for (auto& [frame, sent] : again) memory_.unacknowledged[++memory_.frame] = std::move(sent);
    for (const auto& [frame, sent] : memory_.unacknowledged) SendReport(frame);
    Heard(response);
    return problems_.empty();
  }
  return Wrong("a worker finds no broker: a hang");
}

bool WireClient::Hear() {
  v1::WorkResponse response;
  switch (stream_->Take(&response, kPatience)) {
    case Stream::Next::kSilence:
      return Wrong("a worker hears nothing any more: a hang");
    case Stream::Next::kEnded:
      return false;
    case Stream::Next::kMessage:
      break;
  }
  Heard(response);
  return problems_.empty();
}

void WireClient::Heard(const v1::WorkResponse& response) {
  for (const v1::Delivery& delivery : response.deliveries()) HearDelivery(delivery);
  std::map<std::pair<std::string, uint64_t>, const v1::Refusal*> refused;
  for (const v1::Refusal& refusal : response.refusals()) {
    refused[{refusal.task_id(), refusal.fencing_token()}] = &refusal;
  }
  while (!memory_.unacknowledged.empty() && memory_.unacknowledged.begin()->first <= response.acknowledged_frame()) {
    const WireMemory::Outcome sent = std::move(memory_.unacknowledged.begin()->second);
    memory_.unacknowledged.erase(memory_.unacknowledged.begin());
    const auto refusal = refused.find({sent.outcome.task_id(), sent.outcome.fencing_token()});
    HearOutcome(sent, refusal == refused.end() ? nullptr : refusal->second);
  }
}

void WireClient::HearDelivery(const v1::Delivery& delivery) {
  ++memory_.deliveries;
  const std::string spec = delivery.spec().SerializeAsString();
  KnownTask* const task = memory_.ledger.Find(Ledger::SerialOf(spec));
  const auto id = TaskId::Parse(delivery.task_id());
  if (task == nullptr || task->spec != spec || !id) {
    Wrong(fmt::format("{} was delivered and was never sent", delivery.task_id()));
    return;
  }
  if (const std::string wrong = memory_.ledger.ToldId(*task, *id); !wrong.empty()) Wrong(wrong);
  if ((task->fates & kUnfinished) == 0) {
    Wrong(fmt::format("task {} was delivered and is {}; its story:{}", task->serial, DescribeFates(task->fates),
                      task->story));
  }
  if (delivery.fencing_token() <= memory_.last_token) Wrong("a fencing token did not grow");
  memory_.last_token = delivery.fencing_token();
  if (const auto key = memory_.key_of.find(task->serial); key != memory_.key_of.end()) {
    for (const auto& [serial, other_key] : memory_.key_of) {
      const KnownTask& other = *memory_.ledger.Find(serial);
      if (serial < task->serial && other_key == key->second && other.fates == kUnfinished && other.answered) {
        Wrong(fmt::format("task {} was delivered before task {} of the same FIFO key", task->serial, serial));
      }
    }
  }
  task->may_be_leased = true;
  task->story += fmt::format(" delivered({})", delivery.attempt());
  memory_.held[*id] = delivery.fencing_token();
}

void WireClient::HearOutcome(const WireMemory::Outcome& sent, const v1::Refusal* refusal) {
  if (refusal != nullptr && refusal->reason() != v1::Refusal::REASON_ALREADY_FINISHED) return;  // it did not count
  KnownTask& task = *memory_.ledger.Find(sent.serial);
  switch (sent.outcome.outcome_case()) {
    case v1::TaskOutcome::kCompleted:
      ++memory_.completed;
      memory_.ledger.Told(task, kCompleted, 0, "completed");
      break;
    case v1::TaskOutcome::kFailed:
      memory_.ledger.Told(task, sent.outcome.failed().reject() ? kDead : kUnfinished, 0, "failed");
      break;
    default:
      break;
  }
}

bool WireClient::Take(size_t count) {
  const uint64_t wanted = memory_.deliveries + count;
  bool credit_given = false;
  while (memory_.deliveries < wanted) {
    if (stream_ == nullptr) {
      if (!OpenSession()) return false;
      credit_given = false;
      continue;
    }
    if (!credit_given) {
      v1::WorkRequest request;
      request.set_credit(static_cast<int32_t>(wanted - memory_.deliveries));
      stream_->Write(request);
      credit_given = true;
    }
    if (!Hear() && (!problems_.empty() || !StreamEnded())) return false;
  }
  return problems_.empty();
}

void WireClient::SendReport(uint64_t frame) {
  v1::WorkRequest request;
  request.set_frame_number(frame);
  *request.add_outcomes() = memory_.unacknowledged[frame].outcome;
  stream_->Write(request);
}

bool WireClient::Report(const std::vector<std::pair<TaskId, Verdict>>& outcomes) {
  if (!EnsureSession()) return false;
  for (const auto& [id, verdict] : outcomes) {
    const auto held = memory_.held.find(id);
    if (held == memory_.held.end()) continue;  // lost with the session
    KnownTask& task = *memory_.ledger.Find(id);
    WireMemory::Outcome sent;
    sent.serial = task.serial;
    sent.outcome.set_task_id(id.ToString());
    sent.outcome.set_fencing_token(held->second);
    memory_.held.erase(held);
    if (verdict == Verdict::kComplete) {
      sent.outcome.mutable_completed()->set_result(Ledger::ResultOf(task.serial));
      memory_.ledger.May(task, kCompleted, "complete");
    } else {
      v1::TaskOutcome::Failed& failed = *sent.outcome.mutable_failed();
      failed.mutable_error()->set_type("E");
      failed.mutable_error()->set_message("failed");
      failed.set_reject(verdict == Verdict::kReject);
      if (verdict == Verdict::kFail) failed.mutable_retry_after()->set_seconds(kFar);
      memory_.ledger.May(task, kDead, "fail");
    }
    const uint64_t frame = ++memory_.frame;
    memory_.unacknowledged[frame] = std::move(sent);
    SendReport(frame);
  }
  while (!memory_.unacknowledged.empty()) {
    if (stream_ == nullptr) {
      if (!OpenSession()) return false;
    } else if (!Hear() && (!problems_.empty() || !StreamEnded())) {
      return false;
    }
  }
  return problems_.empty();
}

// --- the judge ---

bool WireClient::Check(std::set<uint64_t>* damaged) {
  for (auto& [serial, task] : memory_.ledger.tasks()) {
    Fates found = kAbsent;
    if (!task.id.empty()) {
      v1::GetTaskRequest request;
      request.set_task_id(task.id.ToString());
      request.set_include_payload(true);
      v1::GetTaskResponse response;
      grpc::Status status;
      std::set<grpc::StatusCode> accepted = {grpc::StatusCode::NOT_FOUND};
      if (damaged != nullptr) accepted.insert(grpc::StatusCode::DATA_LOSS);
      const bool answered = Ask(
          "get task", accepted,
          [&](grpc::ClientContext* context) { return tasks_->GetTask(context, request, &response); }, &status);
      if (!answered) return false;
      if (status.error_code() == grpc::StatusCode::DATA_LOSS) {
        if (status.error_message().find(task.id.ToString()) == std::string::npos) {
          Wrong(fmt::format("DATA_LOSS does not name {}: {}", Ledger::Describe(task), status.error_message()));
        }
        damaged->insert(serial);
        continue;
      }
      const v1::Task& read = response.task();
      if (status.ok()) found = Ledger::FateOf(read.state());
      if (found == kCompleted && read.result() != Ledger::ResultOf(serial)) {
        Wrong(Ledger::Describe(task) + " has another's result");
      }
      if ((found & (kUnfinished | kDead)) != 0 && read.spec().SerializeAsString() != task.spec) {
        Wrong(Ledger::Describe(task) + " has another's spec");
      }
    }
    if ((found & Ledger::Allowed(task)) == 0) {
      Wrong(fmt::format("{} should be {} and is {}; its story:{}", Ledger::Describe(task),
                        DescribeFates(Ledger::Allowed(task)), DescribeFates(found), task.story));
    }
    memory_.ledger.Found(task, found);
  }
  return problems_.empty();
}

bool WireClient::Drain(std::set<uint64_t>* damaged) {
  auto waits = [&](const KnownTask& task) {
    return (task.fates & kUnfinished) != 0 && !task.id.empty() &&
           (damaged == nullptr || !damaged->contains(task.serial));
  };
  // What the worker could not report before: a failure would put its task off again.
  if (!Report({})) return false;
  std::set<grpc::StatusCode> accepted = {grpc::StatusCode::FAILED_PRECONDITION};
  if (damaged != nullptr) accepted.insert(grpc::StatusCode::DATA_LOSS);
  for (auto& [serial, task] : memory_.ledger.tasks()) {
    if (!waits(task)) continue;
    v1::RetryTaskRequest request;
    request.set_task_id(task.id.ToString());
    if (!Ask("retry", accepted, [&](grpc::ClientContext* context) {
          v1::RetryTaskResponse response;
          return tasks_->RetryTask(context, request, &response);
        })) {
      return false;
    }
  }
  const auto waiting = [&] {
    const auto& tasks = memory_.ledger.tasks();
    return std::any_of(tasks.begin(), tasks.end(), [&](const auto& entry) { return waits(entry.second); });
  };
  const absl::Time limit = absl::Now() + kPatience;
  bool credit_given = false;
  int silences = 0;
  while (waiting()) {
    if (absl::Now() > limit) {
      for (const auto& [serial, task] : memory_.ledger.tasks()) {
        if (waits(task)) Wrong(fmt::format("{} never runs; its story:{}", Ledger::Describe(task), task.story));
      }
      return false;
    }
    if (stream_ == nullptr) {
      if (!OpenSession()) return false;
      credit_given = false;
      continue;
    }
    if (!credit_given) {
      v1::WorkRequest request;
      request.set_credit(1'000);
      stream_->Write(request);
      credit_given = true;
    }
    if (!memory_.held.empty()) {
      std::vector<std::pair<TaskId, Verdict>> all;
      for (const auto& [task, token] : memory_.held) all.emplace_back(task, Verdict::kComplete);
      Stream* const before = stream_.get();
      if (!Report(all)) return false;
      if (stream_.get() != before) credit_given = false;
      continue;
    }
    v1::WorkResponse response;
    // Whatever is damaged is passed over in silence: then it must at least say so when it is asked for.
    switch (stream_->Take(&response, damaged == nullptr ? kPatience : absl::Milliseconds(700))) {
      case Stream::Next::kMessage:
        Heard(response);
        if (!problems_.empty()) return false;
        break;
      case Stream::Next::kEnded:
        if (!StreamEnded()) return false;
        break;
      case Stream::Next::kSilence:
        if (damaged != nullptr) {
          if (!Check(damaged)) return false;
          // What cannot be read may be the very list of what waits: then nobody can name the tasks, but it must be said
          // that some do not run.
          if (++silences >= 3 && !Problems().empty()) {
            for (const auto& [serial, task] : memory_.ledger.tasks()) {
              if (waits(task)) damaged->insert(serial);
            }
          }
        }
        break;
    }
  }
  stream_.reset();
  return Check(damaged);
}

// --- rows of calls ---

bool WireClient::RunScript() {
  const auto first_held = [&](size_t count, Verdict verdict) {
    std::vector<std::pair<TaskId, Verdict>> some;
    for (const auto& [task, token] : memory_.held) {
      if (some.size() < count) some.emplace_back(task, verdict);
    }
    return some;
  };
  if (!CreateQueue("r", /*relaxed=*/true) || !CreateQueue("p", /*relaxed=*/false)) return false;
  const size_t repeatable = memory_.requests.size();
  if (!Enqueue({{}}) || !Enqueue({{.bytes = 30'000}}) || !Enqueue({{}})) return false;
  if (!Enqueue({{.delay_seconds = kFar}})) return false;
  const uint64_t to_cancel = LastSerial();
  if (!Enqueue({{.delay_seconds = kFar, .unique_key = "u"}})) return false;
  if (!Enqueue({{.delay_seconds = kFar, .unique_key = "u"}})) return false;
  if (!Enqueue({{}, {.bytes = 3'000}, {.delay_seconds = kFar}, {}, {}, {.bytes = 900}})) return false;
  if (!Enqueue({{.queue = "r"}, {.queue = "r"}}) || !Enqueue({{.queue = "r", .bytes = 2'000}})) return false;
  for (int i = 0; i < 3; ++i) {
    if (!Enqueue({{.key = "k"}})) return false;
  }
  if (!Enqueue({{.queue = "p", .delay_seconds = kFar}, {.queue = "p", .delay_seconds = kFar}})) return false;
  if (!Take(4)) return false;
  if (!Report(first_held(1, Verdict::kComplete)) || !Report(first_held(1, Verdict::kFail))) return false;
  const auto rejected = first_held(1, Verdict::kReject);
  if (!Report(rejected)) return false;
  if (!Cancel(to_cancel)) return false;
  // It is dead, unless the session was lost under it.
  for (const auto& [id, verdict] : rejected) {
    const KnownTask& task = *memory_.ledger.Find(id);
    if (task.fates == kDead && !Retry(task.serial)) return false;
  }
  if (!Take(5) || !Report(first_held(4, Verdict::kComplete))) return false;
  if (!SendRequest(repeatable)) return false;
  if (!PurgeQueue("p")) return false;
  if (!Enqueue({{.bytes = 100'000}, {}})) return false;
  return Take(2) && Report(first_held(3, Verdict::kComplete));
}

bool WireClient::RunBusy(int rounds) {
  if (!CreateQueue("r", /*relaxed=*/true)) return false;
  for (int round = 0; round < rounds; ++round) {
    const char* const queue = round % 5 == 4 ? "r" : "s";
    if (!Enqueue({{.queue = queue, .bytes = 90'000},
                  {.queue = queue, .bytes = 60'000},
                  {.queue = queue, .bytes = 200, .delay_seconds = kFar},
                  {.queue = queue, .bytes = 70'000}})) {
      return false;
    }
    if (round % 2 == 0) continue;
    if (!Take(4)) return false;
    std::vector<std::pair<TaskId, Verdict>> all;
    for (const auto& [task, token] : memory_.held) {
      all.emplace_back(task, all.size() == 3 ? Verdict::kFail : Verdict::kComplete);
    }
    if (!Report(all)) return false;
  }
  return true;
}

}  // namespace penstock::broker
