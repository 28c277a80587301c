#include "tests/chaos/chaos_round.h"

#include <signal.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <utility>

#include "absl/time/clock.h"
#include "common/status.h"
#include "common/status_grpc.h"
#include "fmt/format.h"
#include "grpcpp/create_channel.h"
#include "tests/chaos/producer_actor.h"

namespace penstock::chaos {
namespace {

using histcheck::Event;
using histcheck::Op;
using histcheck::Phase;
using testing::Process;
using testing::TcpRelay;

constexpr absl::Duration kLease = absl::Seconds(3);
constexpr absl::Duration kGrace = absl::Milliseconds(1'500);
constexpr absl::Duration kReclaim = absl::Seconds(3);
// How long a lease surely holds after its worker was heard: the least of these, and a little less.
const absl::Duration kVouched = kGrace - absl::Milliseconds(100);
// How long a batch may be on its way from decision to disk: the broker may stand meanwhile.
constexpr absl::Duration kMaxCommit = absl::Seconds(10);
constexpr const char* kQueues[] = {kPlainQueue, kRelaxedQueue, kOrderedQueue, kNarrowQueue};
constexpr size_t kReportMost = 6'000;

std::string Micros(absl::Duration duration) { return std::to_string(absl::ToInt64Microseconds(duration)); }

std::vector<std::string> BrokerFlags() {
  return {"--sessions.grace",          absl::FormatDuration(kGrace),
          "--sessions.reclaim-window", absl::FormatDuration(kReclaim),
          "--shutdown-grace",          "1s"};
}

uint64_t NumberAfter(const std::string& text, const std::string& word) {
  const size_t at = text.find(word);
  return at == std::string::npos ? 0 : std::strtoull(text.c_str() + at + word.size(), nullptr, 10);
}

}  // namespace

ChaosRound::ChaosRound(const RoundOptions& options)
    : options_(options),
      random_(options.seed),
      broker_(options.bin, options.folder + "/data", BrokerFlags()),
      recorder_(std::make_unique<Recorder>(options.folder + "/operator.jsonl", clock_)) {
  names_.push_back("operator");
}

ChaosRound::~ChaosRound() = default;

RoundResult ChaosRound::Run() {
  absl::Status status = Prepare();
  if (status.ok()) status = RunFaults();
  if (status.ok()) status = Drain();
  if (status.ok()) status = WriteEnd();
  if (status.ok()) status = Judge();
  if (!status.ok()) result_.report = std::string(status.message());
  return result_;
}

std::string ChaosRound::HistoryOf(const std::string& name) const {
  return fmt::format("{}/{}.jsonl", options_.folder, name);
}

// --- processes ---

absl::Status ChaosRound::Prepare() {
  RETURN_IF_ERROR(broker_.Start());
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 50);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 200);
  channel_ = grpc::CreateCustomChannel(broker_.address(), grpc::InsecureChannelCredentials(), arguments);
  admin_ = v1::AdminService::NewStub(channel_);
  ASSIGN_OR_RETURN(client_, Client::Connect(broker_.address()));
  Event config = LineOf(Op::kConfig, "");
  config.max_commit = absl::ToInt64Microseconds(kMaxCommit);
  config.liveness = absl::ToInt64Microseconds(options_.liveness);
  recorder_->Write(config);
  for (const char* name : kQueues) {
    grpc::ClientContext context;
    v1::CreateQueueRequest request;
    request.mutable_queue()->set_name(name);
    if (name == kRelaxedQueue) request.mutable_queue()->mutable_settings()->set_durability(v1::DURABILITY_RELAXED);
    v1::CreateQueueResponse response;
    RETURN_IF_ERROR(FromGrpc(admin_->CreateQueue(&context, request, &response)));
  }
  RETURN_IF_ERROR(client_->Throttles()
                      .Create({.name = kThrottle, .queues = {kNarrowQueue}, .max_running = kThrottleUnits})
                      .status());
  Event limit = LineOf(Op::kLimit, "");
  limit.key = kThrottle;
  limit.n = kThrottleUnits;
  recorder_->Write(limit);
  if (options_.plant == Plant::kForget) {
    if (!broker_.End(SIGTERM)) return absl::InternalError("the broker does not stop:\n" + broker_.output());
    std::filesystem::copy(broker_.data_dir(), broker_.data_dir() + ".old", std::filesystem::copy_options::recursive);
    RETURN_IF_ERROR(broker_.Start());
  }
  for (int i = 0; i < options_.workers + options_.producers; ++i) {
    Actor* actor = actors_.emplace_back(std::make_unique<Actor>()).get();
    actor->produces = i >= options_.workers;
    actor->number = actor->produces ? i - options_.workers : i;
    actor->relay = std::make_unique<TcpRelay>(broker_.port());
    StartActor(actor);
  }
  return absl::OkStatus();
}

std::unique_ptr<Process> ChaosRound::StartWorker(const std::string& name, const std::string& broker, bool good) {
  names_.push_back(name);
  std::vector<std::string> command = {options_.bin + "/penstock-chaos-actor",
                                      "--history",
                                      HistoryOf(name),
                                      "--clock-offset",
                                      std::to_string(clock_.offset()),
                                      "worker",
                                      "--broker",
                                      broker,
                                      "--name",
                                      name,
                                      "--seed",
                                      std::to_string(random_() % 1'000'000),
                                      "--lease",
                                      std::to_string(absl::ToDoubleSeconds(kLease)),
                                      "--vouched",
                                      Micros(kVouched)};
  if (good) command.push_back("--good");
  return std::make_unique<Process>(command);
}

void ChaosRound::StartActor(Actor* actor) {
  actor->name = fmt::format("{}{}.{}", actor->produces ? "p" : "w", actor->number, ++actor->life);
  actor->stands = false;
  if (!actor->produces) {
    actor->process = StartWorker(actor->name, actor->relay->address(), false);
    return;
  }
  names_.push_back(actor->name);
  std::vector<std::string> command = {options_.bin + "/penstock-chaos-actor",
                                      "--history",
                                      HistoryOf(actor->name),
                                      "--clock-offset",
                                      std::to_string(clock_.offset()),
                                      "producer",
                                      "--broker",
                                      actor->relay->address(),
                                      "--name",
                                      actor->name,
                                      "--seed",
                                      std::to_string(random_() % 1'000'000),
                                      "--rate",
                                      std::to_string(options_.calls_per_second),
                                      "--calls-from",
                                      std::to_string(int64_t{1'000'000} * ((actor->number + 1) * 1'000 + actor->life))};
  if (options_.plant == Plant::kLie && actor->number == 0 && actor->life == 1) command.push_back("--lie");
  actor->process = std::make_unique<Process>(command);
}

absl::Status ChaosRound::EndActor(Actor* actor, int signal_number) {
  actor->process->Signal(signal_number);
  actor->process->Signal(SIGCONT);
  const int code = actor->process->Wait();
  // What it had is nobody's until the broker gives it to others.
  if (!actor->produces) recorder_->Write(LineOf(Op::kLost, actor->name));
  // One that had not come to its signal handler yet dies of it.
  if (code == 0 || code == 128 + signal_number) return absl::OkStatus();
  return absl::InternalError(fmt::format("{} ended with {}:\n{}", actor->name, code, actor->process->output()));
}

// --- faults ---

void ChaosRound::After(absl::Duration time, std::function<absl::Status()> action) {
  later_.emplace(absl::Now() + time, std::move(action));
}

absl::Status ChaosRound::WaitUntil(absl::Time time) {
  while (!later_.empty() && later_.begin()->first <= time) {
    const absl::Time due = later_.begin()->first;
    const std::function<absl::Status()> action = std::move(later_.begin()->second);
    later_.erase(later_.begin());
    absl::SleepFor(due - absl::Now());
    RETURN_IF_ERROR(action());
  }
  absl::SleepFor(time - absl::Now());
  return absl::OkStatus();
}

absl::Status ChaosRound::RunFaults() {
  RETURN_IF_ERROR(WaitUntil(absl::Now() + absl::Milliseconds(800)));
  for (int i = 0; i < options_.faults; ++i) {
    RETURN_IF_ERROR(Fault());
    if (options_.plant == Plant::kForget && i == options_.faults / 2) RETURN_IF_ERROR(Forget());
    if (broker_.up() && !broker_.running()) {
      return absl::InternalError("the broker ended by itself:\n" + broker_.output());
    }
    RETURN_IF_ERROR(WaitUntil(absl::Now() + Between(100, 800)));
  }
  return absl::OkStatus();
}

absl::Status ChaosRound::Fault() {
  const int draw = Below(20);
  if (draw < 6 && broker_.up()) return BrokerFault();
  Actor* actor = actors_[static_cast<size_t>(Below(static_cast<int>(actors_.size())))].get();
  if (draw < 11) return ActorFault(actor);
  if (draw < 18) {
    NetworkFault(actor);
  } else {
    OperatorFault();
  }
  return absl::OkStatus();
}

absl::Status ChaosRound::BrokerFault() {
  const int draw = Below(3);
  if (draw == 0 && !broker_stands_) {
    Note("broker stopped");
    broker_stands_ = true;
    broker_.Signal(SIGSTOP);
    After(Between(100, 3'000), [this] {
      if (broker_stands_ && broker_.up()) broker_.Signal(SIGCONT);
      broker_stands_ = false;
      return absl::OkStatus();
    });
    return absl::OkStatus();
  }
  return EndBroker(draw == 2 ? SIGTERM : SIGKILL);
}

absl::Status ChaosRound::EndBroker(int signal_number) {
  Note(signal_number == SIGKILL ? "broker killed" : "broker terminated");
  broker_stands_ = false;
  if (!broker_.End(signal_number)) {
    return absl::InternalError("the broker does not end as it should:\n" + broker_.output());
  }
  After(Between(0, 1'500), [this] { return broker_.Start(); });
  return absl::OkStatus();
}

absl::Status ChaosRound::Forget() {
  while (!broker_.up()) RETURN_IF_ERROR(WaitUntil(absl::Now() + absl::Milliseconds(100)));
  RETURN_IF_ERROR(EndBroker(SIGKILL));
  std::filesystem::remove_all(broker_.data_dir());
  std::filesystem::rename(broker_.data_dir() + ".old", broker_.data_dir());
  return absl::OkStatus();
}

absl::Status ChaosRound::ActorFault(Actor* actor) {
  const std::string who = actor->produces ? "producer" : "worker";
  switch (Below(3)) {
    case 0:
      Note(who + " killed");
      RETURN_IF_ERROR(EndActor(actor, SIGKILL));
      StartActor(actor);
      break;
    case 1:
      if (actor->produces || !broker_.up() || broker_stands_ || actor->slowed) return absl::OkStatus();
      Note(who + " terminated");
      RETURN_IF_ERROR(EndActor(actor, SIGTERM));
      StartActor(actor);
      break;
    default:
      if (std::exchange(actor->stands, true)) return absl::OkStatus();
      Note(who + " stopped");
      actor->process->Signal(SIGSTOP);
      // Some for longer than their lease.
      After(Between(100, 6'000), [actor, life = actor->life] {
        if (actor->life == life && actor->stands) actor->process->Signal(SIGCONT);
        if (actor->life == life) actor->stands = false;
        return absl::OkStatus();
      });
  }
  return absl::OkStatus();
}

void ChaosRound::NetworkFault(Actor* actor) {
  const int draw = Below(7);
  if (draw == 0) {
    Note("connection cut");
    return actor->relay->Cut();
  }
  if (draw == 1) {
    Note("connection reset");
    return actor->relay->Reset();
  }
  if (draw == 2) {
    Note("connection half open");
    actor->relay->HalfOpen(Below(2) == 0 ? TcpRelay::End::kNear : TcpRelay::End::kFar);
    // Nobody need wait for keepalives.
    After(Between(500, 5'000), [actor] {
      actor->relay->Cut();
      return absl::OkStatus();
    });
    return;
  }
  if (std::exchange(actor->slowed, true)) return;
  TcpRelay::Pace pace;
  if (draw == 3) {
    Note("network delayed");
    pace.delay = Between(5, 400);
  } else if (draw == 4) {
    Note("network trickles");
    pace.bytes_per_second = 200 + static_cast<size_t>(Below(20'000));
  } else if (draw == 5) {
    Note("network stopped");
    pace.stopped = true;
  } else {
    Note("connections refused");
    actor->relay->Refuse(true);
    actor->relay->Cut();
  }
  actor->relay->SetPace(pace);
  After(Between(200, 5'000), [actor] {
    actor->relay->SetPace({});
    actor->relay->Refuse(false);
    actor->slowed = false;
    return absl::OkStatus();
  });
}

template <class Call>
void ChaosRound::Ask(const char* kind, const std::string& queue, const Call& call) {
  Event line = LineOf(Op::kAsk, "operator");
  line.call = ++next_call_;
  line.kind = kind;
  line.q = queue;
  recorder_->Write(line);
  grpc::ClientContext context;
  context.set_wait_for_ready(true);
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(5));
  Event told = LineOf(Op::kTold, "operator");
  told.call = line.call;
  told.phase = call(&context, &told).ok() ? Phase::kOk : Phase::kUnknown;
  recorder_->Write(told);
}

void ChaosRound::OperatorFault() {
  const std::string queue = kQueues[Below(4)];
  if (!broker_.up() || broker_stands_) return;
  if (Below(3) == 0) {
    Note("dead tasks redriven");
    Ask("redrive", queue, [&](grpc::ClientContext* context, Event* told) {
      v1::RedriveDeadTasksRequest request;
      request.set_queue(queue);
      request.set_limit(1'000);
      v1::RedriveDeadTasksResponse response;
      const grpc::Status status = admin_->RedriveDeadTasks(context, request, &response);
      told->n = static_cast<int64_t>(response.redriven());
      return status;
    });
    return;
  }
  Note("queue paused");
  Ask("pause", queue, [&](grpc::ClientContext* context, Event*) {
    v1::PauseQueueRequest request;
    request.set_name(queue);
    v1::PauseQueueResponse response;
    return admin_->PauseQueue(context, request, &response);
  });
  After(Between(200, 3'000), [this, queue] { return Resume(queue); });
}

absl::Status ChaosRound::Resume(const std::string& queue) {
  if (!broker_.up() || broker_stands_) {
    After(absl::Milliseconds(200), [this, queue] { return Resume(queue); });
    return absl::OkStatus();
  }
  Ask("resume", queue, [&](grpc::ClientContext* context, Event*) {
    v1::ResumeQueueRequest request;
    request.set_name(queue);
    v1::ResumeQueueResponse response;
    return admin_->ResumeQueue(context, request, &response);
  });
  return absl::OkStatus();
}

// --- the end ---

absl::StatusOr<v1::ListQueuesResponse> ChaosRound::ListQueues() {
  grpc::ClientContext context;
  context.set_wait_for_ready(true);
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
  v1::ListQueuesRequest request;
  v1::ListQueuesResponse response;
  RETURN_IF_ERROR(FromGrpc(admin_->ListQueues(&context, request, &response)));
  return response;
}

absl::Status ChaosRound::Drain() {
  while (!later_.empty()) {
    const std::function<absl::Status()> action = std::move(later_.begin()->second);
    later_.erase(later_.begin());
    RETURN_IF_ERROR(action());
  }
  if (!broker_.up()) RETURN_IF_ERROR(broker_.Start());
  recorder_->Write(LineOf(Op::kQuiet, ""));
  const absl::Time limit = absl::Now() + options_.liveness;
  // Producers wait for their answers; workers hand back what they have.
  for (bool produces : {true, false}) {
    for (auto& actor : actors_) {
      if (actor->produces == produces) actor->process->Signal(SIGTERM);
    }
    for (auto& actor : actors_) {
      if (actor->produces == produces) RETURN_IF_ERROR(EndActor(actor.get(), SIGTERM));
    }
  }
  for (const char* queue : kQueues) RETURN_IF_ERROR(Resume(queue));
  std::vector<std::unique_ptr<Process>> good;
  for (int i = 0; i < 2; ++i) good.push_back(StartWorker(fmt::format("good{}", i), broker_.address(), true));
  while (true) {
    ASSIGN_OR_RETURN(const v1::ListQueuesResponse list, ListQueues());
    uint64_t left = 0;
    for (const v1::Queue& queue : list.queues()) {
      const v1::QueueStats& stats = queue.stats();
      left += stats.scheduled() + stats.available() + stats.running() + stats.retryable();
    }
    if (left == 0) {
      recorder_->Write(LineOf(Op::kDrained, ""));
      break;
    }
    if (absl::Now() > limit) break;  // the checker says so
    absl::SleepFor(absl::Milliseconds(50));
  }
  for (auto& worker : good) {
    worker->Signal(SIGTERM);
    if (worker->Wait() != 0) return absl::InternalError("a good worker does not end:\n" + worker->output());
  }
  return absl::OkStatus();
}

absl::StatusOr<histcheck::History> ChaosRound::ReadHistory() const {
  histcheck::History all;
  for (const std::string& name : names_) {
    std::ifstream in(HistoryOf(name), std::ios::binary);
    std::stringstream whole;
    // A last line without an end was cut off by a kill: whoever wrote it had done nothing after it.
    for (std::string line; std::getline(in, line) && !in.eof();) whole << line << "\n";
    std::string error;
    if (!histcheck::Read(whole, &all, &error)) return absl::InternalError(HistoryOf(name) + ": " + error);
  }
  std::stable_sort(all.begin(), all.end(), [](const Event& a, const Event& b) { return a.t < b.t; });
  return all;
}

absl::Status ChaosRound::WriteEnd() {
  std::set<uint64_t> tasks;
  ASSIGN_OR_RETURN(const histcheck::History history, ReadHistory());
  for (const Event& event : history) {
    if (event.op == Op::kDeliver || (event.op == Op::kEnqueued && event.phase == Phase::kOk)) tasks.insert(event.task);
  }
  for (uint64_t task : tasks) {
    Event line = LineOf(Op::kTask, "");
    line.task = task;
    const absl::StatusOr<TaskInfo> info = client_->GetTask(TaskId(task));
    if (info.ok()) {
      line.state = ToString(info->state);
    } else if (absl::IsNotFound(info.status())) {
      line.state = "gone";
    } else {
      return Annotate(info.status(), "a task cannot be read at the end");
    }
    recorder_->Write(line);
  }
  ASSIGN_OR_RETURN(const v1::ListQueuesResponse list, ListQueues());
  for (const v1::Queue& queue : list.queues()) {
    const v1::QueueStats& stats = queue.stats();
    Event line = LineOf(Op::kCounters, "");
    line.q = queue.name();
    auto number = [](uint64_t count) { return static_cast<int64_t>(count); };
    line.counts = {number(stats.scheduled()),       number(stats.available()),    number(stats.running()),
                   number(stats.retryable()),       number(stats.dead()),         number(stats.enqueued_total()),
                   number(stats.completed_total()), number(stats.failed_total()), number(stats.cancelled_total()),
                   number(stats.dead_total())};
    recorder_->Write(line);
  }
  if (!broker_.End(SIGTERM)) return absl::InternalError("the broker does not stop:\n" + broker_.output());
  return absl::OkStatus();
}

absl::Status ChaosRound::Judge() {
  ASSIGN_OR_RETURN(const histcheck::History all, ReadHistory());
  const std::string path = options_.folder + "/history.jsonl";
  {
    std::ofstream out(path, std::ios::binary);
    histcheck::Write(all, out);
    if (!out.flush()) return absl::InternalError(path + " cannot be written");
  }
  Process checker({options_.bin + "/penstock-histcheck", path});
  const int code = checker.Wait();
  const std::string output = checker.output();
  result_.passed = code == 0;
  result_.report = output.substr(0, kReportMost);
  std::istringstream lines(output);
  for (std::string line; std::getline(lines, line);) {
    // "  rule: what"; lines of the history stand further in.
    if (line.size() > 2 && line.compare(0, 2, "  ") == 0 && line[2] != ' ') {
      ++result_.broken[line.substr(2, line.find(':') - 2)];
    }
  }
  result_.tasks = NumberAfter(output, " tasks=");
  result_.completions = NumberAfter(output, " completions=");
  result_.deliveries = NumberAfter(output, " deliveries=");
  result_.redeliveries = NumberAfter(output, " redeliveries=");
  result_.refusals = NumberAfter(output, " refusals=");
  return absl::OkStatus();
}

}  // namespace penstock::chaos
