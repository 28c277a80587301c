#include "client/fake_client.h"

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

}  // namespace
}  // namespace penstock
