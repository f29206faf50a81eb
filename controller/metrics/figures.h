// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "controller/metrics/metrics.h"
#include "controller/metrics/page.h"
#include "firedrill/v1/run.pb.h"
#include "proto/support/clock.h"

// What the page is made of. Nothing here is thread-safe.
namespace firedrill::controller {

/// The figures of finished runs, by experiment and fault.
class RunFigures {
 public:
  /// Keeps at most `most` experiments with their faults: those that ran last.
  explicit RunFigures(std::size_t most) : most_(most) {}

  /// Counts a run, which becomes the last one of its experiment and fault.
  void Take(const v1::Run& run);

  /// `known`: experiments that are shown with zeros where they have not run yet, so that increase()
  /// sees the first run.
  void Put(const std::vector<const v1::Experiment*>& known, Page& page) const;

 private:
  struct Figures {
    std::map<std::pair<std::string, std::string>, std::uint64_t> outcomes;  // detection, recovery
    std::map<std::string, std::uint64_t> verdicts;
    std::map<std::string, Distribution> times;  // by what was timed: detect, recover
    std::uint64_t false_alarms = 0;
    std::uint64_t turn = 0;  // of the last run among all
    v1::Run last;            // without its samples
  };
  using Key = std::pair<std::string, std::string>;  // experiment, fault
  static void PutCounts(const Key& key, const Figures& figures, const v1::Experiment& experiment,
                        Page& page);
  void DropOldest();

  std::size_t most_;
  std::map<Key, Figures> figures_;
  std::uint64_t turns_ = 0;
  std::uint64_t forgotten_ = 0;
  std::uint64_t not_proven_ = 0;
};

/// Gauges of a finished run: its times, stages, depth and outcome. Absent is what did not happen.
void PutLastRun(const Page::Labels& labels, const v1::Run& run, Page& page);

/// The instants of a run's marks: of several of a kind the first, of ends and recoveries the last.
void PutMarks(const v1::Run& run, Page& page);

/// What stands in an experiment's file: environment, and how soon its alerts ought to fire.
void PutExperiment(const v1::Experiment& experiment, Page& page);

/// A run that is under way: its faults, indicators, alerts, marks.
void PutLive(const v1::Run& run, SystemTime now, Page& page);

void PutAgents(const std::vector<v1::Agent>& agents, SystemTime now, Page& page);
void PutAnnotations(const AnnotationFigures& figures, Page& page);

}  // namespace firedrill::controller
