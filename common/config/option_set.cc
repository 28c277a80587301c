#include "common/config/option_set.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "absl/status/statusor.h"
#include "common/config/value_text.h"
#include "common/status.h"
#include "common/text.h"
#include "common/units.h"
#include "fmt/format.h"
#include "fmt/ranges.h"

namespace penstock {
namespace {

[[noreturn]] void DieOfDeclaration(std::string_view path, std::string_view problem) {
  fmt::print(stderr, "option {} is declared wrongly: {}\n", path, problem);
  std::abort();
}

std::string FlagOf(std::string_view path) {
  std::string flag = "--" + std::string(path);
  std::replace(flag.begin(), flag.end(), '_', '-');
  return flag;
}

std::string EnvOf(std::string_view path) {
  std::string env = "PENSTOCK_";
  for (char c : path) {
    if (c == '.') {
      env += "__";
    } else {
      env += c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    }
  }
  return env;
}

// The other way round, for whatever begins with the prefix.
std::string PathOfVariable(std::string_view name) {
  name.remove_prefix(std::string_view("PENSTOCK_").size());
  std::string path;
  for (size_t i = 0; i < name.size(); ++i) {
    if (name.substr(i, 2) == "__") {
      path += '.';
      ++i;
    } else {
      path += name[i] >= 'A' && name[i] <= 'Z' ? static_cast<char>(name[i] - 'A' + 'a') : name[i];
    }
  }
  return path;
}

std::string_view LastPart(std::string_view path) {
  const size_t dot = path.rfind('.');
  return dot == std::string_view::npos ? path : path.substr(dot + 1);
}

std::vector<std::string> SplitList(std::string_view text) {
  std::vector<std::string> items;
  while (!text.empty()) {
    const size_t comma = std::min(text.find(','), text.size());
    std::string_view item = text.substr(0, comma);
    while (item.starts_with(' ')) item.remove_prefix(1);
    while (item.ends_with(' ')) item.remove_suffix(1);
    if (!item.empty()) items.emplace_back(item);
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return items;
}

absl::Status OutOfBounds(std::string_view text, bool small, std::string_view valid) {
  return absl::InvalidArgumentError(fmt::format("'{}' is too {}; valid: {}", text, small ? "small" : "large", valid));
}

// The first bounds that a number without any would be compared with are those of its type; saying them helps nobody.
template <class T>
std::string RangeText(T min, T max, std::string (*print)(T)) {
  if (max == std::numeric_limits<T>::max()) return print(min) + " or more";
  return print(min) + " to " + print(max);
}

std::string PrintInteger(int64_t value) { return std::to_string(value); }
std::string PrintNumber(double value) { return fmt::format("{}", value); }

}  // namespace

std::string_view Option::type_name() const {
  switch (type_) {
    case OptionType::kBool:
      return "true|false";
    case OptionType::kInteger:
      return "integer";
    case OptionType::kNumber:
      return "number";
    case OptionType::kSize:
      return "size";
    case OptionType::kDuration:
      return "duration";
    case OptionType::kText:
      return "text";
    case OptionType::kChoice:
      return "word";
    case OptionType::kList:
      return "list";
    case OptionType::kSubtree:
      return "section";
  }
  return "";
}

std::string Option::Yaml() const {
  if (type_ == OptionType::kSubtree) return "";
  if (type_ != OptionType::kList) return QuoteYaml(Text());
  std::string text;
  for (const std::string& item : items_()) text += (text.empty() ? "" : ", ") + QuoteYaml(item);
  return "[" + text + "]";
}

Option& OptionSet::Add(OptionText about, OptionType type) {
  const std::string& path = about.path;
  if (about.what.empty()) DieOfDeclaration(path, "it says not what it is for");
  if (path.empty() || path.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_.") != std::string::npos) {
    DieOfDeclaration(path, "a path has lower case letters, digits, '_' and '.'");
  }
  if (IsSection(path)) DieOfDeclaration(path, "it is the section of another option");
  for (const Option& other : options_) {
    if (other.about_.path == path || path.starts_with(other.about_.path + ".")) {
      DieOfDeclaration(path, "it collides with " + other.about_.path);
    }
    if (about.letter != 0 && about.letter == other.about_.letter) {
      DieOfDeclaration(path, "its letter is that of " + other.about_.path);
    }
  }
  Option& option = options_.emplace_back();
  if (type != OptionType::kSubtree) {
    option.flag_ = FlagOf(path);
    option.env_ = EnvOf(path);
  }
  option.about_ = std::move(about);
  option.type_ = type;
  return option;
}

void OptionSet::Bool(OptionText about, bool* value) {
  Option& option = Add(std::move(about), OptionType::kBool);
  option.set_ = [value](const std::vector<std::string>& texts) {
    const std::string& text = texts[0];
    const bool yes = text == "true" || text == "yes" || text == "on" || text == "1";
    if (!yes && text != "false" && text != "no" && text != "off" && text != "0") {
      return absl::InvalidArgumentError(fmt::format("'{}' is neither true nor false", text));
    }
    *value = yes;
    return absl::OkStatus();
  };
  option.print_ = [value] { return std::string(*value ? "true" : "false"); };
  option.default_text_ = option.Text();
}

void OptionSet::AddInteger(OptionText about, int64_t min, int64_t max, std::function<void(int64_t)> set,
                           std::function<int64_t()> get) {
  Option& option = Add(std::move(about), OptionType::kInteger);
  option.valid_ = RangeText(min, max, PrintInteger);
  option.set_ = [min, max, set = std::move(set), valid = option.valid_](const std::vector<std::string>& texts) {
    const std::string& text = texts[0];
    int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (end != text.data() + text.size() || error == std::errc::invalid_argument) {
      return absl::InvalidArgumentError(fmt::format("'{}' is no whole number; valid: {}", text, valid));
    }
    const bool overflow = error == std::errc::result_out_of_range;
    if (overflow || number < min || number > max) {
      return OutOfBounds(text, overflow ? text.starts_with('-') : number < min, valid);
    }
    set(number);
    return absl::OkStatus();
  };
  option.print_ = [get = std::move(get)] { return PrintInteger(get()); };
  option.default_text_ = option.Text();
}

void OptionSet::Number(OptionText about, double* value, double min, double max) {
  Option& option = Add(std::move(about), OptionType::kNumber);
  option.valid_ = RangeText(min, max, PrintNumber);
  option.set_ = [value, min, max, valid = option.valid_](const std::vector<std::string>& texts) {
    const std::string& text = texts[0];
    double number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (end != text.data() + text.size() || error != std::errc() || !std::isfinite(number)) {
      return absl::InvalidArgumentError(fmt::format("'{}' is no number; valid: {}", text, valid));
    }
    if (number < min || number > max) return OutOfBounds(text, number < min, valid);
    *value = number;
    return absl::OkStatus();
  };
  option.print_ = [value] { return PrintNumber(*value); };
  option.default_text_ = option.Text();
}

void OptionSet::Size(OptionText about, uint64_t* value, uint64_t min, uint64_t max) {
  Option& option = Add(std::move(about), OptionType::kSize);
  option.valid_ = RangeText(min, max, ExactSize);
  option.set_ = [value, min, max, valid = option.valid_](const std::vector<std::string>& texts) -> absl::Status {
    ASSIGN_OR_RETURN(const uint64_t size, ParseSize(texts[0]));
    if (size < min || size > max) return OutOfBounds(texts[0], size < min, valid);
    *value = size;
    return absl::OkStatus();
  };
  option.print_ = [value] { return ExactSize(*value); };
  option.default_text_ = option.Text();
}

void OptionSet::Size(OptionText about, std::optional<uint64_t>* value, uint64_t min, uint64_t max, std::string word) {
  Option& option = Add(std::move(about), OptionType::kSize);
  option.valid_ = word + " or " + RangeText(min, max, ExactSize);
  option.set_ = [value, min, max, word, valid = option.valid_](const std::vector<std::string>& texts) -> absl::Status {
    if (texts[0] == word) {
      value->reset();
      return absl::OkStatus();
    }
    const absl::StatusOr<uint64_t> size = ParseSize(texts[0]);
    if (!size.ok()) {
      return absl::InvalidArgumentError(fmt::format("{}, or {}", ToStd(size.status().message()), word));
    }
    if (*size < min || *size > max) return OutOfBounds(texts[0], *size < min, valid);
    *value = *size;
    return absl::OkStatus();
  };
  option.print_ = [value, word] { return *value ? ExactSize(**value) : word; };
  option.default_text_ = option.Text();
}

void OptionSet::Duration(OptionText about, absl::Duration* value, absl::Duration min, absl::Duration max) {
  Option& option = Add(std::move(about), OptionType::kDuration);
  option.valid_ = ExactDuration(min) + " to " + ExactDuration(max);
  option.set_ = [value, min, max, valid = option.valid_](const std::vector<std::string>& texts) -> absl::Status {
    ASSIGN_OR_RETURN(const absl::Duration duration, ParseDuration(texts[0]));
    if (duration < min || duration > max) return OutOfBounds(texts[0], duration < min, valid);
    *value = duration;
    return absl::OkStatus();
  };
  option.print_ = [value] { return ExactDuration(*value); };
  option.default_text_ = option.Text();
}

void OptionSet::Text(OptionText about, std::string* value) {
  Option& option = Add(std::move(about), OptionType::kText);
  option.set_ = [value](const std::vector<std::string>& texts) {
    *value = texts[0];
    return absl::OkStatus();
  };
  option.print_ = [value] { return *value; };
  option.default_text_ = option.Text();
}

void OptionSet::Choice(OptionText about, std::string* value, std::vector<std::string> choices) {
  AddChoice(
      std::move(about), choices, [value, choices](size_t index) { *value = choices[index]; },
      [value] { return *value; });
}

void OptionSet::AddChoice(OptionText about, std::vector<std::string> choices, std::function<void(size_t)> set,
                          std::function<std::string()> get) {
  Option& option = Add(std::move(about), OptionType::kChoice);
  option.valid_ = fmt::format("{}", fmt::join(choices, ", "));
  option.set_ = [choices = std::move(choices), set = std::move(set),
                 valid = option.valid_](const std::vector<std::string>& texts) {
    const auto found = std::find(choices.begin(), choices.end(), texts[0]);
    if (found == choices.end()) {
      return absl::InvalidArgumentError(fmt::format("'{}' is none of {}", texts[0], valid));
    }
    set(static_cast<size_t>(found - choices.begin()));
    return absl::OkStatus();
  };
  option.print_ = std::move(get);
  option.default_text_ = option.Text();
}

void OptionSet::List(OptionText about, std::vector<std::string>* value) {
  Option& option = Add(std::move(about), OptionType::kList);
  option.set_ = [value](const std::vector<std::string>& texts) {
    *value = texts;
    return absl::OkStatus();
  };
  option.print_ = [value] { return fmt::format("{}", fmt::join(*value, ",")); };
  option.items_ = [value] { return *value; };
  option.default_text_ = option.Text();
}

void OptionSet::Subtree(OptionText about, YamlNode* value) {
  Option& option = Add(std::move(about), OptionType::kSubtree);
  option.subtree_ = value;
  option.print_ = [] { return std::string(); };
}

Option* OptionSet::FindMutable(std::string_view path) {
  for (Option& option : options_) {
    if (option.about_.path == path) return &option;
  }
  return nullptr;
}

const Option* OptionSet::Find(std::string_view path) const { return const_cast<OptionSet*>(this)->FindMutable(path); }

bool OptionSet::IsSection(std::string_view path) const {
  const std::string start = std::string(path) + ".";
  return std::any_of(options_.begin(), options_.end(),
                     [&](const Option& option) { return option.about_.path.starts_with(start); });
}

void OptionSet::ReadYaml(const YamlNode& map, std::string_view prefix, ConfigErrors* errors) {
  if (map.kind == YamlNode::Kind::kNull) return;
  if (map.kind != YamlNode::Kind::kMap) {
    errors->Add({map.Where(), std::string(prefix), "options are expected here, each as 'name: value'"});
    return;
  }
  ReadMap(map, "", prefix, errors);
}

void OptionSet::ReadMap(const YamlNode& map, const std::string& section, std::string_view prefix,
                        ConfigErrors* errors) {
  for (const YamlEntry& entry : map.entries) {
    const std::string path = section.empty() ? entry.key : section + "." + entry.key;
    if (Option* option = FindMutable(path)) {
      ReadValue(entry.value, prefix, *option, errors);
    } else if (!IsSection(path)) {
      const std::string where = map.file == nullptr ? "" : fmt::format("{}:{}", *map.file, entry.line);
      errors->Add(
          {where, prefix.empty() ? path : fmt::format("{}.{}", prefix, path), "no such option" + SuggestKey(path)});
    } else if (entry.value.kind == YamlNode::Kind::kMap) {
      ReadMap(entry.value, path, prefix, errors);
    } else if (entry.value.kind != YamlNode::Kind::kNull) {  // a section may be empty
      errors->Add({entry.value.Where(), path, "a section; its options stand below it, indented"});
    }
  }
}

void OptionSet::ReadValue(const YamlNode& value, std::string_view prefix, Option& option, ConfigErrors* errors) {
  auto refuse = [&](std::string problem) {
    const std::string& path = option.about_.path;
    errors->Add({value.Where(), prefix.empty() ? path : fmt::format("{}.{}", prefix, path), std::move(problem)});
  };
  if (option.type_ == OptionType::kSubtree) {
    *option.subtree_ = value;
    option.origin_ = {OptionSource::kFile, value.Where()};
    return;
  }
  std::vector<std::string> texts;
  if (value.kind == YamlNode::Kind::kScalar) {
    texts = option.type_ == OptionType::kList ? SplitList(value.text) : std::vector<std::string>{value.text};
  } else if (value.kind == YamlNode::Kind::kNull) {
    return refuse("has no value; write one (\"\" for an empty text), or delete the line for the default");
  } else if (value.kind == YamlNode::Kind::kList && option.type_ == OptionType::kList) {
    for (const YamlNode& item : value.items) {
      if (item.kind != YamlNode::Kind::kScalar) return refuse("every item of the list must be one value");
      texts.push_back(item.text);
    }
  } else {
    return refuse(option.type_ == OptionType::kList ? "a list is expected" : "one value is expected");
  }
  const absl::Status status = option.set_(texts);
  if (!status.ok()) return refuse(std::string(status.message()));
  option.origin_ = {OptionSource::kFile, value.Where()};
}

std::string OptionSet::NearestPath(const std::string& path) const {
  std::vector<std::string> paths;
  for (const Option& option : options_) {
    // The right word in the wrong section is likelier than a slip of the pen.
    if (LastPart(option.about_.path) == LastPart(path)) return option.about_.path;
    paths.push_back(option.about_.path);
  }
  for (const auto& [section, what] : sections_) paths.push_back(section);
  // A section that is right makes none of its options nearer.
  const std::string section = path.substr(0, path.find('.') + 1);
  std::vector<std::string> beside;
  for (const std::string& known : paths) {
    if (!section.empty() && known.starts_with(section)) beside.push_back(known.substr(section.size()));
  }
  std::string nearest = beside.empty() ? NearestOf(path, paths) : NearestOf(path.substr(section.size()), beside);
  if (!nearest.empty() && !beside.empty()) nearest = section + nearest;
  if (nearest.empty()) {
    // A section of no meaning, or none: look at the last word alone.
    std::vector<std::string> words;
    for (const Option& option : options_) words.emplace_back(LastPart(option.about_.path));
    const std::string word = NearestOf(LastPart(path), words);
    for (const Option& option : options_) {
      if (!word.empty() && nearest.empty() && LastPart(option.about_.path) == word) nearest = option.about_.path;
    }
  }
  return nearest;
}

std::string OptionSet::SuggestKey(const std::string& path) const {
  const std::string nearest = NearestPath(path);
  return nearest.empty() ? "" : "; did you mean " + nearest + "?";
}

std::string OptionSet::SuggestFlag(std::string_view flag) const {
  std::vector<std::string> flags;
  for (const Option& option : options_) {
    if (!option.flag_.empty()) flags.push_back(option.flag_);
  }
  const std::string nearest = NearestOf(flag, flags);
  return nearest.empty() ? "" : "; did you mean " + nearest + "?";
}

void OptionSet::ReadEnvironment(const std::map<std::string, std::string>& environment, ConfigErrors* errors,
                                std::vector<std::string>* warnings) {
  std::vector<std::string> names;
  for (Option& option : options_) {
    if (option.env_.empty()) continue;
    names.push_back(option.env_);
    const auto found = environment.find(option.env_);
    if (found == environment.end()) continue;
    const absl::Status status = option.set_(
        option.type_ == OptionType::kList ? SplitList(found->second) : std::vector<std::string>{found->second});
    if (status.ok()) {
      option.origin_ = {OptionSource::kEnvironment, option.env_};
    } else {
      errors->Add({option.env_, option.about_.path, std::string(status.message())});
    }
  }
  for (auto found = environment.lower_bound("PENSTOCK_");
       found != environment.end() && found->first.starts_with("PENSTOCK_"); ++found) {
    // Without a section it may be anything, for instance what Kubernetes sets for a service named penstock.
    if (found->first.find("__") == std::string::npos) continue;
    if (std::find(names.begin(), names.end(), found->first) != names.end()) continue;
    // As the same word in a file would be looked for: what all variables begin with makes none of them nearer.
    const std::string path = PathOfVariable(found->first);
    const Option* nearest = Find(NearestPath(path));
    if (nearest != nullptr && !nearest->env_.empty()) {
      warnings->push_back(fmt::format("{} is no option; did you mean {}?", found->first, nearest->env_));
    } else if (sections_.contains(path.substr(0, path.find('.')))) {
      warnings->push_back(fmt::format("{} is no option", found->first));
    }
  }
}

void OptionSet::ReadFlag(const std::string& path, const std::vector<std::string>& values, ConfigErrors* errors) {
  Option* option = FindMutable(path);
  if (option == nullptr || values.empty()) return;
  std::vector<std::string> texts;
  if (option->type_ == OptionType::kList) {
    for (const std::string& value : values) {
      for (std::string& item : SplitList(value)) texts.push_back(std::move(item));
    }
  } else {
    texts = {values.back()};
  }
  const absl::Status status = option->set_(texts);
  if (status.ok()) {
    option->origin_ = {OptionSource::kFlag, option->flag_};
  } else {
    errors->Add({option->flag_, path, std::string(status.message())});
  }
}

}  // namespace penstock
