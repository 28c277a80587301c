#ifndef PENSTOCK_BROKER_STORAGE_LABELS_H_
#define PENSTOCK_BROKER_STORAGE_LABELS_H_

// Labels of workers, as the core compares them (LabelText, core/command.h) and as records and messages keep them.

#include <string>
#include <string_view>
#include <vector>

#include "broker/core/command.h"

namespace penstock::broker {

// The lines of a LabelText: "key=value" each.
std::vector<std::string_view> SplitLabels(std::string_view text);

// Of a map of a Protobuf message.
template <class Map>
std::string LabelText(const Map& labels) {
  if (labels.empty()) return {};
  return LabelText(std::map<std::string, std::string>(labels.begin(), labels.end()));
}

// The reverse of LabelText.
template <class Map>
void SetLabels(std::string_view text, Map* out) {
  for (std::string_view line : SplitLabels(text)) {
    const size_t equals = line.find('=');
    (*out)[std::string(line.substr(0, equals))] = std::string(line.substr(equals + 1));
  }
}

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_STORAGE_LABELS_H_
