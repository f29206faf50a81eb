// SPDX-License-Identifier: Apache-2.0
// An alert that is not active for a single evaluation, told by a real Prometheus: where the rule
// did not hold one episode ends and another begins, where it was not evaluated none does.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <optional>

#include "controller/measure/episodes.h"
#include "controller/probe/prometheus.h"
#include "proto/support/time.h"
#include "tests/lib/http_peer.h"
#include "tests/lib/prometheus.h"

namespace firedrill::controller {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr seconds kEvaluation{2};
constexpr int kRound = 4;  // evaluations, of which one is false

// The evaluations are kRound · 2 s apart at which the rule does not hold, whatever is scraped.
constexpr char kRules[] = R"(
groups:
  - name: flaps
    rules:
      - {alert: Flaps, expr: 'floor(vector(time()) / 2) % 4 != 3', labels: {severity: page}}
      - {alert: Always, expr: vector(1)}
)";

// Scraped so rarely that an evaluation that is missed is no blindness.
std::string Config(int port) {
  return fmt::format(R"(
global: {{scrape_interval: 5s, scrape_timeout: 1s, evaluation_interval: 2s}}
rule_files: [rules.yml]
scrape_configs: [{{job_name: shop, static_configs: [{{targets: ['127.0.0.1:{}']}}]}}]
)",
                     port);
}

class FlappingTest : public testing::Test {
 protected:
  void SetUp() override {
    question_.since = Clock::Real().System();
    question_.alerts = {{"Flaps", {{"severity", "page"}}}, {"Always", {}}};
    auto prometheus = test::Prometheus::Start(Config(shop_.port()), kRules);
    ASSERT_TRUE(prometheus.ok()) << prometheus.status();
    prometheus_ = *std::move(prometheus);
    PrometheusOptions options;
    options.url = prometheus_->url();
    options.deadline = seconds(20);  // far, for a busy machine
    auto probe = PrometheusProbe::Create(options);
    ASSERT_TRUE(probe.ok()) << probe.status();
    probe_ = *std::move(probe);
  }

  void Ask() {
    answer_ = probe_->Ask(question_);
    EXPECT_TRUE(answer_.status.ok()) << answer_.status;
  }

  const std::vector<RawSample>& Samples(std::size_t alert) const {
    static const std::vector<RawSample> none;
    const std::vector<AlertSeries>& series = answer_.alerts[alert].series;
    return series.empty() ? none : series[0].samples;
  }

  std::vector<SystemTime> Markers(std::size_t alert) const {
    std::vector<SystemTime> markers;
    for (const RawSample& sample : Samples(alert)) {
      if (sample.value == 0) markers.push_back(sample.at);
    }
    return markers;
  }

  // Of the samples from `since` on.
  std::vector<AlertEpisode> Episodes(std::size_t alert,
                                     SystemTime since = SystemTime::min()) const {
    std::vector<AlertSeries> series = answer_.alerts[alert].series;
    for (AlertSeries& one : series) {
      const auto first =
          std::find_if(one.samples.begin(), one.samples.end(),
                       [since](const RawSample& sample) { return sample.at >= since; });
      one.samples.erase(one.samples.begin(), first);
    }
    EpisodeContext context;
    context.interval = kEvaluation;
    context.now = answer_.asked_at;
    context.blind = answer_.blind;
    return EpisodesOf(series, context);
  }

  // Of samples from `since` on that follow each other, how far the farthest are apart.
  Nanoseconds LongestPause(std::size_t alert, SystemTime since) const {
    Nanoseconds longest{0};
    std::optional<SystemTime> last;
    for (const RawSample& sample : Samples(alert)) {
      if (sample.at < since) continue;
      if (last) longest = std::max(longest, sample.at - *last);
      last = sample.at;
    }
    return longest;
  }

  test::HttpPeer shop_{
      [](const std::string&) { return test::HttpAnswer(200, "text/plain", "shop_ok 1\n"); }};
  std::unique_ptr<test::Prometheus> prometheus_;
  std::unique_ptr<PrometheusProbe> probe_;
  ProbeQuestion question_;
  ProbeAnswer answer_;
};

TEST_F(FlappingTest, OneFalseEvaluationIsAnEndAndOneThatWasMissedIsNone) {
  ASSERT_TRUE(test::WaitFor(
      [&] {
        Ask();
        return Markers(0).size() >= 2;
      },
      seconds(60)));
  const std::vector<SystemTime> markers = Markers(0);
  EXPECT_EQ(markers[1] - markers[0], kRound * kEvaluation);
  for (const SystemTime marker : markers) {
    const double at = Seconds((marker - answer_.clock_offset).time_since_epoch());
    EXPECT_EQ(std::fmod(std::floor(at / 2), kRound), 3) << "there the rule did not hold";
  }
  EXPECT_TRUE(Markers(1).empty());
  const std::vector<AlertEpisode> episodes = Episodes(0);
  ASSERT_GE(episodes.size(), 3u);
  for (std::size_t i = 0; i < markers.size(); ++i) {
    EXPECT_EQ(episodes[i].resolved_at, markers[i]);
    EXPECT_EQ(episodes[i + 1].firing_at, markers[i] + kEvaluation);
  }

  // It is stopped in the middle between two evaluations, over one and the next. A busy machine may
  // let it go on too late, and then it misses two or more: that is tried again.
  SystemTime begin;
  for (int tries = 0; tries < 5 && LongestPause(1, begin) != 2 * kEvaluation; ++tries) {
    Ask();
    begin = Samples(1).back().at;
    test::Pause(std::max(Nanoseconds(0), kEvaluation * 3 / 2 - (Clock::Real().System() - begin)));
    prometheus_->process().Signal(SIGSTOP);
    test::Pause(2 * kEvaluation);
    prometheus_->process().Signal(SIGCONT);
    test::Pause(2 * kEvaluation);
    Ask();
  }
  ASSERT_EQ(LongestPause(1, begin), 2 * kEvaluation);
  EXPECT_TRUE(Markers(1).empty());
  EXPECT_TRUE(answer_.blind.empty());
  const std::vector<AlertEpisode> one = Episodes(1, begin);
  ASSERT_EQ(one.size(), 1u);
  EXPECT_FALSE(one[0].resolved_at);
}

}  // namespace
}  // namespace firedrill::controller
