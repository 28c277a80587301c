#include "worker/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <thread>
#include <utility>
#include <vector>

#include "common/logging.h"
#include "common/names.h"
#include "common/status.h"
#include "common/status_details.h"
#include "fmt/format.h"
#include "worker/batch_run.h"
#include "worker/broker_session.h"
#include "worker/executor.h"

namespace penstock {

struct Worker::Parts {
  WorkerOptions options;
  std::map<std::string, RawHandler> handlers;
  std::map<std::string, Executor::Batch> batches;
  std::map<std::string, int> type_limits;  // of both; 0: none
  std::vector<Middleware> middleware;
  absl::Status registration;  // the first mistake
  std::shared_ptr<BrokerSession> session;
  std::unique_ptr<Executor> executor;
  // Set last by Start; the session and the executor live from then on.
  std::atomic<bool> started = false;

  // Whether the type may be registered; notes the first mistake.
  bool Admit(const std::string& type, int max_concurrency);
  void NoteMistake(absl::Status problem) {
    if (registration.ok()) registration = std::move(problem);
  }
};

namespace {

// As many as the broker's limits.tasks_per_worker gives one worker by default.
constexpr int kTasksMax = 1'000;

// Signals reach Run through a pipe, whichever thread they hit: the program may have made threads before, with any
// signal mask, and programs that handlers start must not inherit a changed one.
std::atomic<int> signal_pipe = -1;
std::atomic<int> signal_count = 0;

void OnSignal(int number) {
  const int saved = errno;
  if (signal_count.fetch_add(1) > 0) _exit(128 + number);  // the second does not wait for handlers
  const char byte = static_cast<char>(number);
  [[maybe_unused]] const ssize_t written = write(signal_pipe.load(), &byte, 1);
  errno = saved;
}

}  // namespace

Worker::Worker(WorkerOptions options) : parts_(std::make_unique<Parts>()) { parts_->options = std::move(options); }

Worker::~Worker() { Stop(); }

bool Worker::Parts::Admit(const std::string& type, int max_concurrency) {
  absl::Status problem;
  if (const std::string wrong = ProblemOfName(type); !wrong.empty()) {
    problem = InvalidField("type", wrong);
  } else if (type_limits.contains(type)) {
    problem = InvalidField("type", type + " is registered twice");
  } else if (max_concurrency < 0 || max_concurrency > 1'000) {
    problem = InvalidField("max_concurrency", "of type " + type + " must be 0 to 1,000");
  } else if (started) {
    problem = InvalidField("type", type + " is registered after the start");
  }
  if (problem.ok()) {
    type_limits[type] = max_concurrency;
    return true;
  }
  NoteMistake(std::move(problem));
  return false;
}

void Worker::RegisterRaw(std::string type, RawHandler handler, HandlerOptions options) {
  if (!parts_->Admit(type, options.max_concurrency)) return;
  parts_->handlers[std::move(type)] = std::move(handler);
}

void Worker::RegisterRawBatch(std::string type, RawBatchHandler handler, BatchOptions options) {
  if (!parts_->Admit(type, options.max_concurrency)) return;
  const int slots = options.max_concurrency > 0 ? std::min(options.max_concurrency, parts_->options.concurrency)
                                                : parts_->options.concurrency;
  if (options.max_size < 0 || options.max_size > slots) {
    return parts_->NoteMistake(InvalidField(
        "max_size", fmt::format("of type {} must be 1 to {}, the tasks of it that run at once, or 0 for these; is {}. "
                                "Raise concurrency for larger batches",
                                type, slots, options.max_size)));
  }
  if (options.max_wait < absl::ZeroDuration() || options.max_wait > absl::Seconds(10)) {
    return parts_->NoteMistake(InvalidField("max_wait", "of type " + type + " must be 0 to 10 s"));
  }
  if (options.max_size == 0) options.max_size = slots;
  parts_->batches[std::move(type)] = {std::move(handler), options};
}

void Worker::Use(Middleware middleware) { parts_->middleware.push_back(std::move(middleware)); }

absl::Status Worker::Start() {
  if (parts_->started) return absl::FailedPreconditionError("the worker was started already");
  RETURN_IF_ERROR(parts_->options.Validate());
  RETURN_IF_ERROR(parts_->registration);
  if (parts_->type_limits.empty() || parts_->type_limits.size() > 1'000) {
    return InvalidField("types", "register 1 to 1,000 handlers");
  }
  const WorkerOptions& options = parts_->options;
  WorkerCore::Options core;
  core.concurrency = options.concurrency;
  core.prefetch = options.prefetch >= 0 ? options.prefetch : std::min(options.concurrency, 64);
  std::vector<std::pair<std::string, int>> types;
  for (const auto& [type, limit] : parts_->type_limits) {
    types.emplace_back(type, limit);
    if (limit > 0) core.type_limits[type] = limit;
  }
  std::map<std::string, RawHandler> handlers;
  for (const auto& [type, handler] : parts_->handlers) {
    RawHandler wrapped = handler;
    for (auto middleware = parts_->middleware.rbegin(); middleware != parts_->middleware.rend(); ++middleware) {
      wrapped = [outer = *middleware, inner = std::move(wrapped)](TaskContext& context, std::string_view payload) {
        return outer(context, payload, inner);
      };
    }
    handlers[type] = std::move(wrapped);
  }
  std::map<std::string, Executor::Batch> batches;
  for (const auto& [type, batch] : parts_->batches) {
    batches[type] = {WrapBatch(batch.handler, parts_->middleware), batch.options};
    core.batch_waits[type] = batch.options.max_wait;
    // The next batch gathers while one runs.
    if (options.prefetch < 0) {
      core.prefetch = std::max(core.prefetch, std::min(batch.options.max_size, kTasksMax - options.concurrency));
    }
  }
  core.prefetch_most = options.prefetch >= 0 ? core.prefetch : std::max(core.prefetch, kTasksMax - options.concurrency);
  core.lease = options.lease;
  core.reconnect_min = options.reconnect_min;
  core.reconnect_max = options.reconnect_max;
  auto session = std::make_shared<BrokerSession>(options, std::move(core), std::move(types));
  auto executor = std::make_unique<Executor>(options.concurrency, std::move(handlers), session, std::move(batches));
  RETURN_IF_ERROR(session->Start(executor.get()));
  parts_->session = std::move(session);
  parts_->executor = std::move(executor);
  parts_->started = true;
  return absl::OkStatus();
}

void Worker::Drain() {
  if (parts_->started) parts_->session->Drain();
}

void Worker::Stop() {
  if (!parts_->started) return;
  parts_->session->Stop(parts_->options.drain_grace);
  parts_->executor->Stop();
}

absl::Status Worker::Wait() { return parts_->started ? parts_->session->Wait() : absl::OkStatus(); }

int Worker::running() const { return parts_->started ? parts_->session->running() : 0; }

absl::Status Worker::Run() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "cannot make a pipe for signals");
  int none = -1;
  if (!signal_pipe.compare_exchange_strong(none, ends[1])) {
    close(ends[0]);
    close(ends[1]);
    return absl::FailedPreconditionError("another worker of this process is in Run; use Start, Wait and Stop");
  }
  signal_count = 0;
  struct sigaction action = {}, before_term = {}, before_int = {};
  action.sa_handler = OnSignal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  sigaction(SIGTERM, &action, &before_term);
  sigaction(SIGINT, &action, &before_int);
  absl::Status status = Start();
  if (status.ok()) {
    absl::Status refused;
    std::thread drained([&] {
      refused = Wait();
      const char byte = 0;
      [[maybe_unused]] const ssize_t written = write(ends[1], &byte, 1);
    });
    char byte = 0;
    while (read(ends[0], &byte, 1) < 0 && errno == EINTR) {
    }
    if (byte != 0) LogFor("worker").info("signal {}; draining running={}", static_cast<int>(byte), running());
    Stop();
    drained.join();
    status = refused;
  }
  sigaction(SIGTERM, &before_term, nullptr);
  sigaction(SIGINT, &before_int, nullptr);
  signal_pipe = -1;
  close(ends[0]);
  close(ends[1]);
  return status;
}

}  // namespace penstock
