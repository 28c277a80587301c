#include "broker/rpc/delivery_wire.h"

#include <string_view>

#include "broker/rpc/wire_writer.h"

namespace penstock::broker {
namespace {

using Wire = v1::Delivery;

// Of a delivery everything but spec and checkpoint: seven tags, four varints, an id, two times.
constexpr size_t kFixedBytesMax = 128;
// Tags and lengths of the delivery, its spec and its checkpoint.
constexpr size_t kFramingBytesMax = 24;

void Write(const Delivery& delivery, WireWriter* out) {
  char fixed[kFixedBytesMax];
  WireWriter writer(fixed);
  writer.Bytes(Wire::kTaskIdFieldNumber, delivery.task.ToString());
  writer.Number(Wire::kFencingTokenFieldNumber, delivery.token.value());
  writer.Number(Wire::kAttemptFieldNumber, delivery.attempt);
  writer.Number(Wire::kMaxAttemptsFieldNumber, delivery.max_attempts);
  writer.Time(Wire::kCreateTimeFieldNumber, delivery.create_time);
  writer.Time(Wire::kRunTimeoutFieldNumber, delivery.run_timeout);
  const std::string_view written(fixed, static_cast<size_t>(writer.at() - fixed));
  size_t size = written.size() + WireWriter::SizeOfBytes(Wire::kSpecFieldNumber, delivery.spec.size());
  if (!delivery.checkpoint.empty()) {
    size += WireWriter::SizeOfBytes(Wire::kCheckpointFieldNumber, delivery.checkpoint.size());
  }
  out->Message(v1::WorkResponse::kDeliveriesFieldNumber, size);
  out->Raw(written);
  out->Bytes(Wire::kSpecFieldNumber, delivery.spec);
  if (!delivery.checkpoint.empty()) out->Bytes(Wire::kCheckpointFieldNumber, delivery.checkpoint);
}

}  // namespace

std::string SerializeResponse(const v1::WorkResponse& rest, absl::Span<const Delivery> deliveries) {
  size_t size_max = rest.ByteSizeLong();
  for (const Delivery& delivery : deliveries) {
    size_max += kFixedBytesMax + kFramingBytesMax + delivery.spec.size() + delivery.checkpoint.size();
  }
  std::string bytes;
  bytes.resize(size_max);
  WireWriter writer(
      reinterpret_cast<char*>(rest.SerializeWithCachedSizesToArray(reinterpret_cast<uint8_t*>(bytes.data()))));
  for (const Delivery& delivery : deliveries) Write(delivery, &writer);
  bytes.resize(static_cast<size_t>(writer.at() - bytes.data()));
  return bytes;
}

}  // namespace penstock::broker
