// Walks by filters, over a store that holds what the core would have written.

#include "broker/rpc/task_filter.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "broker/rpc/task_walk.h"
#include "common/status.h"
#include "common/status_details.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/fake_door.h"
#include "tests/unit/broker/rpc/waiting_tasks.h"

namespace penstock::broker {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr size_t kTasks = 12;

// Tasks 0 to 11 of customers 0, 1, 2, 0, 1, 2, ...; 3 has a tag, 4 a key, 5 a group, 6 is no JSON. 8 and 9 are dead, 10
// is cancelled.
class TaskFilterTest : public ::testing::Test {
 protected:
  TaskFilterTest() : now_(ToMicros(clock_.Read().wall)), tasks_(store_, now_) {
    std::vector<v1::TaskSpec> specs(kTasks);
    for (size_t i = 0; i < kTasks; ++i) {
      specs[i].set_payload(fmt::format(R"({{"customer": {}, "n": {}}})", i % 3, i));
    }
    specs[3].add_tags("red");
    specs[4].set_key("order-4");
    specs[5].set_group("acme");
    specs[6].set_payload("no json");
    tasks_.Put(specs);
    tasks_.End(8, State::kDead, now_ - kMinute, "Timeout", "no answer from MAIL.example.com");
    tasks_.End(9, State::kDead, now_, "Rejected", "bad address");
    tasks_.End(10, State::kCancelled, now_);
    door_.SetStore(&store_);
    door_.SetScript([this](const Command& command, Effects* effects) { return tasks_.Answer(command, effects); });
    filter_.set_queue("mail");
  }

  absl::StatusOr<TaskPage> Walk(const PageToken& from, uint32_t page_size) {
    ASSIGN_OR_RETURN(TaskFilter filter, TaskFilter::Make(FieldPath("filter"), filter_, context_.limits));
    struct Answered {
      Mutex mu;
      CondVar done;
      std::optional<absl::StatusOr<TaskPage>> page ABSL_GUARDED_BY(mu);
    };
    auto answered = std::make_shared<Answered>();
    TaskWalk::Start(context_, std::make_shared<const TaskFilter>(std::move(filter)), from, page_size,
                    [answered](absl::StatusOr<TaskPage> page) {
                      MutexLock lock(answered->mu);
                      answered->page = std::move(page);
                      answered->done.SignalAll();
                    });
    MutexLock lock(answered->mu);
    while (!answered->page) answered->done.Wait(answered->mu);
    return *std::move(answered->page);
  }

  // The slots of all that fits.
  std::vector<uint32_t> List(uint32_t page_size = 100) {
    std::vector<uint32_t> slots;
    PageToken from;
    for (int pages = 0; pages < 100; ++pages) {
      const absl::StatusOr<TaskPage> page = Walk(from, page_size);
      EXPECT_TRUE(page.ok()) << page.status();
      if (!page.ok()) return slots;
      for (const v1::Task& task : page->tasks) {
        slots.push_back(TaskId::Parse(task.task_id())->slot());
        EXPECT_EQ(task.spec().payload(), "");
      }
      if (page->at_end) return slots;
      from = page->next;
    }
    ADD_FAILURE() << "the list does not end";
    return slots;
  }

  std::string FieldOfRefusal() {
    const absl::Status status = Walk(PageToken(), 100).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    return FieldOf(status);
  }

  ManualClock clock_;
  const Time now_;
  MemoryStore store_;
  TicketTable tickets_;
  FakeDoor door_{tickets_};
  OpenCalls calls_;
  WaitingTasks tasks_;
  v1::TaskFilter filter_;
  ReadPool reads_;
  Allowance held_back_{1 << 20};
  RpcContext context_{door_, tickets_, calls_, reads_, clock_, ApiLimits(), held_back_, std::string("1"), uint8_t{0}};
};

TEST_F(TaskFilterTest, SeveralStates) {
  filter_.add_states(v1::TASK_STATE_DEAD);
  filter_.add_states(v1::TASK_STATE_CANCELLED);
  EXPECT_THAT(List(), ElementsAre(9, 8, 10));
  EXPECT_THAT(List(1), ElementsAre(9, 8, 10));
  filter_.add_states(v1::TASK_STATE_AVAILABLE);
  EXPECT_EQ(List().size(), kTasks);
}

TEST_F(TaskFilterTest, PayloadsThatAreJson) {
  filter_.set_where("payload.customer == 2");
  for (uint32_t page_size : {1, 2, 100}) EXPECT_THAT(List(page_size), ElementsAre(2, 5, 11, 8)) << page_size;
  filter_.set_where("!(payload.customer == 2)");
  EXPECT_THAT(List(), ElementsAre(0, 1, 3, 4, 7, 9)) << "6 is no JSON; what is cancelled has no payload any more";
  filter_.set_where("payload.customer == 2 && payload.n > 5");
  filter_.add_states(v1::TASK_STATE_DEAD);
  EXPECT_THAT(List(), ElementsAre(8));
}

TEST_F(TaskFilterTest, TagKeyAndGroup) {
  filter_.set_tag("red");
  EXPECT_THAT(List(), ElementsAre(3));
  filter_.clear_tag();
  filter_.set_key("order-4");
  EXPECT_THAT(List(), ElementsAre(4));
  filter_.clear_key();
  filter_.set_group("acme");
  EXPECT_THAT(List(), ElementsAre(5));
  filter_.set_where("payload.customer == 1");
  EXPECT_THAT(List(), IsEmpty());
}

TEST_F(TaskFilterTest, TheLastErrorsText) {
  filter_.set_error("mail.EXAMPLE");
  EXPECT_THAT(List(), ElementsAre(8));
  filter_.set_error("rejected");
  EXPECT_THAT(List(), ElementsAre(9));
  filter_.set_error("an earlier one");
  EXPECT_THAT(List(), IsEmpty()) << "an error before the last does not count";
}

TEST_F(TaskFilterTest, WhenTheyWereCreated) {
  SetTimestamp(now_ - kHour, filter_.mutable_created_from());
  EXPECT_EQ(List().size(), kTasks);
  SetTimestamp(now_ - kHour + 1, filter_.mutable_created_from());
  EXPECT_THAT(List(), IsEmpty());
  filter_.clear_created_from();
  SetTimestamp(now_ - kHour, filter_.mutable_created_before());
  EXPECT_THAT(List(), IsEmpty());
  SetTimestamp(now_ - kHour + 1, filter_.mutable_created_before());
  EXPECT_EQ(List().size(), kTasks);
}

TEST_F(TaskFilterTest, ATokenGoesOnWithItsOwnFilterOnly) {
  filter_.set_where("payload.customer == 2");
  const TaskPage first = Walk(PageToken(), 1).value();
  ASSERT_FALSE(first.at_end);
  // As a caller has it.
  const PageToken token = PageToken::Parse(first.next.ToString()).value();
  EXPECT_EQ(Walk(token, 1)->tasks.size(), 1);
  filter_.set_where("payload.customer == 1");
  const absl::Status refused = Walk(token, 1).status();
  EXPECT_EQ(FieldOf(refused), "page_token") << refused;
  EXPECT_EQ(FieldOf(Walk(PageToken{.phase = 99}, 1).status()), "page_token");
}

TEST_F(TaskFilterTest, LargePayloadsMakeShortPages) {
  std::vector<v1::TaskSpec> specs(kTasks);
  for (v1::TaskSpec& spec : specs) spec.set_payload("[" + std::string(1 << 20, ' ') + "1]");
  WaitingTasks large(store_, now_);
  large.Put(specs);
  door_.SetScript([&](const Command& command, Effects* effects) { return large.Answer(command, effects); });
  filter_.set_where("payload contains 1");
  filter_.add_states(v1::TASK_STATE_AVAILABLE);
  const TaskPage page = Walk(PageToken(), 100).value();
  EXPECT_LT(page.tasks.size(), 8);
  EXPECT_GT(page.tasks.size(), 0);
  EXPECT_FALSE(page.at_end) << "no walk looks into more than about 5 MiB";
}

TEST_F(TaskFilterTest, WhatIsWrongIsNamed) {
  filter_.set_where("payload.customer = 2");
  EXPECT_EQ(FieldOfRefusal(), "filter.where");
  filter_.clear_where();
  filter_.add_states(v1::TASK_STATE_UNSPECIFIED);
  EXPECT_EQ(FieldOfRefusal(), "filter.states[0]");
  filter_.clear_states();
  filter_.set_error(std::string(257, 'x'));
  EXPECT_EQ(FieldOfRefusal(), "filter.error");
  filter_.clear_error();
  filter_.set_key(std::string(257, 'x'));
  EXPECT_EQ(FieldOfRefusal(), "filter.key");
  filter_.clear_key();
  filter_.set_group(std::string(257, 'x'));
  EXPECT_EQ(FieldOfRefusal(), "filter.group");
  filter_.clear_group();
  filter_.mutable_created_from()->set_seconds(20);
  filter_.mutable_created_before()->set_seconds(20);
  EXPECT_EQ(FieldOfRefusal(), "filter.created_before");
  filter_.Clear();
  EXPECT_EQ(FieldOfRefusal(), "filter.queue");
}

}  // namespace
}  // namespace penstock::broker
