#include "broker/rpc/task_walk.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "broker/core/lane_head.h"
#include "broker/rpc/fields.h"
#include "broker/rpc/open_calls.h"
#include "broker/rpc/ticket_table.h"
#include "common/logging.h"
#include "common/status.h"
#include "common/text.h"

namespace penstock::broker {
namespace {

// What one call may look at: a page may be short and not the last.
constexpr int kStepsMax = 32;
constexpr size_t kCostMax = 5'000;         // a task, or a lane, costs 1,
constexpr size_t kPayloadPerCost = 1'024;  // and so many bytes of a payload that is looked into, too
constexpr uint32_t kRunsMax = 256;
constexpr uint32_t kRunningMax = 500;
constexpr size_t kDoneMax = 256;
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

void TaskWalk::Start(std::shared_ptr<TaskSource> source, std::shared_ptr<const TaskFilter> filter,
                     const PageToken& from, uint32_t page_size, Done done) {
  auto walk = std::make_shared<TaskWalk>(std::move(source), std::move(filter), from, page_size, std::move(done));
  PageToken& token = walk->token_;
  if (token.phase >= kEnd) {
    return walk->Finish(BadField(FieldPath("page_token"), "is not the next_page_token of a page before"));
  }
  if (token.phase != kStart && token.filter != walk->filter_->hash()) {
    return walk->Finish(BadField(FieldPath("page_token"), "is that of another filter: begin a new list"));
  }
  token.filter = walk->filter_->hash();
  if (token.phase == kStart) walk->NextPhase();
  walk->Step();
}

bool TaskWalk::WantsPhase(Phase phase) const {
  switch (phase) {
    case kWaiting:
      return filter_->MayFit(v1::TASK_STATE_SCHEDULED) || filter_->MayFit(v1::TASK_STATE_AVAILABLE) ||
             filter_->MayFit(v1::TASK_STATE_RETRYABLE);
    case kRunning:
      return filter_->MayFit(v1::TASK_STATE_RUNNING);
    case kDead:
      return filter_->MayFit(v1::TASK_STATE_DEAD);
    case kCancelled:
      return filter_->MayFit(v1::TASK_STATE_CANCELLED);
    case kCompleted:
    case kHistory:
      return filter_->MayFit(v1::TASK_STATE_COMPLETED);
    case kStart:
    case kTimers:  // entered from kWaiting only
    case kEnd:
      break;
  }
  return phase == kEnd;
}

void TaskWalk::NextPhase() {
  auto phase = static_cast<Phase>(token_.phase);
  do {
    phase = static_cast<Phase>(phase + 1);
  } while (!WantsPhase(phase));
  MoveTo(phase);
}

bool TaskWalk::Full() const { return page_.tasks.size() >= page_size_ || cost_ >= kCostMax; }

void TaskWalk::Step() {
  if (token_.phase == kEnd || Full() || ++steps_ > kStepsMax) return Finish(absl::OkStatus());
  switch (static_cast<Phase>(token_.phase)) {
    case kWaiting:
      return AskLanes(kRunsMax, &TaskWalk::ReadLanes);
    case kTimers:
      return Read([this] { return VisitLanes({}); });
    case kRunning:
      return AskRunning();
    case kDead:
    case kCancelled:
    case kCompleted:
    case kHistory:
      return AskLanes(1, &TaskWalk::ReadDone);  // tells the queue's number
    case kStart:
    case kEnd:
      break;
  }
}

void TaskWalk::AskLanes(uint32_t runs_max, void (TaskWalk::*read)(const LanesReply&)) {
  ListLanesCommand command;
  command.queue = filter_->queue();
  command.max_runs = runs_max;
  command.key = filter_->key();
  command.group = filter_->group();
  if (token_.phase == kWaiting) {
    command.from_lane = LaneId(static_cast<uint32_t>(token_.place[0]));
    command.from_block = BlockId(token_.place[1]);
  }
  source_->Ask(std::move(command), kSmallCommandBytes, [self = shared_from_this(), read](Reply reply) {
    const auto* lanes = std::get_if<LanesReply>(&reply.value);
    if (lanes == nullptr) return self->Finish(reply.status);
    ((*self).*read)(*lanes);
  });
}

void TaskWalk::AskRunning() {
  ListRunningCommand command;
  command.queue = filter_->queue();
  command.after = TaskId(token_.place[0]);
  command.limit = kRunningMax;
  source_->Ask(std::move(command), kSmallCommandBytes, [self = shared_from_this()](Reply reply) {
    auto* running = std::get_if<RunningReply>(&reply.value);
    if (running == nullptr) return self->Finish(reply.status);
    auto shared = std::make_shared<RunningReply>(std::move(*running));
    self->Read([raw = self.get(), shared] { return raw->VisitRunning(*shared); });
  });
}

void TaskWalk::ReadLanes(const LanesReply& lanes) {
  auto shared = std::make_shared<LanesReply>(lanes);
  Read([this, shared] { return VisitLanes(*shared); });
}

void TaskWalk::ReadDone(const LanesReply& lanes) {
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

void TaskWalk::Read(std::function<absl::Status()> read) {
  const absl::Status status =
      source_->Read([self = shared_from_this(), read = std::move(read)](std::unique_ptr<TaskReader> reader) {
        if (reader == nullptr) return self->Finish(StoppingError());
        self->reader_ = std::move(reader);
        const absl::Status read_status = read();
        self->reader_.reset();
        if (!read_status.ok()) return self->Finish(read_status);
        self->Step();
      });
  if (!status.ok()) Finish(status);
}

void TaskWalk::Finish(const absl::Status& status) {
  if (!status.ok()) return done_(status);
  page_.next = token_;
  page_.at_end = token_.phase == kEnd;
  done_(std::move(page_));
}

absl::Status TaskWalk::VisitLanes(const LanesReply& lanes) {
  if (token_.phase == kTimers) {
    const LaneId lane(static_cast<uint32_t>(token_.place[0]));
    ASSIGN_OR_RETURN(const bool done, VisitTimers(lane, static_cast<Time>(token_.place[1]), TaskId(token_.place[2])));
    if (done) MoveTo(kWaiting, uint64_t{lane.value()} + 1);
    return absl::OkStatus();
  }
  const bool wants_runs = filter_->MayFit(v1::TASK_STATE_AVAILABLE) && filter_->MayFitUntouched();
  const auto [first_lane, from_block, from_slot] = token_.place;
  for (const LaneView& lane : lanes.lanes) {
    if (Full()) {
      MoveTo(kWaiting, lane.lane.value());
      return absl::OkStatus();
    }
    ++cost_;
    const bool resumed = lane.lane.value() == first_lane;
    const bool goes_on = lanes.more && lanes.next_lane == lane.lane;
    const bool type_wanted = filter_->type().empty() || filter_->type() == lane.type || lane.type.empty();
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

absl::StatusOr<bool> TaskWalk::VisitRuns(const LaneView& lane, uint64_t from_block, uint64_t from_slot) {
  for (const LaneRun& run : lane.runs) {
    std::vector<uint16_t> slots = run.slots;
    auto block = reader_->Block(run.block);
    if (absl::IsNotFound(block.status())) continue;  // all its tasks are finished meanwhile
    if (absl::IsDataLoss(block.status())) {
      LogFor("rpc").error("block is unreadable: {}", ToStd(block.status().message()));
      continue;
    }
    RETURN_IF_ERROR(block.status());
    if (!filter_->FitsCreateTime((*block)->create_time())) {
      ++cost_;
      continue;
    }
    if (slots.empty()) {
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
      RETURN_IF_ERROR(Visit(TaskId(reader_->keys().partition(), run.block.value(), slot)));
    }
  }
  return true;
}

absl::StatusOr<bool> TaskWalk::VisitTimers(LaneId lane, Time from_due, TaskId from_task) {
  struct Run {
    TimerKey key;
    uint32_t count = 0;
    TimerKind kind = TimerKind::kScheduled;
  };
  std::vector<Run> runs;
  absl::Status broken;
  const Keys& keys = reader_->keys();
  // A run is stored under its first task, which may be one before the place to go on from.
  const TaskId first(reader_->keys().partition(), from_task.block(), 0);
  RETURN_IF_ERROR(reader_->store().Scan(Family::kIndex, keys.Timer(lane, from_due, first), keys.PastLane('T', lane),
                                        [&](std::string_view key, std::string_view value) {
                                          Run run{ParseTimerKey(key), 0};
                                          auto body = OpenValue(key, value);
                                          broken = body.status();
                                          if (body.ok() && !DecodeTimer(*body, &run.count, &run.kind))
                                            broken = absl::DataLossError("a timer is broken");
                                          if (broken.ok()) runs.push_back(run);
                                          return broken.ok() && runs.size() < kCostMax;
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
      // A scheduled task that has a record has left the run of its block: it is met where it went.
      if (run.kind == TimerKind::kScheduled &&
          !absl::IsNotFound(reader_->store().Get(Family::kTasks, keys.TaskRecord(task)).status())) {
        ++cost_;
        continue;
      }
      RETURN_IF_ERROR(Visit(task));
    }
  }
  if (runs.size() < kCostMax) return true;
  const Run& last = runs.back();
  MoveTo(kTimers, lane.value(), static_cast<uint64_t>(last.key.due), last.key.task.value() + last.count);
  return false;
}

absl::Status TaskWalk::VisitRunning(const RunningReply& running) {
  for (const TaskSnapshot& snapshot : running.tasks) {
    if (Full()) return absl::OkStatus();
    RETURN_IF_ERROR(Visit(snapshot));
    token_.place[0] = snapshot.task.value();
  }
  if (!running.more) NextPhase();
  return absl::OkStatus();
}

absl::Status TaskWalk::VisitDone(QueueId queue, State state) {
  const Keys& keys = reader_->keys();
  const std::string end = token_.place[1] == 0
                              ? keys.DonePrefix(queue, static_cast<State>(static_cast<uint8_t>(state) + 1))
                              : keys.Done(queue, state, static_cast<Time>(token_.place[0]), TaskId(token_.place[1]));
  std::vector<DoneKey> found;
  RETURN_IF_ERROR(reader_->store().ScanBackward(Family::kIndex, keys.DonePrefix(queue, state), end,
                                                [&](std::string_view key, std::string_view) {
                                                  found.push_back(ParseDoneKey(key));
                                                  return found.size() < kDoneMax;
                                                }));
  for (const DoneKey& done : found) {
    if (Full()) return absl::OkStatus();
    RETURN_IF_ERROR(Visit(TaskId(done.task)));
    token_.place = {done.end, done.task, 0};
  }
  if (found.size() < kDoneMax) NextPhase();
  return absl::OkStatus();
}

absl::Status TaskWalk::VisitHistoryRecords(QueueId queue) {
  const Keys& keys = reader_->keys();
  const uint64_t bucket = token_.place[0];
  const uint64_t sequence = token_.place[1];
  const uint64_t seen = token_.place[2];
  std::string begin(1, static_cast<char>(reader_->keys().partition()));
  std::string end(1, static_cast<char>(reader_->keys().partition() + 1));
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
      ++cost_;
      if (finished.queue != queue) return true;
      ++page_.seen;
      if (!filter_->FitsCreateTime(finished.create_time)) return true;
      v1::Task task;
      status = reader_->ReadFinished(finished, record_bucket, {}, &task);
      if (status.ok()) status = AddIfWanted(finished.task, std::move(task));
      return status.ok();
    }));
    RETURN_IF_ERROR(status);
    token_.place = {record_bucket, record_sequence, entry};
    if (Full()) return absl::OkStatus();
  }
  if (found.size() < kHistoryRecordsMax) NextPhase();
  return absl::OkStatus();
}

absl::Status TaskWalk::Visit(TaskId task) {
  TaskSnapshot snapshot;
  snapshot.task = task;
  return Visit(snapshot);
}

absl::Status TaskWalk::Visit(const TaskSnapshot& snapshot) {
  ++page_.seen;
  ++cost_;
  v1::Task task;
  absl::Status status = reader_->Read(snapshot, filter_->parts(), &task);
  if (status.ok()) status = AddIfWanted(snapshot.task, std::move(task));
  if (absl::IsDataLoss(status)) {
    // One unreadable task does not hide the others; GetTask says what is wrong with it.
    LogFor("rpc").error("task is unreadable: {}", ToStd(status.message()));
    return absl::OkStatus();
  }
  return absl::IsNotFound(status) ? absl::OkStatus() : status;
}

absl::Status TaskWalk::AddIfWanted(TaskId id, v1::Task task) {
  // Tasks move while they are read: whatever is found in a phase counts only in a state of that phase, lest it be seen
  // twice. One that was delivered since it was read in its lane is found again where it runs.
  const bool waiting_phase = token_.phase == kWaiting || token_.phase == kTimers;
  if (waiting_phase != Waits(task.state())) return absl::OkStatus();
  cost_ += task.spec().payload().size() / kPayloadPerCost;
  ASSIGN_OR_RETURN(const bool fits, filter_->Fits(task, reader_.get()));
  if (!fits || !in_page_.insert(id.value()).second) return absl::OkStatus();
  if (task.has_spec()) task.mutable_spec()->clear_payload();
  page_.tasks.push_back(std::move(task));
  return absl::OkStatus();
}

}  // namespace penstock::broker
