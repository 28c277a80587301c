#ifndef PENSTOCK_BROKER_STORAGE_BALLAST_H_
#define PENSTOCK_BROKER_STORAGE_BALLAST_H_

#include <cstdint>
#include <string>

#include "broker/storage/data_dir.h"

namespace penstock::broker {

// Space that the broker keeps for itself on the data folder's disk, so that tasks can be finished when others have
// filled it: the file BALLAST, which takes space and holds nothing. When a commit finds no room it is deleted, and what
// it took is there for completions; when there is plenty of space, it is made again. Owned by the server; one thread at
// a time.
class Ballast {
 public:
  // For the data folder `folder`. `bytes` 0: none is kept, and one that an earlier broker left is deleted.
  Ballast(const std::string& folder, uint64_t bytes);

  // Makes the file if it is not there and the disk has room for it: `free_min` bytes, and at least once more what the
  // file takes, stay free afterwards, so that giving it up alone is no reason to make it again. Returns whether it was
  // made now.
  bool Keep(const DiskSpace& space, uint64_t free_min);

  // Deletes the file. False: there is none, so nothing was gained.
  bool Release();

  // It was given up, and there has not been room to make it again since.
  bool spent() const { return spent_; }
  // What the file takes: 0 without one.
  uint64_t kept_bytes() const { return kept_ ? bytes_ : 0; }
  // What has to be free before it is made.
  uint64_t NeededFree(uint64_t free_min) const;

 private:
  bool Make();
  bool Delete();

  const std::string folder_;
  const std::string path_;
  const uint64_t bytes_;
  bool kept_ = false;
  bool spent_ = false;
  bool in_vain_ = false;  // the file system cannot reserve space
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_STORAGE_BALLAST_H_
