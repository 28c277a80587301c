#include "client/grpc_throttles.h"

#include "client/proto_time.h"
#include "common/status.h"

namespace penstock {
namespace {

constexpr int kPageSize = 1'000;

void Fill(const ThrottleRate& rate, v1::ThrottleRate* out) {
  out->set_tasks(rate.tasks);
  if (rate.tasks == 0) return;  // none any more
  SetProto(rate.period, out->mutable_period());
  out->set_burst(rate.burst);
}

ThrottleInfo ToThrottleInfo(const v1::Throttle& throttle) {
  ThrottleInfo info;
  info.name = throttle.name();
  info.queues.assign(throttle.queues().begin(), throttle.queues().end());
  info.types.assign(throttle.types().begin(), throttle.types().end());
  info.per = static_cast<ThrottlePer>(throttle.per());
  info.max_running = throttle.max_running();
  if (throttle.has_rate()) {
    info.rate = {throttle.rate().tasks(), FromProto(throttle.rate().period()), throttle.rate().burst()};
  }
  info.note = throttle.note();
  info.running = throttle.running();
  info.waiting_meters = throttle.waiting_meters();
  for (const v1::ThrottleMeter& from : throttle.meters()) {
    ThrottleMeter& meter = info.meters.emplace_back();
    meter.scope = from.scope();
    meter.running = from.running();
    meter.available = from.available();
    meter.state = static_cast<MeterState>(from.state());
    if (from.has_open_time()) meter.open_time = FromProto(from.open_time());
    meter.waiting = from.waiting();
  }
  info.more_meters = throttle.more_meters();
  return info;
}

}  // namespace

template <class Request, class Response>
absl::StatusOr<Response> GrpcThrottles::Ask(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                                         Response*),
                                            const Request& request) {
  Response response;
  RETURN_IF_ERROR(call_([&](grpc::ClientContext* context) { return ((*stub_).*method)(context, request, &response); }));
  return response;
}

absl::StatusOr<ThrottleInfo> GrpcThrottles::Create(NewThrottle throttle) {
  v1::CreateThrottleRequest request;
  v1::Throttle* out = request.mutable_throttle();
  out->set_name(throttle.name);
  out->mutable_queues()->Assign(throttle.queues.begin(), throttle.queues.end());
  out->mutable_types()->Assign(throttle.types.begin(), throttle.types.end());
  out->set_per(static_cast<v1::ThrottlePer>(throttle.per));
  out->set_max_running(throttle.max_running);
  if (throttle.rate) Fill(*throttle.rate, out->mutable_rate());
  out->set_note(throttle.note);
  ASSIGN_OR_RETURN(const v1::CreateThrottleResponse response, Ask(&Stub::CreateThrottle, request));
  return ToThrottleInfo(response.throttle());
}

absl::StatusOr<ThrottleInfo> GrpcThrottles::Update(const std::string& name, ThrottleChange change) {
  v1::UpdateThrottleRequest request;
  request.set_name(name);
  if (change.queues) {
    request.mutable_queues()->Assign(change.queues->begin(), change.queues->end());
    request.set_all_queues(change.queues->empty());
  }
  if (change.types) {
    request.mutable_types()->Assign(change.types->begin(), change.types->end());
    request.set_all_types(change.types->empty());
  }
  if (change.per) request.set_per(static_cast<v1::ThrottlePer>(*change.per));
  if (change.max_running) request.set_max_running(*change.max_running);
  if (change.rate) Fill(*change.rate, request.mutable_rate());
  if (change.note) request.set_note(*change.note);
  ASSIGN_OR_RETURN(const v1::UpdateThrottleResponse response, Ask(&Stub::UpdateThrottle, request));
  return ToThrottleInfo(response.throttle());
}

absl::StatusOr<ThrottleInfo> GrpcThrottles::Get(const std::string& name) {
  v1::GetThrottleRequest request;
  request.set_name(name);
  ASSIGN_OR_RETURN(const v1::GetThrottleResponse response, Ask(&Stub::GetThrottle, request));
  return ToThrottleInfo(response.throttle());
}

absl::StatusOr<std::vector<ThrottleInfo>> GrpcThrottles::List() {
  std::vector<ThrottleInfo> throttles;
  v1::ListThrottlesRequest request;
  request.set_page_size(kPageSize);
  do {
    ASSIGN_OR_RETURN(const v1::ListThrottlesResponse page, Ask(&Stub::ListThrottles, request));
    for (const v1::Throttle& throttle : page.throttles()) throttles.push_back(ToThrottleInfo(throttle));
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return throttles;
}

absl::Status GrpcThrottles::Delete(const std::string& name) {
  v1::DeleteThrottleRequest request;
  request.set_name(name);
  return Ask(&Stub::DeleteThrottle, request).status();
}

}  // namespace penstock
