#include "broker/rpc/convert_queue.h"

#include <limits>
#include <map>
#include <string>

#include "broker/rpc/fields.h"
#include "common/status_details.h"
#include "gtest/gtest.h"

namespace penstock::broker {
namespace {

const ApiLimits kLimits{};

v1::UpdateQueueRequest Update() {
  v1::UpdateQueueRequest request;
  request.mutable_queue()->set_name("mail");
  return request;
}

TEST(ConvertQueueTest, CreateTakesTheSettingsThatAreSet) {
  v1::CreateQueueRequest request;
  EXPECT_EQ(FieldOf(ToCommand(request, kLimits).status()), "queue.name");
  request.mutable_queue()->set_name("mail");
  request.mutable_queue()->mutable_settings()->set_durability(v1::DURABILITY_RELAXED);
  request.mutable_queue()->mutable_settings()->mutable_dead_retention()->set_seconds(5);
  const QueueCommand command = *ToCommand(request, kLimits);
  EXPECT_EQ(command.verb, QueueVerb::kCreate);
  EXPECT_EQ(command.queue, "mail");
  EXPECT_EQ(command.settings.relaxed, std::optional<bool>(true));
  EXPECT_EQ(command.settings.dead_retention, std::optional<Span>(5 * kSecond));
  EXPECT_FALSE(command.settings.result_retention || command.settings.run_timeout || command.settings.retry_policy);
}

TEST(ConvertQueueTest, SettingsAreTakenInsideAndRefusedOutsideTheirLimits) {
  struct Case {
    const char* field;
    google::protobuf::Duration* (v1::QueueSettings::*mutable_field)();
    int64_t seconds_max;
  };
  const Case cases[] = {
      {"result_retention", &v1::QueueSettings::mutable_result_retention, 365 * 86'400},
      {"dead_retention", &v1::QueueSettings::mutable_dead_retention, 3'650 * 86'400},
      {"cancelled_retention", &v1::QueueSettings::mutable_cancelled_retention, 365 * 86'400},
      {"run_timeout", &v1::QueueSettings::mutable_run_timeout, 30 * 86'400},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.field);
    v1::UpdateQueueRequest request = Update();
    auto* duration = (request.mutable_queue()->mutable_settings()->*one.mutable_field)();
    duration->set_seconds(one.seconds_max);
    EXPECT_TRUE(ToCommand(request, kLimits).ok());
    duration->set_seconds(one.seconds_max + 1);
    EXPECT_EQ(FieldOf(ToCommand(request, kLimits).status()), std::string("queue.settings.") + one.field);
    duration->set_seconds(-1);
    EXPECT_EQ(FieldOf(ToCommand(request, kLimits).status()), std::string("queue.settings.") + one.field);
  }
  v1::UpdateQueueRequest request = Update();
  request.mutable_queue()->mutable_settings()->mutable_retry_policy()->set_max_attempts(1'001);
  EXPECT_EQ(FieldOf(ToCommand(request, kLimits).status()), "queue.settings.retry_policy.max_attempts");
  request = Update();
  request.mutable_queue()->mutable_settings()->set_durability(static_cast<v1::Durability>(9));
  EXPECT_EQ(FieldOf(ToCommand(request, kLimits).status()), "queue.settings.durability");
}

TEST(ConvertQueueTest, WhatIsWrongIsNamedWithWhatWouldBeValid) {
  struct Case {
    const char* field;
    const char* says;
    void (*change)(v1::QueueSettings& settings);
  };
  const Case cases[] = {
      {"durability", "sync and relaxed", [](auto& s) { s.set_durability(static_cast<v1::Durability>(9)); }},
      {"dead_key_policy", "release and block",
       [](auto& s) { s.set_dead_key_policy(static_cast<v1::DeadKeyPolicy>(9)); }},
      {"overflow_policy", "reject and drop oldest",
       [](auto& s) { s.set_overflow_policy(static_cast<v1::OverflowPolicy>(9)); }},
      {"group_weights", "0.001 to 1000, that of group a is -1",
       [](auto& s) { (*s.mutable_group_weights())["a"] = -1; }},
      {"result_retention", "365d", [](auto& s) { s.mutable_result_retention()->set_seconds(366 * 86'400); }},
      {"run_timeout", "1ms to 30d", [](auto& s) { s.mutable_run_timeout(); }},
      {"retry_policy.max_attempts", "1 to 1000", [](auto& s) { s.mutable_retry_policy()->set_max_attempts(-1); }},
      {"retry_policy.multiplier", "1 to 100", [](auto& s) { s.mutable_retry_policy()->set_multiplier(0.5); }},
      {"retry_policy.jitter", "0 to 1", [](auto& s) { s.mutable_retry_policy()->set_jitter(1.5); }},
      {"retry_policy.backoff", "exponential, linear and fixed",
       [](auto& s) { s.mutable_retry_policy()->set_backoff(static_cast<v1::Backoff>(9)); }},
      // Contradictions.
      {"retry_policy.max_backoff", "10s to 365d",
       [](auto& s) {
         s.mutable_retry_policy()->mutable_initial_backoff()->set_seconds(10);
         s.mutable_retry_policy()->mutable_max_backoff()->set_seconds(9);
       }},
      {"retry_policy.multiplier", "exponential",
       [](auto& s) {
         s.mutable_retry_policy()->set_backoff(v1::BACKOFF_LINEAR);
         s.mutable_retry_policy()->set_multiplier(2);
       }},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.field);
    v1::CreateQueueRequest create;
    create.mutable_queue()->set_name("mail");
    one.change(*create.mutable_queue()->mutable_settings());
    v1::UpdateQueueRequest update = Update();
    one.change(*update.mutable_queue()->mutable_settings());
    for (const absl::Status& status : {ToCommand(create, kLimits).status(), ToCommand(update, kLimits).status()}) {
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
      EXPECT_EQ(FieldOf(status), std::string("queue.settings.") + one.field);
      EXPECT_NE(std::string(status.message()).find(one.says), std::string::npos) << status;
    }
  }
}

TEST(ConvertQueueTest, LimitsAreTakenAndZeroEndsThem) {
  v1::UpdateQueueRequest request = Update();
  request.mutable_queue()->mutable_settings()->set_max_waiting(5);
  QueueSettingsChange change = ToCommand(request, kLimits)->settings;
  EXPECT_EQ(change.max_waiting, std::optional<uint64_t>(5));
  EXPECT_FALSE(change.max_waiting_bytes || change.drop_oldest);
  request = Update();
  request.mutable_queue()->mutable_settings()->set_overflow_policy(v1::OVERFLOW_POLICY_DROP_OLDEST);
  for (const char* path : {"settings.max_waiting", "settings.max_waiting_bytes", "settings.overflow_policy"}) {
    request.mutable_update_mask()->add_paths(path);
  }
  change = ToCommand(request, kLimits)->settings;
  EXPECT_EQ(change.max_waiting, std::optional<uint64_t>(0));
  EXPECT_EQ(change.max_waiting_bytes, std::optional<uint64_t>(0));
  EXPECT_EQ(change.drop_oldest, std::optional<bool>(true));
  request.mutable_queue()->mutable_settings()->set_overflow_policy(v1::OVERFLOW_POLICY_REJECT);
  EXPECT_EQ(ToCommand(request, kLimits)->settings.drop_oldest, std::optional<bool>(false));
}

TEST(ConvertQueueTest, MaskChoosesTheSettings) {
  v1::UpdateQueueRequest request = Update();
  request.mutable_queue()->mutable_settings()->mutable_run_timeout()->set_seconds(60);
  request.mutable_queue()->mutable_settings()->mutable_dead_retention()->set_seconds(70);
  request.mutable_update_mask()->add_paths("settings.run_timeout");
  request.mutable_update_mask()->add_paths("settings.result_retention");
  const QueueSettingsChange change = ToCommand(request, kLimits)->settings;
  EXPECT_EQ(change.run_timeout, std::optional<Span>(60 * kSecond));
  EXPECT_EQ(change.result_retention,
            std::optional<Span>(QueueSettings().result_retention));  // absent: the default again
  EXPECT_FALSE(change.dead_retention.has_value());
}

TEST(ConvertQueueTest, MaskOfAllSettingsSetsAll) {
  v1::UpdateQueueRequest request = Update();
  request.mutable_update_mask()->add_paths("settings");
  const QueueSettingsChange change = ToCommand(request, kLimits)->settings;
  EXPECT_TRUE(change.relaxed && change.retry_policy && change.result_retention && change.dead_retention &&
              change.run_timeout && change.dead_blocks_key && change.group_weights && change.cancelled_retention);
  EXPECT_FALSE(change.cancelled_retention->has_value()) << "as long as completed tasks";
  EXPECT_FALSE(*change.dead_blocks_key);
  EXPECT_TRUE(change.group_weights->empty());
}

TEST(ConvertQueueTest, CancelledRetentionIsSetAndLeftOutAgain) {
  v1::UpdateQueueRequest request = Update();
  request.mutable_queue()->mutable_settings()->mutable_cancelled_retention()->set_seconds(60);
  QueueView view;
  view.settings.cancelled_retention = *ToCommand(request, kLimits)->settings.cancelled_retention;
  EXPECT_EQ(view.settings.cancelled_retention, std::optional<Span>(60 * kSecond));
  v1::Queue queue;
  ToProto(view, Rates(), 0, &queue);
  EXPECT_EQ(queue.settings().cancelled_retention().seconds(), 60);
  view.settings.cancelled_retention.reset();
  queue.Clear();
  ToProto(view, Rates(), 0, &queue);
  EXPECT_FALSE(queue.settings().has_cancelled_retention());
}

TEST(ConvertQueueTest, KeysAndGroupsAreSettings) {
  v1::UpdateQueueRequest request = Update();
  v1::QueueSettings& settings = *request.mutable_queue()->mutable_settings();
  settings.set_dead_key_policy(v1::DEAD_KEY_POLICY_BLOCK);
  auto& weights = *settings.mutable_group_weights();
  weights["a"] = 0.001;
  weights["b"] = 1'000;
  const QueueSettingsChange change = ToCommand(request, kLimits)->settings;
  EXPECT_EQ(change.dead_blocks_key, std::optional<bool>(true));
  EXPECT_EQ(*change.group_weights, (std::map<std::string, double>{{"a", 0.001}, {"b", 1'000}}));
  for (const double wrong : {0.0, -1.0, 1'000.1, std::numeric_limits<double>::quiet_NaN()}) {
    weights["b"] = wrong;
    EXPECT_EQ(FieldOf(ToCommand(request, kLimits).status()), "queue.settings.group_weights") << wrong;
  }
  weights["b"] = 1;
  weights[""] = 1;
  EXPECT_EQ(FieldOf(ToCommand(request, kLimits).status()), "queue.settings.group_weights") << "a group without a name";
  weights.clear();
  for (int i = 0; i < 1'001; ++i) weights[std::to_string(i)] = 1;
  EXPECT_EQ(FieldOf(ToCommand(request, kLimits).status()), "queue.settings.group_weights") << "too many";
  weights.clear();
  settings.set_dead_key_policy(static_cast<v1::DeadKeyPolicy>(77));
  EXPECT_EQ(FieldOf(ToCommand(request, kLimits).status()), "queue.settings.dead_key_policy");
}

TEST(ConvertQueueTest, KeysAreNamedWithTheirQueue) {
  v1::ReleaseKeyRequest release;
  release.set_queue("mail");
  EXPECT_EQ(FieldOf(ToCommand(release, kLimits).status()), "key");
  release.set_key("k");
  EXPECT_EQ(ToCommand(release, kLimits)->key, "k");
  v1::ListKeysRequest list;
  EXPECT_EQ(FieldOf(ToCommand(list, kLimits).status()), "queue");
  list.set_queue("mail");
  EXPECT_EQ(ToCommand(list, kLimits)->limit, 100u);
  list.set_page_size(1'001);
  EXPECT_EQ(FieldOf(ToCommand(list, kLimits).status()), "page_size");
}

TEST(ConvertQueueTest, UnknownPathOfAMaskIsNamed) {
  for (const char* path : {"settings.colour", "name", "paused", "settings.retry_policy.jitter", ""}) {
    v1::UpdateQueueRequest request = Update();
    request.mutable_update_mask()->add_paths("settings.run_timeout");
    request.mutable_update_mask()->add_paths(path);
    EXPECT_EQ(FieldOf(ToCommand(request, kLimits).status()), "update_mask.paths[1]") << path;
  }
}

TEST(ConvertQueueTest, DeadTasksAreLimited) {
  v1::RedriveDeadTasksRequest request;
  EXPECT_EQ(FieldOf(ToCommand(request, kLimits).status()), "queue");
  request.set_queue("mail");
  EXPECT_EQ(ToCommand(request, kLimits)->limit, 1'000u);
  request.set_limit(10'000);
  EXPECT_EQ(ToCommand(request, kLimits)->limit, 10'000u);
  request.set_limit(10'001);
  EXPECT_EQ(FieldOf(ToCommand(request, kLimits).status()), "limit");
  request.set_limit(1);
  request.set_type("no name");
  EXPECT_EQ(FieldOf(ToCommand(request, kLimits).status()), "type");
  EXPECT_EQ(FieldOf(ToCommand(v1::DrainWorkerRequest(), kLimits).status()), "worker");
}

TEST(ConvertQueueTest, TotalsAddUpAndKeepTheOldestAge) {
  QueueView a;
  a.counters.available = 2;
  a.oldest_available = 90 * kSecond;
  QueueView b;
  b.counters.available = 3;
  b.oldest_available = 40 * kSecond;
  QueueView empty;
  v1::QueueStats totals;
  for (const QueueView& queue : {a, b, empty}) AddToTotals(queue, 100 * kSecond, &totals);
  EXPECT_EQ(totals.available(), 5u);
  EXPECT_EQ(totals.oldest_age().seconds(), 60);
}

TEST(FieldsTest, TimesBefore1970KeepTheirNanosPositive) {
  google::protobuf::Timestamp timestamp;
  SetTimestamp(-1, &timestamp);
  EXPECT_EQ(timestamp.seconds(), -1);
  EXPECT_EQ(timestamp.nanos(), 999'999'000);
}

TEST(FieldsTest, CutTextKeepsWholeCharactersAndItsLimit) {
  const std::string text = "\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC";  // three times three bytes
  EXPECT_EQ(CutEnd(text, 8).size(), 6u);
  EXPECT_EQ(CutEnd(text, 9), text);
  std::string longer;
  for (int i = 0; i < 1'000; ++i) longer += text;
  for (size_t size_max = 40; size_max < 80; ++size_max) {
    const std::string cut = CutMiddle(longer, size_max);
    EXPECT_LE(cut.size(), size_max);
    EXPECT_NE(cut.find("bytes cut"), std::string::npos);
    EXPECT_EQ(static_cast<unsigned char>(cut[0]), 0xE2);
  }
}

}  // namespace
}  // namespace penstock::broker
