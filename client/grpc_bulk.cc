#include "client/grpc_bulk.h"

#include "client/proto_time.h"
#include "common/random.h"
#include "common/status.h"

namespace penstock {
namespace {

BulkJobInfo ToBulkJobInfo(const v1::BulkJob& job) {
  BulkJobInfo info;
  info.id = job.job_id();
  info.spec.action = static_cast<BulkAction>(job.spec().action());
  info.spec.filter = ToTaskFilter(job.spec().filter());
  info.spec.rate = job.spec().rate();
  info.spec.limit = job.spec().limit();
  info.spec.reason = job.spec().reason();
  info.spec.dry_run = job.spec().dry_run();
  info.state = static_cast<BulkJobState>(job.state());
  info.create_time = FromProto(job.create_time());
  if (job.has_end_time()) info.end_time = FromProto(job.end_time());
  info.seen = job.seen();
  info.matched = job.matched();
  info.changed = job.changed();
  info.skipped = job.skipped();
  info.error = job.error();
  return info;
}

}  // namespace

void FillTaskFilter(const TaskFilter& filter, v1::TaskFilter* out) {
  out->set_queue(filter.queue);
  for (TaskState state : filter.states) out->add_states(static_cast<v1::TaskState>(state));
  out->set_type(filter.type);
  out->set_tag(filter.tag);
  out->set_key(filter.key);
  out->set_group(filter.group);
  if (filter.created_from) SetProto(*filter.created_from, out->mutable_created_from());
  if (filter.created_before) SetProto(*filter.created_before, out->mutable_created_before());
  out->set_error(filter.error);
  out->set_where(filter.where);
}

TaskFilter ToTaskFilter(const v1::TaskFilter& filter) {
  TaskFilter out;
  out.queue = filter.queue();
  for (int state : filter.states()) out.states.push_back(static_cast<TaskState>(state));
  out.type = filter.type();
  out.tag = filter.tag();
  out.key = filter.key();
  out.group = filter.group();
  if (filter.has_created_from()) out.created_from = FromProto(filter.created_from());
  if (filter.has_created_before()) out.created_before = FromProto(filter.created_before());
  out.error = filter.error();
  out.where = filter.where();
  return out;
}

template <class Request, class Response>
absl::StatusOr<Response> GrpcBulk::Ask(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                                       const Request& request) {
  Response response;
  RETURN_IF_ERROR(call_([&](grpc::ClientContext* context) { return ((*stub_).*method)(context, request, &response); }));
  return response;
}

absl::StatusOr<BulkJobInfo> GrpcBulk::Start(BulkJobSpec spec, const std::string& request_id) {
  v1::StartBulkJobRequest request;
  v1::BulkJobSpec* out = request.mutable_spec();
  out->set_action(static_cast<v1::BulkAction>(spec.action));
  FillTaskFilter(spec.filter, out->mutable_filter());
  out->set_rate(spec.rate);
  out->set_limit(spec.limit);
  out->set_reason(spec.reason);
  out->set_dry_run(spec.dry_run);
  request.set_request_id(request_id.empty() ? RandomHexId() : request_id);
  ASSIGN_OR_RETURN(const v1::StartBulkJobResponse response, Ask(&Stub::StartBulkJob, request));
  return ToBulkJobInfo(response.job());
}

absl::StatusOr<BulkJobInfo> GrpcBulk::Get(const std::string& id) {
  v1::GetBulkJobRequest request;
  request.set_job_id(id);
  ASSIGN_OR_RETURN(const v1::GetBulkJobResponse response, Ask(&Stub::GetBulkJob, request));
  return ToBulkJobInfo(response.job());
}

absl::StatusOr<std::vector<BulkJobInfo>> GrpcBulk::List() {
  ASSIGN_OR_RETURN(const v1::ListBulkJobsResponse response, Ask(&Stub::ListBulkJobs, v1::ListBulkJobsRequest()));
  std::vector<BulkJobInfo> jobs;
  for (const v1::BulkJob& job : response.jobs()) jobs.push_back(ToBulkJobInfo(job));
  return jobs;
}

absl::StatusOr<BulkJobInfo> GrpcBulk::Stop(const std::string& id) {
  v1::StopBulkJobRequest request;
  request.set_job_id(id);
  ASSIGN_OR_RETURN(const v1::StopBulkJobResponse response, Ask(&Stub::StopBulkJob, request));
  return ToBulkJobInfo(response.job());
}

}  // namespace penstock
