#include "common/logging.h"

#include <map>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/str_split.h"
#include "common/mutex.h"
#include "common/status.h"
#include "fmt/format.h"
#include "spdlog/pattern_formatter.h"
#include "spdlog/sinks/basic_file_sink.h"
#include "spdlog/sinks/stdout_sinks.h"

namespace penstock {
namespace {

struct Registry {
  Mutex mu;
  spdlog::sink_ptr sink ABSL_GUARDED_BY(mu) = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  spdlog::level::level_enum level ABSL_GUARDED_BY(mu) = spdlog::level::info;
  std::map<std::string, spdlog::level::level_enum, std::less<>> levels ABSL_GUARDED_BY(mu);
  std::map<std::string, std::shared_ptr<spdlog::logger>, std::less<>> loggers ABSL_GUARDED_BY(mu);
};

Registry& TheRegistry() {
  static Registry& registry = *new Registry;
  return registry;
}

// The message as a JSON string's inside, so that no text can forge a line or a field.
class EscapedMessage : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&, spdlog::memory_buf_t& out) override {
    for (char c : message.payload) {
      if (c == '"' || c == '\\') {
        out.push_back('\\');
        out.push_back(c);
      } else if (static_cast<unsigned char>(c) < 0x20) {
        fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned>(c));
      } else {
        out.push_back(c);
      }
    }
  }
  std::unique_ptr<custom_flag_formatter> clone() const override { return std::make_unique<EscapedMessage>(); }
};

// A message in one line: control characters are shown, not obeyed.
class OneLineMessage : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&, spdlog::memory_buf_t& out) override {
    for (char c : message.payload) {
      if (static_cast<unsigned char>(c) < 0x20 && c != '\t') {
        fmt::format_to(std::back_inserter(out), "\\x{:02x}", static_cast<unsigned>(c));
      } else {
        out.push_back(c);
      }
    }
  }
  std::unique_ptr<custom_flag_formatter> clone() const override { return std::make_unique<OneLineMessage>(); }
};

std::unique_ptr<spdlog::formatter> MakeFormatter(bool json) {
  auto formatter = std::make_unique<spdlog::pattern_formatter>(spdlog::pattern_time_type::utc);
  formatter->add_flag<EscapedMessage>('*').add_flag<OneLineMessage>('!');
  formatter->set_pattern(json ? R"({"time":"%Y-%m-%dT%H:%M:%S.%fZ","level":"%l","component":"%n","message":"%*"})"
                              : "%Y-%m-%dT%H:%M:%S.%eZ %-5l %n: %!");
  return formatter;
}

absl::StatusOr<spdlog::level::level_enum> ParseLevel(const std::string& text) {
  static const std::map<std::string, spdlog::level::level_enum> kLevels = {
      {"trace", spdlog::level::trace}, {"debug", spdlog::level::debug}, {"info", spdlog::level::info},
      {"warn", spdlog::level::warn},   {"error", spdlog::level::err},   {"off", spdlog::level::off}};
  auto found = kLevels.find(text);
  if (found == kLevels.end()) {
    return absl::InvalidArgumentError(
        fmt::format("log level: '{}' is none of trace, debug, info, warn, error, off", text));
  }
  return found->second;
}

struct Levels {
  spdlog::level::level_enum general = spdlog::level::info;
  std::map<std::string, spdlog::level::level_enum, std::less<>> by_component;
};

absl::StatusOr<Levels> ParseLevels(const std::string& text) {
  Levels levels;
  for (const std::string& part : std::vector<std::string>(absl::StrSplit(text, ',', absl::SkipEmpty()))) {
    const size_t equals = part.find('=');
    ASSIGN_OR_RETURN(const auto level, ParseLevel(equals == std::string::npos ? part : part.substr(equals + 1)));
    if (equals == std::string::npos) {
      levels.general = level;
    } else {
      levels.by_component[part.substr(0, equals)] = level;
    }
  }
  return levels;
}

}  // namespace

absl::Status ValidateLogLevel(const std::string& level) { return ParseLevels(level).status(); }

absl::Status SetUpLogging(const LogOptions& options) {
  if (options.format != "text" && options.format != "json") {
    return absl::InvalidArgumentError(fmt::format("log format: '{}' is neither text nor json", options.format));
  }
  ASSIGN_OR_RETURN(Levels levels, ParseLevels(options.level));
  spdlog::sink_ptr sink;
  if (options.file.empty()) {
    sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  } else {
    try {
      sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(options.file);
    } catch (const spdlog::spdlog_ex& error) {
      return absl::InvalidArgumentError(fmt::format("log file: {}", error.what()));
    }
  }
  sink->set_formatter(MakeFormatter(options.format == "json"));
  Registry& registry = TheRegistry();
  MutexLock lock(registry.mu);
  registry.sink = sink;
  registry.level = levels.general;
  registry.levels = std::move(levels.by_component);
  for (auto& [name, logger] : registry.loggers) {
    logger->sinks() = {sink};
    auto own = registry.levels.find(name);
    logger->set_level(own == registry.levels.end() ? registry.level : own->second);
  }
  return absl::OkStatus();
}

spdlog::logger& LogFor(std::string_view component) {
  Registry& registry = TheRegistry();
  MutexLock lock(registry.mu);
  auto found = registry.loggers.find(component);
  if (found != registry.loggers.end()) return *found->second;
  auto logger = std::make_shared<spdlog::logger>(std::string(component), registry.sink);
  auto own = registry.levels.find(component);
  logger->set_level(own == registry.levels.end() ? registry.level : own->second);
  logger->flush_on(spdlog::level::info);
  registry.loggers.emplace(component, logger);
  return *logger;
}

}  // namespace penstock
