#ifndef PENSTOCK_BROKER_HTTP_TCP_LISTENER_H_
#define PENSTOCK_BROKER_HTTP_TCP_LISTENER_H_

#include <cstddef>
#include <deque>
#include <functional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "common/mutex.h"

namespace penstock::broker {

// Accepts connections and hands each to a thread of a fixed pool. What the pool cannot take waits in a bounded line;
// while that is full nothing is accepted, so that the rest waits in the kernel. (cpp-httplib's own loop has an
// unbounded line, a backlog of 5, shares its port by SO_REUSEPORT, and ends at the first error of accept.)
class TcpListener {
 public:
  // `serve` answers one connection on a pool thread. The socket does not block; the listener closes it afterwards. Stop
  // shuts sockets down, at which `serve` must return soon.
  TcpListener(size_t threads, size_t waiting_max, std::function<void(int fd)> serve)
      : thread_count_(threads), waiting_max_(waiting_max), serve_(std::move(serve)) {}
  ~TcpListener() { Stop(); }
  TcpListener(const TcpListener&) = delete;
  TcpListener& operator=(const TcpListener&) = delete;

  // Port 0: any that is free. Unavailable if the address cannot be had. Once at most.
  absl::Status Start(const std::string& host, int port);
  // REQUIRES: started.
  int port() const { return port_; }
  // Safe twice and without Start.
  void Stop();

 private:
  absl::Status Listen(const std::string& host, int port);
  void Accept();
  void Serve();
  bool WaitForConnection() const;

  // Constant after construction.
  const size_t thread_count_;
  const size_t waiting_max_;
  const std::function<void(int fd)> serve_;

  // Constant after Start.
  int listen_fd_ = -1;
  int wake_fd_ = -1;  // readable when stopping
  int port_ = 0;
  std::vector<std::thread> threads_;

  Mutex mu_;
  CondVar work_;
  CondVar room_;
  std::deque<int> waiting_ ABSL_GUARDED_BY(mu_);
  std::set<int> open_ ABSL_GUARDED_BY(mu_);
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_HTTP_TCP_LISTENER_H_
