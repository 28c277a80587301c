#include "broker/listen_address.h"

#include <string>

#include "gtest/gtest.h"

namespace penstock::broker {
namespace {

TEST(ListenAddressTest, HostAndPortAreRead) {
  const auto v6 = ParseListenAddress("[::1]:7420");
  ASSERT_TRUE(v6.ok());
  EXPECT_EQ(v6->host, "::1");
  EXPECT_EQ(v6->port, 7420);
  const auto name = ParseListenAddress("broker.example:0");
  ASSERT_TRUE(name.ok());
  EXPECT_EQ(name->host, "broker.example");
  EXPECT_EQ(name->port, 0);
}

TEST(ListenAddressTest, OtherTextIsRefused) {
  for (const char* text : {"", "127.0.0.1", "127.0.0.1:", ":7420", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:7420x",
                           "::1:7420", "[]:7420", "[::1]", "unix:/run/x:1"}) {
    EXPECT_FALSE(ParseListenAddress(text).ok()) << text;
  }
}

TEST(ListenAddressTest, OnlyLoopbackIsLoopback) {
  for (const char* text : {"127.0.0.1:1", "127.9.9.9:1", "localhost:1", "[::1]:1"}) {
    EXPECT_TRUE(ParseListenAddress(text)->IsLoopback()) << text;
  }
  for (const char* text :
       {"0.0.0.0:1", "128.0.0.1:1", "[::]:1", "[::ffff:10.0.0.1]:1", "localhost.example:1", "127.example:1"}) {
    EXPECT_FALSE(ParseListenAddress(text)->IsLoopback()) << text;
  }
}

}  // namespace
}  // namespace penstock::broker
