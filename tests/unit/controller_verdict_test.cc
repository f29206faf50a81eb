// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <ostream>
#include <string>

#include "controller/run/verdict.h"

namespace firedrill::controller {
namespace {

using ::testing::HasSubstr;

// A run that went as the hypothesis says: every row below changes one thing.
v1::Run GoodRun() {
  v1::Run run;
  v1::Injection* injection = run.add_injections();
  injection->set_id("r1.1");
  injection->set_step("lose packets");
  injection->set_host("cache1");
  injection->set_state(v1::INJECTION_STATE_ENDED);
  injection->mutable_first_impact_at()->set_seconds(1);
  injection->set_end_proven(true);
  v1::AlertResult* alert = run.add_alerts();
  alert->mutable_expected()->set_alert("ShopSlow");
  alert->set_outcome(v1::DETECTION_OUTCOME_DETECTED);
  v1::IndicatorResult* indicator = run.add_indicators();
  indicator->mutable_indicator()->set_name("success ratio");
  indicator->mutable_indicator()->mutable_degraded()->set_value(0.95);
  indicator->set_outcome(v1::RECOVERY_OUTCOME_AFTER_END);
  indicator->set_floor_held(true);
  return run;
}

struct Row {
  std::string name;
  std::function<void(v1::Run&)> change;
  v1::Verdict verdict;
  std::string reason;  // found in the first one; empty: there is none
};

std::ostream& operator<<(std::ostream& out, const Row& row) { return out << row.name; }

v1::Injection& Fault(v1::Run& run) { return *run.mutable_injections(0); }
v1::AlertResult& Alert(v1::Run& run) { return *run.mutable_alerts(0); }
v1::IndicatorResult& Indicator(v1::Run& run) { return *run.mutable_indicators(0); }
void Aborted(v1::Run& run) {
  run.mutable_verdict()->set_verdict(v1::VERDICT_ABORTED);
  run.mutable_verdict()->add_reasons("by ana: too loud");
}

// The same run without a fault, and what became of it.
std::function<void(v1::Run&)> WithoutFault(v1::DetectionOutcome detection,
                                           v1::RecoveryOutcome recovery) {
  return [detection, recovery](v1::Run& run) {
    run.mutable_experiment()->add_method()->mutable_fault()->mutable_none();
    Alert(run).set_outcome(detection);
    Indicator(run).set_outcome(recovery);
  };
}

std::vector<Row> Rows() {
  const auto detection = [](v1::DetectionOutcome outcome) {
    return [outcome](v1::Run& run) { Alert(run).set_outcome(outcome); };
  };
  const auto recovery = [](v1::RecoveryOutcome outcome) {
    return [outcome](v1::Run& run) { Indicator(run).set_outcome(outcome); };
  };
  return {
      {"nothing_injected", [](v1::Run& run) { run.clear_injections(); }, v1::VERDICT_INCONCLUSIVE,
       "no fault was injected"},
      {"AsTheHypothesisSays", [](v1::Run&) {}, v1::VERDICT_PASSED, ""},
      {"NothingWasExpected",
       [](v1::Run& run) {
         run.clear_alerts();
         run.clear_indicators();
       },
       v1::VERDICT_PASSED, ""},
      // Detection.
      {"Silent", detection(v1::DETECTION_OUTCOME_SILENT), v1::VERDICT_PASSED, ""},
      {"Missed", detection(v1::DETECTION_OUTCOME_MISSED), v1::VERDICT_FAILED,
       "alert ShopSlow was missed"},
      {"FalseAlarm", detection(v1::DETECTION_OUTCOME_FALSE_ALARM), v1::VERDICT_FAILED,
       "ShopSlow fired though silence was expected"},
      {"AlreadyFiring", detection(v1::DETECTION_OUTCOME_ALREADY_FIRING), v1::VERDICT_INCONCLUSIVE,
       "ShopSlow was firing already"},
      {"DetectionUnknown", detection(v1::DETECTION_OUTCOME_UNKNOWN), v1::VERDICT_INCONCLUSIVE,
       "whether alert ShopSlow fired is unknown"},
      {"DetectionUndecided", detection(v1::DETECTION_OUTCOME_UNSPECIFIED), v1::VERDICT_INCONCLUSIVE,
       "unknown"},
      // Recovery.
      {"Absorbed", recovery(v1::RECOVERY_OUTCOME_ABSORBED), v1::VERDICT_PASSED, ""},
      {"SelfRecovered", recovery(v1::RECOVERY_OUTCOME_SELF_RECOVERED), v1::VERDICT_PASSED, ""},
      {"AfterResponder", recovery(v1::RECOVERY_OUTCOME_AFTER_RESPONDER), v1::VERDICT_PASSED, ""},
      {"NotRecovered", recovery(v1::RECOVERY_OUTCOME_NOT_RECOVERED), v1::VERDICT_FAILED,
       "success ratio did not recover"},
      {"Relapsed", recovery(v1::RECOVERY_OUTCOME_RELAPSED), v1::VERDICT_FAILED, "relapsed"},
      {"RecoveryUnknown", recovery(v1::RECOVERY_OUTCOME_UNKNOWN), v1::VERDICT_INCONCLUSIVE,
       "whether success ratio recovered is unknown"},
      {"RecoveryUndecided", recovery(v1::RECOVERY_OUTCOME_UNSPECIFIED), v1::VERDICT_INCONCLUSIVE,
       "unknown"},
      // Without a fault.
      {"HealthyAndSilent",
       WithoutFault(v1::DETECTION_OUTCOME_SILENT, v1::RECOVERY_OUTCOME_ABSORBED),
       v1::VERDICT_PASSED, ""},
      {"HealthyAndAFalseAlarm",
       WithoutFault(v1::DETECTION_OUTCOME_FALSE_ALARM, v1::RECOVERY_OUTCOME_ABSORBED),
       v1::VERDICT_FAILED, "alert ShopSlow fired though nothing was injected"},
      {"NotHealthyButWellAgain",
       WithoutFault(v1::DETECTION_OUTCOME_SILENT, v1::RECOVERY_OUTCOME_SELF_RECOVERED),
       v1::VERDICT_FAILED, "success ratio left its steady state though nothing was injected"},
      {"NotHealthyUntilItsEnd",
       WithoutFault(v1::DETECTION_OUTCOME_SILENT, v1::RECOVERY_OUTCOME_AFTER_END),
       v1::VERDICT_FAILED, "left its steady state though nothing was injected"},
      {"NotHealthyToTheEnd",
       WithoutFault(v1::DETECTION_OUTCOME_SILENT, v1::RECOVERY_OUTCOME_NOT_RECOVERED),
       v1::VERDICT_FAILED, "did not recover"},
      {"WhetherHealthyIsUnknown",
       WithoutFault(v1::DETECTION_OUTCOME_SILENT, v1::RECOVERY_OUTCOME_UNKNOWN),
       v1::VERDICT_INCONCLUSIVE, "unknown"},
      {"OneStepThatDoesSomethingIsAFault",
       [](v1::Run& run) {
         WithoutFault(v1::DETECTION_OUTCOME_DETECTED, v1::RECOVERY_OUTCOME_AFTER_END)(run);
         run.mutable_experiment()->add_method()->mutable_fault()->mutable_cpu();
       },
       v1::VERDICT_PASSED, ""},
      // The floor.
      {"FloorBroken",
       [](v1::Run& run) {
         Indicator(run).set_floor_held(false);
         Indicator(run).set_lowest(0.91);
       },
       v1::VERDICT_FAILED, "floor of success ratio was broken: 0.91 was seen"},
      {"FloorUnknown", [](v1::Run& run) { Indicator(run).clear_floor_held(); },
       v1::VERDICT_INCONCLUSIVE, "floor of success ratio is unknown"},
      {"NoFloor",
       [](v1::Run& run) {
         Indicator(run).clear_floor_held();
         Indicator(run).mutable_indicator()->clear_degraded();
       },
       v1::VERDICT_PASSED, ""},
      // Impact.
      {"NoImpact", [](v1::Run& run) { Fault(run).clear_first_impact_at(); },
       v1::VERDICT_INCONCLUSIVE, "lose packets on cache1 showed no impact"},
      {"NotApplied",
       [](v1::Run& run) {
         Fault(run).set_state(v1::INJECTION_STATE_FAILED);
         Fault(run).clear_end_proven();
         Fault(run).set_error("no such device");
       },
       v1::VERDICT_INCONCLUSIVE, "lose packets on cache1 was not applied: no such device"},
      {"NeverBegun",
       [](v1::Run& run) {
         Fault(run).set_state(v1::INJECTION_STATE_PLANNED);
         Fault(run).clear_end_proven();
       },
       v1::VERDICT_INCONCLUSIVE, "was not applied"},
      {"NoImpactOutweighsAMiss",
       [](v1::Run& run) {
         Fault(run).clear_first_impact_at();
         Alert(run).set_outcome(v1::DETECTION_OUTCOME_MISSED);
       },
       v1::VERDICT_INCONCLUSIVE, "showed no impact"},
      {"AMissOutweighsMissingData",
       [](v1::Run& run) {
         Alert(run).set_outcome(v1::DETECTION_OUTCOME_MISSED);
         Indicator(run).set_outcome(v1::RECOVERY_OUTCOME_UNKNOWN);
       },
       v1::VERDICT_FAILED, "missed"},
      // Aborts.
      {"Aborted", Aborted, v1::VERDICT_ABORTED, "by ana: too loud"},
      {"AbortOutweighsFailure",
       [](v1::Run& run) {
         Aborted(run);
         Alert(run).set_outcome(v1::DETECTION_OUTCOME_MISSED);
         Fault(run).clear_first_impact_at();
       },
       v1::VERDICT_ABORTED, "by ana"},
      // The end.
      {"EndNotProven",
       [](v1::Run& run) {
         Fault(run).set_end_proven(false);
         Fault(run).set_error("the filter is still there");
       },
       v1::VERDICT_UNCLEAN,
       "the end of lose packets on cache1 is not proven: the filter is still there"},
      {"StillLiving",
       [](v1::Run& run) {
         Fault(run).set_state(v1::INJECTION_STATE_ACTIVE);
         Fault(run).set_end_proven(false);
       },
       v1::VERDICT_UNCLEAN, "is not proven"},
      {"UncleanOutweighsAll",
       [](v1::Run& run) {
         Aborted(run);
         Fault(run).set_end_proven(false);
         Fault(run).clear_first_impact_at();
         Alert(run).set_outcome(v1::DETECTION_OUTCOME_MISSED);
       },
       v1::VERDICT_UNCLEAN, "is not proven"},
  };
}

class VerdictTest : public ::testing::TestWithParam<Row> {};

TEST_P(VerdictTest, FollowsTheTable) {
  v1::Run run = GoodRun();
  GetParam().change(run);
  const v1::VerdictParts verdict = Judge(run);
  EXPECT_EQ(VerdictName(verdict.verdict()), std::string(VerdictName(GetParam().verdict)))
      << verdict.DebugString();
  if (GetParam().reason.empty()) {
    EXPECT_EQ(verdict.reasons_size(), 0) << verdict.DebugString();
  } else {
    ASSERT_GT(verdict.reasons_size(), 0);
    EXPECT_THAT(verdict.reasons(0), HasSubstr(GetParam().reason));
  }
}

INSTANTIATE_TEST_SUITE_P(Table, VerdictTest, ::testing::ValuesIn(Rows()),
                         [](const auto& info) { return info.param.name; });

TEST(VerdictReasonsTest, AnUncleanRunStillSaysWhyItWasAborted) {
  v1::Run run = GoodRun();
  Aborted(run);
  Fault(run).set_end_proven(false);
  const v1::VerdictParts verdict = Judge(run);
  ASSERT_EQ(verdict.reasons_size(), 2);
  EXPECT_EQ(verdict.reasons(1), "aborted: by ana: too loud");
}

TEST(VerdictReasonsTest, NamesEveryPartThatFailed) {
  v1::Run run = GoodRun();
  Alert(run).set_outcome(v1::DETECTION_OUTCOME_MISSED);
  Indicator(run).set_floor_held(false);
  Indicator(run).set_outcome(v1::RECOVERY_OUTCOME_NOT_RECOVERED);
  EXPECT_EQ(Judge(run).reasons_size(), 3);
}

}  // namespace
}  // namespace firedrill::controller
