// SPDX-License-Identifier: Apache-2.0
#include "controller/measure/record.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <set>
#include <string>

#include "controller/measure/episodes.h"
#include "controller/measure/evidence.h"
#include "controller/measure/instants.h"
#include "proto/support/time.h"

namespace firedrill::controller {
namespace {

constexpr std::size_t kMostBlind = 1000;

using Labels = std::map<std::string, std::string>;

// Within this two instants from different answers are the same: what the alignments of clocks may
// differ by, and well under an interval.
Nanoseconds SameWithin(Nanoseconds uncertainty, std::optional<Nanoseconds> interval) {
  const Nanoseconds most = interval && interval->count() > 0 ? *interval / 3 : kSameInstant;
  return std::clamp(2 * uncertainty, std::min(kSameInstant, most), std::max(kSameInstant, most));
}

// In order of time, none overlapping another.
std::vector<TimeSpan> Joined(std::vector<TimeSpan> spans) {
  std::sort(spans.begin(), spans.end(),
            [](const TimeSpan& left, const TimeSpan& right) { return left.from < right.from; });
  std::vector<TimeSpan> joined;
  for (const TimeSpan& span : spans) {
    if (!joined.empty() && span.from <= joined.back().to + kSameInstant) {
      joined.back().to = std::max(joined.back().to, span.to);
    } else {
      joined.push_back(span);
    }
  }
  return joined;
}

bool SameSpans(const std::vector<TimeSpan>& left, const std::vector<TimeSpan>& right) {
  return std::equal(left.begin(), left.end(), right.begin(), right.end(),
                    [](const TimeSpan& a, const TimeSpan& b) {
                      return a.from == b.from && std::chrono::abs(a.to - b.to) <= kSameInstant;
                    });
}

// Which sets of labels of an alert are kept. One that fires never waits for one that is pending,
// and none that is kept goes: its samples are stored under its place.
class AlertSets {
 public:
  AlertSets(const std::vector<AlertSeries>& kept, const std::vector<const AlertSeries*>& told) {
    for (const AlertSeries& series : kept) {
      kept_.insert(series.labels);
      if (series.firing) fired_.insert(series.labels);
    }
    for (const AlertSeries* series : told) {
      if (series->firing) fired_.insert(series->labels);
    }
    kept_fired_ = static_cast<std::size_t>(
        std::count_if(kept_.begin(), kept_.end(),
                      [this](const Labels& labels) { return fired_.count(labels) > 0; }));
  }

  bool Admit(const Labels& labels) {
    if (kept_.count(labels) > 0) return true;
    const bool fires = fired_.count(labels) > 0;
    if ((fires ? kept_fired_ : kept_.size()) >= kMostAlertSets) return false;
    kept_.insert(labels);
    if (fires) ++kept_fired_;
    return true;
  }

 private:
  std::set<Labels> kept_;
  std::set<Labels> fired_;  // kept or not
  std::size_t kept_fired_ = 0;
};

}  // namespace

std::vector<RawSample> MergeSamples(const std::vector<RawSample>& fresh, Nanoseconds same,
                                    std::vector<RawSample>& known) {
  std::vector<RawSample> news;
  if (fresh.empty()) return news;
  const auto begin =
      std::lower_bound(known.begin(), known.end(), fresh.front().at - same,
                       [](const RawSample& sample, SystemTime at) { return sample.at < at; });
  std::vector<RawSample> merged;  // from `begin` on
  auto next = begin;
  for (const RawSample& sample : fresh) {
    while (next != known.end() && next->at < sample.at - same) merged.push_back(*next++);
    if (next != known.end() && next->at <= sample.at + same) {
      merged.push_back({next->at, sample.value});
      if (next->value != sample.value) news.push_back(merged.back());
      ++next;
    } else {
      merged.push_back(sample);
      news.push_back(sample);
    }
  }
  merged.insert(merged.end(), next, known.end());
  known.erase(begin, known.end());
  known.insert(known.end(), merged.begin(), merged.end());
  return news;
}

EvidenceRecord::EvidenceRecord(v1::Run& run)
    : run_(run), evidence_(EvidenceOf(run)), routes_(evidence_.alerts.size()) {
  // The store keeps no series without samples, and sorts them: indicators come first.
  google::protobuf::RepeatedPtrField<v1::Series> before;
  before.Swap(run_.mutable_series());
  const auto is_named = [](const std::string& name) {
    return [&name](const v1::Series& series) { return series.name() == name; };
  };
  for (const v1::Indicator& indicator : run_.experiment().steady_state()) {
    v1::Series& series = *run_.add_series();
    const auto found = std::find_if(before.begin(), before.end(), is_named(indicator.name()));
    if (found != before.end()) series.Swap(&*found);
    series.set_name(indicator.name());
  }
  for (v1::Series& series : before) {
    if (!series.samples().empty()) run_.add_series()->Swap(&series);
  }
}

v1::Series& EvidenceRecord::SeriesNamed(const std::string& name) {
  for (v1::Series& series : *run_.mutable_series()) {
    if (series.name() == name) return series;
  }
  v1::Series& series = *run_.add_series();
  series.set_name(name);
  return series;
}

bool EvidenceRecord::TakeSamples(const std::string& name, const std::vector<RawSample>& fresh,
                                 Nanoseconds same, std::vector<RawSample>& known,
                                 std::vector<v1::Series>& new_samples) {
  const std::vector<RawSample> news = MergeSamples(fresh, same, known);
  if (news.empty()) return false;
  v1::Series& series = SeriesNamed(name);
  v1::Series& added = new_samples.emplace_back();
  added.set_name(name);
  for (const RawSample& sample : news) {
    // A value that changed stands once more, later: the last one counts.
    *series.add_samples() = ToMessage(sample);
    *added.add_samples() = ToMessage(sample);
  }
  return true;
}

bool EvidenceRecord::Take(const ProbeAnswer& answer, SystemTime since,
                          std::vector<v1::Series>& new_samples) {
  bool news = false;
  for (std::size_t i = 0; i < evidence_.indicators.size() && i < answer.indicators.size(); ++i) {
    news |= TakeIndicator(answer, i, new_samples);
  }
  for (std::size_t i = 0; i < evidence_.alerts.size() && i < answer.alerts.size(); ++i) {
    news |= TakeAlert(answer, i, new_samples);
  }
  // Where it is not known what is known already stays.
  if (answer.status.ok() && answer.blind_unknown.empty()) news |= TakeBlind(answer.blind, since);
  if (answer.status.ok() && !answer.alerts.empty()) {
    news |= evidence_.blind_unknown != answer.blind_unknown;
    evidence_.blind_unknown = answer.blind_unknown;
  }
  if (answer.alert_path) path_ = answer.alert_path;
  news |= TakeWaiting(answer);
  Write();
  return news;
}

bool EvidenceRecord::TakeIndicator(const ProbeAnswer& answer, std::size_t i,
                                   std::vector<v1::Series>& new_samples) {
  const ProbeAnswer::Indicator& told = answer.indicators[i];
  IndicatorEvidence& indicator = evidence_.indicators[i];
  const bool changed = indicator.status.ok() != told.status.ok();
  indicator.status = told.status;
  if (told.interval) indicator.interval = told.interval;
  indicator.window = std::max(indicator.window, told.window);
  const Nanoseconds uncertainty = std::max(answer.clock_uncertainty, told.uncertainty);
  const bool news = TakeSamples(
      run_.experiment().steady_state(static_cast<int>(i)).name(), told.samples,
      SameWithin(answer.clock_uncertainty, indicator.interval), indicator.samples, new_samples);
  if (news) indicator.uncertainty = std::max(indicator.uncertainty, uncertainty);
  return news || changed;
}

bool EvidenceRecord::TakeAlert(const ProbeAnswer& answer, std::size_t i,
                               std::vector<v1::Series>& new_samples) {
  const ProbeAnswer::Alert& told = answer.alerts[i];
  AlertEvidence& alert = evidence_.alerts[i];
  bool changed = alert.status.ok() != told.status.ok();
  alert.status = told.status;
  if (!told.status.ok()) return changed;
  alert.clock_offset = answer.clock_offset;
  changed |= alert.rule.has_value() != (alert.rule || told.rule);
  if (told.rule) alert.rule = told.rule;
  if (told.route) alert.route = told.route;
  if (!told.routes.empty()) routes_[i] = told.routes;
  PickRoute(i);
  const Nanoseconds interval = EvaluationInterval(alert.rule, alert.series);
  const Nanoseconds same = SameWithin(answer.clock_uncertainty, interval);
  // Where there are too many, those that began first.
  std::vector<const AlertSeries*> order;
  for (const AlertSeries& series : told.series) {
    if (!series.samples.empty()) order.push_back(&series);
  }
  std::stable_sort(order.begin(), order.end(), [](const auto* left, const auto* right) {
    return left->samples.front().at < right->samples.front().at;
  });
  const bool none = alert.series.empty();
  bool news = false;
  AlertSets sets(alert.series, order);
  for (const AlertSeries* series : order) {
    auto known = std::find_if(alert.series.begin(), alert.series.end(), [&](const auto& one) {
      return one.firing == series->firing && one.labels == series->labels;
    });
    if (known == alert.series.end()) {
      if (!sets.Admit(series->labels)) {
        changed |= !alert.series_left_out;
        alert.series_left_out = true;
        continue;
      }
      alert.series.push_back({series->labels, series->firing, {}});
      known = std::prev(alert.series.end());
    }
    const auto n = static_cast<std::size_t>(known - alert.series.begin());
    news |= TakeSamples(AlertSeriesName(i, n), series->samples, same, known->samples, new_samples);
  }
  const Nanoseconds scrape = alert.rule ? alert.rule->scrape_interval.value_or(interval) : interval;
  news |= TakeSamples(TruthSeriesName(i), told.truth, SameWithin(answer.clock_uncertainty, scrape),
                      alert.truth, new_samples);
  if (news || none)
    alert.uncertainty =
        std::max(news ? alert.uncertainty : Nanoseconds(0), answer.clock_uncertainty);
  return news || changed;
}

bool EvidenceRecord::TakeBlind(const std::vector<TimeSpan>& blind, SystemTime since) {
  std::vector<TimeSpan> spans = blind;
  for (const TimeSpan& known : evidence_.blind) {
    // What is later was looked at anew: a hole that went on until then has an end now.
    if (known.from < since) spans.push_back({known.from, std::min(known.to, since)});
  }
  spans = Joined(std::move(spans));
  if (spans.size() > kMostBlind) spans.resize(kMostBlind);
  const bool news = !SameSpans(spans, evidence_.blind);
  if (!news) return false;
  evidence_.blind = std::move(spans);
  for (AlertEvidence& alert : evidence_.alerts) alert.blind = evidence_.blind;
  return true;
}

Measures EvidenceRecord::Measure(SystemTime now, bool final, bool cut_short) {
  evidence_.instants = InstantsOf(run_);
  evidence_.now = now;
  evidence_.final = final;
  evidence_.cut_short = cut_short;
  if (final) evidence_.waiting.clear();
  Write();
  Measures measures = MeasureRun(run_.experiment(), evidence_);
  WriteMeasures(measures, run_);
  return measures;
}

void EvidenceRecord::Write() { *run_.mutable_evidence() = ToMessage(evidence_); }

absl::Status MeasureAgain(v1::Run& run) {
  if (!run.has_evidence()) {
    return absl::FailedPreconditionError(fmt::format(
        "run {} cannot be measured again: an older version of Firedrill did not keep what it was "
        "measured from",
        run.id()));
  }
  WriteMeasures(MeasureRun(run.experiment(), EvidenceOf(run)), run);
  return absl::OkStatus();
}

}  // namespace firedrill::controller
