#include "client/fake_client.h"

#include <future>

#include "gtest/gtest.h"

namespace penstock {
namespace {

TEST(FakeClientTest, RemembersWhatWasEnqueued) {
  FakeClient client;
  const TaskId id = client.Enqueue("mail", "mail.welcome", "ann").value();
  ASSERT_EQ(client.EnqueuedOfType("mail.welcome").size(), 1u);
  EXPECT_EQ(client.EnqueuedOfType("mail.welcome")[0].task.payload, "ann");
  EXPECT_TRUE(client.EnqueuedOfType("other").empty());
  client.Complete(id, "sent");
  EXPECT_EQ(client.Wait<std::string>(id, absl::ZeroDuration()).value(), "sent");
}

TEST(FakeClientTest, DeadTaskTellsItsError) {
  FakeClient client;
  const TaskId id = client.Enqueue("mail", "mail.welcome", "ann").value();
  client.Kill(id, "no such mailbox");
  auto result = client.Wait<std::string>(id, absl::ZeroDuration());
  EXPECT_EQ(result.status().code(), absl::StatusCode::kAborted);
  EXPECT_EQ(std::string(result.status().message()), "the task is dead: rejected; last error: no such mailbox");
}

TEST(FakeClientTest, FailsAsTold) {
  FakeClient client;
  client.FailEnqueues(absl::UnavailableError("down"));
  EXPECT_EQ(client.Enqueue("mail", "mail.welcome", "ann").status().code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(client.Enqueued().empty());
}

TEST(FakeClientTest, KnowsDuplicates) {
  FakeClient client;
  const TaskId id = client.Enqueue("mail", "a", "", {.unique_key = "k"}).value();
  EXPECT_TRUE(client.Enqueue(NewTask{"mail", "a", "", {.unique_key = "k"}})->duplicate);
  client.Complete(id, "");
  EXPECT_FALSE(client.Enqueue(NewTask{"mail", "a", "", {.unique_key = "k"}})->duplicate);
}

TEST(FakeClientTest, ManyAreRememberedAndFailAsTold) {
  FakeClient client;
  auto results = client.EnqueueManyFuture(std::vector<NewTask>(3, NewTask{"mail", "a", "x", {}})).get();
  ASSERT_TRUE(results.ok()) << results.status();
  EXPECT_EQ(results->size(), 3u);
  EXPECT_EQ(client.Enqueued().size(), 3u);
  client.FailEnqueues(absl::UnavailableError("down"));
  EXPECT_EQ(client.EnqueueManyFuture({NewTask{"mail", "a", "x", {}}}).get().status().code(),
            absl::StatusCode::kUnavailable);
}

TEST(FakeClientTest, TaskThatIsWaitedForTellsItsEnd) {
  std::future<absl::StatusOr<TaskInfo>> never;
  {
    FakeClient client;
    const TaskId done = client.Enqueue("mail", "a", "").value();
    const TaskId dead = client.Enqueue("mail", "a", "").value();
    auto first = client.WaitFuture(done, absl::Minutes(1));
    auto second = client.WaitFuture(dead, absl::Minutes(1));
    EXPECT_EQ(client.WaitFuture(done, absl::ZeroDuration()).get()->state, TaskState::kAvailable);
    client.Complete(done, "sent");
    client.Kill(dead, "no such mailbox");
    EXPECT_EQ(first.get()->result, "sent");
    EXPECT_EQ(second.get()->state, TaskState::kDead);
    EXPECT_EQ(client.WaitFuture(done, absl::Minutes(1)).get()->result, "sent");
    EXPECT_EQ(client.WaitFuture(TaskId(0, 99, 0), absl::Minutes(1)).get().status().code(), absl::StatusCode::kNotFound);
    never = client.WaitFuture(client.Enqueue("mail", "a", "").value(), absl::Minutes(1));
  }
  EXPECT_EQ(never.get().status().code(), absl::StatusCode::kCancelled);
}

TEST(FakeClientTest, CallsThatBlockAreRefusedInACallbackAsByTheRealClient) {
  FakeClient client;
  bool called = false;
  client.EnqueueAsync(NewTask{"mail", "a", "x", {}}, [&](absl::StatusOr<EnqueueResult> result) {
    called = true;
    EXPECT_EQ(client.Enqueue("mail", "a", "x").status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(client.GetTask(result->id).status().code(), absl::StatusCode::kFailedPrecondition);
  });
  EXPECT_TRUE(called);
  EXPECT_EQ(client.Enqueued().size(), 1u);
}

}  // namespace
}  // namespace penstock
