#ifndef PENSTOCK_WORKER_PLUGIN_CPP_H_
#define PENSTOCK_WORKER_PLUGIN_CPP_H_

// Plug-ins in C++: a thin layer over worker/plugin.h, which says how plug-ins are loaded, which threads call them, and
// how long things live. Header-only; needs C++17 and the standard library.
//
//   #include "worker/plugin_cpp.h"
//
//   using penstock::plugin::Outcome;
//   using penstock::plugin::Task;
//
//   static void Register(penstock::plugin::Registry& registry) {
//     registry.Handle("greet", [](Task& task) {
//       task.Progress(50, "half way");
//       return Outcome::Done("hello " + std::string(task.payload()), "text/plain");
//     });
//   }
//   PENSTOCK_PLUGIN("greeter", "1.0", Register)
//
// An exception that leaves a handler fails the attempt as Outcome::Retry does, with the exception's type and what().
// One that leaves the registering function refuses the plug-in.

#include <cxxabi.h>

#include <chrono>
#include <cstdlib>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <typeinfo>
#include <utility>
#include <vector>

#include "worker/plugin.h"

namespace penstock::plugin {

inline std::string_view ToView(penstock_text text) {
  return text.size == 0 ? std::string_view() : std::string_view(text.data, text.size);
}
inline penstock_text ToText(std::string_view text) { return penstock_text{text.data(), text.size()}; }

// What is left alone for a while beside the task itself, at most 1 h.
enum class Cool {
  kTask = 0,  // nothing else
  kQueue = PENSTOCK_COOL_QUEUE,
  kType = PENSTOCK_COOL_TYPE,
  kGroup = PENSTOCK_COOL_GROUP,
  kKey = PENSTOCK_COOL_KEY,
};

// How an attempt ended. A value.
class Outcome {
 public:
  // The task is completed.
  static Outcome Done(std::string result = {}, std::string content_type = "application/octet-stream") {
    return Outcome(Kind::kDone, 0, std::move(content_type), std::move(result));
  }
  // The attempt failed; another may succeed.
  static Outcome Retry(std::string error_type, std::string message) {
    return Outcome(Kind::kRetry, 0, std::move(error_type), std::move(message));
  }
  // As Retry, after this wait instead of the task's backoff; until then what `cool` names waits as well ("429, retry
  // after 30 s"), if the host knows how (0.2).
  static Outcome RetryAfter(std::chrono::duration<double> wait, std::string error_type, std::string message,
                            Cool cool = Cool::kTask) {
    return Outcome(Kind::kRetryAfter, wait.count(), std::move(error_type), std::move(message), cool);
  }
  // Run again after this wait; not an attempt. `cool` as in RetryAfter.
  static Outcome Snooze(std::chrono::duration<double> wait, Cool cool = Cool::kTask) {
    return Outcome(Kind::kSnooze, wait.count(), {}, {}, cool);
  }
  // The task can never succeed: it is dead at once.
  static Outcome Reject(std::string error_type, std::string message) {
    return Outcome(Kind::kReject, 0, std::move(error_type), std::move(message));
  }

  // Tells the host. For the layer itself.
  void Tell(const penstock_run& run) const {
    if (cool_ != Cool::kTask && PENSTOCK_HAS_FIELD(&run, cool)) run.cool(run.context, static_cast<int32_t>(cool_));
    switch (kind_) {
      case Kind::kDone:
        return run.done(run.context, ToText(text_), ToText(label_));
      case Kind::kRetry:
        return run.retry(run.context, ToText(label_), ToText(text_));
      case Kind::kRetryAfter:
        return run.retry_after(run.context, seconds_, ToText(label_), ToText(text_));
      case Kind::kSnooze:
        return run.snooze(run.context, seconds_);
      case Kind::kReject:
        return run.reject(run.context, ToText(label_), ToText(text_));
    }
  }

 private:
  enum class Kind { kDone, kRetry, kRetryAfter, kSnooze, kReject };
  Outcome(Kind kind, double seconds, std::string label, std::string text, Cool cool = Cool::kTask)
      : kind_(kind), seconds_(seconds), label_(std::move(label)), text_(std::move(text)), cool_(cool) {}

  Kind kind_;
  double seconds_;
  std::string label_;  // content type or error type
  std::string text_;   // result or message
  Cool cool_;
};

// One attempt of one task. The host's: use it only until the handler returns. Progress, Log and cancelled may be called
// from any thread.
class Task {
 public:
  Task(const penstock_task& task, const penstock_run& run) : task_(task), run_(run) {}
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;

  std::string_view id() const { return ToView(task_.id); }
  std::string_view queue() const { return ToView(task_.queue); }
  std::string_view type() const { return ToView(task_.type); }
  std::string_view payload() const { return ToView(task_.payload); }
  std::string_view content_type() const { return ToView(task_.content_type); }
  int attempt() const { return task_.attempt; }
  int max_attempts() const { return task_.max_attempts; }
  uint64_t fencing_token() const { return task_.fencing_token; }
  // When the attempt will be given up; nullopt: never.
  std::optional<std::chrono::system_clock::time_point> deadline() const {
    if (task_.deadline_unix_micros == 0) return std::nullopt;
    return std::chrono::system_clock::time_point(std::chrono::microseconds(task_.deadline_unix_micros));
  }
  // The value of a header; nullopt when there is none of that name.
  std::optional<std::string_view> header(std::string_view key) const {
    for (uint32_t i = 0; i < task_.header_count; ++i) {
      if (ToView(task_.headers[i].key) == key) return ToView(task_.headers[i].value);
    }
    return std::nullopt;
  }

  // What an attempt before this one saved last; empty: nothing, or the host knows no checkpoints.
  std::string_view checkpoint() const { return PENSTOCK_HAS_FIELD(&task_, checkpoint) ? ToView(task_.checkpoint) : ""; }
  // Its FIFO key and its group; empty: none.
  std::string_view key() const { return PENSTOCK_HAS_FIELD(&task_, key) ? ToView(task_.key) : ""; }
  std::string_view group() const { return PENSTOCK_HAS_FIELD(&task_, group) ? ToView(task_.group) : ""; }

  // Keeps how far it is for its next attempt. False: more than 64 KiB, or the host knows no checkpoints.
  bool SaveCheckpoint(std::string_view checkpoint) {
    return PENSTOCK_HAS_FIELD(&run_, save_checkpoint) && run_.save_checkpoint(run_.context, ToText(checkpoint)) == 0;
  }
  // Enqueues a task with this one's completion (plugin.h). False: something is wrong or too much, as the task's log
  // says; or the host cannot.
  bool Enqueue(std::string_view queue, std::string_view type, std::string_view payload,
               std::string_view options_json = {}) {
    return PENSTOCK_HAS_FIELD(&run_, enqueue) &&
           run_.enqueue(run_.context, ToText(queue), ToText(type), ToText(payload), ToText(options_json)) == 0;
  }

  // How far it is: 0 to 100.
  void Progress(double percent, std::string_view text = {}) { run_.progress(run_.context, percent, ToText(text)); }
  // A line that is kept with the task.
  void Log(std::string_view line) { run_.log(run_.context, ToText(line)); }
  // Nobody waits for the outcome any more: return soon.
  bool cancelled() const { return run_.is_cancelled(run_.context) != 0; }

 private:
  const penstock_task& task_;
  const penstock_run& run_;
};

// Called from several threads at once.
using Handler = std::function<Outcome(Task& task)>;
// Called with several tasks of a type at once; returns an outcome for each, in their order. Another number of outcomes,
// or an exception, fails them all.
using BatchHandler = std::function<std::vector<Outcome>(const std::vector<Task*>& tasks)>;

struct BatchOptions {
  uint32_t max_size = 0;                          // 0: as many as the worker runs at once, which is also the most
  std::chrono::duration<double> max_wait{0.010};  // how long the first task waits for company; at most 10 s
};

// The readable name of a thrown exception's type, for instance "std::runtime_error".
inline std::string TypeName(const std::exception& error) {
  int status = 0;
  std::unique_ptr<char, void (*)(void*)> name(abi::__cxa_demangle(typeid(error).name(), nullptr, nullptr, &status),
                                              std::free);
  return status == 0 && name != nullptr ? std::string(name.get()) : std::string(typeid(error).name());
}

// What the registering function gets. Valid until it returns.
class Registry {
 public:
  explicit Registry(const penstock_host& host) : host_(host) {}
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  // The plug-in's options from the worker's configuration: a JSON object.
  std::string_view options_json() const { return ToView(host_.options_json); }
  std::string_view host_version() const { return ToView(host_.host_version); }

  // Registers the handler of a type. When the host refuses the type, loading fails with the host's reason.
  void Handle(std::string_view type, Handler handler) {
    auto owned = std::make_unique<Handler>(std::move(handler));
    if (host_.register_handler(host_.context, ToText(type), &Registry::Run, owned.get()) != 0) {
      failed_ = true;
      return;
    }
    Kept<Handler>().push_back(std::move(owned));
  }
  // Whether HandleBatch can be used: since 0.2.
  bool knows_batches() const { return PENSTOCK_HAS_FIELD(&host_, register_batch_handler); }
  // The same for a handler of several tasks at once. A host that does not know them refuses the plug-in.
  void HandleBatch(std::string_view type, BatchHandler handler, BatchOptions options = {}) {
    if (!knows_batches()) {
      return Fail("this worker knows no batch handlers: use penstock-worker 0.2 or newer");
    }
    auto owned = std::make_unique<BatchHandler>(std::move(handler));
    if (host_.register_batch_handler(host_.context, ToText(type), &Registry::RunBatch, owned.get(), options.max_size,
                                     options.max_wait.count()) != 0) {
      failed_ = true;
      return;
    }
    Kept<BatchHandler>().push_back(std::move(owned));
  }
  // Refuses the plug-in: what is wrong, and what to do.
  void Fail(std::string_view message) {
    host_.set_error(host_.context, ToText(message));
    failed_ = true;
  }
  // A line in the worker's log.
  void Log(std::string_view line) { host_.log(host_.context, ToText(line)); }

  bool failed() const { return failed_; }

 private:
  static void Run(void* user_data, const penstock_task* task, const penstock_run* run) {
    try {
      Task view(*task, *run);
      (*static_cast<Handler*>(user_data))(view).Tell(*run);
    } catch (const std::exception& error) {
      Outcome::Retry(TypeName(error), error.what()).Tell(*run);
    } catch (...) {
      Outcome::Retry("exception", "the handler threw something that is not a std::exception").Tell(*run);
    }
  }

  static void RunBatch(void* user_data, const penstock_task* const* tasks, const penstock_run* const* runs,
                       size_t count) {
    const auto fail = [&](const Outcome& outcome) {
      for (size_t i = 0; i < count; ++i) outcome.Tell(*runs[i]);
    };
    try {
      std::vector<std::unique_ptr<Task>> views;
      std::vector<Task*> batch;
      for (size_t i = 0; i < count; ++i) {
        views.push_back(std::make_unique<Task>(*tasks[i], *runs[i]));
        batch.push_back(views.back().get());
      }
      const std::vector<Outcome> outcomes = (*static_cast<BatchHandler*>(user_data))(batch);
      if (outcomes.size() != count) {
        return fail(Outcome::Retry("batch", "the batch handler returned " + std::to_string(outcomes.size()) +
                                                " outcomes for " + std::to_string(count) + " tasks"));
      }
      for (size_t i = 0; i < count; ++i) outcomes[i].Tell(*runs[i]);
    } catch (const std::exception& error) {
      fail(Outcome::Retry(TypeName(error), error.what()));
    } catch (...) {
      fail(Outcome::Retry("exception", "the handler threw something that is not a std::exception"));
    }
  }

  // Handlers live until the process ends; other threads may still run them while it does.
  template <class H>
  static std::vector<std::unique_ptr<H>>& Kept() {
    static auto& kept = *new std::vector<std::unique_ptr<H>>();
    return kept;
  }

  const penstock_host& host_;
  bool failed_ = false;
};

// The body of penstock_plugin_init; see PENSTOCK_PLUGIN. `name` and `version` are literals.
inline int Init(const penstock_host* host, penstock_plugin* plugin, std::string_view name, std::string_view version,
                void (*register_handlers)(Registry& registry)) {
  plugin->abi_version = PENSTOCK_PLUGIN_ABI_VERSION;
  if (host->abi_version != PENSTOCK_PLUGIN_ABI_VERSION) return 1;  // The host names both versions.
  plugin->name = ToText(name);
  plugin->version = ToText(version);
  Registry registry(*host);
  try {
    register_handlers(registry);
  } catch (const std::exception& error) {
    registry.Fail(error.what());
  } catch (...) {
    registry.Fail("the registering function threw something that is not a std::exception");
  }
  return registry.failed() ? 1 : 0;
}

}  // namespace penstock::plugin

// Defines the plug-in's entry: its name and version (string literals) and the function that registers its handlers,
// void(penstock::plugin::Registry&). Once in a plug-in, outside any namespace.
#define PENSTOCK_PLUGIN(name, version, register_handlers)                                               \
  PENSTOCK_PLUGIN_EXPORT int penstock_plugin_init(const penstock_host* host, penstock_plugin* plugin) { \
    return ::penstock::plugin::Init(host, plugin, name, version, register_handlers);                    \
  }

#endif  // PENSTOCK_WORKER_PLUGIN_CPP_H_
