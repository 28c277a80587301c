#include "tests/checker/history.h"

#include <algorithm>
#include <iterator>

#include "nlohmann/json.hpp"

namespace penstock::histcheck {
namespace {

constexpr std::array<const char*, kOpCount> kOps = {
    "config",     "queue",  "limit", "worker",  "enqueue", "enqueued", "deliver", "start",
    "outcome",    "answer", "lost",  "cut",     "valid",   "ask",      "told",    "seen",
    "power_loss", "jump",   "quiet", "drained", "task",    "counters", "bulk"};
constexpr std::array<const char*, 6> kPhases = {"", "ok", "fail", "unknown", "stale", "finished"};
constexpr std::array<const char*, kCountCount> kCounts = {
    "scheduled",      "available",       "running",      "retryable",       "dead",
    "enqueued_total", "completed_total", "failed_total", "cancelled_total", "dead_total"};

struct NumberField {
  const char* name;
  int64_t Event::*member;
};
constexpr NumberField kNumbers[] = {{"call", &Event::call},
                                    {"i", &Event::i},
                                    {"attempt", &Event::attempt},
                                    {"max_attempts", &Event::max_attempts},
                                    {"priority", &Event::priority},
                                    {"run_at", &Event::run_at},
                                    {"delay", &Event::delay},
                                    {"expire_at", &Event::expire_at},
                                    {"life", &Event::life},
                                    {"window", &Event::window},
                                    {"until", &Event::until},
                                    {"since", &Event::since},
                                    {"n", &Event::n},
                                    {"backoff", &Event::backoff},
                                    {"max_delay", &Event::max_delay},
                                    {"max_commit", &Event::max_commit},
                                    {"max_silence", &Event::max_silence},
                                    {"liveness", &Event::liveness},
                                    {"cost", &Event::cost},
                                    {"bytes", &Event::bytes},
                                    {"max_waiting", &Event::max_waiting},
                                    {"max_bytes", &Event::max_bytes},
                                    {"rate", &Event::rate},
                                    {"period", &Event::period},
                                    {"burst", &Event::burst},
                                    {"seen", &Event::seen},
                                    {"matched", &Event::matched},
                                    {"changed", &Event::changed},
                                    {"skipped", &Event::skipped}};

struct TextField {
  const char* name;
  std::string Event::*member;
};
constexpr TextField kTexts[] = {{"who", &Event::who},           {"q", &Event::q},
                                {"type", &Event::type},         {"payload", &Event::payload},
                                {"unique", &Event::unique},     {"key", &Event::key},
                                {"limits", &Event::limits},     {"kind", &Event::kind},
                                {"state", &Event::state},       {"cool", &Event::cool},
                                {"saved", &Event::saved},       {"scope", &Event::scope},
                                {"conflict", &Event::conflict}, {"group", &Event::group},
                                {"labels", &Event::labels},     {"name", &Event::name},
                                {"per", &Event::per},           {"queues", &Event::queues},
                                {"types", &Event::types},       {"overflow", &Event::overflow},
                                {"reason", &Event::reason},     {"states", &Event::states},
                                {"where", &Event::where},       {"error", &Event::error}};

struct FlagField {
  const char* name;
  bool Event::*member;
};
constexpr FlagField kFlags[] = {
    {"dup", &Event::dup},   {"relaxed", &Event::relaxed},   {"forgets", &Event::forgets},
    {"told", &Event::told}, {"replaced", &Event::replaced}, {"keep_start", &Event::keep_start},
    {"dry", &Event::dry}};

template <size_t kSize>
int Find(const std::array<const char*, kSize>& names, const std::string& name) {
  auto found = std::find(names.begin(), names.end(), name);
  return found == names.end() ? -1 : static_cast<int>(found - names.begin());
}

// Ids are numbers, or any other text, which is numbered in the order of its appearance.
class Ids {
 public:
  uint64_t Number(const nlohmann::json& value) {
    if (value.is_number()) return value.get<uint64_t>();
    return numbers_.emplace(value.get<std::string>(), (uint64_t{1} << 63) + numbers_.size()).first->second;
  }

 private:
  std::map<std::string, uint64_t> numbers_;
};

void ReadLine(const nlohmann::json& line, Ids* ids, Event* event, std::string* error) {
  const int op = Find(kOps, line.value("op", ""));
  if (op < 0) {
    *error = "`op` is missing or unknown";
    return;
  }
  event->op = static_cast<Op>(op);
  for (const auto& [name, value] : line.items()) {
    if (name == "op") continue;
    const int count = Find(kCounts, name);
    auto named = [&, &key = name](const auto& field) { return key == field.name; };
    if (name == "t") {
      event->t = value.get<int64_t>();
    } else if (name == "task") {
      event->task = ids->Number(value);
    } else if (name == "token") {
      event->token = value.get<uint64_t>();
    } else if (name == "phase") {
      const int phase = Find(kPhases, value.get<std::string>());
      if (phase < 0) *error = "`phase` is unknown";
      event->phase = static_cast<Phase>(std::max(phase, 0));
    } else if (auto number = std::find_if(std::begin(kNumbers), std::end(kNumbers), named);
               number != std::end(kNumbers)) {
      event->*number->member = value.get<int64_t>();
    } else if (auto text = std::find_if(std::begin(kTexts), std::end(kTexts), named); text != std::end(kTexts)) {
      event->*text->member = value.get<std::string>();
    } else if (auto flag = std::find_if(std::begin(kFlags), std::end(kFlags), named); flag != std::end(kFlags)) {
      event->*flag->member = value.get<bool>();
    } else if (count >= 0) {
      event->counts[static_cast<size_t>(count)] = value.get<int64_t>();
    } else {
      *error = "unknown field `" + name + "`";
    }
  }
}

}  // namespace

std::string_view NameOf(Op op) { return kOps[static_cast<size_t>(op)]; }

std::string ToJson(const Event& event) {
  static const Event kDefaults;
  nlohmann::ordered_json line;
  line["t"] = event.t;
  line["op"] = kOps[static_cast<size_t>(event.op)];
  if (event.phase != Phase::kNone) line["phase"] = kPhases[static_cast<size_t>(event.phase)];
  for (const TextField& field : kTexts) {
    if (!(event.*field.member).empty()) line[field.name] = event.*field.member;
  }
  if (event.task != 0) line["task"] = event.task;
  if (event.token != 0) line["token"] = event.token;
  for (const NumberField& field : kNumbers) {
    if (event.*field.member != kDefaults.*field.member) line[field.name] = event.*field.member;
  }
  for (const FlagField& field : kFlags) {
    if (event.*field.member) line[field.name] = true;
  }
  for (size_t i = 0; event.op == Op::kCounters && i < kCounts.size(); ++i) line[kCounts[i]] = event.counts[i];
  return line.dump();
}

void Write(const History& history, std::ostream& out) {
  for (const Event& event : history) out << ToJson(event) << "\n";
}

bool Read(std::istream& in, History* history, std::string* error) {
  Ids ids;
  std::string text;
  for (int number = 1; std::getline(in, text); ++number) {
    if (text.empty()) continue;
    std::string problem;
    history->emplace_back();
    // The library reports a value of the wrong kind by an exception.
    try {
      ReadLine(nlohmann::json::parse(text), &ids, &history->back(), &problem);
    } catch (const nlohmann::json::exception& exception) {
      problem = exception.what();
    }
    if (!problem.empty()) {
      *error = "line " + std::to_string(number) + ": " + problem;
      return false;
    }
  }
  return true;
}

}  // namespace penstock::histcheck
