#ifndef PENSTOCK_BROKER_CORE_DEBUG_STATE_H_
#define PENSTOCK_BROKER_CORE_DEBUG_STATE_H_

#include <string>

#include "broker/core/core_state.h"

namespace penstock::broker {

// Everything that a recovery restores, as text, a line for each queue, lane, block and lease; for tests and diagnoses.
std::string RenderState(const CoreState& state);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_CORE_DEBUG_STATE_H_
