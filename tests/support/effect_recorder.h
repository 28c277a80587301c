#ifndef PENSTOCK_TESTS_SUPPORT_EFFECT_RECORDER_H_
#define PENSTOCK_TESTS_SUPPORT_EFFECT_RECORDER_H_

#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "broker/engine/door.h"
#include "common/mutex.h"
#include "tests/support/gated_store.h"

namespace penstock::broker {

// The edges' place in tests of the engine: keeps what is released, and how far the store was then. The engine's commit
// thread releases; the test asks from any thread.
class EffectRecorder : public EffectReceiver {
 public:
  struct Answer {
    Reply reply;
    size_t release = 0;          // the number of the release that brought it, from 1
    size_t commits = 0;          // of the store, at the release
    size_t durable_commits = 0;  // of the store, at the release
  };
  struct Delivered {
    Ticket stream;
    TaskId task;
    FencingToken token;
    std::string spec;
  };

  // `store` outlives the recorder.
  explicit EffectRecorder(const GatedStore& store) : store_(store) {}

  void Release(Effects effects) override;
  // Called at the beginning of every release, on the commit thread.
  void SetObserver(std::function<void(const Effects&)> observer);

  // Waits until the ticket is answered.
  Answer Await(Ticket ticket);
  // Waits until so many tasks were delivered, and returns all.
  std::vector<Delivered> AwaitDeliveries(size_t count);
  // Waits for the stream's welcome, or its end.
  SessionWelcome AwaitWelcome(Ticket stream);
  absl::Status AwaitEnd(Ticket stream);
  WatchEvent AwaitWatchEvent(Ticket ticket);

  // Tickets in the order of their replies; one answered twice stands here twice.
  std::vector<Ticket> order() const;
  size_t releases() const;
  std::vector<Delivered> deliveries() const;

 private:
  const GatedStore& store_;
  mutable Mutex mu_;
  CondVar changed_;
  std::function<void(const Effects&)> observer_ ABSL_GUARDED_BY(mu_);
  std::map<Ticket, Answer> answers_ ABSL_GUARDED_BY(mu_);  // the first of each ticket
  std::vector<Ticket> order_ ABSL_GUARDED_BY(mu_);
  size_t releases_ ABSL_GUARDED_BY(mu_) = 0;
  std::vector<Delivered> deliveries_ ABSL_GUARDED_BY(mu_);
  std::map<Ticket, SessionWelcome> welcomes_ ABSL_GUARDED_BY(mu_);
  std::map<Ticket, absl::Status> ends_ ABSL_GUARDED_BY(mu_);
  std::map<Ticket, WatchEvent> watch_events_ ABSL_GUARDED_BY(mu_);  // the last of each ticket
};

}  // namespace penstock::broker

#endif  // PENSTOCK_TESTS_SUPPORT_EFFECT_RECORDER_H_
