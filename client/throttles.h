#ifndef PENSTOCK_CLIENT_THROTTLES_H_
#define PENSTOCK_CLIENT_THROTTLES_H_

// Throttles: how many tasks run at once, and how many start in a time. docs/throttles.md says what they do; fields,
// defaults and limits: proto/penstock/v1/throttle_service.proto.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace penstock {

// What a throttle counts apart.
enum class ThrottlePer { kAll = 1, kQueue = 2, kType = 3, kGroup = 4, kKey = 5 };

// `tasks` units in a `period`, up to `burst` of them at once; 0: as many as `tasks`.
struct ThrottleRate {
  uint32_t tasks = 0;
  absl::Duration period = {};  // from 1 ms to 24 h
  uint32_t burst = 0;
};

// Needs max_running or a rate.
struct NewThrottle {
  std::string name = {};
  std::vector<std::string> queues = {};  // whose tasks it counts; empty: all
  std::vector<std::string> types = {};
  ThrottlePer per = ThrottlePer::kAll;
  uint32_t max_running = 0;  // units at once; 0: as many as there are
  std::optional<ThrottleRate> rate = {};
  std::string note = {};  // for people
};

// What is not set stays as it is.
struct ThrottleChange {
  std::optional<std::vector<std::string>> queues = {};
  std::optional<std::vector<std::string>> types = {};
  std::optional<ThrottlePer> per = {};
  std::optional<uint32_t> max_running = {};
  std::optional<ThrottleRate> rate = {};  // of 0 tasks: none any more
  std::optional<std::string> note = {};
};

enum class MeterState { kOpen = 1, kFull = 2, kRate = 3, kCooled = 4 };

struct ThrottleMeter {
  std::string scope = {};  // the queue, type, group or key
  uint64_t running = 0;    // units
  int64_t available = 0;   // units that its bucket holds; below 0: a debt
  MeterState state = MeterState::kOpen;
  std::optional<absl::Time> open_time = {};  // when it opens by itself
  uint64_t waiting = 0;                      // lanes that wait for it
};

struct ThrottleInfo : NewThrottle {
  uint64_t running = 0;                    // units, of all meters
  uint64_t waiting_meters = 0;             // meters that something waits for
  std::vector<ThrottleMeter> meters = {};  // at most 100; not in lists
  bool more_meters = false;
};

// Makes and changes throttles. Belongs to a Client (client/client.h), whose rules hold: any thread; calls block until
// their time is up and are repeated while the broker is away; InvalidArgument names the field.
//
//   absl::StatusOr<penstock::ThrottleInfo> made = client->Throttles().Create(
//       {.name = "mail-api", .types = {"mail.send"}, .max_running = 10, .rate = penstock::ThrottleRate{100,
//       absl::Seconds(1)}});
class ThrottleClient {
 public:
  virtual ~ThrottleClient() = default;

  // AlreadyExists: one of that name exists, perhaps of this very call, when its answer got lost. ResourceExhausted:
  // limits.throttles.
  virtual absl::StatusOr<ThrottleInfo> Create(NewThrottle throttle) = 0;
  // At once, for what waits already. NotFound.
  virtual absl::StatusOr<ThrottleInfo> Update(const std::string& name, ThrottleChange change) = 0;
  // NotFound.
  virtual absl::StatusOr<ThrottleInfo> Get(const std::string& name) = 0;
  // All of them, in the order of their names.
  virtual absl::StatusOr<std::vector<ThrottleInfo>> List() = 0;
  // What it held back may run. NotFound; also when the first call was heard and its answer got lost.
  virtual absl::Status Delete(const std::string& name) = 0;
};

}  // namespace penstock

#endif  // PENSTOCK_CLIENT_THROTTLES_H_
