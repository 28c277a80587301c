// Backups of a real broker that works meanwhile, restored by command line after it was killed, and judged: nothing that
// was acknowledged before the backup is missing, with the logs nothing at all is; the restored folder fits together;
// and whoever only looks changes nothing.

#include <signal.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "client/client.h"
#include "common/mutex.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/file_damage.h"
#include "tests/support/process.h"
#include "tests/support/project_paths.h"
#include "tests/support/temp_folder.h"
#include "worker/worker.h"

namespace penstock {
namespace {

using testing::Fingerprint;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::Process;
using testing::TempFolder;

const std::string kBin = BuildPath("bin/");

class BackupTest : public ::testing::Test {
 protected:
  struct Ran {
    int code = 0;
    std::string out;
  };
  static Ran Run(std::vector<std::string> command) {
    command[0] = kBin + command[0];
    Process process(command);
    Ran ran;
    ran.code = process.Wait();
    ran.out = process.output();
    return ran;
  }
  Ran Cli(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"penstock", "--endpoint=" + address()});
    return Run(arguments);
  }
  Ran Verify(const std::string& data) { return Run({"penstock-broker", "--data-dir", data, "--verify"}); }

  void StartBroker(const std::string& data, std::vector<std::string> more = {}) {
    std::vector<std::string> command = {kBin + "penstock-broker",
                                        "--data-dir",
                                        data,
                                        "--grpc.address",
                                        "127.0.0.1:0",
                                        "--http.address",
                                        "",
                                        "--backup.dir",
                                        backups_,
                                        "--backup.keep-logs=1h",
                                        "--sessions.reclaim-window=1s"};
    command.insert(command.end(), more.begin(), more.end());
    broker_ = std::make_unique<Process>(command);
    const std::string line = broker_->WaitForLine("ready grpc=");
    ASSERT_FALSE(line.empty()) << broker_->output();
    port_ = std::atoi(line.c_str() + line.find("grpc=") + 5);
  }
  void KillBroker() {
    broker_->Signal(SIGKILL);
    broker_->Wait();
  }
  void StopBroker() {
    broker_->Signal(SIGTERM);
    EXPECT_EQ(broker_->Wait(), 0);
  }
  std::string address() const { return fmt::format("127.0.0.1:{}", port_); }

  // Enqueues until told to stop; what was acknowledged.
  class Producer {
   public:
    explicit Producer(const std::string& address) {
      ClientOptions options;
      options.broker = address;
      options.when_unavailable = WhenUnavailable::kFailFast;
      client_ = Client::Connect(options).value();
      thread_ = std::thread([this] {
        for (int i = 0; !stop_; ++i) {
          const auto id =
              client_->Enqueue({.queue = "q", .type = i % 3 == 0 ? "nobody" : "t", .payload = fmt::format("{}", i)});
          if (!id.ok()) {
            MutexLock lock(mu_);
            ended_ = true;
            return changed_.SignalAll();
          }
          MutexLock lock(mu_);
          acknowledged_.insert(id->id);
          changed_.SignalAll();
        }
      });
    }
    ~Producer() { Stop(); }
    void Stop() {
      stop_ = true;
      if (thread_.joinable()) thread_.join();
    }
    std::set<TaskId> acknowledged() {
      MutexLock lock(mu_);
      return acknowledged_;
    }
    // Waits for so many more.
    void WaitFor(size_t more) {
      MutexLock lock(mu_);
      const size_t wanted = acknowledged_.size() + more;
      while (acknowledged_.size() < wanted && !ended_) changed_.Wait(mu_);
    }

   private:
    std::unique_ptr<Client> client_;
    std::atomic<bool> stop_ = false;
    Mutex mu_;
    CondVar changed_;
    std::set<TaskId> acknowledged_ ABSL_GUARDED_BY(mu_);
    bool ended_ ABSL_GUARDED_BY(mu_) = false;
    std::thread thread_;
  };

  // How many of these the broker knows, in whatever state.
  size_t Known(const std::set<TaskId>& tasks) {
    const auto client = Client::Connect(address()).value();
    size_t known = 0;
    for (const TaskId task : tasks) known += client->GetTask(task).ok();
    return known;
  }

  TempFolder folder_;
  const std::string backups_ = folder_ / "backups";
  const std::string data_ = folder_ / "data";
  int port_ = 0;
  std::unique_ptr<Process> broker_;
};

TEST_F(BackupTest, KilledBrokerIsRestoredWithAllThatWasAcknowledged) {
  ASSERT_NO_FATAL_FAILURE(StartBroker(data_));
  auto worker = std::make_unique<Worker>(
      WorkerOptions{.broker = address(), .queues = {"q"}, .drain_grace = absl::ZeroDuration()});
  worker->RegisterRaw("t", [](TaskContext&, std::string_view) { return Outcome::Done("r"); });
  ASSERT_TRUE(worker->Start().ok());
  auto producer = std::make_unique<Producer>(address());
  producer->WaitFor(200);
  const std::set<TaskId> before_first = producer->acknowledged();
  Ran made = Cli({"backup", "create", "--label", "first"});
  ASSERT_EQ(made.code, 0) << made.out;
  producer->WaitFor(200);
  const std::set<TaskId> before_second = producer->acknowledged();
  made = Cli({"backup", "create", "--label", "second"});
  ASSERT_EQ(made.code, 0) << made.out;
  EXPECT_EQ(Cli({"backup", "verify", "2"}).code, 0);
  const Ran listed = Cli({"backup", "list"});
  EXPECT_THAT(listed.out, HasSubstr("first"));
  EXPECT_THAT(listed.out, HasSubstr("second"));
  producer->WaitFor(200);
  KillBroker();
  producer->Stop();
  const std::set<TaskId> all = producer->acknowledged();
  producer.reset();
  worker->Stop();
  worker.reset();
  ASSERT_GT(all.size(), before_second.size());

  // Each restore is checked as a whole before any broker may take it; `--verify` says so once more.
  const std::string repository = backups_ + "/default";
  const auto restore = [&](const std::string& to, std::vector<std::string> more) {
    std::vector<std::string> command = {"penstock-broker", "--restore", repository, "--data-dir", to};
    command.insert(command.end(), more.begin(), more.end());
    const Ran ran = Run(command);
    EXPECT_EQ(ran.code, 0) << ran.out;
    const Ran verified = Verify(to);
    EXPECT_EQ(verified.code, 0) << verified.out;
    StartBroker(to);
  };
  const auto before = Fingerprint(data_);
  restore(folder_ / "first", {"--backup", "1"});
  EXPECT_EQ(Known(before_first), before_first.size());
  StopBroker();
  restore(folder_ / "second", {});
  EXPECT_EQ(Known(before_second), before_second.size());
  StopBroker();
  // The logs of the folder that was lost lead up to the last acknowledgement.
  restore(folder_ / "latest", {"--logs", data_ + "/db"});
  EXPECT_EQ(Known(all), all.size());
  EXPECT_EQ(Fingerprint(data_), before);

  // What waits runs, once each; and then nothing is left and the folder fits together.
  Mutex mu;
  std::map<TaskId, int> runs;
  Worker drainer({.broker = address(), .queues = {"q"}});
  for (const char* type : {"t", "nobody"}) {
    drainer.RegisterRaw(type, [&](TaskContext& context, std::string_view) {
      MutexLock lock(mu);
      ++runs[context.id()];
      return Outcome::Done("drained");
    });
  }
  ASSERT_TRUE(drainer.Start().ok());
  const auto client = Client::Connect(address()).value();
  for (const TaskId task : all) {
    const auto ended = client->WaitTask(task, absl::Minutes(3));
    ASSERT_TRUE(ended.ok()) << task.ToString() << ": " << ended.status();
  }
  drainer.Stop();
  StopBroker();
  for (const auto& [task, count] : runs) EXPECT_EQ(count, 1) << task.ToString();
  const Ran verified = Verify(folder_ / "latest");
  EXPECT_EQ(verified.code, 0) << verified.out;
}

TEST_F(BackupTest, PausedForkShowsAndChangesNothing) {
  ASSERT_NO_FATAL_FAILURE(StartBroker(data_));
  std::set<TaskId> tasks;
  {
    const auto client = Client::Connect(address()).value();
    for (int i = 0; i < 20; ++i) tasks.insert(client->Enqueue({.queue = "q", .type = "t", .payload = "p"})->id);
  }
  KillBroker();
  const auto before = Fingerprint(data_);
  ASSERT_NO_FATAL_FAILURE(StartBroker(data_, {"--paused-fork"}));
  EXPECT_EQ(Known(tasks), tasks.size());
  const auto client = Client::Connect(address()).value();
  const auto refused = client->Enqueue({.queue = "q", .type = "t", .payload = "p"});
  EXPECT_TRUE(absl::IsFailedPrecondition(refused.status())) << refused.status();
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("paused fork"));
  EXPECT_THAT(Cli({"status"}).out, HasSubstr("paused fork"));
  EXPECT_NE(Cli({"queue", "purge", "q", "--yes"}).code, 0);
  EXPECT_EQ(Cli({"schedule", "list"}).code, 0);
  StopBroker();
  EXPECT_EQ(Fingerprint(data_), before);
}

TEST_F(BackupTest, DamagedFolderIsRepairedOnACopyThatListsWhatItLost) {
  ASSERT_NO_FATAL_FAILURE(StartBroker(data_));
  std::set<TaskId> tasks;
  {
    const auto client = Client::Connect(address()).value();
    for (int i = 0; i < 300; ++i) {
      tasks.insert(client->Enqueue({.queue = "q", .type = "t", .payload = std::string(200, 'p')})->id);
    }
  }
  KillBroker();
  EXPECT_EQ(Verify(data_).code, 0);
  std::string log;
  for (const auto& entry : std::filesystem::directory_iterator(data_ + "/db")) {
    if (entry.path().extension() == ".log") log = std::max(log, entry.path().string());
  }
  testing::FlipBit(log, std::filesystem::file_size(log) / 2);
  const auto before = Fingerprint(data_);
  const Ran verified = Verify(data_);
  EXPECT_EQ(verified.code, 65) << verified.out;
  EXPECT_THAT(verified.out, HasSubstr("DAMAGED"));
  const std::string saved = folder_ / "saved";
  const Ran repaired = Run({"penstock-broker", "--data-dir", data_, "--repair", "--to", saved});
  EXPECT_EQ(repaired.code, 65) << repaired.out;  // something is lost, and it says what
  EXPECT_EQ(Fingerprint(data_), before);
  EXPECT_EQ(Verify(saved).code, 0);
  // Every task is in one of the two lists.
  std::string lists;
  for (const char* name : {"/saved.jsonl", "/lost.jsonl"}) lists += testing::ReadFile(saved + name);
  for (const TaskId task : tasks) EXPECT_THAT(lists, HasSubstr(task.ToString()));
  ASSERT_NO_FATAL_FAILURE(StartBroker(saved));
  EXPECT_GE(Known(tasks) + 2, tasks.size());
  StopBroker();
}

TEST_F(BackupTest, FolderOfANewerVersionIsRefusedWithASentence) {
  ASSERT_NO_FATAL_FAILURE(StartBroker(data_));
  KillBroker();
  std::string format = testing::ReadFile(data_ + "/FORMAT");
  const size_t reader = format.find("min_reader=2");
  ASSERT_NE(reader, std::string::npos);
  format.replace(reader, 12, "min_reader=9");
  std::ofstream(data_ + "/FORMAT") << format;
  const auto before = Fingerprint(data_ + "/db");
  for (const std::vector<std::string>& way :
       std::vector<std::vector<std::string>>{{}, {"--verify"}, {"--paused-fork"}}) {
    std::vector<std::string> command = {"penstock-broker", "--data-dir",     data_, "--grpc.address",
                                        "127.0.0.1:0",     "--http.address", ""};
    command.insert(command.end(), way.begin(), way.end());
    const Ran ran = Run(command);
    EXPECT_EQ(ran.code, 78) << ran.out;
    EXPECT_THAT(ran.out, HasSubstr("newer Penstock"));
  }
  EXPECT_EQ(Fingerprint(data_ + "/db"), before);
  EXPECT_EQ(testing::ReadFile(data_ + "/FORMAT"), format);
}

}  // namespace
}  // namespace penstock
