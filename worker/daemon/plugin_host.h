#ifndef PENSTOCK_WORKER_DAEMON_PLUGIN_HOST_H_
#define PENSTOCK_WORKER_DAEMON_PLUGIN_HOST_H_

#include <string>

#include "absl/status/status.h"
#include "worker/worker.h"

namespace penstock {

// Loads a plug-in (worker/plugin.h) and registers its handlers with the worker. The library stays loaded until the
// process ends. InvalidArgument says what is wrong with the file or what the plug-in said.
absl::Status LoadPlugin(const std::string& path, const std::string& options_json, HandlerOptions handler_options,
                        Worker* worker);

}  // namespace penstock

#endif  // PENSTOCK_WORKER_DAEMON_PLUGIN_HOST_H_
