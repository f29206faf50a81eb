// SPDX-License-Identifier: Apache-2.0
#include "tests/system/past_fixture.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "proto/support/time.h"

namespace firedrill::controller {

namespace {

constexpr const char* kInjection = "past.0";
constexpr std::int64_t kUntilNow = 8'000;  // so long ago it ends: within Prometheus' look-back
constexpr double kRequestsPerSecond = 100;
constexpr double kCounterStart = 1e6;  // far from zero, where rate() would not extrapolate

std::int64_t NowMs() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             Clock::Real().System().time_since_epoch())
      .count();
}

}  // namespace

PastTest::PastTest() {
  run_.set_id("past");
  run_.mutable_experiment()->set_name("past");
  run_.set_state(v1::RUN_STATE_RECOVERING);
}

void PastTest::ScrapeUp() {
  if (begun_) return;
  begun_ = true;
  // A whole second, so that the scenario's phases are Prometheus' own.
  begin_ms_ = (NowMs() - kUntilNow - scenario_.length) / 1000 * 1000;
  for (const std::int64_t at : Scrapes()) {
    const bool gone = scenario_.vanishes && at >= *scenario_.vanishes;
    history_.Add("up{job=\"shop\",instance=\"a\"}", begin_ms_ + at, gone ? 0 : 1);
  }
}

std::vector<std::int64_t> PastTest::Scrapes() const {
  std::vector<std::int64_t> scrapes;
  for (std::int64_t at = scenario_.scrape_phase; at <= scenario_.length; at += scenario_.scrape) {
    const bool down =
        std::any_of(scenario_.blind.begin(), scenario_.blind.end(),
                    [at](const auto& hole) { return at >= hole.from_ms && at < hole.to_ms; });
    if (!down) scrapes.push_back(at);
  }
  return scrapes;
}

std::int64_t PastTest::ScrapeBefore(std::int64_t at) const {
  return at - (at - scenario_.scrape_phase) % scenario_.scrape;
}

void PastTest::ScrapeShop(const std::function<bool(std::int64_t)>& well) {
  ScrapeUp();
  for (const std::int64_t at : Scrapes()) {
    if (scenario_.vanishes && at >= *scenario_.vanishes) break;
    history_.Add("shop_ok{job=\"shop\",instance=\"a\"}", begin_ms_ + at, well(at) ? 1 : 0);
  }
}

void PastTest::WatchShop(const std::function<bool(std::int64_t)>& well) {
  ScrapeShop(well);
  Alert("ShopDown", [&](std::int64_t at) { return !well(ScrapeBefore(at)); });
  Expect("shop_ok", 1);
  Detect("ShopDown");
}

void PastTest::ScrapeRequests(const std::function<double(std::int64_t)>& error_share,
                              const std::vector<std::int64_t>& resets) {
  ScrapeUp();
  constexpr std::int64_t kStep = 100;  // ms; the shares change only at multiples of it
  double good = kCounterStart;
  double bad = kCounterStart;
  for (std::int64_t at = 0; at <= scenario_.length; at += kStep) {
    if (std::find(resets.begin(), resets.end(), at) != resets.end()) good = bad = 0;
    if (at >= scenario_.scrape_phase && (at - scenario_.scrape_phase) % scenario_.scrape == 0) {
      const std::string labels = "job=\"shop\",instance=\"a\"";
      history_.Add("shop_requests_total{code=\"200\"," + labels + "}", begin_ms_ + at, good);
      history_.Add("shop_requests_total{code=\"500\"," + labels + "}", begin_ms_ + at, bad);
    }
    const double requests = kRequestsPerSecond * kStep / 1000;
    bad += requests * error_share(at);
    good += requests * (1 - error_share(at));
  }
}

void PastTest::Alert(const std::string& name, const std::function<bool(std::int64_t)>& holds) {
  ScrapeUp();
  alerts_.push_back(name);
  test::RuleModel rule;
  rule.alert = name;
  rule.labels = "severity=\"page\"";
  rule.interval_ms = scenario_.evaluation;
  rule.phase_ms = begin_ms_ + scenario_.evaluation_phase;
  rule.pending_for_ms = scenario_.pending_for;
  std::vector<test::RuleModel::Blind> blind;
  for (const auto& hole : scenario_.blind) {
    blind.push_back({begin_ms_ + hole.from_ms, begin_ms_ + hole.to_ms});
  }
  rule.Write(
      history_, rule.phase_ms, begin_ms_ + scenario_.length,
      [&](std::int64_t at) { return holds(at - begin_ms_); }, blind);
}

v1::Indicator& PastTest::Expect(const std::string& query, double expect, std::int64_t hold) {
  v1::Indicator& indicator = *run_.mutable_experiment()->add_steady_state();
  indicator.set_name(query);
  indicator.set_query(query);
  indicator.mutable_expect()->set_operator_(v1::OPERATOR_GREATER_OR_EQUAL);
  indicator.mutable_expect()->set_value(expect);
  *indicator.mutable_hold() = ToProto(std::chrono::milliseconds(hold));
  return indicator;
}

v1::Detection& PastTest::Detect(const std::string& alert) {
  v1::Detection& detection = *run_.mutable_experiment()->add_detection();
  detection.set_alert(alert);
  return detection;
}

std::string PastTest::Rules() const {
  std::string rules;
  for (const std::string& alert : alerts_) {
    rules += fmt::format(
        "  - name: {0}\n    interval: {1}ms\n    rules:\n      - {{alert: {0}, expr: '{2}', "
        "for: {3}ms, labels: {{severity: page}}}}\n",
        alert, scenario_.evaluation, scenario_.expression, scenario_.pending_for);
  }
  rules += scenario_.rules;
  return rules.empty() ? "" : "groups:\n" + rules;
}

std::string PastTest::Config() const {
  // Nobody listens there: what is scraped now is only `up`, which is 0.
  return fmt::format(
      "global: {{scrape_interval: {0}ms, scrape_timeout: 1s, evaluation_interval: {1}ms}}\n"
      "rule_files: [rules.yml]\n"
      "scrape_configs:\n"
      "  - job_name: shop\n    static_configs: [{{targets: ['127.0.0.1:9']}}]\n",
      scenario_.scrape, scenario_.evaluation);
}

void PastTest::WriteInstants() {
  const auto mark = [&](v1::MarkKind kind, std::int64_t at) {
    v1::Mark& added = *run_.add_marks();
    added.set_kind(kind);
    *added.mutable_at() = ToProto(At(at));
    added.set_source(v1::MARK_SOURCE_KERNEL);
    added.set_subject(kInjection);
    *added.mutable_uncertainty() = ToProto(Nanoseconds(0));
  };
  v1::Injection& injection = *run_.add_injections();
  injection.set_id(kInjection);
  injection.mutable_fault()->mutable_packet_loss()->set_percent(100);
  *injection.mutable_applied_at() = ToProto(At(scenario_.impact));
  *injection.mutable_first_impact_at() = ToProto(At(scenario_.impact));
  mark(v1::MARK_KIND_APPLIED, scenario_.impact);
  mark(v1::MARK_KIND_FIRST_IMPACT, scenario_.impact);
  if (scenario_.ended) {
    *injection.mutable_duration() =
        ToProto(std::chrono::milliseconds(*scenario_.ended - scenario_.impact));
    injection.set_state(v1::INJECTION_STATE_ENDED);
    injection.set_end_proven(true);
    *injection.mutable_ended_at() = ToProto(At(*scenario_.ended));
    mark(v1::MARK_KIND_ENDED, *scenario_.ended);
  } else {
    *injection.mutable_duration() = ToProto(std::chrono::milliseconds(scenario_.length));
    injection.set_state(v1::INJECTION_STATE_ACTIVE);
  }
}

void PastTest::Ask(std::int64_t skew) {
  ScrapeUp();
  WriteInstants();
  auto prometheus = test::Prometheus::StartWithPast(Config(), Rules(), history_.OpenMetrics());
  ASSERT_TRUE(prometheus.ok()) << prometheus.status();
  prometheus_ = *std::move(prometheus);
  PrometheusOptions options;
  options.url = prometheus_->url();
  options.deadline = std::chrono::seconds(20);  // far, for a busy machine
  if (skew != 0) {
    shift_ = std::make_unique<test::TimeShift>(prometheus_->port(), skew);
    options.url = shift_->url();
  }
  auto probe = PrometheusProbe::Create(options);
  ASSERT_TRUE(probe.ok()) << probe.status();
  probe_ = *std::move(probe);

  ProbeQuestion question;
  question.since = At(0);
  for (const v1::Indicator& indicator : run_.experiment().steady_state()) {
    question.indicators.emplace_back(indicator.query(),
                                     indicator.reading() == v1::INDICATOR_READING_PER_SCRAPE);
  }
  for (const v1::Detection& detection : run_.experiment().detection()) {
    question.alerts.push_back(
        {detection.alert(), {detection.labels().begin(), detection.labels().end()}, At(0)});
  }
  // The shortest of several exchanges aligns the clocks, as in a run, which asks every second.
  ProbeQuestion time;
  time.since = At(0);
  EXPECT_TRUE(test::WaitFor(
      [&] { return probe_->Ask(time).clock_uncertainty < std::chrono::milliseconds(10); },
      std::chrono::seconds(20)));
  answer_ = probe_->Ask(question);
  ASSERT_TRUE(answer_.status.ok()) << answer_.status;
  EvidenceRecord record(run_);
  std::vector<v1::Series> samples;
  EXPECT_TRUE(record.Take(answer_, At(0), samples));
  record.Take(notices_);
}

void PastTest::Notify(const std::string& alert, std::int64_t starts, std::int64_t received,
                      bool firing, const std::string& fingerprint) {
  AlertNotice notice;
  notice.alert = alert;
  notice.labels = {{"alertname", alert}, {"severity", "page"}};
  notice.firing = firing;
  notice.starts_at = At(starts);
  notice.received_at = At(received);
  if (!firing) notice.ends_at = At(received);
  notice.fingerprint = fingerprint;
  notices_.push_back(notice);
}

void PastTest::Measure(std::optional<std::int64_t> until) {
  EvidenceRecord(run_).Measure(At(until.value_or(scenario_.length)), /*final=*/true);
  v1::Run stored;
  ASSERT_TRUE(stored.ParseFromString(run_.SerializeAsString()));
  const absl::Status again = MeasureAgain(stored);
  ASSERT_TRUE(again.ok()) << again;
  EXPECT_EQ(stored.DebugString(), run_.DebugString());
  for (const v1::AlertResult& alert : run_.alerts()) ExpectStagesAddUp(alert);
}

SystemTime PastTest::At(std::int64_t ms) const {
  return SystemTime(std::chrono::milliseconds(begin_ms_ + ms));
}

double PastTest::Ms(const google::protobuf::Timestamp& at) const {
  return Seconds(FromProto(at) - At(0)) * 1000;
}

double PastTest::Ms(const google::protobuf::Duration& duration) {
  return Seconds(FromProto(duration)) * 1000;
}

v1::Mark PastTest::Mark(v1::MarkKind kind) const {
  for (const v1::Mark& mark : run_.marks()) {
    if (mark.kind() == kind) return mark;
  }
  ADD_FAILURE() << "no " << v1::MarkKind_Name(kind) << " in\n" << run_.DebugString();
  return {};
}

int PastTest::Marks(v1::MarkKind kind) const {
  return static_cast<int>(std::count_if(run_.marks().begin(), run_.marks().end(),
                                        [kind](const auto& mark) { return mark.kind() == kind; }));
}

double PastTest::Stage(const v1::AlertResult& alert, v1::StageKind kind) {
  for (const v1::Stage& stage : alert.stages()) {
    if (stage.kind() == kind) return Ms(stage.value());
  }
  return 0;
}

void PastTest::ExpectStagesAddUp(const v1::AlertResult& alert) {
  if (alert.stages().empty()) return;
  Nanoseconds detect{0};
  Nanoseconds notify{0};
  for (const v1::Stage& stage : alert.stages()) {
    const Nanoseconds value = FromProto(stage.value());
    EXPECT_GE(value.count(), 0) << stage.DebugString();
    notify += value;
    if (stage.kind() < v1::STAGE_KIND_GROUPING) detect += value;
  }
  EXPECT_EQ(detect, FromProto(alert.time_to_detect().value())) << alert.DebugString();
  if (alert.has_time_to_notify()) {
    EXPECT_EQ(notify, FromProto(alert.time_to_notify().value())) << alert.DebugString();
  }
}

void PastTest::ExpectTruth(const v1::Mark& mark, double measured, double truth) {
  EXPECT_NEAR(measured, truth, 20) << mark.DebugString();
  // Instants of samples are whole milliseconds.
  EXPECT_NEAR(measured, truth, Ms(mark.uncertainty()) + 1) << mark.DebugString();
}

}  // namespace firedrill::controller
