// SPDX-License-Identifier: Apache-2.0
// Whatever Prometheus, or what stands in its place, answers: a value or a status with words, never
// more. The first byte chooses which answer it is taken for.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "controller/probe/answer.h"

namespace {

void Check(const absl::Status& status) {
  if (!status.ok() && status.message().empty()) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace firedrill::controller;
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0]) {
    case 'r':
      Check(ParsePrometheusRules(text).status());
      break;
    case 'c':
      Check(ParsePrometheusConfig(text).status());
      break;
    case 'd':
      if (const auto duration = ParsePrometheusDuration(text); duration && duration->count() < 0) {
        std::abort();
      }
      break;
    case 'e': {
      const absl::Status status = HttpStatusError(503, text);
      if (status.ok()) std::abort();
      Check(status);
      break;
    }
    default:
      Check(ParsePrometheusAnswer(text).status());
  }
  return 0;
}
