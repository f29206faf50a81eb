// SPDX-License-Identifier: Apache-2.0
#include "controller/metrics/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto/support/time.h"

namespace firedrill::controller {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;
using testing::Not;

v1::Run FinishedRun(const std::string& experiment, double detect, double recover) {
  v1::Run run;
  run.set_id("0190-secret-run-id");
  run.mutable_experiment()->set_name(experiment);
  run.mutable_experiment()->add_method()->mutable_fault()->mutable_cpu();
  run.mutable_experiment()->add_method()->mutable_fault()->mutable_packet_loss();
  run.mutable_experiment()->add_method()->mutable_fault()->mutable_cpu();
  *run.mutable_finished_at() = ToProto(SystemTime(seconds(1'800'000'000)));
  run.mutable_verdict()->set_verdict(v1::VERDICT_PASSED);
  run.set_detection(v1::DETECTION_OUTCOME_DETECTED);
  run.set_recovery(v1::RECOVERY_OUTCOME_AFTER_END);
  const auto put = [](v1::Measure& measure, double value) {
    *measure.mutable_value() =
        ToProto(Nanoseconds(static_cast<std::int64_t>(std::abs(value) * 1e9)));
    measure.set_censored(value < 0);
  };
  put(*run.mutable_time_to_detect(), detect);
  put(*run.mutable_time_to_recover(), recover);
  v1::Injection& injection = *run.add_injections();
  injection.set_state(v1::INJECTION_STATE_ENDED);
  injection.set_end_proven(true);
  return run;
}

TEST(ControllerMetricsTest, CountsRunsByWhatCameOfThem) {
  ControllerMetrics metrics("1.2.3", nullptr);
  metrics.RunFinished(FinishedRun("cache-loss", 6, 31));
  metrics.RunFinished(FinishedRun("cache-loss", 8, 40));
  const std::string page = metrics.Render();
  EXPECT_THAT(page,
              HasSubstr("firedrill_runs_total{detection=\"detected\",experiment=\"cache-loss\","
                        "fault=\"cpu+packet_loss\",recovery=\"after_end\",verdict=\"passed\"} 2"));
  const std::string labels = "{experiment=\"cache-loss\",fault=\"cpu+packet_loss\"}";
  EXPECT_THAT(page, HasSubstr("firedrill_last_time_to_detect_seconds" + labels + " 8"));
  EXPECT_THAT(page, HasSubstr("firedrill_last_time_to_recover_seconds" + labels + " 40"));
  EXPECT_THAT(page, HasSubstr("firedrill_time_to_detect_seconds_count" + labels + " 2"));
  EXPECT_THAT(page, HasSubstr("firedrill_time_to_detect_seconds_sum" + labels + " 14"));
  EXPECT_THAT(page, HasSubstr("firedrill_ends_not_proven_total 0"));
  EXPECT_THAT(page, HasSubstr("firedrill_build_info{version=\"1.2.3\"} 1"));
  EXPECT_THAT(page, Not(HasSubstr("secret-run-id")));
}

TEST(ControllerMetricsTest, WhatDidNotHappenIsAbsentNotZero) {
  ControllerMetrics metrics("1", nullptr);
  metrics.RunFinished(FinishedRun("a", 6, 31));
  metrics.RunFinished(FinishedRun("b", 7, 32));
  metrics.RunFinished(FinishedRun("a", -120, -90));  // censored
  const std::string page = metrics.Render();
  EXPECT_THAT(page, Not(HasSubstr("firedrill_last_time_to_detect_seconds{experiment=\"a\"")));
  EXPECT_THAT(page, Not(HasSubstr("firedrill_last_time_to_recover_seconds{experiment=\"a\"")));
  EXPECT_THAT(page, HasSubstr("firedrill_last_time_to_detect_seconds{experiment=\"b\""));
  // The histogram keeps what was, and does not take the censored one for a time.
  EXPECT_THAT(
      page,
      HasSubstr(
          "firedrill_time_to_detect_seconds_count{experiment=\"a\",fault=\"cpu+packet_loss\"} 1"));
  metrics.RunFinished(FinishedRun("a", 9, 33));
  EXPECT_THAT(metrics.Render(),
              HasSubstr("firedrill_last_time_to_detect_seconds{experiment=\"a\""));
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
  ControllerMetrics one("1", nullptr, Clock::Real());
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

TEST(ControllerMetricsTest, AgentsFiguresAreThoseOfTheScrape) {
  FakeClock clock;
  FleetFigures fleet;
  v1::Agent agent;
  agent.mutable_hello()->set_agent_id("web1");
  agent.mutable_hello()->add_abilities()->set_available(true);
  agent.mutable_hello()->add_abilities()->set_available(false);
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
  fleet.live_faults = {{"web1", "cpu", "a"}, {"web1", "cpu", "a"}, {"web1", "latency", ""}};
  ControllerMetrics metrics(
      "1", [&fleet] { return fleet; }, clock);
  clock.Advance(seconds(7));
  std::string page = metrics.Render();
  EXPECT_THAT(page, HasSubstr("firedrill_agents{state=\"connected\"} 1"));
  EXPECT_THAT(page, HasSubstr("firedrill_agents{state=\"draining\"} 0"));
  EXPECT_THAT(page, HasSubstr("firedrill_agents{state=\"gone\"} 1"));
  EXPECT_THAT(page, HasSubstr("firedrill_agent_heartbeat_age_seconds{host=\"web1\"} 7"));
  EXPECT_THAT(page, HasSubstr("firedrill_agent_clock_offset_seconds{host=\"web1\"} -1.5"));
  EXPECT_THAT(page, Not(HasSubstr("firedrill_agent_clock_offset_seconds{host=\"web2\"}")));
  EXPECT_THAT(page, HasSubstr("firedrill_agent_live_faults{host=\"web1\"} 2"));
  EXPECT_THAT(page, HasSubstr("firedrill_agent_missing_abilities{host=\"web1\"} 1"));
  EXPECT_THAT(page, HasSubstr("firedrill_faults_over_cap_total{host=\"web1\"} 3"));
  EXPECT_THAT(page, HasSubstr("firedrill_leases_run_out_total{host=\"web1\"} 4"));
  EXPECT_THAT(page,
              HasSubstr("firedrill_live_faults{experiment=\"a\",fault=\"cpu\",host=\"web1\"} 2"));
  EXPECT_THAT(page, HasSubstr("firedrill_live_faults{fault=\"latency\",host=\"web1\"} 1"));
  fleet = {};
  page = metrics.Render();
  EXPECT_THAT(page, Not(HasSubstr("web1")));
  EXPECT_THAT(page, HasSubstr("firedrill_agents{state=\"connected\"} 0"));
}

}  // namespace
}  // namespace firedrill::controller
