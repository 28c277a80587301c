#ifndef PENSTOCK_BROKER_RPC_WIRE_WRITER_H_
#define PENSTOCK_BROKER_RPC_WIRE_WRITER_H_

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "broker/core/core_types.h"
#include "google/protobuf/timestamp.pb.h"

namespace penstock::broker {

// Writes fields as Protobuf does, for messages that are not worth an object. The caller knows that there is room.
class WireWriter {
 public:
  explicit WireWriter(char* at) : at_(at) {}

  // Nothing where it is 0, as proto3 does.
  void Number(int field, uint64_t value) {
    if (value == 0) return;
    Varint(static_cast<uint64_t>(field) << 3 | kVarint);
    Varint(value);
  }
  void Bytes(int field, std::string_view bytes) {
    Message(field, bytes.size());
    Raw(bytes);
  }
  // A message whose fields, `size` bytes, are written next.
  void Message(int field, size_t size) {
    Varint(static_cast<uint64_t>(field) << 3 | kLengthDelimited);
    Varint(size);
  }
  // Fields that are written already.
  void Raw(std::string_view bytes) {
    if (!bytes.empty()) std::memcpy(at_, bytes.data(), bytes.size());
    at_ += bytes.size();
  }
  // A Timestamp or a Duration, whose fields have the same numbers. Not negative.
  void Time(int field, int64_t micros) {
    char inner[32];
    WireWriter writer(inner);
    writer.Number(google::protobuf::Timestamp::kSecondsFieldNumber, static_cast<uint64_t>(micros / kSecond));
    writer.Number(google::protobuf::Timestamp::kNanosFieldNumber, static_cast<uint64_t>(micros % kSecond * 1'000));
    Bytes(field, std::string_view(inner, static_cast<size_t>(writer.at() - inner)));
  }
  char* at() const { return at_; }

  // What Bytes will take.
  static size_t SizeOfBytes(int field, size_t size) {
    return SizeOfVarint(static_cast<uint64_t>(field) << 3) + SizeOfVarint(size) + size;
  }

 private:
  static constexpr uint64_t kVarint = 0;
  static constexpr uint64_t kLengthDelimited = 2;

  static size_t SizeOfVarint(uint64_t value) { return (static_cast<size_t>(std::bit_width(value | 1)) + 6) / 7; }
  void Varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) *at_++ = static_cast<char>(value | 0x80);
    *at_++ = static_cast<char>(value);
  }

  char* at_;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_WIRE_WRITER_H_
