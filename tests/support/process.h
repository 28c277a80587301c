#ifndef PENSTOCK_TESTS_SUPPORT_PROCESS_H_
#define PENSTOCK_TESTS_SUPPORT_PROCESS_H_

#include <sys/types.h>

#include <string>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "common/mutex.h"

namespace penstock::testing {

// A program that runs beside the test; its standard output and error are kept. Killed when the object goes.
class Process {
 public:
  explicit Process(std::vector<std::string> command);
  ~Process();

  // Waits until a line contains `text` and returns it; empty when the program ended, or the time was over, without.
  std::string WaitForLine(const std::string& text, absl::Duration at_most = absl::InfiniteDuration());
  // Waits until its output is closed, which is mostly its end. False: it is still open after that time.
  bool WaitUntilClosed(absl::Duration at_most);
  // Whether its output is still open.
  bool running() const;
  void Signal(int signal_number);
  // Waits for the end: the exit code, or 128 + the signal's number.
  int Wait();  // and its output is whole then, unless it left others behind that may write more
  pid_t pid() const { return pid_; }
  std::string output() const;

 private:
  void Read();

  pid_t pid_ = -1;
  int out_ = -1;
  mutable Mutex mu_;
  CondVar changed_;
  std::string output_ ABSL_GUARDED_BY(mu_);
  bool ended_ ABSL_GUARDED_BY(mu_) = false;
  bool reaped_ = false;
  int exit_code_ = -1;
  std::thread reader_;
};

}  // namespace penstock::testing

#endif  // PENSTOCK_TESTS_SUPPORT_PROCESS_H_
