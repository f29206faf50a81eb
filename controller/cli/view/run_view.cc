// SPDX-License-Identifier: Apache-2.0
#include "controller/cli/view/run_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "controller/cli/view/events.h"
#include "controller/cli/view/measures_view.h"
#include "controller/cli/view/responders.h"
#include "controller/cli/view/table.h"
#include "controller/cli/view/text_width.h"
#include "controller/cli/view/waterfall.h"
#include "controller/cli/view/words.h"
#include "proto/support/fault_rules.h"
#include "proto/support/field_rules.h"
#include "proto/support/text.h"
#include "proto/support/time.h"

namespace firedrill::cli {
namespace {

std::string Pad(const std::string& text, int width) {
  const int gap = width - DisplayWidth(text);
  return gap > 0 ? text + std::string(static_cast<std::size_t>(gap), ' ') : text;
}

std::string StepOf(const v1::Run& run, const v1::Mark& mark) {
  for (const v1::Injection& injection : run.injections()) {
    if (injection.id() == mark.subject()) return injection.step();
  }
  return "";
}

// An injection's id means nothing to people: its step does.
std::string SubjectText(const v1::Run& run, const v1::Mark& mark) {
  for (const v1::Injection& injection : run.injections()) {
    if (injection.id() != mark.subject()) continue;
    const std::string step = Clean(injection.step());
    return mark.kind() == v1::MARK_KIND_APPLIED
               ? fmt::format("{} ({})", step, Clean(FaultText(injection.fault())))
               : step;
  }
  return Clean(mark.subject());
}

std::string CountersText(const v1::Injection& injection) {
  const std::map<std::string, double> counters(injection.counters().begin(),
                                               injection.counters().end());
  std::string text;
  for (const auto& [name, value] : counters) {
    // Counters are whole or seconds: never 9.3e+05.
    const bool whole = value == std::floor(value);
    text += fmt::format("{}{}={}", text.empty() ? "" : " ", Clean(name),
                        whole ? fmt::format("{:.0f}", value) : fmt::format("{:.3f}", value));
  }
  return text;
}

std::string EndText(const v1::Injection& injection) {
  if (injection.state() != v1::INJECTION_STATE_ENDED) return Word(injection.state());
  const std::string reason = Word(injection.end_reason());
  return (injection.end_proven() ? "ended, proven" : "END NOT PROVEN") +
         (reason.empty() ? "" : " (" + reason + ")");
}

std::string InjectionTable(const v1::Run& run, const Style& style) {
  Table table({"STEP", "HOST", "FAULT", "STATE", "COUNTERS"});
  for (const v1::Injection& injection : run.injections()) {
    const bool unclean = injection.state() == v1::INJECTION_STATE_ENDED && !injection.end_proven();
    std::string state = style(unclean ? Colour::kBad : Colour::kPlain, EndText(injection));
    if (!injection.error().empty()) state += ": " + Clean(injection.error());
    table.Add({Clean(injection.step()), Clean(injection.host()),
               Clean(FaultText(injection.fault())), state, CountersText(injection)});
  }
  return table.empty() ? "" : "\n" + table.Render(style);
}

std::string AlertTable(const v1::Run& run, const Style& style) {
  Table table({"ALERT", "EXPECTED", "OUTCOME", "FIRED", ""});
  for (const v1::AlertResult& alert : run.alerts()) {
    const v1::Expectation given = alert.expected().expect();
    const auto* expect = v1::Expectation_descriptor()->FindValueByNumber(
        given == v1::EXPECTATION_UNSPECIFIED ? v1::EXPECTATION_FIRES : given);
    std::string expected = expect == nullptr ? "" : EnumText(*expect);
    if (alert.expected().has_within()) {
      expected += " within " + FormatDuration(FromProto(alert.expected().within()));
    }
    table.Add({Clean(alert.expected().alert()), expected, Word(alert.outcome()),
               alert.episodes() == 0 ? "—"
               : alert.episodes() == 1
                   ? "once"
                   : style(Colour::kWarning, fmt::format("{} times", alert.episodes())),
               Clean(alert.explanation())});
  }
  return table.empty() ? "" : "\n" + table.Render(style);
}

std::string IndicatorTable(const v1::Run& run, const Style& style) {
  Table table({"INDICATOR", "EXPECT", "RECOVERY", ""});
  for (const v1::IndicatorResult& indicator : run.indicators()) {
    table.Add({Clean(indicator.indicator().name()),
               FormatComparison(indicator.indicator().expect()), Word(indicator.outcome()),
               Clean(indicator.explanation())});
  }
  return table.empty() ? "" : "\n" + table.Render(style);
}

std::string DetailOfFirst(const v1::Run& run, v1::MarkKind kind) {
  const v1::Mark* first = FirstMark(run, kind);
  return first == nullptr ? "" : first->detail();
}

// The alert that the run's time to detect is of.
std::string StagesOfDetection(const v1::Run& run) {
  for (const v1::AlertResult& alert : run.alerts()) {
    if (alert.expected().alert() != run.time_to_detect().subject()) continue;
    if (const std::string stages = StagesText(alert); !stages.empty()) return stages;
  }
  return "";
}

std::string Heading(const v1::Run& run, const Style& style) {
  std::string text =
      fmt::format("{}  {}\n{}\n", style(Colour::kBold, run.id()), Clean(run.experiment().name()),
                  Clean(run.experiment().hypothesis()));
  text += fmt::format("environment {}, started {} by {}", Clean(run.experiment().environment()),
                      DateText(run.created_at()),
                      run.operator_().empty() ? "unknown" : Clean(run.operator_()));
  if (run.has_finished_at()) {
    text += fmt::format(", took {}",
                        FormatDuration(FromProto(run.finished_at()) - FromProto(run.created_at())));
  }
  text += "\n";
  if (run.has_random_wait()) {
    text += fmt::format("waited {} at random before the first fault\n",
                        FormatDuration(FromProto(run.random_wait())));
  }
  return text;
}

}  // namespace

std::string MarkLine(const v1::Run& run, const v1::Mark& mark, const Style& style) {
  std::string after;
  const v1::Mark* impact = FirstMark(run, v1::MARK_KIND_FIRST_IMPACT);
  if (impact != nullptr && mark.has_at() && FromProto(mark.at()) >= FromProto(impact->at())) {
    after = fmt::format("+{:.1f}s", Seconds(FromProto(mark.at()) - FromProto(impact->at())));
  }
  std::string line = fmt::format("{}  {:>8}  {}", ClockText(mark.at()), after,
                                 style(ColourOf(mark.kind()), Pad(Word(mark.kind()), 14)));
  const auto add = [&line](const std::string& text) {
    if (!text.empty()) line += "  " + text;
  };
  add(Clean(mark.host()));
  add(SubjectText(run, mark));
  // Detail that only repeats the subject is noise.
  if (mark.detail() != StepOf(run, mark) && mark.detail() != mark.subject()) {
    add(Clean(mark.detail()));
  }
  std::string source = Word(mark.source());
  const Nanoseconds error = FromProto(mark.uncertainty());
  if (error > Nanoseconds(0)) source += (source.empty() ? "±" : " ±") + FormatDuration(error);
  if (!source.empty()) add(style(Colour::kDim, "[" + source + "]"));
  return line;
}

std::string Timeline(const v1::Run& run, const Style& style) {
  std::string text;
  for (const v1::Mark& mark : run.marks()) text += MarkLine(run, mark, style) + "\n";
  return text;
}

std::string Summary(const v1::Run& run, const Style& style) {
  if (run.state() != v1::RUN_STATE_FINISHED) {
    return fmt::format("{} is {}{}\n", run.id(), Word(run.state()),
                       run.state_detail().empty() ? "" : ": " + Clean(run.state_detail()));
  }
  const v1::Verdict verdict = run.verdict().verdict();
  std::string text = fmt::format("{}  {}\n", style(Colour::kBold, Clean(run.experiment().name())),
                                 style(ColourOf(verdict), Word(verdict)));
  for (const std::string& reason : run.verdict().reasons()) {
    text += fmt::format("  because   {}\n", Clean(reason));
  }
  if (run.detection() != v1::DETECTION_OUTCOME_UNSPECIFIED || run.time_to_detect().has_value()) {
    text += fmt::format(
        "  detect    {}  {}{}\n", MeasureWithError(run.time_to_detect()), Word(run.detection()),
        run.time_to_detect().subject().empty() ? ""
                                               : " by " + Clean(run.time_to_detect().subject()));
  }
  if (const std::string stages = StagesOfDetection(run); !stages.empty()) {
    text += fmt::format("            {}\n", stages);
  }
  const auto measure = [&text](const char* name, const v1::Measure& of, const std::string& by) {
    if (!of.has_value()) return;
    text += fmt::format("  {:<8}  {}{}\n", name, MeasureWithError(of),
                        by.empty() ? "" : "  " + Clean(by));
  };
  measure("notify", run.time_to_notify(), "");
  measure("ack", run.time_to_acknowledge(), DetailOfFirst(run, v1::MARK_KIND_ACKNOWLEDGED));
  measure("mitigate", run.time_to_mitigate(), DetailOfFirst(run, v1::MARK_KIND_MITIGATED));
  if (run.false_alarms() > 0) {
    const std::string alarms = run.false_alarms() == 1
                                   ? std::string("1 alarm")
                                   : fmt::format("{} alarms", run.false_alarms());
    text += style(Colour::kBad, fmt::format("  false     {} of alerts that ought to have stayed "
                                            "silent",
                                            alarms)) +
            "\n";
  }
  if (run.recovery() != v1::RECOVERY_OUTCOME_UNSPECIFIED || run.time_to_recover().has_value()) {
    text += fmt::format("  recover   {}  {}\n", MeasureWithError(run.time_to_recover()),
                        Word(run.recovery()));
  }
  if (!run.caveats().empty()) {
    text += style(Colour::kWarning,
                  fmt::format("  doubtful  {}{}", Clean(run.caveats(0)),
                              run.caveats_size() > 1
                                  ? fmt::format(", and {} more: firedrill describe run {}",
                                                run.caveats_size() - 1, run.id())
                                  : "")) +
            "\n";
  }
  const auto proven = std::count_if(run.injections().begin(), run.injections().end(),
                                    [](const v1::Injection& i) { return i.end_proven(); });
  const auto untouched =
      std::count_if(run.injections().begin(), run.injections().end(), [](const v1::Injection& i) {
        return i.state() == v1::INJECTION_STATE_PLANNED || i.state() == v1::INJECTION_STATE_FAILED;
      });
  const auto begun = run.injections_size() - untouched;
  if (begun > 0) {
    text += fmt::format("  faults    {} of {} ended, and proven to be gone\n", proven, begun);
  }
  if (untouched > 0) {
    text += fmt::format("  {:8}  {} of {} never applied: nothing was done there\n",
                        begun > 0 ? "" : "faults", untouched, run.injections_size());
  }
  for (const v1::Injection& injection : run.injections()) {
    if (injection.state() != v1::INJECTION_STATE_ENDED || injection.end_proven()) continue;
    text += style(Colour::kBad,
                  fmt::format("  LOOK AT   {}: the end of \"{}\" is not proven{}",
                              Clean(injection.host()), Clean(injection.step()),
                              injection.error().empty() ? "" : ": " + Clean(injection.error()))) +
            "\n";
  }
  return text;
}

std::string DescribeRun(const v1::Run& run, const Style& style, int width) {
  const std::string caveats = CaveatsText(run, style, width);
  std::string text = Heading(run, style) + "\n" + caveats + (caveats.empty() ? "" : "\n") +
                     Timeline(run, style) + InjectionTable(run, style) + EventTable(run, style);
  if (run.verdict().verdict() == v1::VERDICT_ABORTED) {
    text += "\nThe run was aborted: what was measured until then says nothing of the hypothesis.\n";
  }
  text += AlertTable(run, style) + IndicatorTable(run, style) + MeasureTable(run, style, width) +
          Waterfalls(run, style, width) + DepthTable(run, style, width) +
          AdviceText(run, style, width);
  return text + "\n" + Summary(run, style);
}

std::string RunTable(const std::vector<v1::Run>& runs, const Style& style, int width) {
  Table table({"RUN", "EXPERIMENT", "STARTED", "VERDICT", "DETECTED AFTER", "RECOVERED AFTER",
               "RECOVERY", "BY"});
  for (const v1::Run& run : runs) {
    const bool finished = run.state() == v1::RUN_STATE_FINISHED;
    table.Add({run.id(), Clean(run.experiment().name()), DateText(run.created_at()),
               finished ? style(ColourOf(run.verdict().verdict()), Word(run.verdict().verdict()))
                        : Word(run.state()),
               MeasureText(run.time_to_detect()), MeasureText(run.time_to_recover()),
               Word(run.recovery()), Clean(run.operator_())});
  }
  return table.Render(style, width);
}

}  // namespace firedrill::cli
