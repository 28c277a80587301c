#ifndef PENSTOCK_CLIENT_FAKE_THROTTLES_H_
#define PENSTOCK_CLIENT_FAKE_THROTTLES_H_

#include <map>
#include <string>
#include <vector>

#include "client/throttles.h"
#include "common/mutex.h"

namespace penstock {

// The throttles of a FakeClient (client/fake_client.h): remembered, and holding back nothing. Any thread.
class FakeThrottles final : public ThrottleClient {
 public:
  absl::StatusOr<ThrottleInfo> Create(NewThrottle throttle) override;
  absl::StatusOr<ThrottleInfo> Update(const std::string& name, ThrottleChange change) override;
  absl::StatusOr<ThrottleInfo> Get(const std::string& name) override;
  absl::StatusOr<std::vector<ThrottleInfo>> List() override;
  absl::Status Delete(const std::string& name) override;

 private:
  mutable Mutex mu_;
  std::map<std::string, ThrottleInfo> throttles_ ABSL_GUARDED_BY(mu_);
};

}  // namespace penstock

#endif  // PENSTOCK_CLIENT_FAKE_THROTTLES_H_
