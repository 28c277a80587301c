// penstock-broker: options, signals, a Server, and nothing that a test would miss.

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

#include <iostream>
#include <thread>

#include "broker/offline_main.h"
#include "broker/options.h"
#include "broker/server.h"
#include "common/config/loader.h"
#include "common/lock_checks.h"
#include "common/logging.h"
#include "common/service_manager.h"
#include "common/text.h"
#include "common/version.h"

int main(int argc, char** argv) {
  penstock::TurnOffLockChecks();
  using penstock::broker::Server;
  penstock::broker::BrokerOptions options;
  penstock::OptionSet set;
  penstock::broker::DeclareOptions(&options, &set);
  penstock::broker::OfflineFlags offline;
  const penstock::ProgramText program = {
      "penstock-broker", penstock::kVersion, "Keeps tasks safe and hands them to workers.",
      "  penstock-broker                                   listen on 127.0.0.1:7420, data in ./penstock-data\n"
      "  penstock-broker --data-dir /var/lib/penstock      data elsewhere\n"
      "  penstock-broker --config broker.yaml --check-config\n"
      "  penstock-broker --data-dir /var/lib/penstock --verify\n"
      "  penstock-broker --restore /backup/penstock/default --data-dir /var/lib/penstock-new\n"
      "  penstock-broker --data-dir /var/lib/penstock --repair --to /var/lib/penstock-saved\n"
      "  penstock-broker --data-dir /backup/copy --paused-fork     look at it with penstock",
      penstock::broker::DeclareOfflineFlags(&offline)};
  if (auto code = penstock::LoadOptions(
          program, argc, argv, penstock::ReadEnvironment(), [&] { return options.Validate(); }, &set, std::cout,
          std::cerr)) {
    return *code;
  }
  // A program that only prints a report says nothing beside it, unless something is wrong.
  const std::string level = penstock::broker::IsOffline(offline) ? "warn" : options.log.level;
  if (absl::Status status = penstock::SetUpLogging({level, options.log.format, options.log.file}); !status.ok()) {
    std::cerr << "penstock-broker: " << status.message() << "\n";
    return penstock::kExitConfig;
  }
  if (auto code = penstock::broker::RunOffline(offline, options, std::cout, std::cerr)) return *code;
  // As many files as the system allows: the limit that programs start with is for those that use select().
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  // Every thread inherits the mask; one waits for the signals.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);

  auto server = offline.paused_fork ? Server::StartPausedFork(options) : Server::Start(options);
  if (!server.ok()) {
    penstock::LogFor("server").critical("cannot start: {}", penstock::ToStd(server.status().message()));
    return penstock::broker::ExitCodeOf(server.status());
  }
  std::thread([&signals, &server] {
    int signal_number = 0;
    while (sigwait(&signals, &signal_number) != 0 || signal_number == SIGUSR1) {
      (*server)->ScrubNow();
    }
    penstock::LogFor("server").info("signal {}", signal_number);
    (*server)->RequestStop();
    // A second signal does not wait for anything.
    while (sigwait(&signals, &signal_number) != 0 || signal_number == SIGUSR1) {
    }
    penstock::LogFor("server").warn("signal {} again: ending at once", signal_number);
    _exit(128 + signal_number);
  }).detach();
  penstock::NotifyServiceManager("READY=1");
  const absl::Status failure = (*server)->Wait();
  penstock::NotifyServiceManager("STOPPING=1");
  (*server)->Stop();
  if (!failure.ok()) {
    const bool damaged = absl::IsDataLoss(failure);
    penstock::LogFor("server").critical("the storage failed: {}{}", penstock::ToStd(failure.message()),
                                        damaged ? "" : "; restart the broker");
    return damaged ? penstock::broker::ExitCodeOf(failure) : penstock::broker::kExitStorage;
  }
  return 0;
}
