// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "controller/measure/without_fault.h"
#include "tests/unit/measure_evidence.h"

namespace firedrill::controller {
namespace {

class WithoutFaultTest : public testing::Test {
 protected:
  WithoutFaultTest() : experiment_(OneIndicator()) {
    experiment_.add_method()->mutable_fault()->mutable_none();
    v1::Detection& detection = *experiment_.add_detection();
    detection.set_alert("ShopSlow");
    *detection.mutable_within() = ToProto(std::chrono::seconds(5));
    evidence_.instants.first_impact = Instant{kImpact};
    evidence_.instants.ended = Instant{At(20)};
    evidence_.now = At(30);
    evidence_.final = true;
    evidence_.indicators.resize(1);
    evidence_.indicators[0].samples = Samples(-5, std::string(36, '+'));
    evidence_.indicators[0].interval = std::chrono::seconds(1);
    evidence_.alerts.resize(1);
    evidence_.alerts[0].rule = EverySecond();
  }

  Measures Fired(const std::vector<AlertEpisode>& episodes) {
    evidence_.alerts[0].series = AlertsOf(episodes);
    return MeasureRun(experiment_, evidence_);
  }

  v1::Experiment experiment_;
  Evidence evidence_;
};

TEST_F(WithoutFaultTest, SilenceIsWhatIsExpectedOfAnAlertThatOughtToFire) {
  const Measures measures = Fired({});
  EXPECT_EQ(measures.detection, v1::DETECTION_OUTCOME_SILENT);
  EXPECT_EQ(measures.recovery, v1::RECOVERY_OUTCOME_ABSORBED);
  EXPECT_EQ(measures.false_alarms, 0u);
  EXPECT_FALSE(measures.time_to_detect);
  // The result tells the experiment's own words.
  EXPECT_EQ(measures.alerts[0].expected().SerializeAsString(),
            experiment_.detection(0).SerializeAsString());
}

TEST_F(WithoutFaultTest, EachTimeThatItBeginsToFireIsAFalseAlarmAlsoAfterWithin) {
  const Measures measures = Fired({Episode(6, 8, 10), Episode(15, 16, 18)});
  EXPECT_EQ(measures.detection, v1::DETECTION_OUTCOME_FALSE_ALARM);
  EXPECT_EQ(measures.false_alarms, 2u);
  EXPECT_FALSE(measures.time_to_detect) << "there was nothing to detect";
}

TEST_F(WithoutFaultTest, PendingAloneIsNoAlarm) {
  EXPECT_EQ(Fired({Episode(6, -2000, 8)}).detection, v1::DETECTION_OUTCOME_SILENT);
}

TEST_F(WithoutFaultTest, SilenceOfABlindPrometheusIsUnknown) {
  evidence_.alerts[0].blind = {{At(4), At(9)}};
  EXPECT_EQ(Fired({}).detection, v1::DETECTION_OUTCOME_UNKNOWN);
}

TEST_F(WithoutFaultTest, WithAFaultTheSameIsADetection) {
  experiment_.add_method()->mutable_fault()->mutable_cpu();
  EXPECT_FALSE(InjectsNothing(experiment_));
  const Measures measures = Fired({Episode(2, 4, 10)});
  EXPECT_EQ(measures.detection, v1::DETECTION_OUTCOME_DETECTED);
  EXPECT_EQ(measures.false_alarms, 0u);
}

TEST_F(WithoutFaultTest, AnExperimentWithoutStepsIsNone) {
  EXPECT_FALSE(InjectsNothing(v1::Experiment()));
}

TEST_F(WithoutFaultTest, OneThatOnlyAWebhookToldOfIsOne) {
  v1::AlertResult result;
  result.set_outcome(v1::DETECTION_OUTCOME_FALSE_ALARM);
  EXPECT_EQ(FalseAlarmsIn(result), 1u);
  result.set_episodes(3);
  EXPECT_EQ(FalseAlarmsIn(result), 3u);
  result.set_outcome(v1::DETECTION_OUTCOME_DETECTED);
  EXPECT_EQ(FalseAlarmsIn(result), 0u);
}

}  // namespace
}  // namespace firedrill::controller
