#include "broker/rpc/bulk_core.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <optional>
#include <utility>

#include "broker/rpc/fields.h"
#include "broker/rpc/open_calls.h"
#include "broker/rpc/task_reader.h"
#include "broker/rpc/ticket_table.h"
#include "broker/storage/keys.h"
#include "broker/storage/records.h"
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

absl::Status PausedForkError() {
  return absl::FailedPreconditionError("this broker is a paused fork: it shows bulk jobs and changes none");
}

}  // namespace

absl::StatusOr<std::vector<BulkFate>> ReadFates(const BulkInquiry& inquiry, TaskReader* reader) {
  if (reader == nullptr) return StoppingError();
  std::vector<BulkFate> fates;
  for (const std::optional<TaskSnapshot>& snapshot : inquiry.snapshots) {
    v1::Task task;
    const absl::Status status = reader->Read(*snapshot, inquiry.filter->parts(), &task);
    if (absl::IsNotFound(status) || absl::IsDataLoss(status)) {
      fates.push_back(absl::IsNotFound(status) ? FateOf(inquiry.spec, nullptr, false) : BulkFate::kSkipped);
      continue;
    }
    RETURN_IF_ERROR(status);
    ASSIGN_OR_RETURN(const bool fits, inquiry.filter->Fits(task, reader));
    fates.push_back(FateOf(inquiry.spec, &task, fits));
  }
  return fates;
}

// --- what callers ask ---

void BulkCore::Start(const Now& now, BulkOrder order, Done done, BulkEffects* effects) {
  const auto refuse = [&](absl::StatusOr<v1::BulkJob> answer) {
    Answer({std::move(done)}, std::move(answer), effects);
  };
  const auto same =
      order.request.empty() ? jobs_.end() : std::find_if(jobs_.begin(), jobs_.end(), [&](const auto& entry) {
        const RequestId& request = entry.second->request;
        return request.high == order.request.high && request.low == order.request.low;
      });
  if (stopping_ || !here_) return refuse(StoppingError());
  if (same != jobs_.end()) {
    if (same->second->view.spec().SerializeAsString() != order.spec.SerializeAsString()) {
      return refuse(BadField(FieldPath("request_id"), "has begun a job with another spec"));
    }
    if (same->second->step != BulkJob::Step::kNew) return refuse(same->second->view);
    same->second->starting.push_back(std::move(done));
    return;
  }
  if (running() >= options_.running_max) {
    return refuse(
        LimitReached("limits.bulk_jobs",
                     fmt::format("{} bulk jobs run already: wait for one, stop one, or raise limits.bulk_jobs",
                                 options_.running_max),
                     absl::Seconds(10)));
  }
  const Time wall = ToMicros(now.wall);
  const Job job = std::make_shared<BulkJob>();
  // In the order of their beginning.
  uint64_t number = static_cast<uint64_t>(wall);
  do {
    job->view.set_job_id(fmt::format("b{:014x}", number++));
  } while (jobs_.contains(job->view.job_id()));
  *job->view.mutable_spec() = order.spec;
  job->view.set_state(v1::BULK_JOB_STATE_RUNNING);
  SetTimestamp(wall, job->view.mutable_create_time());
  job->request = order.request;
  job->filter = std::move(order.filter);
  job->starting.push_back(std::move(done));
  jobs_.emplace(job->view.job_id(), job);
  // The core tells whether there is such a queue.
  ListLanesCommand queue;
  queue.queue = order.spec.filter().queue();
  queue.max_runs = 0;
  effects->posts.push_back(
      {std::move(queue), kSmallCommandBytes, [this, job](const Now& then, const Reply& reply, BulkEffects* more) {
         if (!reply.status.ok()) {
           OnStarted(then, job, reply.status, more);
           return true;
         }
         Put(
             job->view.job_id(), job->ToRecord().SerializeAsString(),
             [this, job](const Now& later, const absl::Status& status, BulkEffects* rest) {
               OnStarted(later, job, status, rest);
               return true;
             },
             more);
         return false;
       }});
}

void BulkCore::OnStarted(const Now& now, const Job& job, const absl::Status& status, BulkEffects* effects) {
  std::vector<Done> waiting = std::exchange(job->starting, {});
  if (status.ok()) {
    job->step = BulkJob::Step::kLook;
    job->kept = job->allowed = now.elapsed;
    return Answer(std::move(waiting), job->view, effects, BulkAnswer::News::kStarted);
  }
  const auto found = jobs_.find(job->view.job_id());
  if (found != jobs_.end() && found->second == job) jobs_.erase(found);
  Answer(std::move(waiting), status, effects);
}

absl::StatusOr<BulkCore::Job> BulkCore::Find(const std::string& id) const {
  if (!here_) return StoppingError();
  const auto found = jobs_.find(id);
  if (found == jobs_.end()) {
    return absl::NotFoundError(fmt::format("there is no bulk job {}, or it ended long ago", CutEnd(id, 64)));
  }
  return found->second;
}

absl::StatusOr<v1::BulkJob> BulkCore::Get(const std::string& id) const {
  ASSIGN_OR_RETURN(const Job job, Find(id));
  return job->view;
}

absl::StatusOr<std::vector<v1::BulkJob>> BulkCore::List() const {
  if (!here_) return StoppingError();
  std::vector<v1::BulkJob> jobs;
  jobs.reserve(jobs_.size());
  for (auto entry = jobs_.rbegin(); entry != jobs_.rend(); ++entry) jobs.push_back(entry->second->view);
  return jobs;
}

void BulkCore::End(const std::string& id, Done done, BulkEffects* effects) {
  const absl::StatusOr<Job> job = Find(id);
  absl::Status refused;
  if (!job.ok()) {
    refused = job.status();
  } else if (!options_.runs) {
    refused = PausedForkError();
  } else if ((*job)->over()) {
    refused = absl::FailedPreconditionError(fmt::format("bulk job {} has ended already", id));
  } else if (stopping_) {
    refused = StoppingError();
  } else {
    (*job)->stop = true;
    (*job)->stopping.push_back(std::move(done));
    return;
  }
  Answer({std::move(done)}, refused, effects);
}

// --- the engine comes and goes ---

BulkCore::Jobs BulkCore::ReadJobs(const StoreReader& store, uint8_t partition, const ApiLimits& limits) {
  Jobs jobs;
  const Keys keys(partition);
  const absl::Status scanned =
      store.Scan(Family::kMeta, keys.First('b'), keys.Past('b'), [&](std::string_view key, std::string_view value) {
        const auto record = OpenRecord<records::BulkJobRecord>(key, value);
        absl::StatusOr<Job> job = record.ok() ? FromRecord(*record, limits) : record.status();
        if (job.ok()) {
          jobs.emplace(std::string(key.substr(2)), *std::move(job));
        } else {
          LogFor("bulk").error("job is unreadable id={} error=\"{}\"", key.substr(2), ToStd(job.status().message()));
        }
        return true;
      });
  if (!scanned.ok()) LogFor("bulk").error("jobs are unreadable error=\"{}\"", ToStd(scanned.message()));
  return jobs;
}

void BulkCore::Enter(const Now& now, Jobs jobs) {
  jobs_ = std::move(jobs);
  for (const auto& [id, job] : jobs_) job->kept = job->allowed = now.elapsed;
  here_ = true;
  room_asked_ = false;
}

void BulkCore::Leave(BulkEffects* effects) {
  std::vector<Done> waiting;
  here_ = false;
  for (const auto& [id, job] : jobs_) {
    for (std::vector<Done>* from : {&job->starting, &job->stopping}) {
      std::move(from->begin(), from->end(), std::back_inserter(waiting));
      from->clear();
    }
  }
  jobs_.clear();
  if (!waiting.empty()) Answer(std::move(waiting), StoppingError(), effects);
}

bool BulkCore::idle() const {
  if (!options_.runs) return true;
  return std::all_of(jobs_.begin(), jobs_.end(), [](const auto& entry) {
    const BulkJob& job = *entry.second;
    return job.over() || job.step == BulkJob::Step::kParked || (job.held && job.in_flight == 0);
  });
}

// --- what is to be done ---

absl::Duration BulkCore::Step(const Now& now, BulkEffects* effects) {
  if (!here_ || !options_.runs) return kLookEvery;
  absl::Duration wait = kLookEvery;
  for (const auto& [id, job] : jobs_) {
    if (job->held || job->over()) continue;
    if (std::exchange(job->paused, false)) {
      wait = std::min(wait, kPause);
      continue;
    }
    wait = std::min(wait, Advance(now, job, effects));
  }
  if (!stopping_ && now.elapsed >= forget_next_) {
    forget_next_ = now.elapsed + kForgetEvery;
    Forget(now, effects);
  }
  return wait;
}

absl::Duration BulkCore::Advance(const Now& now, const Job& job, BulkEffects* effects) {
  using Step = BulkJob::Step;
  switch (job->step) {
    case Step::kCheck:
      if (stopping_) {
        job->step = Step::kParked;  // its record is as it was
        break;
      }
      job->step = Step::kChecking;
      Inquire(job, effects);
      break;
    case Step::kLook:
      if (!job->failure.ok()) {
        BeginEnd(now, job, v1::BULK_JOB_STATE_FAILED, effects);
      } else if (job->stop) {
        BeginEnd(now, job, v1::BULK_JOB_STATE_STOPPED, effects);
      } else if (job->at_end || job->LimitReached()) {
        BeginEnd(now, job, v1::BULK_JOB_STATE_DONE, effects);
      } else if (stopping_ || now.elapsed - job->kept >= kKeepEvery) {
        Keep(now, job, effects);
      } else {
        job->step = Step::kLooking;
        effects->looks.push_back({job->filter, job->next, job->PageSize(), [this, job](absl::StatusOr<TaskPage> page) {
                                    OnPage(job, std::move(page));
                                    return true;
                                  }});
      }
      break;
    case Step::kKeep:
      Keep(now, job, effects);
      break;
    case Step::kChange:
      if (stopping_) {
        if (job->in_flight == 0) Keep(now, job, effects);
        break;
      }
      return Change(now, job, effects);
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

absl::Duration BulkCore::Change(const Now& now, const Job& job, BulkEffects* effects) {
  if (job->stop || !job->failure.ok()) job->pending.clear();
  if (job->pending.empty()) {
    if (job->in_flight > 0) return kLookEvery;
    job->step = BulkJob::Step::kLook;
    return Advance(now, job, effects);
  }
  if (job->blocked) {
    if (!std::exchange(room_asked_, true)) {
      effects->await_room = [this] {
        OnRoom();
        return true;
      };
    }
    return kLookEvery;
  }
  size_t count = std::min(job->pending.size(), kWindow - std::min(kWindow, job->in_flight));
  absl::Duration wait = kLookEvery;
  if (job->rate() > 0) {
    job->Allow(now.elapsed);
    const auto allowed = static_cast<size_t>(job->allowance);
    if (allowed < count) {
      count = allowed;
      const double missing = std::floor(job->allowance) + 1 - job->allowance;
      wait = std::max(absl::Seconds(missing / job->rate()), absl::Milliseconds(1));
    }
    job->allowance -= static_cast<double>(count);
  }
  for (; count > 0; --count) {
    const TaskId task = job->pending.front();
    job->pending.pop_front();
    ++job->in_flight;
    effects->posts.push_back({CommandFor(job->view.spec(), task), kSmallCommandBytes,
                              [this, job, task](const Now&, const Reply& reply, BulkEffects*) {
                                return OnChanged(job, task, reply.status);
                              }});
  }
  return wait;
}

void BulkCore::BeginEnd(const Now& now, const Job& job, v1::BulkJobState state, BulkEffects* effects) {
  job->ending = state;
  job->end_time = ToMicros(now.wall);
  job->step = BulkJob::Step::kEnding;
  Put(
      job->view.job_id(), job->ToRecord().SerializeAsString(),
      [this, job](const Now&, const absl::Status& status, BulkEffects* more) {
        OnEnded(job, status, more);
        return true;
      },
      effects);
}

void BulkCore::Forget(const Now& now, BulkEffects* effects) {
  const Time wall = ToMicros(now.wall);
  std::vector<Job> ended;
  for (const auto& [id, job] : jobs_) {
    if (job->over()) ended.push_back(job);
  }
  std::sort(ended.begin(), ended.end(), [](const Job& a, const Job& b) { return a->end_time < b->end_time; });
  for (size_t i = 0; i < ended.size(); ++i) {
    if (ended[i]->end_time + kForgetAfter > wall && i + kEndedMax >= ended.size()) break;
    const std::string id = ended[i]->view.job_id();
    jobs_.erase(id);
    // If that fails, it is forgotten the next time it is read.
    Put(
        id, "", [](const Now&, const absl::Status&, BulkEffects*) { return false; }, effects);
  }
}

size_t BulkCore::running() const {
  return static_cast<size_t>(
      std::count_if(jobs_.begin(), jobs_.end(), [](const auto& entry) { return !entry.second->over(); }));
}

bool BulkCore::Waits(const Job& job, const absl::Status& status) {
  if (absl::IsUnavailable(status) || LimitOf(status) == "disk.watermark") {
    // The engine stops or has failed; whoever starts the next one has the job read again.
    job->held = true;
    return true;
  }
  if (!absl::IsResourceExhausted(status)) return false;
  job->paused = true;
  return true;
}

void BulkCore::Put(const std::string& id, std::string record,
                   std::function<bool(const Now&, const absl::Status&, BulkEffects*)> heard, BulkEffects* effects) {
  PutBulkJobCommand command;
  command.id = id;
  const size_t bytes = kSmallCommandBytes + record.size();
  command.record = std::move(record);
  effects->posts.push_back(
      {std::move(command), bytes, [heard = std::move(heard)](const Now& now, const Reply& reply, BulkEffects* more) {
         return heard(now, reply.status, more);
       }});
}

void BulkCore::Keep(const Now& now, const Job& job, BulkEffects* effects) {
  job->step = BulkJob::Step::kKeeping;
  job->kept = now.elapsed;
  Put(
      job->view.job_id(), job->ToRecord().SerializeAsString(),
      [this, job](const Now&, const absl::Status& status, BulkEffects*) {
        OnKept(job, status);
        return true;
      },
      effects);
}

void BulkCore::OnPage(const Job& job, absl::StatusOr<TaskPage> page) {
  job->step = BulkJob::Step::kLook;
  if (!page.ok()) {
    if (!Waits(job, page.status())) job->failure = page.status();
    return;
  }
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

void BulkCore::OnKept(const Job& job, const absl::Status& status) {
  if (status.ok()) {
    job->step = stopping_ ? BulkJob::Step::kParked : BulkJob::Step::kChange;
    return;
  }
  job->step = BulkJob::Step::kKeep;
  if (Waits(job, status)) return;
  job->failure = status;
  job->pending.clear();
  job->step = BulkJob::Step::kLook;
}

void BulkCore::Count(const v1::BulkJobSpec& spec, uint64_t changed, uint64_t skipped) {
  Figures::Tasks& tasks = figures_.tasks[spec.action()];
  tasks.changed += changed;
  tasks.skipped += skipped;
}

BulkCore::Figures BulkCore::figures() const {
  Figures figures = figures_;
  figures.running = options_.runs ? running() : 0;
  return figures;
}

void BulkCore::OnEnded(const Job& job, const absl::Status& status, BulkEffects* effects) {
  if (!status.ok()) {
    job->ending = v1::BULK_JOB_STATE_UNSPECIFIED;
    job->step = BulkJob::Step::kLook;  // from where it ends again
    if (!Waits(job, status)) job->held = true;
    return;
  }
  job->step = BulkJob::Step::kEnded;
  job->view.set_state(job->ending);
  (job->ending == v1::BULK_JOB_STATE_DONE      ? figures_.done
   : job->ending == v1::BULK_JOB_STATE_STOPPED ? figures_.stopped
                                               : figures_.failed) += 1;
  SetTimestamp(job->end_time, job->view.mutable_end_time());
  job->view.set_error(std::string(job->failure.message()));
  Answer(std::exchange(job->stopping, {}), job->view, effects, BulkAnswer::News::kEnded);
}

Command BulkCore::CommandFor(const v1::BulkJobSpec& spec, TaskId task) {
  switch (spec.action()) {
    case v1::BULK_ACTION_CANCEL:
      return CancelTaskCommand{{}, task, spec.reason()};
    case v1::BULK_ACTION_RETRY:
      return RetryTaskCommand{{}, task};
    default:
      return DeleteTaskCommand{{}, task};
  }
}

bool BulkCore::OnChanged(const Job& job, TaskId task, const absl::Status& status) {
  --job->in_flight;
  if (status.ok()) {
    job->view.set_changed(job->view.changed() + 1);
    Count(job->view.spec(), 1, 0);
  } else if (IsMailboxFull(status)) {
    job->pending.push_front(task);
    job->blocked = true;
  } else if (Waits(job, status)) {
    job->pending.push_front(task);
  } else if (absl::IsNotFound(status) || absl::IsFailedPrecondition(status) || absl::IsDataLoss(status)) {
    job->view.set_skipped(job->view.skipped() + 1);
    Count(job->view.spec(), 0, 1);
  } else if (job->failure.ok()) {
    job->failure = status;
  }
  // Not for each of many: a step posts many at a time.
  return job->in_flight <= kWindow / 2 || !status.ok();
}

void BulkCore::OnRoom() {
  room_asked_ = false;
  for (const auto& [id, job] : jobs_) job->blocked = false;
}

// --- back after a restart ---

void BulkCore::Inquire(const Job& job, BulkEffects* effects) {
  // What was answered already need not be asked again: otherwise a mailbox that has no room for all at a time would let
  // the job begin anew for ever.
  if (job->inquiry == nullptr) {
    job->inquiry = std::make_shared<BulkInquiry>();
    job->inquiry->spec = job->view.spec();
    job->inquiry->filter = job->filter;
    job->inquiry->snapshots.resize(job->pending.size());
  }
  const std::shared_ptr<BulkInquiry> inquiry = job->inquiry;
  inquiry->failure = absl::OkStatus();
  for (size_t i = 0; i < inquiry->snapshots.size(); ++i) {
    if (inquiry->snapshots[i]) continue;
    ++inquiry->left;
    effects->posts.push_back({GetTaskCommand{{}, job->pending[i]}, kSmallCommandBytes,
                              [this, job, inquiry, i](const Now&, Reply reply, BulkEffects* more) {
                                OnSnapshot(job, inquiry, i, std::move(reply), more);
                                return !inquiry->failure.ok();
                              }});
  }
  if (inquiry->left == 0) Check(job, effects);
}

void BulkCore::OnSnapshot(const Job& job, const std::shared_ptr<BulkInquiry>& inquiry, size_t index, Reply reply,
                          BulkEffects* effects) {
  auto* answer = std::get_if<TaskReply>(&reply.value);
  if (answer != nullptr) {
    inquiry->snapshots[index] = std::move(answer->snapshot);
  } else if (inquiry->failure.ok()) {
    inquiry->failure = reply.status;
  }
  if (--inquiry->left > 0) return;
  if (!inquiry->failure.ok()) return GiveUpCheck(job, inquiry->failure);
  Check(job, effects);
}

void BulkCore::Check(const Job& job, BulkEffects* effects) {
  effects->checks.push_back({job->inquiry, [this, job](const absl::StatusOr<std::vector<BulkFate>>& fates) {
                               OnFates(job, fates);
                               return true;
                             }});
}

void BulkCore::GiveUpCheck(const Job& job, const absl::Status& status) {
  job->step = BulkJob::Step::kCheck;
  if (Waits(job, status)) return;
  job->failure = status;
  job->inquiry.reset();
  job->pending.clear();
  job->step = BulkJob::Step::kLook;
}

void BulkCore::OnFates(const Job& job, const absl::StatusOr<std::vector<BulkFate>>& fates) {
  if (!fates.ok()) return GiveUpCheck(job, fates.status());
  job->inquiry.reset();
  const std::deque<TaskId> tasks = std::exchange(job->pending, {});
  for (size_t i = 0; i < fates->size(); ++i) {
    if ((*fates)[i] == BulkFate::kToChange) job->pending.push_back(tasks[i]);
    if ((*fates)[i] == BulkFate::kChanged) job->view.set_changed(job->view.changed() + 1);
    if ((*fates)[i] == BulkFate::kSkipped) job->view.set_skipped(job->view.skipped() + 1);
  }
  // What was counted just now must not be counted again.
  job->step = BulkJob::Step::kKeep;
}

}  // namespace penstock::broker
