#ifndef PENSTOCK_BROKER_RPC_BACKUP_DOOR_H_
#define PENSTOCK_BROKER_RPC_BACKUP_DOOR_H_

// Where the edge asks for backups. Implemented by the server (broker/backup_keeper.h).

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "broker/core/core_types.h"

namespace penstock::broker {

// As penstock.v1.Backup.
struct BackupView {
  uint32_t id = 0;
  absl::Time create_time;
  uint64_t bytes = 0;
  uint32_t files = 0;
  std::string label;
  uint64_t commit_sequence = 0;
  Time commit_time = 0;
  uint64_t epoch = 0;
  std::string version;
  std::string path;
};

struct BackupProgressView {
  uint64_t copied_bytes = 0;
  bool verifying = false;
};

struct BackupMade {
  BackupView backup;
  uint64_t deleted = 0;  // older ones
};

// Any thread; never blocks. Each `done` is called exactly once, from a thread that must not be blocked, or at once.
// `folder` is a checked name, or empty for the default.
class BackupDoor {
 public:
  template <class Value>
  using Done = std::function<void(absl::StatusOr<Value>)>;

  virtual ~BackupDoor() = default;
  // `keep` 0: deletes none.
  virtual void Create(std::string folder, std::string label, uint32_t keep,
                      std::function<void(BackupProgressView)> progress, Done<BackupMade> done) = 0;
  virtual void List(std::string folder, Done<std::vector<BackupView>> done) = 0;
  virtual void Verify(std::string folder, uint32_t id, Done<BackupView> done) = 0;
  virtual void Delete(std::string folder, uint32_t id, Done<BackupView> done) = 0;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_BACKUP_DOOR_H_
