#include <algorithm>
#include <string>
#include <vector>

#include "tests/checker/rules.h"

namespace penstock::histcheck {
namespace {

bool Ended(const Event& view) { return view.state != "running"; }

// One bulk job. Of a job only what was told is known: that it began some time after it was asked for, and had ended
// when somebody heard so.
class Judge {
 public:
  Judge(Index* index, const BulkJob& job) : in_(*index), job_(job) {}

  void Run() {
    for (const Event* view : job_.told) CheckView(*view);
    CheckStops();
    if (job_.ended == nullptr) {
      if (in_.drained != nullptr) Report("a bulk job has not ended", job_.told.empty() ? nullptr : job_.told.back());
      return;
    }
    if (job_.ask == nullptr) return;
    CheckReason();
    if (in_.drained == nullptr || in_.Forgetful(in_.queues[asked().q])) return;
    for (const auto& [id, task] : in_.tasks) {
      if (std::find(task.asks.begin(), task.asks.end(), job_.ask) != task.asks.end()) tasks_.push_back(&task);
    }
    if (!asked().dry && job_.ended->state == "done") CheckLeft();
    if (in_.last_jump < 0) CheckCounts();
  }

 private:
  const Event& asked() const { return *job_.ask->asked; }
  bool does(const char* kind) const { return asked().kind == kind; }
  void Report(std::string what, const Event* view, const Event* other = nullptr) {
    in_.Report("bulk", std::move(what), {job_.ask == nullptr ? nullptr : job_.ask->asked, other, view});
  }

  void CheckView(const Event& view) {
    if (view.state == "gone") return Report("a bulk job is forgotten", &view);
    if (view.changed + view.skipped > view.matched || view.matched > view.seen) {
      Report("counts of a bulk job do not add up", &view);
    }
    if (view.state == "done" && job_.ask != nullptr && !asked().dry && view.changed + view.skipped != view.matched) {
      Report("a bulk job is done, and left tasks that fitted", &view);
    }
    if (job_.ask != nullptr && asked().dry && view.changed + view.skipped > 0) Report("a dry run changed tasks", &view);
    if (job_.ask != nullptr && asked().n > 0 && view.matched > asked().n) Report("more than its limit fitted", &view);
    if (job_.ended == nullptr || &view == job_.ended) return;
    const Event& end = *job_.ended;
    const bool same = view.state == end.state && view.seen == end.seen && view.matched == end.matched &&
                      view.changed == end.changed && view.skipped == end.skipped;
    if ((Ended(view) && !same) || (!Ended(view) && LongAfter(view, end))) {
      Report("a bulk job went on after its end", &view, &end);
    }
  }

  // Too late to have been on its way since.
  bool LongAfter(const Event& view, const Event& moment) const {
    return in_.At(&view) > in_.At(&moment) + in_.config.max_delay;
  }

  void CheckStops() {
    for (const Ask* stop : job_.stops) {
      if (!stop->ok()) continue;
      for (const Event* view : job_.told) {
        if (!Ended(*view) && LongAfter(*view, *stop->told)) Report("a bulk job ran after its stop", view, stop->told);
      }
    }
  }

  void CheckReason() {
    const int64_t end = job_.ended->t;
    const bool stopped = std::any_of(job_.stops.begin(), job_.stops.end(),
                                     [&](const Ask* stop) { return !stop->refused() && stop->asked->t < end; });
    if (job_.ended->state == "stopped" && !stopped) Report("nobody stopped a bulk job that was stopped", job_.ended);
    const bool deleted = in_.Asked(in_.queues[asked().q].asks, {"delete"}, asked().t, end);
    if (job_.ended->state == "failed" && !deleted) Report("nothing made a bulk job fail", job_.ended);
  }

  bool HasState(const char* state) const {
    return asked().states.empty() ||
           ("," + asked().states + ",").find("," + std::string(state) + ",") != std::string::npos;
  }

  // It surely was there and fitted, but for its state, from before the job on.
  bool SurelyFits(const Task& task) const {
    return task.enqueue != nullptr && task.enqueue->fresh() && task.enqueue->answer->t < asked().t && !task.changed() &&
           !task.shaky && asked().error.empty() && (asked().n == 0 || job_.ended->matched < asked().n);
  }
  // It surely waited, in a state that was asked for, until the job had ended. While the clock is behind the time of an
  // enqueue, its task is shown as scheduled.
  bool SurelyWaited(const Task& task) const {
    const Event& enqueued = *task.enqueue->asked;
    const bool delayed = enqueued.run_at > 0 || enqueued.delay > 0;
    const bool scheduled = enqueued.run_at > job_.ended->t && in_.last_jump < 0;
    const bool state = (HasState("available") && (HasState("scheduled") || (!delayed && in_.last_jump < 0))) ||
                       (HasState("scheduled") && scheduled);
    return state && in_.SurelyUntouched(task, job_.ended) && !in_.Redriven(task, 0);
  }
  // It ended before the job began, and nothing has become of it since.
  bool LeftAsItWas(const Task& task, const char* state) const {
    return HasState(state) && task.end != nullptr && task.end->state == state && task.end->until > 0 &&
           task.end->until < asked().t && in_.last_jump < 0;
  }

  void CheckLeft() {
    std::vector<const Task*> left;  // perhaps skipped
    for (const Task* task : tasks_) {
      if (!SurelyFits(*task)) continue;
      if (!does("bulk_retry") && SurelyWaited(*task)) {
        in_.Report("bulk", "a bulk job is done, and a task that fitted is given out",
                   {task->enqueue->asked, job_.ask->asked, job_.ended, task->leases.front().deliver});
      }
      // Of cancelled tasks neither payload, key nor group are kept.
      const bool by_spec = !asked().where.empty() || !asked().key.empty() || !asked().group.empty();
      if (!does("bulk_cancel") && LeftAsItWas(*task, "dead")) left.push_back(task);
      if (does("bulk_delete") && !by_spec && LeftAsItWas(*task, "cancelled")) left.push_back(task);
    }
    if (static_cast<int64_t>(left.size()) <= job_.ended->skipped) return;
    in_.Report("bulk", "a bulk job is done, and a task that fitted is as it was",
               {left.front()->enqueue->asked, job_.ask->asked, job_.ended, left.front()->end});
  }

  // What only this job can have done to a task that is known.
  bool SurelyChanged(const Task& task) const {
    if (task.enqueue == nullptr || !task.enqueue->fresh() || task.shaky || task.moved() || task.end == nullptr)
      return false;
    const bool cancels = does("bulk_cancel");
    for (const Ask* other : task.asks) {
      const std::string& kind = other->asked->kind;
      const bool alike =
          cancels ? kind == "cancel" || kind == "bulk_cancel" : kind == "delete_task" || kind == "bulk_delete";
      if (other != job_.ask && !other->refused() && alike) return false;
    }
    if (cancels) {
      return task.end->state == "cancelled" &&
             std::none_of(task.leases.begin(), task.leases.end(), [](const Lease& lease) {
               return lease.outcome == nullptr || lease.outcome->kind == "cancelled";
             });
    }
    return does("bulk_delete") && task.end->state == "gone" && !in_.config.forgets &&
           !in_.AskedOfQueues(task, {"purge", "delete", "purge_dead"}, 0);
  }
  bool MayBeChanged(const Task& task) const {
    if (task.end == nullptr || task.end->state == "gone" || does("bulk_retry")) return true;
    return does("bulk_cancel") && (task.end->state == "cancelled" || !task.leases.empty() || in_.first_cut != kNever);
  }

  void CheckCounts() {
    int64_t least = 0, most = 0;
    for (const Task* task : tasks_) {
      least += SurelyChanged(*task);
      most += MayBeChanged(*task);
    }
    // Those of which nobody was told.
    for (const Enqueue* enqueue : in_.queues[asked().q].enqueues)
      most += enqueue->task == 0 && MayFit(asked(), *enqueue->asked);
    const int64_t changed = job_.ended->changed;
    if (changed >= least && changed <= most) return;
    Report("a bulk job changed " + std::to_string(changed) + " tasks, counted anew " + std::to_string(least) + " to " +
               std::to_string(most),
           job_.ended);
  }

  Index& in_;
  const BulkJob& job_;
  std::vector<const Task*> tasks_;  // that it may have changed
};

// A task that no worker had was cancelled while somebody wanted that.
void CheckCancelled(Index* index) {
  Index& in = *index;
  if (in.last_jump >= 0 || in.first_cut != kNever) return;
  for (const auto& [id, task] : in.tasks) {
    if (task.end == nullptr || task.end->state != "cancelled" || task.end->until <= 0 || !task.leases.empty() ||
        task.shaky) {
      continue;
    }
    const bool bulk = std::any_of(task.asks.begin(), task.asks.end(), [](const Ask* ask) { return ask->bulk(); });
    if (!bulk || in.Asked(task.asks, {"cancel", "bulk_cancel"}, task.end->until, task.end->until)) continue;
    in.Report("bulk", "a task was cancelled when no bulk job was to cancel it", {task.end});
  }
}

}  // namespace

bool MayFit(const Event& bulk, const Event& task) {
  return bulk.q == task.q && (bulk.type.empty() || bulk.type == task.type) &&
         (bulk.key.empty() || bulk.key == task.key) && (bulk.group.empty() || bulk.group == task.group) &&
         (bulk.where.empty() || bulk.where == "n=" + std::to_string(task.n));
}

void CheckBulk(Index* index) {
  size_t unclaimed = 0;
  const Event* one = nullptr;
  for (const auto& [name, job] : index->jobs) {
    Judge(index, job).Run();
    if (job.ask != nullptr) continue;
    ++unclaimed;
    if (!job.told.empty()) one = job.told.front();
  }
  if (unclaimed > index->unsure_jobs) index->Report("bulk", "nobody began this bulk job", {one});
  CheckCancelled(index);
}

}  // namespace penstock::histcheck
