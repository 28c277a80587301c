#ifndef PENSTOCK_COMMON_CONFIG_RENDER_H_
#define PENSTOCK_COMMON_CONFIG_RENDER_H_

// A set of options as text that is itself a valid file.

#include <string>
#include <string_view>

#include "common/config/option_set.h"

namespace penstock {

// The values in force, each with where it comes from: what --print-config prints.
std::string RenderEffective(const OptionSet& options);

// A file to start from: every option with its default, what it is for, what is valid and why one would change it.
// `title` is the comment at its top; it may have several lines.
std::string RenderCommented(const OptionSet& options, std::string_view title);

}  // namespace penstock

#endif  // PENSTOCK_COMMON_CONFIG_RENDER_H_
