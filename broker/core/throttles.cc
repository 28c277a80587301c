#include "broker/core/throttles.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "broker/core/throttle_record.h"
#include "common/status.h"
#include "common/status_details.h"
#include "fmt/format.h"

namespace penstock::broker {

absl::Status Throttles::Restore(const StoreReader& store) {
  const Keys& keys = context_.keys;
  absl::Status broken;
  RETURN_IF_ERROR(
      store.Scan(Family::kMeta, keys.First('l'), keys.Past('l'), [&](std::string_view key, std::string_view stored) {
        auto record = OpenRecord<records::ThrottleRecord>(key, stored);
        broken = record.status();
        if (!broken.ok()) return false;
        Throttle throttle;
        throttle.id = ThrottleId(record->id());
        throttle.view.name = key.substr(2);
        ReadRecord(*record, &throttle.view);
        throttle.newer_record = IfNewer(*record);
        rules_.Set(throttle.id, throttle.view.name, throttle.view.definition);
        std::string name = throttle.view.name;
        throttles_.emplace(std::move(name), std::move(throttle));
        return true;
      }));
  RETURN_IF_ERROR(broken);
  meters_.Restore();
  return absl::OkStatus();
}

// Numbers of a commit that is lost are given out again, with what they counted.
ThrottleId Throttles::NewId() {
  uint64_t id = context_.sequence << 8;
  while (rules_.Find(ThrottleId(id)) != nullptr) ++id;
  return ThrottleId(id);
}

void Throttles::Apply(const ThrottleCommand& command) {
  ThrottleReply reply;
  if (absl::Status status = Change(command, &reply); !status.ok()) {
    context_.ReplyTo(command.ticket, std::move(status));
    return;
  }
  if (command.verb != ThrottleVerb::kGet) context_.effects.needs_sync = true;
  context_.ReplyTo(command.ticket, std::move(reply));
}

absl::Status Throttles::Change(const ThrottleCommand& command, ThrottleReply* reply) {
  auto found = throttles_.find(command.name);
  if (command.verb == ThrottleVerb::kCreate) {
    if (found != throttles_.end()) {
      return absl::AlreadyExistsError(fmt::format("throttle {} exists already", command.name));
    }
    if (throttles_.size() >= context_.options.max_throttles) {
      return LimitReached("limits.throttles",
                          fmt::format("there are {} throttles already; delete some, or raise limits.throttles",
                                      context_.options.max_throttles));
    }
    Throttle throttle;
    throttle.id = NewId();
    throttle.view.name = command.name;
    throttle.view.create_time = context_.now.wall;
    RETURN_IF_ERROR(Update(*command.change, &throttle));
    found = throttles_.emplace(command.name, std::move(throttle)).first;
  } else if (found == throttles_.end()) {
    return absl::NotFoundError(fmt::format("there is no throttle {}", command.name));
  }
  switch (command.verb) {
    case ThrottleVerb::kGet:
      break;
    case ThrottleVerb::kCreate:
      context_.Fact(LogFact::Kind::kThrottleChanged, fmt::format("created throttle={}", command.name));
      break;
    case ThrottleVerb::kUpdate:
      RETURN_IF_ERROR(Update(*command.change, &found->second));
      context_.Fact(LogFact::Kind::kThrottleChanged, fmt::format("updated throttle={}", command.name));
      break;
    case ThrottleVerb::kDelete: {
      const ThrottleId id = found->second.id;
      throttles_.erase(found);
      context_.commit.Delete(Family::kMeta, context_.keys.Throttle(command.name));
      rules_.Remove(id);
      meters_.Recount(id, true);
      context_.Fact(LogFact::Kind::kThrottleChanged, fmt::format("deleted throttle={}", command.name));
      return absl::OkStatus();
    }
  }
  reply->throttle = Describe(found->second, command.max_meters);
  return absl::OkStatus();
}

absl::Status Throttles::Update(const ThrottleChange& change, Throttle* throttle) {
  ThrottleDefinition definition = throttle->view.definition;
  if (change.queues) definition.queues = *change.queues;
  if (change.types) definition.types = *change.types;
  if (change.per) definition.per = *change.per;
  if (change.max_running) definition.max_running = *change.max_running;
  if (change.rate) definition.rate = *change.rate;
  if (change.note) definition.note = *change.note;
  RETURN_IF_ERROR(Validate(definition));
  const ThrottleDefinition& before = throttle->view.definition;
  const bool new_rate = definition.rate != before.rate || definition.per != before.per;
  throttle->view.definition = std::move(definition);
  throttle->view.update_time = context_.now.wall;
  context_.Put(Family::kMeta, context_.keys.Throttle(throttle->view.name),
               ToRecord(throttle->view, throttle->id, throttle->newer_record));
  rules_.Set(throttle->id, throttle->view.name, throttle->view.definition);
  meters_.Recount(throttle->id, new_rate);
  return absl::OkStatus();
}

void Throttles::Answer(const ListThrottlesCommand& command) {
  ThrottlesReply reply;
  auto next = throttles_.upper_bound(command.after);
  for (; next != throttles_.end() && reply.throttles.size() < command.limit; ++next) {
    reply.throttles.push_back(Describe(next->second, 0));
  }
  reply.more = next != throttles_.end();
  context_.ReplyTo(command.ticket, std::move(reply));
}

// --- views ---

ThrottleView Throttles::Describe(const Throttle& throttle, size_t max_meters) {
  ThrottleView view = throttle.view;
  meters_.Describe(throttle.id, max_meters, &view);
  FindSamples(throttle, &view);
  return view;
}

void Throttles::FindSamples(const Throttle& throttle, ThrottleView* view) {
  const ThrottlePer per = throttle.view.definition.per;
  if (view->meters.empty() || (per != ThrottlePer::kGroup && per != ThrottlePer::kKey)) return;
  absl::flat_hash_map<uint64_t, MeterView*> nameless;
  for (MeterView& meter : view->meters) nameless[meter.scope_number] = &meter;
  auto try_sample = [&](const TaskPlace& place, TaskId task) {
    auto found = nameless.find(per == ThrottlePer::kGroup ? place.group : place.key);
    if (found == nameless.end()) return;
    found->second->sample = task;
    nameless.erase(found);
  };
  context_.state.ForEachLease(
      [&](const Lease& lease) { try_sample(Meters::PlaceOf(context_.state, lease), lease.task); });
  for (const auto& [id, lane] : context_.state.lanes()) {
    if (nameless.empty()) return;
    const TaskPlace place{lane->key.queue, lane->key.type, lane->group, lane->key.fifo ? lane->key.name : 0};
    if (!lane->runs.has_front()) continue;
    const FreshRun& front = lane->runs.front();
    const uint64_t number = per == ThrottlePer::kGroup ? place.group : place.key;
    if (!nameless.contains(number)) continue;
    const BlockState* state = context_.state.FindBlock(front.block);
    auto block = context_.blocks.Load(front.block, state != nullptr && state->compacted);
    if (!block.ok() || (*block)->FreshSlots(front.entry).empty()) continue;
    const auto slots = (*block)->FreshSlots(front.entry);
    const uint16_t slot = slots[std::min<size_t>(front.position, slots.size() - 1)];
    try_sample(place, TaskId(context_.state.partition(), front.block.value(), slot));
  }
}

}  // namespace penstock::broker
