#ifndef PENSTOCK_BROKER_CORE_READY_INDEX_H_
#define PENSTOCK_BROKER_CORE_READY_INDEX_H_

#include <array>
#include <compare>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/functional/function_ref.h"
#include "broker/core/core_state.h"
#include "broker/core/min_set.h"

namespace penstock::broker {

inline constexpr int kUrgencies = 10;  // 9 - priority: 0 is the most urgent

struct LaneClass;
struct QueueGroups;
struct Subscription;

// What a group of a queue has used: worker time divided by its weight. Of the groups that have something ready, the one
// that has used least is next.
struct GroupAccount {
  QueueGroups* owner = nullptr;
  uint64_t name = 0;  // NameHash; 0: tasks without a group
  Span used = 0;
  uint32_t weight = 1'000;         // in thousandths
  uint32_t running = 0;            // charged tasks whose true time is not known yet
  uint32_t active = 0;             // of `ready`: those with lanes
  std::vector<ReadyGroup*> ready;  // one for each type and priority in which it has ready lanes
};

// The groups of a queue.
struct QueueGroups {
  QueueState* queue = nullptr;
  // What the group that was served last had used: who comes back begins here.
  Span floor = 0;
  absl::flat_hash_map<uint64_t, std::unique_ptr<GroupAccount>> accounts;
  // Accounts of groups that have nothing, above the floor: forgotten when the floor has reached them.
  absl::btree_set<std::pair<Span, uint64_t>> idle;
};

// The ready lanes of one group in one class, the oldest head first.
struct ReadyGroup {
  LaneClass* owner = nullptr;
  GroupAccount* account = nullptr;
  MinSet<std::pair<Time, LaneId>> lanes;
  // Its place in its class.
  struct Rank {
    Span used = 0;
    Time since = 0;
    uint64_t name = 0;
    ReadyGroup* group = nullptr;  // decides nothing: names differ
    friend auto operator<=>(const Rank&, const Rank&) = default;
  };
  std::optional<Rank> rank;
};

// What a subscription may take of one queue at one priority.
struct Share {
  Subscription* subscription = nullptr;
  QueueId queue;
  int urgency = 0;
  struct ClassRank {
    Span used = 0;
    Time since = 0;
    TypeId type;
    LaneClass* lane_class = nullptr;  // decides nothing: types differ
    friend auto operator<=>(const ClassRank&, const ClassRank&) = default;
  };
  MinSet<ClassRank> classes;
  // Its place in the subscription's level.
  struct Rank {
    Time since = 0;
    QueueId queue;
    Share* share = nullptr;  // decides nothing: queues differ
    friend auto operator<=>(const Rank&, const Rank&) = default;
  };
  std::optional<Rank> rank;
};

// Ready lanes of one queue, type and priority: a worker takes all of them or none.
struct LaneClass {
  QueueId queue;
  TypeId type;
  int urgency = 0;
  bool blocked = false;
  bool parked = false;  // all of it waits for a meter
  MinSet<ReadyGroup::Rank> order;
  MinSet<std::pair<Time, uint64_t>> by_since;
  absl::flat_hash_map<uint64_t, std::unique_ptr<ReadyGroup>> groups;
  std::vector<Share*> shares;
  std::optional<Share::ClassRank> rank;  // its place in its shares
};

// A session that waits for tasks, in the order in which sessions are served.
struct Taker {
  int tier = 0;  // 0: has a free slot; 1: would prefetch
  uint32_t running = 0;
  uint64_t turn = 0;
  SessionNumber session;

  friend auto operator<=>(const Taker&, const Taker&) = default;
};

// Workers that take the same types from the same queues and have the same labels.
struct Subscription {
  uint32_t id = 0;
  absl::flat_hash_set<std::string> queues;
  absl::flat_hash_set<std::string> types;
  absl::flat_hash_set<std::string> labels;  // lines of LabelText
  uint32_t sessions = 0;                    // that belong to it, connected or within their grace
  // What it has: counted when somebody asks (Dispatcher::CountWorkers).
  struct Workers {
    uint32_t connected = 0;
    uint32_t draining = 0;    // of those connected
    uint32_t slots = 0;       // of those that do not drain, as is what follows
    uint32_t free = 0;        // slots without a task
    uint32_t started = 0;     // tasks that run
    uint32_t prefetched = 0;  // tasks that wait at a worker for a slot
    uint64_t waiting = 0;     // available tasks of its queues
  };
  Workers workers;
  // Sessions with credit: those with a free slot before those that prefetch, the least loaded first, of these the one
  // served longest ago.
  absl::btree_set<Taker> takers;
  uint32_t free_takers = 0;  // of tier 0
  uint32_t burst = 0;        // tasks given since a lower priority was served

  // Kept by ReadyIndex: what is ready for it, priority by priority, the queue with the oldest head first.
  absl::btree_map<std::pair<QueueId, int>, std::unique_ptr<Share>> shares;
  std::array<MinSet<Share::Rank>, kUrgencies> levels;
};

// Whether workers of a subscription run tasks of a queue and type.
enum class Fit : uint8_t {
  kNo,             // they do not take the queue, or do not handle the type
  kLabelsMissing,  // only the labels that the type asks for are missing, some or all
  kYes,
};
Fit FitOf(const CoreState& state, const Subscription& subscription, const QueueState& queue, TypeId type);

// Which lane is next. Everything that is ready stands in a tree of small ordered sets (subscription and priority;
// queue; type; group; lane), so that a change costs O(log n) at each level, whatever the number of lanes, and what
// concerns a whole queue, a type or a group is changed there once.
//
// Groups share a queue by start-time fair queueing: each has an account of the worker time it used, divided by its
// weight; the least is next, and a group that comes back begins where the others are. That gives what a weighted
// deficit round robin gives (P. Goyal, H. Vin, H. Cheng: Start-time Fair Queueing, SIGCOMM 1996), without rounds, and
// holds for a backlog that is already there. A task is charged with its type's usual run time when it is delivered, and
// the difference when it ends. Accounts are in memory only: a restart begins with equal ones.
class ReadyIndex {
 public:
  explicit ReadyIndex(CoreState& state) : state_(state) {}

  void Add(Subscription* subscription);
  // Its shares go with it.
  void Remove(Subscription* subscription);

  // The lane has something to give: its head is of this type and priority and has been available since then.
  void Put(Lane* lane, TypeId type, uint8_t priority, Time since);
  void Remove(Lane* lane);
  // Nothing of a parked class is given to anybody. No such class: nothing.
  void SetParked(QueueId queue, TypeId type, int urgency, bool parked);
  // Nothing of a blocked queue is given to anybody.
  static bool IsBlocked(const QueueState& queue) { return queue.paused; }
  // Whether it is blocked changed.
  void RefreshBlocked(const QueueState& queue);
  // The weights of the queue's groups changed.
  void SetWeights(const QueueState& queue);
  // The queue was deleted. REQUIRES: none of its lanes is ready.
  void Forget(QueueId queue);

  using Takes = absl::FunctionRef<bool(const LaneClass&)>;
  // The next lane at a priority, or null; only of classes that are taken.
  Lane* First(const Subscription& subscription, int urgency, Takes takes) const;
  static bool HasLower(const Subscription& subscription, int urgency);

  // --- groups ---
  // A task was delivered: what it is expected to use is charged and returned, to be settled at its end.
  Span Charge(QueueId queue, uint64_t group, TypeId type);
  void Settle(QueueId queue, uint64_t group, Span charged, Span used);
  // A task of the type ran for so long.
  void Learn(TypeId type, Span run_time);

  // --- views ---
  // Ready lanes, class by class, until `visit` returns false.
  void VisitReady(absl::FunctionRef<bool(const LaneClass& lane_class, const Lane& lane)> visit) const;
  Time OldestSince(QueueId queue) const;
  // Types with ready lanes, ascending, each once.
  std::vector<TypeId> ReadyTypes(QueueId queue) const;

 private:
  using ClassKey = std::tuple<QueueId, TypeId, int>;

  bool Matches(const Subscription& subscription, const LaneClass& lane_class) const;
  void Join(Subscription* subscription, LaneClass* lane_class);
  LaneClass* ClassFor(QueueId queue, TypeId type, int urgency);
  ReadyGroup* GroupFor(LaneClass* lane_class, uint64_t name);
  QueueGroups& GroupsOf(QueueId queue);
  static GroupAccount* AccountFor(QueueGroups& groups, uint64_t name);
  // Whether tasks of the queue are charged at all: not while there are no groups.
  static void NoteShared(const QueueGroups& groups);
  // One of the group's lanes got ready in a class where none was.
  static void Arrive(GroupAccount* account);
  // After a change of a group's lanes or account: its place, its class's, its shares'.
  void Update(ReadyGroup* group);
  void Publish(LaneClass* lane_class);
  static void Publish(Share* share);
  void MoveAccount(GroupAccount* account, Span used);
  static void Rest(GroupAccount* account);
  static void RaiseFloor(QueueGroups& groups, Span used);

  CoreState& state_;
  absl::btree_map<uint32_t, Subscription*> subscriptions_;
  absl::btree_map<ClassKey, std::unique_ptr<LaneClass>> classes_;
  absl::btree_map<QueueId, std::unique_ptr<QueueGroups>> groups_;
  absl::flat_hash_map<TypeId, Span> usual_run_;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_CORE_READY_INDEX_H_
