// SPDX-License-Identifier: Apache-2.0
#include "controller/metrics/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <set>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "proto/support/fault_rules.h"
#include "proto/support/time.h"

namespace firedrill::controller {
namespace {

using Labels = std::map<std::string, std::string>;
using GaugeFamily = prometheus::Family<prometheus::Gauge>;

// PREFIX_SOMETHING of an enum as a label's value: something.
template <typename Enum>
std::string LabelOf(const std::string& name, Enum unspecified, Enum value, std::size_t prefix) {
  if (value == unspecified) return "none";
  std::string label = name.substr(prefix);
  for (char& c : label) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return label;
}

std::string VerdictLabel(v1::Verdict verdict) {
  return LabelOf(v1::Verdict_Name(verdict), v1::VERDICT_UNSPECIFIED, verdict,
                 std::string("VERDICT_").size());
}
std::string DetectionLabel(v1::DetectionOutcome outcome) {
  return LabelOf(v1::DetectionOutcome_Name(outcome), v1::DETECTION_OUTCOME_UNSPECIFIED, outcome,
                 std::string("DETECTION_OUTCOME_").size());
}
std::string RecoveryLabel(v1::RecoveryOutcome outcome) {
  return LabelOf(v1::RecoveryOutcome_Name(outcome), v1::RECOVERY_OUTCOME_UNSPECIFIED, outcome,
                 std::string("RECOVERY_OUTCOME_").size());
}

// Of a measure, coarse: rare events need few classes, and `for` is mostly minutes.
const prometheus::Histogram::BucketBoundaries& Buckets() {
  static const prometheus::Histogram::BucketBoundaries buckets = {
      1, 2, 5, 10, 15, 30, 60, 90, 120, 180, 300, 600, 1800, 3600};
  return buckets;
}

GaugeFamily& Gauge(prometheus::Registry& registry, const char* name, const char* help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(registry);
}

prometheus::Family<prometheus::Counter>& Counter(prometheus::Registry& registry, const char* name,
                                                 const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
}

// A time that rare events take: its distribution, and the last one while it is true.
class TimeFigure {
 public:
  TimeFigure(prometheus::Registry& registry, const char* name, const char* help,
             const char* last_name, const char* last_help)
      : histogram_(prometheus::BuildHistogram().Name(name).Help(help).Register(registry)),
        last_(Gauge(registry, last_name, last_help)) {}

  // Absent is absent: what did not happen this time takes the last value away.
  void Take(const Labels& labels, const v1::Measure* measure) {
    const auto old = gauges_.find(labels);
    if (measure == nullptr || measure->censored()) {
      if (old == gauges_.end()) return;
      last_.Remove(old->second);
      gauges_.erase(old);
      return;
    }
    const double seconds = Seconds(FromProto(measure->value()));
    histogram_.Add(labels, Buckets()).Observe(seconds);
    prometheus::Gauge& gauge = last_.Add(labels);
    gauge.Set(seconds);
    gauges_[labels] = &gauge;
  }

 private:
  prometheus::Family<prometheus::Histogram>& histogram_;
  GaugeFamily& last_;
  std::map<Labels, prometheus::Gauge*> gauges_;
};

// All figures that finished runs give. A new one is made to count anew.
class RunFigures {
 public:
  RunFigures()
      : runs_(Counter(registry_, "firedrill_runs_total", "Finished runs by what came of them.")),
        not_proven_(Counter(registry_, "firedrill_ends_not_proven_total",
                            "Injections whose end no other process could prove.")),
        last_run_(Gauge(registry_, "firedrill_last_run_timestamp_seconds",
                        "When the last run was finished.")),
        detect_(registry_, "firedrill_time_to_detect_seconds",
                "From the first impact to the first expected alert's firing; runs in which it "
                "fired.",
                "firedrill_last_time_to_detect_seconds",
                "Time to detect of the last run; absent if it was not detected."),
        recover_(registry_, "firedrill_time_to_recover_seconds",
                 "From the first impact until the last indicator was well again; runs in which "
                 "all recovered.",
                 "firedrill_last_time_to_recover_seconds",
                 "Time to recover of the last run; absent if it did not recover.") {
    not_proven_.Add({});
  }

  void Take(const v1::Run& run) {
    const Labels labels{{"experiment", run.experiment().name()},
                        {"fault", FaultLabel(run.experiment())}};
    Labels outcome = labels;
    outcome["verdict"] = VerdictLabel(run.verdict().verdict());
    outcome["detection"] = DetectionLabel(run.detection());
    outcome["recovery"] = RecoveryLabel(run.recovery());
    runs_.Add(outcome).Increment();
    if (run.has_finished_at()) {
      last_run_.Add(labels).Set(Seconds(FromProto(run.finished_at()).time_since_epoch()));
    }
    detect_.Take(labels, run.has_time_to_detect() ? &run.time_to_detect() : nullptr);
    recover_.Take(labels, run.has_time_to_recover() ? &run.time_to_recover() : nullptr);
    for (const v1::Injection& injection : run.injections()) {
      const bool ended = injection.state() == v1::INJECTION_STATE_ENDED;
      if (ended && !injection.end_proven()) not_proven_.Add({}).Increment();
    }
  }

  std::vector<prometheus::MetricFamily> Collect() const { return registry_.Collect(); }

 private:
  prometheus::Registry registry_;
  prometheus::Family<prometheus::Counter>& runs_;
  prometheus::Family<prometheus::Counter>& not_proven_;
  GaugeFamily& last_run_;
  TimeFigure detect_;
  TimeFigure recover_;
};

std::string AgentStateLabel(v1::AgentState state) {
  return LabelOf(v1::AgentState_Name(state), v1::AGENT_STATE_UNSPECIFIED, state,
                 std::string("AGENT_STATE_").size());
}

void CollectAgents(prometheus::Registry& registry, const std::vector<v1::Agent>& agents,
                   SystemTime now) {
  GaugeFamily& states = Gauge(registry, "firedrill_agents", "Agents by state.");
  for (const auto state :
       {v1::AGENT_STATE_CONNECTED, v1::AGENT_STATE_DRAINING, v1::AGENT_STATE_GONE}) {
    states.Add({{"state", AgentStateLabel(state)}}).Set(0);
  }
  GaugeFamily& age = Gauge(registry, "firedrill_agent_heartbeat_age_seconds",
                           "Since the agent was heard of last.");
  GaugeFamily& offset = Gauge(registry, "firedrill_agent_clock_offset_seconds",
                              "The controller's clock minus the agent's; absent if not known.");
  GaugeFamily& uncertainty = Gauge(registry, "firedrill_agent_clock_uncertainty_seconds",
                                   "Plus or minus of the agent's clock offset.");
  GaugeFamily& live =
      Gauge(registry, "firedrill_agent_live_faults", "Faults that the agent itself says it holds.");
  auto& leases = Counter(registry, "firedrill_leases_run_out_total",
                         "Faults that ended because no renewal came, since the agent's start.");
  auto& over_cap =
      Counter(registry, "firedrill_faults_over_cap_total",
              "Faults refused because so many lived already, since the agent's start.");
  GaugeFamily& missing = Gauge(registry, "firedrill_agent_missing_abilities",
                               "Abilities that the agent's host lacks.");
  for (const v1::Agent& agent : agents) {
    states.Add({{"state", AgentStateLabel(agent.state())}}).Increment();
    const Labels host{{"host", agent.hello().agent_id()}};
    if (agent.has_last_seen_at()) {
      age.Add(host).Set(Seconds(std::max(Nanoseconds(0), now - FromProto(agent.last_seen_at()))));
    }
    int lacks = 0;
    for (const v1::Ability& ability : agent.hello().abilities())
      lacks += ability.available() ? 0 : 1;
    missing.Add(host).Set(lacks);
    if (!agent.has_last_heartbeat()) continue;
    const v1::Heartbeat& heartbeat = agent.last_heartbeat();
    if (heartbeat.clock_known()) {
      offset.Add(host).Set(Seconds(FromProto(heartbeat.clock_offset())));
      uncertainty.Add(host).Set(Seconds(FromProto(heartbeat.clock_uncertainty())));
    }
    live.Add(host).Set(heartbeat.live_faults());
    leases.Add(host).Increment(static_cast<double>(heartbeat.leases_run_out()));
    over_cap.Add(host).Increment(static_cast<double>(heartbeat.faults_over_cap()));
  }
}

}  // namespace

struct ControllerMetrics::State {
  State(std::string given_version, std::function<FleetFigures()> given_fleet,
        const Clock& the_clock)
      : version(std::move(given_version)),
        fleet(std::move(given_fleet)),
        clock(the_clock),
        started(the_clock.System()),
        runs(std::make_unique<RunFigures>()) {}
  const std::string version;
  const std::function<FleetFigures()> fleet;
  const Clock& clock;
  const SystemTime started;
  absl::Mutex mutex;
  std::unique_ptr<RunFigures> runs ABSL_GUARDED_BY(mutex);
};

ControllerMetrics::ControllerMetrics(std::string version, std::function<FleetFigures()> fleet,
                                     const Clock& clock)
    : state_(std::make_unique<State>(std::move(version), std::move(fleet), clock)) {}

ControllerMetrics::~ControllerMetrics() = default;

void ControllerMetrics::Rebuild(const std::vector<v1::Run>& finished) {
  auto runs = std::make_unique<RunFigures>();
  for (const v1::Run& run : finished) runs->Take(run);
  absl::MutexLock lock(&state_->mutex);
  state_->runs = std::move(runs);
}

void ControllerMetrics::RunFinished(const v1::Run& run) {
  absl::MutexLock lock(&state_->mutex);
  state_->runs->Take(run);
}

std::string ControllerMetrics::Render() const {
  prometheus::Registry registry;
  Gauge(registry, "firedrill_build_info", "Always 1; the version is in the label.")
      .Add({{"version", state_->version}})
      .Set(1);
  Gauge(registry, "firedrill_start_time_seconds", "When this controller started.")
      .Add({})
      .Set(Seconds(state_->started.time_since_epoch()));
  const FleetFigures fleet = state_->fleet ? state_->fleet() : FleetFigures{};
  CollectAgents(registry, fleet.agents, state_->clock.System());
  GaugeFamily& live = Gauge(registry, "firedrill_live_faults",
                            "Faults that are being injected now, as far as the controller knows.");
  for (const FleetFigures::LiveFault& fault : fleet.live_faults) {
    Labels labels{{"host", fault.host}, {"fault", fault.fault}};
    if (!fault.experiment.empty()) labels["experiment"] = fault.experiment;
    live.Add(labels).Increment();
  }
  std::vector<prometheus::MetricFamily> families = registry.Collect();
  {
    absl::MutexLock lock(&state_->mutex);
    std::vector<prometheus::MetricFamily> runs = state_->runs->Collect();
    std::move(runs.begin(), runs.end(), std::back_inserter(families));
  }
  return prometheus::TextSerializer().Serialize(families);
}

const char* ControllerMetrics::ContentType() { return "text/plain; version=0.0.4; charset=utf-8"; }

std::string FaultLabel(const v1::Experiment& experiment) {
  std::string label;
  std::set<std::string> seen;
  for (const v1::Step& step : experiment.method()) {
    const std::string name = FaultName(step.fault().kind_case());
    if (name.empty() || !seen.insert(name).second) continue;
    label += (label.empty() ? "" : "+") + name;
  }
  return label;
}

}  // namespace firedrill::controller
