// SPDX-License-Identifier: Apache-2.0
// The probe against a real Prometheus and Alertmanager: 1 s scrape and evaluation, an exporter and
// a webhook receiver of the test's own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <csignal>
#include <mutex>
#include <nlohmann/json.hpp>

#include "absl/time/time.h"
#include "controller/measure/episodes.h"
#include "controller/measure/measure.h"
#include "controller/probe/alertmanager.h"
#include "controller/probe/matching.h"
#include "controller/probe/prometheus.h"
#include "controller/probe/route.h"
#include "proto/support/time.h"
#include "tests/lib/http_peer.h"
#include "tests/lib/prometheus.h"
#include "tests/lib/time.h"

namespace firedrill::controller {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::WaitFor;
using testing::HasSubstr;

constexpr char kRatio[] =
    "sum(rate(shop_requests_total{code=\"200\"}[3s])) / sum(rate(shop_requests_total[3s]))";
constexpr char kRules[] = R"(
groups:
  - name: shop
    rules:
      - {alert: ShopDown, expr: shop_ok == 0, for: 2s, labels: {severity: page}}
      - {record: tick, expr: time()}
)";

// Further rules: they would notify too.
constexpr char kMoreRules[] = R"(  - name: more
    interval: 2s
    rules:
      - {record: 'job:shop_ok:avg5s', expr: 'avg by (job, instance) (avg_over_time(shop_ok[5s]))'}
      - {alert: ShopDown, expr: shop_idle > 0, labels: {severity: ticket}}
      - {alert: ShopGone, expr: absent(shop_ok)}
      - alert: 'Shop "slow" \ ü'
        expr: max_over_time(job:shop_ok:avg5s{job=~"sh[o]p"}[10s:1s]) < 0.1
        for: 3s
        keep_firing_for: 4s
        labels: {severity: ticket, where: '{{ $labels.instance }}'}
        annotations: {summary: 'ü {{ $value }}'}
      - {alert: Always, expr: vector(1)}
      - {alert: Number, expr: '5'}
)";

// A service with figures: whether it is well, and requests that come with each scrape.
class Shop {
 public:
  Shop() : peer_([this](const std::string&) { return Scrape(); }) {}
  int port() const { return peer_.port(); }
  void Set(bool well) { well_ = well; }
  // Its figures are gone, as of a service that does not answer.
  void Vanish() { gone_ = true; }
  // It starts anew: its counters begin at zero.
  void Reset() {
    std::lock_guard<std::mutex> lock(mutex_);
    good_ = bad_ = 0;
  }
  std::vector<SystemTime> Scrapes() {
    std::lock_guard<std::mutex> lock(mutex_);
    return scrapes_;
  }
  // When the first scrape from `since` on came, or a later one: there must be one.
  SystemTime ScrapeSince(SystemTime since, std::size_t later = 0) {
    std::vector<SystemTime> scrapes;
    EXPECT_TRUE(WaitFor(
        [&] {
          scrapes = Scrapes();
          scrapes.erase(scrapes.begin(), std::lower_bound(scrapes.begin(), scrapes.end(), since));
          return scrapes.size() > later;
        },
        seconds(10)))
        << "no scrape";
    return scrapes.size() > later ? scrapes[later] : since;
  }

 private:
  std::string Scrape() {
    std::lock_guard<std::mutex> lock(mutex_);
    scrapes_.push_back(Clock::Real().System());
    if (gone_) return test::HttpAnswer(500, "text/plain", "gone");
    (well_ ? good_ : bad_) += 100;
    return test::HttpAnswer(200, "text/plain; version=0.0.4",
                            "shop_ok " + std::to_string(well_ ? 1 : 0) +
                                "\nshop_idle 0\nshop_requests_total{code=\"200\"} " +
                                std::to_string(good_) + "\nshop_requests_total{code=\"500\"} " +
                                std::to_string(bad_) + "\n");
  }
  std::atomic<bool> well_{true};
  std::atomic<bool> gone_{false};
  std::mutex mutex_;
  std::vector<SystemTime> scrapes_;
  long good_ = 0;
  long bad_ = 0;
  test::HttpPeer peer_;
};

// Keeps what Alertmanager sends.
class Receiver {
 public:
  Receiver() : peer_([this](const std::string& request) { return Take(request); }) {}
  std::string url() const { return peer_.url() + "/hook"; }
  std::vector<AlertNotice> Notices() {
    std::lock_guard<std::mutex> lock(mutex_);
    return notices_;
  }

 private:
  std::string Take(const std::string& request) {
    const auto fresh = ParseAlertmanagerWebhook(test::BodyOf(request), Clock::Real().System());
    EXPECT_TRUE(fresh.ok()) << fresh.status() << request;
    std::lock_guard<std::mutex> lock(mutex_);
    if (fresh.ok()) AddNotices(*fresh, notices_);
    return test::HttpAnswer(200, "text/plain", "");
  }
  std::mutex mutex_;
  std::vector<AlertNotice> notices_;
  test::HttpPeer peer_;
};

class ProbeTest : public testing::Test {
 protected:
  virtual std::string Rules() const { return kRules; }

  void SetUp() override {
    begin_ = Clock::Real().System();
    auto alertmanager = test::Alertmanager::Start(receiver_.url());
    ASSERT_TRUE(alertmanager.ok()) << alertmanager.status();
    alertmanager_ = *std::move(alertmanager);
    auto prometheus = test::Prometheus::Start(
        test::PrometheusConfigText(shop_.port(), alertmanager_->port()), Rules());
    ASSERT_TRUE(prometheus.ok()) << prometheus.status();
    prometheus_ = *std::move(prometheus);
    PrometheusOptions options;
    options.url = prometheus_->url();
    options.deadline = seconds(20);  // far, for a busy machine
    auto probe = PrometheusProbe::Create(options);
    ASSERT_TRUE(probe.ok()) << probe.status();
    probe_ = *std::move(probe);
    question_.since = begin_;
    question_.indicators = {"shop_ok", kRatio};
    question_.alerts = {{"ShopDown", {{"severity", "page"}}}};
    question_.stop_conditions = {"sum(shop_ok) == 0"};
    ASSERT_TRUE(Until([](const ProbeAnswer& answer) {
      return answer.indicators[0].samples.size() >= 4 && answer.indicators[1].samples.size() >= 3;
    }));
  }

  // Asks until `wanted` is true of the answer, which is then in answer_.
  template <typename Predicate>
  bool Until(Predicate wanted, Nanoseconds deadline = seconds(30)) {
    return WaitFor(
        [&] {
          answer_ = probe_->Ask(question_);
          return wanted(answer_);
        },
        deadline);
  }

  bool UntilFiring() {
    return Until([](const ProbeAnswer& answer) { return answer.alerts[0].firing_now; });
  }

  std::vector<AlertEpisode> Episodes() const {
    EpisodeContext context;
    context.interval = seconds(1);
    context.now = answer_.asked_at;
    context.blind = answer_.blind;
    return EpisodesOf(answer_.alerts[0].series, context);
  }

  // Of those that found the alert active.
  SystemTime EvaluationSince(SystemTime since) const {
    SystemTime first = SystemTime::max();
    for (const auto& series : answer_.alerts[0].series) {
      for (const RawSample& sample : series.samples) {
        if (sample.at >= since) first = std::min(first, sample.at);
      }
    }
    return first;
  }

  SystemTime LastActive() const {
    SystemTime last = SystemTime::min();
    for (const auto& series : answer_.alerts[0].series) {
      for (const RawSample& sample : series.samples) {
        if (sample.value != 0) last = std::max(last, sample.at);
      }
    }
    return last;
  }

  SystemTime begin_;
  Shop shop_;
  Receiver receiver_;
  std::unique_ptr<test::Alertmanager> alertmanager_;
  std::unique_ptr<test::Prometheus> prometheus_;
  std::unique_ptr<PrometheusProbe> probe_;
  ProbeQuestion question_;
  ProbeAnswer answer_;
};

SystemTime ParseTime(const std::string& text) {
  absl::Time time;
  EXPECT_TRUE(absl::ParseTime(absl::RFC3339_full, text, &time, nullptr)) << text;
  return SystemTime(Nanoseconds(absl::ToUnixNanos(time)));
}

double SecondsBetween(SystemTime from, SystemTime to) { return Seconds(to - from); }

// Whether the samples of two seconds up to `at` came once a second.
bool InTime(const std::vector<RawSample>& samples, SystemTime at) {
  std::vector<SystemTime> latest;
  for (const RawSample& sample : samples) {
    if (sample.at > at - milliseconds(2500) && sample.at < at + milliseconds(2)) {
      latest.push_back(sample.at);
    }
  }
  if (latest.size() != 3) return false;
  for (const std::size_t i : {1, 2}) {
    if (std::abs(SecondsBetween(latest[i - 1], latest[i]) - 1) > 0.1) return false;
  }
  return true;
}

TEST_F(ProbeTest, FiringInstantIsPrometheusOwnAndTheWebhooks) {
  shop_.Set(false);
  ASSERT_TRUE(UntilFiring());
  const auto body = prometheus_->Get("/api/v1/alerts");
  ASSERT_TRUE(body.ok());
  const auto json = nlohmann::json::parse(*body);
  const SystemTime active = ParseTime(json["data"]["alerts"][0]["activeAt"].get<std::string>());

  ASSERT_EQ(Episodes().size(), 1u);
  const AlertEpisode episode = Episodes()[0];
  ASSERT_TRUE(episode.pending_at && episode.firing_at);
  EXPECT_FALSE(episode.resolved_at);
  EXPECT_NEAR(SecondsBetween(active + answer_.clock_offset, *episode.pending_at), 0, 0.002);
  // `for: 2s`: the first evaluation since then, at an interval of 1 s.
  EXPECT_NEAR(SecondsBetween(EvaluationSince(*episode.pending_at + seconds(2) - milliseconds(2)),
                             *episode.firing_at),
              0, 0.002);
  ASSERT_TRUE(answer_.alerts[0].rule);
  EXPECT_EQ(answer_.alerts[0].rule->pending_for, seconds(2));
  EXPECT_EQ(answer_.alerts[0].rule->evaluation_interval, seconds(1));

  ASSERT_TRUE(WaitFor([&] { return !receiver_.Notices().empty(); }, seconds(10)));
  const AlertNotice notice = receiver_.Notices()[0];
  EXPECT_EQ(notice.alert, question_.alerts[0].name);
  EXPECT_TRUE(Carries(notice.labels, question_.alerts[0].labels));
  EXPECT_EQ(notice.receiver, "test");
  EXPECT_NEAR(SecondsBetween(notice.starts_at + answer_.clock_offset, *episode.firing_at), 0,
              0.002);

  question_.indicators.push_back("tick");
  shop_.Set(true);
  ASSERT_TRUE(
      Until([&](const ProbeAnswer&) { return !Episodes().empty() && Episodes()[0].resolved_at; }));
  ASSERT_TRUE(WaitFor([&] { return receiver_.Notices().size() == 2; }, seconds(10)));
  const AlertNotice resolved = receiver_.Notices()[1];
  ASSERT_TRUE(resolved.ends_at);
  // It resolves at the first evaluation that does not find it active.
  const SystemTime last = LastActive();
  const std::vector<RawSample>& ticks = answer_.indicators.back().samples;
  const auto next = std::find_if(ticks.begin(), ticks.end(), [&](const RawSample& tick) {
    return tick.at > last + milliseconds(2);
  });
  ASSERT_NE(next, ticks.end());
  EXPECT_NEAR(SecondsBetween(next->at, *resolved.ends_at + answer_.clock_offset), 0, 0.002);
  // A busy machine leaves evaluations out: the samples of ALERTS do not tell that.
  if (next->at - last < milliseconds(1500)) {
    EXPECT_NEAR(SecondsBetween(next->at, *Episodes()[0].resolved_at), 0, 0.002);
  }
}

TEST_F(ProbeTest, PlainIndicatorsSamplesAreTheScrapesThemselves) {
  ASSERT_TRUE(answer_.indicators[0].status.ok()) << answer_.indicators[0].status;
  EXPECT_TRUE(answer_.indicators[0].raw);
  EXPECT_EQ(answer_.indicators[0].interval, seconds(1));
  EXPECT_EQ(probe_->ScrapeInterval(), seconds(1));
  // Its value tells which scrape it is of; its instant is when Prometheus began that one, which
  // comes here somewhat later, at most by the timeout.
  question_.indicators = {"shop_requests_total{code=\"200\"}"};
  EXPECT_TRUE(Until([](const ProbeAnswer& one) {
    return one.indicators[0].status.ok() && one.clock_uncertainty < milliseconds(50);
  })) << "of several questions one is answered quickly";
  // It is the same machine; Prometheus tells milliseconds.
  const Nanoseconds off = answer_.clock_uncertainty + milliseconds(2);
  EXPECT_LE(std::chrono::abs(answer_.clock_offset), off);
  const std::vector<SystemTime> scrapes = shop_.Scrapes();
  Nanoseconds least = Nanoseconds::max();
  for (const RawSample& sample : answer_.indicators[0].samples) {
    const auto number = static_cast<std::size_t>(sample.value) / 100;
    ASSERT_TRUE(number >= 1 && number <= scrapes.size()) << sample.value;
    const Nanoseconds after = scrapes[number - 1] - sample.at;
    EXPECT_GE(after, -off) << FormatTime(sample.at);
    EXPECT_LE(after, milliseconds(900) + off) << FormatTime(sample.at);
    least = std::min(least, after);
  }
  EXPECT_LT(least, milliseconds(100));
}

TEST_F(ProbeTest, ExpressionsAreEvaluatedAtTheScrapesInstants) {
  const ProbeAnswer::Indicator& ratio = answer_.indicators[1];
  ASSERT_TRUE(ratio.status.ok()) << ratio.status;
  EXPECT_FALSE(ratio.raw);
  EXPECT_LE(ratio.uncertainty, milliseconds(100) + answer_.clock_uncertainty);
  EXPECT_DOUBLE_EQ(ratio.samples.back().value, 1);
  std::vector<SystemTime> raw;
  for (const RawSample& sample : answer_.indicators[0].samples) raw.push_back(sample.at);
  for (const RawSample& sample : ratio.samples) {
    EXPECT_THAT(raw, testing::Contains(sample.at)) << FormatTime(sample.at);
  }
}

TEST_F(ProbeTest, WhatPrometheusCannotAnswerIsNeverAValue) {
  question_.indicators = {"shop_absent",         "sum(shop_absent)",      "up offset",
                          "shop_requests_total", "shop_idle / shop_idle", "sum(shop_ok)"};
  question_.alerts = {{"NoSuchAlert", {}}};
  question_.stop_conditions = {"shop_ok == 0", "shop_absent", "sum(", "shop_idle / shop_idle",
                               "shop_ok"};
  answer_ = probe_->Ask(question_);
  EXPECT_EQ(answer_.indicators[0].status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(answer_.indicators[1].status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(answer_.indicators[2].status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(answer_.indicators[2].status.message()), HasSubstr("parse error"));
  EXPECT_EQ(answer_.indicators[3].status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(answer_.indicators[3].status.message()), HasSubstr("code=\"500\""));
  EXPECT_EQ(answer_.indicators[4].status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(answer_.indicators[4].status.message()), HasSubstr("NaN"));
  EXPECT_TRUE(answer_.indicators[5].status.ok()) << answer_.indicators[5].status;
  EXPECT_TRUE(answer_.alerts[0].status.ok());
  EXPECT_TRUE(answer_.alerts[0].rule_missing);

  EXPECT_TRUE(answer_.stop_conditions[0].status.ok());
  EXPECT_FALSE(answer_.stop_conditions[0].holds);
  EXPECT_EQ(answer_.stop_conditions[1].status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(answer_.stop_conditions[2].status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(answer_.stop_conditions[3].status.code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(answer_.stop_conditions[4].holds);
}

TEST_F(ProbeTest, StopConditionThatFiltersHoldsThoughItsValueIsZero) {
  EXPECT_TRUE(answer_.stop_conditions[0].status.ok());
  EXPECT_FALSE(answer_.stop_conditions[0].holds);
  shop_.Set(false);
  EXPECT_TRUE(Until([](const ProbeAnswer& answer) { return answer.stop_conditions[0].holds; }));
}

TEST_F(ProbeTest, RestartedPrometheusLeavesOneEpisodeAndSaysThatItWasBlind) {
  shop_.Set(false);
  ASSERT_TRUE(UntilFiring());
  // By Prometheus' clock, whatever it is taken to be.
  const auto firing_at = [this] { return *Episodes()[0].firing_at - answer_.clock_offset; };
  const SystemTime firing = firing_at();
  prometheus_->process().Stop(SIGKILL);
  const ProbeAnswer absent = probe_->Ask(question_);
  EXPECT_EQ(absent.status.code(), absl::StatusCode::kUnavailable) << absent.status;
  EXPECT_EQ(absent.alerts[0].status.code(), absl::StatusCode::kUnavailable);
  test::Pause(seconds(4));
  ASSERT_TRUE(prometheus_->Restart(SIGKILL).ok());
  ASSERT_TRUE(Until([&](const ProbeAnswer& answer) {
    return !answer.blind.empty() && answer.blind.back().to < answer.asked_at - seconds(4) &&
           answer.alerts[0].firing_now;
  }));
  ASSERT_EQ(Episodes().size(), 1u);
  EXPECT_NEAR(SecondsBetween(firing, firing_at()), 0, 0.002);
  // A busy machine may have left another, shorter one.
  EXPECT_TRUE(std::any_of(answer_.blind.begin(), answer_.blind.end(), [](const TimeSpan& span) {
    return SecondsBetween(span.from, span.to) > 4;
  }));
  // The indicator has a hole there, though Prometheus would fill it for five minutes.
  double longest = 0;
  for (std::size_t i = 1; i < answer_.indicators[1].samples.size(); ++i) {
    longest = std::max(longest, SecondsBetween(answer_.indicators[1].samples[i - 1].at,
                                               answer_.indicators[1].samples[i].at));
  }
  EXPECT_GT(longest, 4);
}

TEST_F(ProbeTest, StoppedPrometheusCostsNoMoreThanTheDeadline) {
  PrometheusOptions options;
  options.url = prometheus_->url();
  options.deadline = milliseconds(500);
  const auto probe = PrometheusProbe::Create(options);
  ASSERT_TRUE(probe.ok());
  prometheus_->process().Signal(SIGSTOP);
  // The signal waits for a thread of it to run; until then the others go on answering.
  const std::string state = "/proc/" + std::to_string(prometheus_->process().pid()) + "/stat";
  ASSERT_TRUE(WaitFor([&] { return test::ReadFile(state).find(") T ") != std::string::npos; },
                      seconds(10)));
  const auto ask = [&] {
    const ProbeAnswer answer = (*probe)->Ask(question_);
    EXPECT_EQ(answer.status.code(), absl::StatusCode::kDeadlineExceeded) << answer.status;
    EXPECT_EQ(answer.indicators[0].status.code(), absl::StatusCode::kDeadlineExceeded);
  };
  EXPECT_LT(test::Quickest(ask, seconds(1)), seconds(1));
  prometheus_->process().Signal(SIGCONT);
}

TEST_F(ProbeTest, MeasuresDetectionAndRecoveryOfARealOutage) {
  v1::Experiment experiment;
  for (const ProbeQuestion::Indicator& asked : question_.indicators) {
    v1::Indicator& indicator = *experiment.add_steady_state();
    indicator.set_name(asked.query);
    indicator.set_query(asked.query);
    indicator.mutable_expect()->set_operator_(v1::OPERATOR_GREATER_OR_EQUAL);
    indicator.mutable_expect()->set_value(0.99);
    *indicator.mutable_hold() = ToProto(seconds(2));
  }
  experiment.add_detection()->set_alert("ShopDown");

  Evidence evidence;
  const SystemTime impact = Clock::Real().System();
  evidence.instants.first_impact = Instant{impact};
  shop_.Set(false);
  ASSERT_TRUE(UntilFiring());
  ASSERT_TRUE(WaitFor([&] { return !receiver_.Notices().empty(); }, seconds(10)));
  const SystemTime ended = Clock::Real().System();
  evidence.instants.ended = Instant{ended};
  shop_.Set(true);
  const SystemTime well = Clock::Real().System();
  Measures measures;
  ASSERT_TRUE(Until([&](const ProbeAnswer& answer) {
    evidence.now = answer.asked_at;
    evidence.indicators.clear();
    for (const ProbeAnswer::Indicator& indicator : answer.indicators) {
      evidence.indicators.push_back({.status = indicator.status,
                                     .samples = indicator.samples,
                                     .interval = indicator.interval,
                                     .uncertainty = indicator.uncertainty});
    }
    evidence.alerts = {{.status = answer.alerts[0].status,
                        .series = answer.alerts[0].series,
                        .notices = receiver_.Notices(),
                        .uncertainty = answer.clock_uncertainty,
                        .clock_offset = answer.clock_offset,
                        .blind = answer.blind,
                        .truth = answer.alerts[0].truth,
                        .rule = answer.alerts[0].rule,
                        .route = answer.alerts[0].route}};
    measures = MeasureRun(experiment, evidence);
    return measures.settled;
  }));

  EXPECT_EQ(measures.detection, v1::DETECTION_OUTCOME_DETECTED);
  ASSERT_TRUE(measures.time_to_detect);
  EXPECT_EQ(FromProto(measures.time_to_detect->value()), *Episodes()[0].firing_at - impact);
  EXPECT_GE(Seconds(FromProto(measures.time_to_detect->value())), 2) << "`for: 2s`";
  ASSERT_TRUE(measures.alerts[0].has_time_to_notify());
  EXPECT_GE(FromProto(measures.alerts[0].time_to_notify().value()),
            FromProto(measures.time_to_detect->value()) - milliseconds(20));
  for (const v1::IndicatorResult& indicator : measures.indicators) {
    EXPECT_EQ(indicator.outcome(), v1::RECOVERY_OUTCOME_AFTER_END) << indicator.DebugString();
  }
  // The plain one is well at the first scrape after the end; the ratio once its window of 3 s is
  // clean, at the next scrape or the one after it.
  const auto from_end = [&](int i) {
    return FromProto(measures.indicators[i].time_to_recover_from_end().value()) -
           answer_.clock_uncertainty;
  };
  const SystemTime scrape = shop_.ScrapeSince(well);
  EXPECT_LE(from_end(0), scrape - ended);
  EXPECT_LE(from_end(1), shop_.ScrapeSince(scrape + seconds(3), 1) - ended);
  EXPECT_EQ(measures.indicators[0].lowest(), 0);
  EXPECT_EQ(FromProto(measures.time_to_recover->value()),
            std::max(FromProto(measures.indicators[0].time_to_recover().value()),
                     FromProto(measures.indicators[1].time_to_recover().value())));
}

class ProbeRulesTest : public ProbeTest {
 protected:
  std::string Rules() const override { return std::string(kRules) + kMoreRules; }
};

TEST_F(ProbeRulesTest, RulesAreToldWhole) {
  question_.alerts = {{"Shop \"slow\" \\ ü", {{"where", "anything"}}},
                      {"ShopDown", {{"severity", "ticket"}}},
                      {"ShopDown", {}}};
  ASSERT_TRUE(Until([](const ProbeAnswer& answer) { return answer.alerts[0].rule.has_value(); }));
  const AlertRule& slow = *answer_.alerts[0].rule;
  EXPECT_EQ(slow.group, "more");
  EXPECT_THAT(slow.file, testing::EndsWith("rules.yml"));
  EXPECT_EQ(slow.expression, "max_over_time(job:shop_ok:avg5s{job=~\"sh[o]p\"}[10s:1s]) < 0.1");
  EXPECT_EQ(slow.labels.at("where"), "{{ $labels.instance }}");
  EXPECT_EQ(slow.evaluation_interval, seconds(2));
  EXPECT_EQ(slow.pending_for, seconds(3));
  EXPECT_EQ(slow.keep_firing_for, seconds(4));
  EXPECT_EQ(slow.query_offset, seconds(0));
  EXPECT_EQ(slow.window, seconds(15)) << "10 s, and what the recording rule reads";
  EXPECT_EQ(slow.scrape_interval, seconds(2)) << "the recording rule's evaluation";
  EXPECT_EQ(answer_.alerts[1].rule->expression, "shop_idle > 0");
  EXPECT_EQ(answer_.alerts[1].rule_ambiguity, "");
  EXPECT_EQ(answer_.alerts[2].rule->expression, "shop_idle > 0") << "of the first group";
  EXPECT_EQ(answer_.alerts[2].rule->scrape_interval, seconds(1));
  EXPECT_THAT(answer_.alerts[2].rule_ambiguity, HasSubstr("2 rules"));
}

TEST_F(ProbeRulesTest, TruthIsTheRulesExpressionAtEachScrape) {
  question_.alerts[0].labels["job"] = "shop";
  question_.alerts[0].truth_since = begin_;
  question_.alerts.push_back({"ShopDown", {{"severity", "page"}, {"job", "other"}}, begin_});
  shop_.Set(false);
  ASSERT_TRUE(UntilFiring());
  shop_.Set(true);
  ASSERT_TRUE(Until([](const ProbeAnswer& answer) { return !answer.alerts[0].firing_now; }));
  const std::vector<RawSample>& truth = answer_.alerts[0].truth;
  // The latest scrape may have come after the last instant at which the rule is looked at; one that
  // came later than that instant on a busy machine is not told by its own.
  const std::vector<RawSample>& scrapes = answer_.indicators[0].samples;
  std::size_t told = 0;
  int held = 0;
  for (const RawSample& sample : truth) {
    const auto scrape = std::find_if(scrapes.begin(), scrapes.end(), [&](const RawSample& one) {
      return std::chrono::abs(one.at - sample.at) < milliseconds(2);
    });
    if (scrape == scrapes.end()) continue;
    EXPECT_EQ(sample.value, scrape->value == 0 ? 1 : 0) << FormatTime(sample.at);
    ++told;
    held += sample.value > 0 ? 1 : 0;
  }
  EXPECT_GT(2 * told, scrapes.size()) << "most of them";
  EXPECT_GE(held, 2);
  ASSERT_FALSE(answer_.alerts[1].truth.empty());
  for (const RawSample& sample : answer_.alerts[1].truth) EXPECT_EQ(sample.value, 0);
}

TEST_F(ProbeRulesTest, TruthOfARuleThatReadsNothingIsOfItsEvaluations) {
  question_.alerts = {{"Always", {}, begin_},
                      {"Number", {}, begin_},
                      {"ShopGone", {}, answer_.indicators[0].samples.back().at}};
  // When the series is scraped can be learnt as long as it is there.
  ASSERT_TRUE(Until([](const ProbeAnswer& answer) { return !answer.alerts[2].truth.empty(); }));
  shop_.Vanish();
  const SystemTime vanished = Clock::Real().System();
  ASSERT_TRUE(Until([](const ProbeAnswer& answer) {
    return answer.alerts[0].firing_now && answer.alerts[1].firing_now &&
           answer.alerts[2].firing_now && answer.alerts[2].truth.size() >= 4 &&
           answer.alerts[2].truth.back().value == 1;
  }));
  for (const std::size_t constant : {0, 1}) {
    const std::vector<RawSample>& truth = answer_.alerts[constant].truth;
    for (const RawSample& sample : truth) EXPECT_EQ(sample.value, 1);
    ASSERT_FALSE(truth.empty());
    for (const RawSample& tick : answer_.alerts[constant].series[0].samples) {
      const bool told = std::any_of(truth.begin(), truth.end(), [&](const RawSample& sample) {
        return std::chrono::abs(sample.at - tick.at) < milliseconds(2);
      });
      const bool blind = std::any_of(answer_.blind.begin(), answer_.blind.end(), [&](auto& span) {
        return span.from < tick.at && tick.at < span.to;
      });
      // Its samples are asked for a little after the instant up to which the rule is looked at.
      const bool later = tick.at + answer_.clock_uncertainty > answer_.asked_at;
      EXPECT_TRUE(told || blind || later) << FormatTime(tick.at);
    }
  }
  // It turned true with the first scrape that did not find the series, and stayed so.
  const std::vector<RawSample>& absent = answer_.alerts[2].truth;
  const auto first = std::find_if(absent.begin(), absent.end(),
                                  [](const RawSample& sample) { return sample.value > 0; });
  EXPECT_EQ(absent.front().value, 0);
  EXPECT_TRUE(std::all_of(first, absent.end(), [](const auto& one) { return one.value == 1; }));
  EXPECT_GT(first->at, answer_.indicators[0].samples.back().at);
  EXPECT_LE(first->at - answer_.clock_uncertainty, shop_.ScrapeSince(vanished, 1))
      << "not later than the second that did not find it";
}

TEST_F(ProbeTest, RouteIsWhatAlertmanagerTells) {
  ASSERT_TRUE(Until([](const ProbeAnswer& answer) { return answer.alerts[0].route.has_value(); }));
  const AlertRoute& route = *answer_.alerts[0].route;
  EXPECT_EQ(route.receiver, "test");
  EXPECT_EQ(route.group_wait, seconds(0));
  EXPECT_EQ(route.group_interval, seconds(1));
  EXPECT_TRUE(route.delivers);
  EXPECT_EQ(answer_.alerts[0].routes.size(), 1u);
  // It is not asked again for a minute; one that cannot be reached is in nobody's way.
  alertmanager_->process().Stop(SIGKILL);
  PrometheusOptions options;
  options.url = prometheus_->url();
  const auto fresh = PrometheusProbe::Create(options);
  ASSERT_TRUE(fresh.ok());
  const ProbeAnswer answer = (*fresh)->Ask(question_);
  EXPECT_TRUE(answer.alerts[0].status.ok());
  EXPECT_TRUE(answer.alerts[0].rule.has_value());
  EXPECT_FALSE(answer.alerts[0].route.has_value());
  EXPECT_TRUE(probe_->Ask(question_).alerts[0].route.has_value()) << "what was told stays";
}

TEST_F(ProbeTest, CountersAreReadFromScrapeToScrapeAcrossAReset) {
  const std::string ratio =
      "sum(rate(shop_requests_total{code=\"200\"}[1m])) / sum(rate(shop_requests_total[1m]))";
  question_.indicators = {
      {ratio, true}, ratio, {"increase(shop_requests_total{code=\"200\"}[1m])", true}, "shop_ok"};
  const auto samples = [this](std::size_t i) { return answer_.indicators[i].samples; };
  const auto until = [&](double value) {
    return Until([&](const ProbeAnswer& answer) {
      return !answer.indicators[0].samples.empty() &&
             answer.indicators[0].samples.back().value == value;
    });
  };
  ASSERT_TRUE(until(1));
  shop_.Reset();
  shop_.Set(false);
  ASSERT_TRUE(until(0)) << "a scrape and the one before it, though the query says a minute";
  const SystemTime bad = samples(0).back().at;
  shop_.Reset();
  shop_.Set(true);
  ASSERT_TRUE(until(1));
  const SystemTime good = samples(0).back().at;
  EXPECT_LT(SecondsBetween(bad, good), 5);
  EXPECT_LT(samples(1).back().value, 1) << "the window still holds the outage";
  EXPECT_EQ(answer_.indicators[0].window, seconds(0));
  EXPECT_EQ(answer_.indicators[1].window, seconds(60));
  EXPECT_EQ(answer_.indicators[3].window, seconds(0));
  int in_time = 0;
  for (const RawSample& sample : samples(2)) {
    // A busy machine scrapes late now and then: what it extrapolates from is then longer.
    if (!InTime(samples(3), sample.at)) continue;
    ++in_time;
    const bool all_or_none = std::abs(sample.value - 100) < 25 || sample.value == 0;
    EXPECT_TRUE(all_or_none) << sample.value << ": 100 come with each scrape, or none";
  }
  EXPECT_GE(in_time, 1);
  for (const RawSample& sample : samples(0)) {
    const bool told = sample.value == 0 || sample.value == 1;
    EXPECT_TRUE(told) << sample.value;
  }
}

// Alertmanager's own tool walks the same tree.
TEST(AlertRoutesTest, AgreeWithAmtool) {
  const std::string yaml = R"(
route:
  receiver: default
  routes:
    - {receiver: pager, match: {severity: page}, continue: true}
    - receiver: chat
      match_re: {severity: 'pa.*|x'}
      routes:
        - {receiver: team, matchers: ['team="a, \"b\""', 'host!~"db-.*"']}
    - {receiver: nobody, matchers: ['{severity="ticket",env=~prod|stage}']}
    - {receiver: empty, matchers: ['team=""', "severity != ''"]}
receivers: [{name: default}, {name: pager}, {name: chat}, {name: team}, {name: nobody}, {name: empty}]
)";
  test::TemporaryFolder folder;
  folder.Write("am.yml", yaml);
  const auto routes =
      ParseAlertmanagerStatus(nlohmann::json{{"config", {{"original", yaml}}}}.dump());
  ASSERT_TRUE(routes.ok()) << routes.status();
  const std::vector<std::map<std::string, std::string>> alerts = {
      {{"severity", "page"}},
      {{"severity", "pa"}},
      {{"severity", "xx"}, {"team", "t"}},
      {{"severity", "xx"}},
      {{"severity", "x"}, {"team", "a, \"b\""}},
      {{"severity", "x"}, {"team", "a, \"b\""}, {"host", "db-1"}},
      {{"severity", "ticket"}, {"env", "prod"}},
      {{"severity", "ticket"}, {"env", "production"}, {"team", "t"}},
      {{"other", "1"}}};
  for (const auto& labels : alerts) {
    std::vector<std::string> command = {test::ServiceProgram("amtool"), "config", "routes", "test",
                                        "--config.file=" + folder.path() + "/am.yml"};
    for (const auto& [name, value] : labels) {
      command.push_back(name + "=" + nlohmann::json(value).dump());
    }
    const auto finished = test::RunToEnd(command);
    ASSERT_TRUE(finished.ok()) << finished.status();
    std::string told;
    for (const AlertRoute& route : routes->For(labels)) {
      told += (told.empty() ? "" : ",") + route.receiver;
    }
    EXPECT_THAT("\n" + finished->output, testing::EndsWith("\n" + told + "\n"))
        << testing::PrintToString(labels);
  }
}

}  // namespace
}  // namespace firedrill::controller
