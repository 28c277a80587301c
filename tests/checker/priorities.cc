#include "tests/checker/priorities.h"

#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace penstock::histcheck {
namespace {

constexpr size_t kPriorities = 10;

bool ByToken(const Event* a, const Event* b) { return a->token < b->token; }

// What was given to workers that take the same, by token.
struct Group {
  std::string kind;  // ",queues,|,types,"
  std::vector<const Event*> given;
  std::vector<std::array<int64_t, kPriorities>> below;  // deliveries of a lower priority than each, among the first i
  std::vector<std::pair<size_t, int64_t>> runs;         // where one priority has gone on for too long, and which

  bool Takes(const Event& enqueue) const {
    const size_t bar = kind.find('|');
    return kind.find("," + enqueue.q + ",") < bar && kind.find("," + enqueue.type + ",", bar) != std::string::npos;
  }
  size_t Place(uint64_t token) const {
    auto before = [](const Event* event, uint64_t value) { return event->token < value; };
    return static_cast<size_t>(std::lower_bound(given.begin(), given.end(), token, before) - given.begin());
  }
};

class Judge {
 public:
  explicit Judge(Index* index) : in_(*index), burst_(index->config.n) {
    std::map<std::string, Group> groups;
    for (const auto& [id, task] : in_.tasks) {
      for (const Lease& lease : task.leases) {
        all_.push_back(lease.deliver);
        cooled_ = cooled_ || (lease.outcome != nullptr && !lease.outcome->cool.empty());
        auto worker = in_.workers.find(lease.deliver->who);
        if (worker == in_.workers.end() || worker->second->kind.empty()) continue;
        groups[worker->second->kind].given.push_back(lease.deliver);
      }
    }
    std::sort(all_.begin(), all_.end(), [](const Event* a, const Event* b) { return a->t < b->t; });
    for (const Event* event : all_) highest_.push_back(std::max(event->token, highest_.empty() ? 0 : highest_.back()));
    for (auto& [kind, group] : groups) {
      group.kind = kind;
      Count(&group);
      groups_.push_back(std::move(group));
    }
  }

  void Run() {
    for (const auto& [id, task] : in_.tasks) {
      if (!SurelyWaited(task)) continue;
      for (const Group& group : groups_) {
        if (group.Takes(*task.enqueue->asked)) Check(task, group);
      }
    }
  }

 private:
  void Count(Group* group) const {
    std::vector<const Event*>& given = group->given;
    std::sort(given.begin(), given.end(), ByToken);
    group->below.resize(given.size() + 1);
    int64_t run = 0;
    for (size_t i = 0; i < given.size(); ++i) {
      group->below[i + 1] = group->below[i];
      for (auto p = static_cast<size_t>(given[i]->priority + 1); p < kPriorities; ++p) ++group->below[i + 1][p];
      run = i > 0 && given[i]->priority == given[i - 1]->priority ? run + 1 : 1;
      if (run > 2 * burst_ + 1) group->runs.emplace_back(i, given[i]->priority);
    }
  }

  // Nothing but its turn kept the task from its first delivery.
  bool SurelyWaited(const Task& task) const {
    if (task.leases.empty() || task.enqueue == nullptr || !task.enqueue->fresh() || !task.asks.empty()) return false;
    if (task.changed() || !in_.throttles.empty()) return false;
    const Event& asked = *task.enqueue->asked;
    // One with a FIFO key waits for its turn among those of its key, one with labels for a worker that has them.
    return asked.run_at <= 0 && asked.delay <= 0 && asked.key.empty() && asked.labels.empty() && !cooled_ &&
           in_.first_cut >= task.leases.front().deliver->t + in_.config.max_silence &&
           !in_.Asked(in_.queues[asked.q].asks, {"pause", "purge", "delete", "drain", "redrive"}, 0);
  }

  void Check(const Task& task, const Group& group) {
    const Event& asked = *task.enqueue->asked;
    const Event& first = *task.leases.front().deliver;
    // What was given out before this had a lower token than anything that was given out while the task waited.
    const int64_t waits_from = task.enqueue->answer->t + in_.config.max_delay;
    const auto seen = std::upper_bound(all_.begin(), all_.end(), waits_from,
                                       [](int64_t t, const Event* event) { return t < event->t; });
    const uint64_t floor = seen == all_.begin() ? 0 : highest_[static_cast<size_t>(seen - all_.begin()) - 1];
    const size_t begin = group.Place(floor + 1), end = group.Place(first.token);
    if (begin >= end) return;
    const auto priority = static_cast<size_t>(asked.priority);
    const int64_t lower = group.below[end][priority] - group.below[begin][priority];
    if (lower > 1 + static_cast<int64_t>(end - begin) / (burst_ + 1)) {
      in_.Report(
          "priority",
          std::to_string(lower) + " of " + std::to_string(end - begin) + " deliveries were less urgent while it waited",
          {&asked, &first});
    }
    const std::pair<size_t, int64_t> whole_run(begin + static_cast<size_t>(2 * burst_ + 1), 0);
    auto run = std::lower_bound(group.runs.begin(), group.runs.end(), whole_run);
    for (; run != group.runs.end() && run->first < end; ++run) {
      if (run->second <= asked.priority) continue;
      in_.Report("priority", "starved: only more urgent tasks were given out while it waited", {&asked, &first});
      break;
    }
  }

  Index& in_;
  const int64_t burst_;
  bool cooled_ = false;  // a handler asked that something be left alone: who waited for that is not known here
  std::vector<const Event*> all_;  // deliveries, by time
  std::vector<uint64_t> highest_;  // token among the first so many of them
  std::vector<Group> groups_;
};

}  // namespace

void CheckPriorities(Index* index) {
  if (index->config.n > 0 && index->last_jump < 0) Judge(index).Run();
}

}  // namespace penstock::histcheck
