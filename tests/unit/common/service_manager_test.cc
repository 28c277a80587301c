#include "common/service_manager.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string>

#include "gtest/gtest.h"
#include "tests/support/temp_folder.h"

namespace penstock {
namespace {

class ServiceManagerTest : public ::testing::Test {
 protected:
  ~ServiceManagerTest() override {
    for (const char* name : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}) unsetenv(name);
  }
  // Listens as systemd does, on a path or, with a leading '@', on an abstract name.
  static int Listen(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    if (path[0] == '@') address.sun_path[0] = '\0';
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(bind(fd, reinterpret_cast<const sockaddr*>(&address),
                   static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size())),
              0);
    return fd;
  }
  static std::string Receive(int fd) {
    char buffer[100];
    const ssize_t got = recv(fd, buffer, sizeof(buffer), 0);
    return std::string(buffer, static_cast<size_t>(std::max<ssize_t>(got, 0)));
  }
};

TEST_F(ServiceManagerTest, IsToldOnItsSocket) {
  const testing::TempFolder folder;
  for (const std::string& path : {folder / "notify", std::string("@penstock-test-") + std::to_string(getpid())}) {
    const int fd = Listen(path);
    setenv("NOTIFY_SOCKET", path.c_str(), 1);
    NotifyServiceManager("READY=1");
    NotifyServiceManager("STOPPING=1");
    EXPECT_EQ(Receive(fd), "READY=1") << path;
    EXPECT_EQ(Receive(fd), "STOPPING=1") << path;
    close(fd);
  }
}

TEST_F(ServiceManagerTest, WithoutOneNothingHappens) {
  NotifyServiceManager("READY=1");
  setenv("NOTIFY_SOCKET", "", 1);
  NotifyServiceManager("READY=1");
  setenv("NOTIFY_SOCKET", std::string(500, 'x').c_str(), 1);
  NotifyServiceManager("READY=1");
}

TEST_F(ServiceManagerTest, WatchdogIsOnlyForTheProcessThatItNames) {
  EXPECT_EQ(WatchdogPause(), absl::InfiniteDuration());
  setenv("WATCHDOG_USEC", "60000000", 1);
  EXPECT_EQ(WatchdogPause(), absl::Minutes(1));
  setenv("WATCHDOG_PID", std::to_string(getpid()).c_str(), 1);
  EXPECT_EQ(WatchdogPause(), absl::Minutes(1));
  setenv("WATCHDOG_PID", std::to_string(getppid()).c_str(), 1);
  EXPECT_EQ(WatchdogPause(), absl::InfiniteDuration());
  unsetenv("WATCHDOG_PID");
  for (const char* nonsense : {"", "0", "-5", "soon"}) {
    setenv("WATCHDOG_USEC", nonsense, 1);
    EXPECT_EQ(WatchdogPause(), absl::InfiniteDuration()) << nonsense;
  }
}

}  // namespace
}  // namespace penstock
