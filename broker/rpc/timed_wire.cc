#include "broker/rpc/timed_wire.h"

#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <system_error>

#include "common/clock.h"
#include "common/status.h"
#include "common/units.h"
#include "fmt/format.h"

namespace penstock::broker {
namespace {

// As ALPN spells it.
constexpr unsigned char kHttp2[] = "\x02h2";

absl::Duration Elapsed() { return SystemClock().Read().elapsed; }

absl::Status Failed(std::string_view what, int error) {
  return absl::UnavailableError(fmt::format("{}: {}", what, std::generic_category().message(error)));
}

socklen_t SizeOf(const sockaddr_storage& address) {
  return address.ss_family == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
}

const sockaddr* Plain(const sockaddr_storage& address) { return reinterpret_cast<const sockaddr*>(&address); }

}  // namespace

TimedWire::TimedWire(absl::Duration time) : deadline_(Elapsed() + time), time_(time) {}

TimedWire::~TimedWire() {
  if (tls_ != nullptr) SSL_free(tls_);
  if (fd_ >= 0) close(fd_);
}

absl::StatusOr<Peer> TimedWire::Bind(const sockaddr_storage& server) {
  fd_ = socket(server.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  // What only this process lacks says nothing about the server.
  if (fd_ < 0) return absl::FailedPreconditionError(Failed("no socket", errno).message());
  // Without SO_REUSEADDR: nobody else has this port while we do.
  sockaddr_storage own = server;
  (own.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(own).sin6_port
                             : reinterpret_cast<sockaddr_in&>(own).sin_port) = 0;
  socklen_t size = sizeof(own);
  if (bind(fd_, Plain(own), SizeOf(own)) != 0 || getsockname(fd_, reinterpret_cast<sockaddr*>(&own), &size) != 0) {
    return absl::FailedPreconditionError(Failed("no port to connect from", errno).message());
  }
  return Peer::From(own);
}

absl::Status TimedWire::Connect(const sockaddr_storage& server) {
  if (connect(fd_, Plain(server), SizeOf(server)) == 0) return absl::OkStatus();
  if (errno != EINPROGRESS) return Failed("cannot connect", errno);
  RETURN_IF_ERROR(Await(POLLOUT));
  int error = 0;
  socklen_t size = sizeof(error);
  if (getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  return error == 0 ? absl::OkStatus() : Failed("cannot connect", error);
}

absl::Status TimedWire::StartTls() {
  const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(TLS_client_method()), SSL_CTX_free);
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_NONE, nullptr);
  SSL_CTX_set_alpn_protos(context.get(), kHttp2, sizeof(kHttp2) - 1);
  tls_ = SSL_new(context.get());
  SSL_set_fd(tls_, fd_);
  while (true) {
    ERR_clear_error();
    const int result = SSL_connect(tls_);
    if (result == 1) return absl::OkStatus();
    RETURN_IF_ERROR(Annotate(AwaitTls(result), "TLS handshake"));
  }
}

absl::Status TimedWire::Send(std::string_view bytes) {
  while (!bytes.empty()) {
    int sent = 0;
    if (tls_ != nullptr) {
      ERR_clear_error();
      sent = SSL_write(tls_, bytes.data(), static_cast<int>(bytes.size()));
      if (sent <= 0) RETURN_IF_ERROR(AwaitTls(sent));
    } else {
      sent = static_cast<int>(send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL));
      if (sent < 0 && errno != EAGAIN && errno != EINTR) return Failed("cannot send", errno);
      if (sent < 0) RETURN_IF_ERROR(Await(POLLOUT));
    }
    if (sent > 0) bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> TimedWire::Receive() {
  char buffer[4'096];
  while (true) {
    if (tls_ != nullptr) {
      ERR_clear_error();
      const int got = SSL_read(tls_, buffer, sizeof(buffer));
      if (got > 0) return std::string(buffer, static_cast<size_t>(got));
      RETURN_IF_ERROR(AwaitTls(got));
      continue;
    }
    const ssize_t got = recv(fd_, buffer, sizeof(buffer), 0);
    if (got > 0) return std::string(buffer, static_cast<size_t>(got));
    if (got == 0) return absl::UnavailableError("the connection was closed");
    if (errno != EAGAIN && errno != EINTR) return Failed("cannot receive", errno);
    RETURN_IF_ERROR(Await(POLLIN));
  }
}

absl::Status TimedWire::Await(short events) {
  while (true) {
    const int64_t left = absl::ToInt64Milliseconds(absl::Ceil(deadline_ - Elapsed(), absl::Milliseconds(1)));
    if (left <= 0)
      return absl::DeadlineExceededError(fmt::format("no answer within {}", penstock::FormatDuration(time_)));
    pollfd waited{fd_, events, 0};
    // The clock of poll() stands while the machine sleeps, ours does not: at most a second at a time.
    const int ready = poll(&waited, 1, static_cast<int>(std::min<int64_t>(left, 1'000)));
    if (ready > 0) return absl::OkStatus();  // an error or the end, too: the next call tells which
    if (ready < 0 && errno != EINTR) return Failed("cannot wait", errno);
  }
}

absl::Status TimedWire::AwaitTls(int result) {
  const int error = errno;
  switch (SSL_get_error(tls_, result)) {
    case SSL_ERROR_WANT_READ:
      return Await(POLLIN);
    case SSL_ERROR_WANT_WRITE:
      return Await(POLLOUT);
    case SSL_ERROR_SYSCALL:
      return error == 0 ? absl::UnavailableError("the connection was closed") : Failed("the connection broke", error);
    case SSL_ERROR_SSL: {
      const char* reason = ERR_reason_error_string(ERR_peek_last_error());
      return absl::UnavailableError(reason != nullptr ? reason : "the connection broke");
    }
    default:
      return absl::UnavailableError("the connection was closed");
  }
}

}  // namespace penstock::broker
