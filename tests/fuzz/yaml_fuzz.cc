// A configuration file of the broker: refused with the line of what is wrong, or read; and what is read can be written
// and means the same again.

#include "broker/options.h"
#include "common/config/config_errors.h"
#include "common/config/option_set.h"
#include "common/config/yaml_node.h"
#include "tests/fuzz/fuzz_input.h"

namespace penstock {
namespace {

bool Same(const YamlNode& a, const YamlNode& b) {
  if (a.kind != b.kind || a.text != b.text || a.items.size() != b.items.size() || a.entries.size() != b.entries.size())
    return false;
  for (size_t i = 0; i < a.items.size(); ++i) {
    if (!Same(a.items[i], b.items[i])) return false;
  }
  for (size_t i = 0; i < a.entries.size(); ++i) {
    if (a.entries[i].key != b.entries[i].key || !Same(a.entries[i].value, b.entries[i].value)) return false;
  }
  return true;
}

}  // namespace
}  // namespace penstock

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace penstock;  // NOLINT: all of it is here
  const absl::StatusOr<YamlNode> node = ParseYaml(fuzz::TextOf(data, size), "fuzz.yaml");
  if (!node.ok()) {
    FUZZ_CHECK(absl::IsInvalidArgument(node.status()));
    FUZZ_CHECK(node.status().message().find("fuzz.yaml") != absl::string_view::npos);
    return 0;
  }
  if (node->kind != YamlNode::Kind::kMap) return 0;
  const absl::StatusOr<YamlNode> again = ParseYaml(EmitYaml(*node, 0), "fuzz.yaml");
  FUZZ_CHECK(again.ok() && Same(*node, *again));
  broker::BrokerOptions options;
  OptionSet set;
  broker::DeclareOptions(&options, &set);
  ConfigErrors errors;
  set.ReadYaml(*node, "", &errors);
  // What was accepted prints as something that is accepted.
  for (const Option& option : set.options()) {
    (void)option.Text();
    (void)option.Yaml();
  }
  return 0;
}
