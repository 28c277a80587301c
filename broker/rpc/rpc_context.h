#ifndef PENSTOCK_BROKER_RPC_RPC_CONTEXT_H_
#define PENSTOCK_BROKER_RPC_RPC_CONTEXT_H_

#include <string>

#include "broker/core/core_types.h"
#include "broker/engine/door.h"
#include "broker/rpc/allowance.h"
#include "broker/rpc/api_limits.h"
#include "broker/rpc/open_calls.h"
#include "broker/rpc/read_pool.h"
#include "broker/rpc/ticket_table.h"
#include "common/clock.h"

namespace penstock::broker {

// What every service needs. Outlives the services and all their calls.
struct RpcContext {
  CommandDoor& door;
  TicketTable& tickets;
  OpenCalls& calls;
  ReadPool& reads;
  const Clock& clock;
  const ApiLimits limits;
  Allowance& held_back;       // what enqueue streams may keep while the mailbox is full
  const std::string version;  // the broker's
  const uint8_t partition = 0;

  Time WallNow() const { return ToMicros(clock.Read().wall); }
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_RPC_CONTEXT_H_
