#ifndef PENSTOCK_CLIENT_CLI_BENCH_BENCH_RUN_H_
#define PENSTOCK_CLIENT_CLI_BENCH_BENCH_RUN_H_

#include "absl/status/statusor.h"
#include "client/cli/bench/bench_options.h"
#include "client/cli/bench/bench_result.h"
#include "client/cli/context.h"

namespace penstock::cli {

// Does what the options say against the broker of `context`, with producers and workers in this process, and deletes
// its queue afterwards, also after an error or an interrupt. Cancelled: the user interrupted it.
absl::StatusOr<BenchResult> RunBench(CommandContext& context, const BenchOptions& options);

}  // namespace penstock::cli

#endif  // PENSTOCK_CLIENT_CLI_BENCH_BENCH_RUN_H_
