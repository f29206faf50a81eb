// SPDX-License-Identifier: Apache-2.0
#include "controller/grafana/annotation.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "controller/plan/words.h"
#include "proto/support/fault_rules.h"
#include "proto/support/time.h"

namespace firedrill::controller {
namespace {

std::int64_t Milliseconds(SystemTime time) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count();
}

// What a run names may hold any bytes; JSON may not.
std::string Dump(const nlohmann::json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

std::int64_t Annotation::begin_ms() const { return Milliseconds(begin); }

std::string Annotation::Json() const {
  nlohmann::json json = {{"time", begin_ms()},
                         {"tags",
                          {"firedrill", "experiment:" + experiment, "fault:" + fault,
                           "host:" + host, "injection:" + injection}},
                         {"text", text}};
  if (end_ms) json["timeEnd"] = *end_ms;
  return Dump(json);
}

std::string Annotation::EndJson() const { return Dump({{"timeEnd", end_ms.value_or(begin_ms())}}); }

std::optional<Annotation> AnnotationOf(const v1::Run& run, const v1::Injection& injection) {
  if (!injection.has_first_impact_at() && !injection.has_applied_at()) return std::nullopt;
  Annotation annotation;
  annotation.begin = FromProto(injection.has_first_impact_at() ? injection.first_impact_at()
                                                               : injection.applied_at());
  if (injection.state() == v1::INJECTION_STATE_ENDED && injection.has_ended_at()) {
    annotation.end_ms =
        std::max(annotation.begin_ms(), Milliseconds(FromProto(injection.ended_at())));
  }
  annotation.injection = injection.id();
  annotation.experiment = run.experiment().name();
  annotation.fault = FaultName(injection.fault().kind_case());
  annotation.host = injection.host();
  annotation.text = fmt::format("{} on {} (experiment {}, run {})", FaultInWords(injection.fault()),
                                injection.host(), annotation.experiment, run.id());
  return annotation;
}

}  // namespace firedrill::controller
