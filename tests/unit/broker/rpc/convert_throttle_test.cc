#include "broker/rpc/convert_throttle.h"

#include <string>

#include "common/status_details.h"
#include "gtest/gtest.h"

namespace penstock::broker {
namespace {

const ApiLimits kLimits{};

v1::CreateThrottleRequest Create() {
  v1::CreateThrottleRequest request;
  v1::Throttle& throttle = *request.mutable_throttle();
  throttle.set_name("api");
  throttle.add_queues("mail");
  throttle.set_per(v1::THROTTLE_PER_GROUP);
  throttle.set_max_running(5);
  throttle.mutable_rate()->set_tasks(10);
  throttle.mutable_rate()->mutable_period()->set_seconds(1);
  throttle.mutable_rate()->set_burst(20);
  throttle.set_note("of the provider");
  return request;
}

TEST(ConvertThrottleTest, EverythingArrives) {
  const auto command = ToCommand(Create(), kLimits);
  ASSERT_TRUE(command.ok()) << command.status();
  EXPECT_EQ(command->verb, ThrottleVerb::kCreate);
  EXPECT_EQ(command->name, "api");
  const ThrottleChange& change = *command->change;
  EXPECT_EQ(change.queues, std::optional(std::vector<std::string>{"mail"}));
  EXPECT_FALSE(change.types.has_value());
  EXPECT_EQ(change.per, std::optional(ThrottlePer::kGroup));
  EXPECT_EQ(change.max_running, std::optional<uint32_t>(5));
  EXPECT_EQ(change.rate, std::optional(ThrottleRate{10, kSecond, 20}));
  EXPECT_EQ(change.note, std::optional<std::string>("of the provider"));
}

TEST(ConvertThrottleTest, WhatIsWrongIsNamedWithWhatWouldBeRight) {
  struct Case {
    const char* field;
    const char* says;
    void (*change)(v1::Throttle& throttle);
  };
  const Case cases[] = {
      {"throttle.name", "is required", [](auto& t) { t.clear_name(); }},
      {"throttle.queues[1]", "A-Z", [](auto& t) { t.add_queues("with space"); }},
      {"throttle.types[0]", "is required", [](auto& t) { t.add_types(""); }},
      {"throttle.queues", "at most 1000",
       [](auto& t) {
         for (int i = 0; i < 1'000; ++i) t.add_queues("q");
       }},
      {"throttle.per", "all, queue, type, group and key", [](auto& t) { t.set_per(static_cast<v1::ThrottlePer>(9)); }},
      {"throttle.max_running", "0 to 1000000", [](auto& t) { t.set_max_running(1'000'001); }},
      {"throttle.rate.tasks", "1 to 1000000", [](auto& t) { t.mutable_rate()->clear_tasks(); }},
      {"throttle.rate.tasks", "1 to 1000000", [](auto& t) { t.mutable_rate()->set_tasks(1'000'001); }},
      {"throttle.rate.period", "1ms to 1d", [](auto& t) { t.mutable_rate()->clear_period(); }},
      {"throttle.rate.period", "1ms to 1d", [](auto& t) { t.mutable_rate()->mutable_period()->set_seconds(86'401); }},
      {"throttle.rate.period", "1ms to 1d", [](auto& t) { t.mutable_rate()->mutable_period()->set_seconds(-1); }},
      {"throttle.rate.burst", "0 to 1000000", [](auto& t) { t.mutable_rate()->set_burst(1'000'001); }},
      // A burst of no rate.
      {"throttle.rate.tasks", "1 to 1000000",
       [](auto& t) {
         t.clear_rate();
         t.mutable_rate()->set_burst(5);
       }},
      {"throttle.note", "", [](auto& t) { t.set_note(std::string(1'025, 'n')); }},
  };
  for (const Case& one : cases) {
    v1::CreateThrottleRequest request = Create();
    one.change(*request.mutable_throttle());
    const absl::Status status = ToCommand(request, kLimits).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << one.field;
    EXPECT_EQ(FieldOf(status), one.field) << status;
    EXPECT_NE(std::string(status.message()).find(one.says), std::string::npos) << one.says << " is not in " << status;
  }
}

// What only the whole definition shows to be wrong (a cap of zero without a rate, a cap per key, a burst that never
// fills) is refused by the core: scenario throttle_refused.
TEST(ConvertThrottleTest, AnUpdateHasWhatIsGivenAndNoMore) {
  v1::UpdateThrottleRequest request;
  EXPECT_EQ(FieldOf(ToCommand(request, kLimits).status()), "name");
  request.set_name("api");
  const ThrottleChange nothing = *ToCommand(request, kLimits)->change;
  EXPECT_FALSE(nothing.queues || nothing.types || nothing.per || nothing.max_running || nothing.rate || nothing.note);
  request.set_max_running(0);
  request.mutable_rate();  // none any more
  request.set_all_queues(true);
  const ThrottleChange change = *ToCommand(request, kLimits)->change;
  EXPECT_EQ(change.max_running, std::optional<uint32_t>(0));
  EXPECT_EQ(change.rate, std::optional(ThrottleRate()));
  EXPECT_EQ(change.queues, std::optional(std::vector<std::string>()));
  request.add_queues("mail");
  EXPECT_EQ(FieldOf(ToCommand(request, kLimits).status()), "queues");
  request.set_all_queues(false);
  request.set_all_types(true);
  request.add_types("send");
  EXPECT_EQ(FieldOf(ToCommand(request, kLimits).status()), "types");
  request.clear_types();
  request.mutable_rate()->set_burst(5);
  EXPECT_EQ(FieldOf(ToCommand(request, kLimits).status()), "rate.tasks");
}

TEST(ConvertThrottleTest, NamesAndPagesAreChecked) {
  EXPECT_EQ(FieldOf(ToThrottleCommand(ThrottleVerb::kDelete, "", kLimits).status()), "name");
  EXPECT_EQ(ToThrottleCommand(ThrottleVerb::kDelete, "api", kLimits)->verb, ThrottleVerb::kDelete);
  v1::ListThrottlesRequest list;
  EXPECT_EQ(ToCommand(list, kLimits)->limit, 100u);
  list.set_page_token("api");
  EXPECT_EQ(ToCommand(list, kLimits)->after, "api");
  list.set_page_token("with space");
  EXPECT_EQ(FieldOf(ToCommand(list, kLimits).status()), "page_token");
  list.set_page_token("api");
  list.set_page_size(1'001);
  EXPECT_EQ(FieldOf(ToCommand(list, kLimits).status()), "page_size");
}

}  // namespace
}  // namespace penstock::broker
