// Whether what the configuration names is there and can be run.

#include <dlfcn.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "fmt/format.h"
#include "worker/daemon/daemon_options.h"
#include "worker/plugin.h"

namespace penstock {
namespace {

// What is wrong with a program at a path; empty: nothing.
std::string ProblemOfFile(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) return fmt::format("cannot run {}: {}", path, strerror(errno));
  if (!S_ISREG(info.st_mode)) return fmt::format("cannot run {}: it is no file", path);
  if (access(path.c_str(), X_OK) != 0) {
    return fmt::format("cannot run {}: {}; make it executable (chmod +x)", path, strerror(errno));
  }
  return "";
}

std::string ProblemOfCommand(const CommandOptions& options) {
  if (!options.directory.empty()) {
    struct stat info;
    if (stat(options.directory.c_str(), &info) != 0 || !S_ISDIR(info.st_mode) ||
        access(options.directory.c_str(), X_OK) != 0) {
      return fmt::format("directory: {} is no folder that this user can enter", options.directory);
    }
  }
  const std::string& program = options.command.front();
  if (program.empty()) return "command: the program's name is empty";
  if (program.find('/') != std::string::npos) {
    const bool relative = program.front() != '/' && !options.directory.empty();
    return ProblemOfFile(relative ? options.directory + "/" + program : program);
  }
  // As execvp looks for it.
  const char* const path_variable = getenv("PATH");
  const std::string path = path_variable != nullptr ? path_variable : "/bin:/usr/bin";
  std::string found_problem;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find(':', begin), path.size());
    const std::string folder = path.substr(begin, end - begin);
    const std::string file = (folder.empty() ? "." : folder) + "/" + program;
    begin = end + 1;
    const std::string problem = ProblemOfFile(file);
    if (problem.empty()) return "";
    if (found_problem.empty() && access(file.c_str(), F_OK) == 0) found_problem = problem;
  }
  if (!found_problem.empty()) return found_problem;
  return fmt::format("cannot run {}: it is in none of the folders of PATH ({}); write its whole path", program, path);
}

std::string ProblemOfPlugin(const std::string& path) {
  void* const library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return fmt::format("cannot load the plug-in {}: {}", path, dlerror());
  // Not closed: plug-ins are never unloaded (worker/plugin.h).
  if (dlsym(library, PENSTOCK_PLUGIN_INIT_SYMBOL) == nullptr) {
    return fmt::format("{} is no plug-in: it defines no {}; see worker/plugin.h", path, PENSTOCK_PLUGIN_INIT_SYMBOL);
  }
  return "";
}

}  // namespace

ConfigErrors CheckHandlers(const std::vector<HandlerEntry>& handlers) {
  ConfigErrors errors;
  for (const HandlerEntry& entry : handlers) {
    const std::string problem = entry.plugin.empty() ? ProblemOfCommand(entry.command) : ProblemOfPlugin(entry.plugin);
    if (!problem.empty()) errors.Add({entry.where, entry.name, problem});
  }
  return errors;
}

}  // namespace penstock
