// Why tasks wait, which workers run them, and hearing of those that finish: from the client and the command line to a
// real broker.

#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "broker/test_broker.h"
#include "client/cli/app.h"
#include "client/client.h"
#include "common/mutex.h"
#include "gmock/gmock.h"
#include "grpcpp/create_channel.h"
#include "gtest/gtest.h"
#include "penstock/v1/worker_service.grpc.pb.h"
#include "worker/worker.h"

namespace penstock {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// A worker of three lines, with labels.
class LabelledWorker {
 public:
  LabelledWorker(const std::string& broker, const std::map<std::string, std::string>& labels)
      : stub_(v1::WorkerService::NewStub(grpc::CreateChannel(broker, grpc::InsecureChannelCredentials()))),
        stream_(stub_->Work(&context_)) {
    v1::WorkRequest request;
    v1::Hello& hello = *request.mutable_hello();
    hello.set_worker_name("labelled");
    hello.add_queues("images");
    hello.add_types()->set_type("image.resize");
    hello.set_concurrency(1);
    hello.mutable_labels()->insert(labels.begin(), labels.end());
    request.set_credit(1);
    stream_->Write(request);
  }
  ~LabelledWorker() {
    context_.TryCancel();
    (void)stream_->Finish();
  }

  // Waits for the next task.
  v1::Delivery Next() {
    v1::WorkResponse response;
    while (stream_->Read(&response)) {
      if (response.deliveries_size() > 0) return response.deliveries(0);
    }
    return {};
  }

 private:
  grpc::ClientContext context_;
  const std::unique_ptr<v1::WorkerService::Stub> stub_;
  const std::unique_ptr<grpc::ClientReaderWriter<v1::WorkRequest, v1::WorkResponse>> stream_;
};

class ExplainTest : public ::testing::Test {
 protected:
  struct Ran {
    int code = 0;
    std::string out;
    std::string err;
  };
  Ran Cli(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "--endpoint=" + broker_->address());
    std::istringstream in;
    std::ostringstream out, err;
    cli::Console console{in, out, err};
    Ran ran;
    ran.code = cli::RunCli(arguments, console);
    ran.out = out.str();
    ran.err = err.str();
    return ran;
  }
  std::vector<WaitReason::Code> Codes(TaskId task) {
    std::vector<WaitReason::Code> codes;
    const auto explanation = client_->ExplainTask(task);
    EXPECT_TRUE(explanation.ok()) << explanation.status();
    if (!explanation.ok()) return codes;
    for (const WaitReason& reason : explanation->reasons) codes.push_back(reason.code);
    return codes;
  }

  std::unique_ptr<TestBroker> broker_ = TestBroker::Start().value();
  std::unique_ptr<Client> client_ = Client::Connect(broker_->address()).value();
};

TEST_F(ExplainTest, ATaskGoesToTheWorkerThatHasItsLabelsAndSaysSoUntilThen) {
  EnqueueOptions options;
  options.worker_labels = {{"gpu", "yes"}, {"zone", "eu"}};
  const TaskId task = client_->Enqueue("images", "image.resize", "cat", options).value();
  EXPECT_THAT(Codes(task), ElementsAre(WaitReason::Code::kNoWorker));

  auto without =
      std::make_unique<LabelledWorker>(broker_->address(), std::map<std::string, std::string>{{"gpu", "yes"}});
  const TaskId plain = client_->Enqueue("images", "image.resize", "dog").value();
  EXPECT_EQ(without->Next().task_id(), plain.ToString());
  EXPECT_THAT(Codes(task), ElementsAre(WaitReason::Code::kNoWorkerWithLabels));
  const Ran explained = Cli({"explain", task.ToString()});
  EXPECT_EQ(explained.code, 0) << explained.err;
  EXPECT_THAT(explained.out, HasSubstr("no worker that handles type image.resize in queue images has the labels "
                                       "gpu=yes, zone=eu: 1 is connected, without zone=eu"));
  EXPECT_THAT(explained.out, HasSubstr("starts    nobody can tell"));
  EXPECT_THAT(Cli({"task", "get", task.ToString()}).out, HasSubstr("without zone=eu"));
  EXPECT_THAT(Cli({"queue", "get", "images"}).out, HasSubstr("image.resize (no worker has zone=eu)"));

  broker_->Restart();
  LabelledWorker with(broker_->address(), {{"gpu", "yes"}, {"zone", "eu"}, {"disk", "big"}});
  const v1::Delivery delivery = with.Next();
  EXPECT_EQ(delivery.task_id(), task.ToString());
  EXPECT_EQ(delivery.spec().worker_labels().at("zone"), "eu");
  EXPECT_THAT(Cli({"worker", "list", "-o", "json"}).out, HasSubstr("\"gpu\": \"yes\""));
}

TEST_F(ExplainTest, WrongLabelsAreRefused) {
  const std::vector<std::pair<std::string, std::string>> wrong = {{"", "x"}, {"k", ""}, {"a b", "c"}};
  for (const auto& [key, value] : wrong) {
    const Ran ran = Cli({"enqueue", "images", "image.resize", "cat", "--worker-label", key + "=" + value});
    EXPECT_NE(ran.code, 0) << key << "=" << value;
  }
  EnqueueOptions many;
  for (int i = 0; i < 9; ++i) many.worker_labels[std::to_string(i)] = "x";
  EXPECT_EQ(client_->Enqueue("images", "image.resize", "cat", many).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(ExplainTest, PositionAndStartAreEstimated) {
  ASSERT_TRUE(client_->Enqueue("mail", "t", "x").ok());
  Worker worker(WorkerOptions{.broker = broker_->address(), .queues = {"mail"}, .concurrency = 1});
  worker.RegisterRaw("t", [](TaskContext&, std::string_view) { return Outcome::Done(""); });
  ASSERT_TRUE(worker.Start().ok());
  ASSERT_EQ(Cli({"queue", "create", "late"}).code, 0);
  ASSERT_EQ(Cli({"queue", "pause", "late"}).code, 0);
  TaskId last;
  for (int i = 0; i < 20; ++i) last = client_->Enqueue("late", "t", "x").value();
  const auto explanation = client_->ExplainTask(last);
  ASSERT_TRUE(explanation.ok()) << explanation.status();
  ASSERT_TRUE(explanation->position.has_value());
  EXPECT_EQ(explanation->position->low, 19u);
  EXPECT_EQ(explanation->position->high, 19u);
  EXPECT_FALSE(explanation->starts_in.has_value());  // paused
  EXPECT_THAT(Codes(last),
              ElementsAre(WaitReason::Code::kQueuePaused, WaitReason::Code::kNoWorker, WaitReason::Code::kTurn));
  EXPECT_THAT(Cli({"explain", last.ToString()}).out, HasSubstr("before    19 of its queue"));
  EXPECT_THAT(Cli({"explain", last.ToString(), "-o", "json"}).out, HasSubstr("CODE_QUEUE_PAUSED"));
}

class Heard {
 public:
  SubscribeCallback Callback() {
    return [this](absl::StatusOr<SubscriptionUpdate> update) {
      MutexLock lock(mu_);
      if (!update.ok()) {
        status_ = update.status();
      } else {
        if (update->gap) ++gaps_;
        for (const FinishedTask& task : update->tasks) tasks_.push_back(task);
      }
      changed_.SignalAll();
    };
  }
  template <class Condition>
  void Await(Condition condition) {
    MutexLock lock(mu_);
    while (!condition(*this)) changed_.Wait(mu_);
  }

  Mutex mu_;
  CondVar changed_;
  std::vector<FinishedTask> tasks_;
  int gaps_ = 0;
  absl::Status status_;
};

TEST_F(ExplainTest, ASubscriberHearsOfWhatFinishesAlsoAfterARestart) {
  ASSERT_EQ(Cli({"queue", "create", "mail"}).code, 0);
  Heard heard;
  auto subscription = client_->Subscribe("mail", {}, heard.Callback());
  // It counts from when the broker has heard of it: until something is told, tasks are ended again and again.
  TaskId cancelled;
  auto cancel_one = [&] {
    cancelled = client_->Enqueue("mail", "t", "x").value();
    ASSERT_TRUE(client_->CancelTask(cancelled).ok());
  };
  const auto await = [&](auto condition) {
    for (bool done = false; !done;) {
      cancel_one();
      MutexLock lock(heard.mu_);
      if (!condition()) heard.changed_.WaitFor(heard.mu_, absl::Milliseconds(20));
      done = condition();
    }
  };
  await([&] { return !heard.tasks_.empty(); });
  {
    MutexLock lock(heard.mu_);
    EXPECT_EQ(heard.tasks_[0].state, TaskState::kCancelled);
    EXPECT_EQ(heard.tasks_[0].type, "t");
    EXPECT_EQ(heard.gaps_, 0);
    heard.tasks_.clear();
  }
  broker_->Restart();
  await([&] { return heard.gaps_ == 1 && !heard.tasks_.empty(); });

  Worker worker(WorkerOptions{.broker = broker_->address(), .queues = {"mail"}, .concurrency = 1});
  worker.RegisterRaw("dead", [](TaskContext&, std::string_view) { return Outcome::Reject({"E", "no", ""}); });
  worker.RegisterRaw("done", [](TaskContext&, std::string_view) { return Outcome::Done("yes"); });
  ASSERT_TRUE(worker.Start().ok());
  const TaskId dead = client_->Enqueue("mail", "dead", "x").value();
  const TaskId done = client_->Enqueue("mail", "done", "x").value();
  const auto has = [](const Heard& all, TaskId id, TaskState state) {
    for (const FinishedTask& task : all.tasks_) {
      if (task.id == id) return task.state == state;
    }
    return false;
  };
  heard.Await(
      [&](const Heard& all) { return has(all, dead, TaskState::kDead) && has(all, done, TaskState::kCompleted); });

  // The queue goes, and with it the subscription.
  worker.Stop();
  ASSERT_EQ(Cli({"queue", "delete", "mail", "--force", "--yes"}).code, 0);
  heard.Await([](const Heard& all) { return absl::IsNotFound(all.status_); });
  EXPECT_EQ(client_->ExplainTask(TaskId(0, 1, 0)).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(ExplainTest, TheCommandLineWatchesAQueue) {
  EXPECT_NE(Cli({"queue", "watch", "nowhere", "--timeout", "5s"}).code, 0);
  ASSERT_EQ(Cli({"queue", "create", "mail"}).code, 0);
  const Ran nothing = Cli({"queue", "watch", "mail", "--timeout", "100ms"});
  EXPECT_EQ(nothing.code, 0) << nothing.err;
  EXPECT_EQ(nothing.out, "");
}

}  // namespace
}  // namespace penstock
