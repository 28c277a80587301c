#include "tests/faults/fault_points.h"

#include <signal.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <random>
#include <thread>
#include <utility>

#include "common/mutex.h"
#include "fmt/format.h"

namespace penstock::broker {

using penstock::testing::FaultKind;
using penstock::testing::kChanges;
using penstock::testing::kReads;

const std::vector<FaultMode>& CrashModes() {
  static const std::vector<FaultMode> modes = {
      {.name = "kill", .kind = FaultKind::kKill},
      {.name = "torn", .kind = FaultKind::kTorn},
      {.name = "power", .kind = FaultKind::kTorn, .loses_unsynced = true},
  };
  return modes;
}

const std::vector<FaultMode>& ErrorModes() {
  static const std::vector<FaultMode> modes = {
      {.name = "eio", .kind = FaultKind::kError, .error = EIO},
      {.name = "enospc", .kind = FaultKind::kError, .error = ENOSPC},
      {.name = "erofs", .kind = FaultKind::kError, .error = EROFS},
      {.name = "edquot", .kind = FaultKind::kError, .error = EDQUOT},
      {.name = "eio-lasting", .kind = FaultKind::kError, .error = EIO, .lasting = true},
      {.name = "enospc-lasting", .kind = FaultKind::kError, .error = ENOSPC, .lasting = true},
      {.name = "erofs-lasting", .kind = FaultKind::kError, .error = EROFS, .lasting = true},
      {.name = "edquot-lasting", .kind = FaultKind::kError, .error = EDQUOT, .lasting = true},
      {.name = "eio-read", .kind = FaultKind::kError, .classes = kReads, .error = EIO},
      {.name = "eio-read-lasting", .kind = FaultKind::kError, .classes = kReads, .error = EIO, .lasting = true},
      {.name = "short", .kind = FaultKind::kShort, .lasting = true},
  };
  return modes;
}

const std::vector<FaultMode>& MutantModes() {
  static const std::vector<FaultMode> modes = {
      {.name = "no-sync", .kind = FaultKind::kTorn, .loses_unsynced = true, .syncs_lie = true},
      {.name = "swallow", .kind = FaultKind::kSwallow},
      {.name = "swallow-lasting", .kind = FaultKind::kSwallow, .lasting = true},
  };
  return modes;
}

const FaultMode* FindMode(const std::string& name) {
  for (const auto* modes : {&CrashModes(), &ErrorModes(), &MutantModes()}) {
    for (const FaultMode& mode : *modes) {
      if (mode.name == name) return &mode;
    }
  }
  return nullptr;
}

std::string FaultPoint::Command() const {
  return fmt::format("penstock-faults --scenario {} --mode {} --at {} --seed {}{}", scenario->name(), mode->name, nth,
                     seed, only.empty() ? "" : fmt::format(" --only '{}'", only));
}

void FaultCounts::Add(const FaultCounts& other) {
  points += other.points;
  tasks += other.tasks;
  completed += other.completed;
  for (const auto& [name, count] : other.by_mode) by_mode[name] += count;
  for (const auto& [name, count] : other.by_end) by_end[name] += count;
}

namespace {

bool IsFull(const FaultMode& mode) { return mode.error == ENOSPC || mode.error == EDQUOT; }

// One point: the life with the fault, and what may come of it.
class PointRun {
 public:
  PointRun(const FaultPoint& point, FaultCounts* counts)
      : point_(point), counts_(*counts), plan_(folder_ / "plan"), memory_(point.scenario->memory()) {
    point_.scenario->CopyTo(data());
    penstock::testing::FaultPlan& plan = plan_.plan();
    plan.classes = mode().classes;
    plan.kind = mode().kind;
    plan.error = mode().error;
    plan.syncs_lie = mode().syncs_lie;
    plan.last = mode().lasting ? UINT64_MAX : point.nth;
    snprintf(plan.only, sizeof(plan.only), "%s", point.only.c_str());
    plan.first = point.nth;
  }

  std::string Run() {
    ++counts_.points;
    ++counts_.by_mode[mode().name];
    std::string wrong = LiveWithFault();
    plan_.Lift();
    if (wrong.empty()) {
      if (mode().loses_unsynced) {
        LoseUnsynced(plan_.plan(), data(), point_.seed + point_.nth);
        memory_.ledger.PowerCut(0);
      }
      wrong = JudgeFolder(data(), point_.scenario->flags(), &memory_);
    }
    counts_.tasks += memory_.acknowledged;
    counts_.completed += memory_.completed;
    if (wrong.empty()) return "";
    const char* const hit = plan_.plan().hits == 0 ? "was not reached" : plan_.plan().hit;
    return fmt::format("call {} of scenario {}, mode {}: {}\n{}", point_.nth, point_.scenario->name(), mode().name, hit,
                       wrong);
  }

 private:
  const FaultMode& mode() const { return *point_.mode; }
  std::string data() const { return folder_ / "data"; }
  bool dies() const { return mode().kind == FaultKind::kKill || mode().kind == FaultKind::kTorn; }

  std::string LiveWithFault() {
    FaultyBroker broker(data(), point_.scenario->flags(), &plan_, data());
    if (!broker.WaitReady()) return JudgeEnd(broker.WaitEnd(), broker.output(), /*was_ready=*/false);
    int refusals = 0;
    bool refused_for_space = false;
    WireClient::Host host;
    host.gone = [&] { return broker.ended(); };
    host.trouble = [&](const grpc::Status& status) {
      if (!mode().lasting) return;
      // A full disk is lifted once a caller has heard of it: at latest when it is told for the third time that it goes
      // on. Whatever else lasts ends the broker.
      refused_for_space = refused_for_space || status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED;
      if (IsFull(mode()) && refused_for_space && ++refusals >= 3) plan_.Lift();
    };
    WireClient client(&memory_, broker.port(), host);
    const bool went_on = point_.scenario->Run(&client);
    if (!client.problems().empty()) return client.problems() + "the broker says:\n" + broker.output();
    if (!went_on) return JudgeEnd(broker.WaitEnd(), broker.output(), /*was_ready=*/true);
    return JudgeStop(broker.Stop(), broker.output());
  }

  void Ended(const std::string& how) { ++counts_.by_end[how]; }

  // The broker ended by itself.
  std::string JudgeEnd(std::optional<int> code, const std::string& output, bool was_ready) {
    if (!code) return "a hang: the broker neither goes on nor ends:\n" + output;
    Ended(fmt::format("{}: exit {}", was_ready ? "at work" : "at the start", *code));
    if (dies()) return *code == 128 + SIGKILL ? "" : fmt::format("it was to be killed, exit {}:\n{}", *code, output);
    const std::string said = fmt::format("exit code {}:\n{}", *code, output);
    if (mode().kind != FaultKind::kError) return "the broker ended: " + said;
    if (was_ready && IsFull(mode())) return "a full disk must not end the broker; " + said;
    // A folder that cannot be written to is for a person to mend, if it is so from the start.
    if (!was_ready && mode().error == EROFS && *code == 78) return "";
    // Debian's RocksDB has its assertions compiled in, and some of them are about errors of the system.
    if (*code == 128 + SIGABRT && output.find(": rocksdb::") != std::string::npos &&
        output.find("Assertion `") != std::string::npos) {
      Ended("of these, an assertion of RocksDB's");
      return "";
    }
    if (*code != 74) return "the storage failed, which is exit code 74; " + said;
    if (output.find("[critical]") == std::string::npos && output.find("critical") == std::string::npos) {
      return "it does not say why it ended; " + said;
    }
    return "";
  }

  // It was asked to stop when everything had been done.
  std::string JudgeStop(std::optional<int> code, const std::string& output) {
    if (!code) return "a hang: the broker does not stop:\n" + output;
    const bool hit = plan_.plan().hits > 0;
    if (*code == 0) {
      Ended(hit ? "went on" : "not reached");
      return "";
    }
    if (dies() && *code == 128 + SIGKILL) {
      Ended("while it stopped");
      return "";
    }
    if (mode().kind == FaultKind::kError && hit && *code == 74) {
      Ended("while it stopped");
      return "";
    }
    return fmt::format("the broker does not stop in order, exit code {}:\n{}", *code, output);
  }

  const FaultPoint point_;
  FaultCounts& counts_;
  penstock::testing::TempFolder folder_;
  FaultPlanFile plan_;
  WireMemory memory_;
};

}  // namespace

std::string RunPoint(const FaultPoint& point, FaultCounts* counts) { return PointRun(point, counts).Run(); }

std::vector<FaultPoint> ChoosePoints(const std::vector<std::unique_ptr<FaultScenario>>& scenarios,
                                     const std::vector<FaultMode>& modes, uint64_t count, uint64_t seed) {
  std::vector<FaultPoint> points;
  if (count == 0) {
    for (const auto& scenario : scenarios) {
      for (const FaultMode& mode : modes) {
        for (uint64_t nth = 1; nth <= scenario->CallsOf(mode.classes); ++nth) {
          points.push_back({scenario.get(), &mode, nth, seed, ""});
        }
      }
    }
    return points;
  }
  // Each pair gets the same number, and each a call from its own part of the life.
  const uint64_t pairs = scenarios.size() * modes.size();
  const uint64_t parts = (count + pairs - 1) / pairs;
  std::mt19937_64 random(seed);
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t pair = i % pairs;
    const FaultScenario* const scenario = scenarios[pair % scenarios.size()].get();
    const FaultMode& mode = modes[pair / scenarios.size()];
    const uint64_t calls = scenario->CallsOf(mode.classes);
    const uint64_t part = i / pairs;
    const uint64_t begin = calls * part / parts;
    const uint64_t end = std::max(calls * (part + 1) / parts, begin + 1);
    points.push_back({scenario, &mode, 1 + begin + random() % (end - begin), seed, ""});
  }
  return points;
}

std::string RunInParallel(size_t count, int threads, bool keep_going, const std::function<std::string(size_t)>& run) {
  Mutex mu;
  std::string wrong;
  std::atomic<size_t> next = 0;
  std::atomic<bool> failed = false;
  std::vector<std::thread> pool;
  for (int i = 0; i < threads; ++i) {
    pool.emplace_back([&] {
      while (!failed) {
        const size_t number = next++;
        if (number >= count) return;
        const std::string found = run(number);
        if (found.empty()) continue;
        MutexLock lock(mu);
        failed = !keep_going;
        if (wrong.empty() || keep_going) wrong += found + "\n";
      }
    });
  }
  for (std::thread& thread : pool) thread.join();
  return wrong;
}

std::string RunPoints(const std::vector<FaultPoint>& points, int threads, bool keep_going, FaultCounts* counts,
                      const std::function<void(const FaultCounts&)>& told) {
  Mutex mu;
  return RunInParallel(points.size(), threads, keep_going, [&](size_t number) {
    FaultCounts own;
    const std::string wrong = RunPoint(points[number], &own);
    MutexLock lock(mu);
    counts->Add(own);
    if (told) told(*counts);
    return wrong.empty() ? "" : fmt::format("FAILED: {}\n{}", points[number].Command(), wrong);
  });
}

}  // namespace penstock::broker
