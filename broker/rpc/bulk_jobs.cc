#include "broker/rpc/bulk_jobs.h"

#include <algorithm>
#include <utility>

#include "broker/rpc/task_walk.h"
#include "common/logging.h"
#include "common/status.h"

namespace penstock::broker {
namespace {

void Log(const BulkAnswer& answer) {
  const v1::BulkJob& job = *answer.answer;
  switch (answer.news) {
    case BulkAnswer::News::kNone:
      break;
    case BulkAnswer::News::kStarted:
      LogFor("bulk").info("job started id={} action={} queue={}", job.job_id(), WordOf(job.spec().action()),
                          job.spec().filter().queue());
      break;
    case BulkAnswer::News::kEnded:
      LogFor("bulk").info("job ended id={} state={} seen={} matched={} changed={} skipped={} error=\"{}\"",
                          job.job_id(), v1::BulkJobState_Name(job.state()), job.seen(), job.matched(), job.changed(),
                          job.skipped(), job.error());
      break;
  }
}

}  // namespace

BulkJobs::BulkJobs(RpcContext& context, const Options& options)
    : context_(context), source_(TaskSourceOf(context)), core_(options), thread_([this] { Run(); }) {}

// --- what callers ask ---

void BulkJobs::Start(BulkOrder order, Done done) {
  BulkEffects effects;
  {
    MutexLock lock(mu_);
    core_.Start(context_.clock.Read(), std::move(order), std::move(done), &effects);
  }
  Do(std::move(effects));
}

absl::StatusOr<v1::BulkJob> BulkJobs::Get(const std::string& id) const {
  MutexLock lock(mu_);
  return core_.Get(id);
}

absl::StatusOr<std::vector<v1::BulkJob>> BulkJobs::List() const {
  MutexLock lock(mu_);
  return core_.List();
}

void BulkJobs::End(const std::string& id, Done done) {
  BulkEffects effects;
  {
    MutexLock lock(mu_);
    core_.End(id, std::move(done), &effects);
  }
  changed_.SignalAll();
  Do(std::move(effects));
}

BulkJobs::Figures BulkJobs::figures() const {
  MutexLock lock(mu_);
  return core_.figures();
}

// --- the engine comes and goes ---

void BulkJobs::EnterEngine() {
  BulkCore::Jobs jobs;
  if (const std::unique_ptr<StoreReader> store = context_.door.Snapshot(); store != nullptr) {
    jobs = BulkCore::ReadJobs(*store, context_.partition, context_.limits);
  }
  const auto running = std::count_if(jobs.begin(), jobs.end(), [](const auto& entry) { return !entry.second->over(); });
  bool runs = false;
  {
    MutexLock lock(mu_);
    core_.Enter(context_.clock.Read(), std::move(jobs));
    runs = core_.runs();
  }
  if (running > 0 && runs) LogFor("bulk").info("jobs go on running={}", running);
  changed_.SignalAll();
}

void BulkJobs::LeaveEngine() {
  BulkEffects effects;
  {
    MutexLock lock(mu_);
    core_.Leave(&effects);
  }
  Do(std::move(effects));
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
    core_.BeginStop();
  }
  changed_.SignalAll();
  if (!thread_.joinable()) return;
  thread_.join();
  LeaveEngine();
}

// --- the thread ---

void BulkJobs::Run() {
  while (true) {
    BulkEffects effects;
    {
      MutexLock lock(mu_);
      while (true) {
        const absl::Duration wait = core_.Step(context_.clock.Read(), &effects);
        if (!effects.empty()) break;
        if (core_.stopping() && core_.idle()) return;
        changed_.WaitFor(mu_, wait);
      }
    }
    Do(std::move(effects));
  }
}

// --- without the lock ---

template <class Tell>
void BulkJobs::Hear(Tell tell) {
  BulkEffects effects;
  bool news = false;
  {
    MutexLock lock(mu_);
    news = tell(context_.clock.Read(), &effects);
  }
  if (news) changed_.SignalAll();
  Do(std::move(effects));
}

void BulkJobs::Do(BulkEffects effects) {
  for (BulkPost& post : effects.posts) {
    source_->Ask(std::move(post.command), post.bytes, [this, heard = std::move(post.heard)](Reply reply) {
      Hear([&](const Now& now, BulkEffects* more) { return heard(now, std::move(reply), more); });
    });
  }
  for (BulkLook& look : effects.looks) {
    TaskWalk::Start(source_, std::move(look.filter), look.from, look.page_size,
                    [this, heard = std::move(look.heard)](absl::StatusOr<TaskPage> page) {
                      Hear([&](const Now&, BulkEffects*) { return heard(std::move(page)); });
                    });
  }
  for (BulkCheck& check : effects.checks) {
    const auto tell = [this, heard = std::move(check.heard)](const absl::StatusOr<std::vector<BulkFate>>& fates) {
      Hear([&](const Now&, BulkEffects*) { return heard(fates); });
    };
    const absl::Status refused = source_->Read([inquiry = check.inquiry, tell](std::unique_ptr<TaskReader> reader) {
      const absl::StatusOr<std::vector<BulkFate>> fates = ReadFates(*inquiry, reader.get());
      reader.reset();
      tell(fates);
    });
    if (!refused.ok()) tell(refused);
  }
  if (effects.await_room != nullptr) {
    context_.door.WhenRoom(
        [this, heard = std::move(effects.await_room)] { Hear([&](const Now&, BulkEffects*) { return heard(); }); });
  }
  for (const BulkAnswer& answer : effects.answers) {
    if (answer.answer.ok()) Log(answer);
    for (const Done& done : answer.waiting) done(answer.answer);
  }
}

}  // namespace penstock::broker
