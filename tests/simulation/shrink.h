#ifndef PENSTOCK_TESTS_SIMULATION_SHRINK_H_
#define PENSTOCK_TESTS_SIMULATION_SHRINK_H_

#include <functional>
#include <string>

#include "tests/simulation/sim_config.h"

namespace penstock::broker {

// The smallest world, as far as dropping goes, for which `fails` still holds: kinds of things that happen, then clients
// and workers, then length. REQUIRES: fails(config).
SimConfig Shrink(SimConfig config, const std::function<bool(const SimConfig&)>& fails);

}  // namespace penstock::broker

#endif  // PENSTOCK_TESTS_SIMULATION_SHRINK_H_
