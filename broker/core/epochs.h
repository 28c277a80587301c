#ifndef PENSTOCK_BROKER_CORE_EPOCHS_H_
#define PENSTOCK_BROKER_CORE_EPOCHS_H_

// Numbers are never given out twice, also when a backup was restored whose original had gone on: at a start they move
// to where the clock stands, which no life of the data has reached before. Epochs count 4 minutes (24 bits of a token:
// 127 years); blocks have 2^17 numbers a minute (42 bits of a task id: 63 years), more than can be committed.
//
// A life that was started more often than once in 4 minutes has run ahead of the clock. A restore cannot know by how
// much: the backup is older. So the restored life begins kRestoreLeap epochs above the clock, the backup, and every
// earlier restore from the same folder, which that folder notes. Its numbers are new unless the original was started
// more than 8,192 times beyond once in 4 minutes since it last was not ahead: a start a second for more than two hours.
// Each restore costs 23 of those 127 years' days.

#include <algorithm>
#include <cstdint>

#include "broker/core/core_types.h"

namespace penstock::broker {

inline constexpr Span kEpochSpan = 4 * kMinute;
inline constexpr int kBlocksAMinuteBits = 17;
inline constexpr uint64_t kRestoreLeap = 8'192;

// The least epoch of a start at `wall`; 0 if numbers do not follow the clock yet.
inline uint64_t EpochOfClock(Time wall, Time numbers_begin) {
  return wall > numbers_begin ? static_cast<uint64_t>((wall - numbers_begin) / kEpochSpan) : 0;
}

// The least block number of a start in `epoch`, which is ahead of the clock if the epoch is.
inline uint64_t BlockOfClock(Time wall, Time numbers_begin, uint64_t epoch) {
  if (wall <= numbers_begin) return 0;
  const auto minutes = static_cast<uint64_t>((wall - numbers_begin) / kMinute);
  return std::max(minutes, epoch * (kEpochSpan / kMinute)) << kBlocksAMinuteBits;
}

// The epoch that a restored broker begins above. `seen`: the greatest of the backup and of earlier restores.
inline uint64_t EpochOfRestore(Time wall, Time numbers_begin, uint64_t seen) {
  return std::max(EpochOfClock(wall, numbers_begin), seen) + kRestoreLeap;
}

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_CORE_EPOCHS_H_
