#ifndef PENSTOCK_TESTS_SUPPORT_PROJECT_PATHS_H_
#define PENSTOCK_TESTS_SUPPORT_PROJECT_PATHS_H_

#include <string>
#include <string_view>

namespace penstock {

// A file of this project, "deploy/broker.yaml" for instance. Functions, not macros: only project_paths.cc is compiled
// with the folder's name, so that a compiler cache serves checkouts in any folder.
std::string SourcePath(std::string_view path);
// Something that was built, "bin/penstock" for instance.
std::string BuildPath(std::string_view path);

}  // namespace penstock

#endif  // PENSTOCK_TESTS_SUPPORT_PROJECT_PATHS_H_
