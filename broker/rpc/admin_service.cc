#include "broker/rpc/admin_service.h"

#include <algorithm>
#include <array>
#include <utility>

#include "broker/rpc/convert.h"
#include "broker/rpc/convert_queue.h"
#include "broker/rpc/fields.h"
#include "broker/rpc/page_token.h"
#include "broker/rpc/task_reader.h"
#include "broker/rpc/unary.h"
#include "common/status.h"

namespace penstock::broker {
namespace {

constexpr int32_t kStatusItemsDefault = 20;

// Stand in page tokens, so that a list refuses those of others. The phases of ListTasks are lower.
constexpr uint8_t kQueuesPage = 'q';
constexpr uint8_t kWorkersPage = 'w';
constexpr uint8_t kKeysPage = 'k';

// How many queues or workers a status shows.
absl::StatusOr<size_t> ToCount(std::string_view field, int32_t count, const ApiLimits& limits) {
  RETURN_IF_ERROR(CheckNumber(FieldPath(field), count, 0, limits.page));
  return static_cast<size_t>(count == 0 ? kStatusItemsDefault : count);
}

absl::StatusOr<PageToken> ToPageToken(const std::string& text, uint8_t list) {
  ASSIGN_OR_RETURN(const PageToken token, PageToken::Parse(text));
  if (text.empty() || token.phase == list) return token;
  return BadField(FieldPath("page_token"), "is not the next_page_token of a page before");
}

// The first 16 bytes of a name, in numbers that are ordered as names are.
std::array<uint64_t, 2> Beginning(std::string_view name) {
  std::array<uint64_t, 2> parts{};
  for (size_t i = 0; i < 16; ++i) {
    parts[i / 8] = parts[i / 8] << 8 | (i < name.size() ? static_cast<unsigned char>(name[i]) : 0);
  }
  return parts;
}

// A page ends with a queue. It is known by its number, and, if it is deleted before the next page is asked for, by the
// beginning of its name: then another queue whose name begins alike may come twice, but none is missed.
PageToken PageAfter(const QueueView& queue) {
  const auto [high, low] = Beginning(queue.name);
  return {.phase = kQueuesPage, .place = {queue.id.value(), high, low}};
}

std::vector<QueueView>::const_iterator FirstAfter(const PageToken& token, const std::vector<QueueView>& queues) {
  const std::array<uint64_t, 2> beginning{token.place[1], token.place[2]};
  const auto alike = std::lower_bound(
      queues.begin(), queues.end(), beginning,
      [](const QueueView& queue, const std::array<uint64_t, 2>& wanted) { return Beginning(queue.name) < wanted; });
  for (auto queue = alike; queue != queues.end() && Beginning(queue->name) == beginning; ++queue) {
    if (queue->id.value() == token.place[0]) return queue + 1;
  }
  return alike;
}

// The core knows keys by their hashes: what they are called stands with the tasks that hold them.
absl::Status FillKeys(RpcContext& context, const KeysReply& keys, v1::ListKeysResponse* out) {
  std::unique_ptr<StoreReader> store = context.door.Snapshot();
  if (store == nullptr) return StoppingError();
  TaskReader reader(std::move(store), context.partition, context.WallNow());
  for (const KeyView& key : keys.keys) {
    v1::Task task;
    const absl::Status status = reader.ReadStored(key.holder, {}, &task);
    if (absl::IsNotFound(status)) continue;  // finished meanwhile
    RETURN_IF_ERROR(status);
    v1::HeldKey* held = out->add_keys();
    held->set_key(task.spec().key());
    held->set_task_id(key.holder.ToString());
    held->set_state(static_cast<v1::TaskState>(key.state));
    if (key.due != 0) SetTimestamp(key.due, held->mutable_run_time());
    held->set_waiting(key.waiting);
    if (key.drained_in.known()) ToProto(key.drained_in, held->mutable_drained_in());
  }
  if (keys.more) {
    out->set_next_page_token(PageToken{.phase = kKeysPage, .place = {keys.next_lane.value()}}.ToString());
  }
  return absl::OkStatus();
}

}  // namespace

AdminService::AdminService(RpcContext& context, StatusFeed& status, const RateMeter& rates, const BrokerFacts& facts,
                           const BulkJobs& bulk_jobs, std::vector<LimitInfo> limits, BackupDoor* backups)
    : context_(context),
      status_(status),
      rates_(rates),
      facts_(facts),
      bulk_jobs_(bulk_jobs),
      limits_(std::move(limits)),
      backups_(backups) {}

grpc::ServerUnaryReactor* AdminService::AnswerFromStatus(grpc::CallbackServerContext* call,
                                                         std::function<absl::Status(const StatusReply&)> fill) {
  grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
  status_.Get([reactor, fill = std::move(fill)](const StatusFeed::Answer& answer) {
    FinishWith(reactor, answer.ok() ? fill(**answer) : answer.status());
  });
  return reactor;
}

grpc::ServerUnaryReactor* AdminService::GetStatus(grpc::CallbackServerContext* call,
                                                  const v1::GetStatusRequest* request,
                                                  v1::GetStatusResponse* response) {
  const auto queues_max = ToCount("max_queues", request->max_queues(), context_.limits);
  const auto workers_max = ToCount("max_workers", request->max_workers(), context_.limits);
  if (!queues_max.ok() || !workers_max.ok()) {
    grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
    FinishWith(reactor, queues_max.ok() ? workers_max.status() : queues_max.status());
    return reactor;
  }
  return AnswerFromStatus(call,
                          [this, response, queues = *queues_max, workers = *workers_max](const StatusReply& status) {
                            FillStatus(status, queues, workers, response);
                            return absl::OkStatus();
                          });
}

void AdminService::FillStatus(const StatusReply& status, size_t queues_max, size_t workers_max,
                              v1::GetStatusResponse* out) const {
  const Time now = context_.WallNow();
  FillBroker(status, out->mutable_broker());
  std::vector<const QueueView*> queues;
  for (const QueueView& queue : status.queues) {
    queues.push_back(&queue);
    AddToTotals(queue, now, out->mutable_totals());
  }
  const Rates rates = rates_.OfAll();
  out->mutable_totals()->set_enqueue_rate(rates.enqueue);
  out->mutable_totals()->set_finish_rate(rates.finish);
  // Stable: queues without waiting tasks stay in the order of their names.
  std::stable_sort(queues.begin(), queues.end(),
                   [](const QueueView* a, const QueueView* b) { return a->oldest_available < b->oldest_available; });
  for (size_t i = 0; i < std::min(queues.size(), queues_max); ++i) FillQueue(*queues[i], now, out->add_queues());
  out->set_queue_count(static_cast<int32_t>(status.queues.size()));
  for (size_t i = 0; i < std::min(status.workers.size(), workers_max); ++i) {
    ToProto(status.workers[i], out->add_workers());
  }
  out->set_worker_count(static_cast<int32_t>(status.workers.size()));
}

void AdminService::FillBroker(const StatusReply& status, v1::BrokerStatus* out) const {
  const BrokerFigures figures = facts_.Read();
  out->set_version(figures.version);
  SetTimestamp(ToMicros(figures.start_time), out->mutable_start_time());
  for (const std::string& problem : figures.problems) out->add_problems(problem);
  out->set_enqueues_refused(figures.enqueues_refused);
  out->set_data_dir(figures.data_dir);
  out->set_disk_free_bytes(figures.disk_free_bytes);
  out->set_disk_watermark_bytes(figures.disk_watermark_bytes);
  out->set_data_bytes(figures.data_bytes);
  out->set_memory_bytes(figures.memory_bytes);
  SetDuration(ToMicros(figures.cpu_time), out->mutable_cpu_time());
  out->set_written_bytes(figures.written_bytes);
  out->set_commit_count(figures.commit_count);
  out->set_sync_count(figures.sync_count);
  SetDuration(ToMicros(figures.commit_latency_p50), out->mutable_commit_latency_p50());
  SetDuration(ToMicros(figures.commit_latency_p99), out->mutable_commit_latency_p99());
  out->set_epoch(status.epoch);
  out->set_mailbox_bytes(figures.mailbox_bytes);
  out->set_throttles_waiting(static_cast<uint32_t>(std::count_if(status.throttles.begin(), status.throttles.end(),
                                                                 [](const ThrottleLoad& t) { return t.waiting > 0; })));
  out->set_cooled_waiting(status.cooled_waiting);
  out->set_bulk_jobs_running(static_cast<uint32_t>(bulk_jobs_.figures().running));
}

void AdminService::FillQueue(const QueueView& queue, Time now, v1::Queue* out) const {
  ToProto(queue, rates_.OfQueue(queue.id), now, out);
}

grpc::ServerUnaryReactor* AdminService::GetLimits(grpc::CallbackServerContext* call,
                                                  const v1::GetLimitsRequest* request,
                                                  v1::GetLimitsResponse* response) {
  for (const LimitInfo& limit : limits_) {
    v1::Limit* out = response->add_limits();
    out->set_option(limit.option);
    out->set_value(limit.value);
    out->set_default_value(limit.default_value);
    out->set_description(limit.description);
  }
  grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
  FinishWith(reactor, absl::OkStatus());
  return reactor;
}

grpc::ServerUnaryReactor* AdminService::CreateQueue(grpc::CallbackServerContext* call,
                                                    const v1::CreateQueueRequest* request,
                                                    v1::CreateQueueResponse* response) {
  return AskAndAnswer<QueueReply>(
      context_, call, ToCommand(*request, context_.limits), kSmallCommandBytes,
      [this, response](QueueReply reply) { FillQueue(reply.queue, context_.WallNow(), response->mutable_queue()); });
}

grpc::ServerUnaryReactor* AdminService::UpdateQueue(grpc::CallbackServerContext* call,
                                                    const v1::UpdateQueueRequest* request,
                                                    v1::UpdateQueueResponse* response) {
  return AskAndAnswer<QueueReply>(
      context_, call, ToCommand(*request, context_.limits), kSmallCommandBytes,
      [this, response](QueueReply reply) { FillQueue(reply.queue, context_.WallNow(), response->mutable_queue()); });
}

grpc::ServerUnaryReactor* AdminService::GetQueue(grpc::CallbackServerContext* call, const v1::GetQueueRequest* request,
                                                 v1::GetQueueResponse* response) {
  const std::string& name = request->name();
  const absl::Status valid = CheckName(FieldPath("name"), name, context_.limits.name);
  if (!valid.ok()) {
    grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
    FinishWith(reactor, valid);
    return reactor;
  }
  return AnswerFromStatus(call, [this, name, response](const StatusReply& status) -> absl::Status {
    auto found = std::find_if(status.queues.begin(), status.queues.end(),
                              [&](const QueueView& queue) { return queue.name == name; });
    if (found == status.queues.end()) return absl::NotFoundError("there is no queue " + name);
    FillQueue(*found, context_.WallNow(), response->mutable_queue());
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* AdminService::ListQueues(grpc::CallbackServerContext* call,
                                                   const v1::ListQueuesRequest* request,
                                                   v1::ListQueuesResponse* response) {
  const auto page_size = ToPageSize(request->page_size(), context_.limits);
  const auto token = ToPageToken(request->page_token(), kQueuesPage);
  if (!page_size.ok() || !token.ok()) {
    grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
    FinishWith(reactor, page_size.ok() ? token.status() : page_size.status());
    return reactor;
  }
  return AnswerFromStatus(call, [this, response, size = *page_size, token = *token](const StatusReply& status) {
    const Time now = context_.WallNow();
    auto next = FirstAfter(token, status.queues);
    for (; next != status.queues.end() && response->queues_size() < static_cast<int>(size); ++next) {
      FillQueue(*next, now, response->add_queues());
    }
    if (next != status.queues.end()) response->set_next_page_token(PageAfter(*(next - 1)).ToString());
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* AdminService::ListWorkers(grpc::CallbackServerContext* call,
                                                    const v1::ListWorkersRequest* request,
                                                    v1::ListWorkersResponse* response) {
  const auto page_size = ToPageSize(request->page_size(), context_.limits);
  const auto token = ToPageToken(request->page_token(), kWorkersPage);
  if (!page_size.ok() || !token.ok()) {
    grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
    FinishWith(reactor, page_size.ok() ? token.status() : page_size.status());
    return reactor;
  }
  return AnswerFromStatus(call, [response, size = *page_size, after = token->place[0]](const StatusReply& status) {
    auto next =
        std::upper_bound(status.workers.begin(), status.workers.end(), after,
                         [](uint64_t number, const WorkerView& worker) { return number < worker.number.value(); });
    uint64_t last = 0;
    for (; next != status.workers.end() && response->workers_size() < static_cast<int>(size); ++next) {
      ToProto(*next, response->add_workers());
      last = next->number.value();
    }
    if (next != status.workers.end())
      response->set_next_page_token(PageToken{.phase = kWorkersPage, .place = {last}}.ToString());
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* AdminService::PauseQueue(grpc::CallbackServerContext* call,
                                                   const v1::PauseQueueRequest* request,
                                                   v1::PauseQueueResponse* response) {
  return AskForStatus(context_, call, ToQueueCommand(QueueVerb::kPause, request->name(), context_.limits));
}

grpc::ServerUnaryReactor* AdminService::ResumeQueue(grpc::CallbackServerContext* call,
                                                    const v1::ResumeQueueRequest* request,
                                                    v1::ResumeQueueResponse* response) {
  return AskForStatus(context_, call, ToQueueCommand(QueueVerb::kResume, request->name(), context_.limits));
}

grpc::ServerUnaryReactor* AdminService::DrainQueue(grpc::CallbackServerContext* call,
                                                   const v1::DrainQueueRequest* request,
                                                   v1::DrainQueueResponse* response) {
  return AskForStatus(context_, call, ToQueueCommand(QueueVerb::kDrain, request->name(), context_.limits));
}

grpc::ServerUnaryReactor* AdminService::PurgeQueue(grpc::CallbackServerContext* call,
                                                   const v1::PurgeQueueRequest* request,
                                                   v1::PurgeQueueResponse* response) {
  return AskAndAnswer<QueueReply>(context_, call, ToQueueCommand(QueueVerb::kPurge, request->name(), context_.limits),
                                  kSmallCommandBytes,
                                  [response](QueueReply reply) { response->set_purged(reply.purged); });
}

grpc::ServerUnaryReactor* AdminService::DeleteQueue(grpc::CallbackServerContext* call,
                                                    const v1::DeleteQueueRequest* request,
                                                    v1::DeleteQueueResponse* response) {
  auto command = ToQueueCommand(QueueVerb::kDelete, request->name(), context_.limits);
  if (command.ok()) command->force = request->force();
  return AskForStatus(context_, call, std::move(command));
}

grpc::ServerUnaryReactor* AdminService::DrainWorker(grpc::CallbackServerContext* call,
                                                    const v1::DrainWorkerRequest* request,
                                                    v1::DrainWorkerResponse* response) {
  return AskForStatus(context_, call, ToCommand(*request, context_.limits));
}

grpc::ServerUnaryReactor* AdminService::RedriveDeadTasks(grpc::CallbackServerContext* call,
                                                         const v1::RedriveDeadTasksRequest* request,
                                                         v1::RedriveDeadTasksResponse* response) {
  return AskAndAnswer<DeadTasksReply>(context_, call, ToCommand(*request, context_.limits), kSmallCommandBytes,
                                      [response](DeadTasksReply reply) {
                                        response->set_redriven(reply.changed);
                                        response->set_remaining(reply.remaining);
                                        response->set_exhausted(reply.exhausted);
                                      });
}

grpc::ServerUnaryReactor* AdminService::PurgeDeadTasks(grpc::CallbackServerContext* call,
                                                       const v1::PurgeDeadTasksRequest* request,
                                                       v1::PurgeDeadTasksResponse* response) {
  return AskAndAnswer<DeadTasksReply>(context_, call, ToCommand(*request, context_.limits), kSmallCommandBytes,
                                      [response](DeadTasksReply reply) {
                                        response->set_purged(reply.changed);
                                        response->set_remaining(reply.remaining);
                                        response->set_exhausted(reply.exhausted);
                                      });
}

grpc::ServerUnaryReactor* AdminService::ListKeys(grpc::CallbackServerContext* call, const v1::ListKeysRequest* request,
                                                 v1::ListKeysResponse* response) {
  grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
  auto command = ToCommand(*request, context_.limits);
  const auto token = ToPageToken(request->page_token(), kKeysPage);
  if (!command.ok() || !token.ok()) {
    FinishWith(reactor, command.ok() ? token.status() : command.status());
    return reactor;
  }
  command->from_lane = LaneId(static_cast<uint32_t>(token->place[0]));
  Ask(context_.door, context_.tickets, *std::move(command), kSmallCommandBytes,
      [&context = context_, reactor, response](Reply reply) {
        auto* keys = std::get_if<KeysReply>(&reply.value);
        if (keys == nullptr) return FinishWith(reactor, reply.status);
        const absl::Status status = context.reads.Submit([&context, reactor, response, keys = std::move(*keys)] {
          FinishWith(reactor, FillKeys(context, keys, response));
        });
        if (!status.ok()) FinishWith(reactor, status);
      });
  return reactor;
}

grpc::ServerUnaryReactor* AdminService::ReleaseKey(grpc::CallbackServerContext* call,
                                                   const v1::ReleaseKeyRequest* request,
                                                   v1::ReleaseKeyResponse* response) {
  return AskForStatus(context_, call, ToCommand(*request, context_.limits));
}

}  // namespace penstock::broker
