#include "tests/faults/faulty_broker.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <utility>

#include "fmt/format.h"
#include "tests/support/project_paths.h"

namespace penstock::broker {

using penstock::testing::FaultPlan;
using penstock::testing::TrackedFile;

FaultPlanFile::FaultPlanFile(std::string path) : path_(std::move(path)) {
  const int fd = open(path_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0 || ftruncate(fd, sizeof(FaultPlan)) != 0) std::abort();
  void* const mapped = mmap(nullptr, sizeof(FaultPlan), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (mapped == MAP_FAILED) std::abort();
  plan_ = static_cast<FaultPlan*>(mapped);  // zeros are a plan without faults
}

FaultPlanFile::~FaultPlanFile() { munmap(plan_, sizeof(FaultPlan)); }

void LoseUnsynced(const FaultPlan& plan, const std::string& folder, uint64_t seed) {
  for (const TrackedFile& file : plan.files) {
    if (file.name[0] == 0) continue;
    const std::string path = folder + "/" + file.name;
    std::error_code error;
    const uint64_t size = std::filesystem::file_size(path, error);
    if (error || size <= file.synced) continue;
    // All of the tail, half of it, or none.
    const uint64_t kept = (size - file.synced) * (seed % 3) / 2;
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    std::filesystem::resize_file(path, file.synced + (kept == size - file.synced ? 0 : kept), error);
  }
}

const std::string& FaultyBroker::BinaryDir() {
  static const std::string folder = BuildPath("");
  return folder;
}

namespace {

std::vector<std::string> Command(const std::string& data_dir, const std::vector<std::string>& flags,
                                 FaultPlanFile* plan, const std::string& folder) {
  std::vector<std::string> command;
  if (plan != nullptr) {
    command = {"/usr/bin/env", fmt::format("{}={}", penstock::testing::kFaultPlanVariable, plan->path()),
               fmt::format("{}={}", penstock::testing::kFaultFolderVariable, folder),
               fmt::format("LD_PRELOAD={}/tests/libpenstock_fault_shim.so", FaultyBroker::BinaryDir())};
  }
  command.insert(command.end(), {FaultyBroker::BinaryDir() + "/bin/penstock-broker", "--data-dir", data_dir,
                                 "--grpc.address", "127.0.0.1:0", "--http.address", "", "--disk.watermark", "0",
                                 "--sessions.grace", "300ms", "--sessions.reclaim-window", "500ms"});
  command.insert(command.end(), flags.begin(), flags.end());
  return command;
}

}  // namespace

FaultyBroker::FaultyBroker(const std::string& data_dir, const std::vector<std::string>& flags, FaultPlanFile* plan,
                           const std::string& folder)
    : process_(Command(data_dir, flags, plan, folder)) {}

bool FaultyBroker::WaitReady() {
  const std::string line = process_.WaitForLine("ready grpc=", kPatience);
  if (line.empty()) return false;
  port_ = std::atoi(line.c_str() + line.find("grpc=") + 5);
  return true;
}

std::optional<int> FaultyBroker::WaitEnd() {
  if (process_.WaitUntilClosed(kPatience)) return process_.Wait();
  Kill();
  return std::nullopt;
}

std::optional<int> FaultyBroker::Stop() {
  process_.Signal(SIGTERM);
  return WaitEnd();
}

void FaultyBroker::Kill() {
  process_.Signal(SIGKILL);
  process_.Wait();
}

ProgramRun RunBroker(const std::vector<std::string>& arguments) {
  std::vector<std::string> command = {FaultyBroker::BinaryDir() + "/bin/penstock-broker"};
  command.insert(command.end(), arguments.begin(), arguments.end());
  penstock::testing::Process process(command);
  ProgramRun run;
  if (!process.WaitUntilClosed(kPatience)) process.Signal(SIGABRT);
  run.code = process.Wait();
  run.output = process.output();
  return run;
}

}  // namespace penstock::broker
