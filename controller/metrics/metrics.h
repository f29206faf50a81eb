// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "firedrill/v1/operator.pb.h"
#include "firedrill/v1/run.pb.h"
#include "proto/support/clock.h"

namespace firedrill::controller {

/// What the fleet looks like at the moment of a scrape.
struct FleetFigures {
  struct LiveFault {
    std::string host;
    std::string fault;       ///< The name of the member of Fault.kind: packet_loss
    std::string experiment;  ///< Empty: not of a known run.
  };
  std::vector<v1::Agent> agents;
  std::vector<LiveFault> live_faults;
};

/// The controller's figures for Prometheus. No run's id is a label: runs are rare events, shown by
/// counters, coarse histograms and last-value gauges that are absent for what did not happen.
/// Thread-safe.
class ControllerMetrics {
 public:
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

/// The label `fault` of a run: the kinds of its steps, each once, in order: cpu+packet_loss.
std::string FaultLabel(const v1::Experiment& experiment);

}  // namespace firedrill::controller
