#ifndef PENSTOCK_CLIENT_FAKE_BULK_H_
#define PENSTOCK_CLIENT_FAKE_BULK_H_

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "client/bulk.h"
#include "common/mutex.h"

namespace penstock {

// The bulk jobs of a FakeClient (client/fake_client.h): each does all it has to do before Start returns. Any thread.
class FakeBulk final : public BulkClient {
 public:
  // The tasks that fit; and what the job is for, done to one.
  using Find = std::function<absl::StatusOr<std::vector<TaskId>>(const TaskFilter&)>;
  using Change = std::function<absl::Status(const BulkJobSpec&, TaskId)>;
  FakeBulk(Find find, Change change) : find_(std::move(find)), change_(std::move(change)) {}

  absl::StatusOr<BulkJobInfo> Start(BulkJobSpec spec, const std::string& request_id) override;
  absl::StatusOr<BulkJobInfo> Get(const std::string& id) override;
  absl::StatusOr<std::vector<BulkJobInfo>> List() override;
  // FailedPrecondition, for it has ended.
  absl::StatusOr<BulkJobInfo> Stop(const std::string& id) override;

 private:
  const Find find_;
  const Change change_;
  mutable Mutex mu_;
  std::vector<BulkJobInfo> jobs_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, std::string> requests_ ABSL_GUARDED_BY(mu_);  // id of the job by that of the request
};

}  // namespace penstock

#endif  // PENSTOCK_CLIENT_FAKE_BULK_H_
