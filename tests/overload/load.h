#ifndef PENSTOCK_TESTS_OVERLOAD_LOAD_H_
#define PENSTOCK_TESTS_OVERLOAD_LOAD_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "client/client.h"
#include "common/mutex.h"
#include "penstock/v1/task_service.grpc.pb.h"
#include "tests/overload/ledger.h"

namespace penstock::overload {

// Producers of tasks: they enqueue, and write down what they are answered.
class Load {
 public:
  virtual ~Load() = default;

  // Keeps `window` calls under way for so long.
  void Closed(size_t window, absl::Duration time);
  // Begins `rate` calls a second, however the others fare.
  void Open(double rate, absl::Duration time);
  // Waits until every call has its answer.
  void AwaitAnswers();
  // One call and its answer.
  absl::Status One();

 protected:
  // Begins a call; `done` is called once, from any thread. May block for a moment.
  virtual void Begin(std::function<void(const absl::Status&)> done) = 0;

 private:
  void Issue();

  Mutex mu_;
  CondVar changed_;
  size_t under_way_ ABSL_GUARDED_BY(mu_) = 0;
};

// Unary calls over a few connections, without repetitions: the hardest load, since nothing slows it down.
std::unique_ptr<Load> UnaryLoad(const std::string& address, Ledger& ledger, size_t payload_bytes,
                                absl::Duration deadline);
// Clients of the library, which slow down, wait and repeat.
std::unique_ptr<Load> LibraryLoad(const std::string& address, Ledger& ledger, size_t payload_bytes,
                                  absl::Duration deadline);

inline constexpr char kQueue[] = "load";
inline constexpr char kType[] = "work";

}  // namespace penstock::overload

#endif  // PENSTOCK_TESTS_OVERLOAD_LOAD_H_
