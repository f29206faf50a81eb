// SPDX-License-Identifier: Apache-2.0
// Any body posted to the pager's webhook gives bounded words on one line, or a status with words;
// no signature can be made up.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

#include "controller/pager/pager.h"
#include "controller/pager/signature.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace firedrill::controller;
  const std::string_view body(reinterpret_cast<const char*>(data), size);
  if (IsSignedBy(body, "body", {"secret"})) std::abort();
  const auto message = ParsePagerWebhook(body);
  if (!message.ok()) {
    if (message.status().message().empty()) std::abort();
    return 0;
  }
  if (message->kind.has_value() == !message->why_not.empty()) std::abort();
  const std::string detail = DetailOf(*message);
  if (detail.empty() || detail.size() > 2000) std::abort();
  for (const char c : detail) {
    if (static_cast<unsigned char>(c) < ' ') std::abort();
  }
  auto run = std::make_shared<firedrill::v1::Run>();
  run->set_id("20261122-170512-3fa9c1");
  run->set_state(firedrill::v1::RUN_STATE_INJECTING);
  run->mutable_experiment()->add_detection()->set_alert("ShopSlow");
  const auto subject = SubjectOf(*message, {run});
  if (subject.ok() ? subject->run_id != run->id() : message->run.empty()) std::abort();
  return 0;
}
