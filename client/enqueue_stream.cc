#include "client/enqueue_stream.h"

#include <algorithm>
#include <utility>

#include "common/keep_grpc.h"
#include "common/random.h"
#include "common/status_grpc.h"
#include "fmt/format.h"

namespace penstock {
namespace {

// A frame is closed at this size; a larger call travels alone.
constexpr size_t kFrameBytes = 1 << 20;
constexpr int kFrameTasks = 1'000;
// How often calls whose time is up are looked for.
constexpr absl::Duration kKeep = absl::Milliseconds(100);

absl::Status Gone() { return absl::CancelledError("the client was destroyed; the outcome is unknown"); }

}  // namespace

// One gRPC stream. Deletes itself when it is over; the stream outlives it.
class EnqueueStream::Reactor : public grpc::ClientBidiReactor<v1::EnqueueStreamRequest, v1::EnqueueStreamResponse> {
 public:
  Reactor(EnqueueStream* stream, v1::TaskService::Stub& stub) : stream_(stream) {
    stub.async()->EnqueueStream(&context_, this);
    StartRead(&response_);
    // Writes are started from other threads than gRPC's: without a hold, the call could end under them.
    AddHold();
    StartCall();
  }
  void Cancel() { context_.TryCancel(); }

  void OnReadDone(bool ok) override {
    if (!ok) return stream_->OnEnd(this);
    stream_->OnRead(this, response_);
    StartRead(&response_);
  }
  void OnWriteDone(bool ok) override { stream_->OnWriteDone(this, ok); }
  void OnDone(const grpc::Status& status) override {
    stream_->OnDone(this, FromGrpc(status));
    delete this;
  }
  void Release() {
    if (!std::exchange(released_, true)) RemoveHold();
  }

 private:
  EnqueueStream* const stream_;
  grpc::ClientContext context_;
  v1::EnqueueStreamResponse response_;
  bool released_ = false;  // guarded by the stream's mutex
};

EnqueueStream::EnqueueStream(const ClientOptions& options, std::shared_ptr<grpc::Channel> channel)
    : options_(options),
      channel_(std::move(channel)),
      stub_(v1::TaskService::NewStub(channel_)),
      producer_id_(RandomBytes(16)) {
  keeper_ = std::thread([this] { Keep(); });
}

EnqueueStream::~EnqueueStream() {
  std::vector<Answer> answers;
  {
    MutexLock lock(mu_);
    stopping_ = true;
    FailAll(Gone(), &answers);
    if (reactor_ != nullptr) {
      reactor_->Cancel();
      reactor_->Release();
    }
  }
  changed_.SignalAll();
  Deliver(answers);
  keeper_.join();
  MutexLock lock(mu_);
  while (reactor_ != nullptr) changed_.Wait(mu_);
}

void EnqueueStream::Deliver(std::vector<Answer>& answers) {
  for (auto& [done, result] : answers) done(std::move(result));
}

void EnqueueStream::Add(std::vector<v1::TaskSpec> tasks, absl::Time deadline, Done done) {
  size_t bytes = 0;
  for (const v1::TaskSpec& task : tasks) bytes += task.payload().size() + 64;
  absl::Status refused;
  {
    MutexLock lock(mu_);
    while (refused.ok() && bytes_ > 0 && bytes_ + bytes > options_.in_flight_bytes && !stopping_) {
      const absl::Duration left = deadline - absl::Now();
      if (left <= absl::ZeroDuration()) {
        refused = absl::DeadlineExceededError("too much is on its way to the broker already; nothing was sent");
      } else {
        changed_.WaitFor(mu_, std::min(left, kKeep));
      }
    }
    if (stopping_) refused = Gone();
    if (refused.ok() && options_.when_unavailable == WhenUnavailable::kFailFast && !connected_ && failures_ > 0) {
      refused = absl::UnavailableError(
          fmt::format("no connection to the broker at {}: {}", options_.broker, std::string(last_error_.message())));
    }
    if (refused.ok()) {
      Call call;
      call.tasks = static_cast<int>(tasks.size());
      call.deadline = deadline;
      call.done = std::move(done);
      Append(std::move(tasks), bytes, std::move(call));
      if (reactor_ == nullptr && absl::Now() >= reconnect_at_) Connect();
      WriteNext();
      return;
    }
  }
  done(refused);
}

void EnqueueStream::Append(std::vector<v1::TaskSpec> tasks, size_t bytes, Call call) {
  if (filling_ != nullptr && (filling_->bytes + bytes > kFrameBytes ||
                              filling_->request.tasks_size() + static_cast<int>(tasks.size()) > kFrameTasks)) {
    Seal();
  }
  if (filling_ == nullptr) filling_ = std::make_shared<Frame>();
  for (v1::TaskSpec& task : tasks) *filling_->request.add_tasks() = std::move(task);
  filling_->bytes += bytes;
  filling_->calls.push_back(std::move(call));
  bytes_ += bytes;
}

void EnqueueStream::Seal() {
  filling_->request.set_producer_id(producer_id_);
  filling_->request.set_frame_number(next_number_++);
  frames_.push_back(std::exchange(filling_, nullptr));
  ++unsent_;
}

void EnqueueStream::WriteNext() {
  if (reactor_ == nullptr || ended_ || writing_ != nullptr || stopping_) return;
  std::shared_ptr<Frame> next;
  if (unsent_ > 0) {
    // After a cut all of them, otherwise the last few: frames in flight are few, since a frame grows while one is
    // written.
    const absl::Time now = absl::Now();
    for (const auto& frame : frames_) {
      if (frame->sent || frame->not_before > now) continue;
      next = frame;
      break;
    }
  }
  if (next == nullptr && filling_ != nullptr) {
    Seal();
    next = frames_.back();
  }
  if (next == nullptr) return;
  next->sent = true;
  --unsent_;
  writing_ = std::move(next);
  reactor_->StartWrite(&writing_->request);
}

void EnqueueStream::OnWriteDone(Reactor* reactor, bool ok) {
  MutexLock lock(mu_);
  if (reactor != reactor_) return;
  writing_.reset();
  if (ok) WriteNext();  // if not, OnDone follows
}

// The broker ended the stream, or the connection broke: nothing more is written, so the call may end.
void EnqueueStream::OnEnd(Reactor* reactor) {
  MutexLock lock(mu_);
  ended_ = true;
  reactor->Release();
}

void EnqueueStream::OnRead(Reactor* reactor, v1::EnqueueStreamResponse& response) {
  std::vector<Answer> answers;
  {
    MutexLock lock(mu_);
    if (reactor != reactor_) return;
    connected_ = true;
    failures_ = 0;
    auto found =
        std::lower_bound(frames_.begin(), frames_.end(), response.frame_number(),
                         [](const auto& frame, uint64_t number) { return frame->request.frame_number() < number; });
    if (found == frames_.end() || (*found)->request.frame_number() != response.frame_number()) return;
    std::shared_ptr<Frame> frame = *found;
    frames_.erase(found);
    Answered(std::move(frame), response, &answers);
    WriteNext();
  }
  changed_.SignalAll();
  Deliver(answers);
}

void EnqueueStream::Answered(std::shared_ptr<Frame> frame, v1::EnqueueStreamResponse& response,
                             std::vector<Answer>* answers) {
  const auto code = static_cast<absl::StatusCode>(response.error_code());
  if (code == absl::StatusCode::kOk) {
    bytes_ -= frame->bytes;
    int next = 0;
    for (Call& call : frame->calls) {
      std::vector<EnqueueResult> results;
      results.reserve(static_cast<size_t>(call.tasks));
      for (int i = 0; i < call.tasks && next < response.results_size(); ++i, ++next) {
        const v1::EnqueueResult& result = response.results(next);
        results.push_back({TaskId::Parse(result.task_id()).value_or(TaskId()), result.duplicate()});
      }
      if (call.done) answers->emplace_back(std::move(call.done), std::move(results));
    }
    return;
  }
  const absl::Status status(code, response.error_message());
  const bool repeat = code == absl::StatusCode::kUnavailable ||
                      (code == absl::StatusCode::kResourceExhausted && response.has_retry_delay());
  if (repeat) {
    // Unavailable also says that the broker lost sight of it.
    if (code == absl::StatusCode::kUnavailable) frame->perhaps_stored = true;
    frame->refusal = status;
    // The same frame again, after a while: its number makes that harmless.
    const absl::Duration wait = response.has_retry_delay() ? absl::Seconds(response.retry_delay().seconds()) +
                                                                 absl::Nanoseconds(response.retry_delay().nanos())
                                                           : options_.reconnect_min;
    frame->not_before = absl::Now() + wait;
    frame->sent = false;
    last_error_ = status;
    const auto place = std::lower_bound(frames_.begin(), frames_.end(), frame, [](const auto& a, const auto& b) {
      return a->request.frame_number() < b->request.frame_number();
    });
    frames_.insert(place, std::move(frame));
    ++unsent_;
    FailOverdue(absl::Now(), answers);
    return;
  }
  bytes_ -= frame->bytes;
  if (frame->calls.size() == 1) {
    if (frame->calls[0].done) answers->emplace_back(std::move(frame->calls[0].done), status);
    return;
  }
  // Nothing of it was stored, and only one call may be to blame.
  if (filling_ != nullptr) Seal();
  int next = 0;
  for (Call& call : frame->calls) {
    std::vector<v1::TaskSpec> tasks;
    size_t bytes = 0;
    for (int i = 0; i < call.tasks; ++i, ++next) {
      bytes += frame->request.tasks(next).payload().size() + 64;
      tasks.push_back(std::move(*frame->request.mutable_tasks(next)));
    }
    if (!call.done) continue;
    Append(std::move(tasks), bytes, std::move(call));
    Seal();
  }
}

void EnqueueStream::Connect() {
  connected_ = false;
  ended_ = false;
  KeepGrpcCallbacks(channel_);
  reactor_ = new Reactor(this, *stub_);
}

void EnqueueStream::OnDone(Reactor* reactor, const absl::Status& status) {
  std::vector<Answer> answers;
  {
    MutexLock lock(mu_);
    if (reactor != reactor_) return;
    reactor_ = nullptr;
    writing_.reset();
    connected_ = false;
    last_error_ = status;
    for (const auto& frame : frames_) {
      if (std::exchange(frame->sent, false)) frame->perhaps_stored = true;
    }
    unsent_ = frames_.size();
    // Full jitter: many clients of one broker must not come back at once.
    const absl::Duration bound = std::min(
        options_.reconnect_max, options_.reconnect_min * static_cast<double>(uint64_t{1} << std::min(failures_, 20)));
    ++failures_;
    const double draw =
        static_cast<double>(MixBits(static_cast<uint64_t>(absl::ToUnixNanos(absl::Now()))) >> 11) * 0x1p-53;
    reconnect_at_ = absl::Now() + bound * draw;
    if (!stopping_ && options_.when_unavailable == WhenUnavailable::kFailFast) {
      FailAll(
          absl::UnavailableError(fmt::format("the connection to the broker at {} failed: {}; the outcome is unknown",
                                             options_.broker, std::string(status.message()))),
          &answers);
    }
  }
  changed_.SignalAll();
  Deliver(answers);
}

void EnqueueStream::FailAll(const absl::Status& status, std::vector<Answer>* answers) {
  if (filling_ != nullptr) Seal();
  for (const auto& frame : frames_) {
    for (Call& call : frame->calls) {
      if (call.done) answers->emplace_back(std::exchange(call.done, nullptr), status);
    }
  }
  frames_.clear();
  unsent_ = 0;
  bytes_ = 0;
}

void EnqueueStream::FailOverdue(absl::Time now, std::vector<Answer>* answers) {
  const std::string why = last_error_.ok() ? "no answer from the broker in time" : std::string(last_error_.message());
  const bool fail_fast = options_.when_unavailable == WhenUnavailable::kFailFast;
  auto fail = [&](Frame& frame) {
    bool wanted = false;
    for (Call& call : frame.calls) {
      if (!call.done) continue;
      const bool refused = !frame.sent && !frame.refusal.ok();
      const bool in_vain = refused && (fail_fast || call.deadline <= frame.not_before);
      if (call.deadline > now && !in_vain) {
        wanted = true;
        continue;
      }
      answers->emplace_back(std::exchange(call.done, nullptr),
                            refused && (fail_fast || !frame.perhaps_stored)
                                ? frame.refusal
                                : absl::DeadlineExceededError(fmt::format("{}; the outcome is unknown", why)));
    }
    return wanted;
  };
  if (filling_ != nullptr) fail(*filling_);
  // A frame that nobody waits for any more is not sent again.
  size_t dropped_bytes = 0;
  std::erase_if(frames_, [&](const std::shared_ptr<Frame>& frame) {
    if (fail(*frame) || frame->sent) return false;
    dropped_bytes += frame->bytes;
    return true;
  });
  bytes_ -= dropped_bytes;
  unsent_ = static_cast<size_t>(
      std::count_if(frames_.begin(), frames_.end(), [](const auto& frame) { return !frame->sent; }));
}

void EnqueueStream::Keep() {
  while (true) {
    std::vector<Answer> answers;
    {
      MutexLock lock(mu_);
      if (stopping_) return;
      changed_.WaitFor(mu_, kKeep);
      if (stopping_) return;
      const absl::Time now = absl::Now();
      FailOverdue(now, &answers);
      if (reactor_ == nullptr && now >= reconnect_at_ && (!frames_.empty() || filling_ != nullptr)) Connect();
      WriteNext();
    }
    Deliver(answers);
  }
}

}  // namespace penstock
