#include "broker/core/ready_index.h"

#include <algorithm>

#include "broker/storage/labels.h"
#include "common/text.h"

namespace penstock::broker {
namespace {

constexpr int kMostUrgent = kUrgencies - 1;
// Of a type of which nothing has ended yet.
constexpr Span kUsualRun = 10 * kMilli;
// How fast the usual run time of a type follows what is measured: one eighth of the difference a task.
constexpr Span kLearning = 8;

}  // namespace

// --- subscriptions ---

Fit FitOf(const CoreState& state, const Subscription& subscription, const QueueState& queue, TypeId type) {
  if (!subscription.queues.contains(queue.name) || !subscription.types.contains(ToAbsl(state.TypeName(type)))) {
    return Fit::kNo;
  }
  for (std::string_view label : SplitLabels(state.TypeLabels(type))) {
    if (!subscription.labels.contains(ToAbsl(label))) return Fit::kLabelsMissing;
  }
  return Fit::kYes;
}

bool ReadyIndex::Matches(const Subscription& subscription, const LaneClass& lane_class) const {
  const QueueState* queue = state_.FindQueue(lane_class.queue);
  return queue != nullptr && FitOf(state_, subscription, *queue, lane_class.type) == Fit::kYes;
}

void ReadyIndex::Join(Subscription* subscription, LaneClass* lane_class) {
  std::unique_ptr<Share>& share = subscription->shares[{lane_class->queue, lane_class->urgency}];
  if (share == nullptr) {
    share = std::make_unique<Share>();
    share->subscription = subscription;
    share->queue = lane_class->queue;
    share->urgency = lane_class->urgency;
  }
  lane_class->shares.push_back(share.get());
  if (!lane_class->rank) return;
  share->classes.Insert(*lane_class->rank);
  Publish(share.get());
}

void ReadyIndex::Add(Subscription* subscription) {
  subscriptions_[subscription->id] = subscription;
  for (const auto& [key, lane_class] : classes_) {
    if (Matches(*subscription, *lane_class)) Join(subscription, lane_class.get());
  }
}

void ReadyIndex::Remove(Subscription* subscription) {
  subscriptions_.erase(subscription->id);
  for (const auto& [key, lane_class] : classes_) {
    std::erase_if(lane_class->shares, [&](const Share* share) { return share->subscription == subscription; });
  }
}

// --- lanes ---

LaneClass* ReadyIndex::ClassFor(QueueId queue, TypeId type, int urgency) {
  std::unique_ptr<LaneClass>& lane_class = classes_[{queue, type, urgency}];
  if (lane_class == nullptr) {
    lane_class = std::make_unique<LaneClass>();
    lane_class->queue = queue;
    lane_class->type = type;
    lane_class->urgency = urgency;
    lane_class->blocked = IsBlocked(*state_.FindQueue(queue));
    for (const auto& [id, subscription] : subscriptions_) {
      if (Matches(*subscription, *lane_class)) Join(subscription, lane_class.get());
    }
  }
  return lane_class.get();
}

QueueGroups& ReadyIndex::GroupsOf(QueueId queue) {
  std::unique_ptr<QueueGroups>& groups = groups_[queue];
  if (groups == nullptr) {
    groups = std::make_unique<QueueGroups>();
    groups->queue = state_.FindQueue(queue);
  }
  return *groups;
}

GroupAccount* ReadyIndex::AccountFor(QueueGroups& groups, uint64_t name) {
  std::unique_ptr<GroupAccount>& account = groups.accounts[name];
  if (account == nullptr) {
    account = std::make_unique<GroupAccount>();
    account->owner = &groups;
    account->name = name;
    account->used = groups.floor;
    account->weight = groups.queue->WeightOf(name);
    NoteShared(groups);
  }
  return account.get();
}

void ReadyIndex::Arrive(GroupAccount* account) {
  if (account->active++ > 0) return;
  QueueGroups& groups = *account->owner;
  if (!groups.idle.empty()) groups.idle.erase({account->used, account->name});
  account->used = std::max(account->used, groups.floor);
}

ReadyGroup* ReadyIndex::GroupFor(LaneClass* lane_class, uint64_t name) {
  std::unique_ptr<ReadyGroup>& group = lane_class->groups[name];
  if (group == nullptr) {
    group = std::make_unique<ReadyGroup>();
    group->owner = lane_class;
    group->account = AccountFor(GroupsOf(lane_class->queue), name);
    group->account->ready.push_back(group.get());
  }
  return group.get();
}

void ReadyIndex::Put(Lane* lane, TypeId type, uint8_t priority, Time since) {
  const int urgency = kMostUrgent - priority;
  ReadyGroup* group = lane->ready;
  if (group != nullptr && group->owner->type == type && group->owner->urgency == urgency) {
    if (lane->ready_since == since) return;
    if (lane->is_ready()) group->lanes.Erase({lane->ready_since, lane->id});
  } else {
    Remove(lane);
    group = GroupFor(ClassFor(lane->key.queue, type, urgency), lane->group);
  }
  if (!group->rank) Arrive(group->account);
  group->lanes.Insert({since, lane->id});
  lane->ready = group;
  lane->ready_since = since;
  Update(group);
}

void ReadyIndex::Remove(Lane* lane) {
  if (!lane->is_ready()) return;
  ReadyGroup* group = lane->ready;
  group->lanes.Erase({lane->ready_since, lane->id});
  lane->ready_since = kNever;
  if (lane->group != 0) lane->ready = nullptr;  // which may go now
  Update(group);
}

void ReadyIndex::Update(ReadyGroup* group) {
  LaneClass* lane_class = group->owner;
  std::optional<ReadyGroup::Rank> rank;
  const uint64_t name = group->account->name;
  if (!group->lanes.empty()) rank = {group->account->used, group->lanes.first().first, name, group};
  if (rank == group->rank) return;
  if (group->rank) {
    lane_class->order.Erase(*group->rank);
    lane_class->by_since.Erase({group->rank->since, name});
  }
  group->rank = rank;
  if (rank) {
    lane_class->order.Insert(*rank);
    lane_class->by_since.Insert({rank->since, name});
  } else {
    GroupAccount* account = group->account;
    --account->active;
    if (name != 0) {  // that of tasks without a group comes and goes with every batch: it stays
      std::erase(account->ready, group);
      lane_class->groups.erase(name);
      Rest(account);
    }
  }
  Publish(lane_class);
}

void ReadyIndex::Publish(LaneClass* lane_class) {
  std::optional<Share::ClassRank> rank;
  if (!lane_class->blocked && !lane_class->parked && !lane_class->order.empty()) {
    const ReadyGroup::Rank& first = lane_class->order.first();
    rank = {first.used, first.since, lane_class->type, lane_class};
  }
  if (rank == lane_class->rank) return;
  for (Share* share : lane_class->shares) {
    if (lane_class->rank) share->classes.Erase(*lane_class->rank);
    if (rank) share->classes.Insert(*rank);
    Publish(share);
  }
  lane_class->rank = rank;
}

void ReadyIndex::Publish(Share* share) {
  std::optional<Share::Rank> rank;
  if (!share->classes.empty()) rank = {share->classes.first().since, share->queue, share};
  if (rank == share->rank) return;
  auto& level = share->subscription->levels[static_cast<size_t>(share->urgency)];
  if (share->rank) level.Erase(*share->rank);
  if (rank) level.Insert(*rank);
  share->rank = rank;
}

void ReadyIndex::SetParked(QueueId queue, TypeId type, int urgency, bool parked) {
  auto found = classes_.find({queue, type, urgency});
  if (found == classes_.end()) return;
  found->second->parked = parked;
  Publish(found->second.get());
}

void ReadyIndex::RefreshBlocked(const QueueState& queue) {
  for (auto it = classes_.lower_bound({queue.id, TypeId(), 0}); it != classes_.end(); ++it) {
    if (std::get<0>(it->first) != queue.id) break;
    it->second->blocked = IsBlocked(queue);
    Publish(it->second.get());
  }
}

void ReadyIndex::Forget(QueueId queue) {
  const auto begin = classes_.lower_bound({queue, TypeId(), 0});
  const auto end = classes_.lower_bound({QueueId(queue.value() + 1), TypeId(), 0});
  classes_.erase(begin, end);
  for (const auto& [id, subscription] : subscriptions_) {
    const auto first = subscription->shares.lower_bound({queue, 0});
    const auto last = subscription->shares.lower_bound({QueueId(queue.value() + 1), 0});
    subscription->shares.erase(first, last);
  }
  groups_.erase(queue);
}

void ReadyIndex::SetWeights(const QueueState& queue) {
  auto found = groups_.find(queue.id);
  if (found == groups_.end()) return;
  for (const auto& [name, account] : found->second->accounts) account->weight = queue.WeightOf(name);
}

// --- choosing ---

Lane* ReadyIndex::First(const Subscription& subscription, int urgency, Takes takes) const {
  Lane* lane = nullptr;
  subscription.levels[static_cast<size_t>(urgency)].ForEach([&](const Share::Rank& share) {
    share.share->classes.ForEach([&](const Share::ClassRank& rank) {
      if (takes(*rank.lane_class)) lane = state_.FindLane(rank.lane_class->order.first().group->lanes.first().second);
      return lane == nullptr;
    });
    return lane == nullptr;
  });
  return lane;
}

bool ReadyIndex::HasLower(const Subscription& subscription, int urgency) {
  for (int lower = urgency + 1; lower < kUrgencies; ++lower) {
    if (!subscription.levels[static_cast<size_t>(lower)].empty()) return true;
  }
  return false;
}

// --- groups ---

void ReadyIndex::NoteShared(const QueueGroups& groups) {
  const auto& accounts = groups.accounts;
  groups.queue->shared = accounts.size() > 1 || (accounts.size() == 1 && !accounts.contains(0));
}

void ReadyIndex::MoveAccount(GroupAccount* account, Span used) {
  account->used = used;
  // By index: an update may not change the list, since no lane comes or goes.
  for (ReadyGroup* group : account->ready) Update(group);
}

Span ReadyIndex::Charge(QueueId queue, uint64_t name, TypeId type) {
  QueueGroups& groups = GroupsOf(queue);
  GroupAccount* account = AccountFor(groups, name);
  RaiseFloor(groups, account->used);
  auto usual = usual_run_.find(state_.BaseType(type));
  const Span expected = std::max<Span>(usual == usual_run_.end() ? kUsualRun : usual->second, 1);
  ++account->running;
  MoveAccount(account, account->used + expected * 1'000 / account->weight);
  return expected;
}

void ReadyIndex::Settle(QueueId queue, uint64_t name, Span charged, Span used) {
  auto groups = groups_.find(queue);
  if (groups == groups_.end()) return;
  auto found = groups->second->accounts.find(name);
  if (found == groups->second->accounts.end()) return;
  GroupAccount* account = found->second.get();
  if (account->running > 0) --account->running;
  MoveAccount(account, account->used + (used - charged) * 1'000 / account->weight);
  Rest(account);
}

void ReadyIndex::Learn(TypeId type, Span run_time) {
  auto [usual, added] = usual_run_.try_emplace(state_.BaseType(type), run_time);
  if (!added) usual->second += (run_time - usual->second) / kLearning;
}

void ReadyIndex::Rest(GroupAccount* account) {
  QueueGroups& groups = *account->owner;
  if (!account->ready.empty() || account->running > 0) return;
  if (account->used <= groups.floor) {
    groups.accounts.erase(account->name);
    NoteShared(groups);
  } else {
    groups.idle.insert({account->used, account->name});
  }
}

void ReadyIndex::RaiseFloor(QueueGroups& groups, Span used) {
  if (used <= groups.floor) return;
  groups.floor = used;
  if (groups.idle.empty() || groups.idle.begin()->first > used) return;
  while (!groups.idle.empty() && groups.idle.begin()->first <= used) {
    groups.accounts.erase(groups.idle.begin()->second);
    groups.idle.erase(groups.idle.begin());
  }
  NoteShared(groups);
}

// --- views ---

void ReadyIndex::VisitReady(absl::FunctionRef<bool(const LaneClass& lane_class, const Lane& lane)> visit) const {
  for (const auto& [key, lane_class] : classes_) {
    bool more = true;
    const LaneClass& of = *lane_class;
    of.order.ForEach([&](const ReadyGroup::Rank& rank) {
      rank.group->lanes.ForEach([&](const std::pair<Time, LaneId>& entry) {
        const Lane* lane = state_.FindLane(entry.second);
        more = lane == nullptr || visit(of, *lane);
        return more;
      });
      return more;
    });
    if (!more) return;
  }
}

Time ReadyIndex::OldestSince(QueueId queue) const {
  Time oldest = kNever;
  for (auto it = classes_.lower_bound({queue, TypeId(), 0}); it != classes_.end(); ++it) {
    if (std::get<0>(it->first) != queue) break;
    if (!it->second->by_since.empty()) oldest = std::min(oldest, it->second->by_since.first().first);
  }
  return oldest;
}

std::vector<TypeId> ReadyIndex::ReadyTypes(QueueId queue) const {
  std::vector<TypeId> types;
  for (auto it = classes_.lower_bound({queue, TypeId(), 0}); it != classes_.end(); ++it) {
    if (std::get<0>(it->first) != queue) break;
    if (it->second->order.empty()) continue;
    if (types.empty() || types.back() != it->second->type) types.push_back(it->second->type);
  }
  return types;
}

}  // namespace penstock::broker
