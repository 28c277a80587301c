#ifndef PENSTOCK_TESTS_SUPPORT_TCP_CLIENT_H_
#define PENSTOCK_TESTS_SUPPORT_TCP_CLIENT_H_

#include <string>

namespace penstock::testing {

// A bare connection to a server on 127.0.0.1, to be closed by whoever asked for it; -1: refused. `from`: the address
// that it comes from, any that begins with 127.
int ConnectTo(int port, const std::string& from = "127.0.0.1");

// Blocks until the other side says something, true, or has closed the connection, false.
bool AwaitByte(int fd);
// Blocks until the other side has closed the connection, and reads what comes until then.
std::string ReadAll(int fd);

// GET of this path: the whole answer, header lines included; empty when there is no server.
std::string HttpGet(int port, const std::string& path);

}  // namespace penstock::testing

#endif  // PENSTOCK_TESTS_SUPPORT_TCP_CLIENT_H_
