#include "tests/hostile/raw_http2.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <utility>

#include "common/coding.h"

namespace penstock::hostile {
namespace {

enum FrameType : uint8_t { kData = 0, kHeaders = 1, kReset = 3, kSettings = 4 };
constexpr uint8_t kEndStream = 1;
constexpr uint8_t kEndHeaders = 4;
constexpr uint32_t kCancel = 8;
constexpr uint16_t kInitialWindowSize = 4;

std::string Frame(FrameType type, uint8_t flags, uint32_t stream, std::string_view payload) {
  std::string frame;
  PutBigEndian(&frame, payload.size(), 3);
  frame.push_back(static_cast<char>(type));
  frame.push_back(static_cast<char>(flags));
  PutBig32(&frame, stream);
  frame += payload;
  return frame;
}

// A header field whose name stands in the static table, without indexing and without Huffman coding.
void AddField(std::string* block, uint8_t name, std::string_view value) {
  if (name < 15) {
    block->push_back(static_cast<char>(name));
  } else {
    block->push_back(15);
    block->push_back(static_cast<char>(name - 15));
  }
  block->push_back(static_cast<char>(value.size()));
  *block += value;
}

}  // namespace

RawConnection::RawConnection(int port, const std::string& from) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  if (fd_ < 0) return;
  sockaddr_in own = {};
  own.sin_family = AF_INET;
  inet_pton(AF_INET, from.c_str(), &own.sin_addr);
  const int yes = 1;
  setsockopt(fd_, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof(yes));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  if (bind(fd_, reinterpret_cast<const sockaddr*>(&own), sizeof(own)) != 0 ||
      connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    close(std::exchange(fd_, -1));
  }
}

RawConnection::RawConnection(RawConnection&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

RawConnection& RawConnection::operator=(RawConnection&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

RawConnection::~RawConnection() {
  if (fd_ < 0) return;
  // Gone at once: thousands of closed connections would keep their ports for a minute.
  const linger at_once = {1, 0};
  setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
  close(fd_);
}

bool RawConnection::Send(std::string_view bytes) {
  while (fd_ >= 0 && !bytes.empty()) {
    const ssize_t sent = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) {
      bytes.remove_prefix(static_cast<size_t>(sent));
    } else if (errno == EAGAIN) {
      pollfd writable = {fd_, POLLOUT, 0};
      if (poll(&writable, 1, 1'000) <= 0) return false;
    } else if (errno != EINTR) {
      return false;
    }
  }
  return fd_ >= 0;
}

bool RawConnection::Swallow() {
  char buffer[16 << 10];
  while (fd_ >= 0) {
    const ssize_t got = recv(fd_, buffer, sizeof(buffer), MSG_DONTWAIT);
    if (got == 0) return false;
    if (got < 0) return errno == EAGAIN || errno == EINTR;
  }
  return false;
}

std::string Preface(uint32_t window) {
  std::string setting;
  PutBigEndian(&setting, kInitialWindowSize, 2);
  PutBig32(&setting, window);
  return "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + Frame(kSettings, 0, 0, setting);
}

std::string CallHeaders(uint32_t stream, std::string_view method) {
  std::string block = "\x83\x86";  // :method POST, :scheme http
  AddField(&block, 4, method);     // :path
  AddField(&block, 1, "broker");   // :authority
  AddField(&block, 31, "application/grpc");
  block += std::string("\x00\x02te\x08trailers", 13);
  return Frame(kHeaders, kEndHeaders, stream, block);
}

std::string DataFrame(uint32_t stream, std::string_view bytes, bool end) {
  return Frame(kData, end ? kEndStream : 0, stream, bytes);
}

std::string ResetFrame(uint32_t stream) {
  std::string code;
  PutBig32(&code, kCancel);
  return Frame(kReset, 0, stream, code);
}

std::string MessagePrefix(uint32_t bytes) {
  std::string prefix(1, '\0');  // not compressed
  PutBig32(&prefix, bytes);
  return prefix;
}

}  // namespace penstock::hostile
