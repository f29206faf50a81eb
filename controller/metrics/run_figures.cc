// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "controller/metrics/figures.h"
#include "controller/metrics/outcomes.h"
#include "controller/statistics/fault_label.h"

namespace firedrill::controller {

void RunFigures::Take(const v1::Run& run) {
  const Key key{run.experiment().name(), FaultLabel(run.experiment())};
  Figures& figures = figures_[key];
  ++figures.verdicts[VerdictLabel(run.verdict().verdict())];
  // What happened late had no chance to in a run that was cut short, so what happened early in one
  // would make shares and distributions look better than they are.
  if (!run.evidence().cut_short()) {
    ++figures.outcomes[{DetectionLabel(run.detection()), RecoveryLabel(run.recovery())}];
    for (const Timed& timed : kTimes) {
      if (const auto seconds = Happened(run, timed)) figures.times[timed.what].Add(*seconds);
    }
  }
  figures.false_alarms += run.false_alarms();
  for (const v1::Injection& injection : run.injections()) {
    const bool ended = injection.state() == v1::INJECTION_STATE_ENDED;
    if (ended && !injection.end_proven()) ++not_proven_;
  }
  figures.turn = ++turns_;
  figures.last = run;
  figures.last.clear_series();
  figures.last.clear_evidence();
  figures.last.clear_injections();
  if (figures_.size() > most_) DropOldest();
}

void RunFigures::DropOldest() {
  const auto oldest = std::min_element(
      figures_.begin(), figures_.end(),
      [](const auto& left, const auto& right) { return left.second.turn < right.second.turn; });
  figures_.erase(oldest);
  ++forgotten_;
}

void RunFigures::Put(const std::vector<const v1::Experiment*>& known, Page& page) const {
  page.Counter("firedrill_ends_not_proven_total",
               "Injections whose end no other process could prove.", {},
               static_cast<double>(not_proven_));
  page.Gauge("firedrill_experiments_forgotten",
             "Experiments that are not shown here any more, so many others ran since.", {},
             static_cast<double>(forgotten_));
  std::vector<std::pair<std::uint64_t, const v1::Run*>> order;
  for (const auto& [key, figures] : figures_) {
    PutCounts(key, figures, figures.last.experiment(), page);
    PutLastRun({{"experiment", key.first}, {"fault", key.second}}, figures.last, page);
    order.emplace_back(figures.turn, &figures.last);
  }
  // What is of an experiment whatever its fault is that of its latest run.
  std::sort(order.begin(), order.end());
  for (const auto& [turn, run] : order) {
    PutExperiment(run->experiment(), page);
    PutMarks(*run, page);
  }
  std::size_t shown = figures_.size();
  for (const v1::Experiment* experiment : known) {
    const Key key{experiment->name(), FaultLabel(*experiment)};
    const auto found = figures_.find(key);
    if (found == figures_.end() && ++shown > most_) continue;
    PutCounts(key, found == figures_.end() ? Figures() : found->second, *experiment, page);
    PutExperiment(*experiment, page);
  }
}

// Every pair of outcomes that this experiment can have stands there from the start, at zero:
// without a sample before the first run, increase() would not see that run. At most 7 times 8; what
// an experiment neither expects nor watches has the outcome none alone. Verdicts are counted by
// themselves, for three outcomes crossed would be 280 series, nearly all zero for ever.
void RunFigures::PutCounts(const Key& key, const Figures& figures, const v1::Experiment& experiment,
                           Page& page) {
  const Page::Labels labels{{"experiment", key.first}, {"fault", key.second}};
  const auto with = [&labels](std::initializer_list<Page::Labels::value_type> more) {
    Page::Labels all = labels;
    all.insert(more);
    return all;
  };
  std::map<std::pair<std::string, std::string>, std::uint64_t> outcomes = figures.outcomes;
  const int detections = experiment.detection().empty() ? 0 : v1::DetectionOutcome_MAX;
  const int recoveries = experiment.steady_state().empty() ? 0 : v1::RecoveryOutcome_MAX;
  for (int d = 0; d <= detections; ++d) {
    for (int r = 0; r <= recoveries; ++r) {
      outcomes[{DetectionLabel(static_cast<v1::DetectionOutcome>(d)),
                RecoveryLabel(static_cast<v1::RecoveryOutcome>(r))}];
    }
  }
  for (const auto& [outcome, count] : outcomes) {
    page.Counter("firedrill_runs_total",
                 "Finished runs by detection and recovery, without those that were cut short.",
                 with({{"detection", outcome.first}, {"recovery", outcome.second}}),
                 static_cast<double>(count));
  }
  std::map<std::string, std::uint64_t> verdicts = figures.verdicts;
  for (int v = v1::Verdict_MIN + 1; v <= v1::Verdict_MAX; ++v) {
    verdicts[VerdictLabel(static_cast<v1::Verdict>(v))];
  }
  for (const auto& [verdict, count] : verdicts) {
    page.Counter("firedrill_verdicts_total", "Finished runs by verdict.",
                 with({{"verdict", verdict}}), static_cast<double>(count));
  }
  page.Counter("firedrill_false_alarms_total",
               "Firings during runs of alerts that ought to have stayed silent.", labels,
               static_cast<double>(figures.false_alarms));
  for (const Timed& timed : kTimes) {
    const auto found = figures.times.find(timed.what);
    const bool possible =
        timed.of_indicators ? !experiment.steady_state().empty() : !experiment.detection().empty();
    if (found == figures.times.end() && !possible) continue;
    page.Histogram(std::string("firedrill_time_to_") + timed.what + "_seconds",
                   std::string(timed.help) + "; runs in which it happened, not cut short.", labels,
                   found == figures.times.end() ? Distribution() : found->second);
  }
}

}  // namespace firedrill::controller
