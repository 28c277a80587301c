#include "broker/rpc/convert_update.h"

#include <string>
#include <vector>

#include "common/status_details.h"
#include "gtest/gtest.h"

namespace penstock::broker {
namespace {

constexpr Time kNow = 1'800'000'000 * kSecond;

v1::TaskSpec Stored() {
  v1::TaskSpec spec;
  spec.set_queue("mail");
  spec.set_type("mail.send");
  spec.set_payload("old");
  spec.set_priority(3);
  spec.add_tags("a");
  spec.mutable_delay()->set_seconds(60);
  spec.mutable_unique_key()->set_key("k");
  return spec;
}

absl::StatusOr<Sized<UpdateTaskCommand>> Convert(const v1::UpdateTaskRequest& request) {
  const auto fields = ChangedFields(request);
  if (!fields.ok()) return fields.status();
  return ToCommand(request, *fields, Stored(), ApiLimits(), kNow);
}

v1::TaskSpec SpecOf(const UpdateTaskCommand& command) {
  v1::TaskSpec spec;
  EXPECT_TRUE(spec.ParseFromArray(command.changed.spec.data(), static_cast<int>(command.changed.spec.size())));
  return spec;
}

TEST(ConvertUpdateTest, WithoutAMaskWhatIsSetIsChanged) {
  v1::UpdateTaskRequest request;
  request.mutable_spec()->set_payload("new");
  request.mutable_spec()->set_priority(0);
  const auto sized = Convert(request);
  ASSERT_TRUE(sized.ok()) << sized.status();
  const v1::TaskSpec spec = SpecOf(sized->command);
  EXPECT_EQ(spec.payload(), "new");
  EXPECT_EQ(spec.tags_size(), 1);
  EXPECT_EQ(spec.unique_key().key(), "k");
  EXPECT_TRUE(spec.has_delay());
  EXPECT_EQ(sized->command.changed.priority, 0);
  EXPECT_EQ(sized->command.changed.queue, "mail");
  EXPECT_EQ(sized->command.changed.unique_key, "k");
  EXPECT_TRUE(sized->command.keep_start);
}

TEST(ConvertUpdateTest, NamedFieldsThatAreNotSetBecomeTheirDefaults) {
  v1::UpdateTaskRequest request;
  request.mutable_update_mask()->add_paths("priority");
  request.mutable_update_mask()->add_paths("tags");
  request.mutable_update_mask()->add_paths("run_at");
  request.mutable_spec()->set_payload("not named");
  const auto sized = Convert(request);
  ASSERT_TRUE(sized.ok()) << sized.status();
  const v1::TaskSpec spec = SpecOf(sized->command);
  EXPECT_EQ(spec.payload(), "old");
  EXPECT_EQ(spec.tags_size(), 0);
  EXPECT_EQ(spec.start_case(), v1::TaskSpec::START_NOT_SET);
  EXPECT_EQ(sized->command.changed.priority, 5);
  EXPECT_FALSE(sized->command.keep_start);
  EXPECT_EQ(sized->command.changed.delay, 0);
}

TEST(ConvertUpdateTest, OneStartTakesThePlaceOfTheOther) {
  v1::UpdateTaskRequest request;
  request.mutable_spec()->mutable_run_at()->set_seconds(1'800'000'100);
  const auto sized = Convert(request);
  ASSERT_TRUE(sized.ok()) << sized.status();
  EXPECT_EQ(sized->command.changed.run_at, kNow + 100 * kSecond);
  EXPECT_EQ(sized->command.changed.delay, 0);
}

TEST(ConvertUpdateTest, OneWayToExpireTakesThePlaceOfTheOther) {
  const auto expiry_of = [](const v1::UpdateTaskRequest& request, const v1::TaskSpec& stored) -> std::string {
    const auto fields = ChangedFields(request);
    if (!fields.ok()) return FieldOf(fields.status());
    const auto sized = ToCommand(request, *fields, stored, ApiLimits(), kNow);
    if (!sized.ok()) return FieldOf(sized.status());
    const v1::TaskSpec spec = SpecOf(sized->command);
    return std::string(spec.has_expire_at() ? "expire_at" : "") + (spec.has_start_within() ? "start_within" : "");
  };
  v1::TaskSpec within = Stored();
  within.mutable_start_within()->set_seconds(60);
  v1::TaskSpec at = Stored();
  at.mutable_expire_at()->set_seconds(1'800'000'900);
  v1::UpdateTaskRequest set_at;
  *set_at.mutable_spec()->mutable_expire_at() = at.expire_at();
  EXPECT_EQ(expiry_of(set_at, within), "expire_at");
  v1::UpdateTaskRequest set_within;
  *set_within.mutable_spec()->mutable_start_within() = within.start_within();
  EXPECT_EQ(expiry_of(set_within, at), "start_within");
  // Taking the one away leaves the other; to set both is a contradiction.
  v1::UpdateTaskRequest unset;
  unset.mutable_update_mask()->add_paths("expire_at");
  EXPECT_EQ(expiry_of(unset, within), "start_within");
  EXPECT_EQ(expiry_of(unset, at), "");
  *set_at.mutable_spec()->mutable_start_within() = within.start_within();
  EXPECT_EQ(expiry_of(set_at, Stored()), "spec.start_within");
}

TEST(ConvertUpdateTest, WhatCannotBeChangedOrIsWrongIsNamed) {
  v1::UpdateTaskRequest request;
  EXPECT_EQ(FieldOf(Convert(request).status()), "spec");
  for (const char* path : {"type", "key", "unique_key", "retry_policy.jitter", "nonsense"}) {
    request.mutable_update_mask()->Clear();
    request.mutable_update_mask()->add_paths("payload");
    request.mutable_update_mask()->add_paths(path);
    EXPECT_EQ(FieldOf(Convert(request).status()), "update_mask.paths[1]") << path;
  }
  request.Clear();
  request.mutable_spec()->set_priority(10);
  EXPECT_EQ(FieldOf(Convert(request).status()), "spec.priority");
}

TEST(ConvertUpdateTest, AScopeContradictsAWindow) {
  v1::EnqueueRequest request;
  *request.mutable_task() = Stored();
  v1::UniqueKey* key = request.mutable_task()->mutable_unique_key();
  key->set_scope(v1::UNIQUE_SCOPE_WAITING);
  key->set_conflict(v1::UNIQUE_CONFLICT_DEBOUNCE);
  const auto taken = ToCommand(request, ApiLimits(), kNow);
  ASSERT_TRUE(taken.ok()) << taken.status();
  EXPECT_TRUE(taken->command.tasks[0].unique_waiting);
  EXPECT_EQ(taken->command.tasks[0].unique_conflict, UniqueConflict::kDebounce);
  key->mutable_window()->set_seconds(5);
  EXPECT_EQ(FieldOf(ToCommand(request, ApiLimits(), kNow).status()), "task.unique_key.scope");
  key->clear_scope();
  EXPECT_TRUE(ToCommand(request, ApiLimits(), kNow).ok());
}

}  // namespace
}  // namespace penstock::broker
