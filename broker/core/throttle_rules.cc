#include "broker/core/throttle_rules.h"

#include <algorithm>

namespace penstock::broker {
namespace {

bool Covers(const std::vector<std::string>& names, std::string_view name) {
  return names.empty() || std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

const ThrottleRule* ThrottleRules::Find(ThrottleId id) const {
  auto found = rules_.find(id);
  return found == rules_.end() ? nullptr : &found->second->rule;
}

std::vector<ThrottleId> ThrottleRules::ids() const {
  std::vector<ThrottleId> ids;
  for (const auto& [id, rule] : rules_) ids.push_back(id);
  return ids;
}

void ThrottleRules::Set(ThrottleId id, const std::string& name, const ThrottleDefinition& definition) {
  std::unique_ptr<Rule>& rule = rules_[id];
  if (rule == nullptr) rule = std::make_unique<Rule>();
  rule->queues = definition.queues;
  rule->types = definition.types;
  rule->rule.id = id;
  rule->rule.name = name;
  rule->rule.per = definition.per;
  rule->rule.max_running = definition.max_running;
  rule->rule.bucket = MakeBucket(definition.rate);
  matches_.clear();
}

void ThrottleRules::Remove(ThrottleId id) {
  rules_.erase(id);
  matches_.clear();
}

absl::Span<const ThrottleRule* const> ThrottleRules::Of(QueueId queue, TypeId type) const {
  auto [found, added] = matches_.try_emplace({queue, type});
  if (added) {
    const QueueState* state = state_.FindQueue(queue);
    for (const auto& [id, rule] : rules_) {
      if (state != nullptr && Covers(rule->queues, state->name) && Covers(rule->types, state_.TypeName(type))) {
        found->second.push_back(&rule->rule);
      }
    }
  }
  return found->second;
}

}  // namespace penstock::broker
