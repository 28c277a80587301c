#include "broker/rpc/page_token.h"

#include "absl/strings/escaping.h"
#include "broker/rpc/fields.h"
#include "common/coding.h"
#include "common/text.h"

namespace penstock::broker {
namespace {

constexpr size_t kTokenBytes = 1 + 4 * 8;

}  // namespace

std::string PageToken::ToString() const {
  std::string bytes(1, static_cast<char>(phase));
  for (uint64_t number : place) PutBig64(&bytes, number);
  PutBig64(&bytes, filter);
  return absl::BytesToHexString(bytes);
}

absl::StatusOr<PageToken> PageToken::Parse(std::string_view text) {
  PageToken token;
  if (text.empty()) return token;
  std::string bytes;
  if (text.size() == 2 * kTokenBytes && text.find_first_not_of("0123456789abcdef") == std::string_view::npos) {
    bytes = absl::HexStringToBytes(ToAbsl(text));
  }
  Decoder decoder(bytes);
  token.phase = decoder.Byte();
  for (uint64_t& number : token.place) number = decoder.Big64();
  token.filter = decoder.Big64();
  if (!decoder.ok()) return BadField(FieldPath("page_token"), "is not the next_page_token of a page before");
  return token;
}

}  // namespace penstock::broker
