// SPDX-License-Identifier: Apache-2.0
#include "controller/cli/view/events.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "controller/cli/view/table.h"
#include "controller/cli/view/text_width.h"
#include "controller/cli/view/words.h"
#include "proto/support/time.h"

namespace firedrill::cli {
namespace {

std::string Name(const v1::InjectionEvent& event) {
  std::string name = Clean(event.name());
  std::replace(name.begin(), name.end(), '_', ' ');
  return name;
}

// To the millisecond: other times are rounded for people, but these are what was measured.
std::string Precise(Nanoseconds time) {
  const bool plain = time >= std::chrono::seconds(1) && time < std::chrono::minutes(1);
  return plain ? fmt::format("{:.3f}s", Seconds(time)) : FormatDuration(time);
}

const char* Source(const v1::InjectionEvent& event) {
  return event.from_kernel() ? "kernel" : "agent";
}

}  // namespace

std::string EventTime(const v1::Injection& injection, const v1::InjectionEvent& event) {
  const Nanoseconds error = FromProto(event.uncertainty());
  const std::string around = error > Nanoseconds(0) ? " ± " + FormatDuration(error) : "";
  if (!injection.has_first_impact_at()) return ClockText(event.at()) + around;
  // What the impact was taken from may itself be the first event.
  const Nanoseconds after =
      std::max(Nanoseconds(0), FromProto(event.at()) - FromProto(injection.first_impact_at()));
  return Precise(after) + around;
}

std::string EventText(const v1::Injection& injection, const v1::InjectionEvent& event) {
  std::string text =
      fmt::format("{} {} {} ({})", Name(event), injection.has_first_impact_at() ? "after" : "at",
                  EventTime(injection, event), Source(event));
  if (!event.detail().empty()) text += ": " + Clean(event.detail());
  return text;
}

std::string EventLine(const v1::Injection& injection, const v1::InjectionEvent& event,
                      const Style& style) {
  std::string after;
  if (injection.has_first_impact_at()) {
    const Nanoseconds since = FromProto(event.at()) - FromProto(injection.first_impact_at());
    if (since >= Nanoseconds(0)) after = fmt::format("+{:.1f}s", Seconds(since));
  }
  // The columns are MarkLine's.
  std::string line = fmt::format("{}  {:>8}  {}  {}  {}", ClockText(event.at()), after,
                                 style(Colour::kNote, fmt::format("{:<14}", Name(event))),
                                 Clean(injection.host()), Clean(injection.step()));
  if (!event.detail().empty()) line += "  " + Clean(event.detail());
  std::string source = Source(event);
  const Nanoseconds error = FromProto(event.uncertainty());
  if (error > Nanoseconds(0)) source += " ±" + FormatDuration(error);
  return line + "  " + style(Colour::kDim, "[" + source + "]");
}

std::string EventTable(const v1::Run& run, const Style& style) {
  Table table({"EVENT", "HOST", "STEP", "AFTER IMPACT", "SEEN BY", ""});
  for (const v1::Injection& injection : run.injections()) {
    for (const v1::InjectionEvent& event : injection.events()) {
      table.Add({Name(event), Clean(injection.host()), Clean(injection.step()),
                 EventTime(injection, event), Source(event), Clean(event.detail())});
    }
  }
  return table.empty() ? "" : "\n" + table.Render(style);
}

}  // namespace firedrill::cli
