#include "broker/rpc/enqueue_stream.h"

#include <algorithm>
#include <utility>

#include "broker/rpc/convert.h"
#include "broker/rpc/fields.h"
#include "common/status_grpc.h"

namespace penstock::broker {
namespace {

// Frames, and tasks and bytes in them, that may be under way on one stream: enough for the commit that is written and
// the next, so little that others who enqueue need not wait behind a crowd, and that a client which does not read its
// answers holds little memory.
constexpr size_t kFramesMax = 256;
constexpr size_t kTasksMax = 1'024;
constexpr size_t kBytesMax = 2 << 20;
// A request that was larger gives its memory back, so that an idle stream costs little.
constexpr size_t kRequestBytesKept = 256 << 10;

}  // namespace

EnqueueStream* EnqueueStream::Start(RpcContext& context) {
  auto stream = std::make_shared<EnqueueStream>(context);
  stream->self_ = stream;
  context.calls.Add(stream);
  stream->Pump();
  return stream.get();
}

void EnqueueStream::OnReadDone(bool ok) {
  bool take = false;
  {
    MutexLock lock(mu_);
    reading_ = false;
    if (!ok && !end_) end_ = absl::OkStatus();
    take = !end_ && !finished_;
    taking_ = take;
  }
  if (take) TakeFrame();
  Pump();
}

void EnqueueStream::TakeFrame() {
  if (producer_id_.empty()) {
    absl::Status status;
    if (request_.producer_id().empty()) {
      status = absl::FailedPreconditionError("the first request of a stream carries a producer_id");
    } else {
      status = CheckSize(FieldPath("producer_id"), request_.producer_id(), kProducerIdBytes, kProducerIdBytes);
    }
    if (!status.ok()) return End(status);
    producer_id_ = request_.producer_id();
  }
  auto sized = ToCommand(request_, producer_id_, context_.limits, context_.WallNow());
  if (!sized.ok()) {
    MutexLock lock(mu_);
    Frame& frame = frames_.emplace_back();
    frame.number = request_.frame_number();
    FillAnswer(sized.status(), nullptr, &frame);
    taking_ = false;
    return;
  }
  const Ticket ticket = context_.tickets.Add(shared_from_this());
  sized->command.ticket = ticket;
  {
    MutexLock lock(mu_);
    Frame& frame = frames_.emplace_back();
    frame.ticket = ticket;
    frame.number = request_.frame_number();
    frame.task_count = sized->command.tasks.size();
    frame.bytes = sized->bytes;
    tasks_ += frame.task_count;
    bytes_ += frame.bytes;
  }
  if (sized->bytes > kRequestBytesKept) request_ = v1::EnqueueStreamRequest();
  poster_.Post(std::move(sized->command), sized->bytes, shared_from_this());
}

void EnqueueStream::OnAllPosted() {
  {
    MutexLock lock(mu_);
    taking_ = false;
  }
  Pump();
}

void EnqueueStream::OnCommandRefused(const absl::Status& status) {
  // Only the frame that was read last can be with the poster.
  Ticket ticket;
  {
    MutexLock lock(mu_);
    ticket = frames_.back().ticket;
    FillAnswer(status, nullptr, &frames_.back());
  }
  context_.tickets.Remove(ticket);
}

// A frame that was cut off comes again on the next stream, under its number.
bool EnqueueStream::Wanted() {
  MutexLock lock(mu_);
  return !broken_;
}

void EnqueueStream::OnReply(Reply reply) {
  {
    MutexLock lock(mu_);
    auto frame = std::find_if(frames_.begin(), frames_.end(),
                              [&](const Frame& candidate) { return candidate.ticket == reply.ticket; });
    if (frame == frames_.end()) return;
    FillAnswer(reply.status, std::get_if<EnqueueReply>(&reply.value), &*frame);
  }
  Pump();
}

void EnqueueStream::FillAnswer(const absl::Status& status, const EnqueueReply* reply, Frame* frame) {
  frame->answered = true;
  frame->response.set_frame_number(frame->number);
  if (status.ok() && reply != nullptr) {
    frame->response.mutable_results()->Reserve(static_cast<int>(reply->results.size()));
    for (const EnqueueResult& result : reply->results) ToProto(result, frame->response.add_results());
    return;
  }
  frame->response.set_error_code(static_cast<int>(status.code()));
  frame->response.set_error_message(std::string(status.message()));
  AddDetails(status, frame->response.mutable_error_details());
  if (const auto delay = RetryAfterOf(status)) SetDuration(ToMicros(*delay), frame->response.mutable_retry_delay());
}

void EnqueueStream::OnWriteDone(bool ok) {
  {
    MutexLock lock(mu_);
    writing_ = false;
    tasks_ -= frames_.front().task_count;
    bytes_ -= frames_.front().bytes;
    frames_.pop_front();
    if (!ok) broken_ = true;
  }
  Pump();
}

void EnqueueStream::OnCancel() {
  {
    MutexLock lock(mu_);
    broken_ = true;
  }
  Pump();
}

void EnqueueStream::End(const absl::Status& status) {
  {
    MutexLock lock(mu_);
    if (!end_) end_ = status;
    taking_ = false;
  }
  Pump();
}

void EnqueueStream::Stop() {
  {
    MutexLock lock(mu_);
    if (!end_) end_ = StoppingError();
  }
  Pump();
}

bool EnqueueStream::MayReadLocked() const {
  return !reading_ && !taking_ && !end_ && !broken_ && frames_.size() < kFramesMax && tasks_ < kTasksMax &&
         bytes_ < kBytesMax;
}

void EnqueueStream::Pump() {
  const v1::EnqueueStreamResponse* response = nullptr;
  std::optional<grpc::Status> finish;
  {
    MutexLock lock(mu_);
    if (finished_) return;
    if (!writing_) {
      if (broken_) {
        finish = grpc::Status::CANCELLED;
      } else if (!frames_.empty() && frames_.front().answered) {
        writing_ = true;
        response = &frames_.front().response;
      } else if (frames_.empty() && !taking_ && end_) {
        finish = ToGrpc(*end_);
      }
    }
    if (finish) finished_ = true;
    if (!finish && MayReadLocked()) {
      reading_ = true;
      StartRead(&request_);
    }
  }
  if (response != nullptr) StartWrite(response);
  if (finish) Finish(*finish);
}

void EnqueueStream::OnDone() {
  context_.calls.Remove(this);
  self_.reset();  // may destroy this
}

}  // namespace penstock::broker
