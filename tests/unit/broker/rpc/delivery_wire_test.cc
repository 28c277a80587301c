// The bytes that a worker's stream carries are those that Protobuf would have written.

#include "broker/rpc/delivery_wire.h"

#include <cstdint>
#include <string>
#include <vector>

#include "google/protobuf/util/message_differencer.h"
#include "gtest/gtest.h"

namespace penstock::broker {
namespace {

using google::protobuf::util::MessageDifferencer;

std::string SpecOf(size_t payload_size) {
  v1::TaskSpec spec;
  spec.set_queue("mail");
  spec.set_type("mail.send");
  spec.set_payload(std::string(payload_size, 'p'));
  return spec.SerializeAsString();
}

void Expect(const Delivery& delivery, v1::Delivery* wire) {
  wire->set_task_id(delivery.task.ToString());
  wire->set_fencing_token(delivery.token.value());
  wire->set_attempt(delivery.attempt);
  wire->set_max_attempts(delivery.max_attempts);
  wire->mutable_create_time()->set_seconds(delivery.create_time / kSecond);
  wire->mutable_create_time()->set_nanos(static_cast<int32_t>(delivery.create_time % kSecond * 1'000));
  wire->mutable_run_timeout()->set_seconds(delivery.run_timeout / kSecond);
  wire->mutable_run_timeout()->set_nanos(static_cast<int32_t>(delivery.run_timeout % kSecond * 1'000));
  ASSERT_TRUE(wire->mutable_spec()->ParseFromArray(delivery.spec.data(), static_cast<int>(delivery.spec.size())));
  wire->set_checkpoint(delivery.checkpoint);
}

TEST(DeliveryWireTest, IsWhatProtobufWrites) {
  std::vector<std::string> specs = {""};
  for (size_t size : {0, 1, 90, 100, 110, 127, 128, 16'000, 16'383, 16'384, 2'097'152}) specs.push_back(SpecOf(size));
  std::vector<Delivery> deliveries;
  for (const std::string& spec : specs) {
    for (size_t checkpoint : {0, 1, 127, 128, 65'536}) {
      Delivery delivery;
      const auto number = static_cast<uint16_t>(deliveries.size());
      delivery.task = TaskId(7, uint64_t{1} << (number % 40), number);
      delivery.token = FencingToken(number % 3 == 0 ? UINT64_MAX : number + 1);
      delivery.attempt = number;  // 0 is not written
      delivery.max_attempts = number % 2 == 0 ? INT32_MAX : 0;
      delivery.create_time = number % 5 == 0 ? 0 : 1'800'000'000 * kSecond + number;
      delivery.run_timeout = number % 7 == 0 ? 0 : number * kMinute + 999'999;
      delivery.spec = spec;
      delivery.checkpoint = std::string(checkpoint, 'c');
      deliveries.push_back(delivery);
    }
  }
  v1::WorkResponse rest;
  rest.mutable_welcome()->set_session_id("w1");
  rest.set_acknowledged_frame(300);
  rest.add_refusals()->set_task_id("t");
  rest.add_cancelled_task_ids("u");
  rest.set_drain(true);
  for (const v1::WorkResponse& with : {v1::WorkResponse(), rest}) {
    for (size_t count : {size_t{0}, size_t{1}, deliveries.size()}) {
      const absl::Span<const Delivery> some(deliveries.data(), count);
      const std::string bytes = SerializeResponse(with, some);
      v1::WorkResponse expected = with;
      for (const Delivery& delivery : some) Expect(delivery, expected.add_deliveries());
      v1::WorkResponse parsed;
      ASSERT_TRUE(parsed.ParseFromString(bytes));
      EXPECT_TRUE(MessageDifferencer::Equals(parsed, expected)) << count;
      EXPECT_EQ(bytes.size(), expected.ByteSizeLong()) << count;
    }
  }
}

}  // namespace
}  // namespace penstock::broker
