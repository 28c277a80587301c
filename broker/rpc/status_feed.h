#ifndef PENSTOCK_BROKER_RPC_STATUS_FEED_H_
#define PENSTOCK_BROKER_RPC_STATUS_FEED_H_

#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "broker/core/effects.h"
#include "broker/engine/door.h"
#include "broker/rpc/ticket_table.h"
#include "common/mutex.h"

namespace penstock::broker {

// Asks the core for its status on behalf of many: at most one question is under way, and whoever comes meanwhile shares
// the next. So an answer is never older than its question, and a hundred dashboards cost the core as much as one. Any
// thread.
class StatusFeed {
 public:
  using Answer = absl::StatusOr<std::shared_ptr<const StatusReply>>;
  using Done = std::function<void(const Answer&)>;

  StatusFeed(CommandDoor& door, TicketTable& tickets) : door_(door), tickets_(tickets) {}

  // Calls `done` once, from the commit thread or, if the door refuses, from this one.
  void Get(Done done);

 private:
  void AskNow();
  void OnReply(Reply reply);

  CommandDoor& door_;
  TicketTable& tickets_;
  Mutex mu_;
  bool asking_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<Done> asked_ ABSL_GUARDED_BY(mu_);    // wait for the question under way
  std::vector<Done> waiting_ ABSL_GUARDED_BY(mu_);  // wait for the next
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_STATUS_FEED_H_
