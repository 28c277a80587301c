#include "client/cli/task_lists.h"

#include <algorithm>
#include <vector>

#include "client/cli/connection.h"
#include "client/cli/exit_code.h"
#include "client/cli/output.h"
#include "client/cli/pages.h"
#include "client/cli/task_view.h"
#include "common/status.h"

namespace penstock::cli {
namespace {

bool MayHave(const v1::QueueStats& stats, v1::TaskState state) {
  switch (state) {
    case v1::TASK_STATE_DEAD:
      return stats.dead() > 0;
    case v1::TASK_STATE_AVAILABLE:
      return stats.available() > 0;
    case v1::TASK_STATE_SCHEDULED:
      return stats.scheduled() > 0;
    case v1::TASK_STATE_RETRYABLE:
      return stats.retryable() > 0;
    default:
      return true;
  }
}

// The queues to look into.
absl::StatusOr<std::vector<std::string>> QueuesOf(Connection& broker, const TaskFilterOptions& filter) {
  std::vector<std::string> queues;
  if (!filter.queue.empty()) return std::vector<std::string>{filter.queue};
  const auto done = WalkPages<v1::ListQueuesResponse>(
      {.limit = 0, .page_token = {}},
      [&](int size, const std::string& from) {
        v1::ListQueuesRequest request;
        request.set_page_size(size);
        request.set_page_token(from);
        return broker.Call(&AdminStub::ListQueues, request);
      },
      [&](const v1::ListQueuesResponse& response) {
        for (const v1::Queue& queue : response.queues()) {
          const bool may_have =
              filter.states.empty() || std::any_of(filter.states.begin(), filter.states.end(),
                                                   [&](v1::TaskState state) { return MayHave(queue.stats(), state); });
          if (may_have) queues.push_back(queue.name());
        }
        return response.queues_size();
      });
  if (!done.ok()) return done.status();
  return queues;
}

}  // namespace

absl::StatusOr<int> ListTasks(CommandContext& context, const TaskListOptions& options, const std::string& things) {
  const TaskFilterOptions& filter = options.filter;
  if (filter.queue.empty() && !options.page.page_token.empty()) {
    return absl::InvalidArgumentError("--page-token: a token is a queue's, so --queue is needed with it");
  }
  ASSIGN_OR_RETURN(Connection * broker, context.Broker());
  ASSIGN_OR_RETURN(const std::vector<std::string> queues, QueuesOf(*broker, filter));
  ListPrinter list(context, things, TaskColumns());
  const absl::Time now = context.Now();  // the same for all pages
  std::string token;
  int listed = 0;
  bool more = false;
  for (const std::string& queue : queues) {
    PageOptions page = options.page;
    if (page.limit > 0 && (page.limit -= listed) == 0) {
      more = true;
      break;
    }
    ASSIGN_OR_RETURN(token, WalkPages<v1::ListTasksResponse>(
                                page,
                                [&](int size, const std::string& from) {
                                  v1::ListTasksRequest request;
                                  *request.mutable_filter() = MakeFilter(filter, queue, now);
                                  request.set_page_size(size);
                                  request.set_page_token(from);
                                  return broker->Call(&TaskStub::ListTasks, request);
                                },
                                [&](const v1::ListTasksResponse& response) {
                                  for (const v1::Task& task : response.tasks()) {
                                    list.Add(task, task.task_id(), TaskCells(task, context.Now()));
                                  }
                                  listed += response.tasks_size();
                                  return response.tasks_size();
                                }));
    more = more || !token.empty();
  }
  // A token goes on within one queue only.
  list.Finish(filter.queue.empty() ? "" : token);
  if (more && filter.queue.empty())
    context.Note("there are more " + things + ": --limit 0 shows all, --queue those of one queue");
  return kExitOk;
}

}  // namespace penstock::cli
