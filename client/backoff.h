#ifndef PENSTOCK_CLIENT_BACKOFF_H_
#define PENSTOCK_CLIENT_BACKOFF_H_

#include "absl/time/time.h"
#include "client/client_options.h"

namespace penstock {

// The pause before trying again after `failures` failures in a row, 1 or more: drawn from 0 to a bound that doubles
// from options.reconnect_min to reconnect_max. Full jitter: many clients of one broker must not come back at once.
absl::Duration Backoff(const ClientOptions& options, int failures);

}  // namespace penstock

#endif  // PENSTOCK_CLIENT_BACKOFF_H_
