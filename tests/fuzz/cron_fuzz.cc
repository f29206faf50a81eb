// SPDX-License-Identifier: Apache-2.0
// Whatever cron line is accepted has a next time, later than the one asked from, on a whole minute.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "controller/schedule/cron.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto cron = firedrill::controller::ParseCron(text);
  if (!cron.ok()) {
    if (cron.status().message().empty()) std::abort();
    return 0;
  }
  static const absl::TimeZone berlin = *firedrill::controller::ParseTimeZone("Europe/Berlin");
  const firedrill::SystemTime from{std::chrono::hours(24 * 365 * 56)};
  const auto next = cron->Next(from, berlin);
  if (next <= from ||
      next.time_since_epoch() % std::chrono::minutes(1) != std::chrono::minutes(0)) {
    std::abort();
  }
  return 0;
}
