// SPDX-License-Identifier: Apache-2.0
// Generated runs: what holds of every measure, however it came about.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "controller/measure/evidence.h"
#include "tests/unit/measure_world.h"

namespace firedrill::controller {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// The store's samples: by name and instant, the last one written counts.
class Shelf {
 public:
  void Put(const std::vector<v1::Series>& all) {
    for (const v1::Series& series : all) {
      for (const v1::Sample& sample : series.samples()) {
        samples_[series.name()][FromProto(sample.at())] = sample.value();
      }
    }
  }
  v1::Run Load(v1::Run run) const {
    run.clear_series();
    for (const auto& [name, samples] : samples_) {
      v1::Series& series = *run.add_series();
      series.set_name(name);
      for (const auto& [at, value] : samples) *series.add_samples() = ToMessage({at, value});
    }
    return run;
  }

 private:
  std::map<std::string, std::map<SystemTime, double>> samples_;
};

class Generator {
 public:
  explicit Generator(unsigned seed) : random_(seed) {}

  double Between(double from, double to) {
    return std::uniform_real_distribution<double>(from, to)(random_);
  }
  bool Chance(double share) { return Between(0, 1) < share; }
  int Upto(int most) { return std::uniform_int_distribution<int>(0, most)(random_); }

  std::shared_ptr<const AlertPath> Path() {
    AlertPath path;
    path.external_labels = {{"region", "eu"}};
    path.known = Chance(0.8);
    for (const char* action : {"hashmod", "labeldrop", "replace", "keep"}) {
      if (!Chance(0.5)) continue;
      RelabelStep step;
      step.action = action;
      step.regex = step.action == "replace" ? "(.*)" : "severity|page";
      step.source_labels = {"severity"};
      step.target_label = step.action == "hashmod" ? "shard" : "severity";
      step.replacement = "eu-$1";
      path.steps.push_back(Compiled(step));
    }
    return std::make_shared<const AlertPath>(std::move(path));
  }

  std::vector<AlertEpisode> Episodes() {
    std::vector<AlertEpisode> episodes;
    double at = Between(-8, 10);
    for (int n = Upto(4); n > 0; --n) {
      const double pending = std::floor(at) + 0.25;
      const double firing = pending + Upto(3);
      const double resolved = firing + 1 + Upto(8);
      episodes.push_back(Episode(pending, firing, resolved >= 0 ? resolved : -1));
      if (resolved < 0) break;
      at = resolved + Between(0.5, 9);
    }
    return episodes;
  }

 private:
  std::mt19937 random_;
};

void CheckMarks(const v1::Run& run, Nanoseconds least) {
  std::map<std::string, SystemTime> firing;
  SystemTime last{};
  for (const v1::Mark& mark : run.marks()) {
    EXPECT_GE(FromProto(mark.at()), last) << "in the order of their instants";
    last = FromProto(mark.at());
    if (mark.kind() == v1::MARK_KIND_ALERT_FIRING) firing.emplace(mark.subject(), last);
    if (mark.kind() == v1::MARK_KIND_ALERT_RESOLVED) {
      EXPECT_EQ(firing.count(mark.subject()), 1u) << "nothing resolves that did not fire";
    }
    if (mark.source() == v1::MARK_SOURCE_PROMETHEUS_SAMPLE) {
      EXPECT_GE(FromProto(mark.uncertainty()), least) << mark.ShortDebugString();
    }
  }
}

void CheckAlert(const v1::AlertResult& alert) {
  EXPECT_EQ(alert.stages().empty(), alert.outcome() != v1::DETECTION_OUTCOME_DETECTED ||
                                        FromProto(alert.time_to_detect().value()).count() == 0);
  Nanoseconds until_firing{0};
  Nanoseconds until_notified{0};
  for (const v1::Stage& stage : alert.stages()) {
    EXPECT_GT(FromProto(stage.value()).count(), 0);
    until_notified += FromProto(stage.value());
    if (stage.kind() != v1::STAGE_KIND_GROUPING && stage.kind() != v1::STAGE_KIND_DELIVERY) {
      until_firing += FromProto(stage.value());
    }
  }
  if (alert.outcome() != v1::DETECTION_OUTCOME_DETECTED) return;
  EXPECT_GE(alert.episodes(), 1u);
  EXPECT_FALSE(alert.time_to_detect().censored());
  EXPECT_EQ(until_firing, FromProto(alert.time_to_detect().value())) << alert.DebugString();
  if (!alert.has_time_to_notify()) return;
  EXPECT_GE(FromProto(alert.time_to_notify().value()), FromProto(alert.time_to_detect().value()));
  EXPECT_EQ(until_notified, FromProto(alert.time_to_notify().value())) << alert.DebugString();
}

void CheckMeasures(const v1::Run& run) {
  std::vector<v1::Measure> measures = {run.time_to_detect(), run.time_to_notify(),
                                       run.time_to_recover(), run.time_to_acknowledge(),
                                       run.time_to_mitigate()};
  for (const v1::AlertResult& alert : run.alerts()) {
    measures.push_back(alert.time_to_detect());
    measures.push_back(alert.time_to_notify());
  }
  for (const v1::IndicatorResult& indicator : run.indicators()) {
    measures.push_back(indicator.time_to_recover());
    measures.push_back(indicator.time_to_recover_from_end());
  }
  for (const v1::Measure& measure : measures) {
    EXPECT_GE(FromProto(measure.value()).count(), 0);
    EXPECT_GE(FromProto(measure.uncertainty()).count(), 0);
  }
}

class PropertyTest : public testing::TestWithParam<unsigned> {};

TEST_P(PropertyTest, MeasuringTheStoredRunAgainGivesTheSame) {
  Generator chance(GetParam());
  v1::Experiment experiment = OneIndicator(chance.Between(0, 6));
  World world;
  for (int i = chance.Upto(2); i >= 0; --i) {
    v1::Detection& detection = *experiment.add_detection();
    detection.set_alert(i == 0 ? "ShopSlow" : "Alert" + std::to_string(i));
    detection.set_expect(static_cast<v1::Expectation>(chance.Upto(3)));
    if (chance.Chance(0.5)) {
      *detection.mutable_within() = ToProto(milliseconds(100 + 100 * chance.Upto(200)));
    }
    world.alerts.push_back(AlertsOf(chance.Episodes(), 60));
  }
  // One evaluation at which the rule did not hold, in the midst of an episode.
  for (std::vector<AlertSeries>& all : world.alerts) {
    for (AlertSeries& series : all) {
      if (!chance.Chance(0.3) || series.samples.size() < 3) continue;
      const auto most = static_cast<int>(series.samples.size()) - 3;
      series.samples[1 + static_cast<std::size_t>(chance.Upto(most))].value = 0;
    }
  }
  const std::shared_ptr<const AlertPath> path = chance.Chance(0.5) ? chance.Path() : nullptr;
  std::string pattern;
  for (int i = 0; i < 90; ++i) {
    const bool fault = i > 30 && i < 50;
    pattern += chance.Chance(0.03) ? '.' : chance.Chance(fault ? 0.6 : 0.02) ? '-' : '+';
  }
  world.indicator = Samples(-30 + chance.Between(0, 1), pattern);
  world.rule.pending_for = seconds(chance.Upto(3));
  if (chance.Chance(0.5)) world.rule.scrape_interval = seconds(1);
  if (chance.Chance(0.2)) world.rule.query_offset = milliseconds(300);
  if (chance.Chance(0.5)) {
    const double from = chance.Between(-10, 30);
    world.blind = {{At(from), At(from + chance.Between(3, 12))}};
  }
  v1::Run run = RunOf(experiment, chance.Between(0, 0.2));
  if (chance.Chance(0.5)) {
    v1::Mark& mark = *run.add_marks();
    mark.set_kind(chance.Chance(0.5) ? v1::MARK_KIND_ACKNOWLEDGED : v1::MARK_KIND_MITIGATED);
    *mark.mutable_at() = ToProto(At(chance.Between(0, 30)));
  }
  Shelf shelf;
  auto record = std::make_unique<EvidenceRecord>(run);
  const Nanoseconds least = milliseconds(2);
  const double end = chance.Between(20, 50);
  double asked = -30;
  for (double at = -5; at < end; at += chance.Between(0.5, 3)) {
    std::vector<v1::Series> samples;
    world.uncertainty = least + milliseconds(chance.Upto(6));
    world.off = milliseconds(chance.Upto(12) - 6);
    const bool down = !world.blind.empty() && At(at) > world.blind[0].from &&
                      At(at) < world.blind[0].to && chance.Chance(0.7);
    ProbeAnswer answer = world.Ask(At(asked - 5), At(at));
    if (!down) answer.alert_path = path;
    if (down) {
      answer.status = absl::UnavailableError("connection refused");
      answer.blind.clear();
      for (auto& part : answer.indicators) part = {answer.status, {}, {}, {}};
      for (auto& part : answer.alerts) {
        part = {};
        part.status = answer.status;
      }
    }
    record->Take(answer, At(asked - 5), samples);
    if (!down) asked = at;
    if (chance.Chance(0.2)) {
      AlertNotice notice = Notice(std::floor(at) + 0.25, at + 0.3, chance.Chance(0.7));
      if (chance.Chance(0.3)) notice.ends_at = At(at);
      if (path != nullptr) notice.labels = SentAs(*path, notice.labels).labels;
      record->Take({notice});
    }
    record->Measure(At(at), /*final=*/false);
    shelf.Put(samples);
    if (chance.Chance(0.1)) {  // the controller is killed, and started again
      record.reset();
      v1::Run stored;
      v1::Run bare = run;
      bare.clear_series();
      ASSERT_TRUE(stored.ParseFromString(bare.SerializeAsString()));
      run = shelf.Load(stored);
      record = std::make_unique<EvidenceRecord>(run);
    }
  }
  record->Measure(At(end), /*final=*/true);
  v1::Run stored = shelf.Load(run);
  v1::Run again = stored;
  ASSERT_TRUE(MeasureAgain(again).ok());
  EXPECT_EQ(Bytes(again), Bytes(stored)) << stored.DebugString() << again.DebugString();
  CheckMarks(run, least);
  CheckMeasures(run);
  for (const v1::AlertResult& alert : run.alerts()) CheckAlert(alert);
}

INSTANTIATE_TEST_SUITE_P(Seeds, PropertyTest, testing::Range(1u, 401u));

}  // namespace
}  // namespace firedrill::controller
