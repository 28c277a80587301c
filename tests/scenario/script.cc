#include "tests/scenario/script.h"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "broker/storage/envelope.h"
#include "broker/storage/history.h"
#include "broker/storage/keys.h"
#include "broker/storage/labels.h"
#include "broker/storage/records.h"
#include "broker/storage/task_block.h"
#include "common/name_hash.h"
#include "fmt/format.h"
#include "penstock/v1/task.pb.h"

namespace penstock::broker {
namespace {

// No enqueue gave this id.
constexpr TaskId kNobody(0, 999, 0);

// A mistake in a script ends the test, with the line.
[[noreturn]] void Wrong(std::string_view what, std::string_view where) {
  throw std::runtime_error(fmt::format("{}: {}", what, where));
}

// "a:2,b:0.5"
std::map<std::string, double> ParseWeights(const std::string& text) {
  std::map<std::string, double> weights;
  for (absl::string_view part : absl::StrSplit(text, ',')) {
    const std::pair<std::string, std::string> named = absl::StrSplit(part, ':');
    weights[named.first] = std::stod(named.second);
  }
  return weights;
}

// "gpu:yes,zone:eu"
std::map<std::string, std::string> ParseLabels(const std::string& text) {
  std::map<std::string, std::string> labels;
  for (absl::string_view part : absl::StrSplit(text, ',')) {
    const std::pair<std::string, std::string> named = absl::StrSplit(part, ':');
    labels[named.first] = named.second;
  }
  return labels;
}

Span ParseSpan(std::string_view text) {
  const size_t unit_at = text.find_first_not_of("0123456789.");
  const std::string_view unit = unit_at == std::string_view::npos ? "" : text.substr(unit_at);
  double value = 0;
  if (!absl::SimpleAtod(ToAbsl(text.substr(0, unit_at)), &value)) Wrong("not a time", text);
  if (unit == "ms") return static_cast<Span>(value * 1'000);
  if (unit == "s") return static_cast<Span>(value * kSecond);
  if (unit == "m") return static_cast<Span>(value * kMinute);
  if (unit == "h") return static_cast<Span>(value * 60 * kMinute);
  if (unit == "d") return static_cast<Span>(value * 24 * 60 * kMinute);
  if (unit.empty() && value == 0) return 0;
  Wrong("a time without a unit", text);
}

uint64_t ParseNumber(std::string_view text) {
  uint64_t value = 0;
  if (!absl::SimpleAtoi(ToAbsl(text), &value)) Wrong("not a number", text);
  return value;
}

std::vector<std::string> Split(std::string_view text, char separator) {
  if (text.empty()) return {};
  std::vector<std::string> parts;
  for (absl::string_view part : absl::StrSplit(ToAbsl(text), separator)) parts.emplace_back(part);
  return parts;
}

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

// Three decimals are enough to see what a time is, and stable.
std::string Seconds(Span span) {
  std::string text = fmt::format("{:.3f}", static_cast<double>(span) / kSecond);
  while (text.back() == '0') text.pop_back();
  if (text.back() == '.') text.pop_back();
  return text + "s";
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

RetryPolicy PolicyOf(const std::map<std::string, std::string>& named, RetryPolicy policy) {
  for (const auto& [name, value] : named) {
    if (name == "attempts") policy.max_attempts = static_cast<uint32_t>(ParseNumber(value));
    if (name == "backoff") policy.initial_backoff = ParseSpan(value);
    if (name == "max_backoff") policy.max_backoff = ParseSpan(value);
    if (name == "multiplier" && !absl::SimpleAtod(value, &policy.multiplier)) Wrong("not a number", value);
    if (name == "jitter" && !absl::SimpleAtod(value, &policy.jitter)) Wrong("not a number", value);
    if (name == "growth") {
      static const std::map<std::string, Backoff> kKinds = {
          {"exponential", Backoff::kExponential}, {"linear", Backoff::kLinear}, {"fixed", Backoff::kFixed}};
      policy.backoff = kKinds.at(value);
    }
  }
  return policy;
}

bool NamesPolicy(const std::map<std::string, std::string>& named) {
  return named.contains("attempts") || named.contains("backoff") || named.contains("max_backoff") ||
         named.contains("multiplier") || named.contains("jitter") || named.contains("growth");
}

}  // namespace

// --- names ---

CoreDriver& Script::driver() {
  if (driver_ == nullptr) {
    driver_ = std::make_unique<CoreDriver>(options_);
    driver_->set_check_every(1);
    start_ = driver_->now().wall;
  }
  return *driver_;
}

Script::Worker& Script::WorkerOf(const std::string& name) {
  auto found = workers_.find(name);
  if (found == workers_.end()) Wrong("no such worker", name);
  return found->second;
}

TaskId Script::TaskOf(const std::string& name) const {
  if (name == "nobody") return kNobody;
  const uint64_t number = name.starts_with("T") ? ParseNumber(std::string_view(name).substr(1)) : 0;
  if (number == 0 || number > tasks_.size()) Wrong("no such task", name);
  return tasks_[number - 1];
}

std::string Script::NameOf(TaskId task) {
  if (task == kNobody) return "nobody";
  auto [found, added] = names_.emplace(task, "");
  if (added) {
    tasks_.push_back(task);
    found->second = fmt::format("T{}", tasks_.size());
  }
  return found->second;
}

std::string Script::NamesOf(const std::vector<TaskId>& tasks) {
  std::string out;
  for (size_t i = 0; i < tasks.size();) {
    size_t next = i + 1;
    const std::string first = NameOf(tasks[i]);
    while (next < tasks.size() &&
           NameOf(tasks[next]) == fmt::format("T{}", ParseNumber(std::string_view(first).substr(1)) + (next - i))) {
      ++next;
    }
    out += (out.empty() ? "" : " ") + first;
    if (next - i > 1) out += ".." + NameOf(tasks[next - 1]);
    i = next;
  }
  return out;
}

FencingToken Script::TokenOf(const Words& words, const Worker& worker, TaskId task) const {
  if (auto given = words.named.find("token"); given != words.named.end()) {
    const std::vector<std::string> parts = Split(given->second, '.');
    if (parts.size() != 2) Wrong("not a token", given->second);
    return FencingToken(ParseNumber(parts[0]) << 40 | ParseNumber(parts[1]));
  }
  auto found = worker.tokens.find(task);
  return found == worker.tokens.end() ? FencingToken() : found->second;
}

Ticket Script::NewTicket(std::string label) {
  const Ticket ticket = driver().NewTicket();
  tickets_[ticket] = std::move(label);
  return ticket;
}

std::string Script::When(Time time) const {
  if (time == kNever) return "never";
  return "+" + Seconds(time - start_);
}

std::string_view Script::Keep(std::string text) {
  kept_.push_back(std::make_shared<std::string>(std::move(text)));
  return *kept_.back();
}

// --- commands ---

std::string Script::Run(std::string_view line) {
  Words words;
  for (const std::string& word : Split(line, ' ')) {
    if (word.empty()) continue;
    const size_t equals = word.find('=');
    if (words.name.empty()) {
      words.name = word;
    } else if (equals == std::string::npos) {
      words.plain.push_back(word);
    } else {
      words.named[word.substr(0, equals)] = word.substr(equals + 1);
    }
  }
  std::string out;
  std::vector<Command> commands;
  if (RunOwn(words, &out)) return out.empty() ? "ok\n" : out;
  if (!Build(words, &commands) && !BuildScheduleCommand(words, &commands) && !BuildThrottleCommand(words, &commands) &&
      !BuildExplainCommand(words, &commands) && !BuildWorkerCommand(words, &commands)) {
    Wrong("no such command", line);
  }
  if (together_) {
    for (Command& command : commands) collected_.push_back(std::move(command));
    return "";
  }
  out = Step(std::move(commands));
  return out.empty() ? "ok\n" : out;
}

void Script::SetOptions(const Words& words) {
  if (driver_ != nullptr) Wrong("options come first", words.name);
  for (const auto& [name, value] : words.named) {
    if (name == "max_queues") {
      options_.max_queues = static_cast<uint32_t>(ParseNumber(value));
    } else if (name == "max_types") {
      options_.max_types = static_cast<uint32_t>(ParseNumber(value));
    } else if (name == "max_schedules") {
      options_.max_schedules = static_cast<uint32_t>(ParseNumber(value));
    } else if (name == "max_throttles") {
      options_.max_throttles = static_cast<uint32_t>(ParseNumber(value));
    } else if (name == "max_schedule_bytes") {
      options_.max_schedule_bytes = ParseNumber(value);
    } else if (name == "max_sessions") {
      options_.max_sessions = static_cast<uint32_t>(ParseNumber(value));
    } else if (name == "max_watchers") {
      options_.max_watchers = static_cast<uint32_t>(ParseNumber(value));
    } else if (name == "max_tasks_per_worker") {
      options_.max_tasks_per_worker = static_cast<uint32_t>(ParseNumber(value));
    } else if (name == "checkpoint_bytes") {
      options_.checkpoint_bytes = ParseNumber(value);
    } else if (name == "block_bytes") {
      options_.block_bytes = ParseNumber(value);
    } else if (name == "grace") {
      options_.session_grace = ParseSpan(value);
    } else {
      Wrong("no such option", name);
    }
  }
}

bool Script::RunOwn(const Words& words, std::string* out) {
  if (words.name == "options") {
    SetOptions(words);
  } else if (words.name == "facts") {
    facts_ = true;
  } else if (words.name == "advance") {
    *out = Advance(words);
  } else if (words.name == "clock") {
    // The wall clock alone.
    const std::string& by = words.plain.at(0);
    driver().MoveWallClock(by.starts_with('-') ? -ParseSpan(by.substr(1)) : ParseSpan(by));
  } else if (words.name == "begin") {
    together_ = true;
    collected_.clear();
  } else if (words.name == "end") {
    together_ = false;
    const bool once = !words.plain.empty() && words.plain[0] == "once";
    *out = Step(std::exchange(collected_, {}), !once);
  } else if (words.name == "pipeline") {
    driver().set_pipeline_depth(ParseNumber(words.plain.at(0)));
  } else if (words.name == "sync") {
    *out = Tell(driver().CommitAll());
  } else if (words.name == "crash") {
    auto kept = words.named.find("kept");
    driver().Crash(kept == words.named.end() ? 0 : ParseNumber(kept->second));
    streams_.clear();
    *out = fmt::format("epoch {}\n", driver().core().epoch());
  } else if (words.name == "state") {
    *out = TellState();
  } else if (words.name == "store") {
    *out = TellStore();
  } else if (words.name == "deadline") {
    const CoreNow deadline = driver().core().next_deadline();
    *out = fmt::format("wall {} elapsed {}\n", When(deadline.wall),
                       deadline.elapsed == kNever ? "never" : Seconds(deadline.elapsed));
  } else {
    return false;
  }
  return true;
}

// Time passes at once, or, with live workers, in steps short enough for their heartbeats.
std::string Script::Advance(const Words& words) {
  Span left = ParseSpan(words.plain.at(0));
  auto alive = words.named.find("alive");
  std::string out;
  if (words.plain.size() > 1 && words.plain[1] == "awake") {
    // As the engine would, which sleeps until something is due.
    for (Span step = 0; left > 0; left -= step) {
      step = std::clamp<Span>(driver().core().next_deadline().wall - driver().now().wall, 1, left);
      out += Tell(driver().Advance(step));
    }
    return out;
  }
  if (alive == words.named.end()) return Tell(driver().Advance(left));
  while (left > 0) {
    const Span step = std::min(left, 5 * kSecond);
    left -= step;
    for (const std::string& name : Split(alive->second, ',')) {
      SessionInput input;
      input.stream = WorkerOf(name).stream;
      out += Tell(driver().Step(Command(std::move(input))));
    }
    out += Tell(driver().Advance(step));
  }
  return out;
}

std::string Script::Step(std::vector<Command> commands, bool settle) {
  std::string out = Tell(driver().Step(std::move(commands)));
  if (!settle) return out;
  const CoreNow deadline = driver().core().next_deadline();
  if (deadline.wall == 0 && deadline.elapsed == 0) out += Tell(driver().Advance(0));
  return out;
}

NewTask Script::ReadTask(const std::map<std::string, std::string>& named) {
  NewTask task;
  task.queue = "mail";
  task.type = "send";
  std::string spec = "payload";
  const Time now = driver().now().wall;
  for (const auto& [name, value] : named) {
    if (name == "n" || name == "request" || name == "revision") {
      continue;  // not of a task
    } else if (name == "q") {
      task.queue = Keep(value);
    } else if (name == "type") {
      task.type = Keep(value);
    } else if (name == "priority") {
      task.priority = static_cast<uint8_t>(ParseNumber(value));
    } else if (name == "delay") {
      task.delay = ParseSpan(value);
    } else if (name == "run_at") {
      task.run_at = start_ + ParseSpan(value);
    } else if (name == "expire") {
      task.expire_at = now + ParseSpan(value);
    } else if (name == "within") {
      task.start_within = ParseSpan(value);
    } else if (name == "life") {
      task.life_timeout = ParseSpan(value);
    } else if (name == "timeout") {
      task.run_timeout = ParseSpan(value);
    } else if (name == "unique") {
      task.unique_key = Keep(value);
    } else if (name == "window") {
      task.unique_window = ParseSpan(value);
    } else if (name == "scope") {
      task.unique_waiting = value == "waiting";
    } else if (name == "conflict") {
      task.unique_conflict = value == "replace"    ? UniqueConflict::kReplace
                             : value == "debounce" ? UniqueConflict::kDebounce
                                                   : UniqueConflict::kKeep;
    } else if (name == "key") {
      task.key = Keep(value);
    } else if (name == "group") {
      task.group = Keep(value);
    } else if (name == "retention") {
      task.result_retention = ParseSpan(value);
    } else if (name == "cost") {
      task.cost = static_cast<uint16_t>(ParseNumber(value));
    } else if (name == "labels") {
      task.labels = Keep(LabelText(ParseLabels(value)));
    } else if (name == "size") {
      spec = std::string(ParseNumber(value), 'x');
    } else if (name == "payload") {
      spec = value;
    } else if (!NamesPolicy({{name, value}})) {
      Wrong("no such field", name);
    }
  }
  if (NamesPolicy(named)) task.retry_policy = PolicyOf(named, options_.queue_defaults.retry_policy);
  task.spec = Keep(std::move(spec));
  return task;
}

void Script::BuildEnqueue(const Words& words, std::vector<Command>* commands) {
  EnqueueCommand command;
  command.ticket = NewTicket("enqueue");
  const auto count = words.named.find("n");
  const auto request = words.named.find("request");
  if (request != words.named.end()) command.request_id = {1, ParseNumber(request->second)};
  command.tasks.assign(count == words.named.end() ? 1 : ParseNumber(count->second), ReadTask(words.named));
  commands->emplace_back(std::move(command));
}

bool Script::Build(const Words& words, std::vector<Command>* commands) {
  const std::string& name = words.name;
  auto named = [&](const std::string& key, std::string otherwise = "") {
    auto found = words.named.find(key);
    return found == words.named.end() ? otherwise : found->second;
  };
  if (name == "enqueue") {
    BuildEnqueue(words, commands);
  } else if (name == "get") {
    commands->emplace_back(GetTaskCommand{NewTicket("get"), TaskOf(words.plain.at(0))});
  } else if (name == "watch" || name == "wait") {
    const Ticket ticket = NewTicket(name + " " + words.plain.at(0));
    watches_[words.plain.at(0)] = ticket;
    commands->emplace_back(WatchTaskCommand{ticket, TaskOf(words.plain.at(0)), name == "wait"});
  } else if (name == "unwatch") {
    commands->emplace_back(UnwatchCommand{watches_.at(words.plain.at(0))});  // or of a subscription
  } else if (name == "cancel") {
    commands->emplace_back(CancelTaskCommand{NewTicket("cancel"), TaskOf(words.plain.at(0)), named("reason")});
  } else if (name == "update") {
    UpdateTaskCommand command;
    command.ticket = NewTicket("update");
    command.task = TaskOf(words.plain.at(0));
    command.revision = static_cast<uint32_t>(ParseNumber(named("revision", "0")));
    command.changed = ReadTask(words.named);
    command.keep_start = !words.named.contains("delay") && !words.named.contains("run_at");
    commands->emplace_back(std::move(command));
  } else if (name == "delete") {
    commands->emplace_back(DeleteTaskCommand{NewTicket("delete"), TaskOf(words.plain.at(0))});
  } else if (name == "retry") {
    commands->emplace_back(RetryTaskCommand{NewTicket("retry"), TaskOf(words.plain.at(0))});
  } else if (name == "queue") {
    QueueCommand command;
    command.ticket = NewTicket("queue");
    static const std::map<std::string, QueueVerb> kVerbs = {
        {"create", QueueVerb::kCreate}, {"update", QueueVerb::kUpdate}, {"pause", QueueVerb::kPause},
        {"resume", QueueVerb::kResume}, {"drain", QueueVerb::kDrain},   {"purge", QueueVerb::kPurge},
        {"delete", QueueVerb::kDelete}};
    command.verb = kVerbs.at(words.plain.at(0));
    command.queue = words.plain.at(1);
    command.force = words.plain.size() > 2 && words.plain[2] == "force";
    if (words.named.contains("relaxed")) command.settings.relaxed = named("relaxed") == "true";
    if (words.named.contains("retention")) command.settings.result_retention = ParseSpan(named("retention"));
    if (words.named.contains("dead_retention")) command.settings.dead_retention = ParseSpan(named("dead_retention"));
    if (words.named.contains("cancelled_retention")) {
      std::optional<Span>& retention = command.settings.cancelled_retention.emplace();
      if (named("cancelled_retention") != "default") retention = ParseSpan(named("cancelled_retention"));
    }
    if (words.named.contains("timeout")) command.settings.run_timeout = ParseSpan(named("timeout"));
    if (words.named.contains("dead_blocks_key")) {
      command.settings.dead_blocks_key = named("dead_blocks_key") == "true";
    }
    if (words.named.contains("max_waiting")) command.settings.max_waiting = ParseNumber(named("max_waiting"));
    if (words.named.contains("max_bytes")) command.settings.max_waiting_bytes = ParseNumber(named("max_bytes"));
    if (words.named.contains("overflow")) command.settings.drop_oldest = named("overflow") == "drop";
    if (words.named.contains("weights")) command.settings.group_weights = ParseWeights(named("weights"));
    if (NamesPolicy(words.named)) {
      command.settings.retry_policy = PolicyOf(words.named, options_.queue_defaults.retry_policy);
    }
    commands->emplace_back(std::move(command));
  } else if (name == "keys") {
    ListKeysCommand command;
    command.ticket = NewTicket("keys");
    command.queue = words.plain.at(0);
    command.limit = static_cast<uint32_t>(ParseNumber(named("limit", "100")));
    command.from_lane = LaneId(static_cast<uint32_t>(ParseNumber(named("from", "0"))));
    commands->emplace_back(std::move(command));
  } else if (name == "release-key") {
    commands->emplace_back(ReleaseKeyCommand{NewTicket("release-key"), words.plain.at(0), words.plain.at(1)});
  } else if (name == "redrive" || name == "purge-dead") {
    DeadTasksCommand command;
    command.ticket = NewTicket(name);
    command.verb = name == "redrive" ? DeadVerb::kRedrive : DeadVerb::kPurge;
    command.queue = words.plain.at(0);
    command.type = named("type");
    command.limit = static_cast<uint32_t>(ParseNumber(named("limit", "1000")));
    commands->emplace_back(std::move(command));
  } else if (name == "status") {
    commands->emplace_back(StatusCommand{NewTicket("status")});
  } else if (name == "running") {
    ListRunningCommand command;
    command.ticket = NewTicket("running");
    command.queue = words.plain.at(0);
    command.limit = static_cast<uint32_t>(ParseNumber(named("limit", "100")));
    if (words.named.contains("after")) command.after = TaskOf(named("after"));
    commands->emplace_back(std::move(command));
  } else if (name == "lanes") {
    ListLanesCommand command;
    command.ticket = NewTicket("lanes");
    command.queue = words.plain.at(0);
    command.max_runs = static_cast<uint32_t>(ParseNumber(named("max", "256")));
    command.from_lane = LaneId(static_cast<uint32_t>(ParseNumber(named("from_lane", "0"))));
    command.from_block = BlockId(ParseNumber(named("from_block", "0")));
    if (words.named.contains("key")) command.key = NameHash(named("key"));
    if (words.named.contains("group")) command.group = NameHash(named("group"));
    commands->emplace_back(std::move(command));
  } else if (name == "bulk-job") {
    PutBulkJobCommand command;
    command.ticket = NewTicket("bulk-job");
    command.id = words.plain.at(0);
    records::BulkJobRecord record;
    record.set_job(named("job", ""));
    command.record = record.SerializeAsString();
    commands->emplace_back(std::move(command));
  } else if (name == "drain-worker") {
    commands->emplace_back(DrainWorkerCommand{NewTicket("drain-worker"), words.plain.at(0)});
  } else {
    return false;
  }
  return true;
}

bool Script::BuildWorkerCommand(const Words& words, std::vector<Command>* commands) {
  const std::string& name = words.name;
  if (words.plain.empty()) return false;
  const std::string& worker_name = words.plain[0];
  auto named = [&](const std::string& key, std::string otherwise = "") {
    auto found = words.named.find(key);
    return found == words.named.end() ? otherwise : found->second;
  };
  if (name == "worker") {
    Worker& worker = workers_[worker_name];
    worker = {};
    worker.name = worker_name;
    OpenSessionCommand& hello = worker.hello;
    hello.worker_name = named("name", worker_name);
    hello.session_id = worker.session_id = fmt::format("secret{}", next_session_++);
    hello.queues = Split(named("queues", "mail"), ',');
    for (const std::string& type : Split(named("types", "send"), ',')) {
      const std::vector<std::string> parts = Split(type, ':');
      hello.types.push_back({parts[0], parts.size() > 1 ? static_cast<uint32_t>(ParseNumber(parts[1])) : 0});
    }
    hello.concurrency = static_cast<uint32_t>(ParseNumber(named("slots", "1")));
    if (words.named.contains("lease")) hello.lease = ParseSpan(named("lease"));
    if (words.named.contains("labels")) hello.labels = ParseLabels(named("labels"));
    hello.stream = worker.stream = driver().NewTicket();
    streams_[worker.stream] = worker_name;
    commands->emplace_back(hello);
  } else if (name == "resume") {
    Worker& worker = WorkerOf(worker_name);
    OpenSessionCommand hello = worker.hello;
    hello.resume = true;
    hello.stream = worker.stream = driver().NewTicket();
    for (const std::string& held : Split(named("held"), ',')) {
      const bool unstarted = held.ends_with("!");  // delivered, not started
      const TaskId task = TaskOf(unstarted ? held.substr(0, held.size() - 1) : held);
      hello.held_tasks.push_back({task, worker.tokens[task], !unstarted});
    }
    streams_[worker.stream] = worker_name;
    commands->emplace_back(std::move(hello));
  } else if (name == "break") {
    commands->emplace_back(SessionBroken{WorkerOf(worker_name).stream});
    return true;
  }
  // Everything else is an input; the two connects above may give credit with the same words.
  auto found = workers_.find(worker_name);
  if (found == workers_.end()) return false;
  Worker& worker = found->second;
  SessionInput input;
  input.stream = worker.stream;
  input.credit = static_cast<uint32_t>(ParseNumber(named("credit", "0")));
  for (const std::string& credit : Split(named("type_credit"), ',')) {
    const std::vector<std::string> parts = Split(credit, ':');
    input.type_credits.push_back({Keep(parts.at(0)), static_cast<uint32_t>(ParseNumber(parts.at(1)))});
  }
  if (name == "worker" || name == "resume") {
    if (input.credit > 0 || !input.type_credits.empty()) commands->emplace_back(std::move(input));
    return true;
  }
  std::vector<TaskId> tasks;
  for (size_t i = 1; i < words.plain.size(); ++i) {
    // T3..T7 names a range.
    const size_t dots = words.plain[i].find("..");
    const TaskId first = TaskOf(words.plain[i].substr(0, dots));
    if (dots == std::string::npos) {
      tasks.push_back(first);
      continue;
    }
    for (uint64_t n = ParseNumber(words.plain[i].substr(1, dots - 1));
         n <= ParseNumber(words.plain[i].substr(dots + 3)); ++n) {
      tasks.push_back(TaskOf(fmt::format("T{}", n)));
    }
  }
  auto outcome = [&](OutcomeKind kind, auto&& fill) {
    input.frame_number = ++worker.frame;
    for (TaskId task : tasks) {
      TaskOutcome made;
      made.task = task;
      made.token = TokenOf(words, worker, task);
      made.kind = kind;
      if (words.named.contains("run_time")) made.run_time = ParseSpan(named("run_time"));
      if (words.named.contains("cool")) {
        static const std::map<std::string, CoolScope> kScopes = {{"queue", CoolScope::kQueue},
                                                                 {"type", CoolScope::kType},
                                                                 {"group", CoolScope::kGroup},
                                                                 {"key", CoolScope::kKey}};
        made.cool = kScopes.at(named("cool"));
      }
      fill(made);
      input.outcomes.push_back(made);
    }
  };
  const ErrorText error{Keep(named("kind", "Error")), Keep(named("error", "it failed")), ""};
  if (name == "input") {
    input.draining = words.named.contains("draining");
  } else if (name == "start") {
    for (TaskId task : tasks) input.starts.push_back({task, TokenOf(words, worker, task)});
  } else if (name == "complete") {
    outcome(OutcomeKind::kCompleted, [&](TaskOutcome& made) {
      made.result = Keep(named("result"));
      made.content_type = Keep(named("content_type", "text/plain"));
      // "+type:unique,type": tasks that it brings, all in one queue.
      std::vector<NewTask> brought;
      for (const std::string& text : Split(named("enqueue"), ',')) {
        const std::vector<std::string> parts = Split(text, ':');
        std::map<std::string, std::string> fields = {{"type", parts[0]}, {"q", named("q", "mail")}};
        if (parts.size() > 1) fields["unique"] = parts[1];
        brought.push_back(ReadTask(fields));
      }
      if (!brought.empty()) made.enqueue = std::make_shared<const std::vector<NewTask>>(std::move(brought));
    });
  } else if (name == "fail") {
    outcome(OutcomeKind::kFailed, [&](TaskOutcome& made) {
      made.error = error;
      if (words.named.contains("retry_after")) made.delay = ParseSpan(named("retry_after"));
    });
  } else if (name == "reject") {
    outcome(OutcomeKind::kRejected, [&](TaskOutcome& made) { made.error = error; });
  } else if (name == "snooze") {
    outcome(OutcomeKind::kSnoozed, [&](TaskOutcome& made) { made.delay = ParseSpan(named("for", "0")); });
  } else if (name == "release") {
    outcome(OutcomeKind::kReleased, [](TaskOutcome&) {});
  } else if (name == "cancelled") {
    outcome(OutcomeKind::kCancelled, [](TaskOutcome&) {});
  } else if (name == "progress") {
    double percent = 0;
    if (!absl::SimpleAtod(named("percent", "0"), &percent)) Wrong("not a number", named("percent"));
    for (TaskId task : tasks) {
      ProgressReport report{task, TokenOf(words, worker, task), percent, Keep(named("text"))};
      if (words.named.contains("checkpoint")) report.checkpoint = Keep(named("checkpoint"));
      input.progress_reports.push_back(report);
    }
  } else if (name == "log") {
    for (TaskId task : tasks) {
      LogReport report{task, TokenOf(words, worker, task), {}};
      const std::string text =
          words.named.contains("size") ? std::string(ParseNumber(named("size")), 'l') : named("text");
      for (uint64_t i = 0; i < ParseNumber(named("n", "1")); ++i) report.lines.push_back({0, Keep(text)});
      input.log_reports.push_back(std::move(report));
    }
  } else if (name == "stuck") {
    input.stuck_changed = true;
    input.stuck_tasks = tasks;
  } else if (name == "goodbye") {
    input.goodbye = true;
  } else {
    return false;
  }
  commands->emplace_back(std::move(input));
  return true;
}

// --- what came of it ---

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
    if (delivery.changed_spec != nullptr) rest += fmt::format(" spec={}", delivery.spec.substr(0, 40));
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
