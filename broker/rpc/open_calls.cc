#include "broker/rpc/open_calls.h"

#include <vector>

namespace penstock::broker {

void OpenCalls::Add(const std::shared_ptr<OpenCall>& call) {
  bool stop = false;
  {
    MutexLock lock(mu_);
    calls_.emplace(call.get(), call);
    stop = stopped_;
  }
  if (stop) call->Stop();
}

void OpenCalls::Remove(const OpenCall* call) {
  MutexLock lock(mu_);
  calls_.erase(call);
}

void OpenCalls::StopAll() {
  {
    MutexLock lock(mu_);
    stopped_ = true;
  }
  StopOpen();
}

void OpenCalls::StopOpen() {
  std::vector<std::shared_ptr<OpenCall>> calls;
  {
    MutexLock lock(mu_);
    for (auto& [pointer, weak] : calls_) {
      if (auto call = weak.lock()) calls.push_back(std::move(call));
    }
  }
  for (const auto& call : calls) call->Stop();
}

}  // namespace penstock::broker
