#ifndef PENSTOCK_TESTS_CHAOS_CHAOS_BROKER_H_
#define PENSTOCK_TESTS_CHAOS_CHAOS_BROKER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "tests/support/process.h"

namespace penstock::chaos {

// The real broker on one data folder and one port of this machine, from one life to the next.
class ChaosBroker {
 public:
  // `bin`: the folder of the programs. `options`: further flags.
  ChaosBroker(std::string bin, std::string data_dir, std::vector<std::string> options);

  // The first start takes any port, later ones the same. Internal: it did not start, and why.
  absl::Status Start();
  // SIGKILL or SIGTERM; waits for the end. False: it ended otherwise than it should.
  bool End(int signal_number);
  void Signal(int signal_number) { process_->Signal(signal_number); }

  bool up() const { return up_; }
  bool running() const { return process_ != nullptr && process_->running(); }
  int port() const { return port_; }
  pid_t pid() const { return process_->pid(); }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  const std::string& data_dir() const { return data_dir_; }
  // Of this life.
  std::string output() const { return process_ == nullptr ? "" : process_->output(); }

 private:
  const std::string bin_;
  const std::string data_dir_;
  const std::vector<std::string> options_;
  int port_ = 0;
  bool up_ = false;
  std::unique_ptr<testing::Process> process_;
};

}  // namespace penstock::chaos

#endif  // PENSTOCK_TESTS_CHAOS_CHAOS_BROKER_H_
