#include "client/cli/bench/interrupt.h"

#include <unistd.h>

#include <atomic>

namespace penstock::cli {
namespace {

std::atomic<int> noted = 0;

void Note(int number) {
  if (noted.exchange(number) != 0) _exit(128 + number);
}

}  // namespace

Interrupt::Interrupt() {
  noted = 0;
  struct sigaction action = {};
  action.sa_handler = Note;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, &before_int_);
  sigaction(SIGTERM, &action, &before_term_);
}

Interrupt::~Interrupt() {
  sigaction(SIGINT, &before_int_, nullptr);
  sigaction(SIGTERM, &before_term_, nullptr);
}

int Interrupt::number() { return noted; }

}  // namespace penstock::cli
