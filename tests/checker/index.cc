#include "tests/checker/index.h"

#include <algorithm>

#include "tests/checker/rules.h"

namespace penstock::histcheck {
namespace {

// "a,b" as two names.
std::vector<std::string> Split(const std::string& text) {
  std::vector<std::string> names;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    names.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return names;
}

std::vector<std::string> Names(const Event& event) {
  std::vector<std::string> names = Split(event.limits);
  // A FIFO key is a limit of one.
  if (!event.key.empty()) names.push_back(event.q + "/" + event.key);
  return names;
}

}  // namespace

void Index::Report(const char* rule, std::string what, std::initializer_list<const Event*> events) {
  Violation violation{rule, std::move(what), {}};
  for (const Event* event : events) {
    if (event != nullptr) violation.lines.push_back(static_cast<size_t>(event - history_.data()) + 1);
  }
  verdict_->violations.push_back(std::move(violation));
}

bool Index::Undone(const Queue& queue, const Event* from, const Event* until) const {
  if (!queue.relaxed) return false;
  return std::any_of(power_losses.begin(), power_losses.end(), [&](const Event* loss) {
    return At(loss) >= At(from) - config.max_delay - config.max_commit &&
           At(loss) <= At(until) + config.window + config.max_commit;
  });
}

bool Index::Asked(const std::vector<const Ask*>& asks, std::initializer_list<const char*> verbs, int64_t from,
                  int64_t until) const {
  return std::any_of(asks.begin(), asks.end(), [&](const Ask* ask) {
    return !ask->refused() && ask->end() >= from && ask->asked->t <= until &&
           std::find(verbs.begin(), verbs.end(), ask->asked->kind) != verbs.end();
  });
}

bool Index::AskedOfQueues(const Task& task, std::initializer_list<const char*> verbs, int64_t from,
                          int64_t until) const {
  return std::any_of(task.queues.begin(), task.queues.end(),
                     [&](const Queue* queue) { return Asked(queue->asks, verbs, from, until); });
}

bool Index::SurelyUntouched(const Task& task, const Event* moment) const {
  if (task.leases.empty()) return false;
  // Unless a connection broke: what was on its way then, nobody has seen.
  const Event* first = task.leases.front().deliver;
  return first->since > moment->t && first_cut >= first->t + config.max_silence;
}

bool Index::Forgetful() const {
  return std::any_of(queues.begin(), queues.end(), [this](const auto& entry) { return Forgetful(entry.second); });
}

const Content* Task::ContentOf(const Lease& lease) const {
  auto found = std::find_if(contents.begin(), contents.end(),
                            [&](const Content& content) { return content.asked == lease.content; });
  return found == contents.end() ? nullptr : &*found;
}

Index::Index(const History& history, Verdict* verdict) : history_(history), verdict_(verdict) {
  int64_t now = INT64_MIN, skew = 0;
  skews_.reserve(history.size());
  for (const Event& event : history) {
    skews_.push_back(skew);
    if (event.op == Op::kJump) skew += event.n;
    if (event.t < now && event.op != Op::kConfig) Report("format", "time goes back", {&event});
    now = std::max(now, event.t);
    Take(event);
  }
  for (const auto& [id, claim] : claims_) {
    if (Holds(claim, now)) claim.lease->held_until = valid_.at(claim.lease->deliver->who);
  }
  unsure_jobs = static_cast<size_t>(std::count_if(bulk_asks_.begin(), bulk_asks_.end(),
                                                  [](const Ask* ask) { return !ask->ok() && !ask->refused(); }));
  AddReplacements();
  for (auto& [id, task] : tasks) {
    Complete(&task);
    AddBulkAsks(&task);
    std::sort(task.leases.begin(), task.leases.end(),
              [](const Lease& a, const Lease& b) { return a.deliver->token < b.deliver->token; });
    const std::string& q = task.enqueue != nullptr ? task.enqueue->asked->q
                           : !task.leases.empty()  ? task.leases.front().deliver->q
                                                   : std::string();
    const Queue& queue = queues[q];
    auto undone = [&](const Event* event) { return event != nullptr && Undone(queue, event); };
    task.shaky = task.enqueue != nullptr && undone(task.enqueue->answer);
    for (const Lease& lease : task.leases) task.shaky |= undone(lease.deliver) || undone(lease.answer);
    for (const Ask* ask : task.asks) {
      // Nobody is told when a bulk job changed it.
      task.shaky |= ask->bulk() ? Forgetful(queue) : undone(ask->told);
    }
    for (const Content& content : task.contents) task.shaky |= undone(content.answer);
    if (task.moved()) task.shaky |= Forgetful();
  }
  for (const Kept& kept : refused_) {
    const bool newer = kept.task->leases.back().deliver->token > kept.deliver->token;
    // A repeated outcome may have counted before; then it is "already finished", as long as the task is known.
    const bool forgotten = kept.task->end == nullptr || kept.task->end->state == "gone";
    if (!newer && !kept.task->shaky && !(kept.event->dup && forgotten)) {
      Report("lease", "a lease was taken away while it held", {kept.deliver, kept.event});
    }
  }
}

void Index::Take(const Event& event) {
  switch (event.op) {
    case Op::kConfig:
      config = event;
      break;
    case Op::kQueue:
      queues[event.q].relaxed |= event.relaxed;
      break;
    case Op::kLimit:
      limits_[event.key] = event.n;
      break;
    case Op::kWorker:
      workers[event.who] = &event;
      break;
    case Op::kEnqueue:
      TakeEnqueue(event);
      break;
    case Op::kEnqueued:
      TakeEnqueued(event);
      break;
    case Op::kDeliver:
      TakeDeliver(event);
      break;
    case Op::kStart:
      if (Lease* lease = FindLease(event); lease != nullptr) lease->started |= event.phase == Phase::kOk;
      break;
    case Op::kOutcome:
    case Op::kAnswer:
      TakeReport(event);
      break;
    case Op::kLost:
      TakeLost(event);
      break;
    case Op::kCut:
      first_cut = std::min(first_cut, event.t);
      break;
    case Op::kValid:
      valid_[event.who] = event.until;
      break;
    case Op::kAsk:
      TakeAsk(event);
      break;
    case Op::kTold:
      TakeTold(event);
      break;
    case Op::kSeen:
      tasks[event.task].seen.push_back(&event);
      break;
    case Op::kPowerLoss:
      power_losses.push_back(&event);
      break;
    case Op::kJump:
      last_jump = std::max({last_jump, event.t, event.until});
      break;
    case Op::kQuiet:
      quiet = &event;
      break;
    case Op::kDrained:
      drained = &event;
      break;
    case Op::kTask:
      tasks[event.task].end = &event;
      break;
    case Op::kCounters:
      queues[event.q].counters = &event;
      break;
    case Op::kBulk:
      TakeBulk(event);
      break;
  }
}

void Index::TakeEnqueue(const Event& event) {
  Enqueue* enqueue = &enqueues.emplace_back();
  enqueue->asked = &event;
  enqueue->token_floor = max_token_;
  calls_[event.call].push_back(enqueue);
  queues[event.q].enqueues.push_back(enqueue);
  if (!event.unique.empty()) queues[event.q].unique[event.unique].push_back(enqueue);
  NoteSource(event, {.enqueue = enqueue});
  // A completion brings it.
  if (event.task == 0) return;
  if (Lease* lease = FindLease(event); lease != nullptr) lease->brings = true;
}

void Index::NoteSource(const Event& event, Source source) {
  if (!by_payload_.emplace(event.payload, source).second) Report("format", "a payload is used twice", {&event});
}

void Index::TakeAsk(const Event& event) {
  Ask* ask = &asks_.emplace_back();
  ask->asked = &event;
  ask->token_floor = max_token_;
  ask_of_[event.call] = ask;
  if (event.kind == "bulk_stop") {
    jobs[event.name].stops.push_back(ask);
  } else if (!event.name.empty()) {
    throttles[event.name].push_back(ask);
  } else if (event.task != 0) {
    tasks[event.task].asks.push_back(ask);
    if (event.kind == "update_task") NoteSource(event, {.update = ask});
  } else if (!event.q.empty()) {
    queues[event.q].asks.push_back(ask);
    if (ask->bulk()) bulk_asks_.push_back(ask);
    queues[event.q].drops |= event.overflow == "drop";
  }
}

void Index::TakeTold(const Event& event) {
  auto found = ask_of_.find(event.call);
  if (found == ask_of_.end()) return;
  Ask* ask = found->second;
  ask->told = &event;
  if (!ask->bulk() || event.phase != Phase::kOk) return;
  BulkJob& job = jobs[event.name];
  if (job.ask != nullptr) Report("bulk", "two requests began one bulk job", {job.ask->asked, ask->asked, &event});
  job.ask = ask;
  ask->ended = job.ended;
}

void Index::TakeBulk(const Event& event) {
  BulkJob& job = jobs[event.name];
  job.told.push_back(&event);
  if (job.ended != nullptr || event.state == "running") return;
  job.ended = &event;
  if (job.ask != nullptr) job.ask->ended = &event;
}

void Index::AddBulkAsks(Task* task) {
  for (const Ask* ask : bulk_asks_) {
    if (ask->refused()) continue;
    // Of a task that only duplicates named nobody knows what it is.
    const bool may = task->contents.empty() ||
                     std::any_of(task->contents.begin(), task->contents.end(), [&](const Content& content) {
                       return MayFit(*ask->asked, *content.asked) && content.asked->t <= ask->end();
                     });
    if (may) task->asks.push_back(ask);
  }
}

// What enqueues with their unique key made of tasks, or may have made of them.
void Index::AddReplacements() {
  for (const auto& [name, queue] : queues) {
    for (const auto& [key, named] : queue.unique) {
      for (const Enqueue* enqueue : named) {
        if (!enqueue->may_replace()) continue;
        const Content content{enqueue->asked, enqueue->answer};
        if (enqueue->ok()) {
          if (enqueue->answer->replaced) tasks[enqueue->answer->task].contents.push_back(content);
          continue;
        }
        if (content.refused()) continue;
        for (const Enqueue* other : named) {
          if (other != enqueue && other->task != 0) tasks[other->task].contents.push_back(content);
        }
      }
    }
  }
}

void Index::Complete(Task* task) {
  auto add = [&](const Event* asked, const Event* answer) {
    const bool known = std::any_of(task->contents.begin(), task->contents.end(),
                                   [&](const Content& content) { return content.asked == asked; });
    if (!known) task->contents.push_back({asked, answer});
  };
  if (task->enqueue != nullptr) add(task->enqueue->asked, task->enqueue->answer);
  for (const Ask* ask : task->asks) {
    if (ask->asked->kind == "update_task" && !ask->refused()) add(ask->asked, ask->told);
  }
  // Of those whose enqueue or update was never answered, or was refused: whatever was given out.
  for (const Lease& lease : task->leases) {
    if (lease.content == nullptr) continue;
    const Source& source = by_payload_.at(lease.content->payload);
    add(lease.content, source.enqueue != nullptr ? source.enqueue->answer : source.update->told);
  }
  for (const Content& content : task->contents) {
    Queue* queue = &queues[content.asked->q];
    if (std::find(task->queues.begin(), task->queues.end(), queue) == task->queues.end()) {
      task->queues.push_back(queue);
    }
  }
  if (task->queues.size() < 2) return;
  for (const Content& content : task->contents) queues[content.asked->q].moves = true;
}

void Index::Bind(Task* task, Enqueue* enqueue, const Event& event) {
  Enqueue* before = task->enqueue;
  if (before != nullptr && before != enqueue && !before->ok() && before->may_replace()) {
    before->task = 0;  // it was not the first: the task became what it was to be
  } else if (before != nullptr && before != enqueue) {
    Report("nowhere", "two enqueues have one task", {task->enqueue->asked, enqueue->asked, &event});
  }
  task->enqueue = enqueue;
}

void Index::TakeEnqueued(const Event& event) {
  std::vector<Enqueue*>& call = calls_[event.call];
  if (event.phase != Phase::kOk) {
    for (Enqueue* enqueue : call) {
      if (enqueue->answer == nullptr || !enqueue->ok()) enqueue->answer = &event;
    }
    return;
  }
  if (event.i < 0 || static_cast<size_t>(event.i) >= call.size()) {
    return Report("format", "an answer without a question", {&event});
  }
  Enqueue* enqueue = call[static_cast<size_t>(event.i)];
  if (enqueue->ok()) {
    if (enqueue->answer->task != event.task && !Undone(queues[enqueue->asked->q], enqueue->asked, &event)) {
      Report("request", "a repeated request got another task", {enqueue->answer, &event});
    }
    return;
  }
  if (!event.dup && enqueue->task != 0 && enqueue->task != event.task &&
      !Undone(queues[enqueue->asked->q], enqueue->asked, &event)) {
    Report("twice", "a task ran under another id than its enqueue was given", {enqueue->asked, &event});
  }
  enqueue->answer = &event;
  enqueue->task = event.task;
  Task* task = &tasks[event.task];
  if (!event.dup) return Bind(task, enqueue, event);
  if (enqueue->seen && !event.replaced) {
    Report("unique", "a task ran that was answered to be another", {enqueue->asked, &event});
  }
  if (task->enqueue == enqueue) task->enqueue = nullptr;  // it was another's before
}

bool Index::Holds(const Claim& claim, int64_t t) const {
  auto valid = valid_.find(claim.lease->deliver->who);
  return valid != valid_.end() && valid->second > t;
}

// Whose lease surely holds while this delivery comes.
void Index::CheckClaims(const Event& event, const Event* asked) {
  const Queue& queue = queues[event.q];
  auto undone = [&](const Claim& claim) { return Undone(queue, claim.lease->deliver); };
  if (auto found = claims_.find(event.task); found != claims_.end()) {
    const Claim& claim = found->second;
    if (claim.lease->deliver->token < event.token && Holds(claim, event.t) && !undone(claim)) {
      Report("overlap", "a task was delivered while a lease of it held", {claim.lease->deliver, &event});
    }
  }
  if (asked == nullptr) return;
  for (const std::string& name : Names(*asked)) {
    std::set<uint64_t>& held = held_[name];
    const bool fifo = !limits_.contains(name);
    const int64_t most = fifo ? 1 : limits_[name];
    std::vector<const Event*> live;
    for (uint64_t other : held) {
      const Claim& claim = claims_.at(other);
      if (other != event.task && Holds(claim, event.t) && !undone(claim)) live.push_back(claim.lease->deliver);
    }
    if (static_cast<int64_t>(live.size()) >= most) {
      Report(fifo ? "fifo" : "limit", "more than " + std::to_string(most) + " run under " + name,
             {live.empty() ? nullptr : live.front(), &event});
    }
    held.insert(event.task);
  }
}

void Index::TakeDeliver(const Event& event) {
  Task* task = &tasks[event.task];
  task->id = event.task;
  ++verdict_->deliveries;
  auto found = by_payload_.find(event.payload);
  if (found == by_payload_.end()) {
    Report("nowhere", "nobody enqueued what was delivered", {&event});
  } else {
    CheckSource(event, task, found->second);
  }
  auto [same, first] = tokens_.emplace(event.token, &event);
  if (!first) Report("tokens", "a token was given twice", {same->second, &event});
  uint64_t& last = last_token_[event.who];
  if (event.token <= last) Report("tokens", "tokens of one worker do not grow", {&event});
  last = std::max(last, event.token);
  max_token_ = std::max(max_token_, event.token);
  const Event* asked = found == by_payload_.end() ? nullptr : found->second.asked();
  CheckClaims(event, asked);
  Lease* lease = &task->leases.emplace_back();
  lease->deliver = &event;
  lease->content = asked;
  auto claim = claims_.find(event.task);
  if (claim == claims_.end()) {
    claims_.emplace(event.task, Claim{lease, task});
  } else if (claim->second.lease->deliver->token < event.token) {
    claim->second = {lease, task};
  }
}

// Whether what was delivered may have come from what was asked for.
void Index::CheckSource(const Event& event, Task* task, const Source& source) {
  const Event& asked = *source.asked();
  if (asked.q != event.q || asked.type != event.type || asked.priority != event.priority) {
    Report("nowhere", "a task came otherwise than it was enqueued", {&asked, &event});
  }
  CheckLabels(event, asked);
  const uint64_t floor = source.enqueue != nullptr ? source.enqueue->token_floor : source.update->token_floor;
  if (event.token <= floor) {
    Report("tokens", "a token is no greater than those given before it was asked for", {&asked, &event});
  }
  if (source.update != nullptr) {
    if (asked.task != event.task) Report("update", "a task ran that another was changed to", {&asked, &event});
    return;
  }
  Enqueue* enqueue = source.enqueue;
  enqueue->seen = true;
  if (enqueue->ok() && enqueue->answer->dup) {
    if (!enqueue->answer->replaced || enqueue->answer->task != event.task) {
      Report("unique", "a task ran that was answered to be another", {&asked, enqueue->answer, &event});
    }
    return;
  }
  if (!enqueue->ok() && enqueue->may_replace() && task->enqueue != nullptr && task->enqueue != enqueue) {
    if (task->enqueue->asked->unique != asked.unique) {
      Report("unique", "a task became what one with another key was to be", {task->enqueue->asked, &asked, &event});
    }
    return;
  }
  if (enqueue->task != 0 && enqueue->task != event.task && !Undone(queues[event.q], enqueue->asked, &event)) {
    Report("twice", "one enqueue made two tasks", {&asked, &event});
  }
  enqueue->task = event.task;
  Bind(task, enqueue, event);
}

void Index::CheckLabels(const Event& event, const Event& asked) {
  auto worker = workers.find(event.who);
  if (asked.labels.empty() || worker == workers.end()) return;
  const std::string has = "," + worker->second->labels + ",";
  for (const std::string& label : Split(asked.labels)) {
    if (has.find("," + label + ",") != std::string::npos) continue;
    Report("labels", "a worker without " + label + " was given a task", {worker->second, &asked, &event});
  }
}

Lease* Index::FindLease(const Event& event) {
  auto found = tasks.find(event.task);
  if (found == tasks.end()) return nullptr;
  for (Lease& lease : found->second.leases) {
    if (lease.deliver->token == event.token && lease.deliver->who == event.who) return &lease;
  }
  return nullptr;
}

void Index::TakeReport(const Event& event) {
  Lease* lease = FindLease(event);
  if (lease == nullptr) {
    if (event.phase == Phase::kOk) Report("stale", "an outcome was accepted under a lease nobody gave", {&event});
    return;
  }
  auto claim = claims_.find(event.task);
  const bool held = claim != claims_.end() && claim->second.lease == lease;
  if (event.op == Op::kOutcome) {
    if (lease->outcome == nullptr) lease->outcome = &event;
    if (!held) return;
    Drop(claim->second, event.t);
    for (auto& [name, tasks_held] : held_) tasks_held.erase(event.task);
    claims_.erase(claim);
    return;
  }
  if (lease->outcome == nullptr) return Report("format", "an answer without an outcome", {&event});
  if (event.phase == Phase::kStale) ++verdict_->refusals;
  if (lease->answer != nullptr && lease->accepted()) return;
  lease->answer = &event;
  if (event.phase == Phase::kOk && lease->told_lost) {
    Report("stale", "an outcome was accepted after the lease had been taken away", {lease->deliver, &event});
  }
  auto valid = valid_.find(event.who);
  if (event.phase == Phase::kStale && !lease->dropped && valid != valid_.end() && valid->second > event.t) {
    refused_.push_back({&tasks[event.task], lease->deliver, &event});
  }
}

void Index::TakeLost(const Event& event) {
  std::vector<uint64_t> lost;
  for (const auto& [id, claim] : claims_) {
    if (claim.lease->deliver->who != event.who || (event.task != 0 && id != event.task)) continue;
    if (event.token != 0 && claim.lease->deliver->token != event.token) continue;
    Drop(claim, event.t);
    claim.lease->dropped = true;
    claim.lease->told_lost = event.told;
    claim.lease->given_back = event.kind == "given_back";
    if (event.told && Holds(claim, event.t)) refused_.push_back({claim.task, claim.lease->deliver, &event});
    lost.push_back(id);
  }
  for (uint64_t id : lost) {
    claims_.erase(id);
    for (auto& [name, held] : held_) held.erase(id);
  }
}

}  // namespace penstock::histcheck
