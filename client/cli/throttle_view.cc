#include "client/cli/throttle_view.h"

#include "absl/strings/str_join.h"
#include "client/cli/output.h"
#include "client/cli/proto_time.h"
#include "common/units.h"
#include "fmt/format.h"

namespace penstock::cli {
namespace {

std::string PerText(v1::ThrottlePer per) {
  switch (per) {
    case v1::THROTTLE_PER_QUEUE:
      return "queue";
    case v1::THROTTLE_PER_TYPE:
      return "type";
    case v1::THROTTLE_PER_GROUP:
      return "group";
    case v1::THROTTLE_PER_KEY:
      return "key";
    default:
      return "all";
  }
}

std::string RateText(const v1::ThrottleRate& rate) {
  return fmt::format("{}/{}", FormatCount(rate.tasks()), penstock::FormatDuration(ToDuration(rate.period())));
}

std::string NamesText(const google::protobuf::RepeatedPtrField<std::string>& names) {
  return names.empty() ? "all" : absl::StrJoin(names, ", ");
}

std::string StateText(const v1::ThrottleMeter& meter) {
  switch (meter.state()) {
    case v1::METER_STATE_FULL:
      return "full";
    case v1::METER_STATE_RATE:
      return "rate";
    case v1::METER_STATE_COOLED:
      return "cooled";
    default:
      return "open";
  }
}

}  // namespace

std::string RenderThrottle(const CommandContext& context, const v1::Throttle& throttle) {
  const absl::Time now = context.Now();
  std::string text;
  const auto fact = [&](std::string_view label, const std::string& value) {
    text += fmt::format("{:<11} {}\n", label, value);
  };
  fact("throttle", Paint(throttle.name(), Style::kBold, context.Color()));
  if (!throttle.note().empty()) fact("note", Printable(throttle.note()));
  fact("queues", NamesText(throttle.queues()));
  fact("types", NamesText(throttle.types()));
  fact("per", PerText(throttle.per()));
  if (throttle.max_running() > 0) {
    fact("max running",
         fmt::format("{}, {} run", FormatCount(throttle.max_running()), FormatCount(throttle.running())));
  }
  if (throttle.has_rate()) {
    fact("rate", fmt::format("{}, {} at once", RateText(throttle.rate()), FormatCount(throttle.rate().burst())));
  }
  fact("created", RelativeAndExact(ToTime(throttle.create_time()), now));
  fact("changed", RelativeAndExact(ToTime(throttle.update_time()), now));
  if (throttle.meters().empty()) return text;
  Table table({{.title = "METER", .shrink_to = 12},
               {.title = "RUNNING", .right = true},
               {.title = "AVAILABLE", .right = true},
               {.title = "WAITING", .right = true},
               {.title = "STATE"},
               {.title = "OPENS"}});
  for (const v1::ThrottleMeter& meter : throttle.meters()) {
    std::string scope = meter.scope();
    if (scope.empty()) scope = throttle.per() <= v1::THROTTLE_PER_ALL ? "all" : "?";
    const std::string state = StateText(meter);
    table.AddRow({Cell(scope, Style::kBold), throttle.max_running() > 0 ? FormatCount(meter.running()) : "-",
                  throttle.has_rate() ? std::to_string(meter.available()) : "-", FormatCount(meter.waiting()),
                  Cell(state, state == "open" ? Style::kPlain : Style::kYellow),
                  meter.has_open_time() ? Relative(ToTime(meter.open_time()), now) : "-"});
  }
  text += "\n" + table.Render(context.MakeTableOptions());
  if (throttle.more_meters()) text += "and more\n";
  return text;
}

std::vector<Column> ThrottleColumns() {
  return {{.title = "NAME", .shrink_to = 12},
          {.title = "QUEUES", .shrink_to = 10, .optional = 2},
          {.title = "TYPES", .shrink_to = 10, .optional = 1},
          {.title = "PER"},
          {.title = "MAX", .right = true},
          {.title = "RUNNING", .right = true},
          {.title = "RATE", .right = true},
          {.title = "BURST", .right = true, .optional = 3},
          {.title = "WAITING METERS", .right = true}};
}

std::vector<Cell> ThrottleCells(const v1::Throttle& throttle) {
  const bool caps = throttle.max_running() > 0;
  return {Cell(throttle.name(), Style::kBold),
          NamesText(throttle.queues()),
          NamesText(throttle.types()),
          PerText(throttle.per()),
          caps ? FormatCount(throttle.max_running()) : "-",
          caps ? FormatCount(throttle.running()) : "-",
          throttle.has_rate() ? RateText(throttle.rate()) : "-",
          throttle.has_rate() ? FormatCount(throttle.rate().burst()) : "-",
          Cell(FormatCount(throttle.waiting_meters()), throttle.waiting_meters() > 0 ? Style::kYellow : Style::kPlain)};
}

}  // namespace penstock::cli
