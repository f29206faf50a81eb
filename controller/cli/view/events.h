// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "controller/cli/view/style.h"
#include "firedrill/v1/run.pb.h"

namespace firedrill::cli {

/// What happened to what a fault touched, on one line: "respawned after 1.204s ± 1ms (kernel):
/// redis-server, pid 4711 → 4802". The time is from the injection's first impact.
std::string EventText(const v1::Injection& injection, const v1::InjectionEvent& event);

/// "1.204s ± 1ms"; the event's own instant if the injection had no impact.
std::string EventTime(const v1::Injection& injection, const v1::InjectionEvent& event);

/// As a line of the timeline: instant, distance from the impact, name, host, step, detail, source.
std::string EventLine(const v1::Injection& injection, const v1::InjectionEvent& event,
                      const Style& style);

/// The events of all faults as a table; empty if there are none.
std::string EventTable(const v1::Run& run, const Style& style);

}  // namespace firedrill::cli
