// Random commands with batches in flight, lost batches, repeated requests and outcomes, against a model of what users
// were promised: acknowledged tasks end once, nothing runs twice at a time, tokens only grow, nothing comes early or
// after its life, nor what is to be left alone, and what a handler saved comes back. The driver checks every commit
// besides: a recovery gives the same state, and everything stored fits (tests/support/recount.h).
//
// PENSTOCK_SEEDS=N runs seeds 1 to N; PENSTOCK_SEED=n only that one.

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <map>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "broker/storage/keys.h"
#include "fmt/format.h"
#include "gtest/gtest.h"
#include "tests/support/core_driver.h"

namespace penstock::broker {
namespace {

constexpr Span kLease = 30 * kSecond;
constexpr const char* kQueues[] = {"a", "b", "c"};
constexpr const char* kTypes[] = {"x", "y", "z"};
constexpr const char* kGroups[] = {"g1", "g2", "g3"};
constexpr std::string_view kUniqueKeys[] = {"k1", "k2", "k3"};

struct Held {
  FencingToken token;
  bool started = false;
};

struct Worker {
  std::string session_id;  // empty: none
  Ticket stream;
  bool connected = false;
  Span heard = 0;     // elapsed: when it last spoke, or lost its connection
  Span patience = 0;  // for how long from then on nobody may take its tasks
  bool sure = true;   // false: it came back late, and has no answer yet
  std::map<TaskId, Held> held;
  uint64_t frame = 0;
  std::map<uint64_t, TaskOutcome> unacknowledged;  // by frame
};

class ModelWorld {
 public:
  explicit ModelWorld(uint64_t seed) : random_(seed), driver_(Options(seed)), workers_(4) {
    driver_.set_check_every(seed % 3 == 0 ? 1 : 9);
    driver_.set_pipeline_depth(pipeline_depth_ = seed % 3);
  }

  void Run(int steps) {
    for (int i = 0; i < steps && !::testing::Test::HasFailure(); ++i) Act();
    if (!::testing::Test::HasFailure()) Finish();
  }

 private:
  static CoreOptions Options(uint64_t seed) {
    CoreOptions options;
    options.checkpoint_bytes = 500;
    options.block_bytes = seed % 2 == 0 ? 400 : 20'000;
    options.block_cache_bytes = 2'000;
    options.max_tasks_per_worker = 7;
    options.queue_defaults.retry_policy.max_attempts = 3;
    options.queue_defaults.retry_policy.max_backoff = 10 * kSecond;
    options.queue_defaults.result_retention = 10 * kMinute;
    options.queue_defaults.dead_retention = 30 * kMinute;
    return options;
  }
  int Draw(int n) { return static_cast<int>(random_() % static_cast<uint64_t>(n)); }
  Time wall() const { return driver_.now().wall; }
  Span elapsed() const { return driver_.now().elapsed; }
  template <class Container>
  auto AnyOf(Container& container) {
    auto it = container.begin();
    std::advance(it, Draw(static_cast<int>(container.size())));
    return it;
  }

  // --- what comes back ---

  // Its tasks may be given to nobody else yet.
  bool Owns(const Worker& worker) const { return worker.sure && elapsed() - worker.heard < worker.patience; }

  void CheckDelivery(Worker& to, const Delivery& delivery) {
    const TaskId task = delivery.task;
    // Within a step the messages to several workers stand one after the other, whatever order the tokens were given in.
    ASSERT_GT(delivery.token.value(), tokens_before_) << "tokens only grow";
    ASSERT_GT(delivery.token, token_of_[task]) << "tokens only grow";
    token_of_[task] = delivery.token;
    last_token_ = std::max(last_token_, delivery.token.value());
    ASSERT_FALSE(ended_.contains(task)) << task.ToString() << " was delivered after its end";
    auto early = not_before_.find(task);
    if (early != not_before_.end()) {
      ASSERT_GE(wall(), early->second) << task.ToString() << " is early";
    }
    ASSERT_LE(delivery.attempt, delivery.max_attempts);
    CheckSemantics(delivery);
    for (Worker& worker : workers_) {
      auto held = worker.held.find(task);
      if (held == worker.held.end()) continue;
      ASSERT_FALSE(Owns(worker)) << task.ToString() << " is delivered while another worker runs it";
      worker.held.erase(held);
    }
    if (to.connected) to.held[task] = {delivery.token, false};  // else it has said goodbye
    ++deliveries_;
  }

  void CheckSemantics(const Delivery& delivery) {
    const TaskId task = delivery.task;
    // With batches in flight it is not known when it was handed out.
    if (auto life = life_end_.find(task); life != life_end_.end() && pipeline_depth_ == 0) {
      ASSERT_LT(wall(), life->second) << task.ToString() << " is handed out after its life";
      ASSERT_LE(delivery.run_timeout, life->second - wall()) << task.ToString() << " may run for longer than it lives";
    }
    if (auto queue = queue_of_.find(task); queue != queue_of_.end()) {
      ASSERT_GE(wall(), cooled_until_[queue->second]) << task.ToString() << " is of a queue that is left alone";
    }
    const std::vector<std::string>& sent = saves_[task];
    const auto found = std::find(sent.begin(), sent.end(), delivery.checkpoint);
    ASSERT_TRUE(delivery.checkpoint.empty() || found != sent.end()) << delivery.checkpoint << " was never saved";
    const auto confirmed = confirmed_saves_.find(task);
    if (confirmed == confirmed_saves_.end()) return;
    ASSERT_FALSE(delivery.checkpoint.empty()) << task.ToString() << " has lost its checkpoint";
    ASSERT_GE(static_cast<size_t>(found - sent.begin()), confirmed->second) << "an older checkpoint came back";
  }

  // An outcome counted: and with it what was said in the same frame.
  void Counted(const TaskOutcome& outcome) {
    if (auto cool = cooling_.find(outcome.token); cool != cooling_.end()) {
      Time& until = cooled_until_[cool->second.first];
      until = std::max(until, cool->second.second);
    }
    if (auto saved = saved_with_outcome_.find(outcome.token); saved != saved_with_outcome_.end()) {
      confirmed_saves_[outcome.task] = saved->second;
    }
    saved_with_outcome_.erase(outcome.token);
    cooling_.erase(outcome.token);
  }

  void Hear(const SessionMessage& message) {
    auto found = std::find_if(workers_.begin(), workers_.end(), [&](const Worker& worker) {
      return !worker.stream.empty() && worker.stream == message.stream;
    });
    if (found == workers_.end()) return;  // the stream is gone, and with it what was on its way
    Worker& worker = *found;
    if (message.welcome) {
      worker.connected = true;
      worker.session_id = message.welcome->session_id;
      if (!worker.sure) {
        worker.sure = true;
        Spoke(worker);
      }
      for (TaskId lost : message.welcome->lost_tasks) {
        if (!resumed_in_time_.contains(message.stream)) {
          worker.held.erase(lost);
          continue;
        }
        ASSERT_FALSE(worker.held.contains(lost))
            << lost.ToString() << " was lost although its worker came back in time";
      }
    }
    for (const Delivery& delivery : message.deliveries) CheckDelivery(worker, delivery);
    std::map<std::pair<TaskId, FencingToken>, RefusalReason> refused;
    for (const Refusal& refusal : message.refusals) refused[{refusal.task, refusal.token}] = refusal.reason;
    while (!worker.unacknowledged.empty() && worker.unacknowledged.begin()->first <= message.acknowledged_frame) {
      const TaskOutcome outcome = worker.unacknowledged.begin()->second;
      worker.unacknowledged.erase(worker.unacknowledged.begin());
      auto refusal = refused.find({outcome.task, outcome.token});
      const bool counted = refusal == refused.end() || refusal->second == RefusalReason::kAlreadyFinished;
      // One whose tasks were refused counted as a failure; repeated, it is finished already like any other.
      const bool completed = refusal == refused.end() || outcome.enqueue == nullptr;
      if (counted && completed && outcome.kind == OutcomeKind::kCompleted) {
        auto [ending, first] = completed_under_.emplace(outcome.task, outcome.token);
        ASSERT_TRUE(first || ending->second == outcome.token) << outcome.task.ToString() << " was completed twice";
        ended_.insert(outcome.task);
      }
      if (refusal == refused.end()) {
        ++accepted_;
        Counted(outcome);
      }
    }
    if (message.end) {
      worker.connected = false;
      worker.session_id.clear();
      worker.held.clear();
      worker.unacknowledged.clear();
      worker.stream = Ticket();
    }
  }

  void Hear(const Reply& reply) {
    if (auto asked = requests_.find(reply.ticket); asked != requests_.end()) {
      const auto* enqueued = std::get_if<EnqueueReply>(&reply.value);
      if (!reply.status.ok() || enqueued == nullptr) return;
      const uint64_t request = asked->second;
      for (size_t i = 0; i < enqueued->results.size(); ++i) {
        const TaskId task = enqueued->results[i].task;
        acknowledged_.insert(task);
        if (enqueued->results[i].replaced) {
          not_before_.erase(task);
          life_end_.erase(task);
        }
        // A duplicate may have been moved since, or be on its way to another queue.
        if (request == 0 && !enqueued->results[i].duplicate) queue_of_[task] = queues_of_[reply.ticket][i];
        if (request == 0 && !enqueued->results[i].duplicate && life_ends_of_[reply.ticket][i] != kNever) {
          life_end_.emplace(task, life_ends_of_[reply.ticket][i]);
        }
        // A repeated request may be answered after somebody let its tasks run at once.
        if (request == 0 && !enqueued->results[i].duplicate) not_before_.emplace(task, due_of_[reply.ticket][i]);
      }
      if (request == 0) return;
      auto [known, first] = answers_.emplace(request, enqueued->results.at(0).task);
      if (!first) {
        ASSERT_EQ(known->second, enqueued->results.at(0).task) << "a repeated request";
      }
      return;
    }
    if (auto changed = changes_.find(reply.ticket); changed != changes_.end()) {
      const auto* update = std::get_if<UpdateReply>(&reply.value);
      if (update != nullptr) not_before_[changed->second] = update->run_time;
      return;
    }
    if (auto deleted = deletions_.find(reply.ticket); deleted != deletions_.end()) {
      if (reply.status.ok()) ended_.insert(deleted->second);
      return;
    }
    if (std::holds_alternative<DeadTasksReply>(reply.value) || std::holds_alternative<RetryReply>(reply.value)) {
      not_before_.clear();
      life_end_.clear();
    }
    if (auto cancelled = cancels_.find(reply.ticket); cancelled != cancels_.end()) {
      const auto* cancel = std::get_if<CancelReply>(&reply.value);
      if (cancel != nullptr && cancel->state == State::kCancelled) ended_.insert(cancelled->second);
      return;
    }
    if (auto watch = watches_.find(reply.ticket); watch != watches_.end()) {
      const auto* task = std::get_if<TaskReply>(&reply.value);
      // Of a task that only the store may know, the core cannot say whether it was ever there: those are not counted
      // on.
      const bool lives =
          task != nullptr && (task->snapshot.place == TaskSnapshot::Place::kRunning ||
                              task->snapshot.state == State::kScheduled || task->snapshot.state == State::kRetryable);
      if (!lives) watches_.erase(watch);
    }
  }

  void Hear(Effects effects) {
    for (const LogFact& fact : effects.facts) {
      ASSERT_NE(fact.kind, LogFact::Kind::kRecordUnreadable) << fact.text;
    }
    tokens_before_ = last_token_;
    for (const Reply& reply : effects.replies) Hear(reply);
    for (const SessionMessage& message : effects.session_messages) Hear(message);
    for (const WatchEvent& event : effects.watch_events) {
      if (!event.status.ok() || IsFinal(event.snapshot.state)) watches_.erase(event.ticket);
    }
  }

  // --- what goes in ---

  void Do(std::vector<Command> commands) {
    Hear(driver_.Step(std::move(commands)));
    if (Draw(60) == 0) Crash();
  }
  void Do(Command command) {
    std::vector<Command> commands;
    commands.push_back(std::move(command));
    Do(std::move(commands));
  }

  void Crash() {
    for (Worker& worker : workers_) worker.sure = Owns(worker);  // by the old clock
    driver_.Crash(static_cast<size_t>(Draw(3)));
    for (Worker& worker : workers_) {
      worker.connected = false;
      worker.stream = Ticket();
      worker.heard = 0;
      worker.patience = driver_.options().reclaim_window;
    }
    watches_.clear();
    // Who got no answer asks again.
    for (const auto& [request, command] : repeatable_) {
      if (Draw(3) == 0) Repeat(request);
    }
  }

  void Repeat(uint64_t request) {
    auto [made, command] = repeatable_.at(request);
    if (wall() - made > 8 * kMinute) return;
    command.ticket = driver_.NewTicket();
    requests_[command.ticket] = request;
    for (const NewTask& task : command.tasks) queues_of_[command.ticket].emplace_back(task.queue);
    Hear(driver_.Step(Command(std::move(command))));
  }

  EnqueueCommand MakeEnqueue() {
    EnqueueCommand command;
    command.ticket = driver_.NewTicket();
    uint64_t request = 0;
    if (Draw(3) == 0) {
      request = ++next_request_;
      command.request_id = {7, request};
    }
    requests_[command.ticket] = request;
    const int count = 1 + Draw(Draw(4) == 0 ? 40 : 6);
    const bool large = Draw(5) == 0;
    static const std::string kSmall(40, 's'), kLarge(700, 'l');
    for (int i = 0; i < count; ++i) {
      NewTask task;
      task.queue = kQueues[Draw(3)];
      task.type = kTypes[Draw(3)];
      task.priority = static_cast<uint8_t>(Draw(3) * 4);
      if (Draw(4) == 0) task.run_at = wall() + Draw(60) * kSecond;
      if (Draw(8) == 0) task.expire_at = wall() + Draw(90) * kSecond;
      if (Draw(8) == 0) task.start_within = (1 + Draw(90)) * kSecond;
      if (Draw(4) == 0) task.life_timeout = (1 + Draw(120)) * kSecond;
      if (Draw(8) == 0) task.retry_change.backoff = static_cast<Backoff>(1 + Draw(3));
      if (Draw(8) == 0) {
        task.unique_key = kUniqueKeys[Draw(3)];
        task.unique_conflict = static_cast<UniqueConflict>(1 + Draw(3));
        task.unique_waiting = Draw(4) == 0;
      }
      if (Draw(4) == 0) task.group = kGroups[Draw(3)];
      if (Draw(3) == 0 && !task.unique_waiting) task.unique_window = Draw(200) * kSecond;
      if (Draw(8) == 0) task.result_retention = Draw(3) * 50 * kSecond;
      if (Draw(6) == 0)
        task.retry_policy =
            RetryPolicy{.max_attempts = static_cast<uint32_t>(1 + Draw(3)), .initial_backoff = Draw(2) * kSecond};
      task.spec = large ? kLarge : kSmall;
      command.tasks.push_back(task);
      due_of_[command.ticket].push_back(task.run_at);
      queues_of_[command.ticket].emplace_back(task.queue);
      life_ends_of_[command.ticket].push_back(
          task.life_timeout == 0 ? kNever : std::max(task.run_at, wall()) + task.life_timeout);
    }
    if (request != 0) repeatable_[request] = {wall(), command};
    return command;
  }

  void Connect(Worker& worker, std::vector<Command>* commands) {
    OpenSessionCommand open;
    open.stream = worker.stream = driver_.NewTicket();
    open.resume = !worker.session_id.empty();
    open.session_id = open.resume ? worker.session_id : fmt::format("secret{}", ++next_session_);
    open.worker_name = fmt::format("w{}", &worker - workers_.data());
    open.queues = Draw(3) == 0 ? std::vector<std::string>{"a"} : std::vector<std::string>{"a", "b", "c"};
    open.types = {{"x", 0}, {"y", 2}};
    if (Draw(2)) open.types.push_back({"z", 0});
    open.concurrency = 4;
    open.lease = kLease;
    worker.sure = !open.resume || Owns(worker);
    if (open.resume && worker.sure) resumed_in_time_.insert(open.stream);
    for (const auto& [task, held] : worker.held) {
      if (Draw(12) == 0) continue;  // a worker that restarted half: it holds it no more
      open.held_tasks.push_back({task, held.token, held.started});
    }
    std::set<TaskId> listed;
    for (const HeldTask& held : open.held_tasks) listed.insert(held.task);
    std::erase_if(worker.held, [&](const auto& held) { return !listed.contains(held.first); });
    for (const auto& [frame, outcome] : worker.unacknowledged) {
      if (listed.insert(outcome.task).second) open.held_tasks.push_back({outcome.task, outcome.token, true});
    }
    worker.connected = true;  // until it is told otherwise
    Spoke(worker);
    commands->emplace_back(std::move(open));
    // Outcomes that were not acknowledged are repeated under new numbers.
    const auto again = std::exchange(worker.unacknowledged, {});
    for (const auto& [frame, outcome] : again) {
      saved_with_outcome_.erase(outcome.token);  // what was said beside them is not
      SessionInput input;
      input.stream = worker.stream;
      input.frame_number = ++worker.frame;
      input.outcomes.push_back(outcome);
      worker.unacknowledged[worker.frame] = outcome;
      commands->emplace_back(std::move(input));
    }
    commands->emplace_back(Credit(worker));
  }

  void Spoke(Worker& worker) {
    worker.heard = elapsed();
    worker.patience = kLease;
  }

  SessionInput Credit(Worker& worker) {
    SessionInput input;
    input.stream = worker.stream;
    input.credit = static_cast<uint32_t>(1 + Draw(8));
    input.type_credits = {{"y", static_cast<uint32_t>(Draw(3))}};
    return input;
  }

  SessionInput Speak(Worker& worker) {
    Spoke(worker);
    if (Draw(3) == 0 || worker.held.empty()) return Credit(worker);
    SessionInput input;
    input.stream = worker.stream;
    auto chosen = AnyOf(worker.held);
    const TaskId task = chosen->first;
    Held& held = chosen->second;
    if (Draw(3) == 0) {
      held.started = true;
      input.starts.push_back({task, held.token});
    }
    bool saved = false;
    if (Draw(4) == 0) {
      ProgressReport report{task, held.token, 50, "half"};
      if (Draw(3) != 0) {
        saved = true;
        texts_.push_back(fmt::format("save {}", texts_.size()));
        report.checkpoint = texts_.back();
        saves_[task].push_back(texts_.back());
      }
      input.progress_reports.push_back(report);
    }
    if (Draw(6) == 0) input.log_reports.push_back({task, held.token, {{0, "a line"}}});
    if (Draw(12) == 0) {
      input.stuck_changed = true;
      input.stuck_tasks = {task};
    }
    if (Draw(4) == 0) return input;
    TaskOutcome outcome;
    outcome.task = task;
    outcome.token = held.token;
    switch (Draw(12)) {
      case 0:
      case 1:
        outcome.kind = OutcomeKind::kFailed;
        outcome.error = {"E", "failed", ""};
        if (Draw(2)) outcome.delay = Draw(20) * kSecond;
        if (outcome.delay && Draw(2)) outcome.cool = static_cast<CoolScope>(1 + Draw(4));
        break;
      case 2:
        outcome.kind = OutcomeKind::kRejected;
        break;
      case 3:
        outcome.kind = OutcomeKind::kSnoozed;
        outcome.delay = Draw(20) * kSecond;
        if (Draw(4) == 0) outcome.cool = static_cast<CoolScope>(1 + Draw(4));
        break;
      case 4:
        outcome.kind = OutcomeKind::kReleased;
        break;
      case 5:
        outcome.kind = OutcomeKind::kCancelled;
        break;
      default:
        outcome.kind = OutcomeKind::kCompleted;
        outcome.result = "result";
        outcome.content_type = "text/plain";
        if (Draw(8) == 0) {
          std::vector<NewTask> brought(static_cast<size_t>(1 + Draw(2)));
          for (NewTask& next : brought) {
            next.queue = kQueues[Draw(3)];
            next.type = kTypes[Draw(3)];
            next.spec = "brought";
          }
          outcome.enqueue = std::make_shared<const std::vector<NewTask>>(std::move(brought));
        }
    }
    if (saved) saved_with_outcome_[held.token] = saves_[task].size() - 1;
    if (outcome.cool == CoolScope::kQueue && queue_of_.contains(task)) {
      cooling_[held.token] = {queue_of_[task], wall() + *outcome.delay};
    }
    worker.held.erase(chosen);
    input.frame_number = ++worker.frame;
    input.outcomes.push_back(outcome);
    input.credit = static_cast<uint32_t>(Draw(3));
    worker.unacknowledged[worker.frame] = outcome;
    return input;
  }

  QueueCommand MakeQueueCommand() {
    QueueCommand command;
    command.ticket = driver_.NewTicket();
    command.queue = kQueues[Draw(3)];
    switch (Draw(16)) {
      case 0:
        command.verb = QueueVerb::kPurge;
        break;
      case 1:
        command.verb = QueueVerb::kDelete;
        cooled_until_.erase(command.queue);  // the next of this name is another
        cooling_.clear();
        command.force = Draw(3) != 0;
        break;
      case 2:
      case 3:
        command.verb = QueueVerb::kPause;
        break;
      case 4:
        command.verb = QueueVerb::kDrain;
        break;
      case 5:
        command.verb = QueueVerb::kUpdate;
        command.settings.result_retention = Draw(10) * kMinute;
        if (Draw(2)) {
          std::optional<Span>& retention = command.settings.cancelled_retention.emplace();
          if (Draw(2)) retention = Draw(5) * kMinute;
        }
        command.settings.relaxed = Draw(2) != 0;
        command.settings.max_waiting = Draw(3) * 20;
        command.settings.max_waiting_bytes = Draw(3) * 2'000;
        command.settings.drop_oldest =
            Draw(2) != 0 && *command.settings.max_waiting + *command.settings.max_waiting_bytes != 0;
        break;
      case 6:
        command.verb = QueueVerb::kCreate;
        break;
      default:
        command.verb = QueueVerb::kResume;
    }
    return command;
  }

  Command MakeTaskCommand() {
    const TaskId task = acknowledged_.empty() ? TaskId(0, 5, 5) : *AnyOf(acknowledged_);
    const Ticket ticket = driver_.NewTicket();
    switch (Draw(9)) {
      case 6:
      case 7: {
        UpdateTaskCommand update;
        update.ticket = ticket;
        update.task = task;
        update.revision = static_cast<uint32_t>(Draw(3));
        NewTask& changed = update.changed;
        changed.queue = kQueues[Draw(3)];
        changed.type = kTypes[Draw(3)];
        changed.priority = static_cast<uint8_t>(Draw(3) * 4);
        if (Draw(4) == 0) changed.expire_at = wall() + Draw(90) * kSecond;
        if (Draw(4) == 0) changed.group = kGroups[Draw(3)];
        static const std::string kChanged(50, 'c');
        changed.spec = kChanged;
        update.keep_start = Draw(2) == 0;
        if (!update.keep_start) changed.run_at = wall() + Draw(30) * kSecond;
        // Until its answer comes, it may be earlier than before, in another queue, and live for longer.
        not_before_.erase(task);
        queue_of_.erase(task);
        life_end_.erase(task);
        changes_[ticket] = task;
        return update;
      }
      case 8:
        if (Draw(3) != 0) break;
        deletions_[ticket] = task;
        return DeleteTaskCommand{ticket, task};
      case 0:
      case 1:
        cancels_[ticket] = task;
        return CancelTaskCommand{ticket, task, Draw(2) ? "why not" : ""};
      case 2:
        not_before_.erase(task);
        life_end_.erase(task);
        return RetryTaskCommand{ticket, task};
      case 3:
        if (!acknowledged_.contains(task)) break;
        watches_[ticket] = task;
        return WatchTaskCommand{ticket, task, Draw(2) != 0};
      case 4:
        if (!watches_.empty()) {
          auto watch = AnyOf(watches_);
          const UnwatchCommand unwatch{watch->first};
          watches_.erase(watch);
          return unwatch;
        }
        break;
      default:
        break;
    }
    return GetTaskCommand{ticket, task};
  }

  Command MakeQuery() {
    const Ticket ticket = driver_.NewTicket();
    switch (Draw(3)) {
      case 0:
        return StatusCommand{ticket};
      case 1: {
        ListLanesCommand list;
        list.ticket = ticket;
        list.queue = kQueues[Draw(3)];
        list.max_runs = static_cast<uint32_t>(1 + Draw(5));
        return list;
      }
      default: {
        ListRunningCommand list;
        list.ticket = ticket;
        list.queue = kQueues[Draw(3)];
        return list;
      }
    }
  }

  void Act() {
    std::vector<Command> commands;
    for (int i = Draw(4); i >= 0; --i) {
      switch (Draw(12)) {
        case 0:
        case 1:
          commands.emplace_back(MakeEnqueue());
          break;
        case 2: {
          Worker& worker = *AnyOf(workers_);
          if (!worker.connected || Draw(20) == 0) Connect(worker, &commands);
          break;
        }
        case 3: {
          Worker& worker = *AnyOf(workers_);
          if (!worker.connected || Draw(4) != 0) break;
          if (Draw(4) == 0) {
            SessionInput goodbye;
            goodbye.stream = worker.stream;
            goodbye.goodbye = true;
            worker.held.clear();
            worker.unacknowledged.clear();
            commands.emplace_back(std::move(goodbye));
          } else {
            commands.emplace_back(SessionBroken{worker.stream});
            worker.heard = elapsed();
            worker.patience = driver_.options().session_grace;
            worker.stream = Ticket();
          }
          worker.connected = false;
          break;
        }
        case 4:
          if (Draw(3) == 0) commands.emplace_back(MakeQueueCommand());
          break;
        case 5:
          commands.emplace_back(MakeTaskCommand());
          break;
        case 6:
          if (Draw(4) == 0) {
            DeadTasksCommand dead;
            dead.ticket = driver_.NewTicket();
            dead.verb = Draw(4) ? DeadVerb::kRedrive : DeadVerb::kPurge;
            dead.queue = kQueues[Draw(3)];
            if (Draw(3) == 0) dead.type = kTypes[Draw(3)];
            dead.limit = static_cast<uint32_t>(1 + Draw(5));
            if (dead.verb == DeadVerb::kRedrive) {
              not_before_.clear();
              life_end_.clear();
            }
            commands.emplace_back(std::move(dead));
          }
          break;
        case 7:
          commands.emplace_back(MakeQuery());
          break;
        default:
          for (Worker& worker : workers_) {
            if (worker.connected && Draw(3) != 0) commands.emplace_back(Speak(worker));
          }
      }
    }
    Do(std::move(commands));
    if (Draw(6) == 0) {
      // Time passes between batches, never within one; sometimes much of it.
      Hear(driver_.Advance(Draw(30) == 0 ? Draw(600) * kSecond : Draw(80) * kSecond / 10));
    }
    if (!repeatable_.empty() && Draw(10) == 0) Repeat(AnyOf(repeatable_)->first);
  }

  // --- the end: everything is run, then forgotten ---

  void Finish() {
    Hear(driver_.CommitAll());
    driver_.set_pipeline_depth(pipeline_depth_ = 0);
    for (const char* name : kQueues) {
      QueueCommand resume;
      resume.ticket = driver_.NewTicket();
      resume.verb = QueueVerb::kResume;
      resume.queue = name;
      Hear(driver_.Step(Command(resume)));
    }
    for (Worker& worker : workers_) {
      if (worker.connected) Hear(driver_.Step(Command(SessionBroken{worker.stream})));
      worker.stream = Ticket();
      worker.connected = false;
      worker.session_id.clear();
    }
    Hear(driver_.Advance(kMinute));
    for (Worker& worker : workers_) {
      worker.held.clear();
      worker.unacknowledged.clear();
    }
    Worker& last = workers_[0];
    OpenSessionCommand open;
    open.stream = last.stream = driver_.NewTicket();
    open.session_id = "last";
    open.worker_name = "last";
    open.queues = {"a", "b", "c"};
    open.types = {{"x", 0}, {"y", 0}, {"z", 0}};
    open.concurrency = 7;
    Hear(driver_.Step(Command(open)));
    last.patience = 0;
    for (int quiet = 0; quiet < 100;) {
      SessionInput input;
      input.stream = last.stream;
      input.credit = 7;
      for (const auto& [task, held] : last.held) {
        TaskOutcome outcome;
        outcome.task = task;
        outcome.token = held.token;
        input.outcomes.push_back(outcome);
        ended_.insert(task);
      }
      quiet = last.held.empty() ? quiet + 1 : 0;
      last.held.clear();
      Hear(driver_.Step(Command(std::move(input))));
      Hear(driver_.Advance(kSecond));
      if (::testing::Test::HasFailure()) return;
    }
    Effects effects = driver_.Step(Command(StatusCommand{driver_.NewTicket()}));
    for (const QueueView& queue : std::get<StatusReply>(effects.replies.at(0).value).queues) {
      EXPECT_EQ(queue.counters.scheduled, 0u) << queue.name;
      EXPECT_EQ(queue.counters.available, 0u) << queue.name;
      EXPECT_EQ(queue.counters.running, 0u) << queue.name;
      EXPECT_EQ(queue.counters.retryable, 0u) << queue.name;
    }
    EXPECT_TRUE(watches_.empty()) << watches_.size() << " watches never heard the end, one of "
                                  << watches_.begin()->second.ToString();
    EXPECT_GT(deliveries_, 0u);
    for (int hour = 0; hour < 3; ++hour) Hear(driver_.Advance(60 * kMinute));
    driver_.Crash();  // a start writes a checkpoint and clears what only a replay needed
    ExpectNothingLeft();
  }

  void ExpectNothingLeft() {
    for (Family family : {Family::kBlocks, Family::kTasks, Family::kHistory, Family::kIndex}) {
      std::string left;
      ASSERT_TRUE(driver_.store()
                      .Scan(family, "", "",
                            [&](std::string_view key, std::string_view) {
                              for (unsigned char c : key) left += fmt::format("{:02x}", c);
                              left += " ";
                              return left.size() < 500;
                            })
                      .ok());
      EXPECT_EQ(left, "") << "family " << static_cast<int>(family);
    }
  }

  std::mt19937_64 random_;
  CoreDriver driver_;
  std::vector<Worker> workers_;
  uint64_t next_session_ = 0;
  uint64_t next_request_ = 0;

  std::set<TaskId> acknowledged_;
  std::set<TaskId> ended_;
  std::map<TaskId, FencingToken> completed_under_;
  std::map<TaskId, Time> not_before_;
  uint64_t last_token_ = 0;
  uint64_t tokens_before_ = 0;  // before the step whose effects are heard
  std::map<TaskId, FencingToken> token_of_;
  uint64_t deliveries_ = 0;
  uint64_t accepted_ = 0;
  std::set<Ticket> resumed_in_time_;

  std::map<Ticket, uint64_t> requests_;         // enqueues, and their request number
  std::map<Ticket, std::vector<Time>> due_of_;  // of an enqueue's tasks
  std::map<uint64_t, TaskId> answers_;          // the first task of a request
  std::map<uint64_t, std::pair<Time, EnqueueCommand>> repeatable_;
  std::map<Ticket, TaskId> cancels_;
  std::map<Ticket, TaskId> changes_;
  std::map<Ticket, TaskId> deletions_;
  size_t pipeline_depth_ = 0;

  std::map<Ticket, std::vector<std::string>> queues_of_;  // of an enqueue's tasks
  std::map<Ticket, std::vector<Time>> life_ends_of_;
  std::map<TaskId, std::string> queue_of_;
  std::map<TaskId, Time> life_end_;
  std::map<std::string, Time> cooled_until_;                      // by queue, at least
  std::map<FencingToken, std::pair<std::string, Time>> cooling_;  // asked for with an outcome
  std::deque<std::string> texts_;                                 // of checkpoints
  std::map<TaskId, std::vector<std::string>> saves_;              // sent, oldest first
  std::map<FencingToken, size_t> saved_with_outcome_;             // in one frame: the place in saves_
  std::map<TaskId, size_t> confirmed_saves_;                      // the place in saves_
  std::map<Ticket, TaskId> watches_;
};

TEST(RandomModelTest, WhatWasPromisedHolds) {
  const char* wanted = std::getenv("PENSTOCK_SEEDS");
  const char* only = std::getenv("PENSTOCK_SEED");
  const uint64_t first = only != nullptr ? std::strtoull(only, nullptr, 10) : 1;
  const uint64_t last = only != nullptr ? first : wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : 24;
  for (uint64_t seed = first; seed <= last; ++seed) {
    SCOPED_TRACE(fmt::format("repeat with PENSTOCK_SEED={}", seed));
    ModelWorld(seed).Run(300);
    if (::testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace penstock::broker
