#include "common/config/yaml_node.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "fmt/format.h"
#include "yaml-cpp/eventhandler.h"
#include "yaml-cpp/exceptions.h"
#include "yaml-cpp/mark.h"
#include "yaml-cpp/parser.h"

namespace penstock {
namespace {

constexpr size_t kKeyBytesMax = 256;

// Makes the tree from the parser's events. Events carry marks, and let aliases and depth be refused before they cost
// anything. Refuses by YAML::ParserException, which ParseYaml catches.
class TreeBuilder : public YAML::EventHandler {
 public:
  explicit TreeBuilder(std::shared_ptr<const std::string> file) : file_(std::move(file)) {}

  YamlNode TakeRoot() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > 1) throw YAML::ParserException(mark, "a second document starts here; write one only");
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t) override { Leaf(mark, YamlNode::Kind::kNull, ""); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    throw YAML::ParserException(mark, "aliases are not supported; repeat the value");
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t, const std::string& value) override {
    RefuseTag(mark, tag);
    Leaf(mark, YamlNode::Kind::kScalar, value);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {
    RefuseTag(mark, tag);
    Open(mark, YamlNode::Kind::kList);
  }
  void OnSequenceEnd() override { Close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t, YAML::EmitterStyle::value) override {
    RefuseTag(mark, tag);
    Open(mark, YamlNode::Kind::kMap);
  }
  void OnMapEnd() override { Close(); }

 private:
  struct Level {
    YamlNode node;
    bool has_key = false;
    std::string key;
    int key_line = 0;
  };

  static void RefuseTag(const YAML::Mark& mark, const std::string& tag) {
    // "?" and "!" are what the parser gives plain and quoted values.
    if (!tag.empty() && tag != "?" && tag != "!") throw YAML::ParserException(mark, "tags are not supported: " + tag);
  }

  YamlNode Make(const YAML::Mark& mark, YamlNode::Kind kind) const {
    YamlNode node;
    node.kind = kind;
    node.file = file_;
    node.line = mark.line + 1;
    return node;
  }

  bool KeyIsDue() const {
    return !levels_.empty() && levels_.back().node.kind == YamlNode::Kind::kMap && !levels_.back().has_key;
  }

  void Leaf(const YAML::Mark& mark, YamlNode::Kind kind, const std::string& text) {
    if (KeyIsDue()) {
      TakeKey(mark, kind, text);
      return;
    }
    YamlNode node = Make(mark, kind);
    node.text = text;
    Add(std::move(node));
  }

  void TakeKey(const YAML::Mark& mark, YamlNode::Kind kind, const std::string& key) {
    if (kind != YamlNode::Kind::kScalar) throw YAML::ParserException(mark, "a key is missing");
    if (key.size() > kKeyBytesMax) {
      throw YAML::ParserException(mark, fmt::format("a key has more than {} bytes", kKeyBytesMax));
    }
    Level& level = levels_.back();
    if (level.node.entries.size() >= kYamlEntriesMax) {
      throw YAML::ParserException(mark, fmt::format("more than {} keys", kYamlEntriesMax));
    }
    for (const YamlEntry& entry : level.node.entries) {
      if (entry.key == key) {
        throw YAML::ParserException(mark,
                                    fmt::format("'{}' stands here again; it was set in line {}", key, entry.line));
      }
    }
    level.has_key = true;
    level.key = key;
    level.key_line = mark.line + 1;
  }

  void Open(const YAML::Mark& mark, YamlNode::Kind kind) {
    if (KeyIsDue()) throw YAML::ParserException(mark, "a key must be a word, not a list or a section");
    if (levels_.size() >= kYamlDepthMax) {
      throw YAML::ParserException(mark, fmt::format("more than {} levels", kYamlDepthMax));
    }
    levels_.emplace_back().node = Make(mark, kind);
  }

  void Close() {
    YamlNode node = std::move(levels_.back().node);
    levels_.pop_back();
    Add(std::move(node));
  }

  void Add(YamlNode node) {
    if (levels_.empty()) {
      root_ = std::move(node);
      return;
    }
    Level& level = levels_.back();
    if (level.node.kind == YamlNode::Kind::kList) {
      level.node.items.push_back(std::move(node));
      return;
    }
    // A missing value's mark is where the parser noticed it.
    if (node.kind == YamlNode::Kind::kNull) node.line = level.key_line;
    level.node.entries.push_back({std::move(level.key), level.key_line, std::move(node)});
    level.has_key = false;
  }

  const std::shared_ptr<const std::string> file_;
  int documents_ = 0;
  std::vector<Level> levels_;
  YamlNode root_;
};

bool IsPlain(std::string_view text) {
  if (text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL") return false;
  auto safe = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
           c == '/' || c == '+' || c == '=' || static_cast<unsigned char>(c) >= 0x80;
  };
  // '-' and ':' mean something at an edge or beside a space.
  bool edge = true;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool inner = c == '-' || c == ':' || c == ' ';
    if (!safe(c) && !inner) return false;
    if (inner && (edge || i + 1 == text.size())) return false;
    edge = inner;
  }
  return true;
}

}  // namespace

const YamlNode* YamlNode::Find(std::string_view key) const {
  for (const YamlEntry& entry : entries) {
    if (entry.key == key) return &entry.value;
  }
  return nullptr;
}

std::string YamlNode::Where() const { return file == nullptr ? "" : fmt::format("{}:{}", *file, line); }

absl::StatusOr<YamlNode> ParseYaml(std::string_view text, std::string_view file) {
  if (text.size() > kYamlBytesMax) {
    return absl::InvalidArgumentError(fmt::format("{}: larger than {} bytes", file, kYamlBytesMax));
  }
  std::istringstream input{std::string(text)};
  TreeBuilder builder(std::make_shared<const std::string>(file));
  try {
    YAML::Parser parser(input);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const YAML::Exception& error) {
    if (error.mark.is_null()) return absl::InvalidArgumentError(fmt::format("{}: {}", file, error.msg));
    return absl::InvalidArgumentError(fmt::format("{}:{}: {}", file, error.mark.line + 1, error.msg));
  }
  return builder.TakeRoot();
}

absl::StatusOr<YamlNode> ReadYamlFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  struct stat info;
  if (!file.is_open() || stat(path.c_str(), &info) != 0) {
    const std::string message = fmt::format("{}: {}", path, std::strerror(errno));
    if (errno == ENOENT) return absl::NotFoundError(message);
    if (errno == EACCES) return absl::PermissionDeniedError(message);
    return absl::InvalidArgumentError(message);
  }
  if (S_ISDIR(info.st_mode)) return absl::InvalidArgumentError(fmt::format("{}: a folder; name a file", path));
  // One byte more than is allowed, so that ParseYaml sees it.
  std::string text(kYamlBytesMax + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (file.bad()) return absl::InvalidArgumentError(fmt::format("{}: cannot be read", path));
  text.resize(static_cast<size_t>(file.gcount()));
  return ParseYaml(text, path);
}

std::string QuoteYaml(std::string_view text) {
  if (IsPlain(text)) return std::string(text);
  std::string quoted = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      quoted += fmt::format("\\x{:02x}", static_cast<unsigned>(static_cast<unsigned char>(c)));
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

std::string EmitYaml(const YamlNode& node, int indent) {
  const std::string margin(static_cast<size_t>(indent), ' ');
  switch (node.kind) {
    case YamlNode::Kind::kNull:
      return margin + "null\n";
    case YamlNode::Kind::kScalar:
      return margin + QuoteYaml(node.text) + "\n";
    case YamlNode::Kind::kList: {
      if (node.items.empty()) return margin + "[]\n";
      std::string text;
      for (const YamlNode& item : node.items) {
        // The item's first line stands behind the dash.
        std::string lines = EmitYaml(item, indent + 2);
        lines[static_cast<size_t>(indent)] = '-';
        text += lines;
      }
      return text;
    }
    case YamlNode::Kind::kMap: {
      if (node.entries.empty()) return margin + "{}\n";
      std::string text;
      for (const YamlEntry& entry : node.entries) {
        const bool nested = !entry.value.items.empty() || !entry.value.entries.empty();
        text +=
            margin + QuoteYaml(entry.key) + (nested ? ":\n" : ": ") + EmitYaml(entry.value, nested ? indent + 2 : 0);
      }
      return text;
    }
  }
  return "";
}

}  // namespace penstock
