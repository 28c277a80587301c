#include "common/status_grpc.h"

#include "google/rpc/error_details.pb.h"

namespace penstock {

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  google::rpc::Status rich;
  rich.set_code(static_cast<int>(status.code()));
  rich.set_message(std::string(status.message()));
  AddDetails(status, rich.mutable_details());
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), rich.message(),
                      rich.details_size() == 0 ? "" : rich.SerializeAsString());
}

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  absl::Status result(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
  google::rpc::Status rich;
  if (!status.error_details().empty() && rich.ParseFromString(status.error_details())) {
    SetDetails(rich.details(), &result);
  }
  return result;
}

void AddDetails(const absl::Status& status, google::protobuf::RepeatedPtrField<google::protobuf::Any>* details) {
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) {
    google::protobuf::Any* any = details->Add();
    any->set_type_url(std::string(url));
    any->set_value(std::string(payload));
  });
}

void SetDetails(const google::protobuf::RepeatedPtrField<google::protobuf::Any>& details, absl::Status* status) {
  for (const google::protobuf::Any& any : details) status->SetPayload(any.type_url(), absl::Cord(any.value()));
}

}  // namespace penstock
