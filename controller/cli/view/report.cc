// SPDX-License-Identifier: Apache-2.0
#include "controller/cli/view/report.h"

#include <fmt/format.h>

#include <string_view>

#include "controller/cli/view/events.h"
#include "controller/cli/view/text_width.h"
#include "controller/cli/view/words.h"
#include "proto/support/fault_rules.h"
#include "proto/support/text.h"
#include "proto/support/time.h"

namespace firedrill::cli {
namespace {

// Text from elsewhere within Markdown: no markup, and within a row no column's end.
std::string Plain(std::string_view text) {
  std::string out;
  for (const char c : Clean(text)) {
    if (std::string_view("\\`*_[]<>|#").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

std::string Measures(const v1::Run& run) {
  std::string text = "| measure | value | from | to | |\n|---|---|---|---|---|\n";
  const std::size_t empty = text.size();
  const auto add = [&text](const char* name, const v1::Measure& measure, const std::string& of,
                           const std::string& explanation) {
    if (!measure.has_value()) return;
    text += fmt::format("| {}{} | {} | {} | {} | {} |\n", name, of.empty() ? "" : ", " + Plain(of),
                        MeasureWithError(measure), Word(measure.from()), Word(measure.to()),
                        Plain(explanation));
  };
  for (const v1::AlertResult& alert : run.alerts()) {
    add("time to detect", alert.time_to_detect(), alert.expected().alert(), alert.explanation());
    add("time to notify", alert.time_to_notify(), alert.expected().alert(), "");
  }
  for (const v1::IndicatorResult& indicator : run.indicators()) {
    add("time to recover", indicator.time_to_recover(), indicator.indicator().name(),
        indicator.explanation());
    add("time to recover", indicator.time_to_recover_from_end(), indicator.indicator().name(), "");
  }
  return text.size() == empty
             ? "Nothing was measured.\n"
             : text + "\nA value after `>` is censored: it had not happened by then.\n";
}

std::string Events(const v1::Run& run) {
  std::string text;
  for (const v1::Injection& injection : run.injections()) {
    for (const v1::InjectionEvent& event : injection.events()) {
      text +=
          fmt::format("| {} | {} | {} | {} | {} | {} |\n", Plain(event.name()),
                      Plain(injection.host()), Plain(injection.step()), EventTime(injection, event),
                      event.from_kernel() ? "kernel" : "agent", Plain(event.detail()));
    }
  }
  if (text.empty()) return "";
  return "\n## Events\n\nWhat happened to what the faults touched.\n\n"
         "| event | host | step | after impact | seen by | |\n|---|---|---|---|---|---|\n" +
         text;
}

}  // namespace

std::string MarkdownReport(const v1::Run& run) {
  std::string text =
      fmt::format("# {}: {}\n\n{}\n\n", Plain(run.experiment().name()),
                  run.state() == v1::RUN_STATE_FINISHED ? Word(run.verdict().verdict())
                                                        : Word(run.state()) + " (not finished)",
                  Plain(run.experiment().hypothesis()));
  for (const std::string& reason : run.verdict().reasons()) text += "- " + Plain(reason) + "\n";
  text += fmt::format(
      "{}Run `{}` in {}, started {} by {}.\n\n", run.verdict().reasons().empty() ? "" : "\n",
      run.id(), Plain(run.experiment().environment()), FormatTime(FromProto(run.created_at())),
      Plain(run.operator_().empty() ? "unknown" : run.operator_()));
  text += fmt::format("- Detection: {}\n- Recovery: {}\n\n", Word(run.detection()),
                      Word(run.recovery()));
  text += "## Measures\n\n" + Measures(run);
  text +=
      "\n## Timeline\n\n| instant (UTC) | ± | what | where | of | source | |\n"
      "|---|---|---|---|---|---|---|\n";
  for (const v1::Mark& mark : run.marks()) {
    std::string subject = mark.subject();
    for (const v1::Injection& injection : run.injections()) {
      if (injection.id() == mark.subject()) subject = injection.step();
    }
    const Nanoseconds error = FromProto(mark.uncertainty());
    text += fmt::format("| {} | {} | {} | {} | {} | {} | {} |\n", FormatTime(FromProto(mark.at())),
                        error > Nanoseconds(0) ? FormatDuration(error) : "", Word(mark.kind()),
                        Plain(mark.host()), Plain(subject), Word(mark.source()),
                        mark.detail() == subject ? "" : Plain(mark.detail()));
  }
  text += "\n## Faults\n\n| step | host | fault | end |\n|---|---|---|---|\n";
  for (const v1::Injection& injection : run.injections()) {
    std::string end = Word(injection.state());
    if (injection.state() == v1::INJECTION_STATE_ENDED) {
      end = injection.end_proven() ? "proven" : "**not proven**";
      if (!Word(injection.end_reason()).empty()) end += ": " + Word(injection.end_reason());
    }
    if (!injection.error().empty()) end += " (" + Plain(injection.error()) + ")";
    text += fmt::format("| {} | {} | `{}` | {} |\n", Plain(injection.step()),
                        Plain(injection.host()), Clean(FaultText(injection.fault())), end);
  }
  return text + Events(run);
}

}  // namespace firedrill::cli
