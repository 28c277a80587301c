#include "client/cli/task_filter_options.h"

#include <algorithm>

#include "absl/strings/str_join.h"
#include "client/cli/output.h"
#include "client/cli/proto_time.h"
#include "client/cli/task_view.h"
#include "client/proto_time.h"
#include "fmt/format.h"

namespace penstock::cli {

void AddStateOption(CLI::App& command, TaskFilterOptions* out, const std::vector<v1::TaskState>& states) {
  std::vector<std::string> words;
  words.reserve(states.size());
  for (v1::TaskState state : states) words.push_back(StateWord(state));
  const std::string joined = absl::StrJoin(words, "|");
  command
      .add_option_function<std::vector<std::string>>(
          "--state",
          [out, words, states](const std::vector<std::string>& given) {
            for (const std::string& word : given) {
              const auto at = std::find(words.begin(), words.end(), word);
              if (at != words.end()) out->states.push_back(states[static_cast<size_t>(at - words.begin())]);
            }
          },
          "Only tasks in this state; several with commas, or the option several times")
      ->check([words, joined](const std::string& word) {
        return std::find(words.begin(), words.end(), word) == words.end() ? "'" + word + "' is none of " + joined
                                                                          : std::string();
      })
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name(joined);
}

void AddTaskFilterOptions(CLI::App& command, TaskFilterOptions* out) {
  AddText(command, "-q,--queue", &out->queue, "QUEUE", "Only tasks of this queue");
  AddText(command, "--type", &out->type, "TYPE", "Only tasks of this type");
  AddText(command, "--tag", &out->tag, "TAG", "Only tasks with this tag (finished ones have lost theirs)");
  AddText(command, "--key", &out->key, "KEY", "Only tasks with this FIFO key");
  AddText(command, "--group", &out->group, "GROUP", "Only tasks of this group");
  AddMoment(command, "--created-after", &out->created_after,
            "Only tasks enqueued then or later; a time, or how long ago: 2h");
  AddMoment(command, "--created-before", &out->created_before, "Only tasks enqueued before then");
  AddText(command, "--error", &out->error, "TEXT",
          "Only tasks with this text in the type or message of the last attempt's error");
  AddText(command, "--where", &out->where, "CONDITION",
          "Only tasks whose payload is JSON and fits, for instance 'payload.customer == 42' (docs/filters.md)");
}

v1::TaskFilter MakeFilter(const TaskFilterOptions& options, const std::string& queue, absl::Time now) {
  v1::TaskFilter filter;
  filter.set_queue(queue);
  for (v1::TaskState state : options.states) filter.add_states(state);
  filter.set_type(options.type);
  filter.set_tag(options.tag);
  filter.set_key(options.key);
  filter.set_group(options.group);
  if (options.created_after) SetProto(options.created_after->At(now), filter.mutable_created_from());
  if (options.created_before) SetProto(options.created_before->At(now), filter.mutable_created_before());
  filter.set_error(options.error);
  filter.set_where(options.where);
  return filter;
}

std::string Describe(const v1::TaskFilter& filter) {
  std::vector<std::string> parts;
  std::vector<std::string> states;
  for (int state : filter.states()) states.push_back(StateWord(static_cast<v1::TaskState>(state)));
  if (!states.empty()) parts.push_back(absl::StrJoin(states, " or "));
  const auto add = [&](std::string_view what, const std::string& value) {
    if (!value.empty()) parts.push_back(fmt::format("{} {}", what, Printable(value)));
  };
  const auto add_time = [&](std::string_view what, bool is_set, const google::protobuf::Timestamp& time) {
    if (is_set) add(what, absl::FormatTime("%Y-%m-%dT%H:%M:%E*SZ", ToTime(time), absl::UTCTimeZone()));
  };
  add("of type", filter.type());
  add("with tag", filter.tag());
  add("with key", filter.key());
  add("of group", filter.group());
  add_time("created from", filter.has_created_from(), filter.created_from());
  add_time("created before", filter.has_created_before(), filter.created_before());
  add("with error", filter.error());
  add("where", filter.where());
  return parts.empty() ? "all" : absl::StrJoin(parts, ", ");
}

bool IsDetailed(const TaskFilterOptions& options) {
  return !options.tag.empty() || !options.key.empty() || !options.group.empty() || options.created_after ||
         options.created_before || !options.error.empty() || !options.where.empty();
}

}  // namespace penstock::cli
