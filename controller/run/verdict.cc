// SPDX-License-Identifier: Apache-2.0
#include "controller/run/verdict.h"

#include <fmt/format.h>

#include <string>
#include <vector>

#include "controller/measure/without_fault.h"

// First match wins:
//
//   an end is not proven                                              → unclean
//   aborted: preflight, operator, stop condition, lost agent, …       → aborted
//   a fault was not applied, or showed no impact                      → inconclusive
//   floor broken, alert missed or false, not recovered or relapsed;
//   without a fault: any breach                                       → failed
//   data missing for the floor, an alert or an indicator              → inconclusive
//   else                                                              → passed
namespace firedrill::controller {
namespace {

using Reasons = std::vector<std::string>;

std::string Where(const v1::Injection& injection) {
  return fmt::format("{} on {}", injection.step(), injection.host());
}

std::string Because(const std::string& explanation) {
  return explanation.empty() ? "" : ": " + explanation;
}

// What Firedrill began and did not see gone.
Reasons Unproven(const v1::Run& run) {
  Reasons reasons;
  for (const v1::Injection& injection : run.injections()) {
    const bool begun = injection.state() != v1::INJECTION_STATE_PLANNED &&
                       injection.state() != v1::INJECTION_STATE_FAILED;
    if (begun && !injection.end_proven()) {
      reasons.push_back(fmt::format("the end of {} is not proven{}", Where(injection),
                                    Because(injection.error())));
    }
  }
  return reasons;
}

Reasons WithoutImpact(const v1::Run& run) {
  Reasons reasons;
  if (run.injections().empty()) reasons.emplace_back("no fault was injected");
  for (const v1::Injection& injection : run.injections()) {
    if (injection.state() == v1::INJECTION_STATE_FAILED ||
        injection.state() == v1::INJECTION_STATE_PLANNED) {
      reasons.push_back(
          fmt::format("{} was not applied{}", Where(injection), Because(injection.error())));
    } else if (!injection.has_first_impact_at()) {
      reasons.push_back(fmt::format("{} showed no impact", Where(injection)));
    }
  }
  return reasons;
}

// Adds to `failures` what went against the hypothesis, to `unknowns` what cannot be known.
void JudgeFloor(const v1::Run& run, Reasons& failures, Reasons& unknowns) {
  for (const v1::IndicatorResult& result : run.indicators()) {
    if (!result.indicator().has_degraded()) continue;
    const std::string& name = result.indicator().name();
    if (!result.has_floor_held()) {
      unknowns.push_back(fmt::format("floor of {} is unknown", name));
    } else if (!result.floor_held()) {
      failures.push_back(result.has_lowest() ? fmt::format("floor of {} was broken: {:g} was seen",
                                                           name, result.lowest())
                                             : fmt::format("floor of {} was broken", name));
    }
  }
}

void JudgeDetection(const v1::Run& run, Reasons& failures, Reasons& unknowns) {
  for (const v1::AlertResult& result : run.alerts()) {
    const std::string& alert = result.expected().alert();
    const std::string because = Because(result.explanation());
    switch (result.outcome()) {
      case v1::DETECTION_OUTCOME_DETECTED:
      case v1::DETECTION_OUTCOME_SILENT:
        break;
      case v1::DETECTION_OUTCOME_MISSED:
        failures.push_back(fmt::format("alert {} was missed{}", alert, because));
        break;
      case v1::DETECTION_OUTCOME_FALSE_ALARM:
        failures.push_back(fmt::format(
            "alert {} fired though {}{}", alert,
            InjectsNothing(run.experiment()) ? "nothing was injected" : "silence was expected",
            because));
        break;
      case v1::DETECTION_OUTCOME_ALREADY_FIRING:
        unknowns.push_back(fmt::format("alert {} was firing already{}", alert, because));
        break;
      default:  // unspecified, unknown, and values of a newer version
        unknowns.push_back(fmt::format("whether alert {} fired is unknown{}", alert, because));
        break;
    }
  }
}

void JudgeRecovery(const v1::Run& run, Reasons& failures, Reasons& unknowns) {
  for (const v1::IndicatorResult& result : run.indicators()) {
    const std::string& name = result.indicator().name();
    const std::string because = Because(result.explanation());
    switch (result.outcome()) {
      case v1::RECOVERY_OUTCOME_ABSORBED:
        break;
      case v1::RECOVERY_OUTCOME_SELF_RECOVERED:
      case v1::RECOVERY_OUTCOME_AFTER_RESPONDER:
      case v1::RECOVERY_OUTCOME_AFTER_END:
        // A healthy system was to be measured, and was none.
        if (InjectsNothing(run.experiment())) {
          failures.push_back(
              fmt::format("{} left its steady state though nothing was injected{}", name, because));
        }
        break;
      case v1::RECOVERY_OUTCOME_NOT_RECOVERED:
        failures.push_back(fmt::format("{} did not recover{}", name, because));
        break;
      case v1::RECOVERY_OUTCOME_RELAPSED:
        failures.push_back(fmt::format("{} relapsed{}", name, because));
        break;
      default:  // unspecified, unknown, and values of a newer version
        unknowns.push_back(fmt::format("whether {} recovered is unknown{}", name, because));
        break;
    }
  }
}

v1::VerdictParts Make(v1::Verdict verdict, const Reasons& reasons) {
  v1::VerdictParts parts;
  parts.set_verdict(verdict);
  for (const std::string& reason : reasons) parts.add_reasons(reason);
  return parts;
}

}  // namespace

v1::VerdictParts Judge(const v1::Run& run) {
  const bool aborted = run.verdict().verdict() == v1::VERDICT_ABORTED;
  Reasons unproven = Unproven(run);
  if (!unproven.empty()) {
    if (aborted) {
      for (const std::string& reason : run.verdict().reasons()) {
        unproven.push_back("aborted: " + reason);
      }
    }
    return Make(v1::VERDICT_UNCLEAN, unproven);
  }
  if (aborted) return run.verdict();
  if (const Reasons reasons = WithoutImpact(run); !reasons.empty()) {
    return Make(v1::VERDICT_INCONCLUSIVE, reasons);
  }
  Reasons failures;
  Reasons unknowns;
  JudgeFloor(run, failures, unknowns);
  JudgeDetection(run, failures, unknowns);
  JudgeRecovery(run, failures, unknowns);
  if (!failures.empty()) return Make(v1::VERDICT_FAILED, failures);
  if (!unknowns.empty()) return Make(v1::VERDICT_INCONCLUSIVE, unknowns);
  return Make(v1::VERDICT_PASSED, {});
}

const char* VerdictName(v1::Verdict verdict) {
  switch (verdict) {
    case v1::VERDICT_PASSED:
      return "passed";
    case v1::VERDICT_FAILED:
      return "failed";
    case v1::VERDICT_INCONCLUSIVE:
      return "inconclusive";
    case v1::VERDICT_ABORTED:
      return "aborted";
    case v1::VERDICT_UNCLEAN:
      return "unclean";
    default:
      return "undecided";
  }
}

}  // namespace firedrill::controller
