#include "broker/core/sessions.h"

#include <algorithm>

#include "absl/container/flat_hash_set.h"
#include "common/status_details.h"
#include "common/units.h"
#include "fmt/format.h"

namespace penstock::broker {
namespace {

// What is estimated to take longer takes at least so long.
constexpr Span kRemainingMax = 3'650 * 24 * 60 * kMinute;

std::string Describe(const Session& session) {
  return fmt::format("worker={} session=w{}", session.worker_name, session.number.value());
}

}  // namespace

Session* Sessions::Find(SessionNumber number) {
  auto found = sessions_.find(number);
  return found == sessions_.end() ? nullptr : found->second.get();
}

const Sessions::Progress* Sessions::ProgressOf(TaskId task) const {
  auto found = progress_.find(task);
  return found == progress_.end() ? nullptr : &found->second;
}

Span Sessions::Progress::Remaining(Time now) const {
  if (percent <= base_percent || time <= base_time) return -1;
  const double rest = static_cast<double>(time - base_time) * (100 - percent) / (percent - base_percent);
  const double left = rest - static_cast<double>(now - time);
  return static_cast<Span>(std::clamp(left, 0.0, static_cast<double>(kRemainingMax)));
}

void Sessions::SetDeadline(Session* session, Span deadline) {
  // Renewals only move the session's own mark; the set is put right when the old mark comes up.
  session->deadline = deadline;
  if (session->noted_deadline != 0 && session->noted_deadline <= deadline) return;
  ForgetDeadline(*session);
  session->noted_deadline = deadline;
  deadlines_.insert({deadline, session->number});
}

void Sessions::ForgetDeadline(const Session& session) { deadlines_.erase({session.noted_deadline, session.number}); }

void Sessions::Record(const Session& session) {
  auto record = StartFrom<records::SessionRecord>(session.newer_record);
  record.clear_queues();
  record.clear_types();
  record.clear_labels();
  record.set_session_id(session.id);
  record.set_worker_name(session.worker_name);
  for (const std::string& queue : session.queues) record.add_queues(queue);
  for (const HandledType& type : session.types) {
    auto* stored = record.add_types();
    stored->set_type(type.type);
    stored->set_max_concurrency(type.max_concurrency);
  }
  record.set_concurrency(session.concurrency);
  record.set_lease(session.lease);
  record.set_host(session.host);
  record.set_pid(session.pid);
  record.set_version(session.version);
  record.set_connect_time(session.connect_time);
  record.mutable_labels()->insert(session.labels.begin(), session.labels.end());
  context_.Put(Family::kMeta, context_.keys.Session(session.number), record);
  context_.effects.needs_sync = true;
}

void Sessions::Restore(const records::SessionRecord& record, SessionNumber number) {
  auto session = std::make_unique<Session>();
  session->number = number;
  session->id = record.session_id();
  session->worker_name = record.worker_name();
  session->queues.assign(record.queues().begin(), record.queues().end());
  for (const auto& type : record.types()) session->types.push_back({type.type(), type.max_concurrency()});
  session->concurrency = record.concurrency();
  session->lease = record.lease();
  session->host = record.host();
  session->pid = record.pid();
  session->version = record.version();
  session->labels.insert(record.labels().begin(), record.labels().end());
  session->connect_time = record.connect_time();
  session->newer_record = IfNewer(record);
  session->last_heard = context_.now.elapsed;
  session->awaited = true;
  Session* added = session.get();
  by_id_[added->id] = added;
  sessions_[number] = std::move(session);
  SetDeadline(added, context_.now.elapsed + context_.options.reclaim_window);
}

void Sessions::Open(const OpenSessionCommand& command) {
  auto refuse = [&](absl::Status status) { context_.MessageFor(command.stream).end = std::move(status); };
  if (command.resume) {
    auto found = by_id_.find(command.session_id);
    if (found == by_id_.end()) {
      return refuse(
          absl::NotFoundError("the session has ended and its tasks were given to others; connect without session_id"));
    }
    return Resume(found->second, command);
  }
  if (sessions_.size() >= context_.options.max_sessions) {
    return refuse(LimitReached("limits.sessions", fmt::format("there are {} worker sessions already", sessions_.size()),
                               absl::Seconds(5)));
  }
  auto session = std::make_unique<Session>();
  session->number = SessionNumber(context_.state.next().session++);
  session->id = command.session_id;
  Session* added = session.get();
  by_id_[added->id] = added;
  sessions_[added->number] = std::move(session);
  context_.Fact(LogFact::Kind::kSessionOpened,
                fmt::format("worker={} session=w{}", command.worker_name, added->number.value()));
  added->connect_time = context_.now.wall;
  Resume(added, command);
}

// Connects a session, new or known, to a stream.
void Sessions::Resume(Session* session, const OpenSessionCommand& command) {
  if (session->connected()) {
    context_.MessageFor(session->stream).end = absl::AbortedError("the session was resumed by another stream");
    by_stream_.erase(session->stream);
  }
  observer_.SessionEnds(session);  // leaves its subscription, which may be another from now on
  session->stream = command.stream;
  session->awaited = false;
  by_stream_[command.stream] = session;
  session->worker_name = command.worker_name;
  session->queues = command.queues;
  session->types = command.types;
  session->concurrency = command.concurrency;
  session->lease = command.lease > 0 ? command.lease : context_.options.lease;
  session->host = command.host;
  session->pid = command.pid;
  session->version = command.version;
  session->labels = command.labels;
  session->stuck_tasks.clear();
  session->credit = 0;
  session->type_credits.clear();
  for (const HandledType& type : session->types) {
    if (type.max_concurrency > 0) session->type_credits[type.type] = 0;
  }
  session->last_heard = context_.now.begin();
  SetDeadline(session, context_.now.begin() + session->lease);

  SessionWelcome welcome;
  welcome.number = session->number;
  welcome.session_id = session->id;
  welcome.resumed = command.resume;
  welcome.lease = session->lease;
  // What the worker holds, against what it was given: its list is the truth about deliveries that were on their way.
  absl::flat_hash_map<TaskId, const HeldTask*> held;
  for (const HeldTask& task : command.held_tasks) held[task.task] = &task;
  std::vector<TaskId> not_held;
  const LeaseList list = context_.state.LeasesOf(session->number);
  for (uint32_t index = list.first; index != kNoLease; index = context_.state.LeaseAt(index).next) {
    Lease& lease = context_.state.LeaseAt(index);
    auto found = held.find(lease.task);
    if (found == held.end() || found->second->token != lease.token) {
      not_held.push_back(lease.task);
      continue;
    }
    if (found->second->started && !lease.started) Start(&lease, context_.now.wall);
    if (lease.cancel_requested) welcome.cancelled_tasks.push_back(lease.task);
  }
  for (TaskId task : not_held) {
    ForgetProgress(task);
    lifecycle_.Release(context_.state.FindLease(task), session->worker_name, false);
  }
  for (const HeldTask& task : command.held_tasks) {
    const Lease* lease = context_.state.FindLease(task.task);
    if (lease == nullptr || lease->session != session->number || lease->token != task.token) {
      welcome.lost_tasks.push_back(task.task);
    }
  }
  if (command.resume) {
    context_.Fact(LogFact::Kind::kSessionResumed,
                  fmt::format("{} held={} returned={} lost={}", Describe(*session), command.held_tasks.size(),
                              not_held.size(), welcome.lost_tasks.size()));
  }
  SessionMessage& message = context_.MessageFor(session->stream);
  message.welcome = std::move(welcome);
  message.drain = session->draining;  // it may have been away when an operator asked for it
  Record(*session);
  observer_.SessionConnected(session);
}

Lease* Sessions::CurrentLease(const Session& session, TaskId task, FencingToken token, SessionMessage& message) {
  Lease* lease = context_.state.FindLease(task);
  if (lease != nullptr && lease->session == session.number && lease->token == token) return lease;
  Refusal refusal{task, token, RefusalReason::kStaleLease};
  if (lifecycle_.FinishedUnder(task) == token) refusal.reason = RefusalReason::kAlreadyFinished;
  message.refusals.push_back(refusal);
  context_.effects.needs_sync = true;  // what finished it may not be on disk yet
  return nullptr;
}

void Sessions::Start(Lease* lease, Time start_time) {
  context_.state.Start(lease, start_time);
  NoteWait(*lease, &context_.state.FindQueue(lease->queue)->times);
}

void Sessions::NoteWait(const Lease& lease, QueueTimes* times) {
  if (lease.available_time != 0) times->wait.Add(lease.start_time - lease.available_time);
}

void Sessions::ApplyOutcome(Session* session, const TaskOutcome& outcome, SessionMessage& message) {
  Lease* lease = CurrentLease(*session, outcome.task, outcome.token, message);
  if (lease == nullptr) return;
  QueueTimes& times = context_.state.FindQueue(lease->queue)->times;
  if (!lease->started && outcome.kind != OutcomeKind::kReleased) {
    context_.state.StartEnding(lease, context_.now.wall - std::max<Span>(outcome.run_time, 0));
    NoteWait(*lease, &times);
  } else if (outcome.run_time > 0) {
    lease->start_time = context_.now.wall - outcome.run_time;
  }
  if (outcome.run_time > 0) {
    times.run.Add(outcome.run_time);
    observer_.TaskRan(*lease, outcome.run_time);
  }
  if (!progress_.empty()) ForgetProgress(outcome.task);
  if (outcome.cool != CoolScope::kNone) {
    observer_.HandlerCools(*lease, outcome.cool, context_.now.wall + outcome.delay.value_or(0));
  }
  switch (outcome.kind) {
    case OutcomeKind::kCompleted:
      if (outcome.enqueue != nullptr) {
        CompleteAndEnqueue(lease, *session, outcome, message);
        break;
      }
      lifecycle_.Complete(lease, session->worker_name, outcome.result, outcome.content_type);
      break;
    case OutcomeKind::kFailed:
      lifecycle_.Fail(lease, session->worker_name, outcome.error, outcome.delay, false);
      break;
    case OutcomeKind::kRejected:
      lifecycle_.Fail(lease, session->worker_name, outcome.error, std::nullopt, true);
      break;
    case OutcomeKind::kSnoozed:
      lifecycle_.Snooze(lease, session->worker_name, outcome.delay.value_or(0));
      break;
    case OutcomeKind::kReleased:
      lifecycle_.Release(lease, session->worker_name, true);
      break;
    case OutcomeKind::kCancelled:
      if (lease->cancel_requested) {
        lifecycle_.FinishCancelled(lease, session->worker_name, true);
      } else {
        lifecycle_.Release(lease, session->worker_name, true);  // nobody asked for it: somebody else shall run it
      }
      break;
  }
}

void Sessions::CompleteAndEnqueue(Lease* lease, const Session& session, const TaskOutcome& outcome,
                                  SessionMessage& message) {
  const absl::Status status = enqueuer_.Admit(*outcome.enqueue, outcome.task);
  if (status.ok()) {
    lifecycle_.Complete(lease, session.worker_name, outcome.result, outcome.content_type);
    enqueuer_.Add(*outcome.enqueue);
    return;
  }
  const std::string problem(status.message());
  message.refusals.push_back({outcome.task, outcome.token, RefusalReason::kInvalid, problem});
  lifecycle_.Fail(lease, session.worker_name, {"enqueue refused", problem, ""}, std::nullopt, false);
}

void Sessions::ApplyProgress(Session* session, const ProgressReport& report, SessionMessage& message) {
  Lease* lease = CurrentLease(*session, report.task, report.token, message);
  if (lease == nullptr) return;
  auto [found, first] = progress_.try_emplace(report.task);
  Progress& progress = found->second;
  if (first) {
    const bool resumed = lifecycle_.HasCheckpoint(*lease);
    progress.base_percent = resumed ? report.percent : 0;
    progress.base_time = resumed ? context_.now.wall : lease->start_time;
  }
  if (report.checkpoint) lifecycle_.SaveCheckpoint(lease, *report.checkpoint);
  progress.percent = report.percent;
  progress.text = report.text;
  progress.time = context_.now.wall;
  if (!watchers_.Watched(report.task)) return;
  TaskSnapshot snapshot;
  snapshot.task = report.task;
  snapshot.place = TaskSnapshot::Place::kRunning;
  snapshot.state = State::kRunning;
  snapshot.attempt = lease->attempt;
  snapshot.worker = session->worker_name;
  snapshot.start_time = lease->start_time;
  snapshot.cancel_requested = lease->cancel_requested;
  snapshot.progress_percent = progress.percent;
  snapshot.progress_text = progress.text;
  snapshot.progress_time = progress.time;
  snapshot.progress_remaining = progress.Remaining(context_.now.wall);
  watchers_.Notify(snapshot);
}

void Sessions::ApplyLog(Session* session, const LogReport& report, SessionMessage& message) {
  Lease* lease = CurrentLease(*session, report.task, report.token, message);
  if (lease == nullptr) return;
  lifecycle_.AddLog(lease, report);
}

void Sessions::Input(const SessionInput& input) {
  auto found = by_stream_.find(input.stream);
  if (found == by_stream_.end()) return;  // the stream was replaced or ended; it has been told
  Session* session = found->second;
  session->last_heard = context_.now.begin();
  SetDeadline(session, context_.now.begin() + session->lease);
  SessionMessage discarded;
  const bool answers = !input.starts.empty() || !input.outcomes.empty() || !input.progress_reports.empty() ||
                       !input.log_reports.empty() || input.frame_number != 0 || input.goodbye;
  SessionMessage& message = answers ? context_.MessageFor(session->stream) : discarded;
  for (const TaskStart& start : input.starts) {
    if (Lease* lease = CurrentLease(*session, start.task, start.token, message)) {
      if (lease->started) continue;
      Start(lease, context_.now.wall);
      if (watchers_.Watched(start.task)) {
        TaskSnapshot snapshot;
        snapshot.task = start.task;
        snapshot.place = TaskSnapshot::Place::kRunning;
        snapshot.state = State::kRunning;
        snapshot.attempt = lease->attempt;
        snapshot.worker = session->worker_name;
        snapshot.start_time = lease->start_time;
        watchers_.Notify(snapshot);
      }
    }
  }
  for (const ProgressReport& report : input.progress_reports) ApplyProgress(session, report, message);
  for (const LogReport& report : input.log_reports) ApplyLog(session, report, message);
  for (const TaskOutcome& outcome : input.outcomes) ApplyOutcome(session, outcome, message);
  if (input.frame_number != 0) message.acknowledged_frame = input.frame_number;
  if (input.stuck_changed) {
    session->stuck_tasks = input.stuck_tasks;
    for (TaskId task : input.stuck_tasks) {
      if (Lease* lease = context_.state.FindLease(task)) lease->stuck = true;
    }
  }
  if (input.draining) session->draining = true;
  if (input.goodbye) {
    message.end = absl::OkStatus();
    End(session, true);
    return;
  }
  session->credit += input.credit;
  for (const TypeCredit& credit : input.type_credits) {
    auto limited = session->type_credits.find(std::string(credit.type));
    if (limited != session->type_credits.end()) limited->second += credit.credit;
  }
  // Outcomes too: they free slots, and room below the limit of tasks a worker.
  if (input.credit > 0 || !input.type_credits.empty() || !input.outcomes.empty() || input.draining) {
    observer_.SessionChanged(session);
  }
}

void Sessions::Broken(Ticket stream) {
  auto found = by_stream_.find(stream);
  if (found == by_stream_.end()) return;
  Session* session = found->second;
  by_stream_.erase(found);
  session->stream = Ticket();
  session->credit = 0;
  context_.Fact(
      LogFact::Kind::kSessionBroken,
      fmt::format("{} running={} grace={}", Describe(*session), context_.state.LeasesOf(session->number).count,
                  absl::FormatDuration(ToDuration(context_.options.session_grace))));
  SetDeadline(session, context_.now.begin() + context_.options.session_grace);
  observer_.SessionChanged(session);
}

void Sessions::End(Session* session, bool goodbye) {
  uint32_t returned = 0;
  while (true) {
    const uint32_t index = context_.state.LeasesOf(session->number).first;
    if (index == kNoLease) break;
    Lease* lease = &context_.state.LeaseAt(index);
    ForgetProgress(lease->task);
    if (goodbye) {
      lifecycle_.Release(lease, session->worker_name, false);
    } else {
      lifecycle_.Lose(lease, session->worker_name);
    }
    ++returned;
  }
  context_.Fact(LogFact::Kind::kSessionEnded,
                fmt::format("{} reason={} returned={}", Describe(*session), goodbye ? "goodbye" : "lost", returned));
  observer_.SessionEnds(session);
  context_.state.ForgetSession(session->number);
  context_.commit.Delete(Family::kMeta, context_.keys.Session(session->number));
  if (session->connected()) by_stream_.erase(session->stream);
  by_id_.erase(session->id);
  ForgetDeadline(*session);
  sessions_.erase(session->number);
}

bool Sessions::Tick() {
  for (int budget = 16; !deadlines_.empty() && deadlines_.begin()->first <= context_.now.elapsed; --budget) {
    if (budget == 0) return false;
    const SessionNumber number = deadlines_.begin()->second;
    deadlines_.erase(deadlines_.begin());
    Session* session = Find(number);
    if (session->deadline > context_.now.elapsed) {
      session->noted_deadline = session->deadline;
      deadlines_.insert({session->deadline, number});
      continue;
    }
    if (session->connected()) {
      context_.MessageFor(session->stream).end = absl::AbortedError(
          fmt::format("nothing was heard from this worker for its lease of {}; its tasks were given to others",
                      penstock::FormatDuration(ToDuration(session->lease))));
    }
    End(session, false);
  }
  return true;
}

void Sessions::Drain(const DrainWorkerCommand& command) {
  Session* chosen = nullptr;
  int matches = 0;
  for (const auto& [number, session] : sessions_) {
    if (command.worker == fmt::format("w{}", number.value())) {
      chosen = session.get();
      matches = 1;
      break;
    }
    if (session->worker_name == command.worker) {
      chosen = session.get();
      ++matches;
    }
  }
  if (matches != 1) {
    context_.ReplyTo(command.ticket,
                     matches == 0 ? absl::NotFoundError(fmt::format("there is no worker {}", command.worker))
                                  : absl::FailedPreconditionError(fmt::format(
                                        "{} workers are named {}; name one by its id", matches, command.worker)));
    return;
  }
  chosen->draining = true;
  if (chosen->connected()) context_.MessageFor(chosen->stream).drain = true;
  observer_.SessionChanged(chosen);
  context_.ReplyTo(command.ticket, absl::OkStatus());
}

void Sessions::SendCancel(const Lease& lease) {
  const Session* session = Find(lease.session);
  if (session != nullptr && session->connected()) {
    context_.MessageFor(session->stream).cancelled_tasks.push_back(lease.task);
  }
}

}  // namespace penstock::broker
