#include "tests/faults/fault_scenario.h"

#include <filesystem>
#include <utility>

#include "fmt/format.h"

namespace penstock::broker {
namespace {

WireClient::Host HostOf(FaultyBroker* broker) {
  return {[broker] { return broker->ended(); }, [](const grpc::Status&) {}};
}

std::string NotReady(const FaultyBroker& broker) {
  return fmt::format("the broker does not start:\n{}", broker.output());
}

}  // namespace

const std::vector<std::string>& FaultScenario::Names() {
  static const std::vector<std::string> names = {"first", "again", "busy"};
  return names;
}

std::string FaultScenario::Make(const std::string& name, uint64_t seed, std::unique_ptr<FaultScenario>* out) {
  std::unique_ptr<FaultScenario> scenario(new FaultScenario(name, seed));
  if (std::string wrong = scenario->Prepare(); !wrong.empty()) return wrong;
  for (const uint32_t classes : {penstock::testing::kChanges, penstock::testing::kReads}) {
    if (std::string wrong = scenario->Count(classes); !wrong.empty()) return wrong;
  }
  *out = std::move(scenario);
  return "";
}

std::string FaultScenario::Prepare() {
  if (name_ == "busy") flags_ = {"--storage.memtables", "4MiB", "--storage.block-cache", "8MiB"};
  if (name_ != "again") return "";
  for (int life = 0; life < 2; ++life) {
    FaultyBroker broker(folder_ / "data", flags_, nullptr, "");
    if (!broker.WaitReady()) return NotReady(broker);
    WireClient client(&memory_, broker.port(), HostOf(&broker));
    if (!client.RunScript()) return "the row of calls fails without a fault: " + client.problems();
    if (life == 0) {
      if (broker.Stop() != 0) return "the broker does not stop in order:\n" + broker.output();
    } else {
      broker.Kill();
    }
  }
  return "";
}

void FaultScenario::CopyTo(const std::string& data_dir) const {
  const std::string from = folder_ / "data";
  if (std::filesystem::exists(from)) {
    std::filesystem::copy(from, data_dir, std::filesystem::copy_options::recursive);
  }
}

bool FaultScenario::Run(WireClient* client) const {
  return name_ == "busy" ? client->RunBusy(/*rounds=*/40) : client->RunScript();
}

std::string FaultScenario::Count(uint32_t classes) {
  penstock::testing::TempFolder folder;
  CopyTo(folder / "data");
  FaultPlanFile plan(folder / "plan");
  plan.plan().classes = classes;
  FaultyBroker broker(folder / "data", flags_, &plan, folder / "data");
  if (!broker.WaitReady()) return NotReady(broker);
  WireMemory memory = memory_;
  WireClient client(&memory, broker.port(), HostOf(&broker));
  if (!Run(&client)) return "the row of calls fails without a fault: " + client.problems();
  if (broker.Stop() != 0) return "the broker does not stop in order:\n" + broker.output();
  calls_[classes] = plan.plan().calls;
  return calls_[classes] == 0 ? "the shim counts nothing" : "";
}

std::string VerifyWhole(const std::string& data_dir) {
  const ProgramRun verify = RunBroker({"--data-dir", data_dir, "--verify"});
  return verify.code == 0 ? "" : fmt::format("--verify ends with {}:\n{}", verify.code, verify.output);
}

std::string JudgeFolder(const std::string& data_dir, const std::vector<std::string>& flags, WireMemory* memory) {
  FaultyBroker broker(data_dir, flags, nullptr, "");
  if (!broker.WaitReady()) {
    const auto code = broker.WaitEnd();
    return fmt::format("a wrong refusal to start, exit code {}:\n{}", code.value_or(-1), broker.output());
  }
  WireClient client(memory, broker.port(), HostOf(&broker));
  if (!client.Resolve() || !client.Check() || !client.Drain()) {
    return fmt::format("{}the broker says:\n{}", client.problems().empty() ? "the broker died\n" : client.problems(),
                       broker.output());
  }
  for (const auto& [serial, task] : memory->ledger.tasks()) {
    if ((task.fates & kUnfinished) != 0) return fmt::format("{} never ended", Ledger::Describe(task));
  }
  const auto code = broker.Stop();
  if (code != 0) return fmt::format("the broker does not stop in order, {}:\n{}", code.value_or(-1), broker.output());
  return VerifyWhole(data_dir);
}

}  // namespace penstock::broker
