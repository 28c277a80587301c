// What a worker sends over its stream: one request. It ends the stream with the name of a field, or is an input within
// the limits of the session; what of it is wrong is refused one by one.

#include "broker/rpc/convert_worker.h"
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

void Hello(const v1::Hello& hello) {
  const auto opened = ToCommand(hello, kLimits);
  if (!opened.ok()) return IsRefusal(opened.status());
  const OpenSessionCommand& command = opened->command;
  FUZZ_CHECK(!command.queues.empty() && command.queues.size() <= kLimits.worker_names);
  FUZZ_CHECK(!command.types.empty() && command.types.size() <= kLimits.worker_names);
  FUZZ_CHECK(command.concurrency >= 1 && command.concurrency <= kLimits.concurrency);
  FUZZ_CHECK(command.lease == 0 || (command.lease >= kLimits.lease_min && command.lease <= kLimits.lease_max));
  FUZZ_CHECK(command.held_tasks.size() <= kLimits.held_tasks);
}

void Input(const std::shared_ptr<v1::WorkRequest>& request) {
  const auto outcomes = static_cast<size_t>(request->outcomes_size());
  auto converted = ToInput(request, request->ByteSizeLong(), kLimits, kTime);
  if (!converted.ok()) return IsRefusal(converted.status());
  const SessionInput& input = converted->input;
  FUZZ_CHECK(input.credit <= kLimits.credit);
  FUZZ_CHECK(input.outcomes.size() <= outcomes);
  for (const TypeCredit& credit : input.type_credits) Touch(credit.type);
  for (const TaskOutcome& outcome : input.outcomes) {
    FUZZ_CHECK(outcome.result.size() <= kLimits.result);
    FUZZ_CHECK(outcome.error.message.size() + outcome.error.detail.size() <= kLimits.error_text);
    FUZZ_CHECK(!outcome.delay || (*outcome.delay >= 0 && *outcome.delay <= kLimits.postpone_max));
    FUZZ_CHECK(outcome.run_time >= 0);
    Touch(outcome.result);
    Touch(outcome.content_type);
    Touch(outcome.error.type);
    Touch(outcome.error.message);
    Touch(outcome.error.detail);
  }
  for (const ProgressReport& report : input.progress_reports) {
    FUZZ_CHECK(report.percent >= 0 && report.percent <= 100);
    FUZZ_CHECK(report.text.size() <= kLimits.text);
    Touch(report.text);
  }
  for (const LogReport& report : input.log_reports) {
    for (const LogText& line : report.lines) {
      FUZZ_CHECK(line.text.size() <= kLimits.log_line);
      Touch(line.text);
    }
  }
  for (const v1::Refusal& refusal : converted->refusals) {
    FUZZ_CHECK(refusal.reason() == v1::Refusal::REASON_INVALID && !refusal.message().empty());
    // It is sent to the worker: nothing in it may be other than UTF-8.
    FUZZ_CHECK(!refusal.SerializeAsString().empty());
  }
}

}  // namespace
}  // namespace penstock::broker

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace penstock::broker;  // NOLINT: all of it is here
  const std::shared_ptr<penstock::v1::WorkRequest> request = NewWorkRequest();
  if (!request->ParseFromArray(data, static_cast<int>(size))) return 0;
  if (request->has_hello()) Hello(request->hello());
  (void)HasInput(*request);
  Input(request);
  return 0;
}
