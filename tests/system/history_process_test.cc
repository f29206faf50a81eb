// SPDX-License-Identifier: Apache-2.0
// Runs that a real controller made and measured with a real Prometheus and Alertmanager, and what
// the command line says of them afterwards: trend, compare, replay and measure give the figures
// that are stored. Prometheus adds, drops and replaces labels of alerts on their way to
// Alertmanager.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <nlohmann/json.hpp>
#include <set>

#include "proto/support/time.h"
#include "tests/lib/http_peer.h"
#include "tests/lib/prometheus.h"
#include "tests/system/controller_fixture.h"

namespace firedrill {
namespace {

using nlohmann::json;
using std::chrono::seconds;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kRules[] = R"(
groups:
  - name: shop
    rules: [{alert: ShopDown, expr: shop_ok == 0, for: 2s, labels: {severity: page, replica: r1}}]
)";

std::string Config(int shop_port, int alertmanager_port) {
  return fmt::format(R"(
global:
  scrape_interval: 1s
  scrape_timeout: 900ms
  evaluation_interval: 1s
  external_labels: {{region: eu, zone: z1}}
rule_files: [rules.yml]
scrape_configs:
  - job_name: shop
    static_configs: [{{targets: ['127.0.0.1:{}']}}]
alerting:
  alert_relabel_configs:
    - {{action: labeldrop, regex: replica|instance|zone}}
    - {{source_labels: [severity], regex: page, target_label: severity, replacement: critical}}
  alertmanagers:
    - static_configs: [{{targets: ['127.0.0.1:{}']}}]
)",
                     shop_port, alertmanager_port);
}

double SecondsOf(const google::protobuf::Duration& duration) {
  return Seconds(FromProto(duration));
}
// Durations for programs: "4.25s".
double SecondsOf(const json& text) {
  const std::string number = text.get<std::string>();
  EXPECT_EQ(number.back(), 's');
  return std::stod(number);
}

class HistoryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    http_port_ = test::FreePort();
    auto alertmanager = test::Alertmanager::Start(
        fmt::format("http://127.0.0.1:{}/webhook/alertmanager", http_port_));
    ASSERT_TRUE(alertmanager.ok()) << alertmanager.status();
    alertmanager_ = *std::move(alertmanager);
    auto prometheus = test::Prometheus::Start(Config(shop_.port(), alertmanager_->port()), kRules);
    ASSERT_TRUE(prometheus.ok()) << prometheus.status();
    prometheus_ = *std::move(prometheus);
    begun_ = Clock::Real().Steady();
    controller_ = std::make_unique<ControllerProcess>(
        std::vector<std::string>{"--http-listen", fmt::format("127.0.0.1:{}", http_port_),
                                 "--prometheus", prometheus_->url()});
    controller_->Start();
    agent_ = std::make_unique<FakeAgent>(controller_->address(), "cache1",
                                         std::map<std::string, std::string>{{"role", "cache"}});
    agent_->WaitConnected();
  }

  v1::Experiment Experiment() const {
    v1::Experiment experiment;
    experiment.set_name("cache-loss");
    experiment.set_hypothesis("Somebody is told.");
    experiment.set_environment("staging");
    (*(*experiment.mutable_targets())["cache"].mutable_labels())["role"] = "cache";
    v1::Indicator& indicator = *experiment.add_steady_state();
    indicator.set_name("shop");
    indicator.set_query("shop_ok");
    indicator.mutable_expect()->set_operator_(v1::OPERATOR_EQUAL);
    indicator.mutable_expect()->set_value(1);
    *indicator.mutable_hold() = ToProto(seconds(2));
    v1::Detection& detection = *experiment.add_detection();
    detection.set_alert("ShopDown");
    (*detection.mutable_labels())["severity"] = "page";  // which notifications do not carry
    (*detection.mutable_labels())["replica"] = "r1";     // nor this
    *detection.mutable_within() = ToProto(seconds(12));
    v1::Step& step = *experiment.add_method();
    step.set_name("lose packets");
    step.set_target("cache");
    *step.mutable_duration() = ToProto(seconds(12));
    step.mutable_fault()->mutable_packet_loss()->set_percent(33);
    *experiment.mutable_recover_within() = ToProto(seconds(20));
    return experiment;
  }

  v1::Run Get(const std::string& id) {
    grpc::ClientContext context;
    v1::GetRunRequest request;
    request.set_run_id(id);
    v1::GetRunResponse response;
    const grpc::Status status = controller_->Operator()->GetRun(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response.run();
  }

  // One run, in which the shop breaks so long after the fault's begin, or does not.
  v1::Run Drill(const std::string& id, std::optional<Nanoseconds> breaks_after) {
    grpc::ClientContext context;
    v1::StartRunRequest request;
    request.set_run_id(id);
    *request.mutable_experiment() = Experiment();
    v1::StartRunResponse response;
    const grpc::Status status = controller_->Operator()->StartRun(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    WaitUntil([&] { return !agent_->Live().empty(); }, "the fault lives", 60);
    if (breaks_after) {
      test::Pause(*breaks_after);
      well_ = false;
    }
    WaitUntil([&] { return agent_->Live().empty(); }, "the fault has ended", 30);
    well_ = true;
    WaitUntil([&] { return Get(id).state() == v1::RUN_STATE_FINISHED; }, id + " is finished", 60);
    return Get(id);
  }

  test::Finished Cli(std::vector<std::string> words) {
    words.insert(words.begin(),
                 std::string(std::getenv("FIREDRILL_BUILD_DIR")) + "/controller/cli/firedrill");
    words.insert(words.end(), {"--insecure", "--controller", controller_->address()});
    const auto finished = test::RunToEnd(words);
    EXPECT_TRUE(finished.ok()) << finished.status();
    return finished.value_or(test::Finished());
  }
  json CliJson(std::vector<std::string> words) {
    words.insert(words.end(), {"-o", "json"});
    const test::Finished finished = Cli(words);
    EXPECT_EQ(finished.exit_status, 0) << finished.output;
    const json answer = json::parse(finished.output, nullptr, /*allow_exceptions=*/false);
    EXPECT_FALSE(answer.is_discarded()) << finished.output;
    return answer;
  }

  // Of the alert's evaluations that found it active, those that Prometheus made and the run keeps.
  std::set<SystemTime> EvaluationsOf(const v1::Run& run) const {
    std::set<SystemTime> evaluations;
    for (const v1::AlertSeries& told : run.evidence().alerts(0).series()) {
      for (const v1::Series& series : run.series()) {
        if (series.name() != told.series()) continue;
        for (const v1::Sample& sample : series.samples()) {
          if (sample.value() != 0) evaluations.insert(FromProto(sample.at()));
        }
      }
    }
    return evaluations;
  }

  void ExpectNotified(const v1::Run& run) const;
  void ExpectTrend(const std::vector<v1::Run>& runs);
  void ExpectComparison(const v1::Run& first, const v1::Run& second);
  void ExpectReplay(const v1::Run& run);

  std::atomic<bool> well_{true};
  test::HttpPeer shop_{[this](const std::string&) {
    return test::HttpAnswer(200, "text/plain", well_ ? "shop_ok 1\n" : "shop_ok 0\n");
  }};
  int http_port_ = 0;
  SteadyTime begun_;
  std::unique_ptr<test::Alertmanager> alertmanager_;
  std::unique_ptr<test::Prometheus> prometheus_;
  std::unique_ptr<ControllerProcess> controller_;
  std::unique_ptr<FakeAgent> agent_;
};

// The notification is of the alert's one episode, though it carries other labels.
void HistoryTest::ExpectNotified(const v1::Run& run) const {
  EXPECT_EQ(run.detection(), v1::DETECTION_OUTCOME_DETECTED) << run.DebugString();
  ASSERT_EQ(run.alerts_size(), 1);
  EXPECT_EQ(run.alerts(0).episodes(), 1u);
  EXPECT_TRUE(run.has_time_to_notify());
  ASSERT_GE(run.evidence().alerts(0).notifications_size(), 1);
  const auto& labels = run.evidence().alerts(0).notifications(0).labels();
  EXPECT_EQ(labels.at("severity"), "critical");
  EXPECT_EQ(labels.at("region"), "eu");
  for (const char* dropped : {"replica", "instance", "zone"}) EXPECT_EQ(labels.count(dropped), 0u);
  for (const std::string& caveat : run.caveats()) EXPECT_THAT(caveat, Not(HasSubstr("webhook")));
  EXPECT_EQ(run.evidence().alerts(0).route().receiver(), "test") << "its labels are known";
}

void HistoryTest::ExpectTrend(const std::vector<v1::Run>& runs) {
  const json trend = CliJson({"trend", "cache-loss"});
  ASSERT_EQ(trend["points"].size(), runs.size());
  for (const v1::Run& run : runs) {
    const auto point = std::find_if(trend["points"].begin(), trend["points"].end(),
                                    [&run](const json& one) { return one["run_id"] == run.id(); });
    ASSERT_NE(point, trend["points"].end());
    const json& time = (*point)["time_to_detect"];
    EXPECT_NEAR(SecondsOf(time["value"]), SecondsOf(run.time_to_detect().value()), 1e-9);
    EXPECT_EQ(time["censored"], run.time_to_detect().censored());
    EXPECT_EQ((*point)["fault"], "packet_loss");
  }
  // Two of three, the third watched for longer than both: half of all are detected by the later
  // one.
  const json& detection = trend["detection"];
  EXPECT_EQ(detection["runs"], 3);
  EXPECT_EQ(detection["events"], 2);
  EXPECT_EQ(detection["censored"], 1);
  EXPECT_NEAR(detection["rate"].get<double>(), 2.0 / 3, 1e-9);
  const double later = std::max(SecondsOf(runs[0].time_to_detect().value()),
                                SecondsOf(runs[1].time_to_detect().value()));
  EXPECT_EQ(detection["quantiles"][0]["probability"], 0.5);
  EXPECT_NEAR(SecondsOf(detection["quantiles"][0]["value"]), later, 1e-9);
  const test::Finished text = Cli({"trend", "cache-loss"});
  EXPECT_THAT(text.output, HasSubstr("detected in 2 of 3 runs"));
}

void HistoryTest::ExpectComparison(const v1::Run& first, const v1::Run& second) {
  const json comparison = CliJson({"compare", first.id(), second.id()});
  const auto& measures = comparison["measures"];
  const auto detect = std::find_if(measures.begin(), measures.end(), [](const json& one) {
    return one["of"] == "ShopDown" && one["name"] == "time to detect";
  });
  ASSERT_NE(detect, measures.end()) << comparison.dump(1);
  const double before = SecondsOf(first.time_to_detect().value());
  const double after = SecondsOf(second.time_to_detect().value());
  EXPECT_NEAR((*detect)["first"]["seconds"].get<double>(), before, 1e-9);
  EXPECT_NEAR((*detect)["second"]["seconds"].get<double>(), after, 1e-9);
  EXPECT_NEAR((*detect)["difference_seconds"].get<double>(), after - before, 1e-9);
  // The shop broke 5 s later in the second one: beyond a scrape, an evaluation and both ±.
  EXPECT_EQ((*detect)["difference"], "beyond_uncertainty");
  EXPECT_GT(after - before, 2);
  double sums[2] = {0, 0};
  for (const json& stage : comparison["stages"]) {
    if (stage["stage"] == "grouping" || stage["stage"] == "delivery") continue;
    int n = 0;
    for (const char* which : {"first_seconds", "second_seconds"}) {
      if (stage[which].is_number()) sums[n] += stage[which].get<double>();
      ++n;
    }
  }
  EXPECT_NEAR(sums[0], before, 1e-6) << comparison["stages"].dump(1);
  EXPECT_NEAR(sums[1], after, 1e-6);
  EXPECT_TRUE(comparison["changes"].empty()) << comparison["changes"].dump(1);
}

void HistoryTest::ExpectReplay(const v1::Run& run) {
  const json replay =
      CliJson({"replay", run.id(), "--for", "0s", "--for", "1s", "--look-back", "1h"});
  EXPECT_EQ(replay["alert"], "ShopDown");
  EXPECT_EQ(replay["rule"]["expression"], "shop_ok == 0");
  ASSERT_EQ(replay["replayed"].size(), 3u) << replay.dump(1);
  const double measured = SecondsOf(run.time_to_detect().value());
  // The first evaluation at which a `for` is over. On a busy machine one may be left out.
  const std::set<SystemTime> evaluations = EvaluationsOf(run);
  ASSERT_FALSE(evaluations.empty());
  const auto fires = [&evaluations](int pending_for) {
    const auto at = evaluations.lower_bound(*evaluations.begin() + seconds(pending_for) -
                                            std::chrono::milliseconds(2));
    EXPECT_NE(at, evaluations.end());
    return at == evaluations.end() ? SystemTime() : *at;
  };
  for (int n = 0; n < 3; ++n) {
    const json& replayed = replay["replayed"][n];
    const int pending_for = n == 0 ? 2 : n - 1;
    const double gain = Seconds(fires(2) - fires(pending_for));
    EXPECT_EQ(SecondsOf(replayed["pending_for"]), pending_for);
    EXPECT_NEAR(SecondsOf(replayed["time_to_detect"]), measured - gain, 0.01);
    EXPECT_NEAR(SecondsOf(replayed["gain"]), gain, 0.01);
    // The shop was down in two runs, for longer than any of them.
    EXPECT_EQ(replayed["pages"], 2);
  }
  EXPECT_GE(SecondsOf(replay["replayed"][1]["gain"]), 2 - 0.01);
}

TEST_F(HistoryTest, RunsOfARealControllerAreReadBackAsTheyWereMeasured) {
  const v1::Run silent = Drill("drill-3", std::nullopt);
  // A replay finds where the past begins to half a minute.
  WaitUntil([&] { return Clock::Real().Steady() > begun_ + seconds(35); }, "a past", 60);
  const std::vector<v1::Run> runs = {Drill("drill-1", Nanoseconds(0)), Drill("drill-2", seconds(5)),
                                     silent};
  for (const v1::Run* run : {&runs[0], &runs[1]}) {
    SCOPED_TRACE(run->id());
    ASSERT_NO_FATAL_FAILURE(ExpectNotified(*run));
  }
  EXPECT_EQ(runs[2].detection(), v1::DETECTION_OUTCOME_MISSED) << runs[2].DebugString();
  EXPECT_TRUE(runs[2].time_to_detect().censored());
  for (const v1::Run& run : runs) {
    const json again = CliJson({"measure", run.id()});
    EXPECT_EQ(again["same"], true) << again.dump(1);
    EXPECT_GT(again["samples"], 10);
  }
  ExpectTrend(runs);
  ExpectComparison(runs[0], runs[1]);
  ExpectReplay(runs[0]);
  EXPECT_EQ(Cli({"measure", "drill-4"}).exit_status, 2);
  EXPECT_EQ(Cli({"replay", "drill-1", "--alert", "Other"}).exit_status, 2);
}

}  // namespace
}  // namespace firedrill
