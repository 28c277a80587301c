#include "broker/rpc/task_source.h"

#include <utility>
#include <variant>

#include "broker/rpc/task_walk.h"

namespace penstock::broker {
namespace {

class ContextSource final : public TaskSource {
 public:
  explicit ContextSource(RpcContext& context) : context_(context) {}

  void Ask(Command command, size_t bytes, std::function<void(Reply)> done) override {
    std::visit(
        [&](auto& named) {
          if constexpr (requires { named.ticket; }) {
            broker::Ask(context_.door, context_.tickets, std::move(named), bytes, std::move(done));
          } else {
            done(Reply{Ticket(), absl::InternalError("this command has no answer"), {}});
          }
        },
        command);
  }

  absl::Status Read(std::function<void(std::unique_ptr<TaskReader>)> read) override {
    return context_.reads.Submit([&context = context_, read = std::move(read)] {
      std::unique_ptr<StoreReader> store = context.door.Snapshot();
      if (store == nullptr) return read(nullptr);
      read(std::make_unique<TaskReader>(std::move(store), context.partition, context.WallNow()));
    });
  }

 private:
  RpcContext& context_;
};

}  // namespace

std::shared_ptr<TaskSource> TaskSourceOf(RpcContext& context) { return std::make_shared<ContextSource>(context); }

void TaskWalk::Start(RpcContext& context, std::shared_ptr<const TaskFilter> filter, const PageToken& from,
                     uint32_t page_size, Done done) {
  Start(TaskSourceOf(context), std::move(filter), from, page_size, std::move(done));
}

}  // namespace penstock::broker
