#ifndef PENSTOCK_COMMON_CONFIG_OPTION_SET_H_
#define PENSTOCK_COMMON_CONFIG_OPTION_SET_H_

// The options of a program. Each is declared once, bound to the variable that holds its value; the name of its flag
// (--limits.error-text) and of its environment variable (PENSTOCK_LIMITS__ERROR_TEXT) follow from its path in the file
// (limits.error_text). The variable's value at the declaration is the default.
//
//   OptionSet set;
//   set.Section("limits", "What the broker accepts.");
//   set.Size({.path = "limits.payload", .what = "Largest payload of a task.", .why = "..."}, &limits.payload, 1, 16 <<
//   20);
//
// The same declarations read the entries of a structured section (ReadYaml with the entry's node), so that a list of
// handlers is checked like the rest. Not thread-safe. The variables must outlive the set. A declaration that
// contradicts another ends the process: it is a mistake in the program.

#include <concepts>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/config/config_errors.h"
#include "common/config/yaml_node.h"

namespace penstock {

struct OptionText {
  std::string path = {};  // lower case and '_', sections divided by '.'
  std::string what = {};  // one sentence
  std::string why = {};   // one sentence: why one would change it
  char letter = 0;        // a second, short flag
  bool limit = false;     // listed among the limits
};

enum class OptionType { kBool, kInteger, kNumber, kSize, kDuration, kText, kChoice, kList, kSubtree };

enum class OptionSource { kDefault, kFile, kEnvironment, kFlag };

struct OptionOrigin {
  OptionSource source = OptionSource::kDefault;
  // "default", "broker.yaml:12", "PENSTOCK_LIMITS__PAYLOAD" or "--limits.payload".
  std::string where = "default";
};

class Option {
 public:
  const OptionText& about() const { return about_; }
  OptionType type() const { return type_; }
  // "size", "duration", ...
  std::string_view type_name() const;
  // Empty for a subtree, which only a file can hold.
  const std::string& flag() const { return flag_; }
  const std::string& env() const { return env_; }
  // What is valid: "1 KiB to 16 MiB", "auto, on, off". Empty: anything of the type.
  const std::string& valid() const { return valid_; }
  const std::string& default_text() const { return default_text_; }
  // The value, as default_text: readable and exact, not quoted.
  std::string Text() const { return print_(); }
  // The value as YAML in one line. Empty for a subtree.
  std::string Yaml() const;
  const OptionOrigin& origin() const { return origin_; }
  // The node of a subtree, else null.
  const YamlNode* subtree() const { return subtree_; }

 private:
  friend class OptionSet;

  OptionText about_;
  OptionType type_ = OptionType::kText;
  std::string flag_;
  std::string env_;
  std::string valid_;
  std::string default_text_;
  OptionOrigin origin_;
  // Sets the variable; exactly one text unless it is a list. The error says what is wrong with the value.
  std::function<absl::Status(const std::vector<std::string>&)> set_;
  std::function<std::string()> print_;
  std::function<std::vector<std::string>()> items_;  // of a list
  YamlNode* subtree_ = nullptr;
};

class OptionSet {
 public:
  OptionSet() = default;
  OptionSet(const OptionSet&) = delete;
  OptionSet& operator=(const OptionSet&) = delete;

  // What the options below `path` are about, for help and commented files.
  void Section(std::string path, std::string what) { sections_[std::move(path)] = std::move(what); }

  // true, yes, on, 1 or false, no, off, 0.
  void Bool(OptionText about, bool* value);
  template <std::integral I>
  void Integer(OptionText about, I* value, int64_t min, int64_t max) {
    AddInteger(
        std::move(about), min, max, [value](int64_t n) { *value = static_cast<I>(n); },
        [value] { return static_cast<int64_t>(*value); });
  }
  void Number(OptionText about, double* value, double min, double max);
  void Size(OptionText about, uint64_t* value, uint64_t min, uint64_t max);
  // A size, or a word for "none" (for instance "auto").
  void Size(OptionText about, std::optional<uint64_t>* value, uint64_t min, uint64_t max, std::string word);
  void Duration(OptionText about, absl::Duration* value, absl::Duration min, absl::Duration max);
  void Text(OptionText about, std::string* value);
  void Choice(OptionText about, std::string* value, std::vector<std::string> choices);
  template <class E>
  void Choice(OptionText about, E* value, std::vector<std::pair<E, std::string>> choices) {
    std::vector<std::string> names;
    for (const auto& choice : choices) names.push_back(choice.second);
    AddChoice(
        std::move(about), std::move(names), [value, choices](size_t index) { *value = choices[index].first; },
        [value, choices] {
          for (const auto& [candidate, name] : choices) {
            if (candidate == *value) return name;
          }
          return std::string();
        });
  }
  // In one text, items are divided by commas.
  void List(OptionText about, std::vector<std::string>* value);
  // A part of the file whose form is the program's own business; it reports what is wrong by the lines of its nodes. A
  // null node if the file has none.
  void Subtree(OptionText about, YamlNode* value);

  // Takes the values that stand in `map`: a whole file, or (with a prefix for messages, for instance "handlers[2]") an
  // entry of a structured section. Unknown keys are errors that name the nearest known one.
  void ReadYaml(const YamlNode& map, std::string_view prefix, ConfigErrors* errors);
  // Takes the values of variables named like options. `warnings` gets variables that look like misspelt options: those
  // may belong to another Penstock program.
  void ReadEnvironment(const std::map<std::string, std::string>& environment, ConfigErrors* errors,
                       std::vector<std::string>* warnings);
  void ReadFlag(const std::string& path, const std::vector<std::string>& values, ConfigErrors* errors);

  // In the order of declaration.
  const std::vector<Option>& options() const { return options_; }
  const std::map<std::string, std::string>& sections() const { return sections_; }
  const Option* Find(std::string_view path) const;
  // " Did you mean --limits.payload?" or empty.
  std::string SuggestFlag(std::string_view flag) const;

 private:
  Option& Add(OptionText about, OptionType type);
  void AddInteger(OptionText about, int64_t min, int64_t max, std::function<void(int64_t)> set,
                  std::function<int64_t()> get);
  void AddChoice(OptionText about, std::vector<std::string> choices, std::function<void(size_t)> set,
                 std::function<std::string()> get);
  Option* FindMutable(std::string_view path);
  bool IsSection(std::string_view path) const;
  void ReadMap(const YamlNode& map, const std::string& section, std::string_view prefix, ConfigErrors* errors);
  static void ReadValue(const YamlNode& value, std::string_view prefix, Option& option, ConfigErrors* errors);
  // The option or section that is most likely meant by `path`, or empty.
  std::string NearestPath(const std::string& path) const;
  std::string SuggestKey(const std::string& path) const;

  std::vector<Option> options_;
  std::map<std::string, std::string> sections_;
};

}  // namespace penstock

#endif  // PENSTOCK_COMMON_CONFIG_OPTION_SET_H_
