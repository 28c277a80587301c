#include "broker/core/watchers.h"

#include <algorithm>
#include <utility>

namespace penstock::broker {

void Watchers::Add(Ticket ticket, TaskId task, bool only_end) {
  tasks_[ticket] = task;
  watchers_[task].push_back({ticket, only_end});
}

void Watchers::Remove(Ticket ticket) {
  if (subscribers_.erase(ticket) > 0) return;
  auto found = tasks_.find(ticket);
  if (found == tasks_.end()) return;
  auto watchers = watchers_.find(found->second);
  std::erase_if(watchers->second, [&](const Watcher& watcher) { return watcher.ticket == ticket; });
  if (watchers->second.empty()) watchers_.erase(watchers);
  tasks_.erase(found);
}

void Watchers::Subscribe(Ticket ticket, QueueId queue, std::string type) {
  subscribers_[ticket] = {queue, std::move(type)};
}

void Watchers::Tell(QueueId queue, const TaskEvent& event) {
  for (const auto& [ticket, subscriber] : subscribers_) {
    if (subscriber.queue != queue || (!subscriber.type.empty() && subscriber.type != event.type_name)) continue;
    context_.effects.task_events.push_back(event);
    context_.effects.task_events.back().ticket = ticket;
  }
}

void Watchers::EndSubscriptions(QueueId queue, const absl::Status& status) {
  for (auto it = subscribers_.begin(); it != subscribers_.end();) {
    if (it->second.queue != queue) {
      ++it;
      continue;
    }
    context_.effects.watch_events.push_back({it->first, status, {}});
    it = subscribers_.erase(it);
  }
}

std::vector<TaskId> Watchers::Tasks() const {
  std::vector<TaskId> tasks;
  tasks.reserve(watchers_.size());
  for (const auto& [task, watchers] : watchers_) tasks.push_back(task);
  std::sort(tasks.begin(), tasks.end());
  return tasks;
}

void Watchers::Notify(const TaskSnapshot& snapshot) {
  auto found = watchers_.find(snapshot.task);
  if (found == watchers_.end()) return;
  const bool final = IsFinal(snapshot.state);
  for (const Watcher& watcher : found->second) {
    if (final || !watcher.only_end)
      context_.effects.watch_events.push_back({watcher.ticket, absl::OkStatus(), snapshot});
    if (final) tasks_.erase(watcher.ticket);
  }
  if (final) watchers_.erase(found);
}

void Watchers::Fail(TaskId task, const absl::Status& status) {
  auto found = watchers_.find(task);
  if (found == watchers_.end()) return;
  for (const Watcher& watcher : found->second) {
    context_.effects.watch_events.push_back({watcher.ticket, status, {}});
    tasks_.erase(watcher.ticket);
  }
  watchers_.erase(found);
}

}  // namespace penstock::broker
