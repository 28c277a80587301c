#include "broker/storage/commit_batch.h"

#include "common/coding.h"

namespace penstock::broker {

void CommitBatch::Add(Kind kind, Family family, std::string_view key, std::string_view value) {
  operations_.push_back(static_cast<char>(kind));
  operations_.push_back(static_cast<char>(family));
  PutBytes(&operations_, key);
  if (kind == Kind::kPut || kind == Kind::kDeleteRange) PutBytes(&operations_, value);
}

absl::Status CommitBatch::ForEach(absl::FunctionRef<void(const Operation&)> visit) const {
  Decoder decoder(operations_);
  while (!decoder.done()) {
    const uint8_t kind = decoder.Byte();
    const uint8_t family = decoder.Byte();
    Operation operation{static_cast<Kind>(kind), static_cast<Family>(family), decoder.Bytes(), {}};
    if (operation.kind == Kind::kPut || operation.kind == Kind::kDeleteRange) operation.value = decoder.Bytes();
    if (!decoder.ok() || kind < 1 || kind > 4 || family >= kFamilyCount) {
      return absl::DataLossError("a commit's list of operations is broken");
    }
    visit(operation);
  }
  return absl::OkStatus();
}

}  // namespace penstock::broker
