#include "worker/broker_session.h"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <utility>

#include "absl/time/clock.h"
#include "common/clock.h"
#include "common/logging.h"
#include "common/random.h"
#include "common/status.h"
#include "common/status_grpc.h"
#include "common/text.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "worker/frame_convert.h"

namespace penstock {
namespace {

constexpr size_t kFrameBytes = 1 << 20;
// Handlers that were cancelled get this long before their tasks are handed back.
constexpr absl::Duration kAfterCancel = absl::Seconds(1);
// At the end: for the last outcomes to be acknowledged (the broker may be away), and for the goodbye to be answered.
constexpr absl::Duration kFlush = absl::Seconds(5);
constexpr absl::Duration kGoodbye = absl::Seconds(2);
// The keeper sleeps at least so long, for what is due may have to wait for a write under way; and at most so long.
constexpr absl::Duration kKeeperMin = absl::Milliseconds(5);
constexpr absl::Duration kKeeperMax = absl::Seconds(10);

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream content;
  if (!(content << file.rdbuf())) return absl::InvalidArgumentError("cannot read " + path);
  return content.str();
}

// Connecting again would be answered in the same way.
bool IsForGood(const absl::Status& status) {
  return absl::IsInvalidArgument(status) || absl::IsUnauthenticated(status) || absl::IsPermissionDenied(status) ||
         absl::IsUnimplemented(status);
}

std::vector<TaskId> ToIds(const google::protobuf::RepeatedPtrField<std::string>& texts) {
  std::vector<TaskId> ids;
  for (const std::string& text : texts) ids.push_back(TaskId::Parse(text).value_or(TaskId()));
  return ids;
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
    session_->OnRead(this, &response_);
    StartRead(&response_);
  }
  void OnWriteDone(bool ok) override { session_->OnWriteDone(this, ok); }
  void OnDone(const grpc::Status& status) override {
    const std::shared_ptr<BrokerSession> session = session_;
    session->OnDone(this, FromGrpc(status));
    delete this;
    session->OnGone();
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
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS,
                   static_cast<int>(absl::ToInt64Milliseconds(options_.reconnect_max)));
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  stub_ = v1::WorkerService::NewStub(grpc::CreateCustomChannel(options_.broker, credentials, arguments));
  {
    MutexLock lock(mu_);
    Connect();
  }
  keeper_ = std::thread([this] { Keep(); });
  return absl::OkStatus();
}

// --- the stream ---

void BrokerSession::Connect() {
  ended_ = false;
  welcomed_ = false;
  ++reactors_;
  reactor_ = new Reactor(shared_from_this(), *stub_);
  request_.Clear();
  FillHello(options_, types_, session_id_, core_.Held(), request_.mutable_hello());
  writing_ = true;
  reactor_->StartWrite(&request_);
}

void BrokerSession::WriteNext() {
  if (reactor_ == nullptr || ended_ || !welcomed_ || writing_) return;
  const absl::Duration now = Elapsed();
  if (core_.WantsFrame(now)) {
    request_.Clear();
    FillRequest(core_.BuildFrame(now, kFrameBytes), max_result_bytes_, &request_);
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

void BrokerSession::OnRead(Reactor* reactor, v1::WorkResponse* response) {
  std::vector<TaskDelivery> tasks;
  std::vector<WorkerCore::Cancel> cancels;
  tasks.reserve(static_cast<size_t>(response->deliveries_size()));
  for (v1::Delivery& delivery : *response->mutable_deliveries()) tasks.push_back(ToDelivery(&delivery));
  bool tell;
  {
    MutexLock lock(mu_);
    if (reactor != reactor_) return;
    if (response->has_welcome()) TakeWelcome(response->welcome(), &cancels);
    const absl::Duration now = Elapsed();
    std::erase_if(tasks, [&](const TaskDelivery& task)
                             ABSL_NO_THREAD_SAFETY_ANALYSIS { return !core_.OnDelivery(task, now, &cancels); });
    if (response->acknowledged_frame() != 0) core_.OnAcknowledged(response->acknowledged_frame());
    for (const v1::Refusal& refusal : response->refusals()) TakeRefusal(refusal, &cancels);
    for (TaskId task : ToIds(response->cancelled_task_ids())) {
      if (auto cancel = core_.OnCancelled(task)) cancels.push_back(*cancel);
    }
    if (response->drain() && !std::exchange(asked_to_drain_, true)) {
      LogFor("worker").info("asked to drain running={}", core_.running());
      core_.Drain();
      executor_->Clear();
    }
    if (core_.NextDeadline() < keeper_wakes_at_) keeper_due_.Signal();
    WriteNext();
    tell = core_.draining();
  }
  // After the lock, and before what they name may be delivered again: reads are one after the other.
  CancelAll(cancels);
  if (!tasks.empty()) executor_->Submit(std::move(tasks));
  if (tell) changed_.SignalAll();
}

void BrokerSession::TakeWelcome(const v1::Welcome& welcome, std::vector<WorkerCore::Cancel>* cancels) {
  session_id_ = welcome.session_id();
  if (welcome.max_result_bytes() > 0) max_result_bytes_ = welcome.max_result_bytes();
  const std::vector<TaskId> lost = ToIds(welcome.lost_task_ids());
  // Others of them are finished: only their acknowledgement has not come.
  const auto lost_count = std::count_if(
      lost.begin(), lost.end(), [this](TaskId task) ABSL_NO_THREAD_SAFETY_ANALYSIS { return core_.Holds(task); });
  *cancels = core_.OnWelcome(welcome.resumed(), ToDuration(welcome.lease()), lost, ToIds(welcome.cancelled_task_ids()),
                             Elapsed());
  welcomed_ = true;
  away_reason_.clear();
  LogFor("worker").info("connected broker={} resumed={} lost={}", options_.broker, welcome.resumed(), lost_count);
  keeper_due_.Signal();
}

void BrokerSession::TakeRefusal(const v1::Refusal& refusal, std::vector<WorkerCore::Cancel>* cancels) {
  if (refusal.reason() == v1::Refusal::REASON_INVALID) {
    LogFor("worker").error("report refused task={} problem=\"{}\"", refusal.task_id(), refusal.message());
  }
  if (refusal.reason() != v1::Refusal::REASON_STALE_LEASE) return;
  const TaskId task = TaskId::Parse(refusal.task_id()).value_or(TaskId());
  if (auto cancel = core_.OnStale(task, refusal.fencing_token())) cancels->push_back(*cancel);
}

void BrokerSession::OnDone(Reactor* reactor, const absl::Status& status) {
  std::vector<WorkerCore::Cancel> cancels;
  {
    MutexLock lock(mu_);
    if (reactor != reactor_) return;
    reactor_ = nullptr;
    ended_ = true;
    if (!std::exchange(welcomed_, false) && IsForGood(status)) {
      refused_ = Annotate(status, "the broker at " + options_.broker + " refuses this worker");
    }
    writing_ = false;
    core_.OnDisconnected();
    if (absl::IsNotFound(status) && !session_id_.empty()) {
      // The session has ended: what we hold was given to others. A new one begins with the next Hello.
      session_id_.clear();
      cancels = core_.OnSessionLost();
      LogFor("worker").warn("session lost broker={} running={}; beginning a new one", options_.broker, cancels.size());
    }
    reconnect_at_ = Elapsed() + core_.NextBackoff(RandomFraction());
    const std::string reason(ToStd(status.message()));
    if (!closing_ && refused_.ok() && away_reason_ != reason) {  // once, not at every attempt
      LogFor("worker").warn("disconnected broker={} reason=\"{}\"; connecting again", options_.broker, reason);
      away_reason_ = reason;
    }
  }
  CancelAll(cancels);
  keeper_due_.Signal();
  changed_.SignalAll();
}

void BrokerSession::OnGone() {
  MutexLock lock(mu_);
  --reactors_;
  changed_.SignalAll();
}

void BrokerSession::CancelAll(const std::vector<WorkerCore::Cancel>& cancels) {
  for (const WorkerCore::Cancel& cancel : cancels) executor_->Cancel(cancel.task, cancel.token, cancel.reason);
}

// --- what is due by time ---

void BrokerSession::Keep() {
  while (true) {
    std::vector<WorkerCore::Cancel> cancels;
    {
      MutexLock lock(mu_);
      if (closing_) return;
      absl::Duration now = Elapsed();
      keeper_wakes_at_ = std::min(core_.NextDeadline(), now + kKeeperMax);
      if (reactor_ == nullptr && refused_.ok()) keeper_wakes_at_ = std::min(keeper_wakes_at_, reconnect_at_);
      keeper_due_.WaitFor(mu_, std::max(keeper_wakes_at_ - now, kKeeperMin));
      if (closing_) return;
      now = Elapsed();
      cancels = core_.OnTime(now);
      for (const WorkerCore::Cancel& cancel : cancels) {
        LogFor("worker").warn("attempt timed out task={}; its handler keeps its slot until it returns",
                              cancel.task.ToString());
      }
      if (reactor_ == nullptr && now >= reconnect_at_ && refused_.ok()) Connect();
      WriteNext();
    }
    CancelAll(cancels);
  }
}

// --- the handlers' side ---

std::vector<bool> BrokerSession::OnTurn(std::span<Executor::Ended> ended, std::span<const TaskDelivery> next) {
  std::vector<bool> start;
  start.reserve(next.size());
  bool tell;
  {
    MutexLock lock(mu_);
    const absl::Duration now = Elapsed();
    for (Executor::Ended& run : ended) core_.OnFinish(run.task, run.token, std::move(run.outcome), now);
    tell = !ended.empty() && core_.draining();
    for (const TaskDelivery& task : next) start.push_back(core_.OnStart(task.id, task.fencing_token, now));
    if (!next.empty() && core_.NextDeadline() < keeper_wakes_at_) keeper_due_.Signal();
    WriteNext();
  }
  if (tell) changed_.SignalAll();
  return start;
}

void BrokerSession::OnProgress(TaskId task, uint64_t token, double percent, std::string text) {
  MutexLock lock(mu_);
  core_.OnProgress(task, token, percent, std::move(text));
  WriteNext();
}

void BrokerSession::OnCheckpoint(TaskId task, uint64_t token, std::string checkpoint) {
  MutexLock lock(mu_);
  core_.OnCheckpoint(task, token, std::move(checkpoint));
  WriteNext();
}

void BrokerSession::OnLog(TaskId task, uint64_t token, std::string line) {
  MutexLock lock(mu_);
  core_.OnLog(task, token, absl::Now(), std::move(line));
  WriteNext();
}

// --- the end ---

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
    core_.Drain();
    executor_->Clear();
    WriteNext();
    changed_.SignalAll();
    if (!WaitUntil(grace, [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return core_.running() == 0; })) {
      cancels = core_.RunningTasks();
      LogFor("worker").warn("drain grace is over running={}; cancelling them", core_.running());
    }
  }
  CancelAll(cancels);
  {
    MutexLock lock(mu_);
    if (!cancels.empty()) {
      WaitUntil(kAfterCancel, [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return core_.running() == 0; });
      core_.HandBackRunning();
      WriteNext();
    }
    // The keeper goes on connecting if the broker is away: tasks that are done should not run again because it
    // restarts.
    if (!core_.settled() && !welcomed_ && refused_.ok()) {
      LogFor("worker").info("waiting for the broker to take the last outcomes outcomes={} at_most={}",
                            core_.unconfirmed(), absl::FormatDuration(kFlush));
    }
    if (!WaitUntil(kFlush, [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return core_.settled() || !refused_.ok(); })) {
      // It may have taken them all the same.
      LogFor("worker").warn("the broker did not confirm the last outcomes; their tasks may run again outcomes={}",
                            core_.unconfirmed());
    }
    closing_ = true;
    if (reactor_ != nullptr && welcomed_) {
      goodbye_ = true;
      WriteNext();
      WaitUntil(kGoodbye, [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return reactor_ == nullptr; });
    }
    if (reactor_ != nullptr) reactor_->Cancel();
    while (reactors_ > 0) changed_.Wait(mu_);
  }
  keeper_due_.SignalAll();
  if (keeper_.joinable()) keeper_.join();
  // Here and not in the destructor, which may run on gRPC's thread: the last channel must not be closed there, for gRPC
  // then waits for that very thread.
  stub_.reset();
  {
    MutexLock lock(mu_);
    stopped_ = true;
  }
  changed_.SignalAll();
}

absl::Status BrokerSession::Wait() {
  MutexLock lock(mu_);
  while (!stopping_ && refused_.ok() && !(asked_to_drain_ && core_.idle())) changed_.Wait(mu_);
  return refused_;
}

int BrokerSession::running() const {
  MutexLock lock(mu_);
  return core_.running();
}

}  // namespace penstock
