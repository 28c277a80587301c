// fenced_store BROKER FILE [GO]: books balances into an SQLite file which refuses runs that have lost their task.
//
//   fenced_store 127.0.0.1:7420 /tmp/ledger.db &
//   penstock enqueue ledger ledger.set_balance 'ann 120' --wait
//
// To see a stale run: start two of them, the first with a file GO that does not exist yet. Enqueue a task; the first
// one prints "working" and waits until GO exists. Freeze it (kill -STOP); when its lease has lapsed, the second one
// books the task. Make GO and wake the first (kill -CONT): it tries to write, and prints "refused".

#include <fcntl.h>
#include <unistd.h>

#include <charconv>
#include <iostream>
#include <string>
#include <string_view>

#include "worker/examples/fenced_ledger.h"
#include "worker/fencing.h"
#include "worker/worker.h"

namespace {

using penstock::FencingToken;
using penstock::Outcome;
using penstock::TaskContext;
using penstock::examples::FencedLedger;

// "ann 120"
bool ParsePayload(std::string_view payload, std::string* account, int64_t* balance) {
  const size_t space = payload.find(' ');
  if (space == 0 || space == std::string_view::npos) return false;
  *account = std::string(payload.substr(0, space));
  const auto [end, error] = std::from_chars(payload.data() + space + 1, payload.data() + payload.size(), *balance);
  return error == std::errc() && end == payload.data() + payload.size();
}

void Say(const std::string& line) { std::cout << line << std::endl; }

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3 || argc > 4) {
    std::cerr << "usage: fenced_store BROKER FILE [GO]\n";
    return 2;
  }
  const std::string path = argv[2];
  const std::string go = argc > 3 ? argv[3] : "";
  penstock::WorkerOptions options;
  options.broker = argv[1];
  options.queues = {"ledger"};
  options.concurrency = 2;
  options.lease = absl::Seconds(2);

  penstock::Worker worker(options);
  worker.RegisterRaw("ledger.set_balance", [&](TaskContext& context, std::string_view payload) {
    std::string account;
    int64_t balance = 0;
    if (!ParsePayload(payload, &account, &balance)) {
      return Outcome::Reject({"payload", "write ACCOUNT BALANCE, for instance 'ann 120'", ""});
    }
    absl::StatusOr<FencedLedger> ledger = FencedLedger::Open(path);
    if (!ledger.ok()) return Outcome::FromStatus(ledger.status());
    const FencingToken token(context);
    Say("working on " + account + " with token " + token.ToText());
    // The work itself, which this run is in when it is frozen. It does not even look whether it was cancelled.
    while (!go.empty() && access(go.c_str(), F_OK) != 0) usleep(10'000);
    const absl::Status written = ledger->SetBalance(account, balance, token);
    if (absl::IsFailedPrecondition(written)) {
      Say("refused: " + std::string(written.message()));
      return Outcome::Cancelled();  // the task is another run's; nobody waits for what this one says
    }
    if (!written.ok()) return Outcome::FromStatus(written);
    Say("booked " + account);
    return Outcome::Done("booked", "text/plain");
  });
  if (const absl::Status status = worker.Run(); !status.ok()) {
    std::cerr << "fenced_store: " << status.message() << "\n";
    return 1;
  }
  return 0;
}
