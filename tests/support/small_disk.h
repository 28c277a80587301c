#ifndef PENSTOCK_TESTS_SUPPORT_SMALL_DISK_H_
#define PENSTOCK_TESTS_SUPPORT_SMALL_DISK_H_

#include <cstdint>
#include <string>

#include "tests/support/temp_folder.h"

namespace penstock::testing {

// A file system of a few MiB in memory, which can really be filled. It is seen by this process and its children only.
class SmallDisk {
 public:
  // Takes this process where it may mount. To be called in main, before there is another thread. False: the system does
  // not allow it, to root or to anybody.
  static bool Allow();

  // REQUIRES: Allow has returned true.
  explicit SmallDisk(uint64_t mebibytes);
  ~SmallDisk();

  std::string operator/(const std::string& name) const { return folder_ / name; }

  // Takes all that is free, but for about so many bytes, as another program would; and gives it back.
  void Fill(uint64_t leave = 0);
  void Free();

 private:
  const TempFolder folder_;
};

}  // namespace penstock::testing

#endif  // PENSTOCK_TESTS_SUPPORT_SMALL_DISK_H_
