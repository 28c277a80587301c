#include "tests/faults/ledger.h"

#include <cstdlib>
#include <utility>

#include "broker/core/broker_core.h"
#include "broker/rpc/task_reader.h"
#include "broker/storage/applied.h"
#include "broker/storage/envelope.h"
#include "broker/storage/task_block.h"
#include "common/coding.h"
#include "fmt/format.h"
#include "tests/support/recount.h"

namespace penstock::broker {
std::string DescribeFates(Fates fates) {
  static constexpr std::pair<Fate, const char*> kNames[] = {{kAbsent, "absent"},
                                                            {kUnfinished, "unfinished"},
                                                            {kCompleted, "completed"},
                                                            {kCancelled, "cancelled"},
                                                            {kDead, "dead"}};
  std::string text;
  for (const auto& [fate, name] : kNames) {
    if ((fates & fate) != 0) text += (text.empty() ? "" : " or ") + std::string(name);
  }
  return text;
}

Fates Ledger::FateOf(v1::TaskState state) {
  switch (state) {
    case v1::TASK_STATE_COMPLETED:
      return kCompleted;
    case v1::TASK_STATE_CANCELLED:
      return kCancelled;
    case v1::TASK_STATE_DEAD:
      return kDead;
    default:
      return kUnfinished;
  }
}

Fates Ledger::Allowed(const KnownTask& task) {
  Fates fates = task.fates;
  if ((fates & kUnfinished) == 0) return fates;
  if (task.may_be_leased) fates |= kDead;
  if (task.cancel_asked) fates |= kCancelled | (task.forgets ? kAbsent : 0);
  return fates;
}

std::string Ledger::Describe(const KnownTask& task) {
  return fmt::format("task {} ({}, queue {})", task.serial, task.id.empty() ? "no id" : task.id.ToString(), task.queue);
}

void Ledger::Found(KnownTask& task, Fates found) {
  if (found == kAbsent && !task.id.empty() && (task.fates & kUnfinished) != 0) {
    ++undone_;
    task.id = TaskId();
  }
  if (task.fates != kAbsent) task.answered = true;
  task.fates = found;
  task.story += fmt::format(" [{}]", DescribeFates(found));
  if (task.forgets && found != kUnfinished) task.fates |= kAbsent;
  task.undo.clear();
}

std::string Ledger::Payload(uint64_t serial, std::string_view filler) { return fmt::format("{}:{}", serial, filler); }

uint64_t Ledger::SerialOf(std::string_view spec) {
  v1::TaskSpec parsed;
  if (!parsed.ParseFromArray(spec.data(), static_cast<int>(spec.size()))) return 0;
  return std::strtoull(parsed.payload().c_str(), nullptr, 10);
}

KnownTask& Ledger::Add(KnownTask task) {
  task.serial = tasks_.size() + 1;
  return tasks_[task.serial] = std::move(task);
}

KnownTask* Ledger::Find(uint64_t serial) {
  auto found = tasks_.find(serial);
  return found == tasks_.end() ? nullptr : &found->second;
}

KnownTask* Ledger::Find(TaskId id) {
  auto found = serial_of_.find(id);
  return found == serial_of_.end() ? nullptr : Find(found->second);
}

void Ledger::May(KnownTask& task, Fates more, std::string_view why) {
  task.fates |= more;
  task.story += fmt::format(" {}?", why);
}

void Ledger::Told(KnownTask& task, Fates exactly, uint64_t syncs, std::string_view why) {
  task.story += fmt::format(" {}!{}", why, task.relaxed ? fmt::format("(sync {})", syncs) : "");
  if (task.relaxed) task.undo.push_back({task.fates, syncs});
  task.fates = exactly;
  task.answered = true;
  if (task.forgets && (exactly & (kCompleted | kCancelled)) != 0) task.fates |= kAbsent;
}

std::string Ledger::ToldId(KnownTask& task, TaskId id) {
  if (!task.id.empty() && task.id != id) {
    return fmt::format("{} is now said to be {}\n", Describe(task), id.ToString());
  }
  // Also of a task whose enqueue a power cut has undone: an id is never used twice.
  auto [known, added] = serial_of_.emplace(id, task.serial);
  if (!added && known->second != task.serial) {
    return fmt::format("{} has the id {} of task {}\n", Describe(task), id.ToString(), known->second);
  }
  task.id = id;
  return "";
}

bool Ledger::Had(const KnownTask& task, TaskId id) const {
  auto found = serial_of_.find(id);
  return found != serial_of_.end() && found->second == task.serial;
}

void Ledger::PowerCut(uint64_t syncs) {
  for (auto& [serial, task] : tasks_) {
    if (!task.undo.empty()) task.story += fmt::format(" cut(sync {})", syncs);
    for (const KnownTask::Undo& undo : task.undo) {
      if (undo.syncs == syncs) task.fates |= undo.fates;
    }
    task.undo.clear();
    if ((task.fates & kUnfinished) != 0) task.may_be_leased = true;
  }
}

// The tasks that stand in blocks: each is one that was sent, as it was sent, once.
std::string Ledger::FindStored(const StoreReader& store) {
  std::string problems;
  stored_.clear();
  auto read = [&](std::string_view key, std::string_view value) {
    auto body = OpenValue(key, value);
    auto block = body.ok() ? TaskBlock::Parse(std::string(*body)) : body.status();
    if (!block.ok()) {
      problems += fmt::format("a block cannot be read: {}\n", std::string(block.status().message()));
      return;
    }
    for (uint32_t slot = 0; slot < (*block)->slot_count(); ++slot) {
      if ((*block)->dropped(slot)) continue;
      const TaskId id(0, (*block)->id().value(), slot);
      const std::string_view spec = (*block)->spec(slot);
      KnownTask* const task = Find(SerialOf(spec));
      if (task == nullptr || task->spec != spec) {
        problems += fmt::format("{} is stored and was never sent\n", id.ToString());
        continue;
      }
      if (!stored_.insert(task->serial).second) problems += Describe(*task) + " is stored twice\n";
      problems += ToldId(*task, id);
    }
  };
  auto scan = [&](Family family, bool compacted) {
    const absl::Status status = store.Scan(family, "", "", [&](std::string_view key, std::string_view value) {
      if (!compacted || (key.size() == 10 && key[9] == 'B')) read(key, value);
      return true;
    });
    if (!status.ok()) problems += status.ToString() + "\n";
  };
  scan(Family::kBlocks, false);
  scan(Family::kTasks, true);
  return problems;
}

// Of a call without an answer, whose tasks nobody can have run, all tasks are there or none is.
std::string Ledger::CheckAllOrNone() {
  std::map<uint64_t, std::pair<int, int>> counts;  // by request: stored, not stored
  for (const auto& [serial, task] : tasks_) {
    if (task.answered || task.fates == kAbsent || !task.unique_key.empty()) continue;
    auto& [there, missing] = counts[task.request];
    ++(stored_.contains(serial) ? there : missing);
  }
  std::string problems;
  for (const auto& [request, count] : counts) {
    if (count.first > 0 && count.second > 0) {
      problems += fmt::format("request {} is stored in part: {} of {} tasks\n", request, count.first,
                              count.first + count.second);
    }
  }
  return problems;
}

std::string Ledger::Check(const CoreOptions& options, const Store& store, Time now) {
  std::string problems;
  std::unique_ptr<BrokerCore> core;
  if (absl::IsNotFound(store.Get(Family::kMeta, AppliedKey(options.partition)).status())) {
    stored_.clear();  // nothing was ever committed
  } else {
    problems = Recount(options, store);
    auto recovered = BrokerCore::Recover(options, store, {now, 0});
    if (!recovered.ok()) return problems + recovered.status().ToString() + "\n";
    core = *std::move(recovered);
    problems += FindStored(store);
    problems += CheckAllOrNone();
  }
  // What the core says, joined with the store as the edge does it. Nothing of this is committed.
  std::map<TaskId, TaskSnapshot> snapshots;
  if (core != nullptr) {
    std::vector<Command> questions;
    for (const auto& [serial, task] : tasks_) {
      if (!task.id.empty()) questions.emplace_back(GetTaskCommand{Ticket(serial), task.id});
    }
    for (const Reply& reply : core->Step(absl::MakeSpan(questions), {now, 0}).effects.replies) {
      const auto* answer = std::get_if<TaskReply>(&reply.value);
      if (answer != nullptr) snapshots[answer->snapshot.task] = answer->snapshot;
    }
  }
  TaskReader reader(store.Snapshot(), options.partition, now);
  for (auto& [serial, task] : tasks_) {
    Fates found = kAbsent;
    if (auto snapshot = snapshots.find(task.id); snapshot != snapshots.end()) {
      v1::Task read;
      const absl::Status status = reader.Read(snapshot->second, {.payload = true, .result = true}, &read);
      if (!status.ok() && !absl::IsNotFound(status)) {
        problems += fmt::format("{}: {}\n", Describe(task), status.ToString());
        continue;
      }
      if (status.ok()) found = FateOf(read.state());
      if (found == kCompleted && read.result() != ResultOf(serial))
        problems += Describe(task) + " has another's result\n";
      if (found == kUnfinished && read.spec().SerializeAsString() != task.spec) {
        problems += Describe(task) + " has another's spec\n";
      }
    }
    if ((found & Allowed(task)) == 0) {
      problems += fmt::format("{} should be {} and is {}; its story:{}\n", Describe(task), DescribeFates(Allowed(task)),
                              DescribeFates(found), task.story);
    }
    Found(task, found);
  }
  return problems;
}

}  // namespace penstock::broker
