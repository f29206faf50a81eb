// SPDX-License-Identifier: Apache-2.0
#include "controller/cli/view/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <vector>

#include "controller/cli/view/events.h"
#include "controller/cli/view/measures_view.h"
#include "controller/cli/view/text_width.h"
#include "controller/cli/view/waterfall.h"
#include "controller/cli/view/words.h"
#include "proto/support/fault_rules.h"
#include "proto/support/text.h"
#include "proto/support/time.h"

namespace firedrill::cli {
namespace {

constexpr int kPictureWidth = 100;

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
  const std::vector<MeasureRow> rows = MeasureRows(run);
  if (rows.empty()) return "Nothing was measured.\n";
  std::string text = "| measure | value | from | to | |\n|---|---|---|---|---|\n";
  for (const MeasureRow& row : rows) {
    text += fmt::format("| {}{} | {} | {} | {} | {} |\n", row.name,
                        row.of.empty() ? "" : ", " + Plain(row.of), MeasureWithError(row.measure),
                        Word(row.measure.from()), Word(row.measure.to()), Plain(row.note));
  }
  return text + "\nA value after `>` is censored: it had not happened by then.\n";
}

std::string Caveats(const v1::Run& run) {
  if (run.caveats().empty()) return "";
  std::string text = "> **Doubtful.** What follows is less certain than its ± says:\n";
  for (const std::string& caveat : run.caveats()) text += ">\n> - " + Plain(caveat) + "\n";
  return text + "\n";
}

// The same picture as on a terminal. Nothing in it may end its block.
std::string Pictures(const v1::Run& run) {
  std::string text = Waterfalls(run, Style(false), kPictureWidth);
  if (text.empty()) return "";
  std::replace(text.begin(), text.end(), '`', '\'');
  return "\n## What the time to detect is made of\n\n```text" + text + "```\n";
}

std::string Depth(const v1::Run& run) {
  std::string text;
  for (const v1::IndicatorResult& indicator : run.indicators()) {
    if (!indicator.has_lowest()) continue;
    text += fmt::format(
        "| {} | {} | {:.4g} | {} | {} | {} | {} |\n", Plain(indicator.indicator().name()),
        indicator.has_baseline() ? fmt::format("{:.4g}", indicator.baseline()) : "—",
        indicator.lowest(), QualityText(indicator),
        indicator.has_lost() ? FormatDuration(FromProto(indicator.lost())) : "—",
        BudgetText(indicator), Plain(FloorText(indicator)));
  }
  if (text.empty()) return "";
  return "\n## Depth\n\n| indicator | baseline | worst | of its baseline | full service lost | "
         "error budget burned "
         "| floor |\n|---|---|---|---|---|---|---|\n" +
         text;
}

std::string AdviceList(const v1::Run& run) {
  if (run.advice().empty()) return "";
  std::string text = "\n## What could be changed\n\n";
  for (const v1::Advice& advice : run.advice()) text += "- " + Plain(AdviceLine(advice)) + "\n";
  return text;
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
  text += Caveats(run);
  text +=
      fmt::format("- Detection: {}\n- Recovery: {}\n", Word(run.detection()), Word(run.recovery()));
  if (run.false_alarms() > 0) text += fmt::format("- False alarms: {}\n", run.false_alarms());
  if (run.has_random_wait()) {
    text += fmt::format("- Waited at random before the first fault: {}\n",
                        FormatDuration(FromProto(run.random_wait())));
  }
  text += "\n## Measures\n\n";
  if (run.verdict().verdict() == v1::VERDICT_ABORTED) {
    text += "The run was aborted: what was measured until then says nothing of the hypothesis.\n\n";
  }
  text += Measures(run) + Pictures(run) + Depth(run) + AdviceList(run);
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
