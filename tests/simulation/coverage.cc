#include "tests/simulation/coverage.h"

namespace penstock::broker {
namespace {

constexpr std::string_view kNames[] = {
#define P(name, text) text,
    PENSTOCK_SIM_POINTS(P)
#undef P
};

}  // namespace

std::string_view NameOf(Point point) { return kNames[static_cast<size_t>(point)]; }

}  // namespace penstock::broker
