#include "broker/rpc/open_connections.h"

#include <sys/stat.h>

namespace penstock::broker {
namespace {

constexpr absl::Duration kCountAgain = absl::Milliseconds(100);
constexpr absl::Duration kBar = absl::Seconds(10);

}  // namespace

ConnectionLimit OpenConnections::Judge(const Peer& peer, absl::Duration now) {
  const HostBytes network = peer.Network();
  const auto shut = shut_.find(network);
  if (shut != shut_.end() && shut->second.count > 1 && now < shut->second.until) return ConnectionLimit::kResets;
  const ConnectionLimit reached = Compare(network);
  if (reached == ConnectionLimit::kNone || now - counted_ < kCountAgain) return reached;
  counted_ = now;
  DropClosed();
  return Compare(network);
}

ConnectionLimit OpenConnections::Compare(const HostBytes& network) const {
  const auto of_network = by_network_.find(network);
  if (of_network != by_network_.end() && of_network->second >= per_address_max_) return ConnectionLimit::kPerAddress;
  return connections_.size() >= in_all_max_ ? ConnectionLimit::kInAll : ConnectionLimit::kNone;
}

void OpenConnections::Add(int fd, const Peer& peer) {
  struct stat state {};
  fstat(fd, &state);
  connections_.push_back({fd, state.st_ino, peer});
  ++by_network_[peer.Network()];
}

void OpenConnections::NoteShut(const Peer& peer, absl::Duration now) {
  std::erase_if(shut_, [now](const auto& shut) { return shut.second.until <= now; });
  Shut& shut = shut_[peer.Network()];
  ++shut.count;
  shut.until = now + kBar;
}

const std::vector<OpenConnections::Connection>& OpenConnections::All() {
  DropClosed();
  return connections_;
}

void OpenConnections::DropClosed() {
  std::erase_if(connections_, [this](const Connection& connection) {
    struct stat state {};
    if (fstat(connection.fd, &state) == 0 && state.st_ino == connection.inode) return false;
    const auto of_network = by_network_.find(connection.peer.Network());
    if (--of_network->second == 0) by_network_.erase(of_network);
    return true;
  });
}

}  // namespace penstock::broker
