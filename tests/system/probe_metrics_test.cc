// SPDX-License-Identifier: Apache-2.0
// The controller's page as Prometheus and its own linter see it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "controller/http/server.h"
#include "controller/metrics/metrics.h"
#include "controller/probe/prometheus.h"
#include "proto/support/time.h"
#include "tests/lib/http_peer.h"
#include "tests/lib/prometheus.h"

namespace firedrill::controller {
namespace {

using std::chrono::seconds;

v1::Run FinishedRun() {
  v1::Run run;
  run.mutable_experiment()->set_name("cache-loss");
  run.mutable_experiment()->add_method()->mutable_fault()->mutable_packet_loss();
  *run.mutable_finished_at() = ToProto(SystemTime(seconds(1'800'000'000)));
  run.mutable_verdict()->set_verdict(v1::VERDICT_FAILED);
  run.set_detection(v1::DETECTION_OUTCOME_DETECTED);
  *run.mutable_time_to_detect()->mutable_value() = ToProto(seconds(22));
  *run.mutable_time_to_recover()->mutable_value() = ToProto(seconds(41));
  run.add_injections()->set_state(v1::INJECTION_STATE_ENDED);
  return run;
}

FleetFigures Fleet() {
  FleetFigures fleet;
  v1::Agent agent;
  agent.mutable_hello()->set_agent_id("web1");
  agent.set_state(v1::AGENT_STATE_CONNECTED);
  *agent.mutable_last_seen_at() = ToProto(Clock::Real().System());
  agent.mutable_last_heartbeat()->set_clock_known(true);
  fleet.agents = {agent};
  auto run = std::make_shared<v1::Run>();
  run->mutable_experiment()->set_name("cache-loss");
  v1::Injection& injection = *run->add_injections();
  injection.set_host("web1");
  injection.set_state(v1::INJECTION_STATE_ACTIVE);
  injection.mutable_fault()->mutable_packet_loss();
  fleet.live_runs = {run};
  return fleet;
}

TEST(ProbeMetricsTest, IsCleanAndReadByPrometheus) {
  ControllerMetrics metrics("1.2.3", &Fleet);
  metrics.RunFinished(FinishedRun());
  const auto server = HttpServer::Start(
      {}, {{"GET", "/metrics", [&metrics](const HttpRequest&) {
              return HttpResponse{200, ControllerMetrics::ContentType(), metrics.Render()};
            }}});
  ASSERT_TRUE(server.ok()) << server.status();
  const auto page = test::HttpGet((*server)->port(), "/metrics");
  ASSERT_TRUE(page.ok()) << page.status();
  const auto lint =
      test::RunToEnd({test::ServiceProgram("promtool"), "check", "metrics"}, test::BodyOf(*page));
  ASSERT_TRUE(lint.ok()) << lint.status();
  EXPECT_EQ(lint->exit_status, 0) << lint->output;
  EXPECT_EQ(lint->output, "");

  const auto prometheus =
      test::Prometheus::Start(test::PrometheusConfigText((*server)->port()), "");
  ASSERT_TRUE(prometheus.ok()) << prometheus.status();
  PrometheusOptions options;
  options.url = (*prometheus)->url();
  const auto probe = PrometheusProbe::Create(options);
  ASSERT_TRUE(probe.ok()) << probe.status();
  ProbeQuestion question;
  question.since = Clock::Real().System();
  question.indicators = {"firedrill_last_time_to_detect_seconds{experiment=\"cache-loss\"}",
                         "firedrill_runs_total{detection=\"detected\",recovery=\"none\"}",
                         "firedrill_ends_not_proven_total", "firedrill_live_faults"};
  ProbeAnswer answer;
  // The page is one scrape, but the questions are several: some may come before it.
  ASSERT_TRUE(test::WaitFor(
      [&] {
        answer = (*probe)->Ask(question);
        return std::all_of(answer.indicators.begin(), answer.indicators.end(),
                           [](const auto& indicator) { return indicator.status.ok(); });
      },
      seconds(20)));
  EXPECT_EQ(answer.indicators[0].samples.back().value, 22);
  EXPECT_EQ(answer.indicators[1].samples.back().value, 1);
  EXPECT_EQ(answer.indicators[2].samples.back().value, 1);
  EXPECT_EQ(answer.indicators[3].samples.back().value, 1);
}

}  // namespace
}  // namespace firedrill::controller
