#include "broker/rpc/rpc_edge.h"

#include <utility>

#include "broker/rpc/admin_service.h"
#include "broker/rpc/bulk_jobs.h"
#include "broker/rpc/bulk_service.h"
#include "broker/rpc/open_calls.h"
#include "broker/rpc/read_pool.h"
#include "broker/rpc/rpc_context.h"
#include "broker/rpc/schedule_service.h"
#include "broker/rpc/task_service.h"
#include "broker/rpc/throttle_service.h"
#include "broker/rpc/worker_service.h"
#include "common/status.h"

namespace penstock::broker {

// Reads wait for the disk, not for a processor; two keep one slow read from stopping the others.
constexpr size_t kReadThreads = 2;

// In the order in which they depend on each other.
struct RpcEdge::Parts {
  Parts(Options options, CommandDoor& door, TicketTable& tickets, const BrokerFacts& facts, const Clock& clock)
      : reads(kReadThreads, options.reads_waiting),
        held_back(options.limits.held_back),
        context{door, tickets, calls, reads, clock, options.limits, held_back, options.version, options.partition},
        status(door, tickets),
        task_service(context),
        worker_service(context),
        bulk_jobs(context, options.bulk),
        admin_service(context, status, rates, facts, bulk_jobs, std::move(options.limit_infos), options.backups),
        schedule_service(context),
        throttle_service(context),
        bulk_service(context, bulk_jobs) {}

  OpenCalls calls;
  ReadPool reads;
  Allowance held_back;
  RpcContext context;
  RateMeter rates;
  StatusFeed status;
  TaskService task_service;
  WorkerService worker_service;
  BulkJobs bulk_jobs;
  AdminService admin_service;
  ScheduleService schedule_service;
  ThrottleService throttle_service;
  BulkService bulk_service;
  std::unique_ptr<GrpcServer> server;
};

absl::StatusOr<std::unique_ptr<RpcEdge>> RpcEdge::Start(Options options, CommandDoor& door, TicketTable& tickets,
                                                        const BrokerFacts& facts, const Clock& clock) {
  const GrpcServerOptions server_options = options.server;
  auto parts = std::make_unique<Parts>(std::move(options), door, tickets, facts, clock);
  parts->bulk_jobs.EnterEngine();
  const std::vector<grpc::Service*> services = {&parts->task_service,     &parts->worker_service,
                                                &parts->admin_service,    &parts->schedule_service,
                                                &parts->throttle_service, &parts->bulk_service};
  ASSIGN_OR_RETURN(parts->server,
                   GrpcServer::Start(server_options, services,
                                     {v1::TaskService::service_full_name(), v1::WorkerService::service_full_name(),
                                      v1::AdminService::service_full_name(), v1::ScheduleService::service_full_name(),
                                      v1::ThrottleService::service_full_name(), v1::BulkService::service_full_name()}));
  return std::unique_ptr<RpcEdge>(new RpcEdge(std::move(parts)));
}

RpcEdge::RpcEdge(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

RpcEdge::~RpcEdge() { Stop(absl::ZeroDuration()); }

int RpcEdge::port() const { return parts_->server->port(); }

absl::Status RpcEdge::Probe(absl::Duration time) const { return parts_->server->Probe(time); }

ListenerFigures RpcEdge::connections() const { return parts_->server->connections(); }

void RpcEdge::SetServing(bool serving) { parts_->server->SetServing(serving); }

void RpcEdge::SetTakingTasks(bool taking) { parts_->server->SetServing(v1::TaskService::service_full_name(), taking); }

StatusFeed& RpcEdge::status() { return parts_->status; }

BulkJobs::Figures RpcEdge::bulk_figures() const { return parts_->bulk_jobs.figures(); }

const RateMeter& RpcEdge::rates() const { return parts_->rates; }

void RpcEdge::SampleRates() {
  parts_->status.Get([parts = parts_.get()](const StatusFeed::Answer& answer) {
    if (answer.ok()) parts->rates.Sample(**answer, parts->context.clock.Read());
  });
}

void RpcEdge::LeaveEngine() {
  parts_->calls.StopOpen();
  parts_->bulk_jobs.LeaveEngine();
  parts_->reads.AwaitIdle();
}

void RpcEdge::EnterEngine() { parts_->bulk_jobs.EnterEngine(); }

void RpcEdge::LookAtClock() { parts_->bulk_jobs.LookAtClock(); }

void RpcEdge::Stop(absl::Duration grace) {
  parts_->server->SetServing(false);
  parts_->calls.StopAll();
  parts_->bulk_jobs.Stop();
  parts_->server->Stop(grace);
  parts_->reads.Stop();
}

}  // namespace penstock::broker
