#include "broker/rpc/watch_stream.h"

#include <utility>

#include "common/status_grpc.h"

namespace penstock::broker {

WatchStream* WatchStream::Start(RpcContext& context, TaskId task) {
  auto stream = std::make_shared<WatchStream>(context);
  stream->self_ = stream;
  stream->watch_ = std::make_shared<TaskWatch>(context, stream);
  context.calls.Add(stream);
  stream->watch_->Start(task, false);
  return stream.get();
}

void WatchStream::OnTask(v1::Task task, bool finished) {
  {
    MutexLock lock(mu_);
    if (end_) return;
    writing_ = true;
    if (finished) end_ = absl::OkStatus();
  }
  *response_.mutable_task() = std::move(task);
  StartWrite(&response_);
}

void WatchStream::OnWriteDone(bool ok) {
  bool ended = false;
  {
    MutexLock lock(mu_);
    writing_ = false;
    ended = end_.has_value();
  }
  if (!ok || ended) return End(absl::CancelledError("the caller is gone"));
  watch_->Next();
}

void WatchStream::OnWatchFailed(const absl::Status& status) { End(status); }

void WatchStream::OnCancel() { End(absl::CancelledError("the caller is gone")); }

void WatchStream::Stop() { End(StoppingError()); }

void WatchStream::End(const absl::Status& status) {
  grpc::Status finish;
  {
    MutexLock lock(mu_);
    if (!end_) end_ = status;
    if (writing_ || finished_) return;
    finished_ = true;
    finish = ToGrpc(*end_);
  }
  watch_->Leave();
  Finish(finish);
}

void WatchStream::OnDone() {
  context_.calls.Remove(this);
  self_.reset();  // may destroy this
}

}  // namespace penstock::broker
