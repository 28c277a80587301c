#include "tests/hostile/attacks.h"

#include <algorithm>
#include <memory>
#include <thread>
#include <utility>

#include "absl/time/clock.h"
#include "fmt/format.h"
#include "grpcpp/create_channel.h"
#include "penstock/v1/admin_service.grpc.pb.h"
#include "penstock/v1/task_service.grpc.pb.h"
#include "penstock/v1/worker_service.grpc.pb.h"
#include "tests/hostile/raw_http2.h"

namespace penstock::hostile {
namespace {

constexpr const char* kGetStatus = "/penstock.v1.AdminService/GetStatus";
constexpr const char* kEnqueue = "/penstock.v1.TaskService/Enqueue";

std::shared_ptr<grpc::Channel> Dial(const Target& target) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // a connection of its own
  return grpc::CreateCustomChannel(fmt::format("127.0.0.1:{}", target.port), grpc::InsecureChannelCredentials(),
                                   arguments);
}

// Tries to keep `count` connections in the state that `begin` brings them to; those that were closed begin anew.
// `addresses`: from how many they come.
std::string Hold(const Target& target, size_t count, const std::string& begin, const std::string& again = "",
                 size_t addresses = 1) {
  std::vector<RawConnection> connections;
  size_t made = 0, held = 0;
  const auto count_held = [&] {
    std::erase_if(connections, [](RawConnection& connection) { return !connection.Swallow(); });
    held = std::max(held, connections.size());
  };
  while (!target.stop) {
    count_held();
    while (connections.size() < count && !target.stop) {
      RawConnection connection(target.port, addresses == 1 ? kStranger : fmt::format("127.0.1.{}", made % addresses));
      if (!connection.connected()) break;
      ++made;
      connection.Send(begin);
      connections.push_back(std::move(connection));
    }
    for (RawConnection& connection : connections) {
      if (!again.empty()) connection.Send(again);
    }
    absl::SleepFor(absl::Milliseconds(20));
  }
  count_held();
  return fmt::format("{} connections begun, at most {} held", made, held);
}

std::string Dribble(const Target& target) {
  const std::string whole = Preface() + CallHeaders(1, kGetStatus);
  std::vector<std::pair<RawConnection, size_t>> connections;
  size_t bytes = 0;
  while (!target.stop) {
    if (connections.size() < 200) connections.emplace_back(RawConnection(target.port), 0);
    for (auto& [connection, at] : connections) {
      if (at < whole.size() && connection.Send(whole.substr(at, 1))) ++at, ++bytes;
    }
    std::erase_if(connections, [](auto& pair) { return !pair.first.Swallow(); });
    absl::SleepFor(absl::Milliseconds(10));
  }
  return fmt::format("{} bytes, one by one", bytes);
}

// Calls that are opened and reset at once, on so many connections at a time.
std::string RapidReset(const Target& target, int at_a_time) {
  std::atomic<uint64_t> calls = 0, connections = 0;
  const auto attack = [&] {
    while (!target.stop) {
      RawConnection connection(target.port);
      ++connections;
      if (!connection.Send(Preface())) continue;
      for (uint32_t stream = 1; stream < 0x7fffff00 && !target.stop;) {
        std::string burst;
        for (int i = 0; i < 100; ++i, stream += 2) {
          burst += CallHeaders(stream, kGetStatus);
          burst += ResetFrame(stream);
        }
        if (!connection.Send(burst) || !connection.Swallow()) break;
        calls += 100;
      }
      absl::SleepFor(absl::Milliseconds(5));  // who is refused takes no processor from the broker
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < at_a_time; ++i) threads.emplace_back(attack);
  for (std::thread& thread : threads) thread.join();
  return fmt::format("{} calls opened and reset on {} connections", calls.load(), connections.load());
}

// Answers that nobody takes: the window of each stream is zero.
std::string UnreadAnswers(const Target& target) {
  std::vector<RawConnection> connections;
  uint64_t calls = 0;
  while (!target.stop) {
    if (connections.size() < 50) {
      RawConnection connection(target.port);
      std::string bytes = Preface(0);
      for (uint32_t stream = 1; stream < 200; stream += 2) {
        bytes += CallHeaders(stream, kGetStatus) + DataFrame(stream, MessagePrefix(0), true);
        ++calls;
      }
      connection.Send(bytes);
      connections.push_back(std::move(connection));
    }
    absl::SleepFor(absl::Milliseconds(20));
  }
  return fmt::format("{} calls whose answers stay", calls);
}

std::string NewQueues(const Target& target) {
  auto stub = v1::TaskService::NewStub(Dial(target));
  uint64_t number = 0, taken = 0, refused = 0;
  while (!target.stop) {
    v1::EnqueueManyRequest request;
    for (int i = 0; i < 1'000; ++i) {
      v1::TaskSpec* task = request.add_tasks();
      task->set_queue(fmt::format("hostile-{}", number++));
      task->set_type("hostile");
    }
    grpc::ClientContext context;
    v1::EnqueueManyResponse response;
    ++(stub->EnqueueMany(&context, request, &response).ok() ? taken : refused);
  }
  return fmt::format("{} queue names, calls taken {} refused {}", number, taken, refused);
}

std::string NewUniqueKeys(const Target& target) {
  auto stub = v1::TaskService::NewStub(Dial(target));
  uint64_t number = 0, refused = 0;
  while (!target.stop) {
    v1::EnqueueManyRequest request;
    for (int i = 0; i < 1'000; ++i) {
      v1::TaskSpec* task = request.add_tasks();
      task->set_queue("hostile-keys");
      task->set_type("hostile");
      task->mutable_unique_key()->set_key(fmt::format("key {:0>200}", number++));
      task->set_key(task->unique_key().key());  // and each a FIFO lane of its own
    }
    grpc::ClientContext context;
    v1::EnqueueManyResponse response;
    refused += stub->EnqueueMany(&context, request, &response).ok() ? 0 : 1;
  }
  return fmt::format("{} unique keys and FIFO keys, calls refused {}", number, refused);
}

v1::WorkRequest Hello(const std::string& queue) {
  v1::WorkRequest request;
  v1::Hello* hello = request.mutable_hello();
  hello->set_worker_name("hostile");
  hello->add_queues(queue);
  hello->add_types()->set_type("hostile");
  hello->set_concurrency(1'000);
  return request;
}

// Takes all that there is, renews its lease, and never finishes anything.
std::string Hoard(const Target& target) {
  auto channel = Dial(target);
  auto tasks = v1::TaskService::NewStub(channel);
  auto stub = v1::WorkerService::NewStub(channel);
  uint64_t held = 0;
  grpc::ClientContext context;
  auto stream = stub->Work(&context);
  stream->Write(Hello("hoard"));
  std::thread reader([&] {
    for (v1::WorkResponse response; stream->Read(&response);) held += static_cast<uint64_t>(response.deliveries_size());
  });
  v1::WorkRequest more;
  more.set_credit(10'000);
  while (!target.stop) {
    v1::EnqueueManyRequest request;
    for (int i = 0; i < 500; ++i) {
      request.add_tasks()->set_queue("hoard");
      request.mutable_tasks(i)->set_type("hostile");
      request.mutable_tasks(i)->set_payload(std::string(1'000, 'x'));
    }
    grpc::ClientContext call;
    v1::EnqueueManyResponse response;
    tasks->EnqueueMany(&call, request, &response);
    stream->Write(more);
  }
  context.TryCancel();
  reader.join();
  stream->Finish();
  return fmt::format("{} tasks held and not finished", held);
}

// Says as much as it can, all of it false, and reads nothing.
std::string Flood(const Target& target) {
  v1::WorkRequest report;
  report.set_credit(10'000);
  for (int i = 0; i < 500; ++i) {
    v1::TaskOutcome* outcome = report.add_outcomes();
    outcome->set_task_id("0000000002001");
    outcome->set_fencing_token(static_cast<uint64_t>(i) + 1);
    outcome->mutable_completed()->set_result(std::string(100, 'x'));
    report.add_starts()->set_task_id("0000000002001");
    v1::ProgressReport* progress = report.add_progress_reports();
    progress->set_task_id("0000000002001");
    progress->set_text(std::string(500, 'y'));
  }
  uint64_t frames = 0;
  while (!target.stop) {
    auto stub = v1::WorkerService::NewStub(Dial(target));
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(2));  // a write may be stuck
    auto stream = stub->Work(&context);
    bool open = stream->Write(Hello("q"));
    for (uint64_t number = 1; open && !target.stop; ++number) {
      report.set_frame_number(number);
      open = stream->Write(report);
      ++frames;
    }
    context.TryCancel();
    stream->Finish();
  }
  return fmt::format("{} frames of 500 false outcomes", frames);
}

std::string Reconnect(const Target& target) {
  std::atomic<uint64_t> sessions = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 16; ++i) {
    threads.emplace_back([&] {
      while (!target.stop) {
        auto stub = v1::WorkerService::NewStub(Dial(target));
        grpc::ClientContext context;
        auto stream = stub->Work(&context);
        v1::WorkResponse response;
        if (stream->Write(Hello("q")) && stream->Read(&response)) ++sessions;
        context.TryCancel();
        stream->Finish();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return fmt::format("{} sessions opened and broken off", sessions.load());
}

}  // namespace

std::vector<Attack> Attacks() {
  const std::string giant = Preface() + CallHeaders(1, kEnqueue) + DataFrame(1, MessagePrefix(1 << 30), false);
  return {
      {"silent", "10,000 connections from one address that say nothing",
       [](const Target& target) { return Hold(target, 10'000, ""); }},
      {"silent_crowd", "10,000 connections from 20 addresses that say nothing",
       [](const Target& target) { return Hold(target, 10'000, "", "", 20); }},
      {"preface", "1,000 connections that say the preface, open a call and are silent",
       [](const Target& target) { return Hold(target, 1'000, Preface() + CallHeaders(1, kGetStatus)); }},
      {"dribble", "200 connections whose headers come a byte at a time", Dribble},
      {"giant", "100 connections that declare a message of 1 GiB and send it",
       [giant](const Target& target) {
         return Hold(target, 100, giant, DataFrame(1, std::string(16'000, 'x'), false));
       }},
      {"garbage", "100 connections that send what is no HTTP/2",
       [](const Target& target) { return Hold(target, 100, std::string(20'000, '\x07')); }},
      {"rapid_reset", "calls that are opened and reset at once, on one connection (CVE-2023-44487)",
       [](const Target& target) { return RapidReset(target, 1); }},
      {"rapid_reset_crowd", "the same on 32 connections at a time",
       [](const Target& target) { return RapidReset(target, 32); }},
      {"unread", "5,000 calls whose answers are never taken", UnreadAnswers},
      {"queue_names", "a new queue for every task", NewQueues},
      {"unique_keys", "a new unique key and a new FIFO key for every task", NewUniqueKeys},
      {"hoard", "a worker that takes everything and never finishes", Hoard},
      {"flood", "a worker that reports what is false as fast as it can and reads nothing", Flood},
      {"reconnect", "16 workers that open sessions and break them off", Reconnect},
  };
}

}  // namespace penstock::hostile
