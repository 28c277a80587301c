// What services and operators send: any bytes, read as a request, are refused with the name of a field, or are a
// command within its limits. The first byte says which rpc.

#include "broker/core/schedule.h"
#include "broker/core/throttle.h"
#include "broker/rpc/convert.h"
#include "broker/rpc/convert_queue.h"
#include "broker/rpc/convert_schedule.h"
#include "broker/rpc/convert_throttle.h"
#include "broker/rpc/fields.h"
#include "broker/rpc/page_token.h"
#include "common/status_details.h"
#include "tests/fuzz/fuzz_input.h"

namespace penstock::broker {
namespace {

using fuzz::Touch;

constexpr Time kTime = 1'800'000'000 * kSecond;
const ApiLimits kLimits;

void IsRefusal(const absl::Status& status) {
  FUZZ_CHECK(absl::IsInvalidArgument(status) && !status.message().empty());
  FUZZ_CHECK(!FieldOf(status).empty());
}

// False: the bytes are no such message, as gRPC would say.
template <class Request>
bool Parse(std::string_view bytes, Request* request) {
  return request->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

void Check(const NewTask& task, std::string_view spec_bytes) {
  FUZZ_CHECK(!task.queue.empty() && task.queue.size() <= kLimits.name);
  FUZZ_CHECK(!task.type.empty() && task.type.size() <= kLimits.name);
  FUZZ_CHECK(task.priority <= 9 && task.cost >= 1 && task.cost <= kLimits.cost);
  FUZZ_CHECK(task.delay >= 0 && task.run_timeout >= 0 && task.unique_window >= 0);
  FUZZ_CHECK(task.unique_key.size() <= kLimits.key && task.key.size() <= kLimits.key);
  Touch(task.queue);
  Touch(task.type);
  Touch(task.unique_key);
  Touch(task.key);
  Touch(task.group);
  v1::TaskSpec spec;
  FUZZ_CHECK(Parse(spec_bytes, &spec));
  FUZZ_CHECK(spec.queue() == task.queue && spec.type() == task.type);
  FUZZ_CHECK(spec.payload().size() <= kLimits.payload);
}

void CheckEnqueue(absl::StatusOr<Sized<EnqueueCommand>> command) {
  if (!command.ok()) return IsRefusal(command.status());
  FUZZ_CHECK(!command->command.tasks.empty() && command->command.tasks.size() <= kLimits.tasks_per_call);
  size_t bytes = 0;
  for (const NewTask& task : command->command.tasks) {
    Check(task, task.spec);
    bytes += task.spec.size();
  }
  FUZZ_CHECK(command->bytes >= bytes);
}

template <class Request>
void Enqueue(std::string_view bytes) {
  // The request may be used again: the command's views are of bytes that it keeps.
  absl::StatusOr<Sized<EnqueueCommand>> command = absl::UnknownError("");
  {
    Request request;
    if (!Parse(bytes, &request)) return;
    if constexpr (std::is_same_v<Request, v1::EnqueueStreamRequest>) {
      command = ToCommand(request, "0123456789abcdef", kLimits, kTime);
    } else {
      command = ToCommand(request, kLimits, kTime);
    }
  }
  CheckEnqueue(std::move(command));
}

// Requests that become a command without time.
template <class Request>
void Plain(std::string_view bytes) {
  Request request;
  if (!Parse(bytes, &request)) return;
  const auto command = ToCommand(request, kLimits);
  if (!command.ok()) IsRefusal(command.status());
}

template <class Request>
void Schedule(std::string_view bytes) {
  Request request;
  if (!Parse(bytes, &request)) return;
  const auto command = ToCommand(request, kLimits, kTime);
  if (!command.ok()) IsRefusal(command.status());
}

void Preview(std::string_view bytes) {
  v1::PreviewScheduleRequest request;
  if (!Parse(bytes, &request)) return;
  const auto ticks = PreviewTicks(request, kLimits, kTime);
  if (!ticks.ok()) return IsRefusal(ticks.status());
  FUZZ_CHECK(ticks->size() <= kLimits.previewed_ticks);
  for (size_t i = 1; i < ticks->size(); ++i) FUZZ_CHECK((*ticks)[i - 1] < (*ticks)[i]);
}

void Retry(std::string_view bytes) {
  v1::RetryTaskRequest request;
  if (!Parse(bytes, &request)) return;
  const auto command = ToCommand(request);
  if (!command.ok()) return IsRefusal(command.status());
  FUZZ_CHECK(command->task.ToString() == request.task_id());
}

// A request that names one thing, and texts that stand in many requests.
void Names(std::string_view text) {
  for (const absl::Status& status :
       {ToQueueCommand(QueueVerb::kPurge, text, kLimits).status(),
        ToScheduleCommand(ScheduleVerb::kDelete, text, kLimits).status(),
        ToThrottleCommand(ThrottleVerb::kDelete, text, kLimits).status(), PageToken::Parse(text).status(),
        CheckTaskId(FieldPath("task_id"), text).status()}) {
    if (!status.ok()) IsRefusal(status);
  }
  if (const auto token = PageToken::Parse(text); token.ok() && !text.empty()) FUZZ_CHECK(token->ToString() == text);
  FUZZ_CHECK(CutMiddle(text, 40).size() <= std::max<size_t>(text.size(), 40));
  FUZZ_CHECK(CutEnd(text, 10).size() <= 10);
}

}  // namespace
}  // namespace penstock::broker

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace penstock;          // NOLINT: all of it is here
  using namespace penstock::broker;  // NOLINT
  using Target = void (*)(std::string_view);
  // make_corpus.py has the same order.
  static constexpr Target kTargets[] = {Enqueue<v1::EnqueueRequest>,
                                        Enqueue<v1::EnqueueManyRequest>,
                                        Enqueue<v1::EnqueueStreamRequest>,
                                        Plain<v1::CancelTaskRequest>,
                                        Retry,
                                        Plain<v1::CreateQueueRequest>,
                                        Plain<v1::UpdateQueueRequest>,
                                        Plain<v1::RedriveDeadTasksRequest>,
                                        Plain<v1::PurgeDeadTasksRequest>,
                                        Plain<v1::ListKeysRequest>,
                                        Plain<v1::ReleaseKeyRequest>,
                                        Plain<v1::DrainWorkerRequest>,
                                        Schedule<v1::CreateScheduleRequest>,
                                        Schedule<v1::UpdateScheduleRequest>,
                                        Plain<v1::ListSchedulesRequest>,
                                        Preview,
                                        Plain<v1::CreateThrottleRequest>,
                                        Plain<v1::UpdateThrottleRequest>,
                                        Plain<v1::ListThrottlesRequest>,
                                        Names};
  if (size == 0) return 0;
  kTargets[data[0] % std::size(kTargets)](penstock::fuzz::TextOf(data + 1, size - 1));
  return 0;
}
