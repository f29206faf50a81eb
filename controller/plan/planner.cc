// SPDX-License-Identifier: Apache-2.0
#include "controller/plan/planner.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_join.h"
#include "controller/experiment/defaults.h"
#include "controller/experiment/steps.h"
#include "controller/plan/words.h"
#include "proto/support/fault_rules.h"
#include "proto/support/text.h"
#include "proto/support/time.h"

namespace firedrill::controller {
namespace {

constexpr std::size_t kMostReasons = 5;  // told of hosts that do not qualify

std::string Describe(const v1::Target& target) {
  std::vector<std::string> parts;
  for (const auto& [key, value] :
       std::map<std::string, std::string>(target.labels().begin(), target.labels().end())) {
    parts.push_back(fmt::format("{}={}", key, value));
  }
  if (target.hosts_size() > 0) parts.push_back("host " + absl::StrJoin(target.hosts(), " or "));
  return absl::StrJoin(parts, ", ");
}

bool Selects(const v1::Target& target, const v1::Hello& hello) {
  if (target.hosts_size() > 0 && std::find(target.hosts().begin(), target.hosts().end(),
                                           hello.agent_id()) == target.hosts().end()) {
    return false;
  }
  return std::all_of(target.labels().begin(), target.labels().end(), [&](const auto& label) {
    const auto found = hello.labels().find(label.first);
    return found != hello.labels().end() && found->second == label.second;
  });
}

class Planner {
 public:
  Planner(const v1::Experiment& experiment, const PlanContext& context)
      : experiment_(experiment), context_(context) {}

  PlanResult Make() {
    CheckProbe();
    for (const auto& [name, target] : std::map<std::string, v1::Target>(
             experiment_.targets().begin(), experiment_.targets().end())) {
      chosen_[name] = Choose(name, target);
    }
    AddInjections();
    CheckCaps();
    for (std::string& guard : GuardsInWords(experiment_)) {
      result_.plan.add_guards(std::move(guard));
    }
    if (!FatalProblems(result_.plan).empty()) result_.injections.clear();
    return std::move(result_);
  }

 private:
  void Problem(bool fatal, std::string message) {
    v1::PlanProblem* problem = result_.plan.add_problems();
    problem->set_fatal(fatal);
    problem->set_message(std::move(message));
  }

  void CheckProbe() {
    if (context_.has_probe) return;
    std::vector<std::string> parts;
    if (experiment_.steady_state_size() > 0) parts.emplace_back("steady_state");
    if (experiment_.detection_size() > 0) parts.emplace_back("detection");
    if (experiment_.stop_when_size() > 0) parts.emplace_back("stop_when");
    if (parts.empty()) return;
    Problem(true, fmt::format("{} needs a Prometheus: start the controller with --prometheus URL",
                              absl::StrJoin(parts, " and ")));
  }

  // Why this agent cannot be taken for the target; nothing if it can.
  std::optional<std::string> Unfit(const std::string& target, const v1::Agent& agent) const {
    const v1::Hello& hello = agent.hello();
    const std::string& id = hello.agent_id();
    if (agent.state() == v1::AGENT_STATE_GONE) {
      return fmt::format("{} is gone since {}", id, FormatTime(FromProto(agent.since())));
    }
    if (agent.state() == v1::AGENT_STATE_DRAINING) return id + " is stopping";
    if (hello.environment() != experiment_.environment()) {
      return fmt::format("{} declares environment {}, not {}", id,
                         hello.environment().empty() ? "none" : hello.environment(),
                         experiment_.environment());
    }
    if (const auto busy = context_.busy_hosts.find(id); busy != context_.busy_hosts.end()) {
      return fmt::format("{} is in use by run {}", id, busy->second);
    }
    for (const v1::Step& step : experiment_.method()) {
      if (step.target() != target) continue;
      if (std::optional<std::string> unable = Unable(hello, step.fault())) return unable;
    }
    return std::nullopt;
  }

  static std::optional<std::string> Unable(const v1::Hello& hello, const v1::Fault& fault) {
    const std::string name = FaultName(fault.kind_case());
    const auto support =
        std::find_if(hello.faults().begin(), hello.faults().end(),
                     [&](const v1::FaultSupport& entry) { return entry.fault() == name; });
    if (support == hello.faults().end()) {
      return fmt::format("{} (version {}) does not know {}", hello.agent_id(),
                         hello.software_version(), name);
    }
    if (!support->supported()) {
      return fmt::format("{} cannot do {}: {}", hello.agent_id(), name, support->reason());
    }
    return std::nullopt;
  }

  std::vector<std::string> Choose(const std::string& name, const v1::Target& target) {
    std::vector<std::string> fit;
    std::vector<std::string> reasons;
    std::set<std::string> known;
    for (const v1::Agent& agent : context_.agents) {
      if (!Selects(target, agent.hello())) continue;
      known.insert(agent.hello().agent_id());
      if (std::optional<std::string> unfit = Unfit(name, agent)) {
        reasons.push_back(*std::move(unfit));
      } else {
        fit.push_back(agent.hello().agent_id());
      }
    }
    for (const std::string& host : target.hosts()) {
      const bool seen =
          std::any_of(context_.agents.begin(), context_.agents.end(),
                      [&](const v1::Agent& agent) { return agent.hello().agent_id() == host; });
      if (!seen) reasons.push_back(fmt::format("no agent {} has ever connected", host));
    }
    const v1::Amount pick = Pick(target);
    const std::size_t wanted = Wanted(pick, fit.size());
    const std::string why = Why(reasons);
    if (fit.empty() || wanted > fit.size()) {
      const std::string shortage =
          fit.empty() ? "no connected agent qualifies"
                      : fmt::format("{} wanted, {} qualify", FormatAmount(pick), fit.size());
      Problem(true, fmt::format("target {} ({}): {}{}", name, Describe(target), shortage,
                                why.empty() ? (fit.empty() ? Fleet() : "") : "; " + why));
      return {};
    }
    if (!why.empty()) {
      Problem(pick.all(),
              fmt::format("target {} ({}): not all qualify; {}", name, Describe(target), why));
    }
    if (wanted < fit.size()) {
      Problem(false, fmt::format("target {}: {} of {} hosts, chosen at random at each run", name,
                                 wanted, fit.size()));
    }
    // Fisher–Yates, as far as is needed.
    for (std::size_t i = 0; i < wanted; ++i) {
      std::swap(fit[i], fit[i + context_.random(fit.size() - i)]);
    }
    fit.resize(wanted);
    std::sort(fit.begin(), fit.end());
    return fit;
  }

  static std::size_t Wanted(const v1::Amount& pick, std::size_t found) {
    switch (pick.amount_case()) {
      case v1::Amount::kCount:
        return pick.count();
      case v1::Amount::kPercent:
        return static_cast<std::size_t>(
            std::ceil(static_cast<double>(found) * pick.percent() / 100 - 1e-9));
      case v1::Amount::kAll:
      case v1::Amount::AMOUNT_NOT_SET:
        break;
    }
    return found;
  }

  static std::string Why(const std::vector<std::string>& reasons) {
    std::string why;
    for (std::size_t i = 0; i < reasons.size() && i < kMostReasons; ++i) {
      why += (i > 0 ? "; " : "") + reasons[i];
    }
    if (reasons.size() > kMostReasons) {
      why += fmt::format("; and {} more", reasons.size() - kMostReasons);
    }
    return why;
  }

  // What there is instead, for a target that nothing matches.
  std::string Fleet() const {
    std::vector<std::string> agents;
    for (const v1::Agent& agent : context_.agents) {
      if (agent.state() == v1::AGENT_STATE_GONE) continue;
      std::vector<std::string> labels;
      for (const auto& [key, value] : std::map<std::string, std::string>(
               agent.hello().labels().begin(), agent.hello().labels().end())) {
        labels.push_back(fmt::format("{}={}", key, value));
      }
      agents.push_back(fmt::format("{} ({})", agent.hello().agent_id(),
                                   labels.empty() ? "no labels" : absl::StrJoin(labels, ", ")));
    }
    if (agents.empty()) return "; no agent is connected at all";
    return "; connected: " + Why(agents);
  }

  void AddInjections() {
    const absl::StatusOr<std::vector<StepTiming>> timing = TimeSteps(experiment_);
    if (!timing.ok()) {
      Problem(true, std::string(timing.status().message()));
      return;
    }
    *result_.plan.mutable_length() = ToProto(MethodLength(*timing));
    for (int i = 0; i < experiment_.method_size(); ++i) {
      const v1::Step& step = experiment_.method(i);
      for (const std::string& host : chosen_[step.target()]) {
        v1::PlannedInjection* planned = result_.plan.add_injections();
        planned->set_step(step.name());
        planned->set_host(host);
        planned->set_fault(FaultInWords(step.fault()));
        *planned->mutable_starts_at() = ToProto((*timing)[static_cast<std::size_t>(i)].earliest);
        if (step.has_duration()) *planned->mutable_duration() = step.duration();
        for (std::string& effect : EffectsInWords(step.fault())) {
          planned->add_effects(std::move(effect));
        }
        v1::Injection injection;
        injection.set_step(step.name());
        injection.set_host(host);
        *injection.mutable_fault() = step.fault();
        if (step.has_duration()) *injection.mutable_duration() = step.duration();
        injection.set_state(v1::INJECTION_STATE_PLANNED);
        result_.injections.push_back(std::move(injection));
      }
    }
  }

  // Every step of one host counts as if all lived at once: a cap is no place for cleverness.
  void CheckCaps() {
    std::map<std::string, std::uint32_t> wanted;
    for (const v1::Injection& injection : result_.injections) ++wanted[injection.host()];
    for (const v1::Agent& agent : context_.agents) {
      const v1::Hello& hello = agent.hello();
      const auto found = wanted.find(hello.agent_id());
      if (found == wanted.end() || hello.live_fault_cap() == 0) continue;
      if (found->second + agent.last_heartbeat().live_faults() > hello.live_fault_cap()) {
        Problem(false, fmt::format("{} allows {} live faults; {} are planned and {} live already",
                                   hello.agent_id(), hello.live_fault_cap(), found->second,
                                   agent.last_heartbeat().live_faults()));
      }
    }
  }

  const v1::Experiment& experiment_;
  const PlanContext& context_;
  std::map<std::string, std::vector<std::string>> chosen_;
  PlanResult result_;
};

}  // namespace

PlanResult MakePlan(const v1::Experiment& experiment, const PlanContext& context) {
  return Planner(experiment, context).Make();
}

std::string FatalProblems(const v1::Plan& plan) {
  std::string text;
  for (const v1::PlanProblem& problem : plan.problems()) {
    if (problem.fatal()) text += (text.empty() ? "" : "\n") + problem.message();
  }
  return text;
}

}  // namespace firedrill::controller
