// SPDX-License-Identifier: Apache-2.0
#include "controller/cli/view/live_block.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "controller/cli/view/events.h"
#include "controller/cli/view/responders.h"
#include "controller/cli/view/sparkline.h"
#include "controller/cli/view/text_width.h"
#include "controller/cli/view/waterfall.h"
#include "controller/cli/view/words.h"
#include "proto/support/fault_rules.h"
#include "proto/support/text.h"
#include "proto/support/time.h"

namespace firedrill::cli {
namespace {

constexpr int kMostInjections = 4;
constexpr int kMostIndicators = 4;
constexpr int kMostAlerts = 4;

std::string Rounded(Nanoseconds duration) {
  return FormatDuration(
      std::chrono::ceil<std::chrono::seconds>(std::max(duration, Nanoseconds(0))));
}

std::string InjectionLine(const v1::Injection& injection, SystemTime now) {
  // What matters most stands first: a narrow terminal cuts the rest.
  std::string line = fmt::format("  {}  {}", Clean(injection.host()), Clean(injection.step()));
  if (injection.has_duration() && injection.has_applied_at()) {
    const Nanoseconds left =
        FromProto(injection.applied_at()) + FromProto(injection.duration()) - now;
    line += fmt::format("  {} left", Rounded(left));
  }
  return line + (injection.has_first_impact_at() ? "  " : "  no impact yet  ") +
         Clean(FaultText(injection.fault()));
}

std::string IndicatorLine(const v1::Run& run, const v1::Indicator& indicator, int width,
                          const Style& style) {
  std::vector<double> values;
  for (const v1::Series& series : run.series()) {
    if (series.name() != indicator.name()) continue;
    for (const v1::Sample& sample : series.samples()) values.push_back(sample.value());
  }
  std::string line = fmt::format("  {}  ", Clean(indicator.name()));
  if (values.empty()) {
    line += "unknown";
  } else {
    const bool good = Holds(indicator.expect(), values.back());
    line += style(good ? Colour::kGood : Colour::kWarning, fmt::format("{:.4g}", values.back()));
  }
  std::string expected = fmt::format("  expect {}", FormatComparison(indicator.expect()));
  int room = width - DisplayWidth(line) - DisplayWidth(expected) - 2;
  if (room < 8) {  // the shape says more than the limit
    room += DisplayWidth(expected);
    expected.clear();
  }
  return line + "  " + Sparkline(values, std::min(room, 60), indicator.expect().value()) + expected;
}

// How long the run still waits for recovery, at most.
std::string RecoveryTimeLeft(const v1::Run& run, SystemTime now) {
  if (run.state() != v1::RUN_STATE_RECOVERING || !run.experiment().has_recover_within()) return "";
  SystemTime ended{};
  for (const v1::Injection& injection : run.injections()) {
    if (injection.has_ended_at()) ended = std::max(ended, FromProto(injection.ended_at()));
  }
  if (ended == SystemTime{}) return "";
  const Nanoseconds left = ended + FromProto(run.experiment().recover_within()) - now;
  return left > Nanoseconds(0) ? fmt::format("{} left at most", Rounded(left)) : "";
}

bool Waits(const v1::Run& run, const v1::AlertResult& alert) {
  return alert.outcome() == v1::DETECTION_OUTCOME_UNSPECIFIED &&
         (run.state() == v1::RUN_STATE_INJECTING || run.state() == v1::RUN_STATE_RECOVERING);
}

std::string AlertLine(const v1::Run& run, const v1::AlertResult& alert, const Style& style) {
  const std::string name = "  " + Clean(alert.expected().alert()) + "  ";
  if (Waits(run, alert)) return name + "has not fired yet";
  if (alert.outcome() != v1::DETECTION_OUTCOME_DETECTED) return "";
  std::string line =
      name + style(Colour::kNote, "fired after " + MeasureText(alert.time_to_detect()));
  if (alert.has_time_to_notify()) {
    line += ", notified after " + MeasureText(alert.time_to_notify());
  }
  const std::string stages = StagesText(alert);
  return stages.empty() ? line : line + ": " + stages;
}

// Which keys do something now.
std::string Keys(const v1::Run& run) {
  return std::string(CanBeAnswered(run) ? "a: acknowledged   m: mitigated   " : "") +
         "Ctrl-C: abort or detach";
}

}  // namespace

std::vector<std::string> LiveBlock(const v1::Run& run, SystemTime now, const std::string& notice,
                                   int width, const Style& style) {
  std::vector<std::string> lines;
  // Narrow terminals cut the end: times stand before words.
  std::string head = fmt::format("{}  {}", style(Colour::kBold, Clean(run.experiment().name())),
                                 style(Colour::kNote, Word(run.state())));
  if (const std::string left = RecoveryTimeLeft(run, now); !left.empty()) head += "  " + left;
  if (run.has_created_at()) {
    head +=
        style(Colour::kDim, fmt::format("  {} so far", Rounded(now - FromProto(run.created_at()))));
  }
  if (!run.state_detail().empty()) head += "  " + Clean(run.state_detail());
  lines.push_back(head);
  int shown = 0, hidden = 0;
  for (const v1::Injection& injection : run.injections()) {
    if (injection.state() != v1::INJECTION_STATE_ACTIVE &&
        injection.state() != v1::INJECTION_STATE_ENDING) {
      continue;
    }
    if (++shown <= kMostInjections) {
      lines.push_back(InjectionLine(injection, now));
      if (injection.events_size() > 0) {  // the newest says most
        lines.push_back("    " +
                        EventText(injection, injection.events(injection.events_size() - 1)));
      }
    } else {
      ++hidden;
    }
  }
  if (hidden > 0) lines.push_back(fmt::format("  and {} more faults", hidden));
  const int indicators = std::min(run.experiment().steady_state_size(), kMostIndicators);
  for (int i = 0; i < indicators; ++i) {
    lines.push_back(IndicatorLine(run, run.experiment().steady_state(i), width, style));
  }
  int alerts = 0;
  for (const v1::AlertResult& alert : run.alerts()) {
    const std::string line = AlertLine(run, alert, style);
    if (!line.empty() && ++alerts <= kMostAlerts) lines.push_back(line);
  }
  if (!run.caveats().empty()) {
    lines.push_back(style(Colour::kWarning, "  ! " + Clean(run.caveats(run.caveats_size() - 1))));
  }
  lines.push_back(notice.empty() ? style(Colour::kDim, Keys(run))
                                 : style(Colour::kWarning, notice));
  for (std::string& line : lines) line = Fit(line, width);
  return lines;
}

}  // namespace firedrill::cli
