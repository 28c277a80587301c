#include "common/config/render.h"

#include <algorithm>
#include <vector>

#include "fmt/format.h"

namespace penstock {
namespace {

constexpr size_t kWidth = 100;

std::vector<std::string> SplitPath(std::string_view path) {
  std::vector<std::string> parts;
  for (size_t start = 0; start <= path.size();) {
    const size_t dot = std::min(path.find('.', start), path.size());
    parts.emplace_back(path.substr(start, dot - start));
    start = dot + 1;
  }
  return parts;
}

// Words in comment lines of at most kWidth characters. Lines of the text stay lines.
std::string Comment(std::string_view text, size_t indent) {
  const std::string margin = std::string(indent, ' ') + "#";
  std::string out;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view rest = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    do {
      size_t cut = rest.size();
      const size_t room = kWidth - margin.size() - 1;
      if (cut > room) {
        cut = rest.rfind(' ', room);
        if (cut == std::string_view::npos || cut == 0) cut = std::min(rest.find(' '), rest.size());
      }
      out += margin + (cut == 0 ? "" : " ") + std::string(rest.substr(0, cut)) + "\n";
      rest.remove_prefix(std::min(cut + 1, rest.size()));
    } while (!rest.empty());
  }
  return out;
}

// Calls `section(path, indent)` at the start of each section and `option(option, name, indent)` for each option.
template <class SectionFn, class OptionFn>
void Walk(const OptionSet& options, SectionFn section, OptionFn option) {
  std::vector<std::string> open;
  for (const Option& each : options.options()) {
    const std::vector<std::string> parts = SplitPath(each.about().path);
    size_t shared = 0;
    while (shared < open.size() && shared + 1 < parts.size() && open[shared] == parts[shared]) ++shared;
    open.resize(shared);
    while (open.size() + 1 < parts.size()) {
      open.push_back(parts[open.size()]);
      section(fmt::format("{}", fmt::join(open, ".")), open.back(), 2 * (open.size() - 1));
    }
    option(each, parts.back(), 2 * open.size());
  }
}

}  // namespace

std::string RenderEffective(const OptionSet& options) {
  std::string out;
  Walk(
      options,
      [&](const std::string&, const std::string& name, size_t indent) {
        out += fmt::format("{:{}}{}:\n", "", indent, name);
      },
      [&](const Option& option, const std::string& name, size_t indent) {
        if (option.subtree() == nullptr) {
          out += fmt::format("{:{}}{}: {}  # {}\n", "", indent, name, option.Yaml(), option.origin().where);
        } else if (option.subtree()->kind != YamlNode::Kind::kNull) {
          out += fmt::format("{:{}}{}:  # {}\n", "", indent, name, option.origin().where);
          out += EmitYaml(*option.subtree(), static_cast<int>(indent) + 2);
        }
      });
  return out;
}

std::string RenderCommented(const OptionSet& options, std::string_view title) {
  std::string out = Comment(title, 0);
  Walk(
      options,
      [&](const std::string& path, const std::string& name, size_t indent) {
        out += "\n";
        const auto what = options.sections().find(path);
        if (what != options.sections().end()) out += Comment(what->second, indent);
        out += fmt::format("{:{}}{}:\n", "", indent, name);
      },
      [&](const Option& option, const std::string& name, size_t indent) {
        if (!out.ends_with(":\n")) out += "\n";
        std::string text = option.about().what;
        if (!option.about().why.empty()) text += " " + option.about().why;
        if (!option.valid().empty()) text += "\nValid: " + option.valid() + ".";
        out += Comment(text, indent);
        if (option.subtree() == nullptr) out += fmt::format("{:{}}{}: {}\n", "", indent, name, option.Yaml());
      });
  return out;
}

}  // namespace penstock
