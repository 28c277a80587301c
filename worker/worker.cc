#include "worker/worker.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <map>
#include <thread>
#include <utility>
#include <vector>

#include "common/logging.h"
#include "common/status.h"
#include "common/status_details.h"
#include "worker/broker_session.h"
#include "worker/executor.h"

namespace penstock {

struct Worker::Parts {
  WorkerOptions options;
  std::map<std::string, RawHandler> handlers;
  std::map<std::string, HandlerOptions> handler_options;
  std::vector<Middleware> middleware;
  absl::Status registration;  // the first mistake
  std::shared_ptr<BrokerSession> session;
  std::unique_ptr<Executor> executor;
  bool started = false;
  bool stopped = false;
};

Worker::Worker(WorkerOptions options) : parts_(std::make_unique<Parts>()) { parts_->options = std::move(options); }

Worker::~Worker() { Stop(); }

void Worker::RegisterRaw(std::string type, RawHandler handler, HandlerOptions options) {
  absl::Status problem;
  if (type.empty() || type.size() > 128) {
    problem = InvalidField("type", "must have 1 to 128 characters, is '" + type + "'");
  } else if (parts_->handlers.contains(type)) {
    problem = InvalidField("type", type + " is registered twice");
  } else if (options.max_concurrency < 0 || options.max_concurrency > 1'000) {
    problem = InvalidField("max_concurrency", "of type " + type + " must be 0 to 1,000");
  } else if (parts_->started) {
    problem = InvalidField("type", type + " is registered after the start");
  }
  if (!problem.ok()) {
    if (parts_->registration.ok()) parts_->registration = problem;
    return;
  }
  parts_->handler_options[type] = options;
  parts_->handlers[std::move(type)] = std::move(handler);
}

void Worker::Use(Middleware middleware) { parts_->middleware.push_back(std::move(middleware)); }

absl::Status Worker::Start() {
  if (parts_->started) return absl::FailedPreconditionError("the worker was started already");
  RETURN_IF_ERROR(parts_->options.Validate());
  RETURN_IF_ERROR(parts_->registration);
  if (parts_->handlers.empty() || parts_->handlers.size() > 1'000) {
    return InvalidField("types", "register 1 to 1,000 handlers");
  }
  const WorkerOptions& options = parts_->options;
  WorkerCore::Options core;
  core.concurrency = options.concurrency;
  core.prefetch = options.prefetch >= 0 ? options.prefetch : std::min(options.concurrency, 64);
  core.lease = options.lease;
  core.reconnect_min = options.reconnect_min;
  core.reconnect_max = options.reconnect_max;
  std::vector<std::pair<std::string, int>> types;
  std::map<std::string, RawHandler> handlers;
  for (const auto& [type, handler] : parts_->handlers) {
    const int limit = parts_->handler_options[type].max_concurrency;
    types.emplace_back(type, limit);
    if (limit > 0) core.type_limits[type] = limit;
    RawHandler wrapped = handler;
    for (auto middleware = parts_->middleware.rbegin(); middleware != parts_->middleware.rend(); ++middleware) {
      wrapped = [outer = *middleware, inner = std::move(wrapped)](TaskContext& context, std::string_view payload) {
        return outer(context, payload, inner);
      };
    }
    handlers[type] = std::move(wrapped);
  }
  parts_->session = std::make_shared<BrokerSession>(options, std::move(core), std::move(types));
  parts_->executor = std::make_unique<Executor>(options.concurrency, std::move(handlers), parts_->session);
  parts_->started = true;
  return parts_->session->Start(parts_->executor.get());
}

void Worker::Drain() {
  if (parts_->started) parts_->session->Drain();
}

void Worker::Stop() {
  if (!parts_->started || std::exchange(parts_->stopped, true)) return;
  parts_->session->Stop(parts_->options.drain_grace);
  parts_->executor->Stop();
}

void Worker::Wait() {
  if (parts_->started) parts_->session->Wait();
}

int Worker::running() const { return parts_->started ? parts_->session->running() : 0; }

absl::Status Worker::Run() {
  // Threads made from here on inherit the mask; one of them waits for the signals.
  sigset_t signals, before;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGUSR1);  // wakes the waiting thread when the worker ends by itself
  pthread_sigmask(SIG_BLOCK, &signals, &before);
  if (absl::Status status = Start(); !status.ok()) {
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return status;
  }
  std::thread waiter([&] {
    Wait();
    kill(getpid(), SIGUSR1);
  });
  int signal_number = 0;
  sigwait(&signals, &signal_number);
  if (signal_number != SIGUSR1) {
    LogFor("worker").info("signal {}; draining", signal_number);
    // The second signal does not wait for handlers.
    std::thread([signals]() mutable {
      int again = 0;
      do {
        sigwait(&signals, &again);
      } while (again == SIGUSR1);
      _exit(128 + again);
    }).detach();
  }
  Stop();
  waiter.join();
  return absl::OkStatus();
}

}  // namespace penstock
