#include "tests/chaos/chaos_broker.h"

#include <signal.h>

#include <cstdlib>
#include <utility>

#include "absl/time/clock.h"

namespace penstock::chaos {
namespace {

constexpr int kPortTaken = 69;  // the broker's exit code
constexpr int kTries = 100;

}  // namespace

ChaosBroker::ChaosBroker(std::string bin, std::string data_dir, std::vector<std::string> options)
    : bin_(std::move(bin)), data_dir_(std::move(data_dir)), options_(std::move(options)) {}

absl::Status ChaosBroker::Start() {
  std::vector<std::string> command = {
      bin_ + "/penstock-broker", "--data-dir", data_dir_, "--grpc.address", address(), "--http.address", ""};
  command.insert(command.end(), options_.begin(), options_.end());
  for (int i = 0; i < kTries; ++i) {
    process_ = std::make_unique<testing::Process>(command);
    const std::string line = process_->WaitForLine("ready grpc=");
    if (!line.empty()) {
      port_ = std::atoi(line.c_str() + line.find("grpc=") + 5);
      up_ = true;
      return absl::OkStatus();
    }
    // Whoever else on this machine got the port for a moment gives it back.
    if (port_ == 0 || process_->Wait() != kPortTaken) break;
    absl::SleepFor(absl::Milliseconds(100));
  }
  return absl::InternalError("the broker does not start:\n" + process_->output());
}

bool ChaosBroker::End(int signal_number) {
  up_ = false;
  process_->Signal(signal_number);
  process_->Signal(SIGCONT);  // it may stand
  return process_->Wait() == (signal_number == SIGKILL ? 128 + SIGKILL : 0);
}

}  // namespace penstock::chaos
