#include "broker/rpc/grpc_server.h"

#include <netinet/in.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "common/mutex.h"
#include "fmt/format.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "penstock/v1/task_service.grpc.pb.h"
#include "tests/support/tcp_client.h"
#include "tests/support/temp_folder.h"

namespace penstock::broker {
namespace {

using testing::AwaitByte;
using testing::ConnectTo;
using testing::ReadAll;

constexpr absl::Duration kLong = absl::Minutes(2);
constexpr const char* kTaskService = "penstock.v1.TaskService";

class GrpcServerTest : public ::testing::Test {
 protected:
  void Start(GrpcServerOptions options = {.address = "127.0.0.1:0"}) {
    auto server = GrpcServer::Start(options, {&service_}, {kTaskService});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    channel_ = grpc::CreateChannel(Address(), grpc::InsecureChannelCredentials());
  }
  std::string Address() const { return fmt::format("127.0.0.1:{}", server_->port()); }

  // Sends one message and returns the one that comes back; both as they are on the wire.
  grpc::Status Call(const std::string& method, const std::string& request, std::string* response) {
    grpc::GenericStub stub(channel_);
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    const grpc::Slice slice(request);
    const grpc::ByteBuffer sent(&slice, 1);
    auto call = stub.PrepareUnaryCall(&context, method, sent, &queue);
    call->StartCall();
    grpc::ByteBuffer received;
    grpc::Status status;
    call->Finish(&received, &status, this);
    void* tag = nullptr;
    bool ok = false;
    EXPECT_TRUE(queue.Next(&tag, &ok));
    grpc::Slice whole;
    if (status.ok() && received.DumpToSingleSlice(&whole).ok()) {
      response->assign(reinterpret_cast<const char*>(whole.begin()), whole.size());
    }
    return status;
  }
  std::string Health(const std::string& service) {
    std::string request;
    if (!service.empty()) request = "\x0a" + std::string(1, static_cast<char>(service.size())) + service;
    std::string response;
    const grpc::Status status = Call("/grpc.health.v1.Health/Check", request, &response);
    if (!status.ok()) return status.error_message();
    return response == "\x08\x01" ? "SERVING" : response == "\x08\x02" ? "NOT_SERVING" : "?";
  }
  grpc::Status ListServices(std::string* response) {
    return Call("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", std::string("\x3a\x00", 2), response);
  }

  v1::TaskService::Service service_;
  std::unique_ptr<GrpcServer> server_;
  std::shared_ptr<grpc::Channel> channel_;
};

TEST_F(GrpcServerTest, HealthIsAnsweredForEveryService) {
  Start();
  EXPECT_EQ(Health(""), "SERVING");
  EXPECT_EQ(Health(kTaskService), "SERVING");
  server_->SetServing(false);
  EXPECT_EQ(Health(""), "NOT_SERVING");
  EXPECT_EQ(Health(kTaskService), "NOT_SERVING");
  server_->SetServing(true);
  server_->SetServing(kTaskService, false);
  EXPECT_EQ(Health(""), "SERVING");
  EXPECT_EQ(Health(kTaskService), "NOT_SERVING");
}

TEST_F(GrpcServerTest, ReflectionIsAnsweredOnlyWhenItIsOn) {
  Start({.address = "127.0.0.1:0", .reflection = true});
  std::string services;
  ASSERT_TRUE(ListServices(&services).ok());
  EXPECT_NE(services.find(kTaskService), std::string::npos);
  server_->Stop(absl::ZeroDuration());
  Start({.address = "127.0.0.1:0", .reflection = false});
  EXPECT_EQ(ListServices(&services).error_code(), grpc::StatusCode::UNIMPLEMENTED);
}

TEST_F(GrpcServerTest, AddressInUseIsSaidSo) {
  Start();
  auto second = GrpcServer::Start({.address = Address()}, {}, {});
  ASSERT_FALSE(second.ok());
  EXPECT_TRUE(absl::IsUnavailable(second.status()));
  EXPECT_NE(std::string(second.status().message()).find("Address already in use"), std::string::npos)
      << second.status();
  EXPECT_NE(std::string(second.status().message()).find(Address()), std::string::npos);
}

TEST_F(GrpcServerTest, BadAddressIsSaidSo) {
  for (const char* address : {"nonsense", "no.such.host.invalid:1"}) {
    auto server = GrpcServer::Start({.address = address}, {}, {});
    ASSERT_FALSE(server.ok()) << address;
    EXPECT_TRUE(absl::IsInvalidArgument(server.status())) << server.status();
  }
}

TEST_F(GrpcServerTest, LargestMessageIsLimited) {
  Start({.address = "127.0.0.1:0", .receive_message_bytes_max = 1'000});
  auto stub = v1::TaskService::NewStub(channel_);
  v1::GetTaskRequest request;
  request.set_task_id(std::string(2'000, 'x'));
  v1::GetTaskResponse response;
  grpc::ClientContext context;
  EXPECT_EQ(stub->GetTask(&context, request, &response).error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
}

TEST_F(GrpcServerTest, MissingTlsFileIsNamed) {
  GrpcServerOptions options = {.address = "127.0.0.1:0"};
  options.tls = TlsOptions{"/nonexistent/cert.pem", "/nonexistent/key.pem", ""};
  auto server = GrpcServer::Start(options, {&service_}, {});
  ASSERT_FALSE(server.ok());
  EXPECT_NE(std::string(server.status().message()).find("/nonexistent/cert.pem"), std::string::npos);
}

std::string ReadFile(const std::string& file) {
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}

TEST_F(GrpcServerTest, TlsFileThatIsNoPemIsNamed) {
  const testing::TempFolder folder;
  const std::string certificate = folder / "cert.pem";
  const std::string key = folder / "key.pem";
  std::ofstream(certificate) << "this is no certificate\n";
  std::ofstream(key) << "this is no key\n";
  GrpcServerOptions options = {.address = "127.0.0.1:0"};
  options.tls = TlsOptions{certificate, key, ""};
  auto server = GrpcServer::Start(options, {&service_}, {});
  ASSERT_FALSE(server.ok());
  EXPECT_TRUE(absl::IsInvalidArgument(server.status())) << server.status();
  EXPECT_NE(std::string(server.status().message()).find(certificate), std::string::npos) << server.status();
}

TEST_F(GrpcServerTest, ConnectionsBeyondTheLimitAreClosedAtOnceUntilOthersEnd) {
  GrpcServerOptions options = {.address = "127.0.0.1:0"};
  options.connections_max = 16;
  Start(options);
  std::vector<int> silent;
  for (int i = 0; i < 16; ++i) silent.push_back(ConnectTo(server_->port()));
  // They were taken when the server greets them.
  for (int fd : silent) {
    char byte;
    EXPECT_EQ(read(fd, &byte, 1), 1);
  }
  const int beyond = ConnectTo(server_->port());
  ReadAll(beyond);
  close(beyond);
  for (int fd : silent) close(fd);
  // The channel tries again until there is room.
  EXPECT_TRUE(channel_->WaitForConnected(std::chrono::system_clock::now() + std::chrono::minutes(2)));
  EXPECT_EQ(Health(""), "SERVING");
}

// CVE-2023-4785: gRPC's own listener is deaf for ever after this.
TEST_F(GrpcServerTest, LackOfFileDescriptorsIsSurvived) {
  Start();
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  std::vector<int> waiting;
  for (int i = 0; i < 40; ++i) waiting.push_back(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  rlimit none = before;
  none.rlim_cur = static_cast<rlim_t>(waiting.back()) + 1;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(server_->port()));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  // Refused one by one: no descriptor is left to take them.
  for (int fd : waiting) {
    EXPECT_EQ(connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    ReadAll(fd);
  }
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  for (int fd : waiting) close(fd);
  EXPECT_TRUE(channel_->WaitForConnected(std::chrono::system_clock::now() + std::chrono::minutes(2)));
  EXPECT_EQ(Health(""), "SERVING");
}

TEST_F(GrpcServerTest, LimitPerAddressLeavesOtherAddressesAlone) {
  Start({.address = "127.0.0.1:0", .connections_per_address_max = 2});
  std::vector<int> silent;
  for (int i = 0; i < 2; ++i) silent.push_back(ConnectTo(server_->port(), "127.0.0.2"));
  for (int fd : silent) EXPECT_TRUE(AwaitByte(fd));
  const int beyond = ConnectTo(server_->port(), "127.0.0.2");
  EXPECT_EQ(ReadAll(beyond), "");
  EXPECT_EQ(Health(""), "SERVING");  // from 127.0.0.1
  for (int fd : silent) close(fd);
  close(beyond);
}

TEST_F(GrpcServerTest, SilentConnectionIsClosedWhenItsTimeIsOver) {
  Start({.address = "127.0.0.1:0", .handshake_time_max = absl::Milliseconds(200)});
  const int silent = ConnectTo(server_->port());
  ReadAll(silent);
  close(silent);
  while (server_->connections().open > 0) std::this_thread::yield();
}

TEST_F(GrpcServerTest, IdleConnectionIsClosedAndTheNextCallMakesAnother) {
  Start({.address = "127.0.0.1:0", .idle_time_max = absl::Milliseconds(200)});
  EXPECT_EQ(Health(""), "SERVING");
  channel_->WaitForStateChange(GRPC_CHANNEL_READY, std::chrono::system_clock::now() + absl::ToChronoMinutes(kLong));
  EXPECT_NE(channel_->GetState(false), GRPC_CHANNEL_READY);
  EXPECT_EQ(Health(""), "SERVING");
  EXPECT_EQ(server_->connections().accepted, 2u);
}

TEST_F(GrpcServerTest, ProbeIsAnsweredAlsoWhenAllConnectionsAreTaken) {
  Start({.address = "127.0.0.1:0", .connections_max = 2, .connections_per_address_max = 2});
  EXPECT_TRUE(server_->Probe(kLong).ok()) << server_->Probe(kLong);
  server_->SetServing(false);  // is an answer, too
  EXPECT_TRUE(server_->Probe(kLong).ok()) << server_->Probe(kLong);
  std::vector<int> silent;
  for (int i = 0; i < 2; ++i) silent.push_back(ConnectTo(server_->port()));
  for (int fd : silent) EXPECT_TRUE(AwaitByte(fd));
  EXPECT_TRUE(server_->Probe(kLong).ok()) << server_->Probe(kLong);
  EXPECT_EQ(server_->connections().open, 2u);
  for (int fd : silent) close(fd);
}

TEST_F(GrpcServerTest, ProbeFindsAServerOnAllAddresses) {
  Start({.address = "0.0.0.0:0"});
  EXPECT_TRUE(server_->Probe(kLong).ok()) << server_->Probe(kLong);
  server_->Stop(absl::ZeroDuration());
  auto both = GrpcServer::Start({.address = "[::]:0"}, {&service_}, {});
  if (!both.ok()) GTEST_SKIP() << "this machine has no IPv6: " << both.status();
  EXPECT_TRUE((*both)->Probe(kLong).ok()) << (*both)->Probe(kLong);
}

// Every reaction to GetTask blocks until the gate opens: one after the other gRPC's threads are gone.
class BlockingService : public v1::TaskService::CallbackService {
 public:
  grpc::ServerUnaryReactor* GetTask(grpc::CallbackServerContext* context, const v1::GetTaskRequest*,
                                    v1::GetTaskResponse*) override {
    {
      MutexLock lock(mu_);
      while (!open_) opened_.Wait(mu_);
    }
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
  void Open() {
    MutexLock lock(mu_);
    open_ = true;
    opened_.SignalAll();
  }

 private:
  Mutex mu_;
  CondVar opened_;
  bool open_ ABSL_GUARDED_BY(mu_) = false;
};

TEST_F(GrpcServerTest, ProbeNoticesAServerWhoseThreadsAreBlocked) {
  BlockingService service;
  auto server = GrpcServer::Start({.address = "127.0.0.1:0"}, {&service}, {}).value();
  EXPECT_TRUE(server->Probe(kLong).ok()) << server->Probe(kLong);
  auto stub = v1::TaskService::NewStub(
      grpc::CreateChannel(fmt::format("127.0.0.1:{}", server->port()), grpc::InsecureChannelCredentials()));
  std::vector<std::thread> callers;
  for (int i = 0; i < 40; ++i) {
    callers.emplace_back([&stub] {
      grpc::ClientContext context;
      v1::GetTaskResponse response;
      EXPECT_TRUE(stub->GetTask(&context, {}, &response).ok());
    });
  }
  absl::Status answered;
  while ((answered = server->Probe(absl::Milliseconds(500))).ok()) {
  }
  EXPECT_TRUE(absl::IsDeadlineExceeded(answered)) << answered;
  EXPECT_NE(std::string(answered.message()).find("no answer within"), std::string::npos) << answered;
  service.Open();
  for (std::thread& caller : callers) caller.join();
  EXPECT_TRUE(server->Probe(kLong).ok()) << server->Probe(kLong);
}

class TlsServerTest : public GrpcServerTest {
 protected:
  void SetUp() override {
    signal(SIGPIPE, SIG_IGN);
    ASSERT_TRUE(MakeCertificate()) << "needs the program openssl, of the package of that name";
    options_.tls = TlsOptions{certificate_, key_, ""};
    options_.tls->refresh_interval = absl::Seconds(1);
  }
  bool MakeCertificate() {
    const std::string command = fmt::format(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost "
        "-addext subjectAltName=DNS:localhost -keyout {} -out {} 2>/dev/null",
        key_, certificate_);
    return std::system(command.c_str()) == 0;
  }

  const testing::TempFolder folder_;
  const std::string key_ = folder_ / "key.pem";
  const std::string certificate_ = folder_ / "cert.pem";
  GrpcServerOptions options_ = {.address = "127.0.0.1:0"};
};

TEST_F(TlsServerTest, WithClientCertificatesLetsInThoseWhoHaveOne) {
  options_.tls->client_ca_file = certificate_;
  Start(options_);
  grpc::SslCredentialsOptions ssl;
  ssl.pem_root_certs = ReadFile(certificate_);
  grpc::ChannelArguments arguments;
  arguments.SetSslTargetNameOverride("localhost");
  channel_ = grpc::CreateCustomChannel(Address(), grpc::SslCredentials(ssl), arguments);
  EXPECT_NE(Health(""), "SERVING");  // shows no certificate
  ssl.pem_private_key = ReadFile(key_);
  ssl.pem_cert_chain = ReadFile(certificate_);
  channel_ = grpc::CreateCustomChannel(Address(), grpc::SslCredentials(ssl), arguments);
  EXPECT_EQ(Health(""), "SERVING");
}

TEST_F(TlsServerTest, ProbeSpeaksTls) {
  Start(options_);
  EXPECT_TRUE(server_->Probe(kLong).ok()) << server_->Probe(kLong);
}

TEST_F(TlsServerTest, ProbeNeedsNoClientCertificateAndOthersStillDo) {
  options_.tls->client_ca_file = certificate_;
  Start(options_);
  EXPECT_TRUE(server_->Probe(kLong).ok()) << server_->Probe(kLong);
  grpc::SslCredentialsOptions ssl;
  ssl.pem_root_certs = ReadFile(certificate_);
  grpc::ChannelArguments arguments;
  arguments.SetSslTargetNameOverride("localhost");
  channel_ = grpc::CreateCustomChannel(Address(), grpc::SslCredentials(ssl), arguments);
  EXPECT_NE(Health(""), "SERVING");
}

TEST_F(TlsServerTest, ProbeThatFailsForWantOfACertificateSaysThatARestartDoesNotHelp) {
  Start(options_);
  EXPECT_TRUE(server_->Probe(kLong).ok()) << server_->Probe(kLong);
  // Another key: certificate and key do not fit any more. gRPC reads them again within seconds.
  const std::string certificate = ReadFile(certificate_);
  ASSERT_TRUE(MakeCertificate());
  std::ofstream(certificate_) << certificate;
  absl::Status answered;
  while ((answered = server_->Probe(kLong)).ok()) {
  }
  EXPECT_TRUE(absl::IsFailedPrecondition(answered)) << answered;
  EXPECT_NE(std::string(answered.message()).find(key_), std::string::npos) << answered;
}

}  // namespace
}  // namespace penstock::broker
