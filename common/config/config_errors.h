#ifndef PENSTOCK_COMMON_CONFIG_CONFIG_ERRORS_H_
#define PENSTOCK_COMMON_CONFIG_CONFIG_ERRORS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"

namespace penstock {

// One thing that is wrong with a configuration.
struct ConfigError {
  // "broker.yaml:12", "PENSTOCK_LIMITS__PAYLOAD" or "--limits.payload". Empty when no place is to blame.
  std::string where;
  // "limits.payload". Empty when no option is to blame.
  std::string option;
  // What is wrong, with the value, and what would be right.
  std::string problem;

  // "broker.yaml:12: limits.payload: '17 MiB' is too large; valid: 1 KiB to 16 MiB"
  std::string ToString() const;
};

// Everything that is wrong with a configuration: readers add and go on, so that an operator sees all errors at once.
class ConfigErrors {
 public:
  void Add(ConfigError error) { errors_.push_back(std::move(error)); }

  bool empty() const { return errors_.empty(); }
  const std::vector<ConfigError>& errors() const { return errors_; }
  std::vector<ConfigError>& errors() { return errors_; }

  // One line an error.
  std::string ToString() const;
  // OK, or InvalidArgument with ToString.
  absl::Status ToStatus() const;

 private:
  std::vector<ConfigError> errors_;
};

}  // namespace penstock

#endif  // PENSTOCK_COMMON_CONFIG_CONFIG_ERRORS_H_
