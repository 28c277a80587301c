#include "worker/daemon/plugin_host.h"

#include <dlfcn.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "common/logging.h"
#include "common/mutex.h"
#include "common/names.h"
#include "common/status.h"
#include "common/text.h"
#include "common/version.h"
#include "fmt/format.h"
#include "worker/daemon/task_json.h"
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

CoolScope ToScope(int32_t scope) {
  switch (scope) {
    case PENSTOCK_COOL_QUEUE:
      return CoolScope::kQueue;
    case PENSTOCK_COOL_TYPE:
      return CoolScope::kType;
    case PENSTOCK_COOL_GROUP:
      return CoolScope::kGroup;
    case PENSTOCK_COOL_KEY:
      return CoolScope::kKey;
    default:
      return CoolScope::kTask;
  }
}

absl::Status Enqueue(TaskContext& context, const std::string& queue, const std::string& type, std::string payload,
                     const std::string& options_json) {
  ASSIGN_OR_RETURN(v1::TaskSpec task, ParseTaskOptions(options_json, queue, type));
  task.set_payload(std::move(payload));
  return context.EnqueueSpec(std::move(task));
}

// What one run of a handler tells. Lives while the handler runs.
struct Run {
  explicit Run(TaskContext* context_in) : context(context_in) {}

  TaskContext* const context;
  Mutex mu;                                                 // its functions may be called from any thread
  std::optional<Outcome> outcome ABSL_GUARDED_BY(mu) = {};  // the first that was told counts
  CoolScope cool ABSL_GUARDED_BY(mu) = CoolScope::kTask;

  static Run& Of(penstock_run_context* context) { return *reinterpret_cast<Run*>(context); }
  void Cool(CoolScope scope) {
    MutexLock lock(mu);
    cool = scope;
  }
  void Tell(Outcome told) {
    MutexLock lock(mu);
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
  functions.save_checkpoint = [](penstock_run_context* context, penstock_text checkpoint) {
    TaskContext& task = *Run::Of(context).context;
    const absl::Status saved = task.SaveCheckpoint(String(checkpoint));
    if (!saved.ok()) task.Log(fmt::format("not saved: {}", ToStd(saved.message())));
    return saved.ok() ? 0 : 1;
  };
  functions.enqueue = [](penstock_run_context* context, penstock_text queue, penstock_text type, penstock_text payload,
                         penstock_text options_json) {
    TaskContext& task = *Run::Of(context).context;
    const absl::Status enqueued = Enqueue(task, String(queue), String(type), String(payload), String(options_json));
    if (!enqueued.ok()) task.Log(fmt::format("not enqueued: {}", ToStd(enqueued.message())));
    return enqueued.ok() ? 0 : 1;
  };
  functions.cool = [](penstock_run_context* context, int32_t scope) { Run::Of(context).Cool(ToScope(scope)); };
  return functions;
}

// Everything that a handler is given for one task. Stays where it is while the handler runs.
class Call {
 public:
  Call(TaskContext& context, std::string_view payload);
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  const penstock_task* task() const { return &task_; }
  const penstock_run* functions() const { return &functions_; }
  // What came of it; after the handler.
  Outcome End();

 private:
  const std::string id_;
  std::vector<penstock_header> headers_;
  Run run_;
  penstock_task task_ = {};
  const penstock_run functions_;
};

Call::Call(TaskContext& context, std::string_view payload)
    : id_(context.id().ToString()), run_(&context), functions_(RunFunctions(&run_)) {
  for (const auto& [key, value] : context.headers()) headers_.push_back({Text(key), Text(value)});
  task_.struct_size = sizeof(task_);
  task_.attempt = context.attempt();
  task_.max_attempts = context.max_attempts();
  task_.header_count = static_cast<uint32_t>(headers_.size());
  task_.headers = headers_.data();
  task_.id = Text(id_);
  task_.queue = Text(context.queue());
  task_.type = Text(context.type());
  task_.payload = Text(payload);
  task_.content_type = Text(context.content_type());
  task_.fencing_token = context.fencing_token();
  task_.deadline_unix_micros =
      context.deadline() == absl::InfiniteFuture() ? 0 : absl::ToUnixMicros(context.deadline());
  task_.checkpoint = Text(context.checkpoint());
  task_.key = Text(context.key());
  task_.group = Text(context.group());
}

Outcome Call::End() {
  MutexLock lock(run_.mu);
  if (!run_.outcome) {
    return Outcome::Retry({"no outcome", "the plug-in's handler returned without an outcome", ""});
  }
  Outcome outcome = *std::move(run_.outcome);
  if (outcome.kind() == Outcome::Kind::kSnooze) return Outcome::Snooze(outcome.delay(), run_.cool);
  if (outcome.kind() == Outcome::Kind::kRetry && outcome.delay() >= absl::ZeroDuration()) {
    return Outcome::RetryAfter(outcome.delay(), outcome.error(), run_.cool);
  }
  return outcome;
}

Outcome RunPlugin(penstock_handler handler, void* user_data, TaskContext& context, std::string_view payload) {
  Call call(context, payload);
  handler(user_data, call.task(), call.functions());
  return call.End();
}

std::vector<Outcome> RunPluginBatch(penstock_batch_handler handler, void* user_data,
                                    std::span<const RawBatchTask> batch) {
  std::deque<Call> calls;
  std::vector<const penstock_task*> tasks;
  std::vector<const penstock_run*> runs;
  for (const RawBatchTask& task : batch) {
    Call& call = calls.emplace_back(task.context, task.payload);
    tasks.push_back(call.task());
    runs.push_back(call.functions());
  }
  handler(user_data, tasks.data(), runs.data(), batch.size());
  std::vector<Outcome> outcomes;
  for (Call& call : calls) outcomes.push_back(call.End());
  return outcomes;
}

struct Loading {
  struct Handler {
    std::string type;
    penstock_handler single = nullptr;
    penstock_batch_handler batch = nullptr;
    void* user_data = nullptr;
    BatchOptions options = {};
  };
  std::vector<Handler> handlers;
  std::string error;

  int Add(Handler handler) {
    if (const std::string problem = ProblemOfName(handler.type); !problem.empty()) {
      error = fmt::format("type {}", problem);
      return 1;
    }
    handlers.push_back(std::move(handler));
    return 0;
  }
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
    return Loading::Of(context).Add({String(type), handler, nullptr, user_data});
  };
  host.register_batch_handler = [](penstock_host_context* context, penstock_text type, penstock_batch_handler handler,
                                   void* user_data, uint32_t max_size, double max_wait_seconds) {
    BatchOptions options;
    options.max_size = static_cast<int>(std::min<uint32_t>(max_size, 1'000'000));
    options.max_wait = Seconds(max_wait_seconds);
    return Loading::Of(context).Add({String(type), nullptr, handler, user_data, options});
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
  for (const Loading::Handler& entry : loading.handlers) {
    if (entry.batch != nullptr) {
      BatchOptions options = entry.options;
      options.max_concurrency = handler_options.max_concurrency;
      worker->RegisterRawBatch(
          entry.type,
          [handler = entry.batch, user_data = entry.user_data](std::span<const RawBatchTask> tasks) {
            return RunPluginBatch(handler, user_data, tasks);
          },
          options);
    } else {
      worker->RegisterRaw(
          entry.type,
          [handler = entry.single, user_data = entry.user_data](TaskContext& context, std::string_view payload) {
            return RunPlugin(handler, user_data, context, payload);
          },
          handler_options);
    }
    LogFor("plugin").info("loaded plugin={} version={} type={}", String(plugin.name), String(plugin.version),
                          entry.type);
  }
  return absl::OkStatus();
}

}  // namespace penstock
