#ifndef PENSTOCK_WORKER_FENCING_H_
#define PENSTOCK_WORKER_FENCING_H_

// Protecting other systems from a worker that does not know that it has lost its task.
//
// A task runs at least once, and now and then twice at a time: a worker whose machine froze, or whose network was cut,
// goes on when its lease has long been given to another. Whatever it still tells the broker is refused. What it writes
// elsewhere is refused only if that system knows which of the two is newer. That is what the fencing token is for: it
// grows with every delivery, across all tasks. A system that keeps the largest token with what is written, and refuses
// smaller ones in the same step as it writes, takes nothing from a stale worker.
//
//   SQL: a column `fence BIGINT NOT NULL DEFAULT 0` in the row that is written.
//     UPDATE account SET balance = :balance, fence = :token WHERE id = :id AND fence <= :token
//     INSERT INTO account (id, balance, fence) VALUES (:id, :balance, :token)
//       ON CONFLICT (id) DO UPDATE SET balance = excluded.balance, fence = excluded.fence
//       WHERE account.fence <= excluded.fence
//     No row was changed: the token is stale. Bind ForSql().
//   Object stores with conditional writes: keep ToText() in the object's metadata. Read it with the object's ETag; if
//   it
//     is larger than yours, you are stale; else write with If-Match: that ETag (If-None-Match: * when there was no
//     object), and begin anew if the condition fails. Never write without a condition.
//   HTTP: send the header kFencingHeader with ToText(); the service keeps a FencedRegister, or one of the above, and
//     answers 409 Conflict to stale ones.
//   Files and key-value stores without conditions: write to a name that contains ToText(), which sorts as the number
//     does; readers take the last one.
//
// Whoever is refused returns Outcome::Cancelled(): the task is no longer its own, and nobody waits for its outcome.
// worker/examples/fenced_store.cc is a whole example, with SQLite.

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "common/mutex.h"
#include "worker/task_context.h"

namespace penstock {

// The header by which tokens go along with HTTP calls.
inline constexpr std::string_view kFencingHeader = "Penstock-Fencing-Token";

// Names one delivery of one task. Of two runs the later one has the larger token, whatever their tasks, queues and
// workers are, as long as one broker deals them out. A value.
class FencingToken {
 public:
  FencingToken() = default;  // older than every other
  explicit FencingToken(uint64_t value) : value_(value) {}
  explicit FencingToken(const TaskContext& context) : value_(context.fencing_token()) {}
  // As ToText wrote it, or a number without leading zeros, as in PENSTOCK_FENCING_TOKEN. nullopt: something else.
  static std::optional<FencingToken> Parse(std::string_view text);

  uint64_t value() const { return value_; }
  // For columns of signed 64-bit numbers (BIGINT, SQLite's INTEGER). The order stays for the first eight million starts
  // of a broker, which are counted in a token's upper bits.
  int64_t ForSql() const { return static_cast<int64_t>(value_); }
  // 20 digits, so that texts are in the order of the tokens.
  std::string ToText() const;

  auto operator<=>(const FencingToken&) const = default;

 private:
  uint64_t value_ = 0;
};

// The newest token of each resource, for a service that keeps its resources in the memory of one process, or has a
// process of its own before them. What outlives the process belongs into the store: after a restart every resource is
// taken for new. Any thread may call it.
//
//   penstock::FencedRegister fences;
//   absl::Status status = fences.Write("account/7", token, [&] { accounts[7] = balance; });
//   if (!status.ok()) ...  // FailedPrecondition: a newer run has written; nothing was done
class FencedRegister {
 public:
  // Remembers so many resources. Of more, the one with the smallest token is forgotten; from then on a resource that is
  // not remembered takes no token below that, so that nothing stale passes. A run that is refused by this without being
  // stale runs again under a newer token.
  explicit FencedRegister(size_t resources_max = 100'000);
  FencedRegister(const FencedRegister&) = delete;
  FencedRegister& operator=(const FencedRegister&) = delete;

  // OK, and the token is the resource's newest: it is the same as before, or newer. FailedPrecondition: a newer one was
  // here. Says nothing of what happens afterwards: another run may come before what you do next. Use Write where that
  // matters.
  absl::Status Admit(std::string_view resource, FencingToken token);

  // Calls `write` if the token is admitted, and admits no other for any resource until it returns, so that a stale run
  // can neither write after a newer one nor between its check and its write. `write` should be short, and must not call
  // this register. If it throws, the token stays admitted.
  absl::Status Write(std::string_view resource, FencingToken token, const std::function<void()>& write);

  // The newest token of a resource; that of nobody if it is not remembered.
  FencingToken NewestOf(std::string_view resource) const;
  size_t size() const;

 private:
  absl::Status AdmitLocked(std::string_view resource, FencingToken token) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const size_t resources_max_;
  mutable Mutex mu_;
  std::map<std::string, FencingToken, std::less<>> newest_ ABSL_GUARDED_BY(mu_);
  std::set<std::pair<FencingToken, std::string>> by_token_ ABSL_GUARDED_BY(mu_);  // the same, to find the smallest
  FencingToken floor_ ABSL_GUARDED_BY(mu_);                                       // the largest that was forgotten
};

}  // namespace penstock

#endif  // PENSTOCK_WORKER_FENCING_H_
