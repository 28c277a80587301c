#include "broker/options.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>

#include "common/config/render.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/project_paths.h"

namespace penstock::broker {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

// The problems of the default options after a change.
std::string ProblemsOf(const std::function<void(BrokerOptions&)>& change) {
  BrokerOptions options;
  change(options);
  return options.Validate().ToString();
}

TEST(BrokerOptionsTest, DefaultsAreValidAndThoseOfTheDocumentation) {
  const BrokerOptions options;
  EXPECT_THAT(options.Validate().ToString(), IsEmpty());
  EXPECT_EQ(options.grpc.address, "127.0.0.1:7420");
  EXPECT_EQ(options.http.address, "127.0.0.1:7421");
  EXPECT_TRUE(options.ServesReflection());
  EXPECT_EQ(options.DiskWatermark(uint64_t{10} << 30), 1'000'000'000u);
  EXPECT_EQ(options.DiskWatermark(100'000'000'000), 5'000'000'000u);
}

TEST(BrokerOptionsTest, EveryOptionIsExplainedAndItsDefaultIsWithinItsBounds) {
  BrokerOptions options;
  OptionSet set;
  DeclareOptions(&options, &set);
  for (const Option& option : set.options()) {
    EXPECT_THAT(option.about().what, Not(IsEmpty())) << option.about().path;
    EXPECT_THAT(option.about().why, Not(IsEmpty())) << option.about().path;
  }
  // Reading all defaults back checks each against its bounds.
  ConfigErrors errors;
  set.ReadYaml(*ParseYaml(RenderEffective(set), "defaults"), "", &errors);
  EXPECT_THAT(errors.ToString(), IsEmpty());
}

// Rewrite the file after a change of options with PENSTOCK_REWRITE_GOLDEN=1, and read the difference.
TEST(BrokerOptionsTest, CommentedFileIsUpToDateAndEqualsTheDefaults) {
  const std::string path = SourcePath("deploy/broker.yaml");
  if (std::getenv("PENSTOCK_REWRITE_GOLDEN") != nullptr) std::ofstream(path) << CommentedBrokerConfig();
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  EXPECT_EQ(text.str(), CommentedBrokerConfig());

  BrokerOptions options;
  OptionSet set;
  DeclareOptions(&options, &set);
  ConfigErrors errors;
  const auto root = ReadYamlFile(path);
  ASSERT_TRUE(root.ok()) << root.status();
  set.ReadYaml(*root, "", &errors);
  EXPECT_THAT(errors.ToString(), IsEmpty());
  for (const Option& option : set.options()) {
    EXPECT_EQ(option.origin().source, OptionSource::kFile) << option.about().path << " is missing";
    EXPECT_EQ(option.Text(), option.default_text()) << option.about().path;
  }
}

TEST(BrokerOptionsTest, PlaintextForOtherMachinesNeedsTheFlag) {
  EXPECT_THAT(ProblemsOf([](BrokerOptions& o) { o.grpc.address = "0.0.0.0:7420"; }),
              AllOf(HasSubstr("grpc.address: 0.0.0.0:7420"), HasSubstr("tls.cert and tls.key"),
                    HasSubstr("--insecure-allow-plaintext")));
  EXPECT_THAT(ProblemsOf([](BrokerOptions& o) { o.http.address = "[::]:7421"; }),
              AllOf(HasSubstr("http.address: [::]:7421"), HasSubstr("--insecure-allow-plaintext")));
  EXPECT_THAT(ProblemsOf([](BrokerOptions& o) {
                o.grpc.address = "0.0.0.0:7420";
                o.http.address = "0.0.0.0:7421";
                o.insecure_allow_plaintext = true;
              }),
              IsEmpty());
}

TEST(BrokerOptionsTest, TlsLetsOtherMachinesIn) {
  const std::string pem = testing::TempDir() + "/penstock_options_" + std::to_string(getpid()) + ".pem";
  std::ofstream(pem) << "PEM";
  EXPECT_THAT(ProblemsOf([&](BrokerOptions& o) {
                o.grpc.address = "0.0.0.0:7420";
                o.tls = {pem, pem, pem};
              }),
              IsEmpty());
  std::remove(pem.c_str());
}

TEST(BrokerOptionsTest, HalfOfTlsIsNamed) {
  EXPECT_THAT(ProblemsOf([](BrokerOptions& o) { o.tls.cert = "/nonexistent.pem"; }),
              AllOf(HasSubstr("tls.key: is missing"), HasSubstr("tls.cert: '/nonexistent.pem' cannot be read")));
  EXPECT_THAT(ProblemsOf([](BrokerOptions& o) { o.tls.key = "/nonexistent.pem"; }), HasSubstr("tls.cert: is missing"));
  EXPECT_THAT(ProblemsOf([](BrokerOptions& o) { o.tls.client_ca = "/nonexistent.pem"; }),
              HasSubstr("tls.client_ca: has no effect"));
}

TEST(BrokerOptionsTest, AddressesAreChecked) {
  EXPECT_THAT(ProblemsOf([](BrokerOptions& o) { o.grpc.address = "7420"; }),
              HasSubstr("grpc.address: '7420' is no address"));
  EXPECT_THAT(ProblemsOf([](BrokerOptions& o) { o.http.address = "x"; }), HasSubstr("http.address: 'x' is no address"));
  EXPECT_THAT(ProblemsOf([](BrokerOptions& o) { o.http.address = ""; }), IsEmpty());
  EXPECT_THAT(ProblemsOf([](BrokerOptions& o) { o.http.address = o.grpc.address; }), HasSubstr("is grpc.address too"));
  EXPECT_THAT(ProblemsOf([](BrokerOptions& o) { o.grpc.address = o.http.address = "127.0.0.1:0"; }), IsEmpty());
}

TEST(BrokerOptionsTest, ContradictionsAreAllNamed) {
  const std::string problems = ProblemsOf([](BrokerOptions& o) {
    o.data_dir = "";
    o.log.level = "loud";
    o.sessions.lease_default = absl::Hours(2);
    o.sessions.lease_max = absl::Hours(1);
    o.sessions.grace = absl::Hours(3);
    o.retry.initial_backoff = absl::Hours(2);
    o.retry.backoff = RetryBackoff::kFixed;
    o.retry.multiplier = 3;
    o.limits.payload = 8 << 20;
    o.limits.log_line = 64 << 10;
    o.limits.log_bytes_per_task = 1 << 10;
    o.limits.mailbox = 1 << 20;
    o.limits.memory = 128 << 20;
  });
  EXPECT_THAT(problems, HasSubstr("data_dir: is empty"));
  EXPECT_THAT(problems, HasSubstr("log.level: log level: 'loud'"));
  EXPECT_THAT(problems, HasSubstr("sessions.lease_default: 2h is longer than sessions.lease_max (1h)"));
  EXPECT_THAT(problems, HasSubstr("sessions.grace: 3h is longer than sessions.lease_default (2h)"));
  EXPECT_THAT(problems, HasSubstr("retry.initial_backoff: 2h is longer than retry.max_backoff (1h)"));
  EXPECT_THAT(problems, HasSubstr("retry.multiplier: counts with retry.backoff=exponential only"));
  EXPECT_THAT(problems, HasSubstr("limits.message: 4 MiB is too small for limits.payload (8 MiB)"));
  EXPECT_THAT(problems, HasSubstr("limits.log_bytes_per_task: 1 KiB cannot hold one line"));
  EXPECT_THAT(problems, HasSubstr("limits.mailbox: 1 MiB cannot hold one message"));
  EXPECT_THAT(problems, HasSubstr("limits.memory: half of 128 MiB is less than"));
}

TEST(BrokerOptionsTest, ReflectionFollowsTheAddressUnlessItIsSet) {
  BrokerOptions options;
  options.grpc.address = "0.0.0.0:7420";
  EXPECT_FALSE(options.ServesReflection());
  options.grpc.reflection = Reflection::kOn;
  EXPECT_TRUE(options.ServesReflection());
}

TEST(BrokerOptionsTest, LimitsAreListedWithValueAndDefault) {
  BrokerOptions options;
  options.limits.payload = 2 << 20;
  const std::vector<LimitInfo> limits = ListLimits(options);
  EXPECT_GE(limits.size(), 25u);
  bool found = false;
  for (const LimitInfo& limit : limits) {
    EXPECT_THAT(limit.description, Not(IsEmpty())) << limit.option;
    if (limit.option != "limits.payload") continue;
    found = true;
    EXPECT_EQ(limit.value, "2 MiB");
    EXPECT_EQ(limit.default_value, "1 MiB");
  }
  EXPECT_TRUE(found);
}

}  // namespace
}  // namespace penstock::broker
