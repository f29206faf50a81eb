// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/measure_world.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <algorithm>
#include <cmath>

namespace firedrill::controller {

using std::chrono::seconds;

std::string Bytes(const v1::Run& run) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    run.SerializeToCodedStream(&coded);
  }
  return bytes;
}

v1::Run RunOf(const v1::Experiment& experiment, double impact_uncertainty) {
  v1::Run run;
  run.set_id("r1");
  *run.mutable_experiment() = experiment;
  v1::Injection& injection = *run.add_injections();
  injection.set_state(v1::INJECTION_STATE_ENDED);
  *injection.mutable_duration() = ToProto(seconds(20));
  const auto mark = [&run](v1::MarkKind kind, double at, double uncertainty) {
    v1::Mark& one = *run.add_marks();
    one.set_kind(kind);
    *one.mutable_at() = ToProto(At(at));
    *one.mutable_uncertainty() = ToProto(Nanoseconds(std::llround(uncertainty * 1e9)));
  };
  mark(v1::MARK_KIND_FIRST_IMPACT, 0, impact_uncertainty);
  mark(v1::MARK_KIND_ENDED, 20, impact_uncertainty);
  return run;
}

v1::Experiment WithAlert() {
  v1::Experiment experiment = OneIndicator();
  experiment.add_detection()->set_alert("ShopSlow");
  return experiment;
}

std::vector<RawSample> World::Cut(const std::vector<RawSample>& samples, SystemTime since,
                                  SystemTime at) const {
  std::vector<RawSample> cut;
  for (const RawSample& sample : samples) {
    if (sample.at >= since && sample.at <= at) cut.push_back({sample.at + off, sample.value});
  }
  return cut;
}

ProbeAnswer World::Ask(SystemTime since, SystemTime at) const {
  ProbeAnswer answer;
  answer.asked_at = at;
  answer.clock_uncertainty = uncertainty;
  for (const TimeSpan& span : blind) {
    if (span.to >= since && span.from <= at) {
      answer.blind.push_back({span.from + off, std::min(span.to, at) + off});
    }
  }
  ProbeAnswer::Indicator& told = answer.indicators.emplace_back();
  told.samples = Cut(indicator, since, at);
  told.interval = seconds(1);
  told.uncertainty = uncertainty;
  for (const std::vector<AlertSeries>& all : alerts) {
    ProbeAnswer::Alert& alert = answer.alerts.emplace_back();
    alert.rule = rule;
    for (const AlertSeries& series : all) {
      AlertSeries cut{series.labels, series.firing, Cut(series.samples, since, at)};
      if (!cut.samples.empty()) alert.series.push_back(cut);
    }
  }
  return answer;
}

World Told(const std::vector<AlertEpisode>& episodes) {
  World world;
  world.alerts = {AlertsOf(episodes)};
  world.indicator = Samples(-30, std::string(60, '+'));
  return world;
}

v1::Run Measured(const World& world, const std::vector<AlertNotice>& notices,
                 const v1::Experiment& experiment) {
  v1::Run run = RunOf(experiment);
  std::vector<v1::Series> samples;
  EvidenceRecord record(run);
  record.Take(world.Ask(At(-30), At(30)), At(-30), samples);
  record.Take(notices);
  record.Measure(At(30), /*final=*/true);
  return run;
}

std::vector<double> MarksAt(const v1::Run& run, v1::MarkKind kind) {
  std::vector<double> at;
  for (const v1::Mark& mark : run.marks()) {
    if (mark.kind() == kind) at.push_back(After(mark.at()));
  }
  return at;
}

}  // namespace firedrill::controller
