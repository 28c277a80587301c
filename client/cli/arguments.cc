#include "client/cli/arguments.h"

#include <charconv>
#include <functional>

#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "common/status.h"
#include "common/text.h"
#include "common/units.h"
#include "fmt/format.h"

namespace penstock::cli {
namespace {

// An option whose value `parse` understands.
template <class T>
CLI::Option* AddParsed(CLI::App& app, const std::string& name, std::optional<T>* out, const std::string& type,
                       const std::string& help, std::function<absl::StatusOr<T>(const std::string&)> parse) {
  const auto check = [parse](const std::string& text) {
    const absl::StatusOr<T> value = parse(text);
    return value.ok() ? std::string() : std::string(value.status().message());
  };
  return app
      .add_option_function<std::string>(
          name, [parse, out](const std::string& text) { *out = *parse(text); }, help)
      ->check(check)
      ->type_name(type);
}

}  // namespace

CLI::App& AddCommand(CLI::App& parent, const std::string& name, const std::string& help, const std::string& examples) {
  CLI::App& command = *parent.add_subcommand(name, help);
  command.footer(examples);
  return command;
}

CLI::Option* AddDuration(CLI::App& app, const std::string& name, std::optional<absl::Duration>* out,
                         const std::string& help, absl::Duration min) {
  return AddParsed<absl::Duration>(
      app, name, out, "DURATION", help, [min](const std::string& text) -> absl::StatusOr<absl::Duration> {
        ASSIGN_OR_RETURN(const absl::Duration value, ParseDuration(text));
        if (value >= min) return value;
        return absl::InvalidArgumentError(
            fmt::format("must be at least {}, is {}", penstock::FormatDuration(min), text));
      });
}

CLI::Option* AddTime(CLI::App& app, const std::string& name, std::optional<absl::Time>* out, const std::string& help) {
  return AddParsed<absl::Time>(app, name, out, "TIME", help, [](const std::string& text) -> absl::StatusOr<absl::Time> {
    absl::Time time;
    std::string error;
    if (absl::ParseTime(absl::RFC3339_full, text, &time, &error)) return time;
    return absl::InvalidArgumentError(
        fmt::format("'{}' is no time; write for instance 2026-11-22T15:04:05Z or 2026-11-22T15:04:05+01:00", text));
  });
}

CLI::Option* AddMoment(CLI::App& app, const std::string& name, std::optional<Moment>* out, const std::string& help) {
  return AddParsed<Moment>(app, name, out, "TIME", help, [](const std::string& text) -> absl::StatusOr<Moment> {
    Moment moment;
    absl::Time time;
    std::string error;
    if (absl::ParseTime(absl::RFC3339_full, text, &time, &error)) {
      moment.time = time;
      return moment;
    }
    const auto ago = ParseDuration(text);
    if (!ago.ok()) {
      return absl::InvalidArgumentError(
          fmt::format("'{}' is neither a time nor how long ago; write for instance 2026-11-22T15:04:05Z or 2h", text));
    }
    moment.ago = *ago;
    return moment;
  });
}

CLI::Option* AddRate(CLI::App& app, const std::string& name, std::optional<Rate>* out, const std::string& help) {
  static constexpr uint32_t kTasksMax = 1'000'000;
  return AddParsed<Rate>(app, name, out, "TASKS/PERIOD", help, [](const std::string& text) -> absl::StatusOr<Rate> {
    const absl::Status wrong = absl::InvalidArgumentError(
        fmt::format("'{}' is not TASKS/PERIOD, for instance 100/s; at most {} in 1ms to 24h", text, kTasksMax));
    const size_t slash = text.find('/');
    if (slash == std::string::npos || slash + 1 == text.size()) return wrong;
    Rate rate;
    if (!absl::SimpleAtoi(text.substr(0, slash), &rate.tasks) || rate.tasks == 0 || rate.tasks > kTasksMax) {
      return wrong;
    }
    std::string period = text.substr(slash + 1);
    if (period[0] < '0' || period[0] > '9') period = "1" + period;
    const auto duration = ParseDuration(period);
    if (!duration.ok() || *duration < absl::Milliseconds(1) || *duration > absl::Hours(24)) return wrong;
    rate.period = *duration;
    return rate;
  });
}

CLI::Option* AddNumber(CLI::App& app, const std::string& name, std::optional<int>* out, int min, int max,
                       const std::string& help) {
  return AddParsed<int>(app, name, out, "NUMBER", help, [min, max](const std::string& text) -> absl::StatusOr<int> {
    int value = 0;
    if (absl::SimpleAtoi(text, &value) && value >= min && value <= max) return value;
    return absl::InvalidArgumentError(fmt::format("'{}' is no number from {} to {}", text, min, max));
  });
}

CLI::Option* AddCount(CLI::App& app, const std::string& name, std::optional<uint64_t>* out, const std::string& help) {
  return AddParsed<uint64_t>(app, name, out, "NUMBER", help, [](const std::string& text) -> absl::StatusOr<uint64_t> {
    uint64_t value = 0;
    if (absl::SimpleAtoi(text, &value)) return value;
    return absl::InvalidArgumentError(fmt::format("'{}' is no whole number from 0", text));
  });
}

CLI::Option* AddReal(CLI::App& app, const std::string& name, std::optional<double>* out, double min, double max,
                     const std::string& help) {
  return AddParsed<double>(
      app, name, out, "NUMBER", help, [min, max](const std::string& text) -> absl::StatusOr<double> {
        double value = 0;
        if (absl::SimpleAtod(text, &value) && value >= min && value <= max) return value;
        return absl::InvalidArgumentError(fmt::format("'{}' is no number from {} to {}", text, min, max));
      });
}

CLI::Option* AddText(CLI::App& app, const std::string& name, std::string* out, const std::string& type,
                     const std::string& help) {
  return app.add_option(name, *out, help)->type_name(type);
}

CLI::Option* AddTexts(CLI::App& app, const std::string& name, std::vector<std::string>* out, const std::string& type,
                      const std::string& help) {
  return app.add_option(name, *out, help)->type_name(type)->allow_extra_args(false);
}

CLI::Option* AddPairs(CLI::App& app, const std::string& name, std::map<std::string, std::string>* out,
                      const std::string& help) {
  return app
      .add_option_function<std::vector<std::string>>(
          name,
          [out](const std::vector<std::string>& texts) {
            for (const std::string& text : texts) {
              const size_t equals = text.find('=');
              (*out)[text.substr(0, equals)] = text.substr(equals + 1);
            }
          },
          help)
      ->check([](const std::string& text) {
        const size_t equals = text.find('=');
        return equals == std::string::npos || equals == 0 ? "'" + text + "' is not KEY=VALUE" : std::string();
      })
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
}

CLI::Option* AddNames(CLI::App& app, const std::string& type, std::vector<std::string>* out, const std::string& help) {
  return app.add_option(type, *out, help)->type_name(type)->required();
}

void AddPageOptions(CLI::App& app, PageOptions* out) {
  const auto at_least_0 = [](const std::string& text) {
    int value = 0;
    const bool ok = absl::SimpleAtoi(text, &value) && value >= 0;
    return ok ? std::string() : fmt::format("'{}' is no number from 0 on", text);
  };
  app.add_option("--limit", out->limit, "Print at most this many; 0: all")
      ->check(at_least_0)
      ->type_name("NUMBER")
      ->default_str("100");
  AddText(app, "--page-token", &out->page_token, "TOKEN", "Go on where an earlier list ended: its next_page_token");
}

}  // namespace penstock::cli
