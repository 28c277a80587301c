#ifndef PENSTOCK_COMMON_CODING_H_
#define PENSTOCK_COMMON_CODING_H_

// Byte strings: big-endian numbers for keys (they sort like the numbers), varints (as in Protobuf) for values.

#include <cstdint>
#include <string>
#include <string_view>

namespace penstock {

inline void PutBigEndian(std::string* out, uint64_t value, int bytes) {
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) out->push_back(static_cast<char>(value >> shift));
}
inline void PutBig16(std::string* out, uint16_t value) { PutBigEndian(out, value, 2); }
inline void PutBig32(std::string* out, uint32_t value) { PutBigEndian(out, value, 4); }
inline void PutBig64(std::string* out, uint64_t value) { PutBigEndian(out, value, 8); }

// One byte, mostly: that costs no call.
void PutLongVarint(std::string* out, uint64_t value);
inline void PutVarint(std::string* out, uint64_t value) {
  if (value < 0x80) {
    out->push_back(static_cast<char>(value));
  } else {
    PutLongVarint(out, value);
  }
}
// ZigZag, for numbers that may be negative.
inline void PutSigned(std::string* out, int64_t value) {
  PutVarint(out, static_cast<uint64_t>(value) << 1 ^ static_cast<uint64_t>(value >> 63));
}
// Length and bytes.
inline void PutBytes(std::string* out, std::string_view bytes) {
  PutVarint(out, bytes.size());
  out->append(bytes);
}

// Takes values off the front of a byte string. After a value that is cut short or too long, ok() is false and every
// further value is 0 or empty: check once, at the end.
class Decoder {
 public:
  explicit Decoder(std::string_view input) : input_(input) {}

  bool ok() const { return ok_; }
  bool done() const { return input_.empty(); }
  std::string_view rest() const { return input_; }

  uint8_t Byte() { return static_cast<uint8_t>(BigEndian(1)); }
  uint16_t Big16() { return static_cast<uint16_t>(BigEndian(2)); }
  uint32_t Big32() { return static_cast<uint32_t>(BigEndian(4)); }
  uint64_t Big64() { return BigEndian(8); }
  uint64_t BigEndian(int bytes);
  uint64_t Varint() {
    if (input_.empty() || static_cast<unsigned char>(input_.front()) >= 0x80) return LongVarint();
    const uint64_t value = static_cast<unsigned char>(input_.front());
    input_.remove_prefix(1);
    return value;
  }
  int64_t Signed() {
    const uint64_t value = Varint();
    return static_cast<int64_t>(value >> 1) ^ -static_cast<int64_t>(value & 1);
  }
  std::string_view Bytes() { return Raw(Varint()); }
  std::string_view Raw(uint64_t size);

 private:
  uint64_t LongVarint();
  void Fail() {
    ok_ = false;
    input_ = {};
  }

  std::string_view input_;
  bool ok_ = true;
};

}  // namespace penstock

#endif  // PENSTOCK_COMMON_CODING_H_
