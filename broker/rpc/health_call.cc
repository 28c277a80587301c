#include "broker/rpc/health_call.h"

#include <cstdint>
#include <string>
#include <string_view>

#include "common/coding.h"
#include "common/status.h"

namespace penstock::broker {
namespace {

enum FrameType : uint8_t { kData = 0, kHeaders = 1, kReset = 3, kSettings = 4, kGoAway = 7 };
constexpr uint8_t kEndStream = 1;
constexpr uint8_t kEndHeaders = 4;
constexpr uint32_t kStream = 1;  // of the only call
constexpr size_t kFrameHeader = 9;
constexpr size_t kFrameMax = 16 << 10;  // larger ones need our consent
constexpr size_t kMessagePrefix = 5;    // whether it is compressed, and how long it is

std::string Frame(FrameType type, uint8_t flags, uint32_t stream, std::string_view payload) {
  std::string frame;
  PutBigEndian(&frame, payload.size(), 3);
  frame.push_back(static_cast<char>(type));
  frame.push_back(static_cast<char>(flags));
  PutBig32(&frame, stream);
  frame += payload;
  return frame;
}

// A header field (HPACK, RFC 7541), its name from the static table or written out; neither indexed nor compressed.
void AddField(std::string* block, uint8_t name, std::string_view value) {
  if (name < 15) {
    block->push_back(static_cast<char>(name));
  } else {
    block->push_back(15);
    block->push_back(static_cast<char>(name - 15));
  }
  block->push_back(static_cast<char>(value.size()));
  *block += value;
}

std::string Request() {
  std::string headers = "\x83\x86";                       // :method POST, :scheme http
  AddField(&headers, 4, "/grpc.health.v1.Health/Check");  // :path
  AddField(&headers, 1, "self-probe");                    // :authority
  AddField(&headers, 31, "application/grpc");             // content-type
  headers += std::string("\x00\x02te\x08trailers", 13);
  return "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + Frame(kSettings, 0, 0, "") +
         Frame(kHeaders, kEndHeaders, kStream, headers) +
         // An empty HealthCheckRequest.
         Frame(kData, kEndStream, kStream, std::string(kMessagePrefix, '\0'));
}

uint32_t ReadBigEndian(std::string_view bytes) {
  uint32_t value = 0;
  for (const char byte : bytes) value = value << 8 | static_cast<uint8_t>(byte);
  return value;
}

// Reads the frames of the answer as they come.
class Answer {
 public:
  // Whether it is whole.
  absl::StatusOr<bool> Take(std::string_view bytes) {
    bytes_ += bytes;
    while (bytes_.size() >= kFrameHeader) {
      const size_t length = ReadBigEndian(std::string_view(bytes_).substr(0, 3));
      if (length > kFrameMax) return absl::InternalError("what answers there does not speak HTTP/2");
      if (bytes_.size() < kFrameHeader + length) return false;
      const auto type = static_cast<uint8_t>(bytes_[3]);
      const auto flags = static_cast<uint8_t>(bytes_[4]);
      const uint32_t stream = ReadBigEndian(std::string_view(bytes_).substr(5, 4)) & 0x7fffffff;
      const std::string payload = bytes_.substr(kFrameHeader, length);
      bytes_.erase(0, kFrameHeader + length);
      if (type == kGoAway || (type == kReset && stream == kStream)) {
        return absl::InternalError("the call was broken off");
      }
      if (stream != kStream) continue;
      if (type == kData) message_ += payload;
      if (IsHealth()) return true;
      if ((flags & kEndStream) != 0 && (type == kData || type == kHeaders)) {
        return absl::InternalError("the call was refused");
      }
    }
    return false;
  }

 private:
  // A HealthCheckResponse: its only field, with one of a few small numbers.
  bool IsHealth() const {
    return message_.size() == kMessagePrefix + 2 && message_.starts_with(std::string("\0\0\0\0\x02\x08", 6));
  }

  std::string bytes_;
  std::string message_;
};

}  // namespace

absl::Status CallHealth(TimedWire& wire) {
  RETURN_IF_ERROR(wire.Send(Request()));
  Answer answer;
  while (true) {
    ASSIGN_OR_RETURN(const std::string bytes, wire.Receive());
    ASSIGN_OR_RETURN(const bool whole, answer.Take(bytes));
    if (whole) return absl::OkStatus();
  }
}

}  // namespace penstock::broker
