// What came of a script's line: effects, replies, messages to workers, and what the store holds.

#include <algorithm>
#include <utility>

#include "broker/storage/envelope.h"
#include "broker/storage/history.h"
#include "broker/storage/keys.h"
#include "broker/storage/labels.h"
#include "broker/storage/records.h"
#include "broker/storage/task_block.h"
#include "common/name_hash.h"
#include "fmt/format.h"
#include "penstock/v1/task.pb.h"
#include "tests/scenario/script.h"
#include "tests/scenario/script_text.h"

namespace penstock::broker {
namespace {

const char* NameOfState(State state) {
  switch (state) {
    case State::kScheduled:
      return "scheduled";
    case State::kBlocked:
      return "blocked";
    case State::kAvailable:
      return "available";
    case State::kRunning:
      return "running";
    case State::kRetryable:
      return "retryable";
    case State::kCompleted:
      return "completed";
    case State::kCancelled:
      return "cancelled";
    case State::kDead:
      return "dead";
  }
  std::abort();
}

std::string TokenText(FencingToken token) {
  return fmt::format("{}.{}", token.value() >> 40, token.value() & ((uint64_t{1} << 40) - 1));
}

std::string ErrorLine(const absl::Status& status) {
  return fmt::format("{}: {}", absl::StatusCodeToString(status.code()), std::string(status.message()));
}

std::string EnumText(std::string text, std::string_view prefix) {
  if (text.starts_with(prefix)) text = text.substr(prefix.size());
  for (char& c : text) c = c == '_' ? ' ' : static_cast<char>(std::tolower(c));
  return text;
}

}  // namespace

std::string Script::Tell(Effects effects) {
  std::string out;
  for (const Reply& reply : effects.replies) out += TellReply(reply);
  for (const SessionMessage& message : effects.session_messages) out += TellMessage(message);
  for (const WatchEvent& event : effects.watch_events) {
    out += tickets_[event.ticket] + ": ";
    out += event.status.ok() ? TellSnapshot(event.snapshot) : ErrorLine(event.status) + "\n";
  }
  for (const TaskEvent& event : effects.task_events) out += TellEvent(event);
  for (const LogFact& fact : effects.facts) {
    // Damage is always told; the rest only where a script asks for it.
    if (facts_ || fact.kind == LogFact::Kind::kRecordUnreadable) out += "fact: " + fact.text + "\n";
  }
  // Task ids in texts of the core.
  for (const auto& [task, name] : names_) {
    const std::string id = task.ToString();
    for (size_t at = out.find(id); at != std::string::npos; at = out.find(id)) out.replace(at, id.size(), name);
  }
  return out;
}

std::string Script::TellReply(const Reply& reply) {
  const std::string label = tickets_[reply.ticket];
  if (!reply.status.ok()) return ErrorLine(reply.status) + "\n";
  if (const auto* enqueued = std::get_if<EnqueueReply>(&reply.value)) {
    // Runs of new tasks as a range.
    std::string out;
    std::string first, last;
    auto flush = [&] {
      if (first.empty()) return;
      out += first == last ? first + "\n" : fmt::format("{}..{}\n", first, last);
      first.clear();
    };
    for (const EnqueueResult& result : enqueued->results) {
      const bool known = names_.contains(result.task);
      const std::string name = NameOf(result.task);
      if (result.duplicate || known) {
        flush();
        out += fmt::format("{}{}\n", name, result.replaced ? " replaced" : result.duplicate ? " duplicate" : " again");
        continue;
      }
      if (first.empty()) first = name;
      last = name;
    }
    flush();
    return out;
  }
  if (const auto* task = std::get_if<TaskReply>(&reply.value)) {
    return (label == "get" ? "" : label + ": ") + TellSnapshot(task->snapshot);
  }
  if (const auto* cancel = std::get_if<CancelReply>(&reply.value))
    return fmt::format("{}\n", NameOfState(cancel->state));
  if (const auto* retry = std::get_if<RetryReply>(&reply.value)) return fmt::format("runs {}\n", When(retry->run_time));
  if (const auto* update = std::get_if<UpdateReply>(&reply.value)) {
    return fmt::format("revision {} runs {}\n", update->revision, When(update->run_time));
  }
  if (const auto* lanes = std::get_if<LanesReply>(&reply.value)) return TellLanes(*lanes);
  if (const auto* keys = std::get_if<KeysReply>(&reply.value)) return TellKeys(*keys);
  if (const auto* running = std::get_if<RunningReply>(&reply.value)) {
    std::string out;
    for (const TaskSnapshot& snapshot : running->tasks) out += TellSnapshot(snapshot);
    return out + (running->more ? "more\n" : "");
  }
  if (const auto* queue = std::get_if<QueueReply>(&reply.value)) {
    return queue->purged > 0 ? fmt::format("purged {}\n", queue->purged) : "";
  }
  if (const auto* dead = std::get_if<DeadTasksReply>(&reply.value)) {
    return fmt::format("changed {} remaining {}{}\n", dead->changed, dead->remaining, dead->exhausted ? "" : " more");
  }
  if (const auto* status = std::get_if<StatusReply>(&reply.value)) {
    return label.starts_with("estimate ") ? TellEstimate(label.substr(9), *status) : TellStatus(*status);
  }
  if (const auto* explain = std::get_if<ExplainReply>(&reply.value)) return TellExplain(*explain);
  if (const auto* schedule = std::get_if<ScheduleReply>(&reply.value)) {
    if (!schedule->task.empty()) return NameOf(schedule->task) + "\n";
    return schedule->schedule.name.empty() ? "" : TellSchedule(schedule->schedule);
  }
  if (const auto* throttle = std::get_if<ThrottleReply>(&reply.value)) {
    return throttle->throttle.name.empty() ? "" : TellThrottle(throttle->throttle);
  }
  if (const auto* throttles = std::get_if<ThrottlesReply>(&reply.value)) {
    std::string out;
    for (const ThrottleView& one : throttles->throttles) out += TellThrottle(one);
    return out + (throttles->more ? "more\n" : "");
  }
  if (const auto* schedules = std::get_if<SchedulesReply>(&reply.value)) {
    std::string out;
    for (const ScheduleView& schedule : schedules->schedules) out += TellSchedule(schedule);
    return out + (schedules->more ? "more\n" : "");
  }
  return "";
}

std::string Script::TellMessage(const SessionMessage& message) {
  auto stream = streams_.find(message.stream);
  const std::string name = stream == streams_.end() ? "?" : stream->second;
  std::string out;
  auto line = [&](std::string text) { out += fmt::format("{}: {}\n", name, text); };
  if (message.welcome) {
    const SessionWelcome& welcome = *message.welcome;
    std::string text = fmt::format("{} w{} lease={}", welcome.resumed ? "resumed" : "welcome", welcome.number.value(),
                                   Seconds(welcome.lease));
    for (TaskId task : welcome.lost_tasks) text += " lost=" + NameOf(task);
    for (TaskId task : welcome.cancelled_tasks) text += " cancelled=" + NameOf(task);
    line(text);
  }
  // Many deliveries that differ only in their tokens are told in one line.
  std::string previous;
  std::vector<TaskId> same;
  auto flush = [&] {
    if (!same.empty()) line(NamesOf(same) + previous);
    same.clear();
  };
  for (const Delivery& delivery : message.deliveries) {
    if (auto worker = workers_.find(name); worker != workers_.end())
      worker->second.tokens[delivery.task] = delivery.token;
    std::string rest = fmt::format(" attempt={}/{}", delivery.attempt, delivery.max_attempts);
    if (message.deliveries.size() <= 4) rest += " token=" + TokenText(delivery.token);
    if (v1::TaskSpec spec; delivery.spec.find("penstock-tick") != std::string_view::npos &&
                           spec.ParseFromArray(delivery.spec.data(), static_cast<int>(delivery.spec.size()))) {
      rest += fmt::format(" {} tick={}", spec.headers().at("penstock-schedule"), spec.headers().at("penstock-tick"));
    }
    if (delivery.run_timeout != options_.queue_defaults.run_timeout)
      rest += " timeout=" + Seconds(delivery.run_timeout);
    if (!delivery.checkpoint.empty()) rest += " checkpoint=" + delivery.checkpoint;
    if (payloads_.contains(delivery.spec)) rest += fmt::format(" spec={}", delivery.spec);
    if (rest != previous) flush();
    previous = rest;
    same.push_back(delivery.task);
  }
  flush();
  for (const Refusal& refusal : message.refusals) {
    line(fmt::format("refused {} token={} {}", NameOf(refusal.task), TokenText(refusal.token),
                     refusal.reason == RefusalReason::kAlreadyFinished ? "already finished"
                     : refusal.reason == RefusalReason::kInvalid       ? refusal.message
                                                                       : "stale lease"));
  }
  for (TaskId task : message.cancelled_tasks) line("cancel " + NameOf(task));
  if (message.drain) line("drain");
  if (message.end) line(message.end->ok() ? "end OK" : "end " + ErrorLine(*message.end));
  return out;
}

std::string Script::TellSnapshot(const TaskSnapshot& snapshot) {
  switch (snapshot.place) {
    case TaskSnapshot::Place::kRunning: {
      std::string out =
          fmt::format("{} running attempt={} worker={}", NameOf(snapshot.task), snapshot.attempt, snapshot.worker);
      if (snapshot.start_time != 0) out += " started=" + When(snapshot.start_time);
      if (snapshot.cancel_requested) out += " cancel requested";
      if (snapshot.stuck) out += " stuck";
      if (snapshot.progress_time != 0) {
        out += fmt::format(" progress={}% {}", snapshot.progress_percent, snapshot.progress_text);
        if (snapshot.progress_remaining >= 0) out += " left=" + Seconds(snapshot.progress_remaining);
      }
      return out + "\n";
    }
    case TaskSnapshot::Place::kGone:
      return NameOf(snapshot.task) + " gone\n";
    case TaskSnapshot::Place::kStore:
    case TaskSnapshot::Place::kFinished:
      break;
  }
  if (snapshot.end_time != 0) {
    std::string out = fmt::format("{} {} attempt={} ended={}", NameOf(snapshot.task), NameOfState(snapshot.state),
                                  snapshot.attempt, When(snapshot.end_time));
    if (!snapshot.result.empty()) out += fmt::format(" result={} ({})", snapshot.result, snapshot.result_content_type);
    return out + "\n";
  }
  return TellStored(snapshot);
}

// As the edge does it: the exception record first, then the block, then history.
std::string Script::TellStored(const TaskSnapshot& snapshot) {
  const Keys keys(options_.partition);
  const MemoryStore& store = driver().store();
  const TaskId task = snapshot.task;
  auto record = GetRecord<records::TaskRecord>(store, Family::kTasks, keys.TaskRecord(task));
  if (record.ok()) {
    State state = static_cast<State>(record->state());
    if (!IsFinal(state) && record->run_time() <= driver().now().wall) state = State::kAvailable;
    std::string out = fmt::format("{} {} attempt={}", NameOf(task), NameOfState(state), record->attempt());
    if (record->attempt_base() > 0) out += fmt::format(" since={}", record->attempt_base());
    if (!IsFinal(state)) out += " due=" + When(record->run_time());
    if (record->revision() != 0) out += fmt::format(" revision={}", record->revision());
    if (IsFinal(state)) {
      out += fmt::format(" ended={} forgotten={}", When(record->end_time()), When(record->forget_time()));
    }
    if (state == State::kDead) {
      out += " reason=" +
             EnumText(v1::DeadReason_Name(static_cast<v1::DeadReason>(record->dead_reason())), "DEAD_REASON_");
    }
    if (!record->cancel_reason().empty()) out += " why=" + record->cancel_reason();
    if (!snapshot.waiting_reason.empty()) out += " waits: " + snapshot.waiting_reason;
    out += "\n";
    for (uint32_t i = 0; i < record->attempt_records(); ++i) {
      auto attempt = GetRecord<records::AttemptRecord>(store, Family::kTasks, keys.Attempt(task, i));
      if (!attempt.ok()) continue;
      out += fmt::format(
          "  attempt {} {} {}..{} {}{}{}\n", attempt->number(), attempt->worker(), When(attempt->start_time()),
          When(attempt->end_time()),
          EnumText(v1::AttemptOutcome_Name(static_cast<v1::AttemptOutcome>(attempt->outcome())), "ATTEMPT_OUTCOME_"),
          attempt->error_type().empty() ? "" : " " + attempt->error_type() + ":",
          attempt->error_message().empty() ? "" : " " + attempt->error_message());
    }
    if (record->log_records() > 0 || record->log_truncated()) {
      int lines = 0;
      for (uint32_t i = 0; i < record->log_records(); ++i) {
        auto log = GetRecord<records::LogRecord>(store, Family::kTasks, keys.Log(task, i));
        if (log.ok()) lines += log->lines_size();
      }
      out += fmt::format("  log lines={} bytes={}{}\n", lines, record->log_bytes(),
                         record->log_truncated() ? " truncated" : "");
    }
    if (record->has_checkpoint()) {
      auto saved = GetRecord<records::CheckpointRecord>(store, Family::kTasks, keys.Checkpoint(task));
      out += saved.ok() ? fmt::format("  checkpoint={}\n", saved->checkpoint()) : "  checkpoint is missing\n";
    }
    if (record->has_result()) {
      auto result = GetRecord<records::ResultRecord>(store, Family::kTasks, keys.Result(task));
      out += result.ok() ? fmt::format("  result={} ({})\n", result->result(), result->content_type())
                         : "  result is missing\n";
    }
    return out;
  }
  std::vector<HistoryAddress> finishes = snapshot.finishes;
  if (snapshot.place != TaskSnapshot::Place::kFinished) {
    const std::string key = keys.Finishes(BlockId(task.block()));
    auto value = store.Get(Family::kIndex, key);
    if (value.ok()) {
      auto decoded = DecodeAddresses(*OpenValue(key, *value));
      if (decoded.ok()) finishes = *decoded;
    }
  }
  std::string out;
  for (const HistoryAddress& address : finishes) {
    const std::string key = keys.History(address.bucket, address.sequence);
    auto value = store.Get(Family::kHistory, key);
    if (!value.ok()) continue;
    (void)VisitHistory(*OpenValue(key, *value), [&](const FinishedTask& finished) {
      if (finished.task != task) return true;
      out = fmt::format("{} completed attempt=1 worker={} {}..{} result={} ({})\n", NameOf(task), finished.worker,
                        When(finished.start_time), When(finished.end_time), finished.result, finished.content_type);
      return false;
    });
    if (!out.empty()) return out;
  }
  if (snapshot.place == TaskSnapshot::Place::kFinished) return NameOf(task) + " finished and forgotten\n";
  const BlockId id(task.block());
  if (!store.Get(Family::kBlocks, keys.Block(id)).ok() && !store.Get(Family::kTasks, keys.CompactedBlock(id)).ok()) {
    return NameOf(task) + " not found\n";
  }
  return fmt::format("{} {}{}\n", NameOf(task), NameOfState(snapshot.state),
                     snapshot.waiting_reason.empty() ? "" : " waits: " + snapshot.waiting_reason);
}

std::string Script::TellQueue(const QueueView& queue) {
  const QueueCounters& c = queue.counters;
  std::string out = fmt::format("queue {}{}{}{}", queue.name, queue.settings.relaxed ? " relaxed" : "",
                                queue.paused ? " paused" : "", queue.draining ? " draining" : "");
  auto add = [&](std::string_view name, uint64_t value) {
    if (value != 0) out += fmt::format(" {}={}", name, value);
  };
  add("scheduled", c.scheduled);
  add("available", c.available);
  add("running", c.running);
  add("retryable", c.retryable);
  add("dead", c.dead);
  add("enqueued", c.enqueued_total);
  add("completed", c.completed_total);
  add("failed", c.failed_total);
  add("cancelled", c.cancelled_total);
  add("died", c.dead_total);
  add("refused", queue.times.refused);
  add("dropped", queue.times.dropped);
  add("bytes", queue.waiting_bytes);
  if (queue.oldest_available != kNever) out += " oldest=" + When(queue.oldest_available);
  for (const std::string& type : queue.unhandled_types) out += " unhandled=" + type;
  return out + "\n";
}

std::string Script::TellStatus(const StatusReply& status) {
  std::string out;
  for (const QueueView& queue : status.queues) out += TellQueue(queue);
  for (const WorkerView& worker : status.workers) {
    out += fmt::format("worker w{} {} running={} started={} of {}{}{}", worker.number.value(), worker.name,
                       worker.running, worker.started, worker.concurrency, worker.connected ? "" : " away",
                       worker.draining ? " draining" : "");
    for (TaskId task : worker.stuck_tasks) out += " stuck=" + NameOf(task);
    if (worker.oldest_run > 0) out += " oldest=" + Seconds(worker.oldest_run);
    if (worker.silence > 0) out += " silent=" + Seconds(worker.silence);
    out += "\n";
  }
  for (const ThrottleLoad& throttle : status.throttles) {
    if (throttle.waiting > 0) out += fmt::format("throttle {} keeps waiting={}\n", throttle.name, throttle.waiting);
  }
  if (status.cooled_waiting > 0) out += fmt::format("cooled waiting={}\n", status.cooled_waiting);
  return out;
}

std::string Script::TellKeys(const KeysReply& keys) {
  std::string out;
  for (const KeyView& key : keys.keys) {
    out += fmt::format("key of {} {} waiting={}", NameOf(key.holder), NameOfState(key.state), key.waiting);
    if (key.due != 0) out += " due=" + When(key.due);
    out += "\n";
  }
  if (keys.more) out += fmt::format("more from={}\n", keys.next_lane.value());
  return out.empty() ? "no key is held\n" : out;
}

std::string Script::TellLanes(const LanesReply& lanes) {
  std::string out;
  for (const LaneView& lane : lanes.lanes) {
    out += fmt::format("lane {} type={} priority={}{}:", lane.lane.value(), lane.type, lane.priority,
                       lane.has_timed ? " timed" : "");
    for (const LaneRun& run : lane.runs) {
      out += fmt::format(" {}", run.block.value() & ((1 << 12) - 1));
      if (run.compacted) out += "c";
      if (!run.slots.empty()) out += fmt::format("[{}]", fmt::join(run.slots, " "));
    }
    out += "\n";
  }
  if (lanes.more)
    out += fmt::format("more from_lane={} from_block={}\n", lanes.next_lane.value(), lanes.next_block.value());
  return out;
}

std::string Script::TellState() {
  std::string out = driver().core().DebugState();
  for (const auto& [task, name] : names_) {
    const std::string id = task.ToString();
    for (size_t at = out.find(id); at != std::string::npos; at = out.find(id)) out.replace(at, id.size(), name);
  }
  return out.empty() ? "empty\n" : out;
}

// How many keys of each kind there are, but for those that every store has.
std::string Script::TellStore() {
  std::map<std::string, int> counts;
  auto count = [&](Family family, auto&& name) {
    (void)driver().store().Scan(family, "", "", [&](std::string_view key, std::string_view) {
      if (const std::string kind = name(key); !kind.empty()) ++counts[kind];
      return true;
    });
  };
  count(Family::kBlocks, [](std::string_view) { return std::string("blocks"); });
  count(Family::kTasks, [](std::string_view key) -> std::string {
    static const std::map<char, std::string> kKinds = {{'R', "records"}, {'A', "attempts"},    {'L', "logs"},
                                                       {'O', "results"}, {'P', "checkpoints"}, {'B', "compacted"},
                                                       {'S', "specs"}};
    return kKinds.at(key[9]);
  });
  count(Family::kIndex, [](std::string_view key) -> std::string {
    static const std::map<char, std::string> kKinds = {{'T', "timers"},   {'E', "expiry"},    {'U', "unique"},
                                                       {'Q', "requests"}, {'D', "done"},      {'R', "retention"},
                                                       {'F', "finishes"}, {'X', "forgotten"}, {'S', "segments"}};
    return kKinds.at(key[1]);
  });
  count(Family::kHistory, [](std::string_view) { return std::string("history"); });
  count(Family::kMeta, [](std::string_view key) -> std::string {
    if (key.size() < 2) return "";
    if (key[1] == 'd') return "schedules";
    if (key[1] == 'b') return "bulk_jobs";
    return key[1] == 's' && key.size() == 10 ? "sessions" : "";
  });
  std::string out;
  for (const auto& [kind, number] : counts) out += fmt::format("{}{}={}", out.empty() ? "" : " ", kind, number);
  return out.empty() ? "empty\n" : out + "\n";
}

}  // namespace penstock::broker
