#include "worker/daemon/daemon_options.h"

#include <functional>
#include <set>

#include "common/names.h"
#include "common/status_details.h"
#include "common/text.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"

namespace penstock {
namespace {

// A plug-in's options, as JSON: numbers and words as they look, everything quoted as text would be lost otherwise.
nlohmann::json ToJson(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::kNull:
      return nullptr;
    case YamlNode::Kind::kScalar: {
      auto parsed = nlohmann::json::parse(node.text, nullptr, false);
      if (parsed.is_number() || parsed.is_boolean()) return parsed;
      return node.text;
    }
    case YamlNode::Kind::kList: {
      auto list = nlohmann::json::array();
      for (const YamlNode& item : node.items) list.push_back(ToJson(item));
      return list;
    }
    case YamlNode::Kind::kMap: {
      auto map = nlohmann::json::object();
      for (const YamlEntry& entry : node.entries) map[entry.key] = ToJson(entry.value);
      return map;
    }
  }
  return nullptr;
}

HandlerEntry ReadEntry(const YamlNode& node, const std::string& name, ConfigErrors* errors) {
  HandlerEntry entry;
  entry.where = node.Where();
  entry.name = name;
  CommandOptions& command = entry.command;
  YamlNode plugin_options, environment;
  std::vector<std::string> reject_exit_codes = {"65"};
  bool payload_in_file = false;
  OptionSet set;
  set.Text({.path = "plugin", .what = "Path of a plug-in.", .why = "It is the handler."}, &entry.plugin);
  set.Subtree({.path = "options", .what = "The plug-in's own options.", .why = "See its documentation."},
              &plugin_options);
  set.Text({.path = "type", .what = "The type that the command handles.", .why = "Tasks of this type are run by it."},
           &entry.type);
  set.List({.path = "command", .what = "The program and its arguments; no shell.", .why = "It is the handler."},
           &command.command);
  set.Choice({.path = "payload",
              .what = "Where the program finds the payload.",
              .why = "file for programs that cannot read standard input."},
             &payload_in_file, {{false, "stdin"}, {true, "file"}});
  set.Text({.path = "directory",
            .what = "The folder that the program runs in.",
            .why = "For programs that look for files beside them."},
           &command.directory);
  set.Subtree({.path = "environment",
               .what = "Variables beside PATH, HOME, LANG, TZ, TMPDIR and PENSTOCK_*.",
               .why = "What the program needs."},
              &environment);
  set.Text({.path = "result_content_type", .what = "What standard output is.", .why = "For those who read the result."},
           &command.result_content_type);
  set.Size({.path = "result_max",
            .what = "Largest result; a larger one rejects the task.",
            .why = "The broker takes at most limits.result."},
           &command.result_max, 0, 16 << 20);
  set.List({.path = "reject_exit_codes",
            .what = "Exit codes that make a task dead at once.",
            .why = "For mistakes that no retry mends."},
           &reject_exit_codes);
  set.Duration({.path = "kill_grace",
                .what = "Time between SIGTERM and SIGKILL; at most 0.5 s when the worker ends.",
                .why = "For programs that clean up."},
               &command.kill_grace, absl::ZeroDuration(), absl::Minutes(10));
  set.Size(
      {.path = "memory_max", .what = "Address space of the program; 0: no limit.", .why = "To protect the machine."},
      &command.memory_max, 0, uint64_t{1} << 50);
  set.Integer({.path = "cpu_seconds_max",
               .what = "CPU time of the program, which then gets SIGXCPU; 0: no limit.",
               .why = "To protect the machine."},
              &command.cpu_seconds_max, 0, 30 * 86'400);
  set.Integer(
      {.path = "open_files_max", .what = "Open files of the program; 0: no limit.", .why = "To protect the machine."},
      &command.open_files_max, 0, 1'000'000);
  set.Integer({.path = "max_concurrency",
               .what = "Tasks of each type that run at once; 0: as many as slots.",
               .why = "To protect what the handler uses."},
              &entry.options.max_concurrency, 0, 1'000);
  set.ReadYaml(node, name, errors);
  command.payload_in_file = payload_in_file;
  auto wrong = [&](const std::string& what) { errors->Add({node.Where(), name, what}); };
  if (entry.plugin.empty() == command.command.empty()) wrong("set either plugin or command");
  if (!command.command.empty() && entry.type.empty()) wrong("a command needs the type that it handles");
  if (const std::string problem = ProblemOfName(entry.type); !entry.type.empty() && !problem.empty()) {
    wrong("type " + problem);
  }
  if (!entry.plugin.empty() && !entry.type.empty()) wrong("a plug-in names its types itself: remove type");
  command.reject_exit_codes.clear();
  for (const std::string& code : reject_exit_codes) {
    char* end = nullptr;
    const long value = strtol(code.c_str(), &end, 10);
    if (code.empty() || *end != 0 || value < 1 || value > 255) {
      wrong(fmt::format("reject_exit_codes: '{}' is no exit code from 1 to 255", code));
    } else {
      command.reject_exit_codes.push_back(static_cast<int>(value));
    }
  }
  if (environment.kind != YamlNode::Kind::kNull && environment.kind != YamlNode::Kind::kMap) {
    wrong("environment: write NAME: value lines");
  }
  for (const YamlEntry& variable : environment.entries)
    command.environment.emplace_back(variable.key, variable.value.text);
  if (plugin_options.kind != YamlNode::Kind::kNull && plugin_options.kind != YamlNode::Kind::kMap) {
    wrong("options: write name: value lines");
  }
  entry.options_json = plugin_options.kind == YamlNode::Kind::kMap ? ToJson(plugin_options).dump() : "{}";
  return entry;
}

}  // namespace

ConfigErrors DaemonOptions::Validate() {
  ConfigErrors errors;
  worker.labels.clear();
  if (labels_node.kind != YamlNode::Kind::kNull && labels_node.kind != YamlNode::Kind::kMap) {
    errors.Add({labels_node.Where(), "labels", "write name: value lines, for instance gpu: yes"});
  }
  for (const YamlEntry& label : labels_node.entries) {
    if (label.value.kind == YamlNode::Kind::kScalar) {
      worker.labels[label.key] = label.value.text;
    } else {
      errors.Add(
          {label.value.Where(), "labels", label.key + " must have a value, for instance " + label.key + ": yes"});
    }
  }
  if (absl::Status status = worker.Validate(); !status.ok()) {
    const std::string field = FieldOf(status);
    std::string problem(status.message());
    if (problem.starts_with(field + ": ")) problem.erase(0, field.size() + 2);
    errors.Add({"", field, problem});
  }
  if (absl::Status status = ValidateLogLevel(log.level); !status.ok())
    errors.Add({"", "log.level", std::string(status.message())});
  handlers.clear();
  if (handlers_node.kind == YamlNode::Kind::kNull) {
    errors.Add({"", "handlers",
                "name at least one plug-in or command in the configuration file; deploy/worker.yaml shows how"});
  } else if (handlers_node.kind != YamlNode::Kind::kList) {
    errors.Add({handlers_node.Where(), "handlers", "must be a list of plug-ins and commands"});
  }
  std::set<std::string> types;
  for (size_t i = 0; i < handlers_node.items.size(); ++i) {
    const std::string name = fmt::format("handlers[{}]", i);
    if (handlers_node.items[i].kind != YamlNode::Kind::kMap) {
      errors.Add({handlers_node.items[i].Where(), name, "must have plugin, or type and command"});
      continue;
    }
    handlers.push_back(ReadEntry(handlers_node.items[i], name, &errors));
    const std::string& type = handlers.back().type;
    if (!type.empty() && !types.insert(type).second) {
      errors.Add({handlers_node.items[i].Where(), name, fmt::format("type {} has a handler already", type)});
    }
  }
  return errors;
}

void DeclareOptions(DaemonOptions* options, OptionSet* set) {
  WorkerOptions& worker = options->worker;
  set->Text({.path = "broker",
             .what = "Address of the broker, as host:port.",
             .why = "Set it when the broker is on another machine.",
             .letter = 'b'},
            &worker.broker);
  set->Text({.path = "name",
             .what = "The worker's name for operators; empty: the program's name @ the machine's.",
             .why = "Set it when several workers run on a machine."},
            &worker.name);
  set->List({.path = "queues",
             .what = "The queues that tasks are taken from. Required.",
             .why = "Give queues with urgent tasks workers of their own."},
            &worker.queues);
  set->Subtree({.path = "labels",
                .what = "What this worker is or has, as name: value lines.",
                .why = "Tasks that ask for labels come only to workers that have all of them."},
               &options->labels_node);
  set->Integer({.path = "concurrency",
                .what = "Tasks that run at once.",
                .why = "As many as cores for computing, more for waiting."},
               &worker.concurrency, 1, 1'000);
  set->Integer({.path = "prefetch",
                .what = "Tasks taken beyond the free slots; -1: as many as slots, and more while tasks are short.",
                .why = "0 when tasks take long and another worker might start them sooner."},
               &worker.prefetch, -1, 64);
  set->Duration({.path = "lease",
                 .what = "How long the broker waits for a silent worker before others get its tasks.",
                 .why = "Shorter finds dead machines sooner; longer survives longer network cuts."},
                &worker.lease, absl::Seconds(2), absl::Hours(12));
  set->Duration({.path = "drain_grace",
                 .what = "How long running tasks may take to end after SIGTERM; the rest is handed back.",
                 .why = "Keep it below the service manager's stop timeout."},
                &worker.drain_grace, absl::ZeroDuration(), absl::Hours(24));
  set->Section("tls", "Encryption of the connection to the broker. Files are PEM.");
  set->Text({.path = "tls.ca",
             .what = "The authorities that the broker's certificate must come from; empty: no TLS.",
             .why = "Needed when the broker uses TLS."},
            &worker.ca_file);
  set->Text({.path = "tls.cert", .what = "This worker's certificate.", .why = "Needed when the broker asks for one."},
            &worker.cert_file);
  set->Text({.path = "tls.key", .what = "The certificate's private key.", .why = "Needed with tls.cert."},
            &worker.key_file);
  set->Section("log", "What the worker tells about itself, on standard error.");
  set->Text({.path = "log.level",
             .what = "trace, debug, info, warn, error or off; per component as in info,worker=debug.",
             .why = "debug to look closer."},
            &options->log.level);
  set->Choice({.path = "log.format", .what = "text, or json: one object a line.", .why = "json for log collectors."},
              &options->log.format, {"text", "json"});
  set->Text({.path = "log.file",
             .what = "A file to append to; empty: standard error.",
             .why = "Set it without a service manager that keeps the output."},
            &options->log.file);
  set->Subtree({.path = "handlers",
                .what = "The plug-ins and commands that handle tasks. Required.",
                .why = "It is what the worker is for."},
               &options->handlers_node);
}

}  // namespace penstock
