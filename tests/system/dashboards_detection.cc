// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "controller/statistics/fault_label.h"
#include "proto/support/time.h"
#include "tests/system/dashboards.h"

// What a person who counts by hand would write on the dashboard "detection and recovery".
namespace firedrill::test {
namespace {

double Value(const v1::Measure& measure) { return Seconds(FromProto(measure.value())); }
double FinishedAt(const v1::Run& run) {
  return Seconds(FromProto(run.finished_at()).time_since_epoch());
}
std::string Fault(const v1::Run& run) { return controller::FaultLabel(run.experiment()); }
std::string Pair(const v1::Run& run) {
  return fmt::format("experiment={},fault={}", run.experiment().name(), Fault(run));
}
std::string Lower(std::string name, std::size_t prefix) {
  name = name.substr(prefix);
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return name == "unspecified" ? "none" : name;
}
std::string Detection(const v1::Run& run) {
  return Lower(v1::DetectionOutcome_Name(run.detection()), 18);
}
std::string Recovery(const v1::Run& run) {
  return Lower(v1::RecoveryOutcome_Name(run.recovery()), 17);
}

// Runs of each outcome that are counted in the range.
struct Counts {
  int runs = 0;
  int detected = 0;
  int missed = 0;
  void Take(const v1::Run& run) {
    ++runs;
    detected += run.detection() == v1::DETECTION_OUTCOME_DETECTED ? 1 : 0;
    missed += run.detection() == v1::DETECTION_OUTCOME_MISSED ? 1 : 0;
  }
  double rate() const { return static_cast<double>(detected) / (detected + missed); }
};

// The bars of a histogram as Prometheus stores them: cumulative.
std::map<std::string, double> Cumulative(const std::vector<double>& times) {
  std::map<std::string, double> bars;
  for (const double bound : {5, 15, 30, 60, 120, 300, 600, 1800, 3600}) {
    double& bar = bars[fmt::format("le={}", bound)];
    for (const double time : times) bar += time <= bound ? 1 : 0;
  }
  bars["le=+Inf"] = static_cast<double>(times.size());
  return bars;
}

void Last(const std::map<std::string, v1::Run>& last, double now, Expectations& all) {
  std::map<std::string, double> stages;
  std::map<std::string, double> lost;
  std::map<std::string, double> shares;
  std::map<std::string, std::map<std::string, double>> table;
  double slowest = 0;
  double undetected = 0;
  double sum = 0;
  for (const auto& [pair, run] : last) {
    const auto put = [&, &pair = pair](const char* ref, bool has, const v1::Measure& measure) {
      if (has && !measure.censored()) table[ref][pair] = Value(measure);
    };
    put("C", run.has_time_to_detect(), run.time_to_detect());
    put("E", run.has_time_to_notify(), run.time_to_notify());
    put("F", run.has_time_to_acknowledge(), run.time_to_acknowledge());
    put("G", run.has_time_to_mitigate(), run.time_to_mitigate());
    put("H", run.has_time_to_recover(), run.time_to_recover());
    if (table["C"].count(pair) > 0) slowest = std::max(slowest, table["C"][pair]);
    undetected += run.detection() == v1::DETECTION_OUTCOME_MISSED ? 1 : 0;
    for (const v1::Detection& detection : run.experiment().detection()) {
      if (detection.has_within()) table["D"][pair] = Seconds(FromProto(detection.within()));
    }
    table["J"][fmt::format("detection={},{},recovery={}", Detection(run), pair, Recovery(run))] = 1;
    table["K"][pair] = now - FinishedAt(run);
    for (const v1::AlertResult& alert : run.alerts()) {
      for (const v1::Stage& stage : alert.stages()) {
        const std::string name = Lower(v1::StageKind_Name(stage.kind()), 11);
        const double seconds = Seconds(FromProto(stage.value()));
        stages[fmt::format("experiment={},stage={}", run.experiment().name(), name)] += seconds;
        if (name == "grouping" || name == "delivery") continue;
        shares["stage=" + name] += seconds;
        sum += seconds;
      }
    }
    for (const v1::IndicatorResult& indicator : run.indicators()) {
      const std::string& name = indicator.indicator().name();
      if (indicator.has_lost()) {
        lost[fmt::format("experiment={},indicator={}", run.experiment().name(), name)] =
            Seconds(FromProto(indicator.lost()));
      }
      if (indicator.has_lowest_quality()) table["I"][pair] = indicator.lowest_quality();
    }
  }
  for (auto& [stage, seconds] : shares) seconds /= sum;
  all["Undetected at their last run"] = Number(undetected);
  all["Slowest detection"] = Number(slowest);
  all["Stages of the last detection"] = Numbers(stages);
  all["Where the time to detect goes"] = Numbers(shares);
  all["Service lost in the last run"] = Numbers(lost);
  for (const char* ref : {"C", "D", "E", "F", "G", "H", "I", "J", "K"}) {
    all[std::string("Experiments, worst first/") + ref] = Numbers(table[ref], 0.01);
  }
}

void InRange(const std::vector<v1::Run>& runs, const std::function<bool(const v1::Run&)>& counted,
             Expectations& all) {
  Counts total;
  std::map<std::string, Counts> by_pair;
  std::map<std::string, double> detections;
  std::map<std::string, double> recoveries;
  std::vector<double> detect;
  std::vector<double> recover;
  double watched = 0;
  double by_themselves = 0;
  double false_alarms = 0;
  for (const v1::Run& run : runs) {
    Counts& pair = by_pair[Pair(run)];  // with zeros for what has no run in the range
    if (!counted(run)) continue;
    total.Take(run);
    pair.Take(run);
    ++detections["detection=" + Detection(run)];
    ++recoveries["recovery=" + Recovery(run)];
    false_alarms += run.false_alarms();
    if (run.has_time_to_detect() && !run.time_to_detect().censored()) {
      detect.push_back(Value(run.time_to_detect()));
    }
    if (run.has_time_to_recover() && !run.time_to_recover().censored()) {
      recover.push_back(Value(run.time_to_recover()));
    }
    const v1::RecoveryOutcome outcome = run.recovery();
    if (outcome == v1::RECOVERY_OUTCOME_UNSPECIFIED || outcome == v1::RECOVERY_OUTCOME_UNKNOWN) {
      continue;
    }
    ++watched;
    by_themselves +=
        outcome == v1::RECOVERY_OUTCOME_ABSORBED || outcome == v1::RECOVERY_OUTCOME_SELF_RECOVERED
            ? 1
            : 0;
  }
  all["Runs"] = Number(total.runs);
  all["Detection rate"] = Number(total.rate());
  all["Recovered by themselves"] = Number(by_themselves / watched);
  all["False alarms"] = Number(false_alarms);
  all["How long detection took"] = Numbers(Cumulative(detect));
  all["How long recovery took"] = Numbers(Cumulative(recover));
  all["Detection outcomes"] = Numbers(detections);
  all["Recovery outcomes"] = Numbers(recoveries);
  std::map<std::string, double> numbers;
  std::map<std::string, double> rates;
  for (const auto& [pair, counts] : by_pair) {
    numbers[pair] = counts.runs;
    if (counts.detected + counts.missed > 0) rates[pair] = counts.rate();
  }
  all["Experiments, worst first/A"] = Numbers(numbers);
  all["Experiments, worst first/B"] = Numbers(rates);
}

}  // namespace

Expectations DetectionExpectations(const std::vector<v1::Run>& runs,
                                   const std::function<bool(const v1::Run&)>& counted,
                                   const View& view, double late) {
  Expectations all;
  InRange(runs, counted, all);
  std::map<std::string, v1::Run> last;
  for (const v1::Run& run : runs) last[Pair(run)] = run;
  Last(last, view.to, all);

  // Run by run: a dot each, in the order of time.
  const std::string detect = "Time to detect, run by run/";
  const std::string recover = "Time to recover, run by run/";
  for (const std::string& panel : {detect + "A", detect + "B", recover + "A", recover + "B"}) {
    all[panel].late = late;
  }
  for (const v1::Run& run : runs) {
    if (!counted(run)) continue;
    const auto dot = [&](const std::string& panel, const v1::Measure& measure) {
      all[panel].series[Pair(run)].emplace_back(FinishedAt(run), Value(measure));
    };
    if (run.has_time_to_detect() && !run.time_to_detect().censored()) {
      dot(detect + "A", run.time_to_detect());
    } else if (run.detection() == v1::DETECTION_OUTCOME_MISSED) {
      dot(detect + "B", run.time_to_detect());
    }
    if (run.has_time_to_recover() && !run.time_to_recover().censored()) {
      dot(recover + "A", run.time_to_recover());
    } else if (run.recovery() == v1::RECOVERY_OUTCOME_NOT_RECOVERED) {
      dot(recover + "B", run.time_to_recover());
    }
  }
  Expected& objectives = all[detect + "C"];
  objectives.last_only = true;
  for (const auto& [pair, run] : last) {
    for (const v1::Detection& detection : run.experiment().detection()) {
      if (!detection.has_within()) continue;
      objectives.series[fmt::format("alert={},experiment={}", detection.alert(),
                                    run.experiment().name())] = {
          {0, Seconds(FromProto(detection.within()))}};
    }
  }
  return all;
}

}  // namespace firedrill::test
