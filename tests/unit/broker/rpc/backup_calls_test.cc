// AdminService's calls about backups, in front of a door that the test works.

#include <deque>
#include <functional>

#include "broker/rpc/backup_door.h"
#include "broker/rpc/rpc_edge.h"
#include "gmock/gmock.h"
#include "penstock/v1/admin_service.grpc.pb.h"
#include "tests/unit/broker/rpc/edge_fixture.h"

namespace penstock::broker {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Answers at once, with what the test has put in.
class FakeBackupDoor final : public BackupDoor {
 public:
  void Create(std::string folder, std::string label, uint32_t keep, std::function<void(BackupProgressView)> progress,
              Done<BackupMade> done) override {
    calls.push_back(fmt::format("create {} {} {}", folder, label, keep));
    for (uint64_t bytes : {1, 2, 3}) progress({bytes, bytes == 3});
    if (hold) {
      held = std::move(done);
      return;
    }
    if (!status.ok()) return done(status);
    done(BackupMade{view, 2});
  }
  void List(std::string folder, Done<std::vector<BackupView>> done) override {
    calls.push_back("list " + folder);
    if (!status.ok()) return done(status);
    done(std::vector<BackupView>{view, view});
  }
  void Verify(std::string folder, uint32_t id, Done<BackupView> done) override {
    calls.push_back(fmt::format("verify {} {}", folder, id));
    if (!status.ok()) return done(status);
    done(view);
  }
  void Delete(std::string folder, uint32_t id, Done<BackupView> done) override {
    calls.push_back(fmt::format("delete {} {}", folder, id));
    if (!status.ok()) return done(status);
    done(view);
  }

  std::vector<std::string> calls;
  BackupView view{
      7,           absl::FromUnixSeconds(1'800'000'000), 4'096, 3, "nightly", 99, 1'799'999'999 * kSecond, 123, "1.2.3",
      "/b/default"};
  absl::Status status;
  bool hold = false;
  Done<BackupMade> held;
};

class BackupCallsTest : public ::testing::Test {
 protected:
  BackupCallsTest() { Start(&backups_); }
  ~BackupCallsTest() override { edge_->Stop(absl::ZeroDuration()); }

  void Start(BackupDoor* backups) {
    RpcEdge::Options options;
    options.server.address = "127.0.0.1:0";
    options.backups = backups;
    auto edge = RpcEdge::Start(std::move(options), door_, tickets_, facts_, clock_);
    ASSERT_TRUE(edge.ok()) << edge.status();
    edge_ = *std::move(edge);
    stub_ = v1::AdminService::NewStub(
        grpc::CreateChannel(fmt::format("127.0.0.1:{}", edge_->port()), grpc::InsecureChannelCredentials()));
  }

  // All answers of a CreateBackup.
  grpc::Status Create(const v1::CreateBackupRequest& request, std::vector<v1::CreateBackupResponse>* responses) {
    grpc::ClientContext context;
    const auto reader = stub_->CreateBackup(&context, request);
    for (v1::CreateBackupResponse response; reader->Read(&response);) responses->push_back(response);
    return reader->Finish();
  }

  TicketTable tickets_;
  FakeDoor door_{tickets_};
  FixedFacts facts_;
  ManualClock clock_;
  FakeBackupDoor backups_;
  std::unique_ptr<RpcEdge> edge_;
  std::unique_ptr<v1::AdminService::Stub> stub_;
};

TEST_F(BackupCallsTest, CreateAnswersWithProgressAndLastWithTheBackup) {
  v1::CreateBackupRequest request;
  request.set_folder("before-upgrade");
  request.set_label("0.2");
  request.set_keep(5);
  std::vector<v1::CreateBackupResponse> responses;
  EXPECT_TRUE(Create(request, &responses).ok());
  EXPECT_THAT(backups_.calls, ElementsAre("create before-upgrade 0.2 5"));
  // A reader that is slower than the progress sees the newest.
  ASSERT_FALSE(responses.empty());
  const v1::CreateBackupResponse& last = responses.back();
  EXPECT_FALSE(last.has_progress());
  EXPECT_EQ(last.deleted(), 2u);
  EXPECT_EQ(last.backup().backup_id(), 7u);
  EXPECT_EQ(last.backup().bytes(), 4'096u);
  EXPECT_EQ(last.backup().files(), 3);
  EXPECT_EQ(last.backup().label(), "nightly");
  EXPECT_EQ(last.backup().commit_sequence(), 99u);
  EXPECT_EQ(last.backup().commit_time().seconds(), 1'799'999'999);
  EXPECT_EQ(last.backup().create_time().seconds(), 1'800'000'000);
  EXPECT_EQ(last.backup().epoch(), 123u);
  EXPECT_EQ(last.backup().path(), "/b/default");
}

TEST_F(BackupCallsTest, FailureEndsTheCallWithItsStatus) {
  backups_.status = absl::DataLossError("the new backup is not what was written");
  std::vector<v1::CreateBackupResponse> responses;
  const grpc::Status status = Create({}, &responses);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DATA_LOSS);
  for (const auto& response : responses) EXPECT_TRUE(response.has_progress());
}

TEST_F(BackupCallsTest, NamesThatLeadOutOfTheFolderAreRefused) {
  for (const char* folder : {"..", "../x", "a/b", "/etc", ".hidden", "a b", "a\\b", "~"}) {
    SCOPED_TRACE(folder);
    v1::CreateBackupRequest request;
    request.set_folder(folder);
    std::vector<v1::CreateBackupResponse> responses;
    EXPECT_EQ(Create(request, &responses).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    grpc::ClientContext context;
    v1::ListBackupsRequest list;
    list.set_folder(folder);
    v1::ListBackupsResponse listed;
    EXPECT_EQ(stub_->ListBackups(&context, list, &listed).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    grpc::ClientContext delete_context;
    v1::DeleteBackupRequest remove;
    remove.set_folder(folder);
    remove.set_backup_id(1);
    v1::DeleteBackupResponse removed;
    EXPECT_EQ(stub_->DeleteBackup(&delete_context, remove, &removed).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  }
  v1::CreateBackupRequest longer;
  longer.set_folder(std::string(65, 'a'));
  std::vector<v1::CreateBackupResponse> responses;
  EXPECT_EQ(Create(longer, &responses).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  longer.clear_folder();
  longer.set_label(std::string(257, 'a'));
  EXPECT_EQ(Create(longer, &responses).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  longer.clear_label();
  longer.set_keep(-1);
  EXPECT_EQ(Create(longer, &responses).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(backups_.calls, IsEmpty());
}

TEST_F(BackupCallsTest, ListVerifyAndDelete) {
  {
    grpc::ClientContext context;
    v1::ListBackupsResponse listed;
    ASSERT_TRUE(stub_->ListBackups(&context, {}, &listed).ok());
    EXPECT_EQ(listed.backups_size(), 2);
  }
  v1::VerifyBackupRequest verify;
  {
    grpc::ClientContext context;
    v1::VerifyBackupResponse verified;
    EXPECT_EQ(stub_->VerifyBackup(&context, verify, &verified).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  }
  verify.set_backup_id(7);
  {
    grpc::ClientContext context;
    v1::VerifyBackupResponse verified;
    ASSERT_TRUE(stub_->VerifyBackup(&context, verify, &verified).ok());
    EXPECT_EQ(verified.backup().backup_id(), 7u);
  }
  backups_.status = absl::NotFoundError("there is no backup 8");
  {
    grpc::ClientContext context;
    v1::DeleteBackupRequest remove;
    remove.set_backup_id(8);
    v1::DeleteBackupResponse removed;
    EXPECT_EQ(stub_->DeleteBackup(&context, remove, &removed).error_code(), grpc::StatusCode::NOT_FOUND);
  }
  EXPECT_THAT(backups_.calls, ElementsAre("list ", "verify  7", "delete  8"));
}

TEST_F(BackupCallsTest, BackupGoesOnWhenTheCallerLeavesOrTheEdgeStops) {
  backups_.hold = true;
  grpc::ClientContext context;
  const auto reader = stub_->CreateBackup(&context, {});
  v1::CreateBackupResponse response;
  ASSERT_TRUE(reader->Read(&response));
  context.TryCancel();
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  backups_.held(BackupMade{backups_.view, 0});  // nobody is there any more
  grpc::ClientContext second;
  const auto stopped = stub_->CreateBackup(&second, {});
  ASSERT_TRUE(stopped->Read(&response));
  edge_->Stop(absl::ZeroDuration());
  while (stopped->Read(&response)) {
  }
  EXPECT_EQ(stopped->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  backups_.held(BackupMade{backups_.view, 0});
}

TEST_F(BackupCallsTest, BrokerWithoutTheOptionSaysWhatToDo) {
  edge_->Stop(absl::ZeroDuration());
  edge_.reset();
  Start(nullptr);
  std::vector<v1::CreateBackupResponse> responses;
  const grpc::Status status = Create({}, &responses);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(status.error_message(), HasSubstr("backup.dir"));
}

}  // namespace
}  // namespace penstock::broker
