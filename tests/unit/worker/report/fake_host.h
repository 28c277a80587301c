#ifndef PENSTOCK_TESTS_UNIT_WORKER_REPORT_FAKE_HOST_H_
#define PENSTOCK_TESTS_UNIT_WORKER_REPORT_FAKE_HOST_H_

// A host of plug-ins for tests: loads a shared library through the C ABI as the worker daemon does, runs tasks with its
// handlers and records what they tell. Libraries stay loaded, as plug-ins do. It is one of version 0.1: its structs end
// where those of 0.1 ended, so that plug-ins are seen to bear that.

#include <dlfcn.h>
#include <stddef.h>

#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "worker/plugin.h"

namespace penstock {

struct FakeTask {
  std::string id = "0100000000abc";
  std::string type = "report.generate";
  std::string payload;
  std::string content_type = "application/json";
  std::vector<std::pair<std::string, std::string>> headers;
  int attempt = 1;
  int max_attempts = 20;
  uint64_t fencing_token = 7;
  int64_t deadline_unix_micros = 0;
};

// What a run told its host.
struct FakeRun {
  std::string outcome = "none";  // done, retry, retry_after, snooze, reject
  std::string label;             // content type or error type
  std::string text;              // result or message
  double seconds = 0;
  int outcomes_told = 0;
  std::vector<std::pair<double, std::string>> progress;
  std::vector<std::string> log;

  // Asked at every is_cancelled.
  std::function<bool(const FakeRun& run)> cancelled = [](const FakeRun&) { return false; };
  std::mutex mu;
};

class FakeHost {
 public:
  // Loads and initialises. `error` is empty when that succeeded.
  explicit FakeHost(const std::string& path, std::string options_json = "{}",
                    uint32_t abi_version = PENSTOCK_PLUGIN_ABI_VERSION) {
    void* const library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
      error_ = dlerror();
      return;
    }
    const auto init = reinterpret_cast<penstock_plugin_init_function>(dlsym(library, PENSTOCK_PLUGIN_INIT_SYMBOL));
    if (init == nullptr) {
      error_ = dlerror();
      return;
    }
    penstock_host host = {};
    host.struct_size = offsetof(penstock_host, register_batch_handler);
    host.abi_version = abi_version;
    host.context = reinterpret_cast<penstock_host_context*>(this);
    host.host_version = PENSTOCK_TEXT("test");
    host.options_json = Text(options_json);
    host.register_handler = [](penstock_host_context* context, penstock_text type, penstock_handler handler,
                               void* user_data) {
      FakeHost* const self = reinterpret_cast<FakeHost*>(context);
      const bool added = self->handlers_.emplace(String(type), std::make_pair(handler, user_data)).second;
      if (!added) self->error_ = "type '" + String(type) + "' is taken";
      return added ? 0 : 1;
    };
    host.set_error = [](penstock_host_context* context, penstock_text message) {
      reinterpret_cast<FakeHost*>(context)->error_ = String(message);
    };
    host.log = [](penstock_host_context* context, penstock_text line) {
      reinterpret_cast<FakeHost*>(context)->log_.push_back(String(line));
    };
    plugin_.struct_size = sizeof(plugin_);
    result_ = init(&host, &plugin_);
  }

  int result() const { return result_; }
  const std::string& error() const { return error_; }
  const penstock_plugin& plugin() const { return plugin_; }
  std::string name() const { return String(plugin_.name); }
  const std::vector<std::string>& log() const { return log_; }
  std::vector<std::string> types() const {
    std::vector<std::string> types;
    for (const auto& [type, handler] : handlers_) types.push_back(type);
    return types;
  }

  // REQUIRES: a handler of task.type. Any thread.
  void Run(const FakeTask& task, FakeRun* record) const {
    std::vector<penstock_header> headers;
    for (const auto& [key, value] : task.headers) headers.push_back({Text(key), Text(value)});
    penstock_task view = {};
    view.struct_size = offsetof(penstock_task, checkpoint);
    view.attempt = task.attempt;
    view.max_attempts = task.max_attempts;
    view.header_count = static_cast<uint32_t>(headers.size());
    view.headers = headers.data();
    view.id = Text(task.id);
    view.queue = PENSTOCK_TEXT("reports");
    view.type = Text(task.type);
    view.payload = Text(task.payload);
    view.content_type = Text(task.content_type);
    view.fencing_token = task.fencing_token;
    view.deadline_unix_micros = task.deadline_unix_micros;
    const penstock_run run = RunFunctions(record);
    const auto& [handler, user_data] = handlers_.at(task.type);
    handler(user_data, &view, &run);
  }

  // The functions by which a handler tells `record`.
  static penstock_run RunFunctions(FakeRun* record) {
    penstock_run run = {};
    run.struct_size = offsetof(penstock_run, save_checkpoint);
    run.context = reinterpret_cast<penstock_run_context*>(record);
    run.progress = [](penstock_run_context* context, double percent, penstock_text text) {
      const std::lock_guard<std::mutex> lock(Record(context)->mu);
      Record(context)->progress.emplace_back(percent, String(text));
    };
    run.log = [](penstock_run_context* context, penstock_text line) {
      const std::lock_guard<std::mutex> lock(Record(context)->mu);
      Record(context)->log.push_back(String(line));
    };
    run.is_cancelled = [](penstock_run_context* context) {
      const std::lock_guard<std::mutex> lock(Record(context)->mu);
      return Record(context)->cancelled(*Record(context)) ? 1 : 0;
    };
    run.done = [](penstock_run_context* context, penstock_text result, penstock_text content_type) {
      Tell(context, "done", 0, content_type, result);
    };
    run.retry = [](penstock_run_context* context, penstock_text error_type, penstock_text message) {
      Tell(context, "retry", 0, error_type, message);
    };
    run.retry_after = [](penstock_run_context* context, double seconds, penstock_text error_type,
                         penstock_text message) { Tell(context, "retry_after", seconds, error_type, message); };
    run.snooze = [](penstock_run_context* context, double seconds) { Tell(context, "snooze", seconds, {}, {}); };
    run.reject = [](penstock_run_context* context, penstock_text error_type, penstock_text message) {
      Tell(context, "reject", 0, error_type, message);
    };
    return run;
  }

 private:
  static std::string String(penstock_text text) { return text.size == 0 ? "" : std::string(text.data, text.size); }
  static penstock_text Text(std::string_view text) { return {text.data(), text.size()}; }

  static FakeRun* Record(penstock_run_context* context) { return reinterpret_cast<FakeRun*>(context); }
  static void Tell(penstock_run_context* context, const char* outcome, double seconds, penstock_text label,
                   penstock_text text) {
    FakeRun* const record = Record(context);
    const std::lock_guard<std::mutex> lock(record->mu);
    if (record->outcomes_told++ > 0) return;  // The first counts.
    record->outcome = outcome;
    record->seconds = seconds;
    record->label = String(label);
    record->text = String(text);
  }

  std::string error_;
  int result_ = -1;
  penstock_plugin plugin_ = {};
  std::map<std::string, std::pair<penstock_handler, void*>> handlers_;
  std::vector<std::string> log_;
};

}  // namespace penstock

#endif  // PENSTOCK_TESTS_UNIT_WORKER_REPORT_FAKE_HOST_H_
