#ifndef PENSTOCK_BROKER_RPC_OPEN_CONNECTIONS_H_
#define PENSTOCK_BROKER_RPC_OPEN_CONNECTIONS_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "absl/time/time.h"
#include "broker/rpc/peer.h"

namespace penstock::broker {

// The limit that one more connection would pass.
enum class ConnectionLimit {
  kNone,
  kInAll,       // limits.connections
  kPerAddress,  // limits.connections_per_address
  kResets,      // connections from there were closed lately for their calls
  kFiles,       // the process has no file descriptor left
};

// The connections that gRPC was given, and the two limits on them. gRPC closes them without a word, so they are looked
// at when it matters: when a limit seems to be reached, or somebody asks. Used under the listener's lock.
class OpenConnections {
 public:
  // The descriptor may have been closed and used again for something else since: the inode of a socket tells.
  struct Connection {
    int fd;
    ino_t inode;
    Peer peer;
  };

  OpenConnections(size_t in_all_max, size_t per_address_max)
      : in_all_max_(in_all_max), per_address_max_(per_address_max) {}

  // Whether one more from there may come in. `now` is monotonic: a count looks at every connection, and is not made
  // again within 100 ms.
  ConnectionLimit Judge(const Peer& peer, absl::Duration now);
  // `fd` is open, and given to gRPC after this.
  void Add(int fd, const Peer& peer);
  // A connection from there was closed for its calls. After the second one in a while those that follow are kResets.
  void NoteShut(const Peer& peer, absl::Duration now);
  // How many are open, counted now.
  size_t Count() { return All().size(); }
  // Those that are open now.
  const std::vector<Connection>& All();

 private:
  ConnectionLimit Compare(const HostBytes& network) const;
  void DropClosed();

  const size_t in_all_max_;
  const size_t per_address_max_;
  std::vector<Connection> connections_;
  std::map<HostBytes, size_t> by_network_;  // none is 0
  struct Shut {
    uint32_t count = 0;
    absl::Duration until;  // when it is forgotten
  };
  std::map<HostBytes, Shut> shut_;
  absl::Duration counted_ = -absl::InfiniteDuration();
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_OPEN_CONNECTIONS_H_
