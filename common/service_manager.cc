#include "common/service_manager.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string>
#include <system_error>

#include "absl/strings/numbers.h"
#include "common/logging.h"

namespace penstock {

void NotifyServiceManager(std::string_view state) {
  const char* path = std::getenv("NOTIFY_SOCKET");
  if (path == nullptr) return;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const size_t length = std::strlen(path);
  if (length == 0 || length >= sizeof(address.sun_path)) return;
  std::memcpy(address.sun_path, path, length);
  if (path[0] == '@') address.sun_path[0] = '\0';  // an abstract socket, which is in no folder
  const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length);
  if (fd < 0 ||
      sendto(fd, state.data(), state.size(), MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&address), size) < 0) {
    LogFor("server").warn("the service manager cannot be told state={} error=\"{}\"", state,
                          std::generic_category().message(errno));
  }
  if (fd >= 0) close(fd);
}

absl::Duration WatchdogPause() {
  const char* micros = std::getenv("WATCHDOG_USEC");
  const char* pid = std::getenv("WATCHDOG_PID");
  int64_t number = 0;
  // Both are inherited: they may be meant for whoever started us.
  if (pid != nullptr && (!absl::SimpleAtoi(pid, &number) || number != getpid())) return absl::InfiniteDuration();
  if (micros == nullptr || !absl::SimpleAtoi(micros, &number) || number <= 0) return absl::InfiniteDuration();
  return absl::Microseconds(number);
}

}  // namespace penstock
