#include "broker/storage/wal_scan.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/strings/numbers.h"
#include "broker/storage/storage_files.h"
#include "common/coding.h"
#include "common/crc32c.h"
#include "common/status.h"
#include "fmt/format.h"

namespace penstock::broker {
namespace {

constexpr uint64_t kBlockBytes = 32 * 1024;
constexpr uint64_t kFragmentHeaderBytes = 7;
constexpr uint64_t kBatchHeaderBytes = 12;
enum FragmentType : uint8_t { kFull = 1, kFirst = 2, kMiddle = 3, kLast = 4 };

constexpr char kLogDataTag = 3;
constexpr std::string_view kMarkHead("P\1", 2);
constexpr uint64_t kMarkBytes = kMarkHead.size() + 8;
// What of a record is worth keeping: batch header, tag, length and mark.
constexpr uint64_t kRecordHeadBytes = kBatchHeaderBytes + 2 + kMarkBytes;

uint64_t LittleEndian(std::string_view bytes) {
  uint64_t value = 0;
  for (size_t i = bytes.size(); i > 0; --i) value = value << 8 | static_cast<unsigned char>(bytes[i - 1]);
  return value;
}

struct Fragment {
  uint8_t type;
  std::string_view payload;
  uint64_t end;  // offset behind it
};

// The fragment at `offset`, if it is intact; without `check`, if it looks like one.
std::optional<Fragment> ReadFragment(std::string_view content, uint64_t offset, bool check = true) {
  const uint64_t block_end = std::min<uint64_t>(content.size(), (offset / kBlockBytes + 1) * kBlockBytes);
  if (block_end < offset + kFragmentHeaderBytes) return std::nullopt;
  const std::string_view header = content.substr(offset, kFragmentHeaderBytes);
  const uint8_t type = static_cast<uint8_t>(header[6]);
  const uint64_t length = LittleEndian(header.substr(4, 2));
  const uint64_t end = offset + kFragmentHeaderBytes + length;
  if (type < kFull || type > kLast || end > block_end) return std::nullopt;
  if (!check) return Fragment{type, content.substr(offset + kFragmentHeaderBytes, length), end};
  const uint32_t crc = Crc32c(content.substr(offset + 6, 1 + length));
  const uint32_t masked = (crc >> 15 | crc << 17) + 0xa282ead8u;
  if (masked != LittleEndian(header.substr(0, 4))) return std::nullopt;
  return Fragment{type, content.substr(offset + kFragmentHeaderBytes, length), end};
}

uint64_t SkipPadding(uint64_t offset) {
  const uint64_t left = kBlockBytes - offset % kBlockBytes;
  return left < kFragmentHeaderBytes ? offset + left : offset;
}

// A record, or its start if the rest cannot be read.
struct Record {
  bool whole = false;
  uint64_t end = 0;  // offset behind it, if whole
  std::string head;  // the first kRecordHeadBytes, or fewer
  uint64_t bytes = 0;

  uint64_t sequence() const { return LittleEndian(std::string_view(head).substr(0, 8)); }
  uint64_t count() const { return LittleEndian(std::string_view(head).substr(8, 4)); }
  std::optional<uint64_t> synced() const {
    if (head.size() < kRecordHeadBytes) return std::nullopt;
    Decoder decoder(std::string_view(head).substr(kBatchHeaderBytes));
    if (decoder.Byte() != kLogDataTag || decoder.Byte() != kMarkBytes || decoder.Raw(kMarkHead.size()) != kMarkHead) {
      return std::nullopt;
    }
    return decoder.Big64();
  }
};

// The record that starts at `offset`; nullopt if not even its first fragment is intact. `payload` may be null.
std::optional<Record> ReadRecord(std::string_view content, uint64_t offset, std::string* payload = nullptr,
                                 bool check = true) {
  std::optional<Fragment> fragment = ReadFragment(content, offset, check);
  if (!fragment || (fragment->type != kFull && fragment->type != kFirst)) return std::nullopt;
  Record record;
  while (true) {
    record.bytes += fragment->payload.size();
    record.head.append(fragment->payload.substr(0, kRecordHeadBytes - record.head.size()));
    if (payload != nullptr) payload->append(fragment->payload);
    if (fragment->type == kFull || fragment->type == kLast) {
      record.whole = record.bytes >= kBatchHeaderBytes;
      record.end = fragment->end;
      return record;
    }
    fragment = ReadFragment(content, SkipPadding(fragment->end), check);
    if (!fragment || (fragment->type != kMiddle && fragment->type != kLast)) return record;
  }
}

// Where behind a damage the next start of a record can be read; the file's end if nowhere. Every byte is tried: the
// damage may have hit a length, so that the following records of the block would be missed.
uint64_t FindRecord(std::string_view content, uint64_t offset) {
  for (; offset + kFragmentHeaderBytes <= content.size(); ++offset) {
    const uint8_t type = static_cast<uint8_t>(content[offset + 6]);
    if ((type == kFull || type == kFirst) && ReadFragment(content, offset)) return offset;
  }
  return content.size();
}

}  // namespace

std::string EncodeSyncMark(uint64_t synced_sequence) {
  std::string mark(kMarkHead);
  PutBig64(&mark, synced_sequence);
  return mark;
}

WalScan ScanWal(std::string_view content) {
  WalScan scan;
  scan.bytes = content.size();
  bool damaged = false;
  uint64_t offset = 0;
  while ((offset = SkipPadding(offset)) < content.size()) {
    std::optional<Record> record = ReadRecord(content, offset);
    if (record) scan.synced_sequence = std::max(scan.synced_sequence, record->synced().value_or(0));
    const bool follows = record && record->whole && (scan.records == 0 || record->sequence() == scan.next_sequence);
    if (!damaged && !follows) {
      damaged = true;
      scan.intact_bytes = offset;
    } else if (damaged && record) {
      ++scan.records_behind;
    }
    if (!damaged) {
      if (scan.records++ == 0) scan.first_sequence = record->sequence();
      scan.next_sequence = record->sequence() + record->count();
    }
    offset = record && record->whole ? record->end : FindRecord(content, offset + 1);
  }
  if (!damaged) scan.intact_bytes = scan.bytes;
  return scan;
}

uint64_t IntactLogBytes(std::string_view content) {
  uint64_t offset = 0;
  while (SkipPadding(offset) < content.size()) {
    std::optional<Record> record = ReadRecord(content, SkipPadding(offset));
    if (!record || record->end == 0) return offset;
    offset = record->end;
  }
  // Padding at the end is not cut.
  return content.size();
}

void ForEachWalRecord(std::string_view content, bool damaged_too,
                      absl::FunctionRef<bool(std::string_view payload, const WalRecordState& state)> visit) {
  WalRecordState state;
  uint64_t offset = 0;
  while ((offset = SkipPadding(offset)) < content.size()) {
    std::string payload;
    std::optional<Record> record = ReadRecord(content, offset, &payload);
    state.damaged = !record || !record->whole;
    if (state.damaged && damaged_too) {
      payload.clear();
      record = ReadRecord(content, offset, &payload, /*check=*/false);
      // Its length counts only if something whole, or nothing, stands where it ends.
      const uint64_t end = record && record->whole ? SkipPadding(record->end) : 0;
      if (end == 0 || (end < content.size() && !ReadRecord(content, end))) record.reset();
    }
    if (record && record->whole) {
      if (!visit(payload, state)) return;
      offset = record->end;
    } else {
      offset = FindRecord(content, offset + 1);
    }
    state.behind_damage = state.behind_damage || state.damaged;
  }
}

absl::StatusOr<std::vector<WalScan>> ScanWalFolder(const std::string& folder) {
  std::vector<std::pair<uint64_t, std::string>> files;
  std::error_code error;
  for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    uint64_t number = 0;
    const std::filesystem::path& path = it->path();
    if (path.extension() == ".log" && absl::SimpleAtoi(path.stem().string(), &number)) {
      files.emplace_back(number, path.string());
    }
  }
  if (error && error != std::errc::no_such_file_or_directory) {
    return absl::UnavailableError(fmt::format("cannot list {}: {}", folder, error.message()));
  }
  std::sort(files.begin(), files.end());
  std::vector<WalScan> scans;
  for (auto& [number, path] : files) {
    ASSIGN_OR_RETURN(const std::string content, ReadWholeFile(path));
    WalScan& scan = scans.emplace_back(ScanWal(content));
    scan.path = std::move(path);
    scan.number = number;
  }
  return scans;
}

}  // namespace penstock::broker
