#include "worker/broker_session.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <utility>

#include "common/clock.h"
#include "common/keep_grpc.h"
#include "common/logging.h"
#include "common/random.h"
#include "common/status.h"
#include "common/status_grpc.h"
#include "common/text.h"
#include "common/version.h"
#include "fmt/format.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"

namespace penstock {
namespace {

constexpr size_t kFrameBytes = 1 << 20;
// Handlers that were cancelled get this long before their tasks are handed back.
constexpr absl::Duration kAfterCancel = absl::Seconds(1);
// At the end: for the last outcomes to be acknowledged, and for the goodbye to be answered.
constexpr absl::Duration kFlush = absl::Seconds(5);
constexpr absl::Duration kGoodbye = absl::Seconds(2);

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream content;
  if (!(content << file.rdbuf())) return absl::InvalidArgumentError("cannot read " + path);
  return content.str();
}

absl::Duration ToDuration(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
}

void Set(absl::Duration value, google::protobuf::Duration* out) {
  absl::Duration rest;
  out->set_seconds(absl::IDivDuration(value, absl::Seconds(1), &rest));
  out->set_nanos(static_cast<int32_t>(rest / absl::Nanoseconds(1)));
}

std::string HostName() {
  char name[256] = {};
  gethostname(name, sizeof(name) - 1);
  return name;
}

TaskDelivery ToDelivery(v1::Delivery& in) {
  TaskDelivery task;
  task.id = TaskId::Parse(in.task_id()).value_or(TaskId());
  task.fencing_token = in.fencing_token();
  task.attempt = in.attempt();
  task.max_attempts = in.max_attempts();
  task.create_time = absl::FromUnixSeconds(in.create_time().seconds()) + absl::Nanoseconds(in.create_time().nanos());
  task.run_timeout = ToDuration(in.run_timeout());
  v1::TaskSpec& spec = *in.mutable_spec();
  task.queue = std::move(*spec.mutable_queue());
  task.type = std::move(*spec.mutable_type());
  task.payload = std::move(*spec.mutable_payload());
  task.content_type = std::move(*spec.mutable_content_type());
  for (auto& [key, value] : *spec.mutable_headers()) task.headers[key] = std::move(value);
  for (auto& tag : *spec.mutable_tags()) task.tags.push_back(std::move(tag));
  return task;
}

void SetError(const HandlerError& error, v1::TaskError* out) {
  out->set_type(error.type);
  out->set_message(error.message);
  out->set_detail(error.detail);
}

void SetOutcome(const WorkerCore::OutcomeReport& report, size_t max_result_bytes, v1::TaskOutcome* out) {
  const Outcome& outcome = report.outcome;
  out->set_task_id(report.task.ToString());
  out->set_fencing_token(report.token);
  if (report.run_time > absl::ZeroDuration()) Set(report.run_time, out->mutable_run_time());
  switch (outcome.kind()) {
    case Outcome::Kind::kDone:
      if (outcome.result().size() > max_result_bytes) {
        auto* failed = out->mutable_failed();
        failed->mutable_error()->set_type("result too large");
        failed->mutable_error()->set_message(
            fmt::format("the result has {} bytes; the broker takes {}: store it elsewhere and return where",
                        outcome.result().size(), max_result_bytes));
        failed->set_reject(true);
        return;
      }
      out->mutable_completed()->set_result(outcome.result());
      out->mutable_completed()->set_content_type(outcome.content_type());
      return;
    case Outcome::Kind::kRetry:
    case Outcome::Kind::kReject:
      SetError(outcome.error(), out->mutable_failed()->mutable_error());
      out->mutable_failed()->set_reject(outcome.kind() == Outcome::Kind::kReject);
      if (outcome.delay() >= absl::ZeroDuration()) Set(outcome.delay(), out->mutable_failed()->mutable_retry_after());
      return;
    case Outcome::Kind::kSnooze:
      Set(std::max(outcome.delay(), absl::ZeroDuration()), out->mutable_snoozed()->mutable_delay());
      return;
    case Outcome::Kind::kRelease:
      out->mutable_released();
      return;
    case Outcome::Kind::kCancelled:
      out->mutable_cancelled();
      return;
  }
}

}  // namespace

// One stream. Deletes itself when it is over, and keeps the session alive until then.
class BrokerSession::Reactor : public grpc::ClientBidiReactor<v1::WorkRequest, v1::WorkResponse> {
 public:
  Reactor(std::shared_ptr<BrokerSession> session, v1::WorkerService::Stub& stub) : session_(std::move(session)) {
    stub.async()->Work(&context_, this);
    AddHold();  // writes come from other threads than gRPC's
    StartRead(&response_);
    StartCall();
  }
  void Cancel() { context_.TryCancel(); }
  void Release() {
    if (!std::exchange(released_, true)) RemoveHold();
  }
  void OnReadDone(bool ok) override {
    if (!ok) return session_->OnEnd(this);
    session_->OnRead(this, response_);
    StartRead(&response_);
  }
  void OnWriteDone(bool ok) override { session_->OnWriteDone(this, ok); }
  void OnDone(const grpc::Status& status) override {
    session_->OnDone(this, FromGrpc(status));
    delete this;
  }

 private:
  const std::shared_ptr<BrokerSession> session_;
  grpc::ClientContext context_;
  v1::WorkResponse response_;
  bool released_ = false;  // guarded by the session's mutex
};

BrokerSession::BrokerSession(const WorkerOptions& options, WorkerCore::Options core_options,
                             std::vector<std::pair<std::string, int>> types)
    : options_(options), types_(std::move(types)), core_(std::move(core_options)) {}

BrokerSession::~BrokerSession() = default;

absl::Duration BrokerSession::Elapsed() const { return SystemClock().Read().elapsed; }

absl::Status BrokerSession::Start(Executor* executor) {
  executor_ = executor;
  std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials();
  if (!options_.ca_file.empty()) {
    grpc::SslCredentialsOptions ssl;
    ASSIGN_OR_RETURN(ssl.pem_root_certs, ReadFile(options_.ca_file));
    if (!options_.cert_file.empty()) {
      ASSIGN_OR_RETURN(ssl.pem_cert_chain, ReadFile(options_.cert_file));
      ASSIGN_OR_RETURN(ssl.pem_private_key, ReadFile(options_.key_file));
    }
    credentials = grpc::SslCredentials(ssl);
  }
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(64 << 20);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 10'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 5'000);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 50);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, static_cast<int>(absl::ToInt64Milliseconds(options_.reconnect_max)));
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  const std::shared_ptr<grpc::Channel> channel = grpc::CreateCustomChannel(options_.broker, credentials, arguments);
  KeepGrpcCallbacks(channel);
  stub_ = v1::WorkerService::NewStub(channel);
  {
    MutexLock lock(mu_);
    Connect();
  }
  keeper_ = std::thread([this] { Keep(); });
  return absl::OkStatus();
}

void BrokerSession::Connect() {
  ended_ = false;
  welcomed_ = false;
  reactor_ = new Reactor(shared_from_this(), *stub_);
  request_.Clear();
  FillHello(request_.mutable_hello());
  writing_ = true;
  reactor_->StartWrite(&request_);
}

void BrokerSession::FillHello(v1::Hello* hello) {
  hello->set_worker_name(options_.name.empty() ? fmt::format("{}@{}", program_invocation_short_name, HostName()) : options_.name);
  for (const std::string& queue : options_.queues) hello->add_queues(queue);
  for (const auto& [type, limit] : types_) {
    auto* handled = hello->add_types();
    handled->set_type(type);
    handled->set_max_concurrency(limit);
  }
  hello->set_concurrency(options_.concurrency);
  Set(options_.lease, hello->mutable_lease());
  hello->set_host(HostName());
  hello->set_pid(getpid());
  hello->set_version(options_.version.empty() ? fmt::format("penstock {}", kVersion) : options_.version);
  if (session_id_.empty()) return;
  hello->set_session_id(session_id_);
  for (const WorkerCore::HeldTask& task : core_.Held()) {
    auto* held = hello->add_held_tasks();
    held->set_task_id(task.task.ToString());
    held->set_fencing_token(task.token);
    held->set_started(task.started);
  }
}

void BrokerSession::FillRequest(const WorkerCore::Frame& frame) {
  request_.Clear();
  request_.set_credit(frame.credit);
  for (const auto& [type, credit] : frame.type_credits) {
    auto* out = request_.add_type_credits();
    out->set_type(type);
    out->set_credit(credit);
  }
  for (const auto& [task, token] : frame.starts) {
    auto* start = request_.add_starts();
    start->set_task_id(task.ToString());
    start->set_fencing_token(token);
  }
  for (const WorkerCore::OutcomeReport* report : frame.outcomes) SetOutcome(*report, max_result_bytes_, request_.add_outcomes());
  for (const WorkerCore::ProgressReport& report : frame.progress) {
    auto* out = request_.add_progress_reports();
    out->set_task_id(report.task.ToString());
    out->set_fencing_token(report.token);
    out->set_percent(std::clamp(report.percent, 0.0, 100.0));
    out->set_text(report.text);
  }
  for (const WorkerCore::LogReport& report : frame.logs) {
    auto* out = request_.add_log_reports();
    out->set_task_id(report.task.ToString());
    out->set_fencing_token(report.token);
    for (const auto& [time, text] : report.lines) {
      auto* line = out->add_lines();
      const int64_t seconds = absl::ToUnixSeconds(time);
      line->mutable_time()->set_seconds(seconds);
      line->mutable_time()->set_nanos(static_cast<int32_t>((time - absl::FromUnixSeconds(seconds)) / absl::Nanoseconds(1)));
      line->set_text(text);
    }
  }
  request_.set_frame_number(frame.number);
  request_.set_stuck_changed(frame.stuck_changed);
  for (TaskId task : frame.stuck) request_.add_stuck_task_ids(task.ToString());
  request_.set_draining(frame.draining);
}

void BrokerSession::WriteNext() {
  if (reactor_ == nullptr || ended_ || !welcomed_ || writing_) return;
  const absl::Duration now = Elapsed();
  if (core_.WantsFrame(now)) {
    FillRequest(core_.BuildFrame(now, kFrameBytes));
  } else if (goodbye_) {
    goodbye_ = false;
    request_.Clear();
    request_.set_goodbye(true);
  } else {
    return;
  }
  writing_ = true;
  reactor_->StartWrite(&request_);
}

void BrokerSession::OnWriteDone(Reactor* reactor, bool ok) {
  MutexLock lock(mu_);
  if (reactor != reactor_) return;
  writing_ = false;
  if (ok) WriteNext();
}

void BrokerSession::OnEnd(Reactor* reactor) {
  MutexLock lock(mu_);
  if (reactor == reactor_) ended_ = true;
  reactor->Release();
}

void BrokerSession::OnRead(Reactor* reactor, v1::WorkResponse& response) {
  std::vector<TaskDelivery> tasks;
  std::vector<WorkerCore::Cancel> cancels;
  {
    MutexLock lock(mu_);
    if (reactor != reactor_) return;
    const absl::Duration now = Elapsed();
    if (response.has_welcome()) {
      const v1::Welcome& welcome = response.welcome();
      session_id_ = welcome.session_id();
      if (welcome.max_result_bytes() > 0) max_result_bytes_ = welcome.max_result_bytes();
      auto ids = [](const auto& texts) {
        std::vector<TaskId> parsed;
        for (const auto& text : texts) parsed.push_back(TaskId::Parse(text).value_or(TaskId()));
        return parsed;
      };
      cancels = core_.OnWelcome(welcome.resumed(), ToDuration(welcome.lease()), ids(welcome.lost_task_ids()),
                                ids(welcome.cancelled_task_ids()), now);
      welcomed_ = true;
      away_told_ = false;
      LogFor("worker").info("connected broker={} resumed={} lost={}", options_.broker, welcome.resumed(),
                            welcome.lost_task_ids_size());
    }
    for (v1::Delivery& delivery : *response.mutable_deliveries()) {
      TaskDelivery task = ToDelivery(delivery);
      if (core_.OnDelivery(task, now)) tasks.push_back(std::move(task));
    }
    if (response.acknowledged_frame() != 0) core_.OnAcknowledged(response.acknowledged_frame());
    for (const v1::Refusal& refusal : response.refusals()) {
      const auto id = TaskId::Parse(refusal.task_id());
      if (!id || refusal.reason() != v1::Refusal::REASON_STALE_LEASE) {
        if (refusal.reason() == v1::Refusal::REASON_INVALID) {
          LogFor("worker").error("outcome refused task={} problem=\"{}\"", refusal.task_id(), refusal.message());
        }
        continue;
      }
      if (auto cancel = core_.OnStale(*id, refusal.fencing_token())) cancels.push_back(*cancel);
    }
    for (const std::string& text : response.cancelled_task_ids()) {
      if (auto id = TaskId::Parse(text)) {
        if (auto cancel = core_.OnCancelled(*id)) cancels.push_back(*cancel);
      }
    }
    if (response.drain() && !asked_to_drain_) {
      LogFor("worker").info("asked to drain");
      asked_to_drain_ = true;
      core_.Drain();
      executor_->Clear();
    }
    WriteNext();
  }
  if (!tasks.empty()) executor_->Submit(std::move(tasks));
  CancelAll(cancels);
  changed_.SignalAll();
}

void BrokerSession::OnDone(Reactor* reactor, const absl::Status& status) {
  {
    MutexLock lock(mu_);
    if (reactor != reactor_) return;
    reactor_ = nullptr;
    ended_ = true;
    welcomed_ = false;
    writing_ = false;
    core_.OnDisconnected();
    // The session has ended: what we hold was given to others. A new one begins with the next Hello.
    if (absl::IsNotFound(status)) session_id_.clear();
    reconnect_at_ = Elapsed() + core_.NextBackoff(static_cast<double>(MixBits(static_cast<uint64_t>(getpid()) << 32 | draws_++) >> 11) * 0x1p-53);
    if (!away_told_ && !stopped_) {
      away_told_ = true;
      LogFor("worker").warn("disconnected broker={} reason=\"{}\"; connecting again", options_.broker,
                            ToStd(status.message()));
    }
  }
  changed_.SignalAll();
}

void BrokerSession::CancelAll(const std::vector<WorkerCore::Cancel>& cancels) {
  for (const WorkerCore::Cancel& cancel : cancels) executor_->Cancel(cancel.task, cancel.reason);
}

void BrokerSession::Keep() {
  while (true) {
    std::vector<WorkerCore::Cancel> cancels;
    {
      MutexLock lock(mu_);
      if (stopped_) return;
      const absl::Duration now = Elapsed();
      absl::Duration next = core_.NextDeadline();
      if (reactor_ == nullptr) next = std::min(next, reconnect_at_);
      if (next > now) changed_.WaitFor(mu_, std::min(next - now + absl::Microseconds(100), absl::Seconds(1)));
      if (stopped_) return;
      const absl::Duration later = Elapsed();
      cancels = core_.OnTime(later);
      for (const WorkerCore::Cancel& cancel : cancels) {
        LogFor("worker").warn("attempt timed out task={}; its handler keeps its slot until it returns", cancel.task.ToString());
      }
      if (reactor_ == nullptr && later >= reconnect_at_) Connect();
      WriteNext();
    }
    CancelAll(cancels);
  }
}

bool BrokerSession::OnStart(TaskId task, uint64_t token) {
  MutexLock lock(mu_);
  const bool start = core_.OnStart(task, token, Elapsed());
  if (start) WriteNext();
  return start;
}

void BrokerSession::OnFinish(TaskId task, uint64_t token, Outcome outcome) {
  bool signal;
  {
    MutexLock lock(mu_);
    core_.OnFinish(task, token, std::move(outcome), Elapsed());
    WriteNext();
    signal = core_.draining();
  }
  if (signal) changed_.SignalAll();
}

void BrokerSession::OnProgress(TaskId task, uint64_t token, double percent, std::string text) {
  MutexLock lock(mu_);
  core_.OnProgress({task, token, percent, std::move(text)});
  WriteNext();
}

void BrokerSession::OnLog(TaskId task, uint64_t token, std::string line) {
  MutexLock lock(mu_);
  core_.OnLog(task, token, absl::Now(), std::move(line));
  WriteNext();
}

void BrokerSession::Drain() {
  MutexLock lock(mu_);
  core_.Drain();
  executor_->Clear();
  WriteNext();
}

bool BrokerSession::WaitUntil(absl::Duration timeout, const std::function<bool()>& done) {
  const absl::Duration limit = Elapsed() + timeout;
  while (!done()) {
    const absl::Duration left = limit - Elapsed();
    if (left <= absl::ZeroDuration()) return false;
    changed_.WaitFor(mu_, left);
  }
  return true;
}

void BrokerSession::Stop(absl::Duration grace) {
  std::vector<WorkerCore::Cancel> cancels;
  {
    MutexLock lock(mu_);
    if (std::exchange(stopping_, true)) {
      while (!stopped_) changed_.Wait(mu_);
      return;
    }
    if (executor_ == nullptr) {  // never started
      stopped_ = true;
      return;
    }
    core_.Drain();
    executor_->Clear();
    WriteNext();
    const bool empty = WaitUntil(grace, [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return core_.running() == 0; });
    if (!empty) {
      LogFor("worker").warn("drain grace is over running={}; cancelling them", core_.running());
      cancels = core_.RunningTasks();
    }
  }
  CancelAll(cancels);
  {
    MutexLock lock(mu_);
    if (!cancels.empty()) {
      WaitUntil(kAfterCancel, [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return core_.running() == 0; });
      core_.HandBackRunning();
    }
    WriteNext();
    if (reactor_ != nullptr && welcomed_) {
      WaitUntil(kFlush, [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return core_.settled() || reactor_ == nullptr; });
      if (reactor_ != nullptr) {
        goodbye_ = true;
        stopped_ = true;
        WriteNext();
        if (!WaitUntil(kGoodbye, [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return reactor_ == nullptr; })) reactor_->Cancel();
      }
    } else if (reactor_ != nullptr) {
      reactor_->Cancel();
      reactor_->Release();
    }
    stopped_ = true;
  }
  changed_.SignalAll();
  if (keeper_.joinable()) keeper_.join();
  MutexLock lock(mu_);
  while (reactor_ != nullptr) {
    changed_.WaitFor(mu_, absl::Seconds(1));
  }
}

void BrokerSession::Wait() {
  MutexLock lock(mu_);
  while (!stopping_ && !(asked_to_drain_ && core_.idle())) changed_.Wait(mu_);
}

int BrokerSession::running() const {
  MutexLock lock(mu_);
  return core_.running();
}

}  // namespace penstock
