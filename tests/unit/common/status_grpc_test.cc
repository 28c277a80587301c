#include "common/status_grpc.h"

#include <string>

#include "gtest/gtest.h"

namespace penstock {
namespace {

TEST(StatusGrpcTest, OkStaysOk) {
  EXPECT_TRUE(ToGrpc(absl::OkStatus()).ok());
  EXPECT_TRUE(FromGrpc(grpc::Status::OK).ok());
}

TEST(StatusGrpcTest, InvalidFieldTravels) {
  const grpc::Status wire = ToGrpc(InvalidField("tasks[3].queue", "is empty"));
  EXPECT_EQ(wire.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(wire.error_message(), "tasks[3].queue: is empty");
  const absl::Status back = FromGrpc(wire);
  EXPECT_EQ(back.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(FieldOf(back), "tasks[3].queue");
  EXPECT_EQ(LimitOf(back), "");
  EXPECT_EQ(RetryAfterOf(back), std::nullopt);
}

TEST(StatusGrpcTest, LimitAndItsRetryTravel) {
  const absl::Status back =
      FromGrpc(ToGrpc(LimitReached("limits.mailbox", "the mailbox is full", absl::Milliseconds(1'250))));
  EXPECT_EQ(back.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(std::string(back.message()), "the mailbox is full");
  EXPECT_EQ(LimitOf(back), "limits.mailbox");
  EXPECT_EQ(RetryAfterOf(back), absl::Milliseconds(1'250));
  EXPECT_EQ(RetryAfterOf(FromGrpc(ToGrpc(LimitReached("limits.queues", "too many")))), std::nullopt);
}

TEST(StatusGrpcTest, FieldOverALimitNamesBoth) {
  const absl::Status back = FromGrpc(ToGrpc(FieldOverLimit("payload", "is too large", "limits.message")));
  EXPECT_EQ(back.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(std::string(back.message()), "payload: is too large");
  EXPECT_EQ(FieldOf(back), "payload");
  EXPECT_EQ(LimitOf(back), "limits.message");
}

TEST(StatusGrpcTest, DetailsTravelInAMessage) {
  google::protobuf::RepeatedPtrField<google::protobuf::Any> details;
  AddDetails(LimitReached("limits.queues", "too many", absl::Seconds(3)), &details);
  EXPECT_EQ(details.size(), 2);
  absl::Status back = absl::ResourceExhaustedError("too many");
  SetDetails(details, &back);
  EXPECT_EQ(back, LimitReached("limits.queues", "too many", absl::Seconds(3)));
}

TEST(StatusGrpcTest, EveryCodeKeepsItsMeaning) {
  for (int code = 1; code <= 16; ++code) {
    const absl::Status status(static_cast<absl::StatusCode>(code), "text");
    EXPECT_EQ(ToGrpc(status).error_code(), static_cast<grpc::StatusCode>(code));
    EXPECT_EQ(FromGrpc(ToGrpc(status)), status);
  }
}

TEST(StatusGrpcTest, DetailsThatAreNoneAreIgnored) {
  const absl::Status status = FromGrpc(grpc::Status(grpc::StatusCode::INTERNAL, "text", "\xff\xff no proto"));
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(FieldOf(status), "");
}

}  // namespace
}  // namespace penstock
