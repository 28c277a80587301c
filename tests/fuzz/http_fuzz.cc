// What comes over a connection to the HTTP port, in one piece or in two: the server answers or closes, and goes on.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <string>

#include "broker/http/http_server.h"
#include "tests/fuzz/fuzz_input.h"

namespace penstock::broker {
namespace {

class AlwaysWell : public HealthSource {
 public:
  Health GetHealth() const override { return {}; }
};

HttpServer& Server() {
  static AlwaysWell health;
  // Lives for ever: its threads need not end before the process.
  static HttpServer* const server = [] {
    HttpOptions options;
    options.address = "127.0.0.1:0";
    options.threads = 1;
    auto* made = new HttpServer(options, health, {});
    FUZZ_CHECK(made->Start().ok());
    return made;
  }();
  return *server;
}

// Everything that the server says to `bytes`.
std::string Ask(std::string_view bytes) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(Server().port()));
  FUZZ_CHECK(connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
  while (!bytes.empty()) {
    const ssize_t sent = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) break;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  shutdown(fd, SHUT_WR);
  std::string answer;
  char buffer[4'096];
  for (ssize_t got = 0; (got = recv(fd, buffer, sizeof(buffer), 0)) > 0;)
    answer.append(buffer, static_cast<size_t>(got));
  // No TIME_WAIT: a fuzzer would run out of ports.
  const linger at_once = {1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
  close(fd);
  return answer;
}

}  // namespace
}  // namespace penstock::broker

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using penstock::broker::Ask;
  const std::string answer = Ask(penstock::fuzz::TextOf(data, size));
  FUZZ_CHECK(answer.empty() || answer.compare(0, 5, "HTTP/") == 0);
  // And the next one is served.
  static int calls = 0;
  if (++calls % 64 == 0) {
    FUZZ_CHECK(Ask("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").find(" 200 ") != std::string::npos);
  }
  return 0;
}
