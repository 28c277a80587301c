#include "broker/storage/tolerant_scan.h"

#include <memory>
#include <optional>

#include "broker/storage/rocksdb_options.h"

namespace penstock::broker {
namespace {

// Keys are compared as fractions of this many bytes: longer than all but unique keys.
constexpr size_t kKeyBytes = 24;

std::string_view ToView(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

// The key as a number of kKeyBytes bytes; what is longer is cut.
std::string Padded(std::string_view key) {
  std::string number(key.substr(0, kKeyBytes));
  number.resize(kKeyBytes, '\0');
  return number;
}

// number + 2^bit; nullopt: beyond the last.
std::optional<std::string> Plus(std::string number, int bit) {
  size_t index = kKeyBytes - 1 - static_cast<size_t>(bit) / 8;
  unsigned carry = 1u << bit % 8;
  while (true) {
    carry += static_cast<unsigned char>(number[index]);
    number[index] = static_cast<char>(carry & 0xff);
    carry >>= 8;
    if (carry == 0) return number;
    if (index-- == 0) return std::nullopt;
  }
}

class Scan {
 public:
  Scan(rocksdb::DB& db, rocksdb::ColumnFamilyHandle* family, TolerantVisitor* visitor)
      : db_(db), family_(family), visitor_(visitor) {}

  void Run() {
    std::unique_ptr<rocksdb::Iterator> it = NewIterator(/*verify=*/true);
    it->SeekToFirst();
    while (true) {
      for (; it->Valid(); it->Next()) Visit(*it, /*checked=*/true);
      if (it->status().ok()) return;
      const absl::Status error = ToStatus(it->status());
      it = ReadDamaged(error);
      if (it == nullptr) return;
    }
  }

 private:
  // Blocks that were not verified must not be found in the cache by those who verify.
  std::unique_ptr<rocksdb::Iterator> NewIterator(bool verify) {
    rocksdb::ReadOptions options;
    options.verify_checksums = verify;
    options.fill_cache = false;
    return std::unique_ptr<rocksdb::Iterator>(db_.NewIterator(options, family_));
  }

  void Visit(const rocksdb::Iterator& it, bool checked) {
    last_ = it.key().ToString();
    any_ = true;
    visitor_->OnEntry(last_, ToView(it.value()), checked);
  }

  // An iterator at `target`, or behind it, that stands in a whole block, or at the end; null: there is damage.
  std::unique_ptr<rocksdb::Iterator> WholeAt(const std::string& target) {
    std::unique_ptr<rocksdb::Iterator> it = NewIterator(true);
    it->Seek(target);
    return it->status().ok() ? std::move(it) : nullptr;
  }

  // Reads the damaged block behind last_ without its checksum; then an iterator that stands behind the damage. Null:
  // the end.
  std::unique_ptr<rocksdb::Iterator> ReadDamaged(const absl::Status& error) {
    const std::string before = last_;
    bool told = false;
    const std::unique_ptr<rocksdb::Iterator> damaged = NewIterator(false);
    if (any_) {
      damaged->Seek(last_ + '\0');
    } else {
      damaged->SeekToFirst();
    }
    for (; damaged->Valid(); damaged->Next()) {
      if (any_ && ToView(damaged->key()) <= last_) break;  // not even the keys can be trusted
      if (auto whole = WholeAt(damaged->key().ToString())) {
        if (told) return whole;
        break;  // this is behind the damage already: nothing of it could be read
      }
      if (!told) visitor_->OnDamage(before, "", /*readable=*/true, error);
      told = true;
      Visit(*damaged, /*checked=*/false);
    }
    if (told && !damaged->Valid() && damaged->status().ok()) return nullptr;
    return Behind(error);
  }

  // Looks for the first key behind last_ from which on the family can be read again: in growing steps, then by halves.
  std::unique_ptr<rocksdb::Iterator> Behind(const absl::Status& error) {
    const std::string start = Padded(last_);
    std::unique_ptr<rocksdb::Iterator> found;
    int found_bit = 0;
    for (int bit = 0; bit < static_cast<int>(kKeyBytes * 8) && found == nullptr; ++bit) {
      const std::optional<std::string> target = Plus(start, bit);
      if (!target) break;
      found = WholeAt(*target);
      found_bit = bit;
    }
    // What is known to be bad grows bit by bit.
    std::string bad = start;
    for (int bit = found_bit - 1; found != nullptr && bit >= 0; --bit) {
      const std::optional<std::string> target = Plus(bad, bit);
      if (!target) continue;
      if (auto whole = WholeAt(*target)) {
        found = std::move(whole);
      } else {
        bad = *target;
      }
    }
    // A key that was cut to kKeyBytes may lead back to where the scan has been.
    while (found != nullptr && found->Valid() && any_ && ToView(found->key()) <= last_) found->Next();
    const std::string next = found != nullptr && found->Valid() ? found->key().ToString() : "";
    visitor_->OnDamage(last_, next, /*readable=*/false, error);
    return next.empty() ? nullptr : std::move(found);
  }

  rocksdb::DB& db_;
  rocksdb::ColumnFamilyHandle* const family_;
  TolerantVisitor* const visitor_;
  std::string last_;  // the last entry that was visited
  bool any_ = false;
};

}  // namespace

void TolerantScan(rocksdb::DB& db, rocksdb::ColumnFamilyHandle* family, TolerantVisitor* visitor) {
  if (family != nullptr) Scan(db, family, visitor).Run();
}

}  // namespace penstock::broker
