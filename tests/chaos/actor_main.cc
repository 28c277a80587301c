// penstock-chaos-actor: a producer or a worker as services and workers are, on our libraries, that writes down what it
// sees. penstock-chaos starts and kills it. SIGTERM lets it come to its end.

#include <signal.h>

#include <cstdio>
#include <string>
#include <thread>

#include "CLI/CLI.hpp"
#include "common/lock_checks.h"
#include "common/logging.h"
#include "tests/chaos/producer_actor.h"
#include "tests/chaos/session_tap.h"
#include "tests/chaos/worker_actor.h"

namespace penstock::chaos {
namespace {

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return 1;
}

int Main(int argc, char** argv) {
  TurnOffLockChecks();
  CLI::App app("A producer or a worker that writes down what it sees of a broker.");
  app.require_subcommand(1);
  std::string history;
  int64_t clock_offset = HistoryClock().offset();
  int64_t vouched = 0;
  double lease = 3;
  ProducerOptions producer;
  WorkerActorOptions worker;
  app.add_option("--history", history, "the file that it writes")->required();
  app.add_option("--clock-offset", clock_offset, "what the history's clock is ahead of the machine's, in microseconds");
  CLI::App* produces = app.add_subcommand("producer", "enqueues tasks");
  produces->add_option("--broker", producer.broker)->required();
  produces->add_option("--name", producer.name)->required();
  produces->add_option("--seed", producer.seed);
  produces->add_option("--calls-from", producer.calls_from, "its calls' numbers begin behind this");
  produces->add_option("--rate", producer.calls_per_second, "calls a second")->capture_default_str();
  produces->add_flag("--lie", producer.lie, "claims, once, that what it never sent was acknowledged");
  CLI::App* works = app.add_subcommand("worker", "runs tasks");
  works->add_option("--broker", worker.broker)->required();
  works->add_option("--name", worker.name)->required();
  works->add_option("--seed", worker.seed);
  works->add_option("--workers", worker.workers, "so many in this process")->capture_default_str();
  works->add_option("--concurrency", worker.concurrency)->capture_default_str();
  works->add_option("--prefetch", worker.prefetch)->capture_default_str();
  works->add_option("--lease", lease, "in seconds")->capture_default_str();
  works->add_option("--vouched", vouched, "how long a lease holds at least, in microseconds");
  works->add_flag("--good", worker.good, "completes everything at once");
  works->add_option("--hold", worker.hold, "tasks run until this file is there");
  CLI11_PARSE(app, argc, argv);
  worker.lease = absl::Seconds(lease);
  if (absl::Status status = SetUpLogging({"warn", "text", ""}); !status.ok()) return Fail(status);

  // For all threads: the one that waits below takes it.
  sigset_t term;
  sigemptyset(&term);
  sigaddset(&term, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &term, nullptr);
  int signal_number = 0;
  Recorder recorder(history, HistoryClock(clock_offset));
  if (works->parsed()) {
    TapSessions(recorder, vouched);
    WorkerActor actor(worker, recorder);
    if (absl::Status status = actor.Start(); !status.ok()) return Fail(status);
    std::puts("ready");
    std::fflush(stdout);
    sigwait(&term, &signal_number);
    actor.Stop();
    return 0;
  }
  ProducerActor actor(producer, recorder);
  absl::Status status;
  std::thread run([&] { status = actor.Run(); });
  std::puts("ready");
  std::fflush(stdout);
  sigwait(&term, &signal_number);
  actor.Stop();
  run.join();
  return status.ok() ? 0 : Fail(status);
}

}  // namespace
}  // namespace penstock::chaos

int main(int argc, char** argv) { return penstock::chaos::Main(argc, argv); }
