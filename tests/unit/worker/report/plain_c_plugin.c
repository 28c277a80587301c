/* A plug-in in plain C11: worker/plugin.h must be a C header. */
#include "worker/plugin.h"

static int runs_expected = 41;

static void count(void* user_data, const penstock_task* task, const penstock_run* run) {
  const int* expected = user_data;
  if (!PENSTOCK_HAS_FIELD(task, deadline_unix_micros)) {
    run->reject(run->context, PENSTOCK_TEXT("abi"), PENSTOCK_TEXT("no deadline in this host's tasks"));
    return;
  }
  run->progress(run->context, 50, PENSTOCK_TEXT("counting"));
  run->log(run->context, task->header_count > 0 ? task->headers[0].value : task->id);
  if (run->is_cancelled(run->context)) return;
  if (task->attempt < *expected) {
    run->retry_after(run->context, 2.5, PENSTOCK_TEXT("early"), PENSTOCK_TEXT("not yet"));
  } else {
    run->done(run->context, task->payload, task->content_type);
  }
}

PENSTOCK_PLUGIN_EXPORT int penstock_plugin_init(const penstock_host* host, penstock_plugin* plugin) {
  plugin->abi_version = PENSTOCK_PLUGIN_ABI_VERSION;
  if (host->abi_version != PENSTOCK_PLUGIN_ABI_VERSION) return 1;
  plugin->name = PENSTOCK_TEXT("counter");
  host->log(host->context, host->options_json);
  return host->register_handler(host->context, PENSTOCK_TEXT("count"), count, &runs_expected);
}
