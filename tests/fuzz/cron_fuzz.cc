// For libFuzzer (-fsanitize=fuzzer), and for tests that call it themselves: any text is refused with a reason, or is a
// cron expression whose firings are in order and on whole seconds.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "common/cron.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using penstock::Cron;
  const auto cron = Cron::Parse({reinterpret_cast<const char*>(data), size});
  if (!cron.ok()) {
    if (cron.status().message().empty()) std::abort();
    return 0;
  }
  static const absl::TimeZone zone = penstock::FindTimeZone("Australia/Lord_Howe").value_or(absl::UTCTimeZone());
  absl::Time time = absl::FromUnixSeconds(1'700'000'000);
  for (int i = 0; i < 10; ++i) {
    const auto next = cron->Next(time, zone);
    // What fires at all does so within every 41 years.
    if (!next || *next <= time || absl::ToUnixNanos(*next) % 1'000'000'000 != 0) std::abort();
    time = *next;
  }
  return 0;
}
