#include "broker/rpc/list_tasks_call.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "broker/core/lane_head.h"
#include "broker/rpc/convert.h"
#include "broker/rpc/fields.h"
#include "common/logging.h"
#include "common/status.h"
#include "common/status_grpc.h"

namespace penstock::broker {
namespace {

// What one call may look at: a page may be short and not the last.
constexpr int kStepsMax = 32;
constexpr size_t kVisitsMax = 5'000;
constexpr uint32_t kRunsMax = 256;
constexpr size_t kHistoryRecordsMax = 16;  // a step; each is at most a commit's

bool Waits(v1::TaskState state) {
  return state == v1::TASK_STATE_SCHEDULED || state == v1::TASK_STATE_AVAILABLE || state == v1::TASK_STATE_RETRYABLE;
}

// A key of the index of finished tasks, taken apart.
struct DoneKey {
  uint64_t end = 0;
  uint64_t task = 0;
};
DoneKey ParseDoneKey(std::string_view key) {
  Decoder decoder(key);
  decoder.Raw(1 + 1 + 4 + 1);
  DoneKey done;
  done.end = decoder.Big64();
  done.task = decoder.Big64();
  return done;
}

}  // namespace

void ListTasksCall::Start(RpcContext& context, const v1::ListTasksRequest& request, v1::ListTasksResponse* response,
                          grpc::ServerUnaryReactor* reactor) {
  auto call = std::make_shared<ListTasksCall>(context, request, response, reactor);
  const absl::Status status = call->Prepare();
  if (!status.ok()) return call->Finish(status);
  call->Step();
}

absl::Status ListTasksCall::Prepare() {
  const ApiLimits& limits = context_.limits;
  const FieldPath at("filter");
  RETURN_IF_ERROR(CheckName(FieldPath(at, "queue"), filter_.queue(), limits.name));
  if (!filter_.type().empty()) RETURN_IF_ERROR(CheckName(FieldPath(at, "type"), filter_.type(), limits.name));
  for (int i = 0; i < filter_.states_size(); ++i) {
    if (!v1::TaskState_IsValid(filter_.states(i)) || filter_.states(i) == v1::TASK_STATE_UNSPECIFIED) {
      return BadField(FieldPath(at, "states", i), "is no state of a task");
    }
  }
  RETURN_IF_ERROR(CheckSize(FieldPath(at, "tag"), filter_.tag(), 0, limits.tag));
  ASSIGN_OR_RETURN(page_size_, ToPageSize(request_.page_size(), limits));
  ASSIGN_OR_RETURN(token_, PageToken::Parse(request_.page_token()));
  if (token_.phase >= kEnd) return BadField(FieldPath("page_token"), "is not the next_page_token of a page before");
  if (token_.phase == kStart) NextPhase();
  return absl::OkStatus();
}

bool ListTasksCall::WantsPhase(Phase phase) const {
  switch (phase) {
    case kWaiting:
      return Wants(v1::TASK_STATE_SCHEDULED) || Wants(v1::TASK_STATE_AVAILABLE) || Wants(v1::TASK_STATE_RETRYABLE);
    case kRunning:
      return Wants(v1::TASK_STATE_RUNNING);
    case kDead:
      return Wants(v1::TASK_STATE_DEAD);
    case kCancelled:  // These have lost their tags.
      return Wants(v1::TASK_STATE_CANCELLED) && filter_.tag().empty();
    case kCompleted:
    case kHistory:
      return Wants(v1::TASK_STATE_COMPLETED) && filter_.tag().empty();
    case kStart:
    case kTimers:  // entered from kWaiting only
    case kEnd:
      break;
  }
  return phase == kEnd;
}

void ListTasksCall::NextPhase() {
  auto phase = static_cast<Phase>(token_.phase);
  do {
    phase = static_cast<Phase>(phase + 1);
  } while (!WantsPhase(phase));
  MoveTo(phase);
}

bool ListTasksCall::Full() const {
  return static_cast<uint32_t>(response_.tasks_size()) >= page_size_ || visited_ >= kVisitsMax;
}

void ListTasksCall::Step() {
  if (token_.phase == kEnd || Full() || ++steps_ > kStepsMax) return Finish(absl::OkStatus());
  switch (static_cast<Phase>(token_.phase)) {
    case kWaiting:
      return AskLanes(kRunsMax, &ListTasksCall::ReadLanes);
    case kTimers:
      return Read([this] { return VisitLanes({}); });
    case kRunning:
      return AskRunning();
    case kDead:
    case kCancelled:
    case kCompleted:
    case kHistory:
      return AskLanes(1, &ListTasksCall::ReadDone);  // tells the queue's number
    case kStart:
    case kEnd:
      break;
  }
}

void ListTasksCall::AskLanes(uint32_t runs_max, void (ListTasksCall::*read)(const LanesReply&)) {
  ListLanesCommand command;
  command.queue = filter_.queue();
  command.max_runs = runs_max;
  if (token_.phase == kWaiting) {
    command.from_lane = LaneId(static_cast<uint32_t>(token_.place[0]));
    command.from_block = BlockId(token_.place[1]);
  }
  Ask(context_.door, context_.tickets, std::move(command), kSmallCommandBytes,
      [self = shared_from_this(), read](Reply reply) {
        const auto* lanes = std::get_if<LanesReply>(&reply.value);
        if (lanes == nullptr) return self->Finish(reply.status);
        ((*self).*read)(*lanes);
      });
}

void ListTasksCall::AskRunning() {
  ListRunningCommand command;
  command.queue = filter_.queue();
  command.after = TaskId(token_.place[0]);
  command.limit = page_size_ - static_cast<uint32_t>(response_.tasks_size());
  Ask(context_.door, context_.tickets, std::move(command), kSmallCommandBytes,
      [self = shared_from_this()](Reply reply) {
        auto* running = std::get_if<RunningReply>(&reply.value);
        if (running == nullptr) return self->Finish(reply.status);
        auto shared = std::make_shared<RunningReply>(std::move(*running));
        self->Read([raw = self.get(), shared] { return raw->VisitRunning(*shared); });
      });
}

void ListTasksCall::ReadLanes(const LanesReply& lanes) {
  auto shared = std::make_shared<LanesReply>(lanes);
  Read([this, shared] { return VisitLanes(*shared); });
}

void ListTasksCall::ReadDone(const LanesReply& lanes) {
  const QueueId queue = lanes.queue;
  switch (static_cast<Phase>(token_.phase)) {
    case kDead:
      return Read([this, queue] { return VisitDone(queue, State::kDead); });
    case kCancelled:
      return Read([this, queue] { return VisitDone(queue, State::kCancelled); });
    case kCompleted:
      return Read([this, queue] { return VisitDone(queue, State::kCompleted); });
    default:
      return Read([this, queue] { return VisitHistoryRecords(queue); });
  }
}

void ListTasksCall::Read(std::function<absl::Status()> read) {
  const absl::Status status = context_.reads.Submit([self = shared_from_this(), read = std::move(read)] {
    std::unique_ptr<StoreReader> store = self->context_.door.Snapshot();
    if (store == nullptr) return self->Finish(StoppingError());
    self->reader_.emplace(std::move(store), self->context_.partition, self->context_.WallNow());
    const absl::Status read_status = read();
    self->reader_.reset();
    if (!read_status.ok()) return self->Finish(read_status);
    self->Step();
  });
  if (!status.ok()) Finish(status);
}

void ListTasksCall::Finish(const absl::Status& status) {
  if (status.ok() && token_.phase != kEnd) response_.set_next_page_token(token_.ToString());
  reactor_.Finish(ToGrpc(status));
}

absl::Status ListTasksCall::VisitLanes(const LanesReply& lanes) {
  if (token_.phase == kTimers) {
    const LaneId lane(static_cast<uint32_t>(token_.place[0]));
    ASSIGN_OR_RETURN(const bool done, VisitTimers(lane, static_cast<Time>(token_.place[1]), TaskId(token_.place[2])));
    if (done) MoveTo(kWaiting, uint64_t{lane.value()} + 1);
    return absl::OkStatus();
  }
  const bool wants_runs = Wants(v1::TASK_STATE_AVAILABLE);
  const auto [first_lane, from_block, from_slot] = token_.place;
  for (const LaneView& lane : lanes.lanes) {
    const bool resumed = lane.lane.value() == first_lane;
    const bool goes_on = lanes.more && lanes.next_lane == lane.lane;
    const bool type_wanted = filter_.type().empty() || filter_.type() == lane.type || lane.type.empty();
    if (wants_runs && type_wanted) {
      ASSIGN_OR_RETURN(const bool done, VisitRuns(lane, resumed ? from_block : 0, resumed ? from_slot : 0));
      if (!done) return absl::OkStatus();
      if (goes_on) {
        MoveTo(kWaiting, lanes.next_lane.value(), lanes.next_block.value());
        return absl::OkStatus();
      }
    }
    if (lane.has_timed && type_wanted) {
      ASSIGN_OR_RETURN(const bool done, VisitTimers(lane.lane, 0, TaskId()));
      if (!done) return absl::OkStatus();
    }
    // The rest of a lane that goes on is of no interest here.
    MoveTo(kWaiting, uint64_t{lane.lane.value()} + 1);
  }
  if (!lanes.more) {
    NextPhase();  // to kTimers at least, which WantsPhase passes over
  } else if (lanes.lanes.empty() || lanes.next_lane != lanes.lanes.back().lane) {
    MoveTo(kWaiting, lanes.next_lane.value(), lanes.next_block.value());
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> ListTasksCall::VisitRuns(const LaneView& lane, uint64_t from_block, uint64_t from_slot) {
  for (const LaneRun& run : lane.runs) {
    std::vector<uint16_t> slots = run.slots;
    if (slots.empty()) {
      auto block = reader_->Block(run.block);
      if (absl::IsNotFound(block.status())) continue;  // all its tasks are finished meanwhile
      RETURN_IF_ERROR(block.status());
      if (run.entry >= (*block)->entries().size()) return absl::DataLossError("a lane names no entry of its block");
      const auto fresh = (*block)->FreshSlots(run.entry);
      slots.assign(fresh.begin(), fresh.end());
    }
    for (uint16_t slot : slots) {
      if (run.block.value() == from_block && slot < from_slot) continue;
      if (Full()) {
        MoveTo(kWaiting, lane.lane.value(), run.block.value(), slot);
        return false;
      }
      RETURN_IF_ERROR(Visit(TaskId(context_.partition, run.block.value(), slot)));
    }
  }
  return true;
}

absl::StatusOr<bool> ListTasksCall::VisitTimers(LaneId lane, Time from_due, TaskId from_task) {
  struct Run {
    TimerKey key;
    uint32_t count = 0;
  };
  std::vector<Run> runs;
  absl::Status broken;
  const Keys& keys = reader_->keys();
  // A run is stored under its first task, which may be one before the place to go on from.
  const TaskId first(context_.partition, from_task.block(), 0);
  RETURN_IF_ERROR(reader_->store().Scan(Family::kIndex, keys.Timer(lane, from_due, first), keys.PastLane('T', lane),
                                        [&](std::string_view key, std::string_view value) {
                                          Run run{ParseTimerKey(key), 0};
                                          TimerKind kind{};
                                          auto body = OpenValue(key, value);
                                          broken = body.status();
                                          if (body.ok() && !DecodeTimer(*body, &run.count, &kind))
                                            broken = absl::DataLossError("a timer is broken");
                                          if (broken.ok()) runs.push_back(run);
                                          return broken.ok() && runs.size() < kVisitsMax;
                                        }));
  RETURN_IF_ERROR(broken);
  for (const Run& run : runs) {
    for (uint32_t i = 0; i < run.count; ++i) {
      const TaskId task(run.key.task.value() + i);
      if (run.key.due == from_due && task < from_task) continue;
      if (Full()) {
        MoveTo(kTimers, lane.value(), static_cast<uint64_t>(run.key.due), task.value());
        return false;
      }
      RETURN_IF_ERROR(Visit(task));
    }
  }
  if (runs.size() < kVisitsMax) return true;
  const Run& last = runs.back();
  MoveTo(kTimers, lane.value(), static_cast<uint64_t>(last.key.due), last.key.task.value() + last.count);
  return false;
}

absl::Status ListTasksCall::VisitRunning(const RunningReply& running) {
  for (const TaskSnapshot& snapshot : running.tasks) {
    if (Full()) return absl::OkStatus();
    RETURN_IF_ERROR(Visit(snapshot));
    token_.place[0] = snapshot.task.value();
  }
  if (!running.more) NextPhase();
  return absl::OkStatus();
}

absl::Status ListTasksCall::VisitDone(QueueId queue, State state) {
  const Keys& keys = reader_->keys();
  const std::string end = token_.place[1] == 0
                              ? keys.DonePrefix(queue, static_cast<State>(static_cast<uint8_t>(state) + 1))
                              : keys.Done(queue, state, static_cast<Time>(token_.place[0]), TaskId(token_.place[1]));
  std::vector<DoneKey> found;
  const size_t found_max = page_size_;
  RETURN_IF_ERROR(reader_->store().ScanBackward(Family::kIndex, keys.DonePrefix(queue, state), end,
                                                [&](std::string_view key, std::string_view) {
                                                  found.push_back(ParseDoneKey(key));
                                                  return found.size() < found_max;
                                                }));
  for (const DoneKey& done : found) {
    if (Full()) return absl::OkStatus();
    RETURN_IF_ERROR(Visit(TaskId(done.task)));
    token_.place = {done.end, done.task, 0};
  }
  if (found.size() < found_max) NextPhase();
  return absl::OkStatus();
}

absl::Status ListTasksCall::VisitHistoryRecords(QueueId queue) {
  const Keys& keys = reader_->keys();
  const uint64_t bucket = token_.place[0];
  const uint64_t sequence = token_.place[1];
  const uint64_t seen = token_.place[2];
  std::string begin(1, static_cast<char>(context_.partition));
  std::string end(1, static_cast<char>(context_.partition + 1));
  if (bucket != 0) {
    end = keys.History(static_cast<uint32_t>(bucket), sequence);
    end.push_back('\0');  // that record is visited again, for the entries not yet seen
  }
  std::vector<std::pair<std::string, std::string>> found;
  RETURN_IF_ERROR(
      reader_->store().ScanBackward(Family::kHistory, begin, end, [&](std::string_view key, std::string_view value) {
        found.emplace_back(key, value);
        return found.size() < kHistoryRecordsMax;
      }));
  for (const auto& [key, value] : found) {
    Decoder decoder(key);
    decoder.Raw(1);
    const uint32_t record_bucket = decoder.Big32();
    const uint64_t record_sequence = decoder.Big64();
    const bool resumed = record_bucket == bucket && record_sequence == sequence;
    ASSIGN_OR_RETURN(const std::string_view body, OpenValue(key, value));
    uint64_t entry = 0;
    absl::Status status;
    RETURN_IF_ERROR(VisitHistory(body, [&](const FinishedTask& finished) {
      if (resumed && entry < seen) {
        ++entry;
        return true;
      }
      if (Full()) return false;
      ++entry;
      ++visited_;
      if (finished.queue != queue) return true;
      v1::Task task;
      status = reader_->ReadFinished(finished, record_bucket, {}, &task);
      if (status.ok()) AddIfWanted(std::move(task));
      return status.ok();
    }));
    RETURN_IF_ERROR(status);
    token_.place = {record_bucket, record_sequence, entry};
    if (Full()) return absl::OkStatus();
  }
  if (found.size() < kHistoryRecordsMax) NextPhase();
  return absl::OkStatus();
}

absl::Status ListTasksCall::Visit(TaskId task) {
  TaskSnapshot snapshot;
  snapshot.task = task;
  return Visit(snapshot);
}

absl::Status ListTasksCall::Visit(const TaskSnapshot& snapshot) {
  ++visited_;
  v1::Task task;
  const absl::Status status = reader_->Read(snapshot, {}, &task);
  if (status.ok()) {
    AddIfWanted(std::move(task));
  } else if (absl::IsDataLoss(status)) {
    // One unreadable task does not hide the others; GetTask says what is wrong with it.
    LogFor("rpc").error("task is unreadable: {}", ToStd(status.message()));
  } else if (!absl::IsNotFound(status)) {
    return status;
  }
  return absl::OkStatus();
}

void ListTasksCall::AddIfWanted(v1::Task task) {
  // Tasks move while they are read: whatever is found in a phase counts only in a state of that phase, lest it be seen
  // twice.
  const bool waiting_phase = token_.phase == kWaiting || token_.phase == kTimers;
  if (!Wants(task.state()) || waiting_phase != Waits(task.state())) return;
  if (!filter_.type().empty() && task.spec().type() != filter_.type()) return;
  if (!filter_.tag().empty()) {
    const auto& tags = task.spec().tags();
    if (std::find(tags.begin(), tags.end(), filter_.tag()) == tags.end()) return;
  }
  *response_.add_tasks() = std::move(task);
}

}  // namespace penstock::broker
