// A newer Penstock has run on this folder and stored fields that this version does not know: they are still there after
// this version has written the records again. docs/storage_format.md promises it for every record that is rewritten.

#include <memory>
#include <string>

#include "broker/core/schedule.h"
#include "broker/core/throttle.h"
#include "broker/storage/keys.h"
#include "broker/storage/records.h"
#include "gtest/gtest.h"
#include "tests/support/core_driver.h"

namespace penstock::broker {
namespace {

constexpr int kUnknownField = 50'000;

template <class Record>
Record Read(CoreDriver& driver, Family family, const std::string& key) {
  auto record = GetRecord<Record>(driver.store(), family, key);
  EXPECT_TRUE(record.ok()) << record.status();
  return record.value_or(Record());
}

void AddUnknown(google::protobuf::Message* message) {
  message->GetReflection()->MutableUnknownFields(message)->AddVarint(kUnknownField, 42);
}

bool HasUnknown(const google::protobuf::Message& message) {
  const auto& unknown = message.GetReflection()->GetUnknownFields(message);
  for (int i = 0; i < unknown.field_count(); ++i) {
    if (unknown.field(i).number() == kUnknownField) return unknown.field(i).varint() == 42;
  }
  return false;
}

// What the newer version wrote.
template <class Record>
void Enrich(CoreDriver& driver, Family family, const std::string& key) {
  auto record = Read<Record>(driver, family, key);
  AddUnknown(&record);
  if constexpr (requires { record.mutable_retry_policy(); }) AddUnknown(record.mutable_retry_policy());
  if constexpr (requires { record.mutable_task(); }) AddUnknown(record.mutable_task());
  CommitBatch batch;
  batch.Put(family, key, SealRecord(key, record));
  ASSERT_TRUE(driver.store().Commit(batch, true).ok());
}

// `before`: as it was stored. It was written again, or the test shows nothing.
template <class Record>
void ExpectKept(CoreDriver& driver, Family family, const std::string& key, const std::string& before) {
  const auto record = Read<Record>(driver, family, key);
  EXPECT_NE(record.SerializeAsString(), before) << "not written again: " << record.GetTypeName();
  EXPECT_TRUE(HasUnknown(record)) << record.GetTypeName() << ": " << record.ShortDebugString();
  if constexpr (requires { record.retry_policy(); }) {
    EXPECT_TRUE(HasUnknown(record.retry_policy()));
  }
  if constexpr (requires { record.task(); }) {
    EXPECT_TRUE(HasUnknown(record.task()));
  }
}

template <class Record>
std::string Stored(CoreDriver& driver, Family family, const std::string& key) {
  return Read<Record>(driver, family, key).SerializeAsString();
}

std::shared_ptr<ScheduleChange> EveryMinute() {
  auto change = std::make_shared<ScheduleChange>();
  change->times.emplace().interval = kMinute;
  ScheduledTask& task = change->task.emplace();
  task.queue = "q";
  task.type = "t";
  task.spec = "spec";
  return change;
}

Ticket Connect(CoreDriver& driver, bool resume, std::vector<HeldTask> held) {
  OpenSessionCommand open;
  open.stream = driver.NewTicket();
  open.session_id = "secret";
  open.resume = resume;
  open.worker_name = "w";
  open.queues = {"q"};
  open.types = {{"t", 0}};
  open.concurrency = 2;
  open.lease = kHour;
  open.version = resume ? "2" : "1";
  open.held_tasks = std::move(held);
  driver.Step(Command(open));
  return open.stream;
}

TEST(NewerRecordsTest, UnknownFieldsSurviveBeingWrittenAgain) {
  CoreDriver driver;
  QueueCommand create{driver.NewTicket(), QueueVerb::kCreate, "q", {}, false};
  create.settings.group_weights = {{"a", 2.0}, {"b", 3.0}};
  driver.Step(Command(create));
  driver.Step(Command(ScheduleCommand{driver.NewTicket(), ScheduleVerb::kCreate, "s", EveryMinute()}));
  auto throttle = std::make_shared<ThrottleChange>();
  throttle->max_running = 5;
  driver.Step(Command(ThrottleCommand{driver.NewTicket(), ThrottleVerb::kCreate, "l", throttle}));
  NewTask task;
  task.queue = "q";
  task.type = "t";
  task.spec = "spec";
  EnqueueCommand enqueue;
  enqueue.ticket = driver.NewTicket();
  enqueue.tasks = {task};
  const Effects enqueued = driver.Step(Command(enqueue));
  const TaskId id = std::get<EnqueueReply>(enqueued.replies.at(0).value).results.at(0).task;
  const Ticket stream = Connect(driver, false, {});
  SessionInput ask;
  ask.stream = stream;
  ask.credit = 1;
  const Effects given = driver.Step(Command(ask));
  const Delivery& delivery = given.session_messages.at(0).deliveries.at(0);
  SessionInput failed;
  failed.stream = stream;
  failed.frame_number = 1;
  failed.starts = {{id, delivery.token}};
  TaskOutcome outcome;
  outcome.task = id;
  outcome.token = delivery.token;
  outcome.kind = OutcomeKind::kFailed;
  failed.outcomes = {outcome};
  driver.Step(Command(failed));

  const Keys keys(0);
  const std::string queue = keys.Queue(QueueId(1)), session_prefix = keys.First('s'), schedule = keys.Schedule("s"),
                    progress = keys.ScheduleProgress("s"), limit = keys.Throttle("l"), record = keys.TaskRecord(id);
  std::string session;
  (void)driver.store().Scan(Family::kMeta, session_prefix, keys.Past('s'), [&](std::string_view key, std::string_view) {
    session = key;
    return false;
  });
  Enrich<records::QueueRecord>(driver, Family::kMeta, queue);
  Enrich<records::SessionRecord>(driver, Family::kMeta, session);
  Enrich<records::ScheduleRecord>(driver, Family::kMeta, schedule);
  Enrich<records::ScheduleProgressRecord>(driver, Family::kMeta, progress);
  Enrich<records::ThrottleRecord>(driver, Family::kMeta, limit);
  Enrich<records::TaskRecord>(driver, Family::kTasks, record);
  const std::string queue_before = Stored<records::QueueRecord>(driver, Family::kMeta, queue);
  const std::string session_before = Stored<records::SessionRecord>(driver, Family::kMeta, session);
  const std::string schedule_before = Stored<records::ScheduleRecord>(driver, Family::kMeta, schedule);
  const std::string progress_before = Stored<records::ScheduleProgressRecord>(driver, Family::kMeta, progress);
  const std::string limit_before = Stored<records::ThrottleRecord>(driver, Family::kMeta, limit);
  const std::string record_before = Stored<records::TaskRecord>(driver, Family::kTasks, record);

  driver.Crash();  // and now this version
  QueueCommand update{driver.NewTicket(), QueueVerb::kUpdate, "q", {}, false};
  update.settings.group_weights = {{"a", 4.0}};
  driver.Step(Command(update));
  auto note = std::make_shared<ScheduleChange>();
  note->note = "changed";
  driver.Step(Command(ScheduleCommand{driver.NewTicket(), ScheduleVerb::kUpdate, "s", note}));
  auto more = std::make_shared<ThrottleChange>();
  more->note = "changed";
  driver.Step(Command(ThrottleCommand{driver.NewTicket(), ThrottleVerb::kUpdate, "l", more}));
  Connect(driver, true, {});
  driver.Step(Command(CancelTaskCommand{driver.NewTicket(), id, "why not"}));
  driver.Advance(kMinute);  // a tick
  driver.CommitAll();

  ExpectKept<records::QueueRecord>(driver, Family::kMeta, queue, queue_before);
  ExpectKept<records::SessionRecord>(driver, Family::kMeta, session, session_before);
  ExpectKept<records::ScheduleRecord>(driver, Family::kMeta, schedule, schedule_before);
  ExpectKept<records::ScheduleProgressRecord>(driver, Family::kMeta, progress, progress_before);
  ExpectKept<records::ThrottleRecord>(driver, Family::kMeta, limit, limit_before);
  ExpectKept<records::TaskRecord>(driver, Family::kTasks, record, record_before);
  // What this version took away is gone: only what it does not know is kept.
  EXPECT_EQ(Read<records::QueueRecord>(driver, Family::kMeta, queue).group_weights().size(), 1u);
}

TEST(NewerRecordsTest, OnlyWhatIsUnknownIsKept) {
  records::QueueRecord record;
  record.set_name("q");
  (*record.mutable_group_weights())["a"] = 2;
  record.mutable_retry_policy()->set_max_attempts(3);
  record.set_cancelled_retention(7);
  EXPECT_EQ(IfNewer(record), "");
  AddUnknown(record.mutable_retry_policy());
  const auto kept = StartFrom<records::QueueRecord>(IfNewer(record));
  EXPECT_TRUE(HasUnknown(kept.retry_policy()));
  EXPECT_EQ(kept.retry_policy().max_attempts(), 0u);
  EXPECT_EQ(kept.name(), "");
  EXPECT_TRUE(kept.group_weights().empty());
  EXPECT_FALSE(kept.has_cancelled_retention());
}

}  // namespace
}  // namespace penstock::broker
