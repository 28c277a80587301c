#include "tests/simulation/door_script.h"

#include <algorithm>
#include <variant>

#include "broker/core/schedule.h"
#include "broker/core/throttle.h"
#include "fmt/format.h"
#include "fmt/ranges.h"

namespace penstock::broker {
namespace {

std::string Seconds(Span span) { return fmt::format("{}ms", span / kMilli); }

template <class... Visitors>
struct Overloaded : Visitors... {
  using Visitors::operator()...;
};
template <class... Visitors>
Overloaded(Visitors...) -> Overloaded<Visitors...>;

constexpr const char* kVerbs[] = {"create", "update", "pause", "resume", "drain", "purge", "delete"};
constexpr const char* kOutcomes[] = {"complete", "fail", "reject", "snooze", "release", "cancelled"};
constexpr const char* kScheduleVerbs[] = {"create", "update", "get", "pause", "resume", "run", "delete"};
constexpr const char* kCatchUps[] = {"none", "one", "all"};
constexpr const char* kOverlaps[] = {"allow", "skip", "cancel"};

constexpr const char* kCoolScopes[] = {"", "queue", "type", "group", "key"};

// "gpu=y\nzone=a" as "gpu:y,zone:a".
std::string LabelWords(std::string_view labels) {
  std::string words(labels);
  std::replace(words.begin(), words.end(), '=', ':');
  std::replace(words.begin(), words.end(), '\n', ',');
  return words;
}

// All in the first one's queue: scripts know no other.
std::string BroughtWords(const std::vector<NewTask>& tasks) {
  std::string words = fmt::format(" q={} enqueue=", tasks.front().queue);
  for (const NewTask& task : tasks) {
    if (&task != &tasks.front()) words += ",";
    words += task.type;
    if (!task.unique_key.empty()) words += fmt::format(":{}", task.unique_key);
  }
  return words;
}

constexpr const char* kThrottleVerbs[] = {"create", "update", "get", "delete"};
constexpr const char* kPers[] = {"", "all", "queue", "type", "group", "key"};

std::string ThrottleLine(const ThrottleCommand& command) {
  std::string line = fmt::format("throttle {} {}", kThrottleVerbs[static_cast<size_t>(command.verb)], command.name);
  if (command.change == nullptr) return line;
  const ThrottleChange& change = *command.change;
  if (change.queues) line += fmt::format(" q={}", fmt::join(*change.queues, ","));
  if (change.types) line += fmt::format(" types={}", fmt::join(*change.types, ","));
  if (change.per) line += fmt::format(" per={}", kPers[static_cast<size_t>(*change.per)]);
  if (change.max_running) line += fmt::format(" max={}", *change.max_running);
  if (change.rate && change.rate->tasks == 0) {
    line += " rate=none";
  } else if (change.rate) {
    line += fmt::format(" rate={}/{} burst={}", change.rate->tasks, Seconds(change.rate->period), change.rate->burst);
  }
  return line;
}

// `start` is the script's first moment.
std::string ScheduleLine(const ScheduleCommand& command, Time start) {
  std::string line = fmt::format("schedule {} {}", kScheduleVerbs[static_cast<size_t>(command.verb)], command.name);
  if (command.change == nullptr) return line;
  const ScheduleChange& change = *command.change;
  if (change.times) {
    const ScheduleTimes& times = *change.times;
    std::string cron = times.cron;
    std::replace(cron.begin(), cron.end(), ' ', '_');
    if (!cron.empty()) line += fmt::format(" cron={}", cron);
    if (!times.time_zone.empty()) line += fmt::format(" zone={}", times.time_zone);
    if (times.interval > 0) line += fmt::format(" every={}", Seconds(times.interval));
    if (times.start > 0) line += fmt::format(" start={}", Seconds(std::max<Span>(times.start - start, 0)));
    if (times.end != kNever) line += fmt::format(" end={}", Seconds(std::max<Span>(times.end - start, 0)));
  }
  if (change.task) {
    line += fmt::format(" q={} type={}", change.task->queue, change.task->type);
    if (!change.task->unique_key.empty()) line += fmt::format(" unique={}", change.task->unique_key);
    if (change.task->retry_change.max_attempts) {
      line += fmt::format(" attempts={}", *change.task->retry_change.max_attempts);
    }
  }
  if (change.catch_up) line += fmt::format(" catch_up={}", kCatchUps[static_cast<size_t>(*change.catch_up) - 1]);
  if (change.overlap) line += fmt::format(" overlap={}", kOverlaps[static_cast<size_t>(*change.overlap) - 1]);
  if (change.start_within) line += fmt::format(" within={}", Seconds(*change.start_within));
  if (change.paused) line += fmt::format(" paused={}", *change.paused);
  return line;
}

}  // namespace

void DoorScript::Step(const std::vector<Command>& commands, Time wall) {
  if (start_ == 0) start_ = last_ = wall;
  turns_.emplace_back();
  out_ = &turns_.back().lines;
  const Span passed = (wall - last_) / kMilli * kMilli;
  if (passed > 0) {
    last_ += passed;
    out_->push_back(fmt::format("advance {}", Seconds(passed)));
  }
  if (commands.empty()) return;
  if (commands.size() > 1) out_->push_back("begin");
  for (const Command& command : commands) Say(command);
  if (commands.size() > 1) out_->push_back("end");
}

void DoorScript::Stepped(uint64_t sequence, const Effects& effects) {
  turns_.back().sequence = sequence;
  for (const Reply& reply : effects.replies) {
    const auto* enqueued = std::get_if<EnqueueReply>(&reply.value);
    if (enqueued == nullptr || !reply.status.ok()) continue;
    for (const EnqueueResult& result : enqueued->results) {
      turns_.back().told.push_back(result.task);
    }
  }
}

// Scenarios name tasks in the order in which they hear of them, and of what is lost they hear nothing.
void DoorScript::NameTasks(const Turn& turn) {
  for (TaskId task : turn.told) tasks_.emplace(task, static_cast<int>(tasks_.size()) + 1);
}

void DoorScript::Committed(uint64_t sequence) {
  for (Turn& turn : turns_) {
    if (turn.sequence != sequence) continue;
    turn.committed = true;
    NameTasks(turn);
  }
}

void DoorScript::LosePower(size_t commits) {
  for (auto turn = turns_.rbegin(); turn != turns_.rend() && commits > 0; ++turn) {
    if (!std::exchange(turn->committed, false)) continue;
    --commits;
  }
}

void DoorScript::Flush() {
  bool lost = false;
  for (const Turn& turn : turns_) {
    if (!lost && turn.sequence != 0 && !turn.committed) {
      lost = true;
      lines_.push_back("pipeline 99");
    }
    lines_.insert(lines_.end(), turn.lines.begin(), turn.lines.end());
  }
  turns_.clear();
  if (lost) lines_.push_back("# lost: what follows `pipeline`");
}

void DoorScript::Crash() {
  Flush();
  const bool lost = !lines_.empty() && lines_.back().starts_with("#");
  lines_.push_back("crash");
  if (lost) lines_.push_back("pipeline 0");
  streams_.clear();
}

std::string DoorScript::TaskName(TaskId task) const {
  auto found = tasks_.find(task);
  return found == tasks_.end() ? "nobody" : fmt::format("T{}", found->second);
}

std::string DoorScript::WorkerName(Ticket stream) {
  auto found = streams_.find(stream);
  return found == streams_.end() ? "nobody" : found->second;
}

// What a task is, as `enqueue` and `update` have it.
std::string DoorScript::TaskWords(const NewTask& task) const {
  std::string line = fmt::format(" q={} type={}", task.queue, task.type);
  if (task.priority != 5) line += fmt::format(" priority={}", task.priority);
  if (task.delay > 0) line += fmt::format(" delay={}", Seconds(task.delay));
  if (task.run_at > 0) line += fmt::format(" run_at={}", Seconds(std::max<Span>(task.run_at - start_, 0)));
  if (task.expire_at != kNever) line += fmt::format(" expire={}", Seconds(std::max<Span>(task.expire_at - last_, 0)));
  if (task.life_timeout > 0) line += fmt::format(" life={}", Seconds(task.life_timeout));
  if (!task.unique_key.empty()) line += fmt::format(" unique={}", task.unique_key);
  if (!task.key.empty()) line += fmt::format(" key={}", task.key);
  if (!task.group.empty()) line += fmt::format(" group={}", task.group);
  if (task.unique_waiting) line += " scope=waiting";
  if (task.unique_conflict != UniqueConflict::kKeep) {
    line += task.unique_conflict == UniqueConflict::kReplace ? " conflict=replace" : " conflict=debounce";
  }
  if (!task.labels.empty()) line += " labels=" + LabelWords(task.labels);
  if (task.cost > 1) line += fmt::format(" cost={}", task.cost);
  if (task.unique_window > 0) line += fmt::format(" window={}", Seconds(task.unique_window));
  if (task.result_retention) line += fmt::format(" retention={}", Seconds(*task.result_retention));
  if (task.retry_policy) {
    line += fmt::format(" attempts={} backoff={} jitter={}", task.retry_policy->max_attempts,
                        Seconds(task.retry_policy->initial_backoff), task.retry_policy->jitter);
  }
  if (task.spec.size() > 200) line += fmt::format(" size={}", task.spec.size());
  return line;
}

void DoorScript::Say(const Command& command) {
  auto say = [this](std::string line) { out_->push_back(std::move(line)); };
  std::visit(
      Overloaded{
          [&](const EnqueueCommand& enqueue) {
            // A command of scenarios is one kind of task: a request for several is told without its id.
            const bool several = enqueue.tasks.size() > 1;
            const auto request = std::pair(enqueue.request_id.high, enqueue.request_id.low);
            if (several && !enqueue.request_id.empty() && !requests_.insert(request).second) {
              return say("# the same request again");
            }
            for (const NewTask& task : enqueue.tasks) {
              std::string line = "enqueue" + TaskWords(task);
              if (!several && !enqueue.request_id.empty()) {
                line += fmt::format(" request={}", enqueue.request_id.high * 100'000 + enqueue.request_id.low);
              }
              say(std::move(line));
            }
          },
          [&](const OpenSessionCommand& open) {
            std::string& worker = sessions_[open.session_id];
            if (worker.empty()) worker = fmt::format("w{}", sessions_.size());
            streams_[open.stream] = worker;
            if (open.resume) {
              std::string held;
              for (const HeldTask& task : open.held_tasks) {
                held += (held.empty() ? "" : ",") + TaskName(task.task) + (task.started ? "" : "!");
              }
              return say(fmt::format("resume {} held={}", worker, held));
            }
            std::string types;
            for (const HandledType& type : open.types) {
              types += (types.empty() ? "" : ",") + type.type;
              if (type.max_concurrency > 0) types += fmt::format(":{}", type.max_concurrency);
            }
            std::string labels;
            for (const auto& [key, value] : open.labels) {
              labels += fmt::format("{}{}:{}", labels.empty() ? " labels=" : ",", key, value);
            }
            say(fmt::format("worker {} queues={} types={} slots={} lease={}{}", worker, fmt::join(open.queues, ","),
                            types, open.concurrency, Seconds(open.lease), labels));
          },
          [&](const SessionInput& input) {
            const std::string worker = WorkerName(input.stream);
            if (worker == "nobody") return say("# a frame on a stream of before");
            for (const TaskStart& start : input.starts) say(fmt::format("start {} {}", worker, TaskName(start.task)));
            for (const ProgressReport& report : input.progress_reports) {
              std::string line =
                  fmt::format("progress {} {} percent={}", worker, TaskName(report.task), report.percent);
              line += fmt::format(" token={}.{}", report.token.value() >> 40,
                                  report.token.value() & ((uint64_t{1} << 40) - 1));
              if (report.checkpoint) line += fmt::format(" checkpoint={}", *report.checkpoint);
              say(std::move(line));
            }
            for (const TaskOutcome& outcome : input.outcomes) {
              std::string line =
                  fmt::format("{} {} {}", kOutcomes[static_cast<size_t>(outcome.kind)], worker, TaskName(outcome.task));
              line += fmt::format(" token={}.{}", outcome.token.value() >> 40,
                                  outcome.token.value() & ((uint64_t{1} << 40) - 1));
              if (outcome.delay) {
                line += fmt::format(" {}={}", outcome.kind == OutcomeKind::kSnoozed ? "for" : "retry_after",
                                    Seconds(*outcome.delay));
              }
              if (outcome.cool != CoolScope::kNone) {
                line += fmt::format(" cool={}", kCoolScopes[static_cast<size_t>(outcome.cool)]);
              }
              if (outcome.enqueue != nullptr) line += BroughtWords(*outcome.enqueue);
              say(std::move(line));
            }
            for (const LogReport& log : input.log_reports)
              say(fmt::format("log {} {} text=line", worker, TaskName(log.task)));
            if (input.goodbye) return say(fmt::format("goodbye {}", worker));
            std::string line = fmt::format("input {} credit={}", worker, input.credit);
            if (!input.type_credits.empty()) {
              line += " type_credit=";
              for (const TypeCredit& credit : input.type_credits) {
                line += fmt::format("{}{}:{}", line.back() == '=' ? "" : ",", credit.type, credit.credit);
              }
            }
            if (input.draining) line += " draining=true";
            say(std::move(line));
          },
          [&](const SessionBroken& broken) {
            if (WorkerName(broken.stream) != "nobody") say(fmt::format("break {}", WorkerName(broken.stream)));
          },
          [&](const DrainWorkerCommand& drain) { say(fmt::format("drain-worker {}", drain.worker)); },
          [&](const GetTaskCommand& get) { say(fmt::format("get {}", TaskName(get.task))); },
          [&](const WatchTaskCommand& watch) {
            say(fmt::format("{} {}", watch.only_end ? "wait" : "watch", TaskName(watch.task)));
          },
          [&](const UnwatchCommand&) {},
          [&](const CancelTaskCommand& cancel) {
            say(fmt::format("cancel {} reason={}", TaskName(cancel.task), cancel.reason.empty() ? "" : "why"));
          },
          [&](const UpdateTaskCommand& update) {
            std::string line = fmt::format("update {} revision={}", TaskName(update.task), update.revision);
            line += TaskWords(update.changed);
            if (!update.keep_start && update.changed.delay == 0 && update.changed.run_at == 0) line += " run_at=0s";
            say(std::move(line));
          },
          [&](const DeleteTaskCommand& remove) { say(fmt::format("delete {}", TaskName(remove.task))); },
          [&](const RetryTaskCommand& retry) { say(fmt::format("retry {}", TaskName(retry.task))); },
          [&](const ListLanesCommand& list) { say(fmt::format("lanes {} max={}", list.queue, list.max_runs)); },
          [&](const ListRunningCommand& list) { say(fmt::format("running {}", list.queue)); },
          [&](const QueueCommand& queue) {
            std::string line = fmt::format("queue {} {}", kVerbs[static_cast<size_t>(queue.verb)], queue.queue);
            if (queue.force) line += " force";
            const QueueSettingsChange& settings = queue.settings;
            if (settings.max_waiting) line += fmt::format(" max_waiting={}", *settings.max_waiting);
            if (settings.max_waiting_bytes) line += fmt::format(" max_bytes={}", *settings.max_waiting_bytes);
            if (settings.drop_oldest) line += *settings.drop_oldest ? " overflow=drop" : " overflow=reject";
            if (queue.settings.relaxed) line += fmt::format(" relaxed={}", *queue.settings.relaxed);
            say(std::move(line));
          },
          [&](const ListKeysCommand& list) { say(fmt::format("keys {}", list.queue)); },
          [&](const ReleaseKeyCommand& release) { say(fmt::format("release-key {} {}", release.queue, release.key)); },
          [&](const DeadTasksCommand& dead) {
            std::string line = fmt::format("{} {} limit={}", dead.verb == DeadVerb::kRedrive ? "redrive" : "purge-dead",
                                           dead.queue, dead.limit);
            if (!dead.type.empty()) line += " type=" + dead.type;
            say(std::move(line));
          },
          [&](const StatusCommand&) { say("status"); },
          [&](const ScheduleCommand& schedule) { say(ScheduleLine(schedule, start_)); },
          [&](const ThrottleCommand& throttle) { say(ThrottleLine(throttle)); },
          [&](const ListThrottlesCommand&) { say("throttles"); },
          [&](const ListSchedulesCommand& list) {
            say(fmt::format("schedules limit={}{}", list.limit, list.after.empty() ? "" : " after=" + list.after));
          },
          [&](const auto&) { say("# a command that scripts have no word for"); },
      },
      command);
}

std::string DoorScript::Text(size_t lines) const {
  DoorScript whole = *this;
  whole.Flush();
  const auto& all = whole.lines_;
  std::string text;
  const size_t begin = all.size() > lines ? all.size() - lines : 0;
  if (begin > 0) text += fmt::format("# {} lines before these\n", begin);
  for (size_t i = begin; i < all.size(); ++i) text += all[i] + "\n";
  return text;
}

}  // namespace penstock::broker
