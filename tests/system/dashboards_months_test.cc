// SPDX-License-Identifier: Apache-2.0
// Two months of runs: the controller's own pages of that time, given to a real Prometheus as its
// past. The runs are made up and known; what the dashboard shows must be them.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "controller/metrics/metrics.h"
#include "proto/support/time.h"
#include "tests/system/dashboards.h"

namespace firedrill {
namespace {

constexpr int kStep = 3 * 3600;  // seconds between two pages
constexpr int kDays = 60;
constexpr int kShownDays = 45;

// What is known of one kind of experiment.
struct Kind {
  const char* name;
  const char* alert;
  const char* indicator;
  int every_days;
  double within;
  double scrape, condition, pending_for;  // typical stages, seconds
  double self_recovers;                   // share of runs
};
const Kind kKinds[] = {
    {"cache-loss", "ShopSlow", "success ratio", 2, 60, 7, 9, 30, 0.7},
    {"checkout-latency", "CheckoutSlow", "p99 under 1 s", 3, 120, 6, 38, 60, 0.35},
    {"redis-kill", "RedisDown", "redis answers", 4, 30, 4, 0, 12, 0.95},
    {"orders-disk-full", "DiskFull", "orders accepted", 5, 300, 9, 65, 120, 0.1},
};

// The same numbers in each test: a small generator instead of chance.
class Numbers01 {
 public:
  double Next() {
    state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
    return static_cast<double>(state_ >> 40) / static_cast<double>(1 << 24);
  }

 private:
  std::uint64_t state_ = 20261122;
};

v1::Experiment ExperimentOf(const Kind& kind) {
  v1::Experiment experiment;
  experiment.set_name(kind.name);
  experiment.set_environment("staging");
  v1::Fault& fault = *experiment.add_method()->mutable_fault();
  if (kind.every_days == 2) fault.mutable_packet_loss();
  if (kind.every_days == 3) fault.mutable_latency();
  if (kind.every_days == 4) fault.mutable_process_kill();
  if (kind.every_days == 5) fault.mutable_disk_fill();
  v1::Detection& detection = *experiment.add_detection();
  detection.set_alert(kind.alert);
  *detection.mutable_within() = ToProto(Nanoseconds(static_cast<std::int64_t>(kind.within * 1e9)));
  experiment.add_steady_state()->set_name(kind.indicator);
  return experiment;
}

google::protobuf::Duration Proto(double seconds) {
  return ToProto(Nanoseconds(static_cast<std::int64_t>(seconds * 1e3) * 1'000'000));
}

void PutDetection(const Kind& kind, double progress, Numbers01& numbers, v1::Run& run) {
  v1::AlertResult& alert = *run.add_alerts();
  *alert.mutable_expected() = run.experiment().detection(0);
  // The longer a rule, the more often it misses; half way the team mended it.
  const double misses = (kind.pending_for >= 60 ? 0.35 : 0.08) * (progress > 0.5 ? 0.3 : 1);
  if (numbers.Next() < misses) {
    run.set_detection(v1::DETECTION_OUTCOME_MISSED);
    run.mutable_time_to_detect()->set_censored(true);
    *run.mutable_time_to_detect()->mutable_value() = Proto(kind.within + 60);
    return;
  }
  run.set_detection(v1::DETECTION_OUTCOME_DETECTED);
  const double mended = progress > 0.5 ? 0.5 : 1;
  Nanoseconds whole{0};
  const auto stage = [&](v1::StageKind stage_kind, double seconds) {
    v1::Stage& stage = *alert.add_stages();
    stage.set_kind(stage_kind);
    *stage.mutable_value() = Proto(seconds);
    if (stage_kind < v1::STAGE_KIND_GROUPING) whole += FromProto(stage.value());
  };
  stage(v1::STAGE_KIND_SCRAPE, kind.scrape * (0.3 + 1.4 * numbers.Next()));
  if (kind.condition > 0) stage(v1::STAGE_KIND_CONDITION, kind.condition * (0.5 + numbers.Next()));
  stage(v1::STAGE_KIND_EVALUATION, 1 + 6 * numbers.Next());
  stage(v1::STAGE_KIND_FOR, kind.pending_for * mended);
  stage(v1::STAGE_KIND_ROUNDING, 3);
  stage(v1::STAGE_KIND_GROUPING, 10);
  stage(v1::STAGE_KIND_DELIVERY, 0.2 + 0.3 * numbers.Next());
  *run.mutable_time_to_detect()->mutable_value() = ToProto(whole);
  *alert.mutable_time_to_detect() = run.time_to_detect();
  *run.mutable_time_to_notify()->mutable_value() =
      ToProto(whole + std::chrono::milliseconds(10300));
  if (numbers.Next() < 0.6) {
    const double seconds = Seconds(whole) + 60 + 240 * numbers.Next();
    *run.mutable_time_to_acknowledge()->mutable_value() = Proto(seconds);
    *run.mutable_time_to_mitigate()->mutable_value() = Proto(seconds + 200 * numbers.Next());
  }
}

void PutRecovery(const Kind& kind, Numbers01& numbers, v1::Run& run) {
  v1::IndicatorResult& indicator = *run.add_indicators();
  *indicator.mutable_indicator() = run.experiment().steady_state(0);
  indicator.set_lowest_quality(0.2 + 0.7 * numbers.Next());
  *indicator.mutable_lost() = Proto(4 + 50 * numbers.Next() * (1 - kind.self_recovers * 0.8));
  const double lot = numbers.Next();
  if (lot < 0.05) {
    run.set_recovery(v1::RECOVERY_OUTCOME_NOT_RECOVERED);
    run.mutable_time_to_recover()->set_censored(true);
    *run.mutable_time_to_recover()->mutable_value() = Proto(420);
    return;
  }
  if (lot < 0.15) {  // it never left its steady state
    run.set_recovery(v1::RECOVERY_OUTCOME_ABSORBED);
    indicator.set_lowest_quality(0.995);
    indicator.clear_lost();
    return;
  }
  run.set_recovery(lot < kind.self_recovers ? v1::RECOVERY_OUTCOME_SELF_RECOVERED
                   : lot < 0.9              ? v1::RECOVERY_OUTCOME_AFTER_END
                                            : v1::RECOVERY_OUTCOME_AFTER_RESPONDER);
  *run.mutable_time_to_recover()->mutable_value() =
      Proto((kind.self_recovers > 0.5 ? 15 : 190) + 60 * numbers.Next());
}

v1::Run MakeRun(const Kind& kind, double at, double progress, Numbers01& numbers) {
  v1::Run run;
  *run.mutable_experiment() = ExperimentOf(kind);
  *run.mutable_finished_at() =
      ToProto(SystemTime(std::chrono::milliseconds(std::llround(at * 1000))));
  v1::Mark& mark = *run.add_marks();
  mark.set_kind(v1::MARK_KIND_FIRST_IMPACT);
  *mark.mutable_at() = ToProto(FromProto(run.finished_at()) - std::chrono::minutes(8));
  if (numbers.Next() < 0.03) {  // somebody stopped it
    run.mutable_verdict()->set_verdict(v1::VERDICT_ABORTED);
    return run;
  }
  PutDetection(kind, progress, numbers, run);
  PutRecovery(kind, numbers, run);
  run.set_false_alarms(numbers.Next() < 0.06 ? 1 : 0);
  return run;
}

// The page's samples at an instant; HELP and TYPE are left out, for each may stand there but once.
void Append(const std::string& page, double at, std::string& open_metrics) {
  for (std::size_t from = 0; from < page.size();) {
    const std::size_t to = std::min(page.find('\n', from), page.size());
    if (page[from] != '#') {
      open_metrics.append(page, from, to - from);
      open_metrics += fmt::format(" {:.0f}\n", at);
    }
    from = to + 1;
  }
}

TEST(DashboardsMonthsTest, ShowTheRunsThatWere) {
  FakeClock clock;
  const double end = std::floor(Seconds(Clock::Real().System().time_since_epoch()) / kStep) * kStep;
  const double begin = end - kDays * 86400.0;
  controller::FleetFigures fleet;
  for (const Kind& kind : kKinds) fleet.applied.push_back(ExperimentOf(kind));
  controller::ControllerMetrics metrics(
      "1.0.0", [&fleet] { return fleet; }, clock);

  Numbers01 numbers;
  std::vector<v1::Run> runs;
  std::string past;
  for (int page = 0; page * kStep <= kDays * 86400; ++page) {
    const double at = begin + page * kStep;
    const int pages_a_day = 86400 / kStep;
    for (std::size_t k = 0; k < std::size(kKinds); ++k) {
      const bool due = page % (kKinds[k].every_days * pages_a_day) == 3 + static_cast<int>(k);
      if (!due) continue;
      runs.push_back(MakeRun(kKinds[k], at - 1800 * numbers.Next(),
                             page * kStep / (kDays * 86400.0), numbers));
      metrics.RunFinished(runs.back());
    }
    Append(metrics.Render(), at, past);
  }
  ASSERT_GT(runs.size(), 70U);
  const auto prometheus =
      test::Prometheus::StartWithPast("global: {scrape_interval: 1h}\n", "", past + "# EOF\n");
  ASSERT_TRUE(prometheus.ok()) << prometheus.status();

  const test::View view{end - kShownDays * 86400.0, end, kStep};
  const auto counted = [&view](const v1::Run& run) {
    return Seconds(FromProto(run.finished_at()).time_since_epoch()) > view.from;
  };
  // A dot stands at the first page after the run's end.
  test::Expectations expected = test::DetectionExpectations(runs, counted, view, kStep);
  expected["annotation: Fault windows"] = {};  // no page was rendered while a run went on
  test::Expected& begins = expected["annotation: Fault begins"];
  begins.last_only = true;
  begins.tolerance = 2;
  for (const v1::Run& run : runs) {
    begins.series["experiment=" + run.experiment().name()] = {
        {0, Seconds(FromProto(run.marks(0).at()).time_since_epoch()) * 1000}};
  }
  test::ExpectDashboard(**prometheus, "detection_and_recovery", view, expected);
}

}  // namespace
}  // namespace firedrill
