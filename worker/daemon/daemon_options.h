#ifndef PENSTOCK_WORKER_DAEMON_DAEMON_OPTIONS_H_
#define PENSTOCK_WORKER_DAEMON_DAEMON_OPTIONS_H_

#include <string>
#include <vector>

#include "common/config/config_errors.h"
#include "common/config/option_set.h"
#include "common/logging.h"
#include "worker/daemon/command_handler.h"
#include "worker/options.h"

namespace penstock {

// One entry of `handlers`: a plug-in, or a command for a type.
struct HandlerEntry {
  std::string plugin;        // path of a shared library; empty: a command
  std::string options_json;  // for the plug-in
  std::string type;          // of the command
  CommandOptions command;
  HandlerOptions options;
  std::string where;  // in the file, for messages
  std::string name;   // "handlers[2]"
};

// penstock-worker's options; deploy/worker.yaml shows them all.
struct DaemonOptions {
  WorkerOptions worker;
  LogOptions log;
  YamlNode labels_node;  // worker.labels is filled by Validate from it
  YamlNode handlers_node;
  std::vector<HandlerEntry> handlers;  // filled by Validate from the node

  ConfigErrors Validate();
};

// What is wrong with the programs, folders and plug-ins that handlers name, on this machine: whether they exist and can
// be run. Loads plug-ins, but initialises none.
ConfigErrors CheckHandlers(const std::vector<HandlerEntry>& handlers);

void DeclareOptions(DaemonOptions* options, OptionSet* set);

}  // namespace penstock

#endif  // PENSTOCK_WORKER_DAEMON_DAEMON_OPTIONS_H_
