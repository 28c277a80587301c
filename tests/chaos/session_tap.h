#ifndef PENSTOCK_TESTS_CHAOS_SESSION_TAP_H_
#define PENSTOCK_TESTS_CHAOS_SESSION_TAP_H_

// Writes down what the workers of this process say to the broker and hear from it, as it passes between the worker
// library and gRPC: nothing in the library knows of it.

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/mutex.h"
#include "penstock/v1/worker_service.pb.h"
#include "tests/chaos/recorder.h"

namespace penstock::chaos {

// What a worker's streams have told, one after the other. Any thread.
class SessionTap {
 public:
  // A lease holds for `vouched` microseconds at least after the broker got anything from its worker: the least of the
  // lease, the session grace and the reclaim window.
  SessionTap(Recorder& recorder, std::string worker, int64_t vouched)
      : recorder_(recorder), who_(std::move(worker)), vouched_(vouched) {}

  // Before the request leaves.
  void OnRequest(const v1::WorkRequest& request);
  // Before the library sees the response.
  void OnResponse(const v1::WorkResponse& response);
  // The stream is over. `gone`: the broker does not know the session any more.
  void OnEnd(bool gone);

 private:
  using LeaseOf = std::pair<uint64_t, uint64_t>;  // task, token
  struct Report {
    LeaseOf lease;
    bool repeated = false;
  };
  struct Frame {
    uint64_t number = 0;
    int64_t sent = 0;
    std::vector<Report> reports;
  };

  void TakeWelcome(const v1::Welcome& welcome) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void TakeAcknowledged(const v1::WorkResponse& response) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void LoseAll(bool told, const char* kind) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Vouch(int64_t sent) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  Recorder& recorder_;
  const std::string who_;
  const int64_t vouched_;
  Mutex mu_;
  int64_t hello_sent_ ABSL_GUARDED_BY(mu_) = 0;
  bool resumes_ ABSL_GUARDED_BY(mu_) = false;      // hello named a session
  int64_t heard_ ABSL_GUARDED_BY(mu_) = 0;         // when that was sent which the broker answered last, on this stream
  int64_t valid_until_ ABSL_GUARDED_BY(mu_) = 0;   // as written
  uint64_t last_number_ ABSL_GUARDED_BY(mu_) = 0;  // of the frames
  std::deque<Frame> frames_ ABSL_GUARDED_BY(mu_);  // not acknowledged
  std::set<LeaseOf> told_ ABSL_GUARDED_BY(mu_);    // outcomes written and not answered
  // Starts that the broker knows of with the frame of this number.
  std::deque<std::pair<uint64_t, LeaseOf>> starts_ ABSL_GUARDED_BY(mu_);
};

// From now on every worker of this process is written down, under the name that it says. Call once, before anything
// uses gRPC.
void TapSessions(Recorder& recorder, int64_t vouched);

}  // namespace penstock::chaos

#endif  // PENSTOCK_TESTS_CHAOS_SESSION_TAP_H_
