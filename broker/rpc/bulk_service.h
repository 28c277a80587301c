#ifndef PENSTOCK_BROKER_RPC_BULK_SERVICE_H_
#define PENSTOCK_BROKER_RPC_BULK_SERVICE_H_

#include "broker/rpc/bulk_jobs.h"
#include "broker/rpc/rpc_context.h"
#include "penstock/v1/bulk_service.grpc.pb.h"

namespace penstock::broker {

// Bulk jobs for whoever starts and watches them. Translates and waits for nothing; what a job does is in bulk_jobs.h.
class BulkService final : public v1::BulkService::CallbackService {
 public:
  BulkService(RpcContext& context, BulkJobs& jobs) : context_(context), jobs_(jobs) {}

  grpc::ServerUnaryReactor* StartBulkJob(grpc::CallbackServerContext* call, const v1::StartBulkJobRequest* request,
                                         v1::StartBulkJobResponse* response) override;
  grpc::ServerUnaryReactor* GetBulkJob(grpc::CallbackServerContext* call, const v1::GetBulkJobRequest* request,
                                       v1::GetBulkJobResponse* response) override;
  grpc::ServerUnaryReactor* ListBulkJobs(grpc::CallbackServerContext* call, const v1::ListBulkJobsRequest* request,
                                         v1::ListBulkJobsResponse* response) override;
  grpc::ServerUnaryReactor* StopBulkJob(grpc::CallbackServerContext* call, const v1::StopBulkJobRequest* request,
                                        v1::StopBulkJobResponse* response) override;

 private:
  RpcContext& context_;
  BulkJobs& jobs_;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_BULK_SERVICE_H_
