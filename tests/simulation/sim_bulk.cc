#include "tests/simulation/sim_bulk.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "broker/rpc/open_calls.h"
#include "common/status_details.h"
#include "fmt/format.h"
#include "tests/simulation/sim_broker.h"
#include "tests/simulation/sim_clients.h"
#include "tests/simulation/sim_world.h"

namespace penstock::broker {
namespace {

using histcheck::Op;
using histcheck::Phase;

constexpr int kJobsMost = 12;  // that one world begins
constexpr Span kTimeout = 5 * kSecond;

BulkCore::Options OptionsFor(const SimConfig& config) {
  BulkCore::Options options;
  if (config.has(Feature::kSmallLimits)) options.running_max = 2;
  return options;
}

// The store as it is. A read is over before anything else happens, so it needs no copy.
class StoreNow final : public StoreReader {
 public:
  explicit StoreNow(const SimStore& store) : store_(store) {}
  absl::StatusOr<std::string> Get(Family family, std::string_view key) const override {
    return store_.Get(family, key);
  }
  absl::Status Scan(Family family, std::string_view begin, std::string_view end,
                    absl::FunctionRef<bool(std::string_view, std::string_view)> visit) const override {
    return store_.Scan(family, begin, end, visit);
  }
  absl::Status ScanBackward(Family family, std::string_view begin, std::string_view end,
                            absl::FunctionRef<bool(std::string_view, std::string_view)> visit) const override {
    return store_.ScanBackward(family, begin, end, visit);
  }

 private:
  const SimStore& store_;
};

}  // namespace

// --- the broker's side ---

SimBulk::SimBulk(SimWorld& world, SimBroker& broker, uint64_t seed)
    : world_(world), loop_(world.loop()), broker_(broker), random_(seed), core_(OptionsFor(world.config())) {}

void SimBulk::Later(Span delay, std::function<void()> then) {
  loop_.After(delay, [weak = weak_from_this(), then = std::move(then)] {
    const std::shared_ptr<SimBulk> self = weak.lock();
    if (self == nullptr || self->dead_) return;
    if (self->broker_.still_until() > self->loop_.now()) {
      return self->Later(self->broker_.still_until() - self->loop_.now() + 1, then);
    }
    then();
  });
}

void SimBulk::ScheduleStep(Span when) {
  step_at_ = when;
  Later(when - loop_.now(), [this, step = ++step_] {
    if (step == step_) Step();
  });
}

void SimBulk::Wake() {
  const Span soon = loop_.now() + static_cast<Span>(random_.Below(100));
  if (!dead_ && step_at_ > soon) ScheduleStep(soon);
}

void SimBulk::Step() {
  BulkEffects effects;
  const absl::Duration wait = core_.Step(world_.clock().Read(), &effects);
  if (!effects.empty()) {
    ScheduleStep(loop_.now() + 1 + static_cast<Span>(random_.Below(50)));
    return Do(std::move(effects));
  }
  step_at_ = kNever;
  if (core_.stopping() && core_.idle()) {
    if (idle_ != nullptr) std::exchange(idle_, nullptr)();
    return;
  }
  ScheduleStep(loop_.now() + ToMicros(wait) + 1);
}

template <class Tell>
void SimBulk::Told(Tell tell) {
  BulkEffects effects;
  if (tell(world_.clock().Read(), &effects)) Wake();
  Do(std::move(effects));
}

void SimBulk::Do(BulkEffects effects) {
  for (BulkPost& post : effects.posts) {
    Ask(std::move(post.command), post.bytes, [this, heard = std::move(post.heard)](Reply reply) {
      Told([&](const Now& now, BulkEffects* more) { return heard(now, std::move(reply), more); });
    });
  }
  for (BulkLook& look : effects.looks) {
    TaskWalk::Start(shared_from_this(), std::move(look.filter), look.from, look.page_size,
                    [this, heard = std::move(look.heard)](absl::StatusOr<TaskPage> page) {
                      Told([&](const Now&, BulkEffects*) { return heard(std::move(page)); });
                    });
  }
  for (BulkCheck& check : effects.checks) {
    world_.Cover(Point::kBulkChecked);
    const auto tell = [this, heard = std::move(check.heard)](const absl::StatusOr<std::vector<BulkFate>>& fates) {
      if (fates.ok() && std::find(fates->begin(), fates->end(), BulkFate::kChanged) != fates->end()) {
        world_.Cover(Point::kBulkUncounted);
      }
      Told([&](const Now&, BulkEffects*) { return heard(fates); });
    };
    const absl::Status refused = Read([inquiry = check.inquiry, tell](std::unique_ptr<TaskReader> reader) {
      tell(ReadFates(*inquiry, reader.get()));
    });
    if (!refused.ok()) tell(refused);
  }
  if (effects.await_room != nullptr) {
    world_.Cover(Point::kBulkBlocked);
    Later(20 * kMilli, [this, heard = std::move(effects.await_room)] {
      if (heard()) Wake();
    });
  }
  for (const BulkAnswer& answer : effects.answers) {
    for (const BulkCore::Done& done : answer.waiting) done(answer.answer);
  }
}

void SimBulk::Ask(Command command, size_t bytes, std::function<void(Reply)> done) {
  if (dead_) return;
  const Ticket ticket = world_.NextTicket();
  std::visit(
      [&](auto& named) {
        if constexpr (requires { named.ticket; }) named.ticket = ticket;
      },
      command);
  absl::Status status = StoppingError();
  if (broker_.running()) {
    asked_[ticket] = std::move(done);
    status = broker_.Post(std::move(command), bytes);
    if (status.ok()) return;
    done = std::move(asked_[ticket]);
    asked_.erase(ticket);
  }
  done(Reply{ticket, status, {}});
}

absl::Status SimBulk::Read(std::function<void(std::unique_ptr<TaskReader>)> read) {
  if (!world_.quiet() && random_.OneIn(80)) return absl::ResourceExhaustedError("too many reads wait");
  Later(random_.OneIn(10) ? random_.Between(1, 50) * kMilli : random_.Between(20, 500), [this, read = std::move(read)] {
    if (!broker_.running()) return read(nullptr);
    read(std::make_unique<TaskReader>(std::make_unique<StoreNow>(broker_.store()), world_.config().core.partition,
                                      world_.clock().wall()));
  });
  return absl::OkStatus();
}

bool SimBulk::Hear(Reply* reply) {
  auto found = asked_.find(reply->ticket);
  if (found == asked_.end()) return false;
  const auto done = std::move(found->second);
  asked_.erase(found);
  done(std::move(*reply));
  return true;
}

void SimBulk::Start(BulkOrder order, BulkCore::Done done) {
  Told([&](const Now& now, BulkEffects* effects) {
    core_.Start(now, std::move(order), std::move(done), effects);
    return false;
  });
}

void SimBulk::End(const std::string& id, BulkCore::Done done) {
  Told([&](const Now&, BulkEffects* effects) {
    core_.End(id, std::move(done), effects);
    return true;
  });
}

void SimBulk::EnterEngine() {
  BulkCore::Jobs jobs = BulkCore::ReadJobs(broker_.store(), world_.config().core.partition, ApiLimits());
  for (const auto& [id, job] : jobs) {
    if (!job->over()) world_.Cover(Point::kBulkResumed);
  }
  core_.Enter(world_.clock().Read(), std::move(jobs));
  Wake();
}

void SimBulk::LeaveEngine() {
  for (auto& [ticket, done] : std::exchange(asked_, {})) done(Reply{ticket, StoppingError(), {}});
  Told([&](const Now&, BulkEffects* effects) {
    core_.Leave(effects);
    return false;
  });
}

void SimBulk::Die() {
  dead_ = true;
  asked_.clear();
}

void SimBulk::BeginStop(std::function<void()> idle) {
  core_.BeginStop();
  idle_ = std::move(idle);
  Wake();
}

// --- who asks ---

SimBulkClient::SimBulkClient(SimWorld& world)
    : world_(world), loop_(world.loop()), random_(world.config().seed * 64 + 8) {}

void SimBulkClient::Later() {
  loop_.After(random_.About(world_.config().span / 20 + 1), [this] {
    if (world_.quiet()) return;
    Act();
    Later();
  });
}

void SimBulkClient::Act() {
  if (!jobs_.empty() && (random_.OneIn(5) || begun_ >= kJobsMost)) return Stop(random_.Pick(jobs_));
  if (begun_ < kJobsMost) Begin();
}

void SimBulkClient::Begin() {
  static constexpr v1::BulkAction kActions[] = {v1::BULK_ACTION_CANCEL, v1::BULK_ACTION_RETRY, v1::BULK_ACTION_DELETE};
  static constexpr const char* kFifoKeys[] = {"f1", "f2", "f3"};
  ++begun_;
  auto attempt = std::make_shared<Attempt>();
  attempt->call = world_.NextNumber();
  attempt->since = loop_.now();
  attempt->request.set_request_id(fmt::format("bulk-{}", next_request_++));
  v1::BulkJobSpec& spec = *attempt->request.mutable_spec();
  v1::TaskFilter& filter = *spec.mutable_filter();
  spec.set_action(kActions[random_.Below(3)]);
  filter.set_queue(random_.Pick(world_.queues()));
  histcheck::Event& line = world_.Log(Op::kAsk, "bulk");
  line.call = static_cast<int64_t>(attempt->call);
  line.kind = "bulk_" + WordOf(spec.action());
  line.q = filter.queue();
  for (v1::TaskState state : StatesOf(spec.action())) {
    if (random_.OneIn(4)) filter.add_states(state);
  }
  for (int state : filter.states()) {
    static constexpr const char* kStates[] = {"",          "scheduled", "blocked",   "available", "running",
                                              "retryable", "completed", "cancelled", "dead"};
    line.states += (line.states.empty() ? "" : ",") + std::string(kStates[state]);
  }
  if (random_.OneIn(3)) filter.set_type(line.type = random_.Pick(world_.types()));
  if (world_.has(Feature::kFifoKeys) && random_.OneIn(4)) filter.set_key(line.key = kFifoKeys[random_.Below(3)]);
  if (world_.has(Feature::kGroups) && random_.OneIn(4)) filter.set_group(line.group = random_.OneIn(2) ? "g1" : "g2");
  if (random_.OneIn(4)) {
    const uint64_t number = random_.Below(3);
    line.where = fmt::format("n={}", number);
    filter.set_where(fmt::format("payload.n == {}", number));
  }
  if (random_.OneIn(8)) filter.set_error(line.error = random_.OneIn(2) ? "failed" : "nothing like that");
  if (random_.OneIn(4)) spec.set_limit(static_cast<uint64_t>(line.n = random_.Between(1, 20)));
  // Slow ones are there when something fails, and still at their end in the liveness phase.
  if (!random_.OneIn(3)) spec.set_rate(static_cast<double>(line.rate = random_.Between(1, random_.OneIn(2) ? 3 : 20)));
  if (random_.OneIn(8)) spec.set_dry_run(line.dry = true);
  if (spec.action() == v1::BULK_ACTION_CANCEL && random_.OneIn(2)) spec.set_reason("all of them");
  ++open_;
  Try(std::move(attempt));
}

void SimBulkClient::Try(std::shared_ptr<Attempt> attempt) {
  ++attempt->tries;
  world_.CallBulk(
      [request = attempt->request, this](SimBulk& bulk, BulkCore::Done done) {
        absl::StatusOr<BulkOrder> order = ToOrder(request, ApiLimits(), world_.clock().wall());
        if (!order.ok()) return done(order.status());
        bulk.Start(*std::move(order), std::move(done));
      },
      random_.OneIn(3) ? random_.Between(10, 500) * kMilli : kTimeout,
      [this, attempt](const absl::StatusOr<v1::BulkJob>& answer) { Hear(attempt, answer); });
}

void SimBulkClient::Hear(const std::shared_ptr<Attempt>& attempt, const absl::StatusOr<v1::BulkJob>& answer) {
  const bool unknown = PhaseOf(answer.status()) == Phase::kUnknown;
  attempt->unsure = attempt->unsure || unknown;
  if ((unknown || IsMailboxFull(answer.status())) && attempt->tries < 8 &&
      loop_.now() - attempt->since < 40 * kSecond) {
    loop_.After(random_.About(100 * kMilli), [this, attempt] { Try(attempt); });
    return;
  }
  histcheck::Event& told = world_.Log(Op::kTold, "bulk");
  told.call = static_cast<int64_t>(attempt->call);
  told.phase = answer.ok() ? Phase::kOk : attempt->unsure ? Phase::kUnknown : Phase::kFail;
  if (!answer.ok()) {
    if (LimitOf(answer.status()) == "limits.bulk_jobs") world_.Cover(Point::kBulkLimit);
    if (absl::IsNotFound(answer.status())) world_.Cover(Point::kBulkNoQueue);
    --open_;
    return;
  }
  told.name = answer->job_id();
  world_.Cover(attempt->tries > 1 ? Point::kBulkRepeated : Point::kBulkStarted);
  jobs_.push_back(answer->job_id());
  Saw(*answer);
  Follow(answer->job_id(), 300 * kMilli);
  if (random_.OneIn(4)) {
    loop_.After(random_.About(300 * kMilli), [this, id = answer->job_id()] {
      if (!world_.quiet()) Stop(id);
    });
  } else if (world_.has(Feature::kDeletes) && answer->spec().rate() > 0 && random_.OneIn(3)) {
    // Such a one looks for its next page now and then, and finds no queue.
    loop_.After(random_.About(100 * kMilli), [this, queue = answer->spec().filter().queue()] {
      if (!world_.quiet()) world_.queue_operator().DeleteQueue(queue);
    });
  }
}

void SimBulkClient::Stop(const std::string& id) {
  const uint64_t call = world_.NextNumber();
  histcheck::Event& line = world_.Log(Op::kAsk, "bulk");
  line.call = static_cast<int64_t>(call);
  line.kind = "bulk_stop";
  line.name = id;
  ++open_;
  world_.CallBulk([id](SimBulk& bulk, BulkCore::Done done) { bulk.End(id, std::move(done)); }, kTimeout,
                  [this, call](const absl::StatusOr<v1::BulkJob>& answer) {
                    --open_;
                    histcheck::Event& told = world_.Log(Op::kTold, "bulk");
                    told.call = static_cast<int64_t>(call);
                    told.phase = PhaseOf(answer.status());
                    if (answer.ok()) Saw(*answer);
                    if (absl::IsFailedPrecondition(answer.status())) world_.Cover(Point::kBulkStopRefused);
                  });
}

void SimBulkClient::Follow(const std::string& id, Span pause) {
  loop_.After(random_.About(pause), [this, id, pause] {
    world_.CallBulk([id](SimBulk& bulk, BulkCore::Done done) { done(bulk.core().Get(id)); }, kTimeout,
                    [this, id, pause](const absl::StatusOr<v1::BulkJob>& answer) {
                      if (answer.ok()) Saw(*answer);
                      if (absl::IsNotFound(answer.status())) {
                        histcheck::Event& line = world_.Log(Op::kBulk, "bulk");
                        line.name = id;
                        line.state = "gone";
                      }
                      const bool over = answer.ok() ? answer->state() != v1::BULK_JOB_STATE_RUNNING
                                                    : absl::IsNotFound(answer.status());
                      if (!over) return Follow(id, std::min(2 * pause, 5 * kSecond));
                      --open_;
                      if (!answer.ok()) return;
                      const v1::BulkJobSpec& spec = answer->spec();
                      const bool done = answer->state() == v1::BULK_JOB_STATE_DONE;
                      if (answer->state() == v1::BULK_JOB_STATE_STOPPED) world_.Cover(Point::kBulkStopped);
                      if (answer->state() == v1::BULK_JOB_STATE_FAILED) world_.Cover(Point::kBulkFailed);
                      if (done && spec.dry_run()) world_.Cover(Point::kBulkDry);
                      if (done && spec.limit() != 0 && answer->matched() == spec.limit()) {
                        world_.Cover(Point::kBulkLimited);
                      }
                      if (done && answer->changed() > 0) {
                        world_.Cover(spec.action() == v1::BULK_ACTION_CANCEL  ? Point::kBulkCancelled
                                     : spec.action() == v1::BULK_ACTION_RETRY ? Point::kBulkRetried
                                                                              : Point::kBulkDeleted);
                      }
                      if (answer->skipped() > 0) world_.Cover(Point::kBulkSkipped);
                    });
  });
}

void SimBulkClient::Saw(const v1::BulkJob& job) { world_.LogBulk(job, "bulk"); }

}  // namespace penstock::broker
