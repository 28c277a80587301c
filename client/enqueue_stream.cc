#include "client/enqueue_stream.h"

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <optional>
#include <utility>

#include "client/backoff.h"
#include "client/callback_scope.h"
#include "common/keep_grpc.h"
#include "common/random.h"
#include "common/status_grpc.h"
#include "common/units.h"
#include "fmt/format.h"
#include "google/protobuf/io/coded_stream.h"

namespace penstock {
namespace {

// A frame is closed at this size; a larger call travels alone.
constexpr size_t kFrameBytes = 1 << 20;
constexpr int kFrameTasks = 1'000;
// See MayGrow.
constexpr size_t kFramesUnderWay = 3;
constexpr int kSmallFrameTasks = 64;
constexpr size_t kSmallFrameBytes = 64 << 10;
// What a frame has beside its tasks, at most: the producer's id and its number.
constexpr size_t kFrameOverhead = 32;
// A frame that ended so many streams, alone in flight each time, is refused, although nobody said that it is too large:
// a broker short of memory ends streams in the same way, but not always the same one's.
constexpr int kEndsAlone = 5;
// How often calls whose time is up are looked for.
constexpr absl::Duration kKeep = absl::Milliseconds(100);

absl::Status Gone() { return absl::CancelledError("the client was destroyed; the outcome is unknown"); }

// What a task takes in a frame.
size_t BytesIn(const v1::TaskSpec& task) {
  const size_t size = task.ByteSizeLong();
  return 1 + google::protobuf::io::CodedOutputStream::VarintSize64(size) + size;
}

// The largest message that the broker takes, if the status says that one was larger:
// "Received message larger than max (5242932 vs. 4194304)".
std::optional<size_t> MessageMaxIn(const absl::Status& status) {
  const std::string message(status.message());
  const size_t at = message.find("larger than max (");
  unsigned long long size = 0;
  unsigned long long max = 0;
  if (at == std::string::npos ||
      std::sscanf(message.c_str() + at, "larger than max (%llu vs. %llu)", &size, &max) != 2) {
    return std::nullopt;
  }
  return max;
}

absl::Status TooLarge(int tasks, size_t bytes, size_t bytes_max) {
  return FieldOverLimit(
      tasks == 1 ? "tasks[0].payload" : "tasks",
      fmt::format("the call is a message of {} bytes, and the broker takes at most {} ({}): its limits.message",
                  FormatCount(bytes), FormatCount(bytes_max), FormatSize(bytes_max)),
      "limits.message");
}

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

EnqueueStream::EnqueueStream(const ClientOptions& options, std::shared_ptr<grpc::Channel> channel, const Bounds& bounds)
    : options_(options),
      bounds_(bounds),
      channel_(std::move(channel)),
      stub_(v1::TaskService::NewStub(channel_)),
      producer_id_(RandomBytes(16)) {
  keeper_ = std::thread([this] { Keep(); });
}

void EnqueueStream::Stop() {
  Answers answers;
  {
    MutexLock lock(mu_);
    stopping_ = true;
    FailAll(Gone(), &answers);
    if (reactor_ != nullptr) {
      reactor_->Cancel();
      reactor_->Release();
    }
    changed_.SignalAll();
    room_.SignalAll();
  }
  Deliver(answers);
  if (keeper_.joinable()) keeper_.join();
  MutexLock lock(mu_);
  while (reactor_ != nullptr) changed_.Wait(mu_);
}

void EnqueueStream::Deliver(Answers& answers) {
  CallbackScope scope;
  for (auto& [done, result] : answers) done(std::move(result));
  // With what the callbacks hold, before Stop returns.
  answers.clear();
}

void EnqueueStream::Add(std::vector<v1::TaskSpec> tasks, absl::Time deadline, Done done) {
  size_t bytes = 0;
  for (const v1::TaskSpec& task : tasks) bytes += BytesIn(task);
  absl::Status refused;
  {
    MutexLock lock(mu_);
    while (refused.ok() && bytes_ > 0 && bytes_ + bytes > options_.in_flight_bytes && !stopping_ &&
           !CallbackScope::Inside()) {
      const absl::Duration left = deadline - absl::Now();
      if (left <= absl::ZeroDuration()) {
        refused = absl::DeadlineExceededError("too much is on its way to the broker already; nothing was sent");
      } else {
        room_.WaitFor(mu_, left);
      }
    }
    if (stopping_) refused = Gone();
    // One call at a time tries whether the broker is back, after a pause; the others fail at once.
    if (refused.ok() && options_.when_unavailable == WhenUnavailable::kFailFast && !connected_ && failures_ > 0 &&
        (reactor_ != nullptr || absl::Now() < reconnect_at_)) {
      refused = absl::UnavailableError(
          fmt::format("no connection to the broker at {}: {}", options_.broker, std::string(last_error_.message())));
    }
    if (refused.ok() && bytes > message_max_) {
      refused = TooLarge(static_cast<int>(tasks.size()), bytes, message_max_);
    }
    if (refused.ok()) {
      Call call;
      call.tasks = static_cast<int>(tasks.size());
      call.bytes = bytes;
      call.deadline = deadline;
      call.done = std::move(done);
      budget_.OnCall();
      Append(std::move(tasks), std::move(call));
      MaybeConnect();
      WriteNext();
      return;
    }
  }
  Answers answers;
  answers.emplace_back(std::move(done), refused);
  Deliver(answers);
}

void EnqueueStream::Append(std::vector<v1::TaskSpec> tasks, Call call) {
  const size_t bytes_max = std::min(kFrameBytes, message_max_ - std::min(message_max_, kFrameOverhead));
  if (filling_ != nullptr && (filling_->bytes + call.bytes > bytes_max ||
                              filling_->request.tasks_size() + static_cast<int>(tasks.size()) > kFrameTasks)) {
    Seal();
  }
  if (filling_ == nullptr) filling_ = std::make_shared<Frame>();
  for (v1::TaskSpec& task : tasks) *filling_->request.add_tasks() = std::move(task);
  filling_->bytes += call.bytes;
  bytes_ += call.bytes;
  filling_->calls.push_back(std::move(call));
}

void EnqueueStream::Seal() {
  filling_->request.set_producer_id(producer_id_);
  filling_->request.set_frame_number(next_number_++);
  frames_.push_back(std::exchange(filling_, nullptr));
  ++unsent_;
}

std::shared_ptr<EnqueueStream::Frame> EnqueueStream::NextSealed(bool* wait) {
  *wait = false;
  if (unsent_ == 0 && !suspects_) return nullptr;
  // After a cut all of them, otherwise the last few: frames in flight are few, since a frame grows while one is
  // written.
  const absl::Time now = absl::Now();
  const bool in_flight = unsent_ < frames_.size();
  std::shared_ptr<Frame> next;
  bool suspects = false;
  for (const auto& frame : frames_) {
    suspects = suspects || frame->suspect;
    // A suspect that is on its way is alone.
    if (frame->sent && frame->suspect) *wait = true;
    if (next != nullptr || frame->sent || frame->not_before > now || !MayBeSentAgain(*frame, now)) continue;
    if (frame->refusals > 0 && !budget_.Take(now)) continue;
    next = frame;
    if (!suspects_) return next;
  }
  suspects_ = suspects;
  if (next != nullptr && next->suspect && in_flight) *wait = true;
  return *wait ? nullptr : next;
}

// A message costs far more than a task in it, and a write is over long before the next caller has come. So with some
// frames under way a small one waits for an answer: which takes no longer than the commit that it could have joined.
bool EnqueueStream::MayGrow() const {
  return frames_.size() - unsent_ >= kFramesUnderWay && filling_->request.tasks_size() < kSmallFrameTasks &&
         filling_->bytes < kSmallFrameBytes;
}

void EnqueueStream::WriteNext() {
  if (reactor_ == nullptr || ended_ || writing_ != nullptr || stopping_) return;
  bool wait = false;
  std::shared_ptr<Frame> next = NextSealed(&wait);
  if (next == nullptr && !wait && filling_ != nullptr && !MayGrow()) {
    Seal();
    next = frames_.back();
  }
  if (next == nullptr) return;
  next->sent = true;
  next->first_sent = std::min(next->first_sent, absl::Now());
  --unsent_;
  writing_ = std::move(next);
  reactor_->StartWrite(&writing_->request);
}

void EnqueueStream::OnWriteDone(Reactor* reactor, bool ok) {
  MutexLock lock(mu_);
  if (reactor != reactor_) return;
  if (writing_ != nullptr) writing_->written = ok;
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
  Answers answers;
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
  room_.SignalAll();
  Deliver(answers);
}

void EnqueueStream::Answered(std::shared_ptr<Frame> frame, v1::EnqueueStreamResponse& response, Answers* answers) {
  const auto code = static_cast<absl::StatusCode>(response.error_code());
  if (code == absl::StatusCode::kOk) {
    if (frame->refusals > 0) budget_.OnTaken();
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
  absl::Status status(code, response.error_message());
  SetDetails(response.error_details(), &status);
  const bool repeat = code == absl::StatusCode::kUnavailable ||
                      (code == absl::StatusCode::kResourceExhausted && response.has_retry_delay());
  if (repeat) {
    // Unavailable also says that the broker lost sight of it.
    if (code == absl::StatusCode::kUnavailable || frame->suspect) frame->perhaps_stored = true;
    // Otherwise the broker has nothing to remember of it.
    if (!frame->perhaps_stored) frame->first_sent = absl::InfiniteFuture();
    frame->suspect = false;
    frame->written = false;
    frame->refusal = status;
    // The same frame again, after a while: its number makes that harmless.
    const absl::Duration asked = response.has_retry_delay() ? absl::Seconds(response.retry_delay().seconds()) +
                                                                  absl::Nanoseconds(response.retry_delay().nanos())
                                                            : absl::ZeroDuration();
    frame->not_before = absl::Now() + asked + Backoff(options_, ++frame->refusals);
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
  RefuseOrSplit(*frame, status, answers);
}

void EnqueueStream::RefuseOrSplit(Frame& frame, const absl::Status& why, Answers* answers) {
  if (frame.calls.size() == 1) return FailCalls(frame, why, answers);
  bytes_ -= frame.bytes;
  // Nothing of it was stored, and only some calls are to blame.
  if (filling_ != nullptr) Seal();
  int next = 0;
  for (Call& call : frame.calls) {
    std::vector<v1::TaskSpec> tasks;
    for (int i = 0; i < call.tasks; ++i, ++next) tasks.push_back(std::move(*frame.request.mutable_tasks(next)));
    if (!call.done) continue;
    if (call.bytes > message_max_) {
      answers->emplace_back(std::move(call.done), TooLarge(call.tasks, call.bytes, message_max_));
      continue;
    }
    Append(std::move(tasks), std::move(call));
    Seal();
  }
}

void EnqueueStream::FailCalls(Frame& frame, const absl::Status& status, Answers* answers) {
  bytes_ -= frame.bytes;
  for (Call& call : frame.calls) {
    if (call.done) answers->emplace_back(std::exchange(call.done, nullptr), status);
  }
}

void EnqueueStream::Connect() {
  connected_ = false;
  ended_ = false;
  KeepGrpcCallbacks(channel_);
  reactor_ = new Reactor(this, *stub_);
}

void EnqueueStream::MaybeConnect() {
  if (reactor_ != nullptr || stopping_ || (frames_.empty() && filling_ == nullptr)) return;
  if (absl::Now() >= reconnect_at_) Connect();
}

void EnqueueStream::OnDone(Reactor* reactor, const absl::Status& status) {
  Answers answers;
  {
    MutexLock lock(mu_);
    // No further stream before the callbacks have returned: Stop waits for this one.
    ended_ = true;
    writing_.reset();
    if (absl::IsResourceExhausted(status) && unsent_ < frames_.size()) {
      OnRefused(status, &answers);
    } else {
      OnCut(status, &answers);
    }
    connected_ = false;
    FailOverdue(absl::Now(), &answers);
  }
  room_.SignalAll();
  Deliver(answers);
  MutexLock lock(mu_);
  reactor_ = nullptr;
  MaybeConnect();
  WriteNext();
  changed_.SignalAll();
}

void EnqueueStream::OnRefused(const absl::Status& status, Answers* answers) {
  const std::optional<size_t> max = MessageMaxIn(status);
  if (max) message_max_ = *max;
  if (filling_ != nullptr) Seal();  // It may be too large, too.
  std::vector<std::shared_ptr<Frame>> in_flight;
  for (const auto& frame : frames_) {
    if (std::exchange(frame->sent, false)) in_flight.push_back(frame);
    frame->written = false;
  }
  const int ended_alone = in_flight.size() == 1 ? ++in_flight[0]->ended_alone : 0;
  const auto is_too_large = [&](const auto& frame) { return max && frame->request.ByteSizeLong() > *max; };
  // Of those that are too large none was stored. Of one that ended its streams for no reason that we know, who knows.
  std::vector<std::shared_ptr<Frame>> refused;
  std::copy_if(frames_.begin(), frames_.end(), std::back_inserter(refused), is_too_large);
  const bool in_doubt = refused.empty() && ended_alone >= kEndsAlone;
  if (in_doubt) refused.push_back(in_flight[0]);
  const auto is_refused = [&](const auto& frame) { return frame == refused[0] || is_too_large(frame); };
  if (refused.empty()) {
    for (const auto& frame : in_flight) frame->suspect = true;
    suspects_ = true;
  } else {
    std::erase_if(frames_, is_refused);
    std::erase_if(in_flight, is_refused);
    // Some of the others may have been stored before the stream ended.
    for (const auto& frame : in_flight) frame->perhaps_stored = true;
  }
  unsent_ = frames_.size();
  for (const auto& frame : refused) {
    if (in_doubt) {
      FailCalls(*frame,
                absl::ResourceExhaustedError(fmt::format("the broker ended the stream over this call: {}; the outcome "
                                                         "is unknown",
                                                         std::string(status.message()))),
                answers);
    } else if (frame->perhaps_stored && frame->calls.size() > 1) {
      // An earlier broker may have had a higher limit; under new numbers it would be stored again.
      FailCalls(*frame,
                absl::DeadlineExceededError("the connection was cut, and the frame is too large to be sent "
                                            "again (limits.message); the outcome is unknown"),
                answers);
    } else {
      RefuseOrSplit(*frame, TooLarge(frame->request.tasks_size(), frame->request.ByteSizeLong(), *max), answers);
    }
  }
  // The broker is there. Only a frame that ends streams for no reason that we know is given time.
  const bool pause = refused.empty() && ended_alone > 0;
  if (pause) last_error_ = status;
  reconnect_at_ = pause ? absl::Now() + Backoff(options_, ended_alone) : absl::InfinitePast();
}

void EnqueueStream::OnCut(const absl::Status& status, Answers* answers) {
  last_error_ = status;
  // The next broker may have other limits.
  message_max_ = std::numeric_limits<size_t>::max();
  for (const auto& frame : frames_) {
    const bool sent = std::exchange(frame->sent, false);
    const bool written = std::exchange(frame->written, false);
    if (written || (sent && connected_)) frame->perhaps_stored = true;
    // Not even a connection came about: nothing reached the broker.
    if (!frame->perhaps_stored && !frame->suspect) frame->first_sent = absl::InfiniteFuture();
  }
  unsent_ = frames_.size();
  reconnect_at_ = absl::Now() + Backoff(options_, ++failures_);
  if (!stopping_ && options_.when_unavailable == WhenUnavailable::kFailFast) {
    FailAll(absl::UnavailableError(fmt::format("the connection to the broker at {} failed: {}; the outcome is unknown",
                                               options_.broker, std::string(status.message()))),
            answers);
  }
}

void EnqueueStream::FailAll(const absl::Status& status, Answers* answers) {
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

void EnqueueStream::FailOverdue(absl::Time now, Answers* answers) {
  const std::string why = last_error_.ok() ? "no answer from the broker in time" : std::string(last_error_.message());
  const bool fail_fast = options_.when_unavailable == WhenUnavailable::kFailFast;
  auto fail = [&](Frame& frame) {
    bool wanted = false;
    const bool too_old = !frame.sent && !MayBeSentAgain(frame, now);
    const bool perhaps_stored = frame.perhaps_stored || frame.suspect;
    for (Call& call : frame.calls) {
      if (!call.done) continue;
      const bool refused = !frame.sent && !frame.refusal.ok();
      const bool in_vain = refused && (fail_fast || call.deadline <= frame.not_before);
      if (call.deadline > now && !in_vain && !too_old) {
        wanted = true;
        continue;
      }
      answers->emplace_back(std::exchange(call.done, nullptr),
                            refused && (fail_fast || !perhaps_stored)
                                ? frame.refusal
                                : absl::DeadlineExceededError(fmt::format(
                                      "{}; the outcome is unknown{}", why,
                                      too_old ? ", and too long has passed to send it again without harm" : "")));
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
    Answers answers;
    {
      MutexLock lock(mu_);
      if (stopping_) return;
      changed_.WaitFor(mu_, kKeep);
      if (stopping_) return;
      FailOverdue(absl::Now(), &answers);
      MaybeConnect();
      WriteNext();
    }
    room_.SignalAll();
    Deliver(answers);
  }
}

}  // namespace penstock
