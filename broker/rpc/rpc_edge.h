#ifndef PENSTOCK_BROKER_RPC_RPC_EDGE_H_
#define PENSTOCK_BROKER_RPC_RPC_EDGE_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "broker/engine/door.h"
#include "broker/rpc/api_limits.h"
#include "broker/rpc/backup_door.h"
#include "broker/rpc/broker_facts.h"
#include "broker/rpc/bulk_jobs.h"
#include "broker/rpc/grpc_server.h"
#include "broker/rpc/rate_meter.h"
#include "broker/rpc/status_feed.h"
#include "broker/rpc/ticket_table.h"
#include "common/clock.h"

namespace penstock::broker {

// The gRPC edge as a whole: the services, what they share, and the server that listens. Owned by the broker's
// server. Stop it before the engine stops, so that calls get their answers; destroy it after the engine has stopped,
// which answers what no call waits for any more (a sample of the rates, the end of a session).
class RpcEdge {
 public:
  struct Options {
    GrpcServerOptions server;
    ApiLimits limits;
    size_t reads_waiting = 1'000;        // gets and lists that wait for a thread
    std::vector<LimitInfo> limit_infos;  // what GetLimits shows
    std::string version;
    uint8_t partition = 0;
    BackupDoor* backups = nullptr;  // outlives the edge; null: this broker makes no backups
    BulkJobs::Options bulk;
  };

  // All references outlive the edge. Errors as GrpcServer::Start.
  static absl::StatusOr<std::unique_ptr<RpcEdge>> Start(Options options, CommandDoor& door, TicketTable& tickets,
                                                        const BrokerFacts& facts, const Clock& clock);
  ~RpcEdge();

  int port() const;
  // As GrpcServer.
  absl::Status Probe(absl::Duration time) const;
  ListenerFigures connections() const;
  // What grpc.health.v1 says.
  void SetServing(bool serving);
  // Only for the services that take tasks, so that probes of workers stay content while enqueues are refused.
  void SetTakingTasks(bool taking);
  // Any thread; shared with the HTTP side.
  StatusFeed& status();
  BulkJobs::Figures bulk_figures() const;
  const RateMeter& rates() const;
  // Asks for the status and shows it to the rate meter. The server calls it once a second.
  void SampleRates();

  // The engine has failed and stopped, and the door takes nothing: ends the calls that are known to that engine only
  // (streams, waits) with UNAVAILABLE, so that their clients connect again, and returns when nothing reads from its
  // store any more. Not from a thread of the edge or the engine.
  void LeaveEngine();
  // A new engine runs behind the door: bulk jobs go on. (Start does so by itself for the first.)
  void EnterEngine();
  // The clock was moved by hand.
  void LookAtClock();

  // Ends streams and waits with UNAVAILABLE, takes no more calls, and waits for the answers of those under way, at most
  // for `grace`. Safe twice.
  void Stop(absl::Duration grace);

 private:
  struct Parts;
  explicit RpcEdge(std::unique_ptr<Parts> parts);

  const std::unique_ptr<Parts> parts_;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_RPC_EDGE_H_
