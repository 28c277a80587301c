#ifndef PENSTOCK_WORKER_PLUGIN_H_
#define PENSTOCK_WORKER_PLUGIN_H_

/* The C ABI of handler plug-ins. C11 and C++; for C++ there is a friendlier layer on top of it in worker/plugin_cpp.h.
 *
 * A plug-in is a shared library that penstock-worker (the host) loads at its start. It exports one function,
 * penstock_plugin_init, which registers a handler for each type of task that it runs:
 *
 *   #include "worker/plugin.h"
 *
 *   static void greet(void* user_data, const penstock_task* task, const penstock_run* run) {
 *     run->done(run->context, task->payload, task->content_type);
 *   }
 *
 *   PENSTOCK_PLUGIN_EXPORT int penstock_plugin_init(const penstock_host* host, penstock_plugin* plugin) {
 *     plugin->abi_version = PENSTOCK_PLUGIN_ABI_VERSION;
 *     if (host->abi_version != PENSTOCK_PLUGIN_ABI_VERSION) return 1;
 *     plugin->name = PENSTOCK_TEXT("greeter");
 *     return host->register_handler(host->context, PENSTOCK_TEXT("greet"), greet, NULL);
 *   }
 *
 * Threads
 *   - penstock_plugin_init is called once, from one thread, before any handler.
 *   - Handlers are called from several threads at once, also one handler for two tasks. What user_data points to must
 *     bear that.
 *   - The functions of penstock_run may be called from any thread, also at once, until the handler returns; not after.
 *   - A handler runs on the host's thread as long as it likes, and should return soon once is_cancelled says so. One
 * that does not keeps its slot, and the attempt fails without it.
 *
 * Lifetime
 *   - A plug-in is never unloaded. Whatever it registered stays valid until the process ends; it is not told of that.
 *   - What the host passes in (task, run, host and all that they point to) is the host's and valid until the call
 *     returns. What the plug-in passes in is copied before the host's function returns. Only penstock_plugin.name and
 *     .version must stay valid for ever, as literals do.
 *
 * Delivery
 *   - A task runs at least once: a handler may meet the same task again, even while an earlier run still goes on
 *     elsewhere. Pass fencing_token to the systems that it writes to, so that they can refuse the older run.
 *
 * Errors
 *   - No C++ exception and no longjmp may leave the plug-in's functions. A crash ends the whole worker.
 *
 * Versions
 *   - PENSTOCK_PLUGIN_ABI_VERSION changes only when a plug-in compiled before would misbehave. A host refuses a plug-in
 *     of another version, and a plug-in refuses such a host (host->abi_version).
 *   - Otherwise structs grow only at their end, and struct_size is the size that their maker knew. A field that was
 * added later may be used only when PENSTOCK_HAS_FIELD(pointer, field). All fields in this file belong to version 1;
 * those below a line "Since 0.2" may be missing.
 *   - struct_size and abi_version keep their places in every version; penstock_text and penstock_header never change.
 * So a plug-in that meets a host of another version fills plugin->abi_version, touches nothing else, and returns 1: the
 * host then names both versions.
 */

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PENSTOCK_PLUGIN_ABI_VERSION 1u

/* The name that the host looks up. */
#define PENSTOCK_PLUGIN_INIT_SYMBOL "penstock_plugin_init"

#if defined(__GNUC__)
#define PENSTOCK_PLUGIN_VISIBLE __attribute__((visibility("default")))
#else
#define PENSTOCK_PLUGIN_VISIBLE
#endif

/* Marks penstock_plugin_init, so that it is exported under its C name even with -fvisibility=hidden. */
#ifdef __cplusplus
#define PENSTOCK_PLUGIN_EXPORT extern "C" PENSTOCK_PLUGIN_VISIBLE
#else
#define PENSTOCK_PLUGIN_EXPORT PENSTOCK_PLUGIN_VISIBLE
#endif

/* Whether the maker of *pointer knew `field`. */
#define PENSTOCK_HAS_FIELD(pointer, field) \
  ((size_t)(pointer)->struct_size >=       \
   (size_t)((const char*)&(pointer)->field - (const char*)(pointer)) + sizeof((pointer)->field))

/* Bytes that belong to somebody else. No terminating zero is promised; data may be NULL when size is 0. Names, messages
 * and log lines are UTF-8. */
typedef struct penstock_text {
  const char* data;
  size_t size;
} penstock_text;

/* A string literal as penstock_text. */
#ifdef __cplusplus
#define PENSTOCK_TEXT(literal) (penstock_text{"" literal, sizeof(literal) - 1})
#else
#define PENSTOCK_TEXT(literal) ((penstock_text){"" literal, sizeof(literal) - 1})
#endif

typedef struct penstock_header {
  penstock_text key;
  penstock_text value;
} penstock_header;

/* One attempt of one task, as the handler sees it. */
typedef struct penstock_task {
  uint32_t struct_size;
  /* Which run this is, from 1, and how many it may have in all. */
  int32_t attempt;
  int32_t max_attempts;
  /* How many elements headers has. */
  uint32_t header_count;
  const penstock_header* headers;
  penstock_text id;
  penstock_text queue;
  penstock_text type;
  penstock_text payload;
  penstock_text content_type;
  /* Grows with every delivery: of two runs of a task the later one has the larger token. */
  uint64_t fencing_token;
  /* When the attempt will be given up, in microseconds since 1970-01-01 UTC; 0: never. */
  int64_t deadline_unix_micros;

  /* Since 0.2. */

  /* What an attempt before this one saved last (penstock_run.save_checkpoint); empty: nothing. */
  penstock_text checkpoint;
  /* The task's FIFO key and its group; empty: none. */
  penstock_text key;
  penstock_text group;
} penstock_task;

/* What a handler can have left alone for a while beside its task; see penstock_run.cool. */
enum {
  PENSTOCK_COOL_QUEUE = 1, /* all tasks of its queue */
  PENSTOCK_COOL_TYPE = 2,  /* all tasks of its type, in all queues */
  PENSTOCK_COOL_GROUP = 3, /* all tasks of its group, in all queues */
  PENSTOCK_COOL_KEY = 4    /* all tasks of its FIFO key, in all queues */
};

/* The host's side of the run. Opaque. */
typedef struct penstock_run_context penstock_run_context;

/* What a handler can tell and ask while it runs. Pass `context` as the first argument of each function.
 *
 * The outcome is told by one of done, retry, retry_after, snooze and reject. The first one counts and the others are
 * ignored; it takes effect when the handler returns. A handler that returns without one failed, as by retry. */
typedef struct penstock_run {
  uint32_t struct_size;
  penstock_run_context* context;

  /* How far the task is: 0 to 100 (other numbers are brought into that range), and a text of at most 1 KiB (longer text
   * is cut). Cheap: the host sends only the newest, a few times a second. */
  void (*progress)(penstock_run_context* context, double percent, penstock_text text);
  /* A line that is kept with the task, without a line break at its end. 64 KiB a task are kept. */
  void (*log)(penstock_run_context* context, penstock_text line);
  /* Not 0 once nobody waits for the outcome any more: the task was cancelled, its time is over, its lease is lost, or
   * the worker stops. The handler should return soon; what becomes of the task is then the host's decision, and of the
   * outcomes only done still counts. Cheap enough to be asked in an inner loop. */
  int (*is_cancelled)(penstock_run_context* context);

  /* The task is completed. The result is kept for the task's retention; at most 1 MiB. */
  void (*done)(penstock_run_context* context, penstock_text result, penstock_text content_type);
  /* The attempt failed; another may succeed. The task waits for its backoff, or is dead if its attempts are used up.
   * error_type is a short name of the kind of error (at most 256 bytes), message says what went wrong (at most 16 KiB).
   */
  void (*retry)(penstock_run_context* context, penstock_text error_type, penstock_text message);
  /* As retry, but the wait is `seconds`. Negative and NaN mean 0; at most 365 days. */
  void (*retry_after)(penstock_run_context* context, double seconds, penstock_text error_type, penstock_text message);
  /* Nothing failed, but it is too early: run the task again after `seconds`. Not an attempt. */
  void (*snooze)(penstock_run_context* context, double seconds);
  /* The task can never succeed: it is dead at once, with this error. */
  void (*reject)(penstock_run_context* context, penstock_text error_type, penstock_text message);

  /* Since 0.2. */

  /* Keeps how far the task is for its next attempt, whatever ends this one; replaces what was saved before. Returns 0,
   * or not 0 for more than 64 KiB: then what was saved stays. */
  int (*save_checkpoint)(penstock_run_context* context, penstock_text checkpoint);
  /* Enqueues a task in the commit that completes this one: both, or neither. Counts only with done. options_json holds
   * everything else about the task, as a JSON object in the form of a TaskSpec (proto/penstock/v1/task.proto), for
   * instance {"delay": "30s", "unique_key": {"key": "a"}}; "{}" or empty: nothing else. At most 1,000 tasks and 2 MiB a
   * run. Returns 0, or not 0 when something is wrong or too much; the task's log says what, and the task is not among
   * the others. */
  int (*enqueue)(penstock_run_context* context, penstock_text queue, penstock_text type, penstock_text payload,
                 penstock_text options_json);
  /* With retry_after and snooze, told before or after: for as long, at most 1 h, what shares `scope`
   * (PENSTOCK_COOL_...) with the task is left alone as well ("429, retry after 30 s"). Without effect on other
   * outcomes; other numbers are ignored. */
  void (*cool)(penstock_run_context* context, int32_t scope);
} penstock_run;

/* Runs one attempt. user_data is what was registered. */
typedef void (*penstock_handler)(void* user_data, const penstock_task* task, const penstock_run* run);

/* Since 0.2. Runs one attempt of each of `count` tasks of a type at once. tasks[i] and runs[i] belong together: each
 * task has its own outcome, cancellation, progress. A task of which no outcome was told has failed. */
typedef void (*penstock_batch_handler)(void* user_data, const penstock_task* const* tasks,
                                       const penstock_run* const* runs, size_t count);

/* The host's side of the loading. Opaque. */
typedef struct penstock_host_context penstock_host_context;

/* What a plug-in can tell and ask while it is loaded. */
typedef struct penstock_host {
  uint32_t struct_size;
  /* The version that the host speaks. */
  uint32_t abi_version;
  penstock_host_context* context;
  /* Penstock's version, for logs. */
  penstock_text host_version;
  /* The plug-in's options from the worker's configuration, as a JSON object; "{}" when there are none. */
  penstock_text options_json;

  /* Registers the handler of a type. Returns 0, or not 0 when the type is no valid name or is taken; the host has then
   * noted why, and the plug-in should return that from penstock_plugin_init. */
  int (*register_handler)(penstock_host_context* context, penstock_text type, penstock_handler handler,
                          void* user_data);
  /* Says why penstock_plugin_init is about to fail: what is wrong and what to do. The last text counts. */
  void (*set_error)(penstock_host_context* context, penstock_text message);
  /* A line in the worker's log. */
  void (*log)(penstock_host_context* context, penstock_text line);

  /* Since 0.2. */

  /* As register_handler, for a handler of several tasks at once: at most max_size (0: as many as the worker runs at
   * once, which is also the most), the first of which waits up to max_wait_seconds (0 to 10) for company. Each takes a
   * slot of the worker. */
  int (*register_batch_handler)(penstock_host_context* context, penstock_text type, penstock_batch_handler handler,
                                void* user_data, uint32_t max_size, double max_wait_seconds);
} penstock_host;

/* What the plug-in tells about itself. The host has zeroed it and set struct_size to the size that it knows. */
typedef struct penstock_plugin {
  uint32_t struct_size;
  /* PENSTOCK_PLUGIN_ABI_VERSION. Required. */
  uint32_t abi_version;
  /* A short name for logs and `penstock worker list`. Required. */
  penstock_text name;
  /* The plug-in's own version, for logs. */
  penstock_text version;
} penstock_plugin;

/* Every plug-in defines this function. Returns 0, or not 0 after set_error; then the worker does not start. */
typedef int (*penstock_plugin_init_function)(const penstock_host* host, penstock_plugin* plugin);
PENSTOCK_PLUGIN_VISIBLE int penstock_plugin_init(const penstock_host* host, penstock_plugin* plugin);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* PENSTOCK_WORKER_PLUGIN_H_ */
