#include "broker/storage/envelope.h"

#include <cstdint>

#include "absl/strings/escaping.h"
#include "common/coding.h"
#include "common/crc32c.h"
#include "common/text.h"
#include "fmt/format.h"

namespace penstock::broker {
namespace {

constexpr char kVersion = 1;

uint32_t Checksum(std::string_view key, char version, std::string_view body) {
  return Crc32c(body, Crc32c({&version, 1}, Crc32c(key)));
}

}  // namespace

std::string SealValue(std::string_view key, std::string_view body) {
  std::string value;
  value.reserve(kEnvelopeBytes + body.size());
  value.append(kEnvelopeBytes, '\0').append(body);
  SealValueInPlace(key, &value);
  return value;
}

void SealValueInPlace(std::string_view key, std::string* value) {
  const uint32_t crc = Checksum(key, kVersion, std::string_view(*value).substr(kEnvelopeBytes));
  std::string envelope(1, kVersion);
  PutBig32(&envelope, crc);
  value->replace(0, kEnvelopeBytes, envelope);
}

absl::StatusOr<std::string_view> OpenValue(std::string_view key, std::string_view value) {
  auto hex = [](std::string_view bytes) { return absl::BytesToHexString(ToAbsl(bytes)); };
  if (value.size() < kEnvelopeBytes) {
    return absl::DataLossError(
        fmt::format("the stored value of key {} is cut short: it has {} bytes", hex(key), value.size()));
  }
  Decoder decoder(value);
  const char version = static_cast<char>(decoder.Byte());
  const uint32_t stored = decoder.Big32();
  const uint32_t computed = Checksum(key, version, decoder.rest());
  if (stored != computed) {
    return absl::DataLossError(fmt::format("the stored value of key {} is damaged: its checksum is {:08x}, not {:08x}",
                                           hex(key), computed, stored));
  }
  if (version != kVersion) {
    return absl::FailedPreconditionError(fmt::format(
        "the stored value of key {} has format {}: a newer Penstock wrote it, which must read it", hex(key), version));
  }
  return decoder.rest();
}

}  // namespace penstock::broker
