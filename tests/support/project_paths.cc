#include "tests/support/project_paths.h"

namespace penstock {

std::string SourcePath(std::string_view path) { return std::string(PENSTOCK_SOURCE_DIR "/").append(path); }
std::string BuildPath(std::string_view path) { return std::string(PENSTOCK_BINARY_DIR "/").append(path); }

}  // namespace penstock
