// EnqueueStream against brokers that end streams as they should not, or not at all.

#include "client/enqueue_stream.h"

#include <atomic>
#include <future>
#include <map>
#include <set>

#include "broker/test_broker.h"
#include "client/callback_scope.h"
#include "client/client.h"
#include "common/status_details.h"
#include "common/status_grpc.h"
#include "gmock/gmock.h"
#include "grpcpp/create_channel.h"
#include "gtest/gtest.h"
#include "tests/unit/client/scripted_broker.h"

namespace penstock {
namespace {

using ::testing::HasSubstr;
using testing::ScriptedBroker;
using Results = absl::StatusOr<std::vector<EnqueueResult>>;

// Two of these do not go into one frame.
constexpr size_t kLarge = 600 << 10;

v1::TaskSpec Spec(std::string payload) {
  v1::TaskSpec spec;
  spec.set_queue("q");
  spec.set_type("t");
  spec.set_payload(std::move(payload));
  return spec;
}

class EnqueueStreamTest : public ::testing::Test {
 protected:
  std::unique_ptr<EnqueueStream> Open(EnqueueStream::Bounds bounds = {}, std::string address = "") {
    options_.reconnect_min = absl::Milliseconds(1);
    options_.reconnect_max = absl::Milliseconds(10);
    auto channel =
        grpc::CreateChannel(address.empty() ? broker_.address() : address, grpc::InsecureChannelCredentials());
    return std::make_unique<EnqueueStream>(options_, channel, bounds);
  }
  static std::future<Results> Add(EnqueueStream& stream, std::vector<v1::TaskSpec> tasks,
                                  absl::Duration timeout = absl::Minutes(5)) {
    auto promise = std::make_shared<std::promise<Results>>();
    auto future = promise->get_future();
    stream.Add(std::move(tasks), absl::Now() + timeout,
               [promise](Results results) { promise->set_value(std::move(results)); });
    return future;
  }
  static bool Holds(const v1::EnqueueStreamRequest& frame, const std::string& payload) {
    for (const v1::TaskSpec& task : frame.tasks()) {
      if (task.payload().compare(0, payload.size(), payload) == 0) return true;
    }
    return false;
  }

  ClientOptions options_;
  ScriptedBroker broker_;
};

TEST_F(EnqueueStreamTest, OnlyTheFrameThatEndsStreamsIsRefused) {
  // Words that we do not understand; the first stream answers nothing of what came before.
  std::atomic<int> streams = 0;
  broker_.on_stream = [&](ScriptedBroker::Stream* stream) {
    const bool first = ++streams == 1;
    v1::EnqueueStreamRequest frame;
    while (stream->Read(&frame)) {
      if (Holds(frame, "bad")) return grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "no room for this");
      if (!first) stream->Write(ScriptedBroker::Accept(frame));
    }
    return grpc::Status::OK;
  };
  auto stream = Open();
  std::vector<std::future<Results>> good;
  for (int i = 0; i < 4; ++i) good.push_back(Add(*stream, {Spec(std::string(kLarge, 'g'))}));
  auto bad = Add(*stream, {Spec("bad" + std::string(kLarge, 'b'))});
  for (int i = 0; i < 4; ++i) good.push_back(Add(*stream, {Spec(std::string(kLarge, 'g'))}));
  for (int i = 0; i < 50; ++i) good.push_back(Add(*stream, {Spec("small")}));
  const absl::Status refused = bad.get().status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr("no room for this"));
  std::set<TaskId> ids;
  for (auto& future : good) {
    Results results = future.get();
    ASSERT_TRUE(results.ok()) << results.status();
    ids.insert(results->at(0).id);
  }
  EXPECT_EQ(ids.size(), good.size());
}

TEST_F(EnqueueStreamTest, SmallFrameWaitsForAnAnswerWhenThreeAreUnderWay) {
  std::vector<std::promise<void>> arrived(3);
  std::promise<void> added;
  std::promise<int> tasks;
  broker_.on_stream = [&](ScriptedBroker::Stream* stream) {
    std::vector<v1::EnqueueStreamRequest> frames(3);
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_TRUE(stream->Read(&frames[i]));
      arrived[i].set_value();
    }
    added.get_future().wait();
    stream->Write(ScriptedBroker::Accept(frames[0]));
    v1::EnqueueStreamRequest grown;
    EXPECT_TRUE(stream->Read(&grown));
    tasks.set_value(grown.tasks_size());
    for (const auto& frame : {frames[1], frames[2], grown}) stream->Write(ScriptedBroker::Accept(frame));
    while (stream->Read(&grown)) stream->Write(ScriptedBroker::Accept(grown));
    return grpc::Status::OK;
  };
  auto stream = Open();
  std::vector<std::future<Results>> results;
  for (size_t i = 0; i < 3; ++i) {
    results.push_back(Add(*stream, {Spec("first")}));
    arrived[i].get_future().wait();
  }
  for (int i = 0; i < 10; ++i) results.push_back(Add(*stream, {Spec("later")}));
  added.set_value();
  EXPECT_EQ(tasks.get_future().get(), 10);
  for (auto& result : results) EXPECT_TRUE(result.get().ok());
}

TEST_F(EnqueueStreamTest, BrokerShortOfMemoryRefusesNobody) {
  // It ends streams over whatever is in flight, twice, and then recovers.
  std::atomic<int> ends = 0;
  broker_.on_stream = [&](ScriptedBroker::Stream* stream) {
    v1::EnqueueStreamRequest frame;
    while (stream->Read(&frame)) {
      if (++ends <= 2) return grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "buffers full");
      stream->Write(ScriptedBroker::Accept(frame));
    }
    return grpc::Status::OK;
  };
  for (const WhenUnavailable when : {WhenUnavailable::kWait, WhenUnavailable::kFailFast}) {
    ends = 0;
    options_.when_unavailable = when;
    auto stream = Open();
    const Results results = Add(*stream, {Spec("x")}).get();
    EXPECT_TRUE(results.ok()) << results.status();
  }
}

TEST_F(EnqueueStreamTest, CallsThatWereCoalescedIntoTooLargeAFrameGoAlone) {
  // The first frame is read late, so that the next one fills up.
  std::promise<void> added;
  std::shared_future<void> all_added = added.get_future().share();
  std::atomic<int> streams = 0;
  std::atomic<int> refused = 0;
  // By value: the broker may still be in it when this test is over.
  broker_.on_stream = [&, all_added](ScriptedBroker::Stream* stream) {
    ++streams;
    v1::EnqueueStreamRequest frame;
    while (all_added.wait(), stream->Read(&frame)) {
      if (const size_t size = frame.ByteSizeLong(); size > 200'000) {
        ++refused;
        return grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED,
                            "Received message larger than max (" + std::to_string(size) + " vs. 200000)");
      }
      stream->Write(ScriptedBroker::Accept(frame));
    }
    return grpc::Status::OK;
  };
  auto stream = Open();
  std::vector<std::future<Results>> futures;
  for (int i = 0; i < 100; ++i) futures.push_back(Add(*stream, {Spec(std::string(20'000, 'x'))}));
  auto large = Add(*stream, {Spec(std::string(250'000, 'x'))});
  added.set_value();
  for (auto& future : futures) {
    Results results = future.get();
    EXPECT_TRUE(results.ok()) << results.status();
  }
  const absl::Status status = large.get().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_EQ(LimitOf(status), "limits.message");
  // One was enough to learn the limit: what is too large does not end a stream any more.
  EXPECT_EQ(refused, 1);
  const int before = streams;
  const absl::Status known = Add(*stream, {Spec(std::string(300'000, 'x'))}).get().status();
  EXPECT_EQ(LimitOf(known), "limits.message") << known;
  EXPECT_THAT(std::string(known.message()), HasSubstr("200,000"));
  EXPECT_TRUE(Add(*stream, {Spec("x")}).get().ok());
  EXPECT_EQ(streams, before);
}

TEST_F(EnqueueStreamTest, FrameThatTheBrokerMayHaveForgottenIsNotSentAgain) {
  std::atomic<bool> answers = false;
  Mutex mu;
  std::map<uint64_t, std::vector<absl::Time>> sent;
  broker_.on_stream = [&](ScriptedBroker::Stream* stream) {
    v1::EnqueueStreamRequest frame;
    while (stream->Read(&frame)) {
      {
        MutexLock lock(mu);
        sent[frame.frame_number()].push_back(absl::Now());
      }
      if (!answers) return grpc::Status(grpc::StatusCode::UNAVAILABLE, "the broker stops");
      stream->Write(ScriptedBroker::Accept(frame));
    }
    return grpc::Status::OK;
  };
  auto stream = Open({.send_again = absl::Milliseconds(300)});
  const absl::Status status = Add(*stream, {Spec("x")}, absl::Hours(24)).get().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("the outcome is unknown"));
  answers = true;
  EXPECT_TRUE(Add(*stream, {Spec("y")}).get().ok());
  MutexLock lock(mu);
  // Again and again for a while, and no more.
  EXPECT_GT(sent[1].size(), 1u);
  EXPECT_EQ(sent[2].size(), 1u);
}

TEST_F(EnqueueStreamTest, FrameThatNeverReachedABrokerMayBeSentHoweverLate) {
  auto real = TestBroker::Start({.time_runs = true}).value();
  const std::string address = real->address();
  real->Stop();
  auto stream = Open({.send_again = absl::Milliseconds(20)}, address);
  auto future = Add(*stream, {Spec("x")}, absl::Hours(24));
  // Long enough for many attempts to connect.
  absl::SleepFor(absl::Milliseconds(300));
  real->Resume();
  const Results results = future.get();
  EXPECT_TRUE(results.ok()) << results.status();
}

TEST_F(EnqueueStreamTest, RefusalTellsItsDetails) {
  broker_.on_stream = [&](ScriptedBroker::Stream* stream) {
    v1::EnqueueStreamRequest frame;
    while (stream->Read(&frame)) {
      v1::EnqueueStreamResponse response;
      response.set_frame_number(frame.frame_number());
      response.set_error_code(static_cast<int>(absl::StatusCode::kResourceExhausted));
      response.set_error_message("the disk is full");
      response.mutable_retry_delay()->set_seconds(7);
      AddDetails(LimitReached("disk.watermark", "the disk is full", absl::Seconds(7)),
                 response.mutable_error_details());
      stream->Write(response);
    }
    return grpc::Status::OK;
  };
  auto stream = Open();
  // There is no time to wait for as long as the broker asks.
  const absl::Status status = Add(*stream, {Spec("x")}, absl::Seconds(5)).get().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_EQ(LimitOf(status), "disk.watermark");
  EXPECT_EQ(RetryAfterOf(status), absl::Seconds(7));
}

// What a broker says that has no room for a frame.
v1::EnqueueStreamResponse Refuse(const v1::EnqueueStreamRequest& frame) {
  const absl::Status status = LimitReached("limits.mailbox", "the broker is busy", absl::Milliseconds(1));
  v1::EnqueueStreamResponse response;
  response.set_frame_number(frame.frame_number());
  response.set_error_code(static_cast<int>(status.code()));
  response.set_error_message(std::string(status.message()));
  response.mutable_retry_delay()->set_nanos(1'000'000);
  AddDetails(status, response.mutable_error_details());
  return response;
}

TEST_F(EnqueueStreamTest, ABusyBrokerIsAskedAgainWithinTheBudget) {
  std::atomic<int> frames = 0;
  broker_.on_stream = [&](ScriptedBroker::Stream* stream) {
    v1::EnqueueStreamRequest frame;
    while (stream->Read(&frame)) {
      ++frames;
      stream->Write(Refuse(frame));
    }
    return grpc::Status::OK;
  };
  auto stream = Open();
  const absl::Time begin = absl::Now();
  const absl::Status status = Add(*stream, {Spec("x")}, absl::Seconds(3)).get().status();
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  // Once, ten times from what was saved, and once a second.
  EXPECT_LE(frames, 12 + absl::ToDoubleSeconds(absl::Now() - begin));
  EXPECT_GT(frames, 1);
}

TEST_F(EnqueueStreamTest, WhatABusyBrokerRefusedIsStoredOnceThereIsRoom) {
  std::atomic<int> refusals = 0;
  broker_.on_stream = [&](ScriptedBroker::Stream* stream) {
    v1::EnqueueStreamRequest frame;
    while (stream->Read(&frame)) stream->Write(++refusals <= 8 ? Refuse(frame) : ScriptedBroker::Accept(frame));
    return grpc::Status::OK;
  };
  auto stream = Open();
  std::vector<std::future<Results>> calls;
  for (int i = 0; i < 20; ++i) calls.push_back(Add(*stream, {Spec(std::string(kLarge, 'x'))}));
  for (auto& call : calls) EXPECT_TRUE(call.get().ok());
}

TEST_F(EnqueueStreamTest, CallbackGoesOverTheBoundInsteadOfWaitingForItself) {
  options_.in_flight_bytes = 1 << 20;
  auto stream = Open();
  constexpr int kMore = 5;
  std::atomic<int> left = kMore;
  std::promise<void> all;
  stream->Add({Spec("x")}, absl::InfiniteFuture(), [&](Results results) {
    EXPECT_TRUE(results.ok()) << results.status();
    EXPECT_TRUE(CallbackScope::Inside());
    for (int i = 0; i < kMore; ++i) {
      stream->Add({Spec(std::string(kLarge, 'x'))}, absl::InfiniteFuture(), [&](Results more) {
        EXPECT_TRUE(more.ok()) << more.status();
        if (--left == 0) all.set_value();
      });
    }
  });
  all.get_future().wait();
}

}  // namespace
}  // namespace penstock
