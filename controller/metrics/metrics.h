// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "firedrill/v1/operator.pb.h"
#include "firedrill/v1/run.pb.h"
#include "proto/support/clock.h"

namespace firedrill::controller {

/// What has become of the annotations for Grafana, since the controller's start.
struct AnnotationFigures {
  std::uint64_t written = 0;
  std::uint64_t failed = 0;   ///< Attempts that Grafana did not take.
  std::uint64_t dropped = 0;  ///< Given up.
  std::size_t waiting = 0;
};

/// What the fleet looks like at the moment of a scrape.
struct FleetFigures {
  std::vector<v1::Agent> agents;
  std::vector<std::shared_ptr<const v1::Run>> live_runs;
  std::vector<v1::Experiment> applied;           ///< Shown with zeros before their first run.
  std::optional<AnnotationFigures> annotations;  ///< Absent: no Grafana is configured.
};

/// The controller's figures for Prometheus.
///
/// Runs are rare events, so they are shown by counters that begin at zero before an experiment's
/// first run, by coarse histograms, and by gauges of the last run that are absent for what did not
/// happen. No run's id is a label. The page is bounded: an experiment with its fault gives fewer
/// than 170 lines and 5 more for each of its alerts and indicators, a host gives 9; of more than
/// kMostExperiments only those that ran last are kept. Thread-safe.
class ControllerMetrics {
 public:
  static constexpr std::size_t kMostExperiments = 200;

  /// `fleet` is asked at each Render, without a lock held; it must not block.
  ControllerMetrics(std::string version, std::function<FleetFigures()> fleet,
                    const Clock& clock = Clock::Real());
  ~ControllerMetrics();
  ControllerMetrics(const ControllerMetrics&) = delete;
  ControllerMetrics& operator=(const ControllerMetrics&) = delete;

  /// Forgets all figures of runs and counts these, oldest first: the store's, when starting.
  void Rebuild(const std::vector<v1::Run>& finished);

  /// Counts a run once, when it is finished.
  void RunFinished(const v1::Run& run);

  /// The page in Prometheus' text format.
  std::string Render() const;
  static const char* ContentType();  ///< Of Render's text.

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace firedrill::controller
