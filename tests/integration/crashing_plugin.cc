// A plug-in whose handlers hold their tasks, and one of whose handlers ends the whole worker.

#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>

#include "worker/plugin_cpp.h"

namespace {

using penstock::plugin::Outcome;
using penstock::plugin::Registry;
using penstock::plugin::Task;

// Until somebody opens the named pipe for writing.
void AwaitWriter(std::string_view pipe) { std::ifstream reader{std::string(pipe)}; }

void Register(Registry& registry) {
  registry.Handle("hold", [](Task& task) {
    if (task.attempt() == 1) AwaitWriter(task.payload());
    return Outcome::Done(std::to_string(task.attempt()));
  });
  // First it follows a null pointer, then it aborts.
  registry.Handle("crash", [](Task& task) -> Outcome {
    AwaitWriter(task.payload());
    // Volatile, both: or a compiler may leave the write out, or the rest.
    volatile int* volatile nowhere = nullptr;
    if (task.attempt() == 1) *nowhere = 1;
    std::abort();
  });
}

}  // namespace

PENSTOCK_PLUGIN("crashing", "1.0", Register)
