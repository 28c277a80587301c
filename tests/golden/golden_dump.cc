#include "tests/golden/golden_dump.h"

#include <memory>
#include <set>

#include "broker/core/broker_core.h"
#include "broker/core/schedule.h"
#include "broker/core/throttle.h"
#include "broker/rpc/task_reader.h"
#include "broker/storage/applied.h"
#include "broker/storage/data_dir.h"
#include "broker/storage/history.h"
#include "broker/storage/keys.h"
#include "broker/storage/read_only_store.h"
#include "broker/storage/records.h"
#include "common/coding.h"
#include "common/status.h"
#include "fmt/format.h"
#include "google/protobuf/text_format.h"
#include "penstock/v1/bulk_service.pb.h"
#include "tests/golden/stepped_broker.h"

namespace penstock::broker {
namespace {

// Of every task that left a trace.
absl::StatusOr<std::set<TaskId>> AllTasks(const StoreReader& store) {
  std::set<TaskId> tasks;
  absl::Status failed;
  auto add_block = [&](std::string_view key, std::string_view value, uint64_t number) {
    const auto body = OpenValue(key, value);
    const auto block = body.ok() ? TaskBlock::Parse(std::string(*body)) : body.status();
    if (!block.ok()) failed = block.status();
    for (uint32_t slot = 0; block.ok() && slot < (*block)->slot_count(); ++slot) tasks.insert(TaskId(0, number, slot));
    return failed.ok();
  };
  RETURN_IF_ERROR(store.Scan(Family::kBlocks, "", "", [&](std::string_view key, std::string_view value) {
    Decoder decoder(key.substr(1));
    return add_block(key, value, decoder.Big64());
  }));
  RETURN_IF_ERROR(store.Scan(Family::kTasks, "", "", [&](std::string_view key, std::string_view value) {
    Decoder decoder(key.substr(1));
    const TaskId task(decoder.Big64());
    if (decoder.Byte() == 'B') return add_block(key, value, task.block());
    tasks.insert(task);
    return true;
  }));
  RETURN_IF_ERROR(store.Scan(Family::kHistory, "", "", [&](std::string_view key, std::string_view value) {
    const auto body = OpenValue(key, value);
    failed = body.status();
    if (!body.ok()) return false;
    failed = VisitHistory(*body, [&](const FinishedTask& finished) {
      tasks.insert(finished.task);
      return true;
    });
    return failed.ok();
  }));
  RETURN_IF_ERROR(failed);
  return tasks;
}

template <class Answer>
Answer Ask(BrokerCore* core, const CoreNow& now, Command question) {
  std::vector<Command> commands;
  commands.push_back(std::move(question));
  CoreBatch batch = core->Step(absl::MakeSpan(commands), now);
  return std::get<Answer>(std::move(batch.effects.replies.at(0).value));
}

// What only later formats have: nothing of a folder without it.
std::string LimitsOf(const QueueView& queue) {
  const QueueSettings& settings = queue.settings;
  const RetryPolicy& policy = settings.retry_policy;
  std::string out;
  if (settings.max_waiting + settings.max_waiting_bytes != 0) {
    out += fmt::format(" max_waiting={} max_waiting_bytes={}{}", settings.max_waiting, settings.max_waiting_bytes,
                       settings.drop_oldest ? " drop_oldest" : "");
  }
  if (settings.cancelled_retention) out += fmt::format(" cancelled_retention={}", *settings.cancelled_retention);
  if (policy.backoff != Backoff::kExponential) {
    out += fmt::format(" backoff={} from {} to {}", static_cast<int>(policy.backoff), policy.initial_backoff,
                       policy.max_backoff);
  }
  return out.empty() ? "" : fmt::format("settings {}{}\n", queue.name, out);
}

std::string Render(const ThrottleView& throttle) {
  const ThrottleDefinition& definition = throttle.definition;
  return fmt::format(
      "throttle {} queues={} types={} per={} max_running={} rate={}/{} burst={} note=\"{}\" running={}\n",
      throttle.name, fmt::join(definition.queues, ","), fmt::join(definition.types, ","),
      static_cast<int>(definition.per), definition.max_running, definition.rate.tasks, definition.rate.period,
      definition.rate.burst, definition.note, throttle.running);
}

absl::StatusOr<std::string> BulkJobsOf(const StoreReader& store) {
  std::string out;
  absl::Status failed;
  const Keys keys(0);
  RETURN_IF_ERROR(
      store.Scan(Family::kMeta, keys.First('b'), keys.Past('b'), [&](std::string_view key, std::string_view value) {
        const auto record = OpenRecord<records::BulkJobRecord>(key, value);
        failed = record.status();
        if (!record.ok()) return false;
        v1::BulkJob job;
        if (!job.ParseFromString(record->job())) failed = absl::DataLossError("a bulk job is broken");
        google::protobuf::TextFormat::Printer printer;
        printer.SetSingleLineMode(true);
        std::string text;
        printer.PrintToString(job, &text);
        out += fmt::format("bulk job {}: {}pending={} page_token={}\n", key.substr(2), text,
                           record->pending_task_ids_size(), record->page_token());
        return failed.ok();
      }));
  RETURN_IF_ERROR(failed);
  return out;
}

}  // namespace

absl::StatusOr<std::string> DumpDataDir(const std::string& path) {
  ASSIGN_OR_RETURN(const std::unique_ptr<DataDir> folder, DataDir::OpenReadOnly(path));
  ASSIGN_OR_RETURN(const std::unique_ptr<Store> store, OpenReadOnlyStore(folder->db_path(), false, nullptr));
  const std::string key = AppliedKey(0);
  ASSIGN_OR_RETURN(const std::string value, store->Get(Family::kMeta, key));
  ASSIGN_OR_RETURN(const Applied applied, DecodeApplied(key, value));
  CoreOptions options = SteppedBroker::Options();
  options.paused = true;
  const CoreNow now{applied.time_micros, 0};
  ASSIGN_OR_RETURN(const std::unique_ptr<BrokerCore> core, BrokerCore::Recover(options, *store, now));
  std::string out = fmt::format("commit {} epoch {} time {} hash {:016x}\n", applied.sequence, applied.epoch,
                                applied.time_micros, applied.hash);
  out += core->DebugState();
  for (const ScheduleView& schedule :
       Ask<SchedulesReply>(core.get(), now, ListSchedulesCommand{Ticket(1), "", 100}).schedules) {
    const ScheduleDefinition& definition = *schedule.definition;
    out += fmt::format(
        "schedule {} cron=\"{}\" interval={} anchor={} end={} queue={} note=\"{}\"{} next={} last={} {} fired={}\n",
        schedule.name, definition.times.cron, definition.times.interval, schedule.anchor, definition.times.end,
        definition.task.queue, definition.note, schedule.paused ? " paused" : "", schedule.next, schedule.last_tick,
        schedule.last_task.ToString(), schedule.fired_total);
  }
  const auto all = Ask<StatusReply>(core.get(), now, StatusCommand{Ticket(1)});
  for (const QueueView& queue : all.queues) out += LimitsOf(queue);
  for (const WorkerView& worker : all.workers) {
    if (!worker.labels.empty()) out += fmt::format("labels of {}: {}", worker.name, LabelText(worker.labels));
  }
  for (const ThrottleView& throttle :
       Ask<ThrottlesReply>(core.get(), now, ListThrottlesCommand{Ticket(1), "", 100}).throttles) {
    out += Render(throttle);
  }
  ASSIGN_OR_RETURN(const std::string bulk_jobs, BulkJobsOf(*store));
  out += bulk_jobs;
  ASSIGN_OR_RETURN(const std::set<TaskId> tasks, AllTasks(*store));
  google::protobuf::TextFormat::Printer printer;
  printer.SetSingleLineMode(true);
  for (const TaskId task : tasks) {
    TaskReader reader(store->Snapshot(), 0, now.wall);
    v1::Task read;
    const absl::Status status = reader.Read(Ask<TaskReply>(core.get(), now, GetTaskCommand{Ticket(1), task}).snapshot,
                                            {.payload = true, .attempts = true, .result = true}, &read);
    std::string text;
    if (status.ok()) {
      printer.PrintToString(read, &text);
    } else {
      text = std::string(status.message());
    }
    out += fmt::format("task {}: {}\n", task.ToString(), text);
    v1::ListTaskLogLinesResponse lines;
    RETURN_IF_ERROR(reader.ReadLog(task, 0, &lines));
    if (lines.lines_size() == 0) continue;
    printer.PrintToString(lines, &text);
    out += "  log " + text + "\n";
  }
  return out;
}

}  // namespace penstock::broker
