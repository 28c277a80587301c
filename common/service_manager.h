#ifndef PENSTOCK_COMMON_SERVICE_MANAGER_H_
#define PENSTOCK_COMMON_SERVICE_MANAGER_H_

#include <string_view>

#include "absl/time/time.h"

namespace penstock {

// Tells the service manager that started this process (systemd, Type=notify) what became of it: "READY=1",
// "WATCHDOG=1", "STOPPING=1", as in sd_notify(3). Nothing happens when nobody asked for it (NOTIFY_SOCKET). Any thread.
void NotifyServiceManager(std::string_view state);

// The longest pause between two WATCHDOG=1 that the service manager bears (WatchdogSec=); infinite: it waits for none.
absl::Duration WatchdogPause();

}  // namespace penstock

#endif  // PENSTOCK_COMMON_SERVICE_MANAGER_H_
