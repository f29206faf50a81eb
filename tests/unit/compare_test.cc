// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "controller/cli/view/compare_view.h"
#include "proto/support/time.h"
#include "tests/unit/cli_fake_controller.h"

namespace firedrill::cli {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;
using ::testing::Not;

void SetTime(v1::Run& run, Nanoseconds value, Nanoseconds error, bool censored = false) {
  v1::Measure& measure = *run.mutable_alerts(0)->mutable_time_to_detect();
  *measure.mutable_value() = ToProto(value);
  *measure.mutable_uncertainty() = ToProto(error);
  measure.set_censored(censored);
}

class CompareTest : public testing::Test {
 protected:
  CompareTest() : first_(test::FinishedRun(v1::VERDICT_PASSED)), second_(first_) {
    first_.set_id("run1");
    second_.set_id("run2");
  }

  ComparedMeasure Detect(Nanoseconds first, bool first_censored, Nanoseconds second,
                         bool second_censored) {
    SetTime(first_, first, milliseconds(20), first_censored);
    SetTime(second_, second, milliseconds(30), second_censored);
    for (const ComparedMeasure& measure : Compare(first_, second_).measures) {
      if (measure.name == "time to detect") return measure;
    }
    return {};
  }

  v1::Run first_, second_;
};

TEST_F(CompareTest, ADifferenceIsBeyondBothErrorsOrNot) {
  ComparedMeasure measure = Detect(seconds(22), false, milliseconds(22'051), false);
  EXPECT_EQ(measure.difference, Difference::kBeyondError);
  EXPECT_EQ(measure.by, milliseconds(51));
  EXPECT_EQ(measure.subject, "ShopSlow");
  measure = Detect(seconds(22), false, milliseconds(21'950), false);
  EXPECT_EQ(measure.difference, Difference::kWithinError);
  EXPECT_EQ(measure.by, milliseconds(-50));
}

// Each fault began somewhere between two scrapes, and its sample between two evaluations.
TEST_F(CompareTest, ADifferenceOfAScrapeAndAnEvaluationSaysNothing) {
  for (v1::Run* run : {&first_, &second_}) {
    run->mutable_experiment()->clear_detection();
    run->mutable_experiment()->add_detection()->set_alert("ShopSlow");
    run->mutable_evidence()->clear_alerts();
    v1::AlertRule& rule = *run->mutable_evidence()->add_alerts()->mutable_rule();
    *rule.mutable_scrape_interval() = ToProto(seconds(5));
    *rule.mutable_evaluation_interval() = ToProto(seconds(10));
  }
  EXPECT_EQ(Detect(seconds(22), false, milliseconds(22'050), false).difference,
            Difference::kWithinError);
  EXPECT_EQ(Detect(seconds(22), false, seconds(37), false).difference, Difference::kWithinPhase);
  EXPECT_THAT(CompareText(first_, second_, Style(false), 200),
              HasSubstr("within one scrape and evaluation"));
  EXPECT_EQ(Detect(seconds(37), false, seconds(22), false).difference, Difference::kWithinPhase);
  EXPECT_EQ(Detect(seconds(22), false, milliseconds(37'051), false).difference,
            Difference::kBeyondError);
}

TEST_F(CompareTest, ADifferenceOfOneScrapeOfAnIndicatorSaysNothing) {
  const auto recover = [&](Nanoseconds first, Nanoseconds second) {
    for (v1::Run* run : {&first_, &second_}) {
      run->mutable_experiment()->clear_steady_state();
      run->mutable_experiment()->add_steady_state()->set_name("success ratio");
      run->mutable_evidence()->clear_indicators();
      *run->mutable_evidence()->add_indicators()->mutable_interval() = ToProto(seconds(5));
      v1::Measure& measure = *run->mutable_indicators(0)->mutable_time_to_recover();
      *measure.mutable_value() = ToProto(run == &first_ ? first : second);
      *measure.mutable_uncertainty() = ToProto(milliseconds(2));
    }
    for (const ComparedMeasure& measure : Compare(first_, second_).measures) {
      if (measure.name == "time to recover") return measure.difference;
    }
    return Difference::kUnknown;
  };
  EXPECT_EQ(recover(seconds(60), seconds(65)), Difference::kWithinPhase);
  EXPECT_EQ(recover(seconds(60), milliseconds(65'005)), Difference::kBeyondError);
  EXPECT_EQ(recover(seconds(60), seconds(60)), Difference::kWithinError);
}

TEST_F(CompareTest, OfACensoredTimeOnlyABoundIsKnown) {
  ComparedMeasure measure = Detect(seconds(22), false, seconds(60), true);
  EXPECT_EQ(measure.difference, Difference::kAtLeast);
  EXPECT_EQ(measure.by, seconds(38));
  measure = Detect(seconds(60), true, seconds(22), false);
  EXPECT_EQ(measure.difference, Difference::kAtLeast);
  EXPECT_EQ(measure.by, seconds(-38));
  EXPECT_EQ(Detect(seconds(70), false, seconds(60), true).difference, Difference::kUnknown);
  EXPECT_EQ(Detect(seconds(60), true, seconds(60), true).difference, Difference::kUnknown);
}

TEST_F(CompareTest, WhatOnlyOneHasIsShown) {
  second_.clear_alerts();
  const RunComparison comparison = Compare(first_, second_);
  ASSERT_FALSE(comparison.measures.empty());
  EXPECT_TRUE(comparison.measures[0].first);
  EXPECT_FALSE(comparison.measures[0].second);
  EXPECT_THAT(CompareText(first_, second_, Style(false), 0), HasSubstr("only one has it"));
}

TEST_F(CompareTest, StagesStandSideBySide) {
  const auto add = [](v1::Run& run, v1::StageKind kind, Nanoseconds value) {
    v1::Stage& stage = *run.mutable_alerts(0)->add_stages();
    stage.set_kind(kind);
    *stage.mutable_value() = ToProto(value);
  };
  add(first_, v1::STAGE_KIND_SCRAPE, seconds(3));
  add(first_, v1::STAGE_KIND_FOR, seconds(12));
  add(second_, v1::STAGE_KIND_SCRAPE, seconds(4));
  const RunComparison comparison = Compare(first_, second_);
  ASSERT_EQ(comparison.stages.size(), 2U);
  EXPECT_EQ(comparison.stages[0].stage, "scrape");
  EXPECT_EQ(comparison.stages[0].second, seconds(4));
  EXPECT_EQ(comparison.stages[1].stage, "for");
  EXPECT_EQ(comparison.stages[1].second, seconds(0));  // it took none
  EXPECT_THAT(CompareText(first_, second_, Style(false), 0), HasSubstr("-12s"));
}

TEST_F(CompareTest, NamesWhatDifferedAsAFileSpellsIt) {
  const auto fill = [](v1::Run& run, int percent, int pending_for) {
    v1::Experiment& experiment = *run.mutable_experiment();
    experiment.clear_method();
    v1::Step& step = *experiment.add_method();
    step.set_name("lose");
    step.mutable_fault()->mutable_packet_loss()->set_percent(percent);
    *step.mutable_duration() = ToProto(seconds(60));
    (*experiment.mutable_targets())["cache"].mutable_pick()->set_count(1);
    experiment.add_detection()->set_alert("ShopSlow");
    v1::AlertEvidence& evidence = *run.mutable_evidence()->add_alerts();
    *evidence.mutable_rule()->mutable_pending_for() = ToProto(seconds(pending_for));
    evidence.mutable_rule()->set_expression("shop_ok == 0");
  };
  fill(first_, 33, 60);
  fill(second_, 50, 30);
  (*second_.mutable_experiment()->mutable_targets())["cache"].add_hosts("web1");
  const std::vector<Change> changes = Compare(first_, second_).changes;
  const auto has = [&](const char* field, const char* was, const char* is) {
    for (const Change& change : changes) {
      if (change.field == field && change.first == was && change.second == is) return true;
    }
    return false;
  };
  EXPECT_EQ(changes.size(), 3U);
  EXPECT_TRUE(has("method[lose].fault.packet_loss.percent", "33", "50"));
  EXPECT_TRUE(has("targets.cache.hosts", "", "web1"));
  EXPECT_TRUE(has("rule.ShopSlow.pending_for", "1m", "30s"));
  const std::string text = CompareText(first_, second_, Style(false), 0);
  EXPECT_THAT(text, HasSubstr("WHAT DIFFERED"));
  EXPECT_THAT(CompareText(first_, first_, Style(false), 0), HasSubstr("Nothing differed"));
}

TEST_F(CompareTest, ProgramsGetTheSameWithStableNames) {
  second_.set_detection(v1::DETECTION_OUTCOME_MISSED);
  SetTime(second_, seconds(60), seconds(0), true);
  const auto json = nlohmann::json::parse(CompareJson(first_, second_));
  EXPECT_EQ(json["runs"], (nlohmann::json{"run1", "run2"}));
  EXPECT_EQ(json["outcomes"][1]["name"], "detection");
  EXPECT_EQ(json["outcomes"][1]["first"], "detected");
  EXPECT_EQ(json["outcomes"][1]["second"], "missed");
  EXPECT_EQ(json["measures"][0]["first"]["seconds"], 12.3);
  EXPECT_EQ(json["measures"][0]["second"]["censored"], true);
  EXPECT_EQ(json["measures"][0]["difference"], "at_least");
  EXPECT_NEAR(json["measures"][0]["difference_seconds"].get<double>(), 47.7, 1e-9);
  EXPECT_TRUE(json["changes"].is_array());
}

TEST_F(CompareTest, WhatTheRunsSayReachesATerminalAsPlainText) {
  second_.mutable_experiment()->set_hypothesis("\x1b[2J");
  EXPECT_THAT(CompareText(first_, second_, Style(false), 80), Not(HasSubstr("\x1b")));
}

}  // namespace
}  // namespace firedrill::cli
