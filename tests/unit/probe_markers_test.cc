// SPDX-License-Identifier: Apache-2.0
// One missing sample of ALERTS: the rule did not hold, or was not evaluated.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "controller/probe/alerts.h"
#include "controller/probe/inquiry.h"
#include "controller/probe/markers.h"

namespace firedrill::controller {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::IsEmpty;

const ProbeQuestion::Alert kAlert{"Down", {{"severity", "page"}}};

PrometheusSeries Series(const char* state, const std::string& instance,
                        const std::vector<std::int64_t>& instants) {
  PrometheusSeries series;
  series.labels = {
      {"__name__", "ALERTS"}, {"alertname", "Down"}, {"alertstate", state}, {"instance", instance}};
  for (const std::int64_t at : instants) series.points.push_back({at, 1});
  return series;
}

std::vector<std::int64_t> Zeros(const AlertSeries& series) {
  std::vector<std::int64_t> zeros;
  for (std::size_t i = 0; i < series.samples.size(); ++i) {
    if (i > 0) {
      EXPECT_LT(series.samples[i - 1].at, series.samples[i].at);
    }
    if (series.samples[i].value == 0) {
      zeros.push_back(
          std::chrono::duration_cast<milliseconds>(series.samples[i].at.time_since_epoch())
              .count());
    }
  }
  return zeros;
}

TEST(MarkersTest, AsksOnlyWhereASingleSampleIsMissing) {
  EXPECT_FALSE(PlanMarkers(kAlert, {}, seconds(2)));
  const PrometheusAnswer whole{
      {Series("pending", "a", {1000, 3000}), Series("firing", "a", {5000, 7000, 13'000})}, {}};
  EXPECT_FALSE(PlanMarkers(kAlert, whole, seconds(2))) << "two are missing, or none";
  const PrometheusAnswer gaps{
      {Series("firing", "a", {1300, 5300, 7300}), Series("firing", "b", {5300, 9300})}, {}};
  const auto plan = PlanMarkers(kAlert, gaps, seconds(2));
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->query, "ALERTS{alertname=\"Down\",severity=\"page\"}");
  EXPECT_EQ(plan->at.start_ms, 3300);
  EXPECT_EQ(plan->at.end_ms, 7300);
  EXPECT_EQ(plan->at.step_ms, 2000);
  EXPECT_EQ(plan->before.start_ms, 3299);
  EXPECT_EQ(plan->before.end_ms, 7299);
}

TEST(MarkersTest, LooksNoFurtherThanPrometheusDoes) {
  const PrometheusAnswer gap{{Series("firing", "a", {0, 600'000})}, {}};
  EXPECT_FALSE(PlanMarkers(kAlert, gap, seconds(300))) << "a sample is stale by itself by then";
  PrometheusAnswer many;
  std::vector<std::int64_t> instants;
  for (std::int64_t at = 0; at < 40'000'000; at += 4000) instants.push_back(at);
  many.series = {Series("firing", "a", instants)};
  const auto plan = PlanMarkers(kAlert, many, seconds(2));
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->at.end_ms, 39'994'000);
  EXPECT_LE((plan->at.end_ms - plan->at.start_ms) / plan->at.step_ms, 5000);
}

TEST(MarkersTest, WhatIsGoneAtTheInstantWasEndedByAMarker) {
  const PrometheusAnswer gaps{{Series("pending", "a", {1000}), Series("firing", "a", {3000, 7000}),
                               Series("firing", "b", {1000, 3000, 7000})},
                              {}};
  const auto plan = PlanMarkers(kAlert, gaps, seconds(2));
  ASSERT_TRUE(plan);
  // Of a the sample of 3 s is seen until 5 s, of b beyond it: there was no evaluation.
  const PrometheusAnswer before{{Series("firing", "a", {4999}), Series("firing", "b", {4999})}, {}};
  const PrometheusAnswer at{{Series("firing", "b", {5000})}, {}};
  std::vector<AlertSeries> series = AlertSeriesOf(gaps, Nanoseconds(0));
  AddMarkers(*plan, before, at, milliseconds(0), series);
  ASSERT_EQ(series.size(), 3u);
  EXPECT_THAT(Zeros(series[0]), testing::ElementsAre(5000)) << "in the first series of its labels";
  EXPECT_THAT(Zeros(series[1]), IsEmpty());
  EXPECT_THAT(Zeros(series[2]), IsEmpty());
}

TEST(MarkersTest, NothingIsSaidOfWhatCannotBeSeen) {
  const PrometheusAnswer gap{{Series("firing", "a", {3000, 7000})}, {}};
  const auto plan = PlanMarkers(kAlert, gap, seconds(2));
  ASSERT_TRUE(plan);
  std::vector<AlertSeries> series = AlertSeriesOf(gap, Nanoseconds(0));
  // A shorter look-back than Prometheus' default: gone a millisecond before, too.
  AddMarkers(*plan, {}, {}, Nanoseconds(0), series);
  EXPECT_THAT(Zeros(series[0]), IsEmpty());
}

TEST(MarkersTest, EachGoesToTheSeriesOfItsLabelsInTheOrderOfTime) {
  PrometheusAnswer gaps, before;
  for (int i = 0; i < 200; ++i) {
    gaps.series.push_back(Series("firing", std::to_string(i), {3000, 7000, 11'000}));
    before.series.push_back(Series("firing", std::to_string(i), {i % 2 == 0 ? 4999 : 8999}));
  }
  const auto plan = PlanMarkers(kAlert, gaps, seconds(2));
  ASSERT_TRUE(plan);
  std::vector<AlertSeries> series = AlertSeriesOf(gaps, Nanoseconds(0));
  AddMarkers(*plan, before, {}, Nanoseconds(0), series);
  ASSERT_EQ(series.size(), 200u);
  for (const AlertSeries& one : series) {
    const bool even = std::stoi(one.labels.at("instance")) % 2 == 0;
    EXPECT_THAT(Zeros(one), testing::ElementsAre(even ? 5000 : 9000));
  }
}

TEST(MarkersTest, WhereTheyCannotBeAskedForThatIsSaid) {
  constexpr std::int64_t kNow = 1'800'000'000'000;
  ProbeQuestion question;
  question.since = SystemTime(milliseconds(kNow)) - seconds(90);
  question.alerts = {{"Down", {}}};
  int marker_status = 503;
  const auto fetch = [&](const std::vector<FetchRequest>& requests) {
    std::vector<absl::StatusOr<FetchAnswer>> answers;
    for (const FetchRequest& request : requests) {
      FetchAnswer answer{404, ""};
      if (request.form.find("ALERTS") != std::string::npos) {
        const bool range = request.path == "/api/v1/query_range";
        answer.http_status = range ? marker_status : 200;
        answer.body =
            R"({"status":"success","data":{"resultType":"matrix","result":[{"metric":{"alertname":"Down","alertstate":"firing"},"values":[)" +
            std::string(range ? "" : R"([1799999940,"1"],[1799999970,"1"])") + "]}]}}";
      }
      answers.emplace_back(answer);
    }
    return answers;
  };
  const auto ask = [&] {
    PrometheusKnowledge known;
    ProbeAnswer answer;
    answer.alerts.resize(1);
    Inquiry inquiry(question, {}, kNow, {}, known, answer);
    inquiry.Run(fetch, SteadyTime());
    EXPECT_TRUE(answer.alerts[0].status.ok()) << answer.alerts[0].status;
    return answer.caveats;
  };
  EXPECT_THAT(ask(), testing::ElementsAre(testing::HasSubstr("may be two")));
  marker_status = 200;
  EXPECT_THAT(ask(), IsEmpty());
}

TEST(MarkersTest, AMarkerEndsWhatFires) {
  AlertSeries firing;
  firing.firing = true;
  for (const int at : {3, 5, 7}) {
    firing.samples.push_back({SystemTime(seconds(at)), at == 5 ? 0.0 : 1.0});
  }
  AlertSeries pending = firing;
  pending.firing = false;
  pending.samples = {firing.samples.back()};
  firing.samples.pop_back();
  EXPECT_FALSE(FiringNow({firing, pending}, seconds(2), {}, SystemTime(seconds(7))));
  firing.samples[1].value = 1;
  EXPECT_TRUE(FiringNow({firing, pending}, seconds(2), {}, SystemTime(seconds(7))));
}

}  // namespace
}  // namespace firedrill::controller
