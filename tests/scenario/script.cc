#include "tests/scenario/script.h"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "broker/storage/labels.h"
#include "broker/storage/records.h"
#include "common/name_hash.h"
#include "common/text.h"
#include "fmt/format.h"
#include "tests/scenario/script_text.h"

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
      spec = *payloads_.insert(value).first;
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

}  // namespace penstock::broker
