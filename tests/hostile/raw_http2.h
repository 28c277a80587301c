#ifndef PENSTOCK_TESTS_HOSTILE_RAW_HTTP2_H_
#define PENSTOCK_TESTS_HOSTILE_RAW_HTTP2_H_

// HTTP/2 by hand, for what no library would send. RFC 9113 and 7541.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace penstock::hostile {

// Where strangers come from. Honest clients are at 127.0.0.1.
inline constexpr const char* kStranger = "127.0.0.2";

// A TCP connection to the broker. Closes itself.
class RawConnection {
 public:
  explicit RawConnection(int port, const std::string& from = kStranger);
  RawConnection(RawConnection&& other) noexcept;
  RawConnection& operator=(RawConnection&& other) noexcept;
  ~RawConnection();

  bool connected() const { return fd_ >= 0; }
  // False: the other side has closed it, or does not read for a second.
  bool Send(std::string_view bytes);
  // Throws away what has come. False: the other side has closed it.
  bool Swallow();

 private:
  int fd_ = -1;
};

// What a client begins with. `window`: what each of its streams takes before it says more.
std::string Preface(uint32_t window = 65'535);
// Opens a call of this method, "/penstock.v1.AdminService/GetStatus".
std::string CallHeaders(uint32_t stream, std::string_view method);
std::string DataFrame(uint32_t stream, std::string_view bytes, bool end);
std::string ResetFrame(uint32_t stream);
// What stands before a gRPC message of so many bytes.
std::string MessagePrefix(uint32_t bytes);

}  // namespace penstock::hostile

#endif  // PENSTOCK_TESTS_HOSTILE_RAW_HTTP2_H_
