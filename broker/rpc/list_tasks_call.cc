#include "broker/rpc/list_tasks_call.h"

#include <memory>
#include <utility>

#include "broker/rpc/convert.h"
#include "broker/rpc/fields.h"
#include "broker/rpc/page_token.h"
#include "broker/rpc/task_filter.h"
#include "broker/rpc/task_walk.h"
#include "common/status.h"
#include "common/status_grpc.h"

namespace penstock::broker {
namespace {

absl::Status StartWalk(RpcContext& context, const v1::ListTasksRequest& request, TaskWalk::Done done) {
  ASSIGN_OR_RETURN(TaskFilter filter, TaskFilter::Make(FieldPath("filter"), request.filter(), context.limits));
  ASSIGN_OR_RETURN(const uint32_t page_size, ToPageSize(request.page_size(), context.limits));
  ASSIGN_OR_RETURN(const PageToken token, PageToken::Parse(request.page_token()));
  TaskWalk::Start(context, std::make_shared<const TaskFilter>(std::move(filter)), token, page_size, std::move(done));
  return absl::OkStatus();
}

}  // namespace

void StartListTasks(RpcContext& context, const v1::ListTasksRequest& request, v1::ListTasksResponse* response,
                    grpc::ServerUnaryReactor* reactor) {
  const absl::Status refused = StartWalk(context, request, [response, reactor](absl::StatusOr<TaskPage> page) {
    if (page.ok()) {
      for (v1::Task& task : page->tasks) *response->add_tasks() = std::move(task);
      if (!page->at_end) response->set_next_page_token(page->next.ToString());
    }
    reactor->Finish(ToGrpc(page.status()));
  });
  if (!refused.ok()) reactor->Finish(ToGrpc(refused));
}

}  // namespace penstock::broker
