// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <set>

#include "controller/metrics/figures.h"
#include "controller/metrics/outcomes.h"
#include "controller/statistics/fault_label.h"
#include "proto/support/fault_rules.h"
#include "proto/support/time.h"

namespace firedrill::controller {
namespace {

// A fault that is an event is over at once: it stays on the page until every usual scrape interval
// has seen it.
constexpr Nanoseconds kSeenFor = std::chrono::seconds(30);
// An indicator's sample older than this, and than three of its intervals, says nothing about now.
constexpr Nanoseconds kFresh = std::chrono::seconds(60);

bool Lives(const v1::Injection& injection) {
  return injection.state() == v1::INJECTION_STATE_ACTIVE ||
         injection.state() == v1::INJECTION_STATE_ENDING;
}

bool Shown(const v1::Injection& injection, SystemTime now) {
  return Lives(injection) ||
         (injection.has_applied_at() && now - FromProto(injection.applied_at()) < kSeenFor);
}

void PutFaults(const v1::Run& run, SystemTime now, Page& page) {
  std::map<Page::Labels, int> live;
  std::map<Page::Labels, bool> active;
  for (const v1::Injection& injection : run.injections()) {
    const Page::Labels labels{{"experiment", run.experiment().name()},
                              {"fault", FaultName(injection.fault().kind_case())},
                              {"host", injection.host()}};
    if (Lives(injection)) ++live[labels];
    active[labels] |= Shown(injection, now);
  }
  for (const auto& [labels, count] : live) {
    page.Gauge("firedrill_live_faults",
               "Faults that are being injected now, as far as the controller knows.", labels,
               count);
  }
  for (const auto& [labels, shown] : active) {
    page.Gauge("firedrill_fault_active",
               "1 while the fault lives on the host, and for 30 s at least, so that a scrape sees "
               "an event; 0 before and after, as long as the run goes on.",
               labels, shown ? 1 : 0);
  }
}

void PutIndicators(const v1::Run& run, SystemTime now, Page& page) {
  for (int i = 0; i < run.experiment().steady_state_size(); ++i) {
    const v1::Indicator& indicator = run.experiment().steady_state(i);
    Nanoseconds fresh = kFresh;
    if (i < run.evidence().indicators_size()) {
      fresh = std::max(fresh, 3 * FromProto(run.evidence().indicators(i).interval()));
    }
    const Page::Labels labels{{"experiment", run.experiment().name()},
                              {"indicator", indicator.name()}};
    page.Gauge("firedrill_run_indicator_threshold",
               "What the indicator is compared with while the run goes on.", labels,
               indicator.expect().value());
    for (const v1::Series& series : run.series()) {
      if (series.name() != indicator.name() || series.samples().empty()) continue;
      const v1::Sample& newest = *series.samples().rbegin();
      if (now - FromProto(newest.at()) > fresh) continue;
      page.Gauge("firedrill_run_indicator",
                 "The indicator's newest sample while the run goes on, as the controller read it.",
                 labels, newest.value());
    }
  }
}

}  // namespace

void PutLive(const v1::Run& run, SystemTime now, Page& page) {
  const v1::Experiment& experiment = run.experiment();
  page.Gauge("firedrill_live_run_info", "Always 1 while a run is under way.",
             {{"experiment", experiment.name()},
              {"fault", FaultLabel(experiment)},
              {"environment", experiment.environment()},
              {"state", LabelOf(v1::RunState_Name(run.state()), "RUN_STATE_")}},
             1);
  for (const v1::Detection& detection : experiment.detection()) {
    const v1::Expectation expect = detection.expect() == v1::EXPECTATION_UNSPECIFIED
                                       ? v1::EXPECTATION_FIRES
                                       : detection.expect();
    page.Gauge("firedrill_run_expected_alert_info",
               "Always 1 while the run goes on; joins with ALERTS by alertname.",
               {{"experiment", experiment.name()},
                {"alertname", detection.alert()},
                {"expect", LabelOf(v1::Expectation_Name(expect), "EXPECTATION_")}},
               1);
  }
  PutFaults(run, now, page);
  PutIndicators(run, now, page);
  PutMarks(run, page);
}

void PutMarks(const v1::Run& run, Page& page) {
  static const std::set<v1::MarkKind> last_counts = {v1::MARK_KIND_ENDED, v1::MARK_KIND_RECOVERED,
                                                     v1::MARK_KIND_ALERT_RESOLVED};
  std::map<v1::MarkKind, SystemTime> marks;
  for (const v1::Mark& mark : run.marks()) {
    const SystemTime at = FromProto(mark.at());
    const auto [found, fresh] = marks.emplace(mark.kind(), at);
    if (fresh) continue;
    found->second = last_counts.count(mark.kind()) > 0 ? std::max(found->second, at)
                                                       : std::min(found->second, at);
  }
  // A mark that this run lacks must not stay there from the run before.
  for (int kind = v1::MarkKind_MIN + 1; kind <= v1::MarkKind_MAX; ++kind) {
    const Page::Labels labels{
        {"experiment", run.experiment().name()},
        {"mark", LabelOf(v1::MarkKind_Name(static_cast<v1::MarkKind>(kind)), "MARK_KIND_")}};
    const auto found = marks.find(static_cast<v1::MarkKind>(kind));
    if (found == marks.end()) {
      page.Remove("firedrill_run_mark_timestamp_seconds", labels);
      continue;
    }
    page.Gauge("firedrill_run_mark_timestamp_seconds",
               "Instants of the run that is under way, else of the experiment's last one.", labels,
               Seconds(found->second.time_since_epoch()));
  }
}

void PutAnnotations(const AnnotationFigures& figures, Page& page) {
  const auto count = [&page](const char* result, std::uint64_t value) {
    page.Counter("firedrill_grafana_annotations_total",
                 "Annotations written to Grafana; attempts that failed; annotations given up.",
                 {{"result", result}}, static_cast<double>(value));
  };
  count("written", figures.written);
  count("failed", figures.failed);
  count("dropped", figures.dropped);
  page.Gauge("firedrill_grafana_annotations_waiting", "Annotations that Grafana has not taken yet.",
             {}, static_cast<double>(figures.waiting));
}

}  // namespace firedrill::controller
