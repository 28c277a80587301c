#include "broker/rpc/delivery_wire.h"

#include <cstring>
#include <string>
#include <string_view>

#include "google/protobuf/timestamp.pb.h"

namespace penstock::broker {
namespace {

using Wire = v1::Delivery;

constexpr uint64_t kVarint = 0;
constexpr uint64_t kLengthDelimited = 2;
// Everything but spec and checkpoint: eight tags, five varints, an id, two times.
constexpr size_t kFixedBytesMax = 128;

// Writes where enough room is known to be.
class Writer {
 public:
  explicit Writer(char* at) : at_(at) {}

  void Number(int field, uint64_t value) {
    if (value == 0) return;  // as proto3 does
    Varint(static_cast<uint64_t>(field) << 3 | kVarint);
    Varint(value);
  }
  void Bytes(int field, std::string_view bytes) {
    Varint(static_cast<uint64_t>(field) << 3 | kLengthDelimited);
    Varint(bytes.size());
    std::memcpy(at_, bytes.data(), bytes.size());
    at_ += bytes.size();
  }
  // A Timestamp or a Duration, whose fields have the same numbers. Not negative.
  void Time(int field, int64_t micros) {
    char inner[32];
    Writer writer(inner);
    writer.Number(google::protobuf::Timestamp::kSecondsFieldNumber, static_cast<uint64_t>(micros / kSecond));
    writer.Number(google::protobuf::Timestamp::kNanosFieldNumber, static_cast<uint64_t>(micros % kSecond * 1'000));
    Bytes(field, std::string_view(inner, static_cast<size_t>(writer.at() - inner)));
  }
  const char* at() const { return at_; }

 private:
  void Varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) *at_++ = static_cast<char>(value | 0x80);
    *at_++ = static_cast<char>(value);
  }

  char* at_;
};

}  // namespace

void AddDelivery(const Delivery& delivery, v1::WorkResponse* out) {
  std::string& bytes = *v1::WorkResponse::GetReflection()->MutableUnknownFields(out)->AddLengthDelimited(
      v1::WorkResponse::kDeliveriesFieldNumber);
  bytes.resize(kFixedBytesMax + delivery.spec.size() + delivery.checkpoint.size());
  Writer writer(bytes.data());
  writer.Bytes(Wire::kTaskIdFieldNumber, delivery.task.ToString());
  writer.Number(Wire::kFencingTokenFieldNumber, delivery.token.value());
  writer.Number(Wire::kAttemptFieldNumber, delivery.attempt);
  writer.Number(Wire::kMaxAttemptsFieldNumber, delivery.max_attempts);
  writer.Time(Wire::kCreateTimeFieldNumber, delivery.create_time);
  writer.Bytes(Wire::kSpecFieldNumber, delivery.spec);
  writer.Time(Wire::kRunTimeoutFieldNumber, delivery.run_timeout);
  if (!delivery.checkpoint.empty()) writer.Bytes(Wire::kCheckpointFieldNumber, delivery.checkpoint);
  bytes.resize(static_cast<size_t>(writer.at() - bytes.data()));
}

}  // namespace penstock::broker
