#include "broker/rpc/convert.h"

#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "broker/rpc/fields.h"
#include "common/status_details.h"
#include "google/protobuf/util/message_differencer.h"
#include "gtest/gtest.h"

namespace penstock::broker {
namespace {

using google::protobuf::Duration;
using google::protobuf::Timestamp;

constexpr Time kNow = 1'800'000'000 * kSecond;
constexpr int64_t kDaySeconds = 86'400;

void Set(Duration* duration, int64_t seconds, int32_t nanos = 0) {
  duration->set_seconds(seconds);
  duration->set_nanos(nanos);
}
void Set(Timestamp* timestamp, int64_t seconds, int32_t nanos = 0) {
  timestamp->set_seconds(seconds);
  timestamp->set_nanos(nanos);
}

void FillLabels(int count, google::protobuf::Map<std::string, std::string>* labels) {
  for (int i = 0; i < count; ++i) (*labels)[std::to_string(i)] = "x";
}

v1::TaskSpec GoodSpec() {
  v1::TaskSpec spec;
  spec.set_queue("mail");
  spec.set_type("mail.send");
  spec.set_payload("hello");
  return spec;
}

absl::Status Convert(const v1::TaskSpec& spec) {
  v1::EnqueueManyRequest request;
  for (int i = 0; i < 3; ++i) *request.add_tasks() = GoodSpec();
  *request.add_tasks() = spec;
  return ToCommand(request, ApiLimits(), kNow).status();
}

struct FieldCase {
  std::string field;
  std::function<void(v1::TaskSpec*)> just_in;
  std::function<void(v1::TaskSpec*)> just_out;
};

// Every field of TaskSpec: the last value that is taken and the first that is refused.
std::vector<FieldCase> FieldCases() {
  using Spec = v1::TaskSpec*;
  return {
      {"queue", [](Spec s) { s->set_queue(std::string(128, 'q')); },
       [](Spec s) { s->set_queue(std::string(129, 'q')); }},
      {"queue", [](Spec s) { s->set_queue("aZ09._:-/"); }, [](Spec s) { s->set_queue("a b"); }},
      {"queue", [](Spec s) { s->set_queue("q"); }, [](Spec s) { s->clear_queue(); }},
      {"queue", [](Spec s) { s->set_queue("q"); }, [](Spec s) { s->set_queue("\xC3\xBC"); }},
      {"type", [](Spec s) { s->set_type(std::string(128, 't')); }, [](Spec s) { s->set_type(std::string(129, 't')); }},
      {"type", [](Spec s) { s->set_type("t"); }, [](Spec s) { s->clear_type(); }},
      {"payload", [](Spec s) { s->set_payload(std::string(1 << 20, 'p')); },
       [](Spec s) { s->set_payload(std::string((1 << 20) + 1, 'p')); }},
      {"content_type", [](Spec s) { s->set_content_type(std::string(128, 'c')); },
       [](Spec s) { s->set_content_type(std::string(129, 'c')); }},
      {"headers", [](Spec s) { (*s->mutable_headers())["k"] = std::string(8'191, 'v'); },
       [](Spec s) { (*s->mutable_headers())["k"] = std::string(8'192, 'v'); }},
      {"headers", [](Spec s) { (*s->mutable_headers())[std::string(256, 'k')] = "v"; },
       [](Spec s) { (*s->mutable_headers())[std::string(257, 'k')] = "v"; }},
      {"headers", [](Spec s) { (*s->mutable_headers())["k"] = ""; }, [](Spec s) { (*s->mutable_headers())[""] = "v"; }},
      {"worker_labels", [](Spec s) { FillLabels(8, s->mutable_worker_labels()); },
       [](Spec s) { FillLabels(9, s->mutable_worker_labels()); }},
      {"worker_labels", [](Spec s) { (*s->mutable_worker_labels())[std::string(64, 'k')] = std::string(64, 'v'); },
       [](Spec s) { (*s->mutable_worker_labels())[std::string(65, 'k')] = "v"; }},
      {"worker_labels", [](Spec s) { (*s->mutable_worker_labels())["k"] = "v"; },
       [](Spec s) { (*s->mutable_worker_labels())["k"] = "a=b"; }},
      {"worker_labels", [](Spec s) { (*s->mutable_worker_labels())["k"] = "v"; },
       [](Spec s) { (*s->mutable_worker_labels())[""] = "v"; }},
      {"worker_labels", [](Spec s) { (*s->mutable_worker_labels())["k"] = "v"; },
       [](Spec s) { (*s->mutable_worker_labels())["k"] = ""; }},
      {"priority", [](Spec s) { s->set_priority(9); }, [](Spec s) { s->set_priority(10); }},
      {"priority", [](Spec s) { s->set_priority(0); }, [](Spec s) { s->set_priority(-1); }},
      {"run_at", [](Spec s) { Set(s->mutable_run_at(), kNow / kSecond + 36'525 * kDaySeconds); },
       [](Spec s) { Set(s->mutable_run_at(), kNow / kSecond + 36'525 * kDaySeconds + 1); }},
      {"run_at", [](Spec s) { Set(s->mutable_run_at(), -62'135'596'800); },
       [](Spec s) { Set(s->mutable_run_at(), -62'135'596'801); }},
      {"run_at", [](Spec s) { Set(s->mutable_run_at(), 5, 999'999'999); },
       [](Spec s) { Set(s->mutable_run_at(), 5, 1'000'000'000); }},
      {"run_at", [](Spec s) { Set(s->mutable_run_at(), 5, 0); }, [](Spec s) { Set(s->mutable_run_at(), 5, -1); }},
      {"run_at", [](Spec s) { Set(s->mutable_run_at(), 0); },
       [](Spec s) { Set(s->mutable_run_at(), std::numeric_limits<int64_t>::max()); }},
      {"delay", [](Spec s) { Set(s->mutable_delay(), 36'525 * kDaySeconds); },
       [](Spec s) { Set(s->mutable_delay(), 36'525 * kDaySeconds, 1); }},
      {"delay", [](Spec s) { Set(s->mutable_delay(), 0); }, [](Spec s) { Set(s->mutable_delay(), 0, -1); }},
      {"delay", [](Spec s) { Set(s->mutable_delay(), 1, 1); }, [](Spec s) { Set(s->mutable_delay(), 1, -1); }},
      {"delay", [](Spec s) { Set(s->mutable_delay(), 1); },
       [](Spec s) { Set(s->mutable_delay(), std::numeric_limits<int64_t>::max()); }},
      {"expire_at", [](Spec s) { Set(s->mutable_expire_at(), 253'402'300'799); },
       [](Spec s) { Set(s->mutable_expire_at(), 253'402'300'800); }},
      {"expire_at",
       [](Spec s) {
         Set(s->mutable_run_at(), 1'800'000'100);
         Set(s->mutable_expire_at(), 1'800'000'100, 1);
       },
       [](Spec s) {
         Set(s->mutable_run_at(), 1'800'000'100);
         Set(s->mutable_expire_at(), 1'800'000'100);
       }},
      {"start_within", [](Spec s) { Set(s->mutable_start_within(), 0, 1'000'000); },
       [](Spec s) { Set(s->mutable_start_within(), 0, 999'000); }},
      {"start_within", [](Spec s) { Set(s->mutable_start_within(), 365 * kDaySeconds); },
       [](Spec s) { Set(s->mutable_start_within(), 365 * kDaySeconds + 1); }},
      {"start_within",
       [](Spec s) {
         Set(s->mutable_run_at(), 1'800'000'100);
         Set(s->mutable_start_within(), 1);
       },
       [](Spec s) {
         Set(s->mutable_expire_at(), 1'800'000'100);
         Set(s->mutable_start_within(), 1);
       }},
      {"life_timeout", [](Spec s) { Set(s->mutable_life_timeout(), 0, 1'000'000); },
       [](Spec s) { Set(s->mutable_life_timeout(), 0, 999'000); }},
      {"life_timeout", [](Spec s) { Set(s->mutable_life_timeout(), 365 * kDaySeconds); },
       [](Spec s) { Set(s->mutable_life_timeout(), 365 * kDaySeconds + 1); }},
      {"run_timeout", [](Spec s) { Set(s->mutable_run_timeout(), 0, 1'000'000); },
       [](Spec s) { Set(s->mutable_run_timeout(), 0, 999'000); }},
      {"run_timeout", [](Spec s) { Set(s->mutable_run_timeout(), 30 * kDaySeconds); },
       [](Spec s) { Set(s->mutable_run_timeout(), 30 * kDaySeconds + 1); }},
      {"retry_policy.max_attempts", [](Spec s) { s->mutable_retry_policy()->set_max_attempts(1'000); },
       [](Spec s) { s->mutable_retry_policy()->set_max_attempts(1'001); }},
      {"retry_policy.max_attempts", [](Spec s) { s->mutable_retry_policy()->set_max_attempts(0); },
       [](Spec s) { s->mutable_retry_policy()->set_max_attempts(-1); }},
      {"retry_policy.initial_backoff",
       [](Spec s) { Set(s->mutable_retry_policy()->mutable_initial_backoff(), 0, 1'000'000); },
       [](Spec s) { Set(s->mutable_retry_policy()->mutable_initial_backoff(), 0, 0); }},
      {"retry_policy.initial_backoff",
       [](Spec s) { Set(s->mutable_retry_policy()->mutable_initial_backoff(), 30 * kDaySeconds); },
       [](Spec s) { Set(s->mutable_retry_policy()->mutable_initial_backoff(), 30 * kDaySeconds + 1); }},
      {"retry_policy.multiplier", [](Spec s) { s->mutable_retry_policy()->set_multiplier(100); },
       [](Spec s) { s->mutable_retry_policy()->set_multiplier(100.1); }},
      {"retry_policy.multiplier", [](Spec s) { s->mutable_retry_policy()->set_multiplier(1); },
       [](Spec s) { s->mutable_retry_policy()->set_multiplier(0.9); }},
      {"retry_policy.multiplier", [](Spec s) { s->mutable_retry_policy()->set_multiplier(2); },
       [](Spec s) { s->mutable_retry_policy()->set_multiplier(std::numeric_limits<double>::quiet_NaN()); }},
      {"retry_policy.backoff", [](Spec s) { s->mutable_retry_policy()->set_backoff(v1::BACKOFF_FIXED); },
       [](Spec s) { s->mutable_retry_policy()->set_backoff(static_cast<v1::Backoff>(4)); }},
      {"retry_policy.multiplier",
       [](Spec s) {
         s->mutable_retry_policy()->set_backoff(v1::BACKOFF_EXPONENTIAL);
         s->mutable_retry_policy()->set_multiplier(3);
       },
       [](Spec s) {
         s->mutable_retry_policy()->set_backoff(v1::BACKOFF_LINEAR);
         s->mutable_retry_policy()->set_multiplier(3);
       }},
      {"retry_policy.max_backoff",
       [](Spec s) { Set(s->mutable_retry_policy()->mutable_max_backoff(), 365 * kDaySeconds); },
       [](Spec s) { Set(s->mutable_retry_policy()->mutable_max_backoff(), 365 * kDaySeconds + 1); }},
      {"retry_policy.max_backoff", [](Spec s) { Set(s->mutable_retry_policy()->mutable_max_backoff(), 0, 1'000'000); },
       [](Spec s) { Set(s->mutable_retry_policy()->mutable_max_backoff(), 0, 999'000); }},
      {"retry_policy.max_backoff",
       [](Spec s) {
         Set(s->mutable_retry_policy()->mutable_initial_backoff(), 2);
         Set(s->mutable_retry_policy()->mutable_max_backoff(), 2);
       },
       [](Spec s) {
         Set(s->mutable_retry_policy()->mutable_initial_backoff(), 2);
         Set(s->mutable_retry_policy()->mutable_max_backoff(), 1, 999'000'000);
       }},
      {"retry_policy.jitter", [](Spec s) { s->mutable_retry_policy()->set_jitter(1); },
       [](Spec s) { s->mutable_retry_policy()->set_jitter(1.01); }},
      {"retry_policy.jitter", [](Spec s) { s->mutable_retry_policy()->set_jitter(0); },
       [](Spec s) { s->mutable_retry_policy()->set_jitter(-0.01); }},
      {"unique_key.key", [](Spec s) { s->mutable_unique_key()->set_key(std::string(256, 'k')); },
       [](Spec s) { s->mutable_unique_key()->set_key(std::string(257, 'k')); }},
      {"unique_key.key", [](Spec s) { s->mutable_unique_key()->set_key("k"); },
       [](Spec s) { s->mutable_unique_key()->set_key(""); }},
      {"key", [](Spec s) { s->set_key(std::string(256, 'k')); }, [](Spec s) { s->set_key(std::string(257, 'k')); }},
      {"group", [](Spec s) { s->set_group(std::string(256, 'g')); },
       [](Spec s) { s->set_group(std::string(257, 'g')); }},
      {"unique_key.window",
       [](Spec s) {
         s->mutable_unique_key()->set_key("k");
         Set(s->mutable_unique_key()->mutable_window(), 365 * kDaySeconds);
       },
       [](Spec s) {
         s->mutable_unique_key()->set_key("k");
         Set(s->mutable_unique_key()->mutable_window(), 365 * kDaySeconds + 1);
       }},
      {"result_retention", [](Spec s) { Set(s->mutable_result_retention(), 365 * kDaySeconds); },
       [](Spec s) { Set(s->mutable_result_retention(), 365 * kDaySeconds + 1); }},
      {"result_retention", [](Spec s) { Set(s->mutable_result_retention(), 0); },
       [](Spec s) { Set(s->mutable_result_retention(), -1); }},
      {"tags",
       [](Spec s) {
         for (int i = 0; i < 16; ++i) s->add_tags("t");
       },
       [](Spec s) {
         for (int i = 0; i < 17; ++i) s->add_tags("t");
       }},
      {"tags[1]",
       [](Spec s) {
         s->add_tags("t");
         s->add_tags(std::string(128, 't'));
       },
       [](Spec s) {
         s->add_tags("t");
         s->add_tags(std::string(129, 't'));
       }},
      {"tags[0]", [](Spec s) { s->add_tags("t"); }, [](Spec s) { s->add_tags(""); }},
  };
}

TEST(ConvertTest, EveryFieldIsTakenInsideAndRefusedOutsideItsLimit) {
  for (const FieldCase& field_case : FieldCases()) {
    SCOPED_TRACE(field_case.field);
    v1::TaskSpec spec = GoodSpec();
    field_case.just_in(&spec);
    EXPECT_TRUE(Convert(spec).ok()) << Convert(spec);
    spec = GoodSpec();
    field_case.just_out(&spec);
    const absl::Status status = Convert(spec);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_EQ(FieldOf(status), "tasks[3]." + field_case.field);
  }
}

TEST(ConvertTest, ErrorsSayWhatWouldBeRight) {
  v1::TaskSpec spec = GoodSpec();
  spec.set_priority(12);
  EXPECT_EQ(Convert(spec).message(), "tasks[3].priority: must be 0 to 9, is 12");
  spec = GoodSpec();
  Set(spec.mutable_run_timeout(), 90 * kDaySeconds);
  EXPECT_EQ(Convert(spec).message(), "tasks[3].run_timeout: must be 1ms to 30d, is 90d");
}

TEST(ConvertTest, CommandCarriesWhatTheCoreDecidesBy) {
  v1::EnqueueRequest request;
  v1::TaskSpec* spec = request.mutable_task();
  *spec = GoodSpec();
  spec->set_priority(7);
  Set(spec->mutable_delay(), 1, 500);  // half a microsecond counts as a whole one
  Set(spec->mutable_expire_at(), 1'900'000'000);
  Set(spec->mutable_run_timeout(), 60);
  spec->mutable_retry_policy()->set_max_attempts(3);
  Set(spec->mutable_retry_policy()->mutable_initial_backoff(), 7'200);
  spec->mutable_unique_key()->set_key("u");
  Set(spec->mutable_unique_key()->mutable_window(), 5);
  spec->set_key("k");
  spec->set_group("g");
  Set(spec->mutable_result_retention(), 0);
  auto sized = ToCommand(request, ApiLimits(), kNow);
  ASSERT_TRUE(sized.ok()) << sized.status();
  ASSERT_EQ(sized->command.tasks.size(), 1u);
  const v1::TaskSpec sent = *spec;
  request.Clear();  // the command stands on its own
  const NewTask& task = sized->command.tasks[0];
  EXPECT_EQ(task.queue, "mail");
  EXPECT_EQ(task.type, "mail.send");
  EXPECT_EQ(task.priority, 7);
  EXPECT_EQ(task.run_at, 0);
  EXPECT_EQ(task.delay, kSecond + 1);
  EXPECT_EQ(task.expire_at, 1'900'000'000 * kSecond);
  EXPECT_EQ(task.run_timeout, 60 * kSecond);
  RetryPolicyChange change;
  change.max_attempts = 3;
  change.initial_backoff = 7'200 * kSecond;
  EXPECT_EQ(task.retry_change, change);
  EXPECT_EQ(task.unique_key, "u");
  EXPECT_EQ(task.unique_window, 5 * kSecond);
  EXPECT_EQ(task.key, "k");
  EXPECT_EQ(task.group, "g");
  EXPECT_EQ(task.result_retention, std::optional<Span>(0));
  v1::TaskSpec kept;
  ASSERT_TRUE(kept.ParseFromArray(task.spec.data(), static_cast<int>(task.spec.size())));
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(kept, sent));
  EXPECT_GE(sized->bytes, task.spec.size());
}

TEST(ConvertTest, CommandCarriesLivesAndBackoffs) {
  v1::EnqueueRequest request;
  v1::TaskSpec* spec = request.mutable_task();
  *spec = GoodSpec();
  Set(spec->mutable_life_timeout(), 90);
  Set(spec->mutable_start_within(), 30);
  spec->mutable_retry_policy()->set_backoff(v1::BACKOFF_LINEAR);
  EnqueueCommand command = ToCommand(request, ApiLimits(), kNow)->command;
  EXPECT_EQ(command.tasks[0].life_timeout, 90 * kSecond);
  EXPECT_EQ(command.tasks[0].start_within, 30 * kSecond);
  EXPECT_EQ(command.tasks[0].expire_at, kNever) << "the core counts it from when it takes the task";
  EXPECT_EQ(command.tasks[0].retry_change.backoff, std::optional(Backoff::kLinear));
  EXPECT_FALSE(command.tasks[0].retry_change.multiplier.has_value());
  // A multiplier alone asks for a wait that is multiplied, whatever the queue's policy is.
  spec->mutable_retry_policy()->clear_backoff();
  spec->mutable_retry_policy()->set_multiplier(3);
  command = ToCommand(request, ApiLimits(), kNow)->command;
  EXPECT_EQ(command.tasks[0].retry_change.backoff, std::optional(Backoff::kExponential));
}

TEST(ConvertTest, APolicyComesBackAsItCanBeSent) {
  for (const Backoff backoff : {Backoff::kExponential, Backoff::kLinear, Backoff::kFixed}) {
    const RetryPolicy policy{.max_attempts = 3, .multiplier = 2, .jitter = 0.5, .backoff = backoff};
    v1::RetryPolicy proto;
    ToProto(policy, &proto);
    const auto change = ToRetryPolicyChange(FieldPath("retry_policy"), proto, ApiLimits());
    ASSERT_TRUE(change.ok()) << change.status();
    EXPECT_EQ(change->On(RetryPolicy{.multiplier = 2, .jitter = 0.1}), policy);
  }
}

TEST(ConvertTest, LabelsAreOneTextWhateverTheirOrder) {
  v1::EnqueueManyRequest request;
  for (const auto& first : {"zone", "gpu"}) {
    v1::TaskSpec* spec = request.add_tasks();
    *spec = GoodSpec();
    (*spec->mutable_worker_labels())[first] = "yes";
    (*spec->mutable_worker_labels())["zone"] = "eu";
    (*spec->mutable_worker_labels())["gpu"] = "yes";
  }
  *request.add_tasks() = GoodSpec();
  auto sized = ToCommand(request, ApiLimits(), kNow);
  ASSERT_TRUE(sized.ok()) << sized.status();
  request.Clear();  // the command stands on its own
  EXPECT_EQ(sized->command.tasks[0].labels, "gpu=yes\nzone=eu");
  EXPECT_EQ(sized->command.tasks[1].labels, "gpu=yes\nzone=eu");
  EXPECT_EQ(sized->command.tasks[2].labels, "");
}

TEST(ConvertTest, PastTimesMeanNow) {
  v1::EnqueueRequest request;
  *request.mutable_task() = GoodSpec();
  Set(request.mutable_task()->mutable_run_at(), -5);
  EXPECT_EQ(ToCommand(request, ApiLimits(), kNow)->command.tasks[0].run_at, 0);
}

TEST(ConvertTest, UnknownFieldsAreKept) {
  v1::EnqueueRequest request;
  *request.mutable_task() = GoodSpec();
  request.mutable_task()->GetReflection()->MutableUnknownFields(request.mutable_task())->AddVarint(4'711, 42);
  auto sized = ToCommand(request, ApiLimits(), kNow);
  ASSERT_TRUE(sized.ok());
  v1::TaskSpec kept;
  const std::string_view spec = sized->command.tasks[0].spec;
  ASSERT_TRUE(kept.ParseFromArray(spec.data(), static_cast<int>(spec.size())));
  EXPECT_EQ(kept.GetReflection()->GetUnknownFields(kept).field_count(), 1);
}

// The plain ones by hand, and neighbours' names once.
TEST(ConvertTest, SpecsAreKeptAsProtobufWritesThem) {
  v1::EnqueueManyRequest request;
  for (const FieldCase& field : FieldCases()) {
    *request.add_tasks() = GoodSpec();
    field.just_in(request.mutable_tasks(request.tasks_size() - 1));
  }
  *request.add_tasks() = GoodSpec();
  request.add_tasks()->set_queue("mail");
  request.mutable_tasks(request.tasks_size() - 1)->set_type("mail.read");  // no payload
  request.add_tasks()->set_queue("letters");
  request.mutable_tasks(request.tasks_size() - 1)->set_type("mail.read");
  const auto sized = ToCommand(request, ApiLimits(), kNow);
  ASSERT_TRUE(sized.ok()) << sized.status();
  ASSERT_EQ(sized->command.tasks.size(), static_cast<size_t>(request.tasks_size()));
  for (int i = 0; i < request.tasks_size(); ++i) {
    SCOPED_TRACE(i);
    const NewTask& task = sized->command.tasks[static_cast<size_t>(i)];
    EXPECT_EQ(task.queue, request.tasks(i).queue());
    EXPECT_EQ(task.type, request.tasks(i).type());
    EXPECT_EQ(task.spec, request.tasks(i).SerializeAsString());
  }
}

TEST(ConvertTest, RequestsWithoutTasksAreRefused) {
  EXPECT_EQ(FieldOf(ToCommand(v1::EnqueueRequest(), ApiLimits(), kNow).status()), "task");
  EXPECT_EQ(FieldOf(ToCommand(v1::EnqueueManyRequest(), ApiLimits(), kNow).status()), "tasks");
}

TEST(ConvertTest, TasksOfACallAreLimited) {
  v1::EnqueueManyRequest request;
  for (int i = 0; i < 10'000; ++i) *request.add_tasks() = GoodSpec();
  EXPECT_TRUE(ToCommand(request, ApiLimits(), kNow).ok());
  *request.add_tasks() = GoodSpec();
  EXPECT_EQ(FieldOf(ToCommand(request, ApiLimits(), kNow).status()), "tasks");
}

TEST(ConvertTest, SameRequestIdGivesSameNumberAndOthersOthers) {
  v1::EnqueueRequest request;
  *request.mutable_task() = GoodSpec();
  auto id_of = [&](const std::string& id) {
    request.set_request_id(id);
    const RequestId result = ToCommand(request, ApiLimits(), kNow)->command.request_id;
    return std::pair(result.high, result.low);
  };
  EXPECT_EQ(id_of(""), std::pair(uint64_t{0}, uint64_t{0}));
  EXPECT_EQ(id_of("a"), id_of("a"));
  EXPECT_NE(id_of("a"), id_of("b"));
  request.set_request_id(std::string(64, 'r'));
  EXPECT_TRUE(ToCommand(request, ApiLimits(), kNow).ok());
  request.set_request_id(std::string(65, 'r'));
  EXPECT_EQ(FieldOf(ToCommand(request, ApiLimits(), kNow).status()), "request_id");
}

TEST(ConvertTest, FramesAreKnownByProducerAndNumber) {
  v1::EnqueueStreamRequest request;
  *request.add_tasks() = GoodSpec();
  EXPECT_EQ(FieldOf(ToCommand(request, std::string(16, 'a'), ApiLimits(), kNow).status()), "frame_number");
  auto id_of = [&](char producer, uint64_t frame) {
    request.set_frame_number(frame);
    const RequestId id = ToCommand(request, std::string(16, producer), ApiLimits(), kNow)->command.request_id;
    return std::pair(id.high, id.low);
  };
  EXPECT_EQ(id_of('a', 1), id_of('a', 1));
  EXPECT_NE(id_of('a', 1), id_of('a', 2));
  EXPECT_NE(id_of('a', 1), id_of('b', 1));
}

TEST(ConvertTest, CancelAndRetryNameTheirTask) {
  v1::CancelTaskRequest cancel;
  cancel.set_task_id("nonsense");
  EXPECT_EQ(FieldOf(ToCommand(cancel, ApiLimits()).status()), "task_id");
  cancel.set_task_id(TaskId(0, 7, 1).ToString());
  cancel.set_reason(std::string(1'024, 'r'));
  EXPECT_EQ(ToCommand(cancel, ApiLimits())->task, TaskId(0, 7, 1));
  cancel.set_reason(std::string(1'025, 'r'));
  EXPECT_EQ(FieldOf(ToCommand(cancel, ApiLimits()).status()), "reason");
  EXPECT_EQ(FieldOf(ToCommand(v1::RetryTaskRequest()).status()), "task_id");
}

}  // namespace
}  // namespace penstock::broker
