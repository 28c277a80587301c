#ifndef PENSTOCK_WORKER_EXAMPLES_FENCED_LEDGER_H_
#define PENSTOCK_WORKER_EXAMPLES_FENCED_LEDGER_H_

#include <sqlite3.h>

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/fencing.h"

namespace penstock::examples {

// Balances of accounts in an SQLite file, each with the fencing token of the run that wrote it last. Several processes
// may have the file open. Not thread-safe.
class FencedLedger {
 public:
  struct Entry {
    int64_t balance = 0;
    FencingToken fence;
  };

  // Makes the file and its table if need be.
  static absl::StatusOr<FencedLedger> Open(const std::string& path) {
    sqlite3* file = nullptr;
    const int result = sqlite3_open(path.c_str(), &file);
    FencedLedger ledger(file);
    if (result != SQLITE_OK) return ledger.Error("cannot open " + path);
    sqlite3_busy_timeout(file, 10'000);
    if (sqlite3_exec(file,
                     "CREATE TABLE IF NOT EXISTS account (id TEXT PRIMARY KEY, balance INTEGER NOT NULL, fence INTEGER "
                     "NOT NULL)",
                     nullptr, nullptr, nullptr) != SQLITE_OK) {
      return ledger.Error("cannot make the table");
    }
    return ledger;
  }
  FencedLedger(FencedLedger&& other) noexcept : file_(other.file_) { other.file_ = nullptr; }
  FencedLedger& operator=(FencedLedger&&) = delete;
  ~FencedLedger() { sqlite3_close(file_); }

  // FailedPrecondition: a newer run has written the account; nothing was changed. The check and the write are one
  // statement: nothing can come in between.
  absl::Status SetBalance(const std::string& account, int64_t balance, FencingToken token) {
    sqlite3_stmt* statement = nullptr;
    if (sqlite3_prepare_v2(
            file_,
            "INSERT INTO account (id, balance, fence) VALUES (?1, ?2, ?3) ON CONFLICT (id) DO UPDATE "
            "SET balance = excluded.balance, fence = excluded.fence WHERE account.fence <= excluded.fence",
            -1, &statement, nullptr) != SQLITE_OK) {
      return Error("cannot write");
    }
    sqlite3_bind_text(statement, 1, account.data(), static_cast<int>(account.size()), SQLITE_TRANSIENT);
    sqlite3_bind_int64(statement, 2, balance);
    sqlite3_bind_int64(statement, 3, token.ForSql());
    const int result = sqlite3_step(statement);
    const int changed = sqlite3_changes(file_);
    sqlite3_finalize(statement);
    if (result != SQLITE_DONE) return Error("cannot write");
    if (changed == 0) return absl::FailedPreconditionError("a newer run has written account " + account);
    return absl::OkStatus();
  }

  // NotFound: there is no such account.
  absl::StatusOr<Entry> Read(const std::string& account) {
    sqlite3_stmt* statement = nullptr;
    if (sqlite3_prepare_v2(file_, "SELECT balance, fence FROM account WHERE id = ?1", -1, &statement, nullptr) !=
        SQLITE_OK) {
      return Error("cannot read");
    }
    sqlite3_bind_text(statement, 1, account.data(), static_cast<int>(account.size()), SQLITE_TRANSIENT);
    const int result = sqlite3_step(statement);
    Entry entry;
    if (result == SQLITE_ROW) {
      entry.balance = sqlite3_column_int64(statement, 0);
      entry.fence = FencingToken(static_cast<uint64_t>(sqlite3_column_int64(statement, 1)));
    }
    sqlite3_finalize(statement);
    if (result == SQLITE_ROW) return entry;
    if (result == SQLITE_DONE) return absl::NotFoundError("no account " + account);
    return Error("cannot read");
  }

 private:
  explicit FencedLedger(sqlite3* file) : file_(file) {}
  absl::Status Error(const std::string& what) const {
    return absl::UnavailableError(what + ": " + sqlite3_errmsg(file_));
  }

  sqlite3* file_;
};

}  // namespace penstock::examples

#endif  // PENSTOCK_WORKER_EXAMPLES_FENCED_LEDGER_H_
