// SPDX-License-Identifier: Apache-2.0
#include "controller/metrics/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "proto/support/time.h"

namespace firedrill::controller {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;
using testing::Not;

const char kLabels[] = "{experiment=\"cache-loss\",fault=\"cpu+packet_loss\"}";

v1::Experiment AnExperiment(const std::string& name) {
  v1::Experiment experiment;
  experiment.set_name(name);
  experiment.set_environment("staging");
  experiment.add_method()->mutable_fault()->mutable_packet_loss();
  experiment.add_method()->mutable_fault()->mutable_cpu();
  v1::Detection& detection = *experiment.add_detection();
  detection.set_alert("ShopSlow");
  *detection.mutable_within() = ToProto(seconds(60));
  v1::Indicator& indicator = *experiment.add_steady_state();
  indicator.set_name("success ratio");
  indicator.mutable_expect()->set_value(0.99);
  return experiment;
}

void Put(v1::Measure& measure, double value) {
  *measure.mutable_value() = ToProto(Nanoseconds(static_cast<std::int64_t>(std::abs(value) * 1e9)));
  measure.set_censored(value < 0);
}

// Censored where negative.
v1::Run FinishedRun(const std::string& experiment, double detect, double recover) {
  v1::Run run;
  run.set_id("0190-secret-run-id");
  *run.mutable_experiment() = AnExperiment(experiment);
  *run.mutable_finished_at() = ToProto(SystemTime(seconds(1'800'000'000)));
  run.mutable_verdict()->set_verdict(v1::VERDICT_PASSED);
  run.set_detection(detect < 0 ? v1::DETECTION_OUTCOME_MISSED : v1::DETECTION_OUTCOME_DETECTED);
  run.set_recovery(recover < 0 ? v1::RECOVERY_OUTCOME_NOT_RECOVERED
                               : v1::RECOVERY_OUTCOME_AFTER_END);
  Put(*run.mutable_time_to_detect(), detect);
  Put(*run.mutable_time_to_recover(), recover);
  v1::Injection& injection = *run.add_injections();
  injection.set_state(v1::INJECTION_STATE_ENDED);
  injection.set_end_proven(true);
  return run;
}

std::size_t Lines(const std::string& page) {
  return static_cast<std::size_t>(std::count(page.begin(), page.end(), '\n'));
}

TEST(ControllerMetricsTest, CountsRunsByWhatCameOfThem) {
  ControllerMetrics metrics("1.2.3", nullptr);
  metrics.RunFinished(FinishedRun("cache-loss", 6, 31));
  metrics.RunFinished(FinishedRun("cache-loss", 8, 40));
  const std::string page = metrics.Render();
  const std::string labels = kLabels;
  EXPECT_THAT(page,
              HasSubstr("firedrill_runs_total{detection=\"detected\",experiment=\"cache-loss\","
                        "fault=\"cpu+packet_loss\",recovery=\"after_end\"} 2"));
  EXPECT_THAT(page, HasSubstr("firedrill_verdicts_total{experiment=\"cache-loss\","
                              "fault=\"cpu+packet_loss\",verdict=\"passed\"} 2"));
  EXPECT_THAT(page, HasSubstr("firedrill_last_time_to_detect_seconds" + labels + " 8"));
  EXPECT_THAT(page, HasSubstr("firedrill_last_time_to_recover_seconds" + labels + " 40"));
  EXPECT_THAT(page, HasSubstr("firedrill_time_to_detect_seconds_count" + labels + " 2"));
  EXPECT_THAT(page, HasSubstr("firedrill_time_to_detect_seconds_sum" + labels + " 14"));
  EXPECT_THAT(page, HasSubstr("firedrill_time_to_detect_seconds_bucket{experiment=\"cache-loss\","
                              "fault=\"cpu+packet_loss\",le=\"15\"} 2"));
  EXPECT_THAT(page, HasSubstr("firedrill_ends_not_proven_total 0"));
  EXPECT_THAT(page, HasSubstr("firedrill_build_info{version=\"1.2.3\"} 1"));
  EXPECT_THAT(page, HasSubstr("firedrill_experiment_info{environment=\"staging\",experiment="
                              "\"cache-loss\",fault=\"cpu+packet_loss\"} 1"));
  EXPECT_THAT(page, HasSubstr("firedrill_detection_objective_seconds{alert=\"ShopSlow\","
                              "experiment=\"cache-loss\"} 60"));
  EXPECT_THAT(page, Not(HasSubstr("secret-run-id")));
}

TEST(ControllerMetricsTest, ARunThatWasCutShortIsCountedByItsVerdictAlone) {
  ControllerMetrics metrics("1", nullptr);
  metrics.RunFinished(FinishedRun("cache-loss", 6, 31));
  v1::Run cut = FinishedRun("cache-loss", 2, 3);
  cut.mutable_verdict()->set_verdict(v1::VERDICT_UNCLEAN);
  cut.mutable_evidence()->set_cut_short(true);
  metrics.RunFinished(cut);
  const std::string page = metrics.Render();
  const std::string labels = kLabels;
  EXPECT_THAT(page, HasSubstr("firedrill_verdicts_total{experiment=\"cache-loss\","
                              "fault=\"cpu+packet_loss\",verdict=\"unclean\"} 1"));
  EXPECT_THAT(page,
              HasSubstr("firedrill_runs_total{detection=\"detected\",experiment=\"cache-loss\","
                        "fault=\"cpu+packet_loss\",recovery=\"after_end\"} 1"));
  EXPECT_THAT(page, HasSubstr("firedrill_time_to_detect_seconds_count" + labels + " 1"));
  EXPECT_THAT(page, HasSubstr("firedrill_time_to_recover_seconds_sum" + labels + " 31"));
}

TEST(ControllerMetricsTest, WithoutAFaultNoAlertHasAnObjective) {
  ControllerMetrics metrics("1", nullptr);
  v1::Run run = FinishedRun("healthy", 6, 31);
  run.mutable_experiment()->clear_method();
  run.mutable_experiment()->add_method()->mutable_fault()->mutable_none();
  metrics.RunFinished(run);
  const std::string page = metrics.Render();
  EXPECT_THAT(page, HasSubstr("firedrill_experiment_info{environment=\"staging\","
                              "experiment=\"healthy\""));
  EXPECT_THAT(page, Not(HasSubstr("firedrill_detection_objective_seconds")));
}

TEST(ControllerMetricsTest, WhatDidNotHappenIsAbsentNotZero) {
  ControllerMetrics metrics("1", nullptr);
  metrics.RunFinished(FinishedRun("a", 6, 31));
  metrics.RunFinished(FinishedRun("b", 7, 32));
  metrics.RunFinished(FinishedRun("a", -120, -90));  // censored
  const std::string page = metrics.Render();
  const std::string a = "{experiment=\"a\",fault=\"cpu+packet_loss\"}";
  EXPECT_THAT(page, Not(HasSubstr("firedrill_last_time_to_detect_seconds" + a)));
  EXPECT_THAT(page, Not(HasSubstr("firedrill_last_time_to_recover_seconds" + a)));
  EXPECT_THAT(page, Not(HasSubstr("firedrill_last_time_to_acknowledge_seconds")));
  EXPECT_THAT(page, HasSubstr("firedrill_last_undetected_for_seconds" + a + " 120"));
  EXPECT_THAT(page, HasSubstr("firedrill_last_unrecovered_for_seconds" + a + " 90"));
  EXPECT_THAT(page, HasSubstr("firedrill_last_time_to_detect_seconds{experiment=\"b\""));
  // The histogram keeps what was, and does not take the censored one for a time.
  EXPECT_THAT(page, HasSubstr("firedrill_time_to_detect_seconds_count" + a + " 1"));
  metrics.RunFinished(FinishedRun("a", 9, 33));
  const std::string later = metrics.Render();
  EXPECT_THAT(later, HasSubstr("firedrill_last_time_to_detect_seconds" + a + " 9"));
  EXPECT_THAT(later, Not(HasSubstr("firedrill_last_undetected_for_seconds" + a)));
}

TEST(ControllerMetricsTest, ShowsWhatTheLastRunWasMadeOf) {
  v1::Run run = FinishedRun("cache-loss", 22, 41);
  Put(*run.mutable_time_to_notify(), 22.5);
  Put(*run.mutable_time_to_acknowledge(), 100);
  run.set_false_alarms(3);
  const auto alert = [&run](const char* name, double detect,
                            std::initializer_list<std::pair<v1::StageKind, int>> stages) {
    v1::AlertResult& result = *run.add_alerts();
    result.mutable_expected()->set_alert(name);
    Put(*result.mutable_time_to_detect(), detect);
    for (const auto& [kind, value] : stages) {
      v1::Stage& stage = *result.add_stages();
      stage.set_kind(kind);
      *stage.mutable_value() = ToProto(seconds(value));
    }
  };
  alert("Later", 30, {{v1::STAGE_KIND_FOR, 30}});
  alert("ShopSlow", 22,
        {{v1::STAGE_KIND_SCRAPE, 3}, {v1::STAGE_KIND_FOR, 16}, {v1::STAGE_KIND_ROUNDING, 3}});
  v1::IndicatorResult& indicator = *run.add_indicators();
  indicator.mutable_indicator()->set_name("success ratio");
  indicator.set_lowest_quality(0.25);
  *indicator.mutable_lost() = ToProto(milliseconds(12500));
  indicator.set_budget_burned(0.03);
  indicator.set_floor_held(false);
  v1::Mark& mark = *run.add_marks();
  mark.set_kind(v1::MARK_KIND_FIRST_IMPACT);
  *mark.mutable_at() = ToProto(SystemTime(milliseconds(1'700'000'000'250)));
  ControllerMetrics metrics("1", nullptr);
  metrics.RunFinished(run);
  const std::string page = metrics.Render();
  const std::string pair = "experiment=\"cache-loss\",fault=\"cpu+packet_loss\"";
  const auto stage = [&pair](const char* name) {
    return "firedrill_last_detection_stage_seconds{" + pair + ",stage=\"" + name + "\"} ";
  };
  EXPECT_THAT(page, HasSubstr(stage("scrape") + "3"));
  EXPECT_THAT(page, HasSubstr(stage("for") + "16")) << "of the alert that fired first";
  EXPECT_THAT(page, HasSubstr(stage("rounding") + "3"));
  EXPECT_THAT(page, HasSubstr("firedrill_last_time_to_notify_seconds{" + pair + "} 22.5"));
  EXPECT_THAT(page, HasSubstr("firedrill_last_time_to_acknowledge_seconds{" + pair + "} 100"));
  EXPECT_THAT(page, HasSubstr("firedrill_false_alarms_total{" + pair + "} 3"));
  EXPECT_THAT(page, HasSubstr("firedrill_last_alert_time_to_detect_seconds{alert=\"Later\"," +
                              pair + "} 30"));
  const std::string of = pair + ",indicator=\"success ratio\"} ";
  EXPECT_THAT(page, HasSubstr("firedrill_last_lowest_quality_ratio{" + of + "0.25"));
  EXPECT_THAT(page, HasSubstr("firedrill_last_lost_service_seconds{" + of + "12.5"));
  EXPECT_THAT(page, HasSubstr("firedrill_last_budget_burned_ratio{" + of + "0.03"));
  EXPECT_THAT(page, HasSubstr("firedrill_last_floor_held{" + of + "0"));
  EXPECT_THAT(page, HasSubstr("firedrill_run_mark_timestamp_seconds{experiment=\"cache-loss\",mark="
                              "\"first_impact\"} 1700000000.25"));
}

TEST(ControllerMetricsTest, WhatIsAppliedStandsThereAtZeroBeforeItsFirstRun) {
  FleetFigures fleet;
  fleet.applied.push_back(AnExperiment("weekly"));
  ControllerMetrics metrics("1", [&fleet] { return fleet; });
  const std::string before = metrics.Render();
  const std::string detected =
      "firedrill_runs_total{detection=\"detected\",experiment=\"weekly\","
      "fault=\"cpu+packet_loss\",recovery=\"after_end\"} ";
  EXPECT_THAT(before, HasSubstr(detected + "0"));
  EXPECT_THAT(before, HasSubstr("firedrill_runs_total{detection=\"missed\",experiment=\"weekly\","
                                "fault=\"cpu+packet_loss\",recovery=\"relapsed\"} 0"));
  EXPECT_THAT(before, HasSubstr("firedrill_time_to_detect_seconds_count{experiment=\"weekly\","
                                "fault=\"cpu+packet_loss\"} 0"));
  EXPECT_THAT(before, Not(HasSubstr("firedrill_last_run")));
  metrics.RunFinished(FinishedRun("weekly", 6, 31));
  EXPECT_THAT(metrics.Render(), HasSubstr(detected + "1"));
}

TEST(ControllerMetricsTest, OneThatExpectsAndWatchesNothingHasFewSeries) {
  v1::Run run = FinishedRun("plain", 1, 1);
  run.mutable_experiment()->clear_detection();
  run.mutable_experiment()->clear_steady_state();
  run.clear_detection();
  run.clear_recovery();
  run.clear_time_to_detect();
  run.clear_time_to_recover();
  ControllerMetrics metrics("1", nullptr);
  metrics.RunFinished(run);
  const std::string page = metrics.Render();
  EXPECT_THAT(page, HasSubstr("firedrill_runs_total{detection=\"none\",experiment=\"plain\","
                              "fault=\"cpu+packet_loss\",recovery=\"none\"} 1"));
  EXPECT_THAT(page, Not(HasSubstr("detected")));
  EXPECT_THAT(page, Not(HasSubstr("time_to")));
}

TEST(ControllerMetricsTest, ThePageIsBoundedAndDoesNotGrowWithRuns) {
  ControllerMetrics metrics("1", nullptr);
  const std::size_t empty = Lines(metrics.Render());
  for (int i = 0; i < 500; ++i) metrics.RunFinished(FinishedRun("a", i % 90 + 1, -5));
  const std::size_t one = Lines(metrics.Render());
  EXPECT_LT(one - empty, 170U + 10U + 40U) << "with the lines of HELP and TYPE";
  for (std::size_t i = 0; i < ControllerMetrics::kMostExperiments + 7; ++i) {
    metrics.RunFinished(FinishedRun("e" + std::to_string(i), 6, 31));
  }
  const std::string page = metrics.Render();
  EXPECT_LT(Lines(page), ControllerMetrics::kMostExperiments * 180);
  EXPECT_THAT(page, HasSubstr("firedrill_experiments_forgotten 8"));
  EXPECT_THAT(page, Not(HasSubstr("experiment=\"a\""))) << "those that ran last are kept";
  EXPECT_THAT(page, Not(HasSubstr("experiment=\"e6\"")));
  EXPECT_THAT(page, HasSubstr("experiment=\"e7\""));
}

TEST(ControllerMetricsTest, AnEndThatIsNotProvenIsCounted) {
  ControllerMetrics metrics("1", nullptr);
  v1::Run run = FinishedRun("a", 6, 31);
  run.mutable_injections(0)->set_end_proven(false);
  run.add_injections()->set_state(v1::INJECTION_STATE_FAILED);  // the host was never touched
  metrics.RunFinished(run);
  EXPECT_THAT(metrics.Render(), HasSubstr("firedrill_ends_not_proven_total 1"));
}

TEST(ControllerMetricsTest, RebuildingCountsTheSameAgain) {
  FakeClock clock;
  ControllerMetrics counted("1", nullptr, clock);
  ControllerMetrics rebuilt("1", nullptr, clock);
  std::vector<v1::Run> runs = {FinishedRun("a", 6, 31), FinishedRun("b", -7, 32),
                               FinishedRun("a", 8, 33)};
  for (const v1::Run& run : runs) counted.RunFinished(run);
  rebuilt.RunFinished(runs[1]);
  rebuilt.Rebuild(runs);
  EXPECT_EQ(counted.Render(), rebuilt.Render());
}

// A run under way: one fault lives on web1, an event is over on web2, one is planned on web3.
std::shared_ptr<v1::Run> LiveRun(SystemTime now) {
  auto run = std::make_shared<v1::Run>();
  *run->mutable_experiment() = AnExperiment("a");
  run->set_state(v1::RUN_STATE_INJECTING);
  const auto inject = [&run](const char* host, v1::InjectionState state) -> v1::Injection& {
    v1::Injection& injection = *run->add_injections();
    injection.set_host(host);
    injection.set_state(state);
    injection.mutable_fault()->mutable_cpu();
    return injection;
  };
  inject("web1", v1::INJECTION_STATE_ACTIVE);
  inject("web1", v1::INJECTION_STATE_ENDING);
  *inject("web2", v1::INJECTION_STATE_ENDED).mutable_applied_at() = ToProto(now);
  inject("web3", v1::INJECTION_STATE_PLANNED);
  v1::Series& series = *run->add_series();
  series.set_name("success ratio");
  for (const double value : {0.999, 0.75}) {
    v1::Sample& sample = *series.add_samples();
    *sample.mutable_at() = ToProto(now);
    sample.set_value(value);
  }
  const auto mark = [&run](v1::MarkKind kind, SystemTime at) {
    v1::Mark& mark = *run->add_marks();
    mark.set_kind(kind);
    *mark.mutable_at() = ToProto(at);
  };
  mark(v1::MARK_KIND_FIRST_IMPACT, SystemTime(seconds(1000)));
  mark(v1::MARK_KIND_FIRST_IMPACT, SystemTime(seconds(1002)));
  mark(v1::MARK_KIND_ENDED, SystemTime(seconds(1010)));
  mark(v1::MARK_KIND_ENDED, SystemTime(seconds(1012)));
  return run;
}

TEST(ControllerMetricsTest, ShowsTheRunThatIsUnderWay) {
  FakeClock clock;
  FleetFigures fleet;
  fleet.live_runs = {LiveRun(clock.System())};
  ControllerMetrics metrics(
      "1", [&fleet] { return fleet; }, clock);
  metrics.RunFinished([] {
    v1::Run before = FinishedRun("a", 6, 31);
    before.add_marks()->set_kind(v1::MARK_KIND_RECOVERED);
    return before;
  }());
  clock.Advance(seconds(20));
  std::string page = metrics.Render();
  const auto active = [](const char* host) {
    return std::string("firedrill_fault_active{experiment=\"a\",fault=\"cpu\",host=\"") + host +
           "\"} ";
  };
  EXPECT_THAT(page,
              HasSubstr("firedrill_live_faults{experiment=\"a\",fault=\"cpu\",host=\"web1\"} 2"));
  EXPECT_THAT(page,
              Not(HasSubstr("firedrill_live_faults{experiment=\"a\",fault=\"cpu\",host=\"web2\"")));
  EXPECT_THAT(page, HasSubstr(active("web1") + "1"));
  EXPECT_THAT(page, HasSubstr(active("web2") + "1")) << "an event is seen by a scrape";
  EXPECT_THAT(page, HasSubstr(active("web3") + "0"));
  EXPECT_THAT(page, HasSubstr("firedrill_live_run_info{environment=\"staging\",experiment=\"a\","
                              "fault=\"cpu+packet_loss\",state=\"injecting\"} 1"));
  const std::string indicator = "{experiment=\"a\",indicator=\"success ratio\"} ";
  EXPECT_THAT(page, HasSubstr("firedrill_run_indicator" + indicator + "0.75"));
  EXPECT_THAT(page, HasSubstr("firedrill_run_indicator_threshold" + indicator + "0.99"));
  EXPECT_THAT(page, HasSubstr("firedrill_run_expected_alert_info{alertname=\"ShopSlow\","
                              "expect=\"fires\",experiment=\"a\"} 1"));
  const std::string mark = "firedrill_run_mark_timestamp_seconds{experiment=\"a\",mark=\"";
  EXPECT_THAT(page, HasSubstr(mark + "first_impact\"} 1000")) << "the first one";
  EXPECT_THAT(page, HasSubstr(mark + "ended\"} 1012")) << "the last one";
  EXPECT_THAT(page, Not(HasSubstr(mark + "recovered"))) << "that was the run before";

  clock.Advance(seconds(41));
  page = metrics.Render();
  EXPECT_THAT(page, HasSubstr(active("web2") + "0"));
  EXPECT_THAT(page, Not(HasSubstr("firedrill_run_indicator{"))) << "61 s old";

  fleet = {};
  page = metrics.Render();
  for (const char* gone : {"web1", "firedrill_live_run_info", "firedrill_run_indicator",
                           "firedrill_run_expected_alert_info", "first_impact"}) {
    EXPECT_THAT(page, Not(HasSubstr(gone)));
  }
  EXPECT_THAT(page, HasSubstr(mark + "recovered"));
}

TEST(ControllerMetricsTest, AgentsFiguresAreThoseOfTheScrape) {
  FakeClock clock;
  FleetFigures fleet;
  v1::Agent agent;
  agent.mutable_hello()->set_agent_id("web1");
  agent.mutable_hello()->set_environment("staging");
  const auto ability = [&agent](const char* name, bool available) {
    v1::Ability& ability = *agent.mutable_hello()->add_abilities();
    ability.set_name(name);
    ability.set_available(available);
  };
  ability("tc", true);
  ability("fuse", false);
  agent.set_state(v1::AGENT_STATE_CONNECTED);
  *agent.mutable_last_seen_at() = ToProto(clock.System());
  v1::Heartbeat& heartbeat = *agent.mutable_last_heartbeat();
  *heartbeat.mutable_clock_offset() = ToProto(milliseconds(-1500));
  heartbeat.set_clock_known(true);
  heartbeat.set_live_faults(2);
  heartbeat.set_faults_over_cap(3);
  heartbeat.set_leases_run_out(4);
  fleet.agents.push_back(agent);
  agent.mutable_hello()->set_agent_id("web2");
  agent.set_state(v1::AGENT_STATE_GONE);
  agent.mutable_last_heartbeat()->set_clock_known(false);
  fleet.agents.push_back(agent);
  ControllerMetrics metrics(
      "1", [&fleet] { return fleet; }, clock);
  clock.Advance(seconds(7));
  std::string page = metrics.Render();
  EXPECT_THAT(page, HasSubstr("firedrill_agents{state=\"connected\"} 1"));
  EXPECT_THAT(page, HasSubstr("firedrill_agents{state=\"draining\"} 0"));
  EXPECT_THAT(page, HasSubstr("firedrill_agents{state=\"gone\"} 1"));
  EXPECT_THAT(page, HasSubstr("firedrill_agent_connected{host=\"web1\"} 1"));
  EXPECT_THAT(page, HasSubstr("firedrill_agent_connected{host=\"web2\"} 0"));
  EXPECT_THAT(page, HasSubstr("firedrill_agent_info{environment=\"staging\",host=\"web1\""));
  EXPECT_THAT(page, HasSubstr("firedrill_agent_heartbeat_age_seconds{host=\"web1\"} 7"));
  EXPECT_THAT(page, HasSubstr("firedrill_agent_clock_offset_seconds{host=\"web1\"} -1.5"));
  EXPECT_THAT(page, Not(HasSubstr("firedrill_agent_clock_offset_seconds{host=\"web2\"}")));
  EXPECT_THAT(page, HasSubstr("firedrill_agent_live_faults{host=\"web1\"} 2"));
  EXPECT_THAT(page, HasSubstr("firedrill_agent_missing_abilities{host=\"web1\"} 1"));
  EXPECT_THAT(page, HasSubstr("firedrill_hosts_lacking_ability{ability=\"fuse\"} 2"));
  EXPECT_THAT(page, HasSubstr("firedrill_hosts_lacking_ability{ability=\"tc\"} 0"));
  EXPECT_THAT(page, HasSubstr("firedrill_faults_over_cap_total{host=\"web1\"} 3"));
  EXPECT_THAT(page, HasSubstr("firedrill_leases_run_out_total{host=\"web1\"} 4"));
  EXPECT_THAT(page, Not(HasSubstr("grafana")));
  fleet = {};
  fleet.annotations = AnnotationFigures{5, 1, 0, 2};
  page = metrics.Render();
  EXPECT_THAT(page, Not(HasSubstr("web1")));
  EXPECT_THAT(page, HasSubstr("firedrill_agents{state=\"connected\"} 0"));
  EXPECT_THAT(page, HasSubstr("firedrill_grafana_annotations_total{result=\"written\"} 5"));
  EXPECT_THAT(page, HasSubstr("firedrill_grafana_annotations_waiting 2"));
}

}  // namespace
}  // namespace firedrill::controller
