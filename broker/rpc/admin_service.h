#ifndef PENSTOCK_BROKER_RPC_ADMIN_SERVICE_H_
#define PENSTOCK_BROKER_RPC_ADMIN_SERVICE_H_

#include <functional>
#include <vector>

#include "broker/rpc/backup_door.h"
#include "broker/rpc/broker_facts.h"
#include "broker/rpc/bulk_jobs.h"
#include "broker/rpc/rate_meter.h"
#include "broker/rpc/rpc_context.h"
#include "broker/rpc/status_feed.h"
#include "penstock/v1/admin_service.grpc.pb.h"

namespace penstock::broker {

// What operators call. Translates and waits for nothing.
class AdminService final : public v1::AdminService::CallbackService {
 public:
  // `backups` may be null: there are none.
  AdminService(RpcContext& context, StatusFeed& status, const RateMeter& rates, const BrokerFacts& facts,
               const BulkJobs& bulk_jobs, std::vector<LimitInfo> limits, BackupDoor* backups);

  grpc::ServerUnaryReactor* GetStatus(grpc::CallbackServerContext* call, const v1::GetStatusRequest* request,
                                      v1::GetStatusResponse* response) override;
  grpc::ServerUnaryReactor* GetLimits(grpc::CallbackServerContext* call, const v1::GetLimitsRequest* request,
                                      v1::GetLimitsResponse* response) override;
  grpc::ServerUnaryReactor* CreateQueue(grpc::CallbackServerContext* call, const v1::CreateQueueRequest* request,
                                        v1::CreateQueueResponse* response) override;
  grpc::ServerUnaryReactor* GetQueue(grpc::CallbackServerContext* call, const v1::GetQueueRequest* request,
                                     v1::GetQueueResponse* response) override;
  grpc::ServerUnaryReactor* ListQueues(grpc::CallbackServerContext* call, const v1::ListQueuesRequest* request,
                                       v1::ListQueuesResponse* response) override;
  grpc::ServerUnaryReactor* UpdateQueue(grpc::CallbackServerContext* call, const v1::UpdateQueueRequest* request,
                                        v1::UpdateQueueResponse* response) override;
  grpc::ServerUnaryReactor* PauseQueue(grpc::CallbackServerContext* call, const v1::PauseQueueRequest* request,
                                       v1::PauseQueueResponse* response) override;
  grpc::ServerUnaryReactor* ResumeQueue(grpc::CallbackServerContext* call, const v1::ResumeQueueRequest* request,
                                        v1::ResumeQueueResponse* response) override;
  grpc::ServerUnaryReactor* DrainQueue(grpc::CallbackServerContext* call, const v1::DrainQueueRequest* request,
                                       v1::DrainQueueResponse* response) override;
  grpc::ServerUnaryReactor* PurgeQueue(grpc::CallbackServerContext* call, const v1::PurgeQueueRequest* request,
                                       v1::PurgeQueueResponse* response) override;
  grpc::ServerUnaryReactor* DeleteQueue(grpc::CallbackServerContext* call, const v1::DeleteQueueRequest* request,
                                        v1::DeleteQueueResponse* response) override;
  grpc::ServerUnaryReactor* ListWorkers(grpc::CallbackServerContext* call, const v1::ListWorkersRequest* request,
                                        v1::ListWorkersResponse* response) override;
  grpc::ServerUnaryReactor* DrainWorker(grpc::CallbackServerContext* call, const v1::DrainWorkerRequest* request,
                                        v1::DrainWorkerResponse* response) override;
  grpc::ServerUnaryReactor* RedriveDeadTasks(grpc::CallbackServerContext* call,
                                             const v1::RedriveDeadTasksRequest* request,
                                             v1::RedriveDeadTasksResponse* response) override;
  grpc::ServerUnaryReactor* PurgeDeadTasks(grpc::CallbackServerContext* call, const v1::PurgeDeadTasksRequest* request,
                                           v1::PurgeDeadTasksResponse* response) override;
  grpc::ServerUnaryReactor* ListKeys(grpc::CallbackServerContext* call, const v1::ListKeysRequest* request,
                                     v1::ListKeysResponse* response) override;
  grpc::ServerUnaryReactor* ReleaseKey(grpc::CallbackServerContext* call, const v1::ReleaseKeyRequest* request,
                                       v1::ReleaseKeyResponse* response) override;
  grpc::ServerWriteReactor<v1::CreateBackupResponse>* CreateBackup(grpc::CallbackServerContext* call,
                                                                   const v1::CreateBackupRequest* request) override;
  grpc::ServerUnaryReactor* ListBackups(grpc::CallbackServerContext* call, const v1::ListBackupsRequest* request,
                                        v1::ListBackupsResponse* response) override;
  grpc::ServerUnaryReactor* VerifyBackup(grpc::CallbackServerContext* call, const v1::VerifyBackupRequest* request,
                                         v1::VerifyBackupResponse* response) override;
  grpc::ServerUnaryReactor* DeleteBackup(grpc::CallbackServerContext* call, const v1::DeleteBackupRequest* request,
                                         v1::DeleteBackupResponse* response) override;

 private:
  // Answers with what `fill` makes of the core's status.
  grpc::ServerUnaryReactor* AnswerFromStatus(grpc::CallbackServerContext* call,
                                             std::function<absl::Status(const StatusReply&)> fill);
  void FillBroker(const StatusReply& status, v1::BrokerStatus* out) const;
  void FillStatus(const StatusReply& status, size_t queues_max, size_t workers_max, v1::GetStatusResponse* out) const;
  void FillQueue(const QueueView& queue, Time now, v1::Queue* out) const;

  RpcContext& context_;
  StatusFeed& status_;
  const RateMeter& rates_;
  const BrokerFacts& facts_;
  const BulkJobs& bulk_jobs_;
  const std::vector<LimitInfo> limits_;
  BackupDoor* const backups_;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_ADMIN_SERVICE_H_
