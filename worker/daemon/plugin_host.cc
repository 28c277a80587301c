#include "worker/daemon/plugin_host.h"

#include <dlfcn.h>

#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "common/logging.h"
#include "common/version.h"
#include "fmt/format.h"
#include "worker/plugin.h"

namespace penstock {
namespace {

penstock_text Text(std::string_view text) { return {text.data(), text.size()}; }
std::string String(penstock_text text) { return text.size == 0 ? std::string() : std::string(text.data, text.size); }

constexpr double kSecondsMax = 365.0 * 86'400;
absl::Duration Seconds(double seconds) {
  if (!(seconds > 0)) return absl::ZeroDuration();  // NaN too
  return absl::Seconds(std::min(seconds, kSecondsMax));
}

// What one run of a handler tells. Lives while the handler runs.
struct Run {
  TaskContext* context;
  std::optional<Outcome> outcome;  // the first that was told counts

  static Run& Of(penstock_run_context* context) { return *reinterpret_cast<Run*>(context); }
  void Tell(Outcome told) {
    if (!outcome) outcome = std::move(told);
  }
};

penstock_run RunFunctions(Run* run) {
  penstock_run functions = {};
  functions.struct_size = sizeof(functions);
  functions.context = reinterpret_cast<penstock_run_context*>(run);
  functions.progress = [](penstock_run_context* context, double percent, penstock_text text) {
    const double clamped = percent >= 0 ? std::min(percent, 100.0) : 0;
    Run::Of(context).context->Progress(clamped, String(text).substr(0, 1 << 10));
  };
  functions.log = [](penstock_run_context* context, penstock_text line) {
    Run::Of(context).context->Log(String(line));
  };
  functions.is_cancelled = [](penstock_run_context* context) { return Run::Of(context).context->cancelled() ? 1 : 0; };
  functions.done = [](penstock_run_context* context, penstock_text result, penstock_text content_type) {
    Run::Of(context).Tell(Outcome::Done(String(result), String(content_type)));
  };
  functions.retry = [](penstock_run_context* context, penstock_text type, penstock_text message) {
    Run::Of(context).Tell(Outcome::Retry({String(type), String(message), ""}));
  };
  functions.retry_after = [](penstock_run_context* context, double seconds, penstock_text type, penstock_text message) {
    Run::Of(context).Tell(Outcome::RetryAfter(Seconds(seconds), {String(type), String(message), ""}));
  };
  functions.snooze = [](penstock_run_context* context, double seconds) {
    Run::Of(context).Tell(Outcome::Snooze(Seconds(seconds)));
  };
  functions.reject = [](penstock_run_context* context, penstock_text type, penstock_text message) {
    Run::Of(context).Tell(Outcome::Reject({String(type), String(message), ""}));
  };
  return functions;
}

Outcome RunPlugin(penstock_handler handler, void* user_data, TaskContext& context, std::string_view payload) {
  const std::string id = context.id().ToString();
  std::vector<penstock_header> headers;
  for (const auto& [key, value] : context.headers()) headers.push_back({Text(key), Text(value)});
  penstock_task task = {};
  task.struct_size = sizeof(task);
  task.attempt = context.attempt();
  task.max_attempts = context.max_attempts();
  task.header_count = static_cast<uint32_t>(headers.size());
  task.headers = headers.data();
  task.id = Text(id);
  task.queue = Text(context.queue());
  task.type = Text(context.type());
  task.payload = Text(payload);
  task.content_type = Text(context.content_type());
  task.fencing_token = context.fencing_token();
  task.deadline_unix_micros = context.deadline() == absl::InfiniteFuture() ? 0 : absl::ToUnixMicros(context.deadline());
  Run run{&context, std::nullopt};
  const penstock_run functions = RunFunctions(&run);
  handler(user_data, &task, &functions);
  // Of a cancelled run only a completion still counts.
  if (context.cancelled() && (!run.outcome || run.outcome->kind() != Outcome::Kind::kDone)) {
    return context.cancel_reason() == CancelReason::kShutdown ? Outcome::Release() : Outcome::Cancelled();
  }
  if (!run.outcome) {
    return Outcome::Retry({"no outcome", "the plug-in's handler returned without an outcome", ""});
  }
  return *std::move(run.outcome);
}

struct Loading {
  std::vector<std::pair<std::string, std::pair<penstock_handler, void*>>> handlers;
  std::string error;

  static Loading& Of(penstock_host_context* context) { return *reinterpret_cast<Loading*>(context); }
};

}  // namespace

absl::Status LoadPlugin(const std::string& path, const std::string& options_json, HandlerOptions handler_options,
                        Worker* worker) {
  auto wrong = [&](const std::string& what) {
    return absl::InvalidArgumentError(fmt::format("plug-in {}: {}", path, what));
  };
  void* const library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return wrong(dlerror());
  const auto init = reinterpret_cast<penstock_plugin_init_function>(dlsym(library, PENSTOCK_PLUGIN_INIT_SYMBOL));
  if (init == nullptr) return wrong("it defines no penstock_plugin_init; see worker/plugin.h");
  Loading loading;
  penstock_host host = {};
  host.struct_size = sizeof(host);
  host.abi_version = PENSTOCK_PLUGIN_ABI_VERSION;
  host.context = reinterpret_cast<penstock_host_context*>(&loading);
  host.host_version = Text(kVersion);
  host.options_json = Text(options_json);
  host.register_handler = [](penstock_host_context* context, penstock_text type, penstock_handler handler,
                             void* user_data) {
    Loading& self = Loading::Of(context);
    const std::string name = String(type);
    if (name.empty() || name.size() > 128) {
      self.error = fmt::format("'{}' is no valid type", name);
      return 1;
    }
    self.handlers.push_back({name, {handler, user_data}});
    return 0;
  };
  host.set_error = [](penstock_host_context* context, penstock_text message) {
    Loading::Of(context).error = String(message);
  };
  host.log = [](penstock_host_context*, penstock_text line) { LogFor("plugin").info("{}", String(line)); };
  penstock_plugin plugin = {};
  plugin.struct_size = sizeof(plugin);
  const int result = init(&host, &plugin);
  if (plugin.abi_version != PENSTOCK_PLUGIN_ABI_VERSION) {
    return wrong(fmt::format("it speaks version {} of the ABI, this worker {}", plugin.abi_version,
                             PENSTOCK_PLUGIN_ABI_VERSION));
  }
  if (result != 0) return wrong(loading.error.empty() ? "it could not start and did not say why" : loading.error);
  if (loading.handlers.empty()) return wrong("it registered no handler");
  for (const auto& [type, entry] : loading.handlers) {
    worker->RegisterRaw(
        type,
        [handler = entry.first, user_data = entry.second](TaskContext& context, std::string_view payload) {
          return RunPlugin(handler, user_data, context, payload);
        },
        handler_options);
    LogFor("plugin").info("loaded plugin={} version={} type={}", String(plugin.name), String(plugin.version), type);
  }
  return absl::OkStatus();
}

}  // namespace penstock
