// SPDX-License-Identifier: Apache-2.0
#include "controller/metrics/metrics.h"

#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "controller/metrics/figures.h"
#include "controller/metrics/page.h"
#include "proto/support/time.h"

namespace firedrill::controller {

struct ControllerMetrics::State {
  State(std::string given_version, std::function<FleetFigures()> given_fleet,
        const Clock& the_clock)
      : version(std::move(given_version)),
        fleet(std::move(given_fleet)),
        clock(the_clock),
        started(the_clock.System()) {}
  const std::string version;
  const std::function<FleetFigures()> fleet;
  const Clock& clock;
  const SystemTime started;
  absl::Mutex mutex;
  RunFigures runs ABSL_GUARDED_BY(mutex){kMostExperiments};
};

ControllerMetrics::ControllerMetrics(std::string version, std::function<FleetFigures()> fleet,
                                     const Clock& clock)
    : state_(std::make_unique<State>(std::move(version), std::move(fleet), clock)) {}

ControllerMetrics::~ControllerMetrics() = default;

void ControllerMetrics::Rebuild(const std::vector<v1::Run>& finished) {
  RunFigures runs(kMostExperiments);
  for (const v1::Run& run : finished) runs.Take(run);
  absl::MutexLock lock(&state_->mutex);
  state_->runs = std::move(runs);
}

void ControllerMetrics::RunFinished(const v1::Run& run) {
  absl::MutexLock lock(&state_->mutex);
  state_->runs.Take(run);
}

std::string ControllerMetrics::Render() const {
  const FleetFigures fleet = state_->fleet ? state_->fleet() : FleetFigures{};
  const SystemTime now = state_->clock.System();
  std::vector<const v1::Experiment*> known;
  for (const v1::Experiment& experiment : fleet.applied) known.push_back(&experiment);
  for (const auto& run : fleet.live_runs) known.push_back(&run->experiment());

  Page page;
  page.Gauge("firedrill_build_info", "Always 1; the version is in the label.",
             {{"version", state_->version}}, 1);
  page.Gauge("firedrill_start_time_seconds", "When this controller started.", {},
             Seconds(state_->started.time_since_epoch()));
  PutAgents(fleet.agents, now, page);
  {
    absl::MutexLock lock(&state_->mutex);
    state_->runs.Put(known, page);
  }
  for (const auto& run : fleet.live_runs) PutLive(*run, now, page);
  if (fleet.annotations) PutAnnotations(*fleet.annotations, page);
  return page.Text();
}

const char* ControllerMetrics::ContentType() { return "text/plain; version=0.0.4; charset=utf-8"; }

}  // namespace firedrill::controller
