#ifndef PENSTOCK_WORKER_OUTCOME_H_
#define PENSTOCK_WORKER_OUTCOME_H_

#include <concepts>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace penstock {

// Why an attempt failed. Kept with the task; sizes as in proto/penstock/v1/task.proto.
struct HandlerError {
  std::string type;  // a short name, for instance "timeout" or an exception's type
  std::string message;
  std::string detail;  // a stack, or the tail of standard error
};

// What is left alone for a while beside the task itself, because what it needs is overloaded. Tasks that run go on.
enum class CoolScope {
  kTask,   // nothing else
  kQueue,  // all tasks of its queue
  kType,   // all tasks of its type, in all queues
  kGroup,  // all tasks of its group, in all queues
  kKey,    // all tasks of its FIFO key, in all queues
};
// The longest that a handler can keep others waiting.
inline constexpr absl::Duration kCoolMax = absl::Hours(1);

struct FollowUps;  // with the runtime

// What a handler decided about its task.
class Outcome {
 public:
  enum class Kind { kDone, kRetry, kReject, kSnooze, kRelease, kCancelled };

  // The task is completed.
  static Outcome Done(std::string result = {}, std::string content_type = {}) {
    Outcome outcome(Kind::kDone);
    outcome.result_ = std::move(result);
    outcome.content_type_ = std::move(content_type);
    return outcome;
  }
  // The attempt failed; another follows after the task's backoff, if it has one left.
  static Outcome Retry(HandlerError error) {
    Outcome outcome(Kind::kRetry);
    outcome.error_ = std::move(error);
    return outcome;
  }
  // The same, but not before `delay` has passed, and nothing else that `cool` names either: "429, retry after 30 s".
  // With a scope the delay is at most kCoolMax, to which a longer one is cut: whoever is told 429 again cools again.
  static Outcome RetryAfter(absl::Duration delay, HandlerError error, CoolScope cool = CoolScope::kTask) {
    Outcome outcome = Retry(std::move(error));
    outcome.delay_ = delay;
    outcome.cool_ = cool;
    return outcome;
  }
  // Running it again is of no use: the task is dead at once, and kept with the error.
  static Outcome Reject(HandlerError error) {
    Outcome outcome(Kind::kReject);
    outcome.error_ = std::move(error);
    return outcome;
  }
  // Not now: run it again after `delay`. Not an attempt. `cool` as in RetryAfter.
  static Outcome Snooze(absl::Duration delay, CoolScope cool = CoolScope::kTask) {
    Outcome outcome(Kind::kSnooze);
    outcome.delay_ = delay;
    outcome.cool_ = cool;
    return outcome;
  }
  // Give it back unfinished, to run elsewhere at once. Not an attempt.
  static Outcome Release() { return Outcome(Kind::kRelease); }
  // The handler ended because its task was cancelled.
  static Outcome Cancelled() { return Outcome(Kind::kCancelled); }

  // What typed handlers' statuses mean:
  //   Unavailable, DeadlineExceeded, Aborted, Internal, Unknown, ResourceExhausted, DataLoss, Cancelled   retry
  //   InvalidArgument, NotFound, AlreadyExists, FailedPrecondition, OutOfRange, Unimplemented,
  //   PermissionDenied, Unauthenticated                                                                    reject
  static Outcome FromStatus(const absl::Status& status);

  Kind kind() const { return kind_; }
  const std::string& result() const { return result_; }
  const std::string& content_type() const { return content_type_; }
  const HandlerError& error() const { return error_; }
  // Negative: none.
  absl::Duration delay() const { return delay_; }
  CoolScope cool() const { return cool_; }
  // What the handler enqueued with its completion (TaskContext::Enqueue); null: nothing.
  const FollowUps* follow_ups() const { return follow_ups_.get(); }

 private:
  friend class Executor;
  friend class WorkerCore;
  explicit Outcome(Kind kind) : kind_(kind) {}
  // The broker reads texts of limited size, in UTF-8.
  void CleanTexts(size_t type_max, size_t text_max);

  Kind kind_;
  std::string result_;
  std::string content_type_;
  HandlerError error_;
  absl::Duration delay_ = -absl::InfiniteDuration();
  CoolScope cool_ = CoolScope::kTask;
  std::shared_ptr<const FollowUps> follow_ups_;
};

template <class Response>
class OutcomeOr;
template <class T, class Response>
concept ResponseOrStatus =
    !std::same_as<std::remove_cvref_t<T>, OutcomeOr<Response>> && !std::same_as<std::remove_cvref_t<T>, Outcome> &&
    std::convertible_to<T, absl::StatusOr<Response>>;

// What handlers with typed answers may return instead of absl::StatusOr<Response>: a response, a status, or an outcome,
// where a status cannot say what shall become of the task (Release, Snooze, RetryAfter).
template <class Response>
class OutcomeOr {
 public:
  // Implicit: a handler returns what it has. NOLINTNEXTLINE(google-explicit-constructor)
  OutcomeOr(Outcome outcome) : outcome_(std::move(outcome)) {}
  template <ResponseOrStatus<Response> T>
  // NOLINTNEXTLINE(google-explicit-constructor,bugprone-forwarding-reference-overload)
  OutcomeOr(T&& response) : response_(std::forward<T>(response)) {}

  // The outcome; `done(response)` makes one of a response.
  template <class Done>
  Outcome ToOutcome(const Done& done) && {
    if (outcome_) return *std::move(outcome_);
    if (!response_.ok()) return Outcome::FromStatus(response_.status());
    return done(*response_);
  }

 private:
  std::optional<Outcome> outcome_;
  absl::StatusOr<Response> response_;  // if there is no outcome
};

}  // namespace penstock

#endif  // PENSTOCK_WORKER_OUTCOME_H_
