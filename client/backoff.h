#ifndef PENSTOCK_CLIENT_BACKOFF_H_
#define PENSTOCK_CLIENT_BACKOFF_H_

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/client_options.h"

namespace penstock {

// The pause before trying again after `failures` failures in a row, 1 or more: drawn from 0 to a bound that doubles
// from options.reconnect_min to reconnect_max. Full jitter: many clients of one broker must not come back at once.
absl::Duration Backoff(const ClientOptions& options, int failures);

// The same after a failure that may say when to come again (RetryInfo): then so much later.
absl::Duration RetryPause(const ClientOptions& options, int failures, const absl::Status& failure);

// A broker that refuses for now, and says when to come again. Nothing was done.
bool IsRefusedForNow(const absl::Status& status);

}  // namespace penstock

#endif  // PENSTOCK_CLIENT_BACKOFF_H_
