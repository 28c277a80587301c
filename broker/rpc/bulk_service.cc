#include "broker/rpc/bulk_service.h"

#include <string>
#include <utility>
#include <vector>

#include "broker/rpc/convert_bulk.h"
#include "broker/rpc/fields.h"
#include "broker/rpc/unary.h"

namespace penstock::broker {
namespace {

// The longest that a client may send; the broker's own are shorter.
constexpr size_t kJobIdMax = 64;

absl::Status CheckJobId(const std::string& id) { return CheckSize(FieldPath("job_id"), id, 1, kJobIdMax); }

// Answers with the job, once it comes.
template <class Response>
BulkJobs::Done AnswerWith(grpc::ServerUnaryReactor* reactor, Response* response) {
  return [reactor, response](absl::StatusOr<v1::BulkJob> job) {
    if (job.ok()) *response->mutable_job() = *std::move(job);
    FinishWith(reactor, job.status());
  };
}

}  // namespace

grpc::ServerUnaryReactor* BulkService::StartBulkJob(grpc::CallbackServerContext* call,
                                                    const v1::StartBulkJobRequest* request,
                                                    v1::StartBulkJobResponse* response) {
  grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
  absl::StatusOr<BulkOrder> order = ToOrder(*request, context_.limits, context_.WallNow());
  if (order.ok()) {
    jobs_.Start(*std::move(order), AnswerWith(reactor, response));
  } else {
    FinishWith(reactor, order.status());
  }
  return reactor;
}

grpc::ServerUnaryReactor* BulkService::GetBulkJob(grpc::CallbackServerContext* call,
                                                  const v1::GetBulkJobRequest* request,
                                                  v1::GetBulkJobResponse* response) {
  grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
  const absl::Status checked = CheckJobId(request->job_id());
  AnswerWith(reactor, response)(checked.ok() ? jobs_.Get(request->job_id()) : checked);
  return reactor;
}

grpc::ServerUnaryReactor* BulkService::ListBulkJobs(grpc::CallbackServerContext* call, const v1::ListBulkJobsRequest*,
                                                    v1::ListBulkJobsResponse* response) {
  grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
  absl::StatusOr<std::vector<v1::BulkJob>> jobs = jobs_.List();
  if (jobs.ok()) {
    for (v1::BulkJob& job : *jobs) *response->add_jobs() = std::move(job);
  }
  FinishWith(reactor, jobs.status());
  return reactor;
}

grpc::ServerUnaryReactor* BulkService::StopBulkJob(grpc::CallbackServerContext* call,
                                                   const v1::StopBulkJobRequest* request,
                                                   v1::StopBulkJobResponse* response) {
  grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
  if (const absl::Status checked = CheckJobId(request->job_id()); !checked.ok()) {
    FinishWith(reactor, checked);
  } else {
    jobs_.End(request->job_id(), AnswerWith(reactor, response));
  }
  return reactor;
}

}  // namespace penstock::broker
