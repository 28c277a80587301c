#include "broker/rpc/convert_worker.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/status_details.h"
#include "gtest/gtest.h"

namespace penstock::broker {
namespace {

constexpr Time kNow = 1'800'000'000 * kSecond;
const std::string kTask = TaskId(0, 7, 1).ToString();

v1::Hello GoodHello() {
  v1::Hello hello;
  hello.set_worker_name("mailer@host7");
  hello.add_queues("mail");
  hello.add_types()->set_type("mail.send");
  hello.set_concurrency(8);
  return hello;
}

struct HelloCase {
  std::string field;
  std::function<void(v1::Hello*)> just_in;
  std::function<void(v1::Hello*)> just_out;
};

std::vector<HelloCase> HelloCases() {
  using Hello = v1::Hello*;
  auto queues = [](int count) {
    return [count](Hello h) {
      h->clear_queues();
      for (int i = 0; i < count; ++i) h->add_queues("q" + std::to_string(i));
    };
  };
  auto types = [](int count) {
    return [count](Hello h) {
      h->clear_types();
      for (int i = 0; i < count; ++i) h->add_types()->set_type("t" + std::to_string(i));
    };
  };
  auto lease = [](int64_t seconds, int32_t nanos = 0) {
    return [seconds, nanos](Hello h) {
      h->mutable_lease()->set_seconds(seconds);
      h->mutable_lease()->set_nanos(nanos);
    };
  };
  const auto labels = [](int count) {
    return [count](Hello h) {
      for (int i = 0; i < count; ++i) (*h->mutable_labels())[std::to_string(i)] = "x";
    };
  };
  return {
      {"worker_name", [](Hello h) { h->set_worker_name(std::string(256, 'w')); },
       [](Hello h) { h->set_worker_name(std::string(257, 'w')); }},
      {"worker_name", [](Hello h) { h->set_worker_name("w"); }, [](Hello h) { h->clear_worker_name(); }},
      {"queues", queues(1'000), queues(1'001)},
      {"queues", queues(1), queues(0)},
      {"queues[1]", [](Hello h) { h->add_queues("other"); }, [](Hello h) { h->add_queues("mail"); }},
      {"queues[1]", [](Hello h) { h->add_queues("other"); }, [](Hello h) { h->add_queues("not a name"); }},
      {"types", types(1'000), types(1'001)},
      {"types", types(1), types(0)},
      {"types[1].type", [](Hello h) { h->add_types()->set_type("other"); },
       [](Hello h) { h->add_types()->set_type("mail.send"); }},
      {"types[0].max_concurrency", [](Hello h) { h->mutable_types(0)->set_max_concurrency(1'000); },
       [](Hello h) { h->mutable_types(0)->set_max_concurrency(1'001); }},
      {"types[0].max_concurrency", [](Hello h) { h->mutable_types(0)->set_max_concurrency(0); },
       [](Hello h) { h->mutable_types(0)->set_max_concurrency(-1); }},
      {"concurrency", [](Hello h) { h->set_concurrency(1'000); }, [](Hello h) { h->set_concurrency(1'001); }},
      {"concurrency", [](Hello h) { h->set_concurrency(1); }, [](Hello h) { h->set_concurrency(0); }},
      {"lease", lease(2), lease(1, 999'000'000)},
      {"lease", lease(12 * 3'600), lease(12 * 3'600, 1)},
      {"session_id", [](Hello h) { h->set_session_id(std::string(64, 's')); },
       [](Hello h) { h->set_session_id(std::string(65, 's')); }},
      {"held_tasks",
       [](Hello h) {
         h->set_session_id("s");
         h->add_held_tasks()->set_task_id(kTask);
       },
       [](Hello h) { h->add_held_tasks()->set_task_id(kTask); }},
      {"held_tasks[0].task_id",
       [](Hello h) {
         h->set_session_id("s");
         h->add_held_tasks()->set_task_id(kTask);
       },
       [](Hello h) {
         h->set_session_id("s");
         h->add_held_tasks()->set_task_id("x");
       }},
      {"host", [](Hello h) { h->set_host(std::string(256, 'h')); },
       [](Hello h) { h->set_host(std::string(257, 'h')); }},
      {"labels", labels(32), labels(33)},
      {"labels", [](Hello h) { (*h->mutable_labels())[std::string(64, 'k')] = std::string(64, 'v'); },
       [](Hello h) { (*h->mutable_labels())["k"] = std::string(65, 'v'); }},
      {"labels", [](Hello h) { (*h->mutable_labels())["k"] = "v"; },
       [](Hello h) { (*h->mutable_labels())["k"] = "a b"; }},
      {"pid", [](Hello h) { h->set_pid(0); }, [](Hello h) { h->set_pid(-1); }},
      {"version", [](Hello h) { h->set_version(std::string(256, 'v')); },
       [](Hello h) { h->set_version(std::string(257, 'v')); }},
  };
}

TEST(ConvertWorkerTest, EveryFieldOfHelloIsTakenInsideAndRefusedOutsideItsLimit) {
  for (const HelloCase& hello_case : HelloCases()) {
    SCOPED_TRACE(hello_case.field);
    v1::Hello hello = GoodHello();
    hello_case.just_in(&hello);
    EXPECT_TRUE(ToCommand(hello, ApiLimits()).ok()) << ToCommand(hello, ApiLimits()).status();
    hello = GoodHello();
    hello_case.just_out(&hello);
    EXPECT_EQ(FieldOf(ToCommand(hello, ApiLimits()).status()), "hello." + hello_case.field);
  }
}

TEST(ConvertWorkerTest, HelloWithSessionIdResumes) {
  v1::Hello hello = GoodHello();
  EXPECT_FALSE(ToCommand(hello, ApiLimits())->command.resume);
  hello.set_session_id("abc");
  v1::HeldTask* held = hello.add_held_tasks();
  held->set_task_id(kTask);
  held->set_fencing_token(9);
  held->set_started(true);
  const OpenSessionCommand command = ToCommand(hello, ApiLimits())->command;
  EXPECT_TRUE(command.resume);
  EXPECT_EQ(command.session_id, "abc");
  ASSERT_EQ(command.held_tasks.size(), 1u);
  EXPECT_EQ(command.held_tasks[0].task, TaskId(0, 7, 1));
  EXPECT_EQ(command.held_tasks[0].token, FencingToken(9));
  EXPECT_TRUE(command.held_tasks[0].started);
}

class ConvertWorkTest : public ::testing::Test {
 protected:
  ConvertedWork Convert() {
    auto work = ToInput(request_, request_->ByteSizeLong(), limits_, kNow);
    EXPECT_TRUE(work.ok()) << work.status();
    return *std::move(work);
  }
  std::string WrongField() { return FieldOf(ToInput(request_, request_->ByteSizeLong(), limits_, kNow).status()); }

  v1::TaskOutcome* AddOutcome() {
    request_->set_frame_number(1);
    v1::TaskOutcome* outcome = request_->add_outcomes();
    outcome->set_task_id(kTask);
    outcome->set_fencing_token(5);
    return outcome;
  }
  // The single outcome was taken as a failure, and the worker is told so.
  void ExpectTakenAsFailure(const std::string& message) {
    const ConvertedWork work = Convert();
    ASSERT_EQ(work.input.outcomes.size(), 1u);
    EXPECT_EQ(work.input.outcomes[0].task, TaskId(0, 7, 1));
    EXPECT_EQ(work.input.outcomes[0].token, FencingToken(5));
    EXPECT_EQ(work.input.outcomes[0].kind, OutcomeKind::kFailed);
    EXPECT_EQ(work.input.outcomes[0].error.message, message);
    ASSERT_EQ(work.refusals.size(), 1u);
    EXPECT_EQ(work.refusals[0].task_id(), kTask);
    EXPECT_EQ(work.refusals[0].fencing_token(), 5u);
    EXPECT_EQ(work.refusals[0].reason(), v1::Refusal::REASON_INVALID);
    EXPECT_EQ(work.refusals[0].message(), message);
  }

  const ApiLimits limits_{};
  std::shared_ptr<v1::WorkRequest> request_ = std::make_shared<v1::WorkRequest>();
};

TEST_F(ConvertWorkTest, FieldsOfTheSessionAreChecked) {
  request_->set_credit(-1);
  EXPECT_EQ(WrongField(), "credit");
  request_->set_credit(10'000);
  EXPECT_EQ(Convert().input.credit, 10'000u);
  request_->set_credit(10'001);
  EXPECT_EQ(WrongField(), "credit");
  request_->set_credit(1);
  request_->add_type_credits()->set_credit(2);
  EXPECT_EQ(WrongField(), "type_credits[0].type");
  request_->mutable_type_credits(0)->set_type("t");
  EXPECT_EQ(Convert().input.type_credits[0].credit, 2u);
  request_->mutable_type_credits(0)->set_credit(-1);
  EXPECT_EQ(WrongField(), "type_credits[0].credit");
  request_->clear_type_credits();
  request_->add_stuck_task_ids("x");
  EXPECT_EQ(WrongField(), "stuck_task_ids[0]");
  request_->clear_stuck_task_ids();
  AddOutcome()->mutable_released();
  request_->set_frame_number(0);
  EXPECT_EQ(WrongField(), "frame_number");
}

TEST_F(ConvertWorkTest, OutcomesKeepTheirWords) {
  v1::TaskOutcome* completed = AddOutcome();
  completed->mutable_completed()->set_result("done");
  completed->mutable_completed()->set_content_type("text/plain");
  completed->mutable_run_time()->set_seconds(3);
  v1::TaskOutcome* failed = AddOutcome();
  failed->mutable_failed()->mutable_error()->set_type("exit 2");
  failed->mutable_failed()->mutable_error()->set_message("no");
  failed->mutable_failed()->mutable_error()->set_detail("stack");
  failed->mutable_failed()->mutable_retry_after()->set_seconds(9);
  AddOutcome()->mutable_failed()->set_reject(true);
  AddOutcome()->mutable_snoozed()->mutable_delay()->set_seconds(4);
  AddOutcome()->mutable_released();
  AddOutcome()->mutable_cancelled();
  const ConvertedWork work = Convert();
  EXPECT_TRUE(work.refusals.empty());
  ASSERT_EQ(work.input.outcomes.size(), 6u);
  EXPECT_EQ(work.input.outcomes[0].kind, OutcomeKind::kCompleted);
  EXPECT_EQ(work.input.outcomes[0].result, "done");
  EXPECT_EQ(work.input.outcomes[0].content_type, "text/plain");
  EXPECT_EQ(work.input.outcomes[0].run_time, 3 * kSecond);
  EXPECT_EQ(work.input.outcomes[1].kind, OutcomeKind::kFailed);
  EXPECT_EQ(work.input.outcomes[1].error.type, "exit 2");
  EXPECT_EQ(work.input.outcomes[1].error.message, "no");
  EXPECT_EQ(work.input.outcomes[1].error.detail, "stack");
  EXPECT_EQ(work.input.outcomes[1].delay, std::optional<Span>(9 * kSecond));
  EXPECT_EQ(work.input.outcomes[2].kind, OutcomeKind::kRejected);
  EXPECT_EQ(work.input.outcomes[3].kind, OutcomeKind::kSnoozed);
  EXPECT_EQ(work.input.outcomes[3].delay, std::optional<Span>(4 * kSecond));
  EXPECT_EQ(work.input.outcomes[4].kind, OutcomeKind::kReleased);
  EXPECT_EQ(work.input.outcomes[5].kind, OutcomeKind::kCancelled);
}

TEST_F(ConvertWorkTest, ResultAtTheLimitIsTaken) {
  AddOutcome()->mutable_completed()->set_result(std::string(1 << 20, 'r'));
  EXPECT_TRUE(Convert().refusals.empty());
}

TEST_F(ConvertWorkTest, ResultThatIsTooLargeIsAFailure) {
  AddOutcome()->mutable_completed()->set_result(std::string((1 << 20) + 1, 'r'));
  ExpectTakenAsFailure("completed.result: must be at most 1048576 bytes, is 1048577");
}

TEST_F(ConvertWorkTest, LongContentTypeIsAFailure) {
  AddOutcome()->mutable_completed()->set_content_type(std::string(129, 'c'));
  ExpectTakenAsFailure("completed.content_type: must be at most 128 bytes, is 129");
}

TEST_F(ConvertWorkTest, TasksOfACompletionAreTaken) {
  v1::TaskSpec* spec = AddOutcome()->mutable_completed()->add_enqueue();
  spec->set_queue("mail");
  spec->set_type("next");
  spec->mutable_delay()->set_seconds(5);
  const ConvertedWork work = Convert();
  ASSERT_EQ(work.input.outcomes.size(), 1u);
  ASSERT_NE(work.input.outcomes[0].enqueue, nullptr);
  const NewTask& task = work.input.outcomes[0].enqueue->at(0);
  EXPECT_EQ(task.type, "next");
  EXPECT_EQ(task.delay, 5 * kSecond);
  EXPECT_EQ(task.spec, spec->SerializeAsString());
}

TEST_F(ConvertWorkTest, WrongTaskOfACompletionIsAFailure) {
  v1::TaskOutcome::Completed* completed = AddOutcome()->mutable_completed();
  for (int i = 0; i < 2; ++i) {
    completed->add_enqueue()->set_queue("mail");
    completed->mutable_enqueue(i)->set_type("next");
  }
  completed->mutable_enqueue(1)->set_priority(10);
  ExpectTakenAsFailure("completed.enqueue[1].priority: must be 0 to 9, is 10");
}

TEST_F(ConvertWorkTest, TooManyTasksOfACompletionAreAFailure) {
  v1::TaskOutcome::Completed* completed = AddOutcome()->mutable_completed();
  for (int i = 0; i < 1'001; ++i) completed->add_enqueue();
  ExpectTakenAsFailure("completed.enqueue: must be at most 1000, are 1001");
}

TEST_F(ConvertWorkTest, NoOutcomeAtAllIsAFailure) {
  AddOutcome();
  ExpectTakenAsFailure("outcome: is required");
}

TEST_F(ConvertWorkTest, LongErrorTypeIsAFailure) {
  AddOutcome()->mutable_failed()->mutable_error()->set_type(std::string(257, 'e'));
  ExpectTakenAsFailure("failed.error.type: must be at most 256 bytes, is 257");
}

TEST_F(ConvertWorkTest, SnoozeBeyondItsLimitIsAFailure) {
  AddOutcome()->mutable_snoozed()->mutable_delay()->set_seconds(365 * 86'400 + 1);
  ExpectTakenAsFailure("snoozed.delay: must be 0s to 365d, is 365d");
}

TEST_F(ConvertWorkTest, CoolingSaysWhatAndForHowLong) {
  v1::TaskOutcome::Failed* failed = AddOutcome()->mutable_failed();
  failed->set_cool(v1::COOL_SCOPE_TYPE);
  failed->mutable_retry_after()->set_seconds(3'600);
  v1::TaskOutcome::Snoozed* snoozed = AddOutcome()->mutable_snoozed();
  snoozed->set_cool(v1::COOL_SCOPE_KEY);
  snoozed->mutable_delay()->set_seconds(30);
  AddOutcome()->mutable_failed()->mutable_retry_after()->set_seconds(5'000);
  const ConvertedWork work = Convert();
  EXPECT_TRUE(work.refusals.empty());
  EXPECT_EQ(work.input.outcomes[0].cool, CoolScope::kType);
  EXPECT_EQ(work.input.outcomes[0].delay, std::optional<Span>(kHour));
  EXPECT_EQ(work.input.outcomes[1].cool, CoolScope::kKey);
  EXPECT_EQ(work.input.outcomes[2].cool, CoolScope::kNone);
}

TEST_F(ConvertWorkTest, CoolingWithoutATimeIsAFailure) {
  AddOutcome()->mutable_failed()->set_cool(v1::COOL_SCOPE_QUEUE);
  ExpectTakenAsFailure("failed.cool: needs retry_after: for how long it is left alone");
}

TEST_F(ConvertWorkTest, CoolingForTooLongIsAFailure) {
  v1::TaskOutcome::Failed* failed = AddOutcome()->mutable_failed();
  failed->set_cool(v1::COOL_SCOPE_QUEUE);
  failed->mutable_retry_after()->set_seconds(3'601);
  ExpectTakenAsFailure("failed.retry_after: must be at most 1h with cool, is 1h1s");
}

TEST_F(ConvertWorkTest, SnoozeThatCoolsForTooLongIsAFailure) {
  v1::TaskOutcome::Snoozed* snoozed = AddOutcome()->mutable_snoozed();
  snoozed->set_cool(v1::COOL_SCOPE_GROUP);
  snoozed->mutable_delay()->set_seconds(7'200);
  ExpectTakenAsFailure("snoozed.delay: must be at most 1h with cool, is 2h");
}

TEST_F(ConvertWorkTest, UnknownScopeToCoolIsAFailure) {
  AddOutcome()->mutable_snoozed()->set_cool(static_cast<v1::CoolScope>(9));
  ExpectTakenAsFailure("snoozed.cool: 9 is no scope; valid are queue, type, group and key");
}

TEST_F(ConvertWorkTest, CheckpointBeyondItsLimitIsRefusedWithItsReport) {
  for (const size_t size : {size_t{0}, limits_.checkpoint, limits_.checkpoint + 1}) {
    v1::ProgressReport* report = request_->add_progress_reports();
    report->set_task_id(kTask);
    report->set_percent(1);
    report->set_checkpoint(std::string(size, 'c'));
  }
  request_->add_progress_reports()->set_task_id(kTask);
  const ConvertedWork work = Convert();
  ASSERT_EQ(work.input.progress_reports.size(), 3u);
  EXPECT_EQ(work.input.progress_reports[0].checkpoint, std::optional<std::string_view>("")) << "clears it";
  EXPECT_EQ(work.input.progress_reports[1].checkpoint->size(), limits_.checkpoint);
  EXPECT_FALSE(work.input.progress_reports[2].checkpoint.has_value()) << "what was saved stays";
  ASSERT_EQ(work.refusals.size(), 1u);
  EXPECT_EQ(work.refusals[0].reason(), v1::Refusal::REASON_INVALID);
  EXPECT_EQ(work.refusals[0].message(),
            "checkpoint: must be at most 65536 bytes (limits.checkpoint), is 65537; what was saved before stays");
}

TEST_F(ConvertWorkTest, NegativeRunTimeIsAFailure) {
  AddOutcome()->mutable_completed();
  request_->mutable_outcomes(0)->mutable_run_time()->set_seconds(-1);
  ExpectTakenAsFailure("run_time: must be 0s to 365d, is -1s");
}

TEST_F(ConvertWorkTest, LongErrorTextIsCutInTheMiddle) {
  v1::TaskError* error = AddOutcome()->mutable_failed()->mutable_error();
  error->set_message("begin " + std::string(20'000, 'm') + " end");
  error->set_detail("short");
  const ConvertedWork work = Convert();
  EXPECT_TRUE(work.refusals.empty());
  const ErrorText& text = work.input.outcomes[0].error;
  EXPECT_LE(text.message.size() + text.detail.size(), limits_.error_text);
  EXPECT_EQ(text.detail, "short");
  EXPECT_TRUE(text.message.starts_with("begin mmm"));
  EXPECT_TRUE(text.message.ends_with("mmm end"));
  EXPECT_NE(text.message.find("bytes cut"), std::string_view::npos);
}

TEST_F(ConvertWorkTest, LongMessageAndDetailShareTheLimit) {
  v1::TaskError* error = AddOutcome()->mutable_failed()->mutable_error();
  error->set_message(std::string(20'000, 'm'));
  error->set_detail(std::string(20'000, 'd'));
  const ConvertedWork work = Convert();
  const ErrorText& text = work.input.outcomes[0].error;
  EXPECT_LE(text.message.size() + text.detail.size(), limits_.error_text);
  EXPECT_GT(text.message.size(), limits_.error_text / 2 - 100);
  EXPECT_GT(text.detail.size(), limits_.error_text / 2 - 100);
}

TEST_F(ConvertWorkTest, PartsWithoutAValidTaskIdAreLeftOutAndRefused) {
  request_->set_frame_number(1);
  request_->add_starts()->set_task_id("x");
  request_->add_outcomes()->set_task_id("");
  request_->add_progress_reports()->set_task_id("y");
  request_->add_log_reports()->set_task_id(std::string(1'000, 'z'));
  const ConvertedWork work = Convert();
  EXPECT_TRUE(work.input.starts.empty());
  EXPECT_TRUE(work.input.outcomes.empty());
  EXPECT_TRUE(work.input.progress_reports.empty());
  EXPECT_TRUE(work.input.log_reports.empty());
  ASSERT_EQ(work.refusals.size(), 4u);
  EXPECT_EQ(work.refusals[3].task_id().size(), 64u);
}

TEST_F(ConvertWorkTest, ProgressOutsideItsRangeIsRefusedAndLongTextCut) {
  for (double percent : {-0.1, 100.1}) {
    v1::ProgressReport* report = request_->add_progress_reports();
    report->set_task_id(kTask);
    report->set_percent(percent);
  }
  v1::ProgressReport* report = request_->add_progress_reports();
  report->set_task_id(kTask);
  report->set_percent(100);
  report->set_text(std::string(1'023, 'a') + "\xC3\xBC");  // the limit falls into a character
  const ConvertedWork work = Convert();
  EXPECT_EQ(work.refusals.size(), 2u);
  ASSERT_EQ(work.input.progress_reports.size(), 1u);
  EXPECT_EQ(work.input.progress_reports[0].text, std::string(1'023, 'a'));
}

TEST_F(ConvertWorkTest, LogLinesAreCutAndGetATime) {
  v1::LogReport* report = request_->add_log_reports();
  report->set_task_id(kTask);
  report->add_lines()->set_text(std::string(4'097, 'l'));
  report->add_lines()->mutable_time()->set_seconds(12);
  const ConvertedWork work = Convert();
  ASSERT_EQ(work.input.log_reports.size(), 1u);
  const auto& lines = work.input.log_reports[0].lines;
  EXPECT_EQ(lines[0].text.size(), 4'096u);
  EXPECT_EQ(lines[0].time, kNow);
  EXPECT_EQ(lines[1].time, 12 * kSecond);
}

TEST_F(ConvertWorkTest, InputOutlivesTheRequest) {
  AddOutcome()->mutable_completed()->set_result("kept");
  ConvertedWork work = Convert();
  request_.reset();
  EXPECT_EQ(work.input.outcomes[0].result, "kept");
}

}  // namespace
}  // namespace penstock::broker
