// What tasks wait for, when they come, and what finishes, in scenario scripts.

#include <stdexcept>

#include "fmt/format.h"
#include "tests/scenario/script.h"

namespace penstock::broker {
namespace {

std::string CodeText(WaitReason::Code code) {
  switch (code) {
    case WaitReason::Code::kNotDue:
      return "not due";
    case WaitReason::Code::kQueuePaused:
      return "queue paused";
    case WaitReason::Code::kKeyHeld:
      return "key held";
    case WaitReason::Code::kKeyTurn:
      return "key turn";
    case WaitReason::Code::kThrottled:
      return "throttled";
    case WaitReason::Code::kCooling:
      return "cooling";
    case WaitReason::Code::kNoWorker:
      return "no worker";
    case WaitReason::Code::kNoWorkerWithLabels:
      return "no worker with labels";
    case WaitReason::Code::kWorkersDraining:
      return "workers draining";
    case WaitReason::Code::kWorkersBusy:
      return "workers busy";
    case WaitReason::Code::kTurn:
      return "turn";
    case WaitReason::Code::kBrokerStopping:
      return "broker stopping";
    case WaitReason::Code::kReclaim:
      return "reclaim";
  }
  return "?";
}

std::string EstimateText(const SpanEstimate& estimate) {
  if (!estimate.known()) return "unknown";
  auto seconds = [](Span span) { return fmt::format("{:.3g}s", static_cast<double>(span) / kSecond); };
  return fmt::format("{} ({} to {})", seconds(estimate.expected), seconds(estimate.low), seconds(estimate.high));
}

}  // namespace

bool Script::BuildExplainCommand(const Words& words, std::vector<Command>* commands) {
  if (words.name == "explain") {
    commands->emplace_back(ExplainTaskCommand{NewTicket("explain"), TaskOf(words.plain.at(0))});
  } else if (words.name == "estimate") {
    commands->emplace_back(StatusCommand{NewTicket("estimate " + words.plain.at(0))});
  } else if (words.name == "subscribe") {
    const std::string& queue = words.plain.at(0);
    const auto type = words.named.find("type");
    const Ticket ticket = NewTicket("subscribe " + queue);
    watches_[queue] = ticket;
    commands->emplace_back(SubscribeCommand{ticket, queue, type == words.named.end() ? "" : type->second});
  } else {
    return false;
  }
  return true;
}

std::string Script::TellExplain(const ExplainReply& explain) {
  std::string out = explain.waits
                        ? fmt::format("before {} ({} to {}) starts in {}\n", explain.before, explain.before_low,
                                      explain.before_high, EstimateText(explain.starts_in))
                        : "does not wait\n";
  for (const WaitReason& reason : explain.reasons) {
    out += fmt::format("  {}: {}", CodeText(reason.code), reason.text);
    if (!reason.tasks.empty()) out += fmt::format(" [{}]", NamesOf(reason.tasks));
    if (!reason.throttle.empty()) out += fmt::format(" throttle={}", reason.throttle);
    if (reason.until != 0) out += " until=" + When(reason.until);
    out += "\n";
  }
  return out;
}

std::string Script::TellEstimate(const std::string& queue, const StatusReply& status) {
  for (const QueueView& view : status.queues) {
    if (view.name == queue) return fmt::format("drained in {}\n", EstimateText(view.drained_in));
  }
  throw std::runtime_error("no such queue: " + queue);
}

std::string Script::TellEvent(const TaskEvent& event) {
  std::string out = fmt::format("{}: {} {} type={} attempt={} at={}", tickets_[event.ticket], NameOf(event.task),
                                event.state == State::kCompleted   ? "completed"
                                : event.state == State::kCancelled ? "cancelled"
                                                                   : "dead",
                                event.type_name, event.attempt, When(event.time));
  if (event.dead_reason != DeadReason::kNone) out += fmt::format(" reason={}", static_cast<int>(event.dead_reason));
  return out + "\n";
}

}  // namespace penstock::broker
