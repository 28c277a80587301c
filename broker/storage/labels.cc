#include "broker/storage/labels.h"

namespace penstock::broker {

std::string LabelText(const std::map<std::string, std::string>& labels) {
  std::string text;
  for (const auto& [key, value] : labels) {
    if (!text.empty()) text += '\n';
    text += key;
    text += '=';
    text += value;
  }
  return text;
}

std::vector<std::string_view> SplitLabels(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    lines.push_back(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
  }
  return lines;
}

}  // namespace penstock::broker
