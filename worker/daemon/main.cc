// penstock-worker: runs plug-ins and commands for tasks.

#include <signal.h>

#include <iostream>

#include "common/config/loader.h"
#include "common/lock_checks.h"
#include "common/text.h"
#include "common/version.h"
#include "worker/daemon/daemon_options.h"
#include "worker/daemon/plugin_host.h"
#include "worker/daemon/process_groups.h"
#include "worker/worker.h"

int main(int argc, char** argv) {
  penstock::TurnOffLockChecks();
  signal(SIGPIPE, SIG_IGN);  // a command may end without having read its payload
  penstock::DaemonOptions options;
  penstock::OptionSet set;
  penstock::DeclareOptions(&options, &set);
  const penstock::ProgramText program = {"penstock-worker", penstock::kVersion,
                                         "Runs plug-ins and commands for the tasks of a Penstock broker.",
                                         "  penstock-worker --config worker.yaml\n"
                                         "  penstock-worker --config worker.yaml --check-config"};
  if (auto code = penstock::LoadOptions(
          program, argc, argv, penstock::ReadEnvironment(),
          [&] {
            penstock::ConfigErrors errors = options.Validate();
            return errors.empty() ? penstock::CheckHandlers(options.handlers) : errors;
          },
          &set, std::cout, std::cerr)) {
    return *code;
  }
  auto fail = [](const absl::Status& status) {
    std::cerr << "penstock-worker: " << status.message() << "\n";
    return penstock::kExitConfig;
  };
  if (absl::Status status = penstock::SetUpLogging(options.log); !status.ok()) return fail(status);
  penstock::Worker worker(options.worker);
  for (const penstock::HandlerEntry& entry : options.handlers) {
    if (entry.plugin.empty()) {
      worker.RegisterRaw(
          entry.type,
          [command = entry.command](penstock::TaskContext& context, std::string_view payload) {
            return penstock::RunCommand(command, context, payload);
          },
          entry.options);
    } else if (absl::Status status = penstock::LoadPlugin(entry.plugin, entry.options_json, entry.options, &worker);
               !status.ok()) {
      return fail(status);
    }
  }
  const absl::Status status = worker.Run();
  penstock::KillRunningGroups();
  return status.ok() ? 0 : fail(status);
}
