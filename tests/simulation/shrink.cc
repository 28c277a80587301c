#include "tests/simulation/shrink.h"

namespace penstock::broker {

SimConfig Shrink(SimConfig config, const std::function<bool(const SimConfig&)>& fails) {
  auto accept = [&](auto change) {
    SimConfig smaller = config;
    change(smaller);
    if (!fails(smaller)) return false;
    config = smaller;
    return true;
  };
  for (bool progress = true; progress;) {
    progress = false;
    for (int i = 0; i < static_cast<int>(Feature::kCount); ++i) {
      const auto feature = static_cast<Feature>(i);
      if (!config.has(feature)) continue;
      if (accept([&](SimConfig& smaller) { smaller.Drop(feature); })) progress = true;
    }
    while (config.workers > 1 && accept([](SimConfig& smaller) { --smaller.workers; })) progress = true;
    while (config.producers > 1 && accept([](SimConfig& smaller) { --smaller.producers; })) progress = true;
    // Shorter by halves, then by less.
    for (uint64_t part = config.events / 2; part > 0; part /= 2) {
      while (config.events > part && accept([&](SimConfig& smaller) { smaller.events -= part; })) progress = true;
    }
  }
  return config;
}

}  // namespace penstock::broker
