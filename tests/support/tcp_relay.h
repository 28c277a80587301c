#ifndef PENSTOCK_TESTS_SUPPORT_TCP_RELAY_H_
#define PENSTOCK_TESTS_SUPPORT_TCP_RELAY_H_

#include <list>
#include <string>
#include <thread>

#include "common/mutex.h"

namespace penstock::testing {

// A network between two processes that a test can cut: passes the bytes of TCP connections on to a port of this
// machine.
class TcpRelay {
 public:
  explicit TcpRelay(int target_port);
  ~TcpRelay();

  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  // Breaks every connection that is open.
  void Cut();
  // From now on new connections are broken at once, or let through again.
  void Refuse(bool refuse);
  // Connections that were accepted so far, those that were refused not counted.
  int accepted() const;

 private:
  // Both ends of one connection, and a thread for each direction.
  struct Link {
    int ends[2];
    std::thread pumps[2];
  };
  void Accept();

  const int target_port_;
  int listener_ = -1;
  int port_ = 0;
  mutable Mutex mu_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  bool refuse_ ABSL_GUARDED_BY(mu_) = false;
  int accepted_ ABSL_GUARDED_BY(mu_) = 0;
  std::list<Link> links_ ABSL_GUARDED_BY(mu_);
  std::thread acceptor_;
};

}  // namespace penstock::testing

#endif  // PENSTOCK_TESTS_SUPPORT_TCP_RELAY_H_
