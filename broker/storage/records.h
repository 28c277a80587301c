#ifndef PENSTOCK_BROKER_STORAGE_RECORDS_H_
#define PENSTOCK_BROKER_STORAGE_RECORDS_H_

// Small records (penstock.internal.v1) in and out of a store, in their envelopes. Unknown fields survive a read and a
// write.

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "broker/storage/envelope.h"
#include "broker/storage/store.h"
#include "common/status.h"
#include "google/protobuf/message.h"
#include "penstock/internal/v1/records.pb.h"

namespace penstock::broker {

namespace records = ::penstock::internal::v1;

template <class Record>
std::string SealRecord(std::string_view key, const Record& record) {
  return SealValue(key, record.SerializeAsString());
}

// DataLoss if it is broken.
template <class Record>
absl::StatusOr<Record> OpenRecord(std::string_view key, std::string_view value) {
  ASSIGN_OR_RETURN(std::string_view body, OpenValue(key, value));
  Record record;
  if (!record.ParseFromArray(body.data(), static_cast<int>(body.size()))) {
    return absl::DataLossError("a stored " + Record::descriptor()->full_name() + " is broken");
  }
  return record;
}

// Takes away all fields that this version knows, but for messages with fields in them that it does not know.
inline void KeepOnlyUnknownFields(google::protobuf::Message* message) {
  const google::protobuf::Reflection* reflection = message->GetReflection();
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  reflection->ListFields(*message, &fields);
  for (const google::protobuf::FieldDescriptor* field : fields) {
    const bool is_part = !field->is_repeated() && field->message_type() != nullptr;
    if (is_part) KeepOnlyUnknownFields(reflection->MutableMessage(message, field));
    if (!is_part || reflection->GetMessage(*message, field).ByteSizeLong() == 0) {
      reflection->ClearField(message, field);
    }
  }
}

// For records that are kept in another form in memory: what of the stored record, here or in a message within it, this
// version does not know; mostly nothing. Whoever writes it again starts from there. Elements of lists are written anew.
template <class Record>
std::string IfNewer(const Record& record) {
  Record newer = record;
  KeepOnlyUnknownFields(&newer);
  return newer.SerializeAsString();
}
template <class Record>
Record StartFrom(const std::string& stored) {
  Record record;
  record.ParseFromString(stored);
  return record;
}

// `reader` is a StoreReader or a CommitBuilder. NotFound, or DataLoss.
template <class Record, class Reader>
absl::StatusOr<Record> GetRecord(const Reader& reader, Family family, const std::string& key) {
  ASSIGN_OR_RETURN(std::string value, reader.Get(family, key));
  return OpenRecord<Record>(key, value);
}

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_STORAGE_RECORDS_H_
