#ifndef PENSTOCK_COMMON_CONFIG_YAML_NODE_H_
#define PENSTOCK_COMMON_CONFIG_YAML_NODE_H_

// A YAML file as a tree in which everything knows its line. Every scalar is text: what `on` or `1.10` means is decided
// by the option that it is for.
//
// Refused, each with its line: duplicate keys, aliases, tags, keys that are no scalars, more than one document, more
// than kYamlDepthMax levels, kYamlEntriesMax keys of one map, or kYamlBytesMax bytes. So a file cannot grow in memory,
// and means what it looks like.

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace penstock {

inline constexpr size_t kYamlDepthMax = 32;
inline constexpr size_t kYamlEntriesMax = 10'000;
inline constexpr size_t kYamlBytesMax = size_t{1} << 20;

struct YamlEntry;

struct YamlNode {
  enum class Kind { kNull, kScalar, kList, kMap };

  Kind kind = Kind::kNull;
  std::string text;                // of a scalar
  std::vector<YamlNode> items;     // of a list
  std::vector<YamlEntry> entries;  // of a map, in the file's order

  std::shared_ptr<const std::string> file;
  int line = 0;  // from 1; 0: from no file

  // The value of a map's key, or null.
  const YamlNode* Find(std::string_view key) const;
  // "broker.yaml:12"
  std::string Where() const;
};

struct YamlEntry {
  std::string key;
  int line = 0;
  YamlNode value;
};

// `file` is the name for messages. An empty text is a null node.
absl::StatusOr<YamlNode> ParseYaml(std::string_view text, std::string_view file);
// NotFound, PermissionDenied or InvalidArgument, each naming the file.
absl::StatusOr<YamlNode> ReadYamlFile(const std::string& path);

// The tree as YAML text again, each line indented by `indent` spaces and ended.
std::string EmitYaml(const YamlNode& node, int indent);
// A scalar as YAML: plain where that is possible, else in double quotes.
std::string QuoteYaml(std::string_view text);

}  // namespace penstock

#endif  // PENSTOCK_COMMON_CONFIG_YAML_NODE_H_
