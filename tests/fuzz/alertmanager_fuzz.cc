// SPDX-License-Identifier: Apache-2.0
// Any body posted to the webhook gives bounded notices, each of them once, or a status with words.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "controller/probe/alertmanager.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace firedrill::controller;
  const auto notices = ParseAlertmanagerWebhook(
      std::string_view(reinterpret_cast<const char*>(data), size), firedrill::SystemTime{});
  if (!notices.ok()) {
    if (notices.status().message().empty()) std::abort();
    return 0;
  }
  if (notices->size() > 1000) std::abort();
  std::vector<AlertNotice> known;
  const std::size_t added = AddNotices(*notices, known);
  if (added != notices->size() || AddNotices(*notices, known) != 0) std::abort();
  return 0;
}
