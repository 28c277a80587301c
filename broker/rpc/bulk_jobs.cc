#include "broker/rpc/bulk_jobs.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "broker/rpc/fields.h"
#include "broker/rpc/open_calls.h"
#include "broker/rpc/task_reader.h"
#include "common/logging.h"
#include "common/status.h"
#include "common/status_details.h"
#include "common/text.h"
#include "fmt/format.h"

namespace penstock::broker {
namespace {

// Commands of one job that are under way at a time: enough to fill a commit, too few to hold up others.
constexpr size_t kWindow = 256;
// A job that finds nothing to change stores how far it is this often.
constexpr absl::Duration kKeepEvery = absl::Seconds(5);
// After something other than the mailbox was full.
constexpr absl::Duration kPause = absl::Milliseconds(100);
constexpr absl::Duration kLookEvery = absl::Minutes(1);
constexpr Span kForgetAfter = kDay;
constexpr absl::Duration kForgetEvery = absl::Seconds(1);
constexpr size_t kEndedMax = 200;

void Answer(const std::vector<BulkJob::Done>& waiting, const absl::StatusOr<v1::BulkJob>& answer) {
  for (const auto& done : waiting) done(answer);
}

absl::Status PausedForkError() {
  return absl::FailedPreconditionError("this broker is a paused fork: it shows bulk jobs and changes none");
}

}  // namespace

// What has become of the pending tasks of a job that is back after a restart.
struct BulkJobs::Inquiry {
  Job job;
  v1::BulkJobSpec spec;
  std::shared_ptr<const TaskFilter> filter;
  std::vector<TaskSnapshot> snapshots;
  Mutex mu;
  size_t left ABSL_GUARDED_BY(mu) = 0;
  absl::Status failure ABSL_GUARDED_BY(mu);
};

BulkJobs::BulkJobs(RpcContext& context, const Options& options)
    : context_(context), options_(options), thread_([this] { Run(); }) {}

// --- what callers ask ---

void BulkJobs::Start(BulkOrder order, Done done) {
  absl::StatusOr<v1::BulkJob> answer = v1::BulkJob();
  Job job;
  {
    MutexLock lock(mu_);
    const auto same =
        order.request.empty() ? jobs_.end() : std::find_if(jobs_.begin(), jobs_.end(), [&](const auto& entry) {
          const RequestId& request = entry.second->request;
          return request.high == order.request.high && request.low == order.request.low;
        });
    if (stopping_ || !here_) {
      answer = StoppingError();
    } else if (same != jobs_.end()) {
      if (same->second->view.spec().SerializeAsString() != order.spec.SerializeAsString()) {
        answer = BadField(FieldPath("request_id"), "has begun a job with another spec");
      } else if (same->second->step == BulkJob::Step::kNew) {
        same->second->starting.push_back(std::move(done));
        return;
      } else {
        answer = same->second->view;
      }
    } else if (RunningLocked() >= options_.running_max) {
      answer = LimitReached("limits.bulk_jobs",
                            fmt::format("{} bulk jobs run already: wait for one, stop one, or raise limits.bulk_jobs",
                                        options_.running_max),
                            absl::Seconds(10));
    } else {
      const Time now = context_.WallNow();
      job = std::make_shared<BulkJob>();
      // In the order of their beginning.
      uint64_t number = static_cast<uint64_t>(now);
      do {
        job->view.set_job_id(fmt::format("b{:014x}", number++));
      } while (jobs_.contains(job->view.job_id()));
      *job->view.mutable_spec() = order.spec;
      job->view.set_state(v1::BULK_JOB_STATE_RUNNING);
      SetTimestamp(now, job->view.mutable_create_time());
      job->request = order.request;
      job->filter = std::move(order.filter);
      job->starting.push_back(std::move(done));
      jobs_.emplace(job->view.job_id(), job);
    }
  }
  if (job == nullptr) return done(answer);
  // The core tells whether there is such a queue.
  ListLanesCommand queue;
  queue.queue = order.spec.filter().queue();
  queue.max_runs = 0;
  Ask(context_.door, context_.tickets, std::move(queue), kSmallCommandBytes, [this, job](const Reply& reply) {
    if (!reply.status.ok()) return OnStarted(job, reply.status);
    std::string record;
    std::string id;
    {
      MutexLock lock(mu_);
      record = job->ToRecord().SerializeAsString();
      id = job->view.job_id();
    }
    Put(id, std::move(record), [this, job](const absl::Status& status) { OnStarted(job, status); });
  });
}

void BulkJobs::OnStarted(const Job& job, const absl::Status& status) {
  Waiting waiting;
  absl::StatusOr<v1::BulkJob> answer = v1::BulkJob();
  {
    MutexLock lock(mu_);
    waiting.swap(job->starting);
    if (status.ok()) {
      job->step = BulkJob::Step::kLook;
      job->kept = job->allowed = context_.clock.Read().elapsed;
      answer = job->view;
    } else {
      answer = status;
      const auto found = jobs_.find(job->view.job_id());
      if (found != jobs_.end() && found->second == job) jobs_.erase(found);
    }
  }
  changed_.SignalAll();
  if (answer.ok()) {
    LogFor("bulk").info("job started id={} action={} queue={}", answer->job_id(), WordOf(answer->spec().action()),
                        answer->spec().filter().queue());
  }
  Answer(waiting, answer);
}

absl::StatusOr<BulkJobs::Job> BulkJobs::FindLocked(const std::string& id) const {
  if (!here_) return StoppingError();
  const auto found = jobs_.find(id);
  if (found == jobs_.end()) {
    return absl::NotFoundError(fmt::format("there is no bulk job {}, or it ended long ago", CutEnd(id, 64)));
  }
  return found->second;
}

absl::StatusOr<v1::BulkJob> BulkJobs::Get(const std::string& id) const {
  MutexLock lock(mu_);
  ASSIGN_OR_RETURN(const Job job, FindLocked(id));
  return job->view;
}

absl::StatusOr<std::vector<v1::BulkJob>> BulkJobs::List() const {
  MutexLock lock(mu_);
  if (!here_) return StoppingError();
  std::vector<v1::BulkJob> jobs;
  jobs.reserve(jobs_.size());
  for (auto entry = jobs_.rbegin(); entry != jobs_.rend(); ++entry) jobs.push_back(entry->second->view);
  return jobs;
}

void BulkJobs::End(const std::string& id, Done done) {
  absl::StatusOr<v1::BulkJob> answer = v1::BulkJob();
  {
    MutexLock lock(mu_);
    const absl::StatusOr<Job> job = FindLocked(id);
    if (!job.ok()) {
      answer = job.status();
    } else if (!options_.runs) {
      answer = PausedForkError();
    } else if ((*job)->over()) {
      answer = absl::FailedPreconditionError(fmt::format("bulk job {} has ended already", id));
    } else if (stopping_) {
      answer = StoppingError();
    } else {
      (*job)->stop = true;
      (*job)->stopping.push_back(std::move(done));
      changed_.SignalAll();
      return;
    }
  }
  done(answer);
}

// --- the engine comes and goes ---

void BulkJobs::EnterEngine() {
  std::map<std::string, Job> jobs;
  size_t running = 0;
  if (const std::unique_ptr<StoreReader> store = context_.door.Snapshot(); store != nullptr) {
    const Keys keys(context_.partition);
    const absl::Status scanned =
        store->Scan(Family::kMeta, keys.First('b'), keys.Past('b'), [&](std::string_view key, std::string_view value) {
          const auto record = OpenRecord<records::BulkJobRecord>(key, value);
          absl::StatusOr<Job> job = record.ok() ? FromRecord(*record, context_.limits) : record.status();
          if (job.ok()) {
            if (!(*job)->over()) ++running;
            (*job)->kept = (*job)->allowed = context_.clock.Read().elapsed;
            jobs.emplace(std::string(key.substr(2)), *std::move(job));
          } else {
            LogFor("bulk").error("job is unreadable id={} error=\"{}\"", key.substr(2), ToStd(job.status().message()));
          }
          return true;
        });
    if (!scanned.ok()) LogFor("bulk").error("jobs are unreadable error=\"{}\"", ToStd(scanned.message()));
  }
  if (running > 0 && options_.runs) LogFor("bulk").info("jobs go on running={}", running);
  {
    MutexLock lock(mu_);
    jobs_ = std::move(jobs);
    here_ = true;
    room_asked_ = false;
  }
  changed_.SignalAll();
}

void BulkJobs::LeaveEngine() {
  Waiting waiting;
  {
    MutexLock lock(mu_);
    here_ = false;
    for (const auto& [id, job] : jobs_) {
      for (Waiting* from : {&job->starting, &job->stopping}) {
        std::move(from->begin(), from->end(), std::back_inserter(waiting));
        from->clear();
      }
    }
    jobs_.clear();
  }
  Answer(waiting, StoppingError());
}

void BulkJobs::LookAtClock() {
  {
    MutexLock lock(mu_);  // the thread has looked at the clock and waits, or is about to look
  }
  changed_.SignalAll();
}

void BulkJobs::Stop() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
  }
  changed_.SignalAll();
  if (!thread_.joinable()) return;
  thread_.join();
  LeaveEngine();
}

// --- the thread ---

void BulkJobs::Run() {
  while (true) {
    std::vector<Move> moves;
    {
      MutexLock lock(mu_);
      while (true) {
        const absl::Duration wait = here_ && options_.runs ? CollectLocked(&moves) : kLookEvery;
        if (!moves.empty()) break;
        if (stopping_ && IdleLocked()) return;
        changed_.WaitFor(mu_, wait);
      }
    }
    for (const Move& move : moves) move();
  }
}

bool BulkJobs::IdleLocked() const {
  if (!options_.runs) return true;
  return std::all_of(jobs_.begin(), jobs_.end(), [](const auto& entry) {
    const BulkJob& job = *entry.second;
    return job.over() || job.step == BulkJob::Step::kParked || (job.held && job.in_flight == 0);
  });
}

absl::Duration BulkJobs::CollectLocked(std::vector<Move>* moves) {
  absl::Duration wait = kLookEvery;
  for (const auto& [id, job] : jobs_) {
    if (job->held || job->over()) continue;
    if (std::exchange(job->paused, false)) {
      wait = std::min(wait, kPause);
      continue;
    }
    wait = std::min(wait, AdvanceLocked(job, moves));
  }
  const absl::Duration now = context_.clock.Read().elapsed;
  if (!stopping_ && now >= forget_next_) {
    forget_next_ = now + kForgetEvery;
    ForgetLocked(moves);
  }
  return wait;
}

absl::Duration BulkJobs::AdvanceLocked(const Job& job, std::vector<Move>* moves) {
  using Step = BulkJob::Step;
  const absl::Duration now = context_.clock.Read().elapsed;
  const auto keep = [&](Step step) {
    job->step = step;
    job->kept = now;
    moves->push_back([this, job, id = job->view.job_id(), record = job->ToRecord().SerializeAsString()] {
      Put(id, record, [this, job](const absl::Status& status) { OnKept(job, status); });
    });
  };
  switch (job->step) {
    case Step::kCheck:
      if (stopping_) {
        job->step = Step::kParked;  // its record is as it was
        break;
      }
      job->step = Step::kChecking;
      moves->push_back(
          [this, job, tasks = std::vector<TaskId>(job->pending.begin(), job->pending.end())] { Inquire(job, tasks); });
      break;
    case Step::kLook:
      if (!job->failure.ok()) {
        EndLocked(job, v1::BULK_JOB_STATE_FAILED, moves);
      } else if (job->stop) {
        EndLocked(job, v1::BULK_JOB_STATE_STOPPED, moves);
      } else if (job->at_end || job->LimitReached()) {
        EndLocked(job, v1::BULK_JOB_STATE_DONE, moves);
      } else if (stopping_) {
        keep(Step::kKeeping);
      } else if (now - job->kept >= kKeepEvery) {
        keep(Step::kKeeping);
      } else {
        job->step = Step::kLooking;
        moves->push_back([this, job, filter = job->filter, from = job->next, size = job->PageSize()] {
          Look(job, filter, from, size);
        });
      }
      break;
    case Step::kKeep:
      keep(Step::kKeeping);
      break;
    case Step::kChange:
      if (stopping_) {
        if (job->in_flight == 0) keep(Step::kKeeping);
        break;
      }
      return ChangeLocked(job, moves);
    case Step::kNew:
    case Step::kChecking:
    case Step::kLooking:
    case Step::kKeeping:
    case Step::kEnding:
    case Step::kEnded:
    case Step::kParked:
      break;
  }
  return kLookEvery;
}

absl::Duration BulkJobs::ChangeLocked(const Job& job, std::vector<Move>* moves) {
  if (job->stop || !job->failure.ok()) job->pending.clear();
  if (job->pending.empty()) {
    if (job->in_flight > 0) return kLookEvery;
    job->step = BulkJob::Step::kLook;
    return AdvanceLocked(job, moves);
  }
  if (job->blocked) {
    if (!std::exchange(room_asked_, true)) moves->push_back([this] { AskForRoom(); });
    return kLookEvery;
  }
  size_t count = std::min(job->pending.size(), kWindow - std::min(kWindow, job->in_flight));
  absl::Duration wait = kLookEvery;
  if (job->rate() > 0) {
    job->Allow(context_.clock.Read().elapsed);
    const auto allowed = static_cast<size_t>(job->allowance);
    if (allowed < count) {
      count = allowed;
      const double missing = std::floor(job->allowance) + 1 - job->allowance;
      wait = std::max(absl::Seconds(missing / job->rate()), absl::Milliseconds(1));
    }
    job->allowance -= static_cast<double>(count);
  }
  if (count == 0) return wait;
  std::vector<TaskId> tasks(job->pending.begin(), job->pending.begin() + static_cast<std::ptrdiff_t>(count));
  job->pending.erase(job->pending.begin(), job->pending.begin() + static_cast<std::ptrdiff_t>(count));
  job->in_flight += count;
  moves->push_back([this, job, spec = job->view.spec(), tasks = std::move(tasks)] {
    for (TaskId task : tasks) Change(job, spec, task);
  });
  return wait;
}

void BulkJobs::EndLocked(const Job& job, v1::BulkJobState state, std::vector<Move>* moves) {
  job->ending = state;
  job->end_time = context_.WallNow();
  job->step = BulkJob::Step::kEnding;
  moves->push_back([this, job, id = job->view.job_id(), record = job->ToRecord().SerializeAsString()] {
    Put(id, record, [this, job](const absl::Status& status) { OnEnded(job, status); });
  });
}

void BulkJobs::ForgetLocked(std::vector<Move>* moves) {
  const Time now = context_.WallNow();
  std::vector<Job> ended;
  for (const auto& [id, job] : jobs_) {
    if (job->over()) ended.push_back(job);
  }
  std::sort(ended.begin(), ended.end(), [](const Job& a, const Job& b) { return a->end_time < b->end_time; });
  for (size_t i = 0; i < ended.size(); ++i) {
    if (ended[i]->end_time + kForgetAfter > now && i + kEndedMax >= ended.size()) break;
    const std::string id = ended[i]->view.job_id();
    jobs_.erase(id);
    // If that fails, it is forgotten the next time it is read.
    moves->push_back([this, id] { Put(id, "", [](const absl::Status&) {}); });
  }
}

size_t BulkJobs::RunningLocked() const {
  return static_cast<size_t>(
      std::count_if(jobs_.begin(), jobs_.end(), [](const auto& entry) { return !entry.second->over(); }));
}

bool BulkJobs::WaitsLocked(const Job& job, const absl::Status& status) {
  if (absl::IsUnavailable(status) || LimitOf(status) == "disk.watermark") {
    // The engine stops or has failed; whoever starts the next one has the job read again.
    job->held = true;
    return true;
  }
  if (!absl::IsResourceExhausted(status)) return false;
  job->paused = true;
  return true;
}

// --- without the lock ---

void BulkJobs::Put(const std::string& id, std::string record, std::function<void(absl::Status)> done) {
  PutBulkJobCommand command;
  command.id = id;
  const size_t bytes = kSmallCommandBytes + record.size();
  command.record = std::move(record);
  Ask(context_.door, context_.tickets, std::move(command), bytes,
      [done = std::move(done)](const Reply& reply) { done(reply.status); });
}

void BulkJobs::Look(const Job& job, std::shared_ptr<const TaskFilter> filter, const PageToken& from,
                    uint32_t page_size) {
  TaskWalk::Start(context_, std::move(filter), from, page_size,
                  [this, job](absl::StatusOr<TaskPage> page) { OnPage(job, std::move(page)); });
}

void BulkJobs::OnPage(const Job& job, absl::StatusOr<TaskPage> page) {
  {
    MutexLock lock(mu_);
    job->step = BulkJob::Step::kLook;
    if (!page.ok()) {
      if (!WaitsLocked(job, page.status())) job->failure = page.status();
    } else {
      v1::BulkJob& view = job->view;
      view.set_seen(view.seen() + page->seen);
      job->next = page->next;
      job->at_end = page->at_end;
      for (const v1::Task& task : page->tasks) {
        if (job->LimitReached()) break;
        const std::optional<TaskId> id = TaskId::Parse(task.task_id());
        if (!id || !IsToChange(view.spec(), task)) continue;
        view.set_matched(view.matched() + 1);
        if (!view.spec().dry_run()) job->pending.push_back(*id);
      }
      if (!job->pending.empty()) job->step = BulkJob::Step::kKeep;
    }
  }
  changed_.SignalAll();
}

void BulkJobs::OnKept(const Job& job, const absl::Status& status) {
  {
    MutexLock lock(mu_);
    if (status.ok()) {
      job->step = stopping_ ? BulkJob::Step::kParked : BulkJob::Step::kChange;
    } else {
      job->step = BulkJob::Step::kKeep;
      if (!WaitsLocked(job, status)) {
        job->failure = status;
        job->pending.clear();
        job->step = BulkJob::Step::kLook;
      }
    }
  }
  changed_.SignalAll();
}

void BulkJobs::CountLocked(const v1::BulkJobSpec& spec, uint64_t changed, uint64_t skipped) {
  Figures::Tasks& tasks = figures_.tasks[spec.action()];
  tasks.changed += changed;
  tasks.skipped += skipped;
}

BulkJobs::Figures BulkJobs::figures() const {
  MutexLock lock(mu_);
  Figures figures = figures_;
  figures.running = options_.runs ? RunningLocked() : 0;
  return figures;
}

void BulkJobs::OnEnded(const Job& job, const absl::Status& status) {
  Waiting waiting;
  v1::BulkJob view;
  {
    MutexLock lock(mu_);
    if (status.ok()) {
      job->step = BulkJob::Step::kEnded;
      job->view.set_state(job->ending);
      (job->ending == v1::BULK_JOB_STATE_DONE      ? figures_.done
       : job->ending == v1::BULK_JOB_STATE_STOPPED ? figures_.stopped
                                                   : figures_.failed) += 1;
      SetTimestamp(job->end_time, job->view.mutable_end_time());
      job->view.set_error(std::string(job->failure.message()));
      waiting.swap(job->stopping);
      view = job->view;
    } else {
      job->ending = v1::BULK_JOB_STATE_UNSPECIFIED;
      job->step = BulkJob::Step::kLook;  // from where it ends again
      if (!WaitsLocked(job, status)) job->held = true;
    }
  }
  changed_.SignalAll();
  if (!status.ok()) return;
  LogFor("bulk").info("job ended id={} state={} seen={} matched={} changed={} skipped={} error=\"{}\"", view.job_id(),
                      v1::BulkJobState_Name(view.state()), view.seen(), view.matched(), view.changed(), view.skipped(),
                      view.error());
  Answer(waiting, view);
}

void BulkJobs::Change(const Job& job, const v1::BulkJobSpec& spec, TaskId task) {
  const auto done = [this, job, task](const Reply& reply) { OnChanged(job, task, reply.status); };
  switch (spec.action()) {
    case v1::BULK_ACTION_CANCEL:
      return Ask(context_.door, context_.tickets, CancelTaskCommand{{}, task, spec.reason()}, kSmallCommandBytes, done);
    case v1::BULK_ACTION_RETRY:
      return Ask(context_.door, context_.tickets, RetryTaskCommand{{}, task}, kSmallCommandBytes, done);
    default:
      return Ask(context_.door, context_.tickets, DeleteTaskCommand{{}, task}, kSmallCommandBytes, done);
  }
}

void BulkJobs::OnChanged(const Job& job, TaskId task, const absl::Status& status) {
  bool news = false;
  {
    MutexLock lock(mu_);
    --job->in_flight;
    if (status.ok()) {
      job->view.set_changed(job->view.changed() + 1);
      CountLocked(job->view.spec(), 1, 0);
    } else if (IsMailboxFull(status)) {
      job->pending.push_front(task);
      job->blocked = true;
    } else if (WaitsLocked(job, status)) {
      job->pending.push_front(task);
    } else if (absl::IsNotFound(status) || absl::IsFailedPrecondition(status) || absl::IsDataLoss(status)) {
      job->view.set_skipped(job->view.skipped() + 1);
      CountLocked(job->view.spec(), 0, 1);
    } else if (job->failure.ok()) {
      job->failure = status;
    }
    // Not for each of many: the thread posts many at a time.
    news = job->in_flight <= kWindow / 2 || !status.ok();
  }
  if (news) changed_.SignalAll();
}

void BulkJobs::AskForRoom() {
  context_.door.WhenRoom([this] {
    {
      MutexLock lock(mu_);
      room_asked_ = false;
      for (const auto& [id, job] : jobs_) job->blocked = false;
    }
    changed_.SignalAll();
  });
}

void BulkJobs::Inquire(const Job& job, const std::vector<TaskId>& tasks) {
  auto inquiry = std::make_shared<Inquiry>();
  inquiry->job = job;
  inquiry->snapshots.resize(tasks.size());
  {
    MutexLock lock(mu_);
    inquiry->spec = job->view.spec();
    inquiry->filter = job->filter;
  }
  {
    MutexLock lock(inquiry->mu);
    inquiry->left = tasks.size();
  }
  for (size_t i = 0; i < tasks.size(); ++i) {
    Ask(context_.door, context_.tickets, GetTaskCommand{{}, tasks[i]}, kSmallCommandBytes,
        [this, inquiry, i](Reply reply) {
          auto* answer = std::get_if<TaskReply>(&reply.value);
          if (answer != nullptr) inquiry->snapshots[i] = std::move(answer->snapshot);
          bool last = false;
          {
            MutexLock lock(inquiry->mu);
            if (answer == nullptr && inquiry->failure.ok()) inquiry->failure = reply.status;
            last = --inquiry->left == 0;
          }
          if (last) OnInquired(inquiry);
        });
  }
}

void BulkJobs::OnInquired(const std::shared_ptr<Inquiry>& inquiry) {
  absl::Status failure;
  {
    MutexLock lock(inquiry->mu);
    failure = inquiry->failure;
  }
  const auto give_up = [this, inquiry](const absl::Status& status) {
    {
      MutexLock lock(mu_);
      inquiry->job->step = BulkJob::Step::kCheck;
      if (!WaitsLocked(inquiry->job, status)) {
        inquiry->job->failure = status;
        inquiry->job->pending.clear();
        inquiry->job->step = BulkJob::Step::kLook;
      }
    }
    changed_.SignalAll();
  };
  if (!failure.ok()) return give_up(failure);
  const absl::Status refused = context_.reads.Submit([this, inquiry, give_up] {
    const absl::StatusOr<std::vector<BulkFate>> fates = ReadFates(*inquiry);
    if (!fates.ok()) return give_up(fates.status());
    {
      MutexLock lock(mu_);
      BulkJob& job = *inquiry->job;
      job.pending.clear();
      for (size_t i = 0; i < fates->size(); ++i) {
        if ((*fates)[i] == BulkFate::kToChange) job.pending.push_back(inquiry->snapshots[i].task);
        if ((*fates)[i] == BulkFate::kChanged) job.view.set_changed(job.view.changed() + 1);
        if ((*fates)[i] == BulkFate::kSkipped) job.view.set_skipped(job.view.skipped() + 1);
      }
      // What was counted just now must not be counted again.
      job.step = BulkJob::Step::kKeep;
    }
    changed_.SignalAll();
  });
  if (!refused.ok()) give_up(refused);
}

absl::StatusOr<std::vector<BulkFate>> BulkJobs::ReadFates(const Inquiry& inquiry) {
  std::unique_ptr<StoreReader> store = context_.door.Snapshot();
  if (store == nullptr) return StoppingError();
  TaskReader reader(std::move(store), context_.partition, context_.WallNow());
  std::vector<BulkFate> fates;
  for (const TaskSnapshot& snapshot : inquiry.snapshots) {
    v1::Task task;
    const absl::Status status = reader.Read(snapshot, inquiry.filter->parts(), &task);
    if (absl::IsNotFound(status) || absl::IsDataLoss(status)) {
      fates.push_back(absl::IsNotFound(status) ? FateOf(inquiry.spec, nullptr, false) : BulkFate::kSkipped);
      continue;
    }
    RETURN_IF_ERROR(status);
    ASSIGN_OR_RETURN(const bool fits, inquiry.filter->Fits(task, &reader));
    fates.push_back(FateOf(inquiry.spec, &task, fits));
  }
  return fates;
}

}  // namespace penstock::broker
