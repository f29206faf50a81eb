// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "controller/measure/record.h"
#include "tests/unit/measure_evidence.h"

// A run and the world around it, for the tests of what is kept of a run.
namespace firedrill::controller {

/// A message's bytes, the same for equal messages: maps have no order of their own.
std::string Bytes(const v1::Run& run);

/// With one fault, from 0 to 20.
v1::Run RunOf(const v1::Experiment& experiment, double impact_uncertainty = 0.002);
v1::Experiment WithAlert();

/// What a Prometheus knows, asked at `at` about what came since `since`.
struct World {
  std::vector<std::vector<AlertSeries>> alerts;
  std::vector<RawSample> indicator;
  std::vector<TimeSpan> blind;
  AlertRule rule = EverySecond();
  Nanoseconds uncertainty = std::chrono::milliseconds(2);
  Nanoseconds off{0};  // how far this alignment is off

  ProbeAnswer Ask(SystemTime since, SystemTime at) const;

 private:
  std::vector<RawSample> Cut(const std::vector<RawSample>& samples, SystemTime since,
                             SystemTime at) const;
};

/// In which nothing but these alerts is the matter.
World Told(const std::vector<AlertEpisode>& episodes);

/// Everything that `world` knows, told at once, measured at the end of the watch.
v1::Run Measured(const World& world, const std::vector<AlertNotice>& notices = {},
                 const v1::Experiment& experiment = WithAlert());

std::vector<double> MarksAt(const v1::Run& run, v1::MarkKind kind);

}  // namespace firedrill::controller
