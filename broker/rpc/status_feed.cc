#include "broker/rpc/status_feed.h"

#include <utility>

namespace penstock::broker {

void StatusFeed::Get(Done done) {
  {
    MutexLock lock(mu_);
    if (asking_) {
      waiting_.push_back(std::move(done));
      return;
    }
    asking_ = true;
    asked_.push_back(std::move(done));
  }
  AskNow();
}

void StatusFeed::AskNow() {
  Ask(door_, tickets_, StatusCommand(), kSmallCommandBytes, [this](Reply reply) { OnReply(std::move(reply)); });
}

void StatusFeed::OnReply(Reply reply) {
  auto* status = std::get_if<StatusReply>(&reply.value);
  Answer answer = absl::InternalError("the core gave another answer");
  if (!reply.status.ok()) {
    answer = reply.status;
  } else if (status != nullptr) {
    answer = std::make_shared<const StatusReply>(std::move(*status));
  }
  std::vector<Done> asked;
  bool again = false;
  {
    MutexLock lock(mu_);
    asked = std::exchange(asked_, std::exchange(waiting_, {}));
    again = !asked_.empty();
    asking_ = again;
  }
  for (const Done& done : asked) done(answer);
  if (again) AskNow();
}

}  // namespace penstock::broker
