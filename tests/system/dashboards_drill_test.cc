// SPDX-License-Identifier: Apache-2.0
// A real controller with runs in its store, and one that it runs meanwhile, scraped by a real
// Prometheus: every panel and every annotation of every dashboard must show what is stored.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <atomic>

#include "controller/store/sqlite_store.h"
#include "proto/support/time.h"
#include "proto/support/version.h"
#include "tests/lib/http_peer.h"
#include "tests/system/controller_fixture.h"
#include "tests/system/dashboards.h"

namespace firedrill {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::Number;
using test::Numbers;

double Now() { return Seconds(Clock::Real().System().time_since_epoch()); }
double At(const google::protobuf::Timestamp& time) {
  return Seconds(FromProto(time).time_since_epoch());
}

v1::Experiment DrillExperiment() {
  v1::Experiment experiment;
  experiment.set_name("cache-loss");
  experiment.set_hypothesis("The shop goes on, and somebody is told.");
  experiment.set_environment("staging");
  (*(*experiment.mutable_targets())["cache"].mutable_labels())["role"] = "cache";
  v1::Indicator& indicator = *experiment.add_steady_state();
  indicator.set_name("success ratio");
  indicator.set_query("shop_success_ratio");
  indicator.mutable_expect()->set_operator_(v1::OPERATOR_GREATER_OR_EQUAL);
  indicator.mutable_expect()->set_value(0.99);
  *indicator.mutable_hold() = ToProto(seconds(2));
  v1::Detection& detection = *experiment.add_detection();
  detection.set_alert("ShopFailing");
  *detection.mutable_within() = ToProto(seconds(20));
  v1::Step& step = *experiment.add_method();
  step.set_name("lose packets");
  step.set_target("cache");
  *step.mutable_duration() = ToProto(seconds(14));
  step.mutable_fault()->mutable_packet_loss()->set_percent(33);
  *experiment.mutable_recover_within() = ToProto(seconds(30));
  return experiment;
}

// What lies in the store before the controller starts.
std::vector<v1::Run> StoredRuns() {
  std::vector<v1::Run> runs;
  const auto add = [&runs](const char* experiment, double detect, double recover, int days_ago) {
    v1::Run& run = runs.emplace_back();
    run.set_id(fmt::format("20260101-00000{}-aaaaaa", runs.size()));
    *run.mutable_experiment() = DrillExperiment();
    run.mutable_experiment()->set_name(experiment);
    run.set_state(v1::RUN_STATE_FINISHED);
    *run.mutable_finished_at() =
        ToProto(Clock::Real().System() - std::chrono::hours(24 * days_ago));
    *run.mutable_created_at() = ToProto(FromProto(run.finished_at()) - seconds(300));
    run.mutable_verdict()->set_verdict(v1::VERDICT_PASSED);
    run.set_detection(detect < 0 ? v1::DETECTION_OUTCOME_MISSED : v1::DETECTION_OUTCOME_DETECTED);
    run.mutable_time_to_detect()->set_censored(detect < 0);
    *run.mutable_time_to_detect()->mutable_value() =
        ToProto(milliseconds(std::llround(std::abs(detect) * 1000)));
    run.set_recovery(v1::RECOVERY_OUTCOME_SELF_RECOVERED);
    *run.mutable_time_to_recover()->mutable_value() =
        ToProto(milliseconds(std::llround(recover * 1000)));
    v1::Injection& injection = *run.add_injections();
    injection.set_state(v1::INJECTION_STATE_ENDED);
    injection.set_end_proven(runs.size() != 2);
  };
  add("checkout-latency", 41.5, 95, 9);
  add("cache-loss", 22.25, 41, 7);
  add("checkout-latency", -180, 120, 5);
  add("redis-kill", 12, 18.5, 3);
  return runs;
}

class DashboardsDrillTest : public testing::Test {
 protected:
  std::string Config() const {
    return fmt::format(R"(
global: {{scrape_interval: 1s, scrape_timeout: 900ms, evaluation_interval: 1s}}
rule_files: [rules.yml]
scrape_configs:
  - job_name: shop
    static_configs: [{{targets: ['127.0.0.1:{}']}}]
  - job_name: firedrill
    static_configs: [{{targets: ['127.0.0.1:{}']}}]
)",
                       shop_.port(), http_port_);
  }
  double Ask(const std::string& expression) {
    const test::Series series = test::Ask(*prometheus_, {"", "", expression, true}, {0, Now(), 1});
    return series.size() == 1 ? series.begin()->second.front().second : -1;
  }
  void WaitAnswer(const std::string& expression, double value) {
    WaitUntil([&] { return Ask(expression) == value; }, expression, 60);
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

  void Begin();  // store, Prometheus, controller, agents
  void Drill();  // one run
  test::Expectations Live() const;
  test::Expectations Fleet() const;

  std::atomic<bool> broken_{false};
  test::HttpPeer shop_{[this](const std::string&) {
    return test::HttpAnswer(200, "text/plain",
                            fmt::format("shop_success_ratio {}\n", broken_ ? 0.5 : 0.999));
  }};
  const int http_port_ = test::FreePort();
  std::unique_ptr<test::Prometheus> prometheus_;
  std::unique_ptr<ControllerProcess> controller_;
  std::map<std::string, std::unique_ptr<FakeAgent>> agents_;
  std::vector<v1::Run> runs_ = StoredRuns();
  test::View view_;     // from the first scrapes to the run's end
  double live_at_ = 0;  // the fault lives, and the alert fires
  double gone_at_ = 0;
};

void DashboardsDrillTest::Begin() {
  auto prometheus = test::Prometheus::Start(Config(), R"(
groups:
  - name: shop
    rules: [{alert: ShopFailing, expr: shop_success_ratio < 0.9, for: 2s}]
)");
  ASSERT_TRUE(prometheus.ok()) << prometheus.status();
  prometheus_ = *std::move(prometheus);
  controller_ = std::make_unique<ControllerProcess>(std::vector<std::string>{
      "--lease", "3s", "--http-listen", fmt::format("127.0.0.1:{}", http_port_), "--prometheus",
      prometheus_->url()});
  {
    auto store = controller::OpenSqliteStore(controller_->folder() + "/data");
    ASSERT_TRUE(store.ok()) << store.status();
    for (const v1::Run& run : runs_) ASSERT_TRUE((*store)->SaveRun(run, {}).ok());
  }
  controller_->Start();
  for (const char* host : {"cache1", "web1", "web2", "db1"}) {
    const std::string role = std::string(host) == "cache1" ? "cache" : "other";
    agents_[host] = std::make_unique<FakeAgent>(controller_->address(), host,
                                                std::map<std::string, std::string>{{"role", role}});
    agents_[host]->WaitConnected();
  }
  agents_["web1"]->Lack("fuse");
  agents_["web1"]->StayAway(true);
  WaitAnswer("firedrill_agents{state=\"gone\"}", 1);
  agents_["web1"]->StayAway(false);
  WaitAnswer("firedrill_hosts_lacking_ability{ability=\"fuse\"}", 1);
  gone_at_ = Now();
  agents_["db1"]->StayAway(true);
  WaitAnswer("firedrill_agents{state=\"gone\"}", 1);
  WaitAnswer("firedrill_faults_over_cap_total{host=\"web2\"}", 0);
  WaitAnswer("shop_success_ratio", 0.999);
  view_.from = std::floor(Now()) + 2;  // the offset of one step reaches samples too
  WaitUntil([&] { return Now() > view_.from + 4; }, "the range begins");
  v1::Heartbeat heartbeat;
  heartbeat.set_leases_run_out(2);
  *heartbeat.mutable_clock_offset() = ToProto(milliseconds(12));
  *heartbeat.mutable_clock_uncertainty() = ToProto(milliseconds(1));
  agents_["web1"]->Beat(heartbeat);
  heartbeat.Clear();
  heartbeat.set_faults_over_cap(1);
  heartbeat.set_live_faults(1);
  *heartbeat.mutable_clock_offset() = ToProto(milliseconds(-4));
  agents_["web2"]->Beat(heartbeat);
}

void DashboardsDrillTest::Drill() {
  grpc::ClientContext context;
  v1::StartRunRequest request;
  request.set_run_id("drill");
  *request.mutable_experiment() = DrillExperiment();
  v1::StartRunResponse response;
  const grpc::Status status = controller_->Operator()->StartRun(&context, request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  WaitUntil([&] { return !agents_["cache1"]->Live().empty(); }, "the fault lives", 60);
  broken_ = true;
  WaitUntil(
      [&] {
        live_at_ = Now();
        return Ask("firedrill_live_faults and on () ALERTS{alertstate=\"firing\"} and on () "
                   "(firedrill_run_indicator < 0.9)") == 1;
      },
      "the alert fires while the fault lives");
  live_at_ += 6;  // so that the last point drawn has it too, and the picture shows it
  WaitUntil([&] { return agents_["cache1"]->Live().empty(); }, "the fault has ended");
  broken_ = false;
  WaitUntil([&] { return Get("drill").state() == v1::RUN_STATE_FINISHED; }, "the run's end", 60);
  runs_.push_back(Get("drill"));
  WaitAnswer("sum(firedrill_runs_total)", static_cast<double>(runs_.size()));
  WaitUntil([&] { return Now() > At(runs_.back().finished_at()) + 3; }, "its dots are drawn");
  view_.to = std::floor(Now());
}

// A mark as the page shows it: of several of a kind the first, of ends the last.
std::map<std::string, double> MarksOf(const v1::Run& run) {
  std::map<std::string, double> marks;
  for (const v1::Mark& mark : run.marks()) {
    std::string name = v1::MarkKind_Name(mark.kind()).substr(10);
    for (char& c : name) c = static_cast<char>(std::tolower(c));
    const auto [found, fresh] = marks.emplace(name, At(mark.at()));
    if (!fresh && (name == "ended" || name == "recovered" || name == "alert_resolved")) {
      found->second = std::max(found->second, At(mark.at()));
    }
  }
  return marks;
}

test::Expected LastOf(const std::map<std::string, double>& values, double tolerance = 1e-6) {
  test::Expected expected = Numbers(values, tolerance);
  expected.last_only = true;
  return expected;
}

test::Expectations DashboardsDrillTest::Live() const {
  const v1::Run& run = runs_.back();
  const std::map<std::string, double> marks = MarksOf(run);
  std::map<std::string, double> at;
  std::map<std::string, double> after;
  std::map<std::string, double> noted;
  for (const auto& [mark, time] : marks) {
    const std::string labels = "experiment=cache-loss,mark=" + mark;
    at[labels] = time * 1000;
    after[labels] = time - marks.at("first_impact");
    if (mark != "planned" && mark != "armed") noted[labels] = time * 1000;
  }
  const std::string where = "experiment=cache-loss,fault=packet_loss,host=cache1";
  const std::string indicator = "experiment=cache-loss,indicator=success ratio";
  test::Expectations all = {
      {"Faults now", Number(1)},
      {"Run", Numbers({{"experiment=cache-loss,state=injecting", 1}})},
      {"Since the first impact", Number(live_at_ - marks.at("first_impact"), 0.01)},
      {"Expected alerts firing", Number(1)},
      {"Ends not proven", Number(1)},
      {"Faults by host", LastOf({{"fault=packet_loss,host=cache1", 1}})},
      {"Injected now", Numbers({{where, 1}})},
      {"Indicator/A", LastOf({{indicator, 0.5}})},
      {"Indicator/B", LastOf({{indicator, 0.99}})},
      {"Alerts of the experiment", LastOf({{"alertname=ShopFailing", 2}})},
      {"Marks/A", Numbers(at, 1)},
      {"Marks/B", Numbers(after, 0.001)},
      {"annotation: Fault windows", LastOf({{where, 1}})},
      {"annotation: Marks", LastOf(noted, 1)},
  };
  for (const char* later : {"Marks/A", "Marks/B", "annotation: Marks"}) all[later].view = view_;
  return all;
}

test::Expectations DashboardsDrillTest::Fleet() const {
  const auto hosts = [](double cache1, double web1, double web2, double db1) {
    return std::map<std::string, double>{
        {"host=cache1", cache1}, {"host=web1", web1}, {"host=web2", web2}, {"host=db1", db1}};
  };
  std::map<std::string, double> info;
  for (const auto& [host, one] : hosts(1, 1, 1, 1)) {
    info[fmt::format("environment=staging,{},version={}", host, SoftwareVersion())] = one;
  }
  const auto age = hosts(0.5, 0.5, 0.5, view_.to - gone_at_);
  return {
      {"Agents connected", Number(3)},
      {"Agents gone", Number(1)},
      {"Faults that agents hold", Number(1)},
      {"Leases run out", Number(2)},
      {"Refused over the cap", Number(1)},
      {"Controller", Numbers({{fmt::format("version={}", SoftwareVersion()), 1}})},
      {"Agents by state",
       LastOf({{"state=connected", 3}, {"state=draining", 0}, {"state=gone", 1}})},
      {"Heartbeat age", LastOf(age, 3)},
      {"Clock offset", LastOf(hosts(0, 0.012, -0.004, 0))},
      {"Agents/A", Numbers(info)},
      {"Agents/B", Numbers(hosts(1, 1, 1, 0))},
      {"Agents/C", Numbers(age, 3)},
      {"Agents/D", Numbers(hosts(0, 0.012, -0.004, 0))},
      {"Agents/E", Numbers(hosts(0, 0.001, 0, 0))},
      {"Agents/F", Numbers(hosts(0, 0, 1, 0))},
      {"Agents/G", Numbers(hosts(0, 1, 0, 0))},
      {"Agents/H", Numbers(hosts(0, 2, 0, 0))},
      {"Agents/I", Numbers(hosts(0, 0, 1, 0))},
      {"Abilities that hosts lack", Numbers({{"ability=fuse", 1}})},
      {"annotation: Fault windows",
       LastOf({{"experiment=cache-loss,fault=packet_loss,host=cache1", 1}})},
  };
}

TEST_F(DashboardsDrillTest, ShowWhatIsStored) {
  ASSERT_NO_FATAL_FAILURE(Begin());
  ASSERT_NO_FATAL_FAILURE(Drill());
  const v1::Run& run = runs_.back();
  EXPECT_EQ(run.detection(), v1::DETECTION_OUTCOME_DETECTED) << run.verdict().DebugString();

  test::View live = view_;
  live.to = live_at_;
  test::ExpectDashboard(*prometheus_, "live_drill", live, Live());
  test::ExpectDashboard(*prometheus_, "fleet", view_, Fleet());

  const auto counted = [this](const v1::Run& one) { return At(one.finished_at()) > view_.from; };
  test::Expectations many = test::DetectionExpectations(runs_, counted, view_, 3);
  many["annotation: Fault windows"] =
      LastOf({{"experiment=cache-loss,fault=packet_loss,host=cache1", 1}});
  many["annotation: Fault begins"] =
      LastOf({{"experiment=cache-loss", MarksOf(run).at("first_impact") * 1000}}, 1);
  // The months' test keeps the answers of this dashboard.
  unsetenv("FIREDRILL_DASHBOARD_ANSWERS");
  test::ExpectDashboard(*prometheus_, "detection_and_recovery", view_, many);
}

}  // namespace
}  // namespace firedrill
