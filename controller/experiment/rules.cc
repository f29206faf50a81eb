// SPDX-License-Identifier: Apache-2.0
#include "controller/experiment/rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "controller/experiment/defaults.h"
#include "controller/experiment/reserved.h"
#include "controller/experiment/steps.h"
#include "controller/probe/promql.h"
#include "controller/schedule/cron.h"
#include "proto/support/fault_rules.h"
#include "proto/support/field_rules.h"
#include "proto/support/text.h"
#include "proto/support/time.h"

namespace firedrill::controller {
namespace {

class ExperimentChecker {
 public:
  ExperimentChecker(const v1::Experiment& experiment, Problems* problems)
      : experiment_(experiment), problems_(*problems) {
    for (const auto& [name, target] : experiment.targets()) targets_.insert(name);
    for (const v1::Step& step : experiment.method()) steps_.push_back(step.name());
  }

  void Check() {
    for (const auto& [name, target] : experiment_.targets()) CheckTarget(name, target);
    for (int i = 0; i < experiment_.steady_state_size(); ++i) CheckIndicator(i);
    for (int i = 0; i < experiment_.detection_size(); ++i) CheckDetection(i);
    for (int i = 0; i < experiment_.method_size(); ++i) CheckStep(i);
    CheckTiming();
    CheckSchedule();
  }

 private:
  void Add(const std::string& path, std::string found, std::string allowed, bool missing = false) {
    problems_.push_back({path, std::move(found), std::move(allowed), missing});
  }

  // Reports a name that an earlier entry of the same list bears.
  void CheckUnique(const std::string& path, const std::string& name, std::set<std::string>* seen) {
    if (name.empty() || seen->insert(name).second) return;
    Add(path, "found " + Quoted(name) + " a second time", "each name once");
  }

  void CheckTarget(const std::string& name, const v1::Target& target) {
    const std::string path = KeyPath("targets", name);
    if (target.labels().empty() && target.hosts().empty()) {
      Add(path, "chooses no host", "needed: labels, such as {role: cache}, or hosts", true);
    }
    std::set<std::string> seen;
    for (int i = 0; i < target.hosts_size(); ++i) {
      const std::string at = IndexPath(path + ".hosts", i);
      if (target.hosts(i).empty()) Add(at, "found an empty text", "needed: an agent's id");
      CheckUnique(at, target.hosts(i), &seen);
    }
    if (target.labels().empty() && target.pick().has_count() &&
        target.pick().count() > static_cast<unsigned>(target.hosts_size())) {
      Add(path + ".pick", fmt::format("found {}", target.pick().count()),
          fmt::format("allowed: at most the {} hosts that are named", target.hosts_size()));
    }
  }

  void CheckIndicator(int i) {
    const v1::Indicator& indicator = experiment_.steady_state(i);
    const std::string path = IndexPath("steady_state", i);
    CheckUnique(path + ".name", indicator.name(), &indicators_);
    if (indicator.name().rfind(kAlertSeriesPrefix, 0) == 0) {
      Add(path + ".name", "found " + Quoted(indicator.name()),
          fmt::format("names that begin with {} are Firedrill's own", kAlertSeriesPrefix));
    }
    if (indicator.has_degraded() && !Includes(indicator.degraded(), indicator.expect())) {
      Add(path + ".degraded", "found " + Quoted(FormatComparison(indicator.degraded())),
          fmt::format("the floor must not be stricter than expect, {}",
                      Quoted(FormatComparison(indicator.expect()))));
    }
    CheckRecovered(indicator, path + ".recovered");
    CheckObjective(indicator, path + ".objective");
    CheckReading(indicator, path + ".reading");
    const Nanoseconds hold = Hold(indicator);
    const Nanoseconds watch = RecoverWithin(experiment_);
    if (hold > watch) {
      Add(path + ".hold", "found " + FormatDuration(hold),
          fmt::format("allowed: at most recover_within, {}, or recovery could never be seen",
                      FormatDuration(watch)));
    }
  }

  // Another threshold of the same indicator: it must look the same way, and not below the floor.
  void CheckRecovered(const v1::Indicator& indicator, const std::string& path) {
    if (!indicator.has_recovered()) return;
    const v1::Comparison& recovered = indicator.recovered();
    const v1::Comparison& expect = indicator.expect();
    const std::string found = "found " + Quoted(FormatComparison(recovered));
    if ((Rises(recovered) && Falls(expect)) || (Falls(recovered) && Rises(expect))) {
      Add(path, found,
          fmt::format("it must look the same way as expect, {}", Quoted(FormatComparison(expect))));
    } else if (indicator.has_degraded() && !Includes(indicator.degraded(), recovered)) {
      Add(path, found,
          fmt::format("well again must not be below the floor, {}",
                      Quoted(FormatComparison(indicator.degraded()))));
    }
  }

  // An error budget is of a share of good events, from 0 to 1.
  void CheckObjective(const v1::Indicator& indicator, const std::string& path) {
    if (!indicator.has_objective() || indicator.expect().operator_() == v1::OPERATOR_UNSPECIFIED) {
      return;
    }
    if (Rises(indicator.expect()) && indicator.expect().value() <= 1) return;
    Add(path,
        "found an objective of an indicator that is expected to be " +
            Quoted(FormatComparison(indicator.expect())),
        "allowed: of a ratio of good events from 0 to 1, such as expect: \">= 0.99\"");
  }

  void CheckReading(const v1::Indicator& indicator, const std::string& path) {
    if (indicator.reading() != v1::INDICATOR_READING_PER_SCRAPE || indicator.query().empty()) {
      return;
    }
    static const std::set<std::string> kOfCounters = {"rate", "irate", "increase", "delta",
                                                      "idelta"};
    const std::vector<std::string> functions = ShapeOf(indicator.query()).functions;
    if (std::any_of(functions.begin(), functions.end(),
                    [](const std::string& function) { return kOfCounters.count(function) != 0; })) {
      return;
    }
    Add(path, "found per_scrape, but the query calls neither rate() nor increase()",
        "allowed: as_written, or a query that reads counters by rate() or increase()");
  }

  static bool Rises(const v1::Comparison& c) {
    return c.operator_() == v1::OPERATOR_GREATER || c.operator_() == v1::OPERATOR_GREATER_OR_EQUAL;
  }
  static bool Falls(const v1::Comparison& c) {
    return c.operator_() == v1::OPERATOR_LESS || c.operator_() == v1::OPERATOR_LESS_OR_EQUAL;
  }

  // False if values that `inner` accepts are surely refused by `outer`: >= 0.99 in >= 0.995.
  static bool Includes(const v1::Comparison& outer, const v1::Comparison& inner) {
    if (Rises(outer) && Rises(inner)) return outer.value() <= inner.value();
    if (Falls(outer) && Falls(inner)) return outer.value() >= inner.value();
    return true;
  }

  void CheckDetection(int i) {
    const v1::Detection& detection = experiment_.detection(i);
    std::string identity = detection.alert();
    const std::map<std::string, std::string> labels(detection.labels().begin(),
                                                    detection.labels().end());
    for (const auto& [key, value] : labels) identity += fmt::format(" {}={}", key, value);
    CheckUnique(IndexPath("detection", i), identity, &detections_);
  }

  void CheckStep(int i) {
    const v1::Step& step = experiment_.method(i);
    const std::string path = IndexPath("method", i);
    CheckUnique(path + ".name", step.name(), &step_names_);
    if (!step.target().empty() && targets_.count(step.target()) == 0) {
      Add(path + ".target", "found the unknown target " + Quoted(step.target()),
          SuggestFrom(step.target(), {targets_.begin(), targets_.end()}));
    }
    std::set<std::string> seen;
    for (int j = 0; j < step.after_size(); ++j) {
      const std::string at = IndexPath(path + ".after", j);
      CheckUnique(at, step.after(j), &seen);
      if (step.after(j) == step.name()) {
        Add(at, "found the step itself", "a step cannot wait for its own end");
        sound_ = false;
      } else if (std::find(steps_.begin(), steps_.end(), step.after(j)) == steps_.end()) {
        Add(at, "found the unknown step " + Quoted(step.after(j)),
            SuggestFrom(step.after(j), Others(step.name())));
        sound_ = false;
      }
    }
    CheckMixed(step, path);
    CheckEnd(step.fault(), step.has_duration(), path + ".duration", &problems_);
    if (step.fault().has_cpu()) CheckRamp(step, step.fault().cpu().ramp(), path, "cpu");
    if (step.fault().has_memory()) CheckRamp(step, step.fault().memory().ramp(), path, "memory");
    if (step.fault().has_partition()) CheckPartition(step, path);
  }

  // A run without a fault turns around what alerts ought to do: it is that as a whole.
  void CheckMixed(const v1::Step& step, const std::string& path) {
    const bool mixed = std::any_of(
        experiment_.method().begin(), experiment_.method().end(), [](const v1::Step& other) {
          return !other.fault().has_none() && other.fault().kind_case() != v1::Fault::KIND_NOT_SET;
        });
    if (!step.fault().has_none() || !mixed) return;
    Add(path + ".fault.none", "found beside steps that do something",
        "allowed: in an experiment whose steps are all none, which counts false alarms");
  }

  void CheckRamp(const v1::Step& step, const google::protobuf::Duration& ramp,
                 const std::string& path, const char* kind) {
    if (!step.has_duration() || FromProto(ramp) <= FromProto(step.duration())) return;
    Add(fmt::format("{}.fault.{}.ramp", path, kind), "found " + FormatDuration(FromProto(ramp)),
        fmt::format("allowed: at most the step's duration, {}",
                    FormatDuration(FromProto(step.duration()))));
  }

  // Its other side is a target too, and not the same one.
  void CheckPartition(const v1::Step& step, const std::string& path) {
    const std::string& from = step.fault().partition().from();
    const std::string at = path + ".fault.partition.from";
    if (from.empty()) return;
    if (from == step.target()) {
      return Add(at, "found the step's own target " + Quoted(from),
                 "allowed: another target, whose hosts are on the other side");
    }
    if (targets_.count(from) > 0) return;
    std::set<std::string> others = targets_;
    others.erase(step.target());
    Add(at, "found the unknown target " + Quoted(from),
        others.empty() ? "add the other side to targets"
                       : SuggestFrom(from, {others.begin(), others.end()}));
  }

  std::vector<std::string> Others(const std::string& name) const {
    std::set<std::string> others(steps_.begin(), steps_.end());
    others.erase("");
    others.erase(name);
    return {others.begin(), others.end()};
  }

  void CheckTiming() {
    // Names that are wrong are reported already; nothing can be said of the order then.
    const bool named = step_names_.size() == steps_.size();
    if (!sound_ || !named || steps_.empty()) return;
    const absl::StatusOr<std::vector<StepTiming>> steps = TimeSteps(experiment_);
    if (!steps.ok()) {
      return Add("method", "found a cycle: " + std::string(steps.status().message()),
                 "each step must be able to begin");
    }
    const Nanoseconds length = MethodLength(*steps);
    const Nanoseconds longest = Longest(experiment_);
    if (length > longest) {
      Add("method",
          fmt::format("found a method of {} to the end of its last fault", FormatDuration(length)),
          fmt::format("allowed: {}; raise longest if so much is meant", FormatDuration(longest)));
    }
  }

  void CheckSchedule() {
    const std::string& cron = experiment_.schedule().cron();
    // Where the number of fields is wrong, the field's own rule has said so.
    if (cron.empty() || !CheckFormat(v1::FORMAT_CRON, cron).ok()) return;
    if (const auto parsed = ParseCron(cron); !parsed.ok()) {
      Add("schedule.cron", "found " + Quoted(cron), std::string(parsed.status().message()));
    }
  }

  const v1::Experiment& experiment_;
  Problems& problems_;
  std::set<std::string> targets_;
  std::vector<std::string> steps_;
  std::set<std::string> step_names_, indicators_, detections_;
  bool sound_ = true;  // every `after` names a step
};

}  // namespace

void CheckExperiment(const v1::Experiment& experiment, Problems* problems) {
  CheckMessage(experiment, "", problems);
  ExperimentChecker(experiment, problems).Check();
}

absl::Status ValidateExperiment(const v1::Experiment& experiment) {
  Problems problems;
  CheckExperiment(experiment, &problems);
  return ToStatus(problems);
}

}  // namespace firedrill::controller
