// SPDX-License-Identifier: Apache-2.0
// `firedrill measure`: a stored run's figures, computed again from its evidence.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "controller/cli/commands/history_commands.h"
#include "controller/measure/record.h"
#include "nlohmann/json.hpp"
#include "tests/unit/cli_command_fixture.h"
#include "tests/unit/measure_evidence.h"

namespace firedrill::cli {
namespace {

using controller::At;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;

// As the controller leaves one: an alert pending at 2 s, firing at 5 s, told at 5.5 s.
v1::Run MeasuredFromEvidence() {
  v1::Run run;
  run.set_id("run1");
  *run.mutable_experiment() = controller::OneIndicator();
  run.mutable_experiment()->add_detection()->set_alert("ShopSlow");
  run.set_state(v1::RUN_STATE_FINISHED);
  v1::Injection& injection = *run.add_injections();
  injection.set_state(v1::INJECTION_STATE_ENDED);
  *injection.mutable_duration() = ToProto(seconds(20));
  for (const auto& [kind, at] :
       {std::pair(v1::MARK_KIND_FIRST_IMPACT, 0), std::pair(v1::MARK_KIND_ENDED, 20)}) {
    v1::Mark& mark = *run.add_marks();
    mark.set_kind(kind);
    *mark.mutable_at() = ToProto(At(at));
    *mark.mutable_uncertainty() = ToProto(milliseconds(2));
  }
  controller::ProbeAnswer answer;
  answer.clock_uncertainty = milliseconds(2);
  answer.indicators.resize(1);
  answer.indicators[0].samples =
      controller::Samples(-10, "++++++++++--------------------++++++++++");
  answer.indicators[0].interval = seconds(1);
  answer.alerts.resize(1);
  answer.alerts[0].rule = controller::EverySecond();
  answer.alerts[0].series = controller::AlertsOf({controller::Episode(2, 5, 22)});
  controller::EvidenceRecord record(run);
  std::vector<v1::Series> samples;
  record.Take(answer, At(-30), samples);
  record.Take({controller::Notice(5, 5.5)});
  record.Measure(At(30), /*final=*/true);
  return run;
}

class MeasureCommandTest : public CommandTest {
 protected:
  void Store(const v1::Run& run) {
    fake_.Update("run1", [&run](v1::Run& stored) { stored = run; });
  }
};

TEST_F(MeasureCommandTest, SaysThatTheFiguresAreWhatTheEvidenceGives) {
  const v1::Run run = MeasuredFromEvidence();
  ASSERT_EQ(controller::Length(run.time_to_detect()), 5);
  Store(run);
  const Result result = Ask({"measure", "run1"});
  EXPECT_EQ(result.code, 0) << result.out << result.err;
  EXPECT_THAT(result.out, HasSubstr("run run1: the same. "));
  EXPECT_THAT(result.out, HasSubstr("from 60 raw samples and 1 notification.\n"));
  const auto json = nlohmann::json::parse(Ask({"measure", "run1", "-o", "json"}).out);
  EXPECT_EQ(json["same"], true);
  EXPECT_GT(json["values"], 50);
  EXPECT_TRUE(json["differing"].empty());
}

TEST_F(MeasureCommandTest, NamesWhatIsNotWhatTheEvidenceGives) {
  v1::Run run = MeasuredFromEvidence();
  // Somebody wrote a better figure into the store, by less than people are shown.
  *run.mutable_time_to_detect()->mutable_value() = ToProto(milliseconds(4999));
  run.add_caveats("alert ShopSlow: the webhook says it began to fire at noon, after it had come");
  Store(run);
  const Result result = Ask({"measure", "run1"});
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.out, HasSubstr("run run1: 2 values differ"));
  EXPECT_THAT(result.out, HasSubstr("time_to_detect/value"));
  EXPECT_THAT(result.out, HasSubstr("4.999s"));
  const auto json = nlohmann::json::parse(Ask({"measure", "run1", "-o", "json"}).out);
  EXPECT_EQ(json["same"], false);
  EXPECT_THAT(json["differing"].dump(),
              HasSubstr(R"({"again":"5s","field":"time_to_detect/value","stored":"4.999s"})"));
}

// What an agent or a person said is not computed, so it is not counted either.
TEST_F(MeasureCommandTest, CountsOnlyWhatIsComputed) {
  v1::Run run = MeasuredFromEvidence();
  const auto values = [&] {
    Store(run);
    const auto json = nlohmann::json::parse(Ask({"measure", "run1", "-o", "json"}).out);
    EXPECT_EQ(json["same"], true);
    return json["values"].get<int>();
  };
  const int counted = values();
  EXPECT_GT(counted, 0);
  run.mutable_injections(0)->set_error("said by the agent");
  run.mutable_verdict()->add_reasons("told");
  run.add_caveats("Prometheus' clock was set");
  v1::Mark& mark = *run.add_marks();
  mark.set_kind(v1::MARK_KIND_UNSPECIFIED);
  *mark.mutable_at() = ToProto(At(25));
  EXPECT_EQ(values(), counted);
  // Nothing to measure at all is no values, not one without a name.
  run.clear_evidence();
  run.clear_series();
  run.mutable_experiment()->clear_detection();
  run.mutable_experiment()->clear_steady_state();
  run.mutable_evidence();
  ASSERT_TRUE(controller::MeasureAgain(run).ok());
  EXPECT_EQ(values(), 0);
}

TEST_F(MeasureCommandTest, FiguresThatCannotBeReadAreNotTheSame) {
  v1::Run run = MeasuredFromEvidence();
  run.mutable_time_to_detect()->mutable_value()->set_seconds(1'000'000'000'000'000);
  Store(run);
  const Result result = Ask({"measure", "run1"});
  EXPECT_NE(result.code, 0);
  EXPECT_THAT(result.out, ::testing::Not(HasSubstr("the same")));
  EXPECT_THAT(result.err, HasSubstr("read the figures of run run1"));
}

TEST_F(MeasureCommandTest, ASampleThatIsGoneIsMissed) {
  v1::Run run = MeasuredFromEvidence();
  for (v1::Series& series : *run.mutable_series()) {
    if (series.name() == run.evidence().alerts(0).series(1).series()) {
      series.mutable_samples()->DeleteSubrange(0, 1);
    }
  }
  Store(run);
  const Result result = Ask({"measure", "run1"});
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.out, HasSubstr("alerts/0/time_to_detect/value"));
}

TEST_F(MeasureCommandTest, WithoutEvidenceNothingIsKnown) {
  v1::Run run = MeasuredFromEvidence();
  run.clear_evidence();
  Store(run);
  const Result result = Ask({"measure", "run1"});
  EXPECT_EQ(result.code, 6);
  EXPECT_THAT(result.err, HasSubstr("did not keep what it was measured from"));
}

TEST_F(MeasureCommandTest, ARunThatIsUnderWayIsNotMeasuredAgain) {
  v1::Run run = MeasuredFromEvidence();
  run.set_state(v1::RUN_STATE_RECOVERING);
  Store(run);
  const Result result = Ask({"measure", "run1"});
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.err, HasSubstr("is not finished"));
  EXPECT_EQ(Ask({"measure"}).code, 2);
}

}  // namespace
}  // namespace firedrill::cli
