// What scripts can do with throttles.

#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_split.h"
#include "broker/core/throttle.h"
#include "common/units.h"
#include "fmt/format.h"
#include "fmt/ranges.h"
#include "tests/scenario/script.h"

namespace penstock::broker {
namespace {

const std::map<std::string, ThrottlePer> kPers = {{"all", ThrottlePer::kAll},
                                                  {"queue", ThrottlePer::kQueue},
                                                  {"type", ThrottlePer::kType},
                                                  {"group", ThrottlePer::kGroup},
                                                  {"key", ThrottlePer::kKey}};

Span SpanOf(const std::string& text) {
  const auto duration = ParseDuration(text);
  if (!duration.ok()) throw std::runtime_error("not a time: " + text);
  return ToMicros(*duration);
}

std::vector<std::string> Names(const std::string& text) {
  if (text.empty()) return {};
  return absl::StrSplit(text, ',');
}

const char* NameOfState(MeterState state) {
  switch (state) {
    case MeterState::kOpen:
      return "open";
    case MeterState::kFull:
      return "full";
    case MeterState::kRate:
      return "rate";
    case MeterState::kCooled:
      return "cooled";
  }
  return "?";
}

}  // namespace

bool Script::BuildThrottleCommand(const Words& words, std::vector<Command>* commands) {
  auto named = [&](const std::string& key, std::string otherwise = "") {
    auto found = words.named.find(key);
    return found == words.named.end() ? otherwise : found->second;
  };
  if (words.name == "throttles") {
    commands->emplace_back(ListThrottlesCommand{NewTicket("throttles"), named("after"), 100});
    return true;
  }
  if (words.name != "throttle") return false;
  static const std::map<std::string, ThrottleVerb> kVerbs = {{"create", ThrottleVerb::kCreate},
                                                             {"update", ThrottleVerb::kUpdate},
                                                             {"get", ThrottleVerb::kGet},
                                                             {"delete", ThrottleVerb::kDelete}};
  ThrottleCommand command;
  command.ticket = NewTicket("throttle");
  command.verb = kVerbs.at(words.plain.at(0));
  command.name = words.plain.at(1);
  auto change = std::make_shared<ThrottleChange>();
  if (words.named.contains("q")) change->queues = Names(named("q"));
  if (words.named.contains("types")) change->types = Names(named("types"));
  if (words.named.contains("per")) change->per = kPers.at(named("per"));
  if (words.named.contains("max")) change->max_running = static_cast<uint32_t>(std::stoul(named("max")));
  if (words.named.contains("rate")) {
    // "10/1s", or "none"
    ThrottleRate& rate = change->rate.emplace();
    if (named("rate") != "none") {
      const std::pair<std::string, std::string> parts = absl::StrSplit(named("rate"), '/');
      rate = {static_cast<uint32_t>(std::stoul(parts.first)), SpanOf(parts.second),
              static_cast<uint32_t>(std::stoul(named("burst", "0")))};
    }
  }
  if (words.named.contains("note")) change->note = named("note");
  command.change = std::move(change);
  commands->emplace_back(std::move(command));
  return true;
}

std::string Script::TellThrottle(const ThrottleView& throttle) {
  const ThrottleDefinition& definition = throttle.definition;
  std::string out = throttle.name;
  if (!definition.queues.empty()) out += fmt::format(" queues={}", fmt::join(definition.queues, ","));
  if (!definition.types.empty()) out += fmt::format(" types={}", fmt::join(definition.types, ","));
  for (const auto& [name, per] : kPers) {
    if (per == definition.per) out += " per=" + name;
  }
  if (definition.max_running > 0) out += fmt::format(" max={}", definition.max_running);
  if (definition.rate.tasks > 0) {
    out += fmt::format(" rate={}/{} burst={}", definition.rate.tasks,
                       absl::FormatDuration(ToDuration(definition.rate.period)), MakeBucket(definition.rate).burst);
  }
  if (!definition.note.empty()) out += " note=" + definition.note;
  out += fmt::format(" running={} waiting_meters={}\n", throttle.running, throttle.waiting_meters);
  for (const MeterView& meter : throttle.meters) {
    out += "  ";
    if (!meter.scope.empty()) out += meter.scope + " ";
    if (!meter.sample.empty()) out += fmt::format("of {} ", NameOf(meter.sample));
    out += fmt::format("running={}", meter.running);
    if (definition.rate.tasks > 0) out += fmt::format(" available={}", meter.available);
    if (meter.waiting > 0) out += fmt::format(" waiting={}", meter.waiting);
    out += fmt::format(" {}", NameOfState(meter.state));
    if (meter.opens > 0) out += " until " + When(meter.opens);
    out += '\n';
  }
  return out;
}

}  // namespace penstock::broker
