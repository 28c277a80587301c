#include "common/config/config_errors.h"

namespace penstock {

std::string ConfigError::ToString() const {
  std::string text;
  if (!where.empty()) text += where + ": ";
  // A flag's name says the option already.
  if (!option.empty() && !where.starts_with("-")) text += option + ": ";
  return text + problem;
}

std::string ConfigErrors::ToString() const {
  std::string text;
  for (const ConfigError& error : errors_) {
    if (!text.empty()) text += '\n';
    text += error.ToString();
  }
  return text;
}

absl::Status ConfigErrors::ToStatus() const {
  return empty() ? absl::OkStatus() : absl::InvalidArgumentError(ToString());
}

}  // namespace penstock
