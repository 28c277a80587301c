#include "broker/rpc/work_stream.h"

#include <utility>

#include "broker/rpc/convert_worker.h"
#include "broker/rpc/delivery_wire.h"
#include "broker/rpc/fields.h"
#include "common/random.h"
#include "common/status.h"
#include "common/status_grpc.h"
#include "grpcpp/impl/codegen/proto_utils.h"

namespace penstock::broker {
namespace {

// A worker keeps what is not acknowledged: acknowledgements of more than this do not wait.
constexpr size_t kUnacknowledgedBytesMax = 64 << 10;

}  // namespace

WorkStream* WorkStream::Start(RpcContext& context) {
  auto stream = std::make_shared<WorkStream>(context);
  stream->self_ = stream;
  stream->ticket_ = context.tickets.AddLasting(stream);
  context.calls.Add(stream);
  stream->Pump();
  return stream.get();
}

bool WorkStream::ParseRequest() {
  request_ = NewWorkRequest();
  request_size_ = request_bytes_.Length();
  return grpc::SerializationTraits<v1::WorkRequest>::Deserialize(&request_bytes_, request_.get()).ok();
}

void WorkStream::OnReadDone(bool ok) {
  bool take = false;
  bool leave = false;
  ok = ok && ParseRequest();
  {
    MutexLock lock(mu_);
    reading_ = false;
    take = ok && !end_ && !broken_;
    taking_ = take;
    if (!ok) {
      half_closed_ = true;
      // After its goodbye a worker may close its side and wait for the broker's.
      if (!goodbye_ && !end_) {
        leave = true;
        end_ = session_ == Session::kNone ? BadField(FieldPath("hello"), "is required in the first request")
                                          : absl::CancelledError("the worker closed its stream without a goodbye");
      }
    }
  }
  if (leave) LeaveSession();
  if (take) TakeRequest();
  Pump();
}

void WorkStream::TakeRequest() {
  bool first = false;
  {
    MutexLock lock(mu_);
    first = session_ == Session::kNone;
  }
  absl::Status status;
  if (first) {
    status = TakeHello();
  } else if (request_->has_hello()) {
    status = BadField(FieldPath("hello"), "belongs into the first request only");
  }
  // An empty request is a sign of life, which the core wants to see. A hello is one already.
  if (status.ok() && (!first || HasInput(*request_))) status = TakeInput();
  if (!status.ok()) {
    LeaveSession();
    End(status);
  }
  request_ = nullptr;
  MutexLock lock(mu_);
  taking_ = false;
}

absl::Status WorkStream::TakeHello() {
  if (!request_->has_hello()) return BadField(FieldPath("hello"), "is required in the first request");
  ASSIGN_OR_RETURN(Sized<OpenSessionCommand> sized, ToCommand(request_->hello(), context_.limits));
  // Both parts of the first request are checked before either counts.
  if (HasInput(*request_)) RETURN_IF_ERROR(ToInput(request_, request_size_, context_.limits, 0).status());
  sized.command.stream = ticket_;
  if (!sized.command.resume) sized.command.session_id = RandomHexId();
  {
    MutexLock lock(mu_);
    if (session_ != Session::kNone) return absl::OkStatus();  // cut or stopped meanwhile
    session_ = Session::kOpen;
    late_acknowledgements_ = request_->hello().late_acknowledgements();
  }
  Post(std::move(sized.command), sized.bytes);
  return absl::OkStatus();
}

absl::Status WorkStream::TakeInput() {
  const bool sign_of_life = !HasInput(*request_);
  ASSIGN_OR_RETURN(ConvertedWork work, ToInput(request_, request_size_, context_.limits, context_.WallNow()));
  work.input.stream = ticket_;
  {
    MutexLock lock(mu_);
    if (session_ != Session::kOpen) return absl::OkStatus();
    goodbye_ |= work.input.goodbye;
    sign_of_life_ = sign_of_life;
    if (late_acknowledgements_ && work.input.frame_number != 0) {
      unacknowledged_.emplace_back(work.input.frame_number, work.bytes);
      unacknowledged_bytes_ += work.bytes;
    }
    if (work.input.draining) late_acknowledgements_ = false;
    outbox_.AddInvalid(std::move(work.refusals));
  }
  Post(std::move(work.input), work.bytes);
  return absl::OkStatus();
}

void WorkStream::Post(Command command, size_t bytes) {
  {
    MutexLock lock(mu_);
    posting_ = true;
  }
  poster_.Post(std::move(command), bytes, shared_from_this());
}

void WorkStream::OnAllPosted() {
  {
    MutexLock lock(mu_);
    posting_ = false;
  }
  Pump();
}

void WorkStream::OnCommandRefused(const absl::Status& status) {
  {
    MutexLock lock(mu_);
    session_ = Session::kOver;
  }
  End(status);
}

void WorkStream::OnSessionMessage(SessionMessage message) {
  {
    MutexLock lock(mu_);
    if (end_ || broken_) return;
    if (message.end) session_ = Session::kOver;
    outbox_.Add(std::move(message));
  }
  Pump();
}

void WorkStream::OnReply(Reply reply) {
  {
    MutexLock lock(mu_);
    session_ = Session::kOver;
  }
  End(reply.status);
}

void WorkStream::OnWriteDone(bool ok) {
  response_.Clear();
  {
    MutexLock lock(mu_);
    writing_ = false;
    if (!ok) broken_ = true;
  }
  if (!ok) LeaveSession();
  Pump();
}

void WorkStream::OnCancel() {
  {
    MutexLock lock(mu_);
    broken_ = true;
  }
  LeaveSession();
  Pump();
}

void WorkStream::Stop() {
  {
    MutexLock lock(mu_);
    session_ = Session::kOver;
  }
  End(StoppingError());
}

void WorkStream::End(const absl::Status& status) {
  {
    MutexLock lock(mu_);
    if (!end_) end_ = status;
    outbox_.Clear();
  }
  Pump();
}

void WorkStream::LeaveSession() {
  {
    MutexLock lock(mu_);
    const bool open = session_ == Session::kOpen;
    session_ = Session::kOver;
    if (!open) return;
  }
  Post(SessionBroken{ticket_}, kSmallCommandBytes);
}

bool WorkStream::MayWriteLocked() const {
  if (writing_ || broken_ || outbox_.empty()) return false;
  return !late_acknowledgements_ || !outbox_.may_wait() || sign_of_life_ ||
         unacknowledged_bytes_ >= kUnacknowledgedBytesMax || end_;
}

void WorkStream::NoteAcknowledged(uint64_t frame) {
  while (!unacknowledged_.empty() && unacknowledged_.front().first <= frame) {
    unacknowledged_bytes_ -= unacknowledged_.front().second;
    unacknowledged_.pop_front();
  }
}

bool WorkStream::MayReadLocked() const {
  return !reading_ && !taking_ && !posting_ && !half_closed_ && !end_ && !broken_ && !outbox_.full();
}

void WorkStream::Pump() {
  std::optional<WorkStreamOutbox::Frame> frame;
  std::optional<grpc::Status> finish;
  {
    MutexLock lock(mu_);
    if (finished_) return;
    if (!writing_) {
      if (MayWriteLocked()) {
        frame = outbox_.Take();
        NoteAcknowledged(frame->message.acknowledged_frame);
        if (frame->message.end && !end_) end_ = frame->message.end;
      }
      if (frame && !frame->empty()) {
        writing_ = true;
      } else if (broken_) {
        finish = grpc::Status::CANCELLED;
      } else if (end_) {
        finish = ToGrpc(*end_);
      }
    }
    if (finish) finished_ = true;
    if (!finish && MayReadLocked()) {
      reading_ = true;
      StartRead(&request_bytes_);
    }
  }
  if (frame && !frame->empty()) {
    response_ = ToResponse(*frame);
    StartWrite(&response_);
  }
  if (finish) Finish(*finish);
}

grpc::ByteBuffer WorkStream::ToResponse(const WorkStreamOutbox::Frame& frame) const {
  const SessionMessage& message = frame.message;
  v1::WorkResponse rest;
  if (message.welcome) ToProto(*message.welcome, context_.limits, context_.version, rest.mutable_welcome());
  rest.set_acknowledged_frame(message.acknowledged_frame);
  for (const Refusal& refusal : message.refusals) ToProto(refusal, rest.add_refusals());
  for (const v1::Refusal& refusal : frame.invalid) *rest.add_refusals() = refusal;
  for (TaskId task : message.cancelled_tasks) rest.add_cancelled_task_ids(task.ToString());
  rest.set_drain(message.drain);
  auto bytes = std::make_unique<std::string>(SerializeResponse(rest, message.deliveries));
  std::string& text = *bytes;
  const grpc::Slice slice(
      text.data(), text.size(), [](void* owner) { delete static_cast<std::string*>(owner); }, bytes.release());
  return {&slice, 1};
}

void WorkStream::OnDone() {
  context_.tickets.Remove(ticket_);
  context_.calls.Remove(this);
  self_.reset();  // may destroy this
}

}  // namespace penstock::broker
