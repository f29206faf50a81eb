// SPDX-License-Identifier: Apache-2.0
#include "controller/plan/planner.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_join.h"
#include "controller/experiment/defaults.h"
#include "controller/experiment/steps.h"
#include "controller/plan/hosts.h"
#include "controller/plan/overlaps.h"
#include "controller/plan/partitions.h"
#include "controller/plan/words.h"
#include "proto/support/fault_rules.h"
#include "proto/support/text.h"
#include "proto/support/time.h"

namespace firedrill::controller {
namespace {

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
    return Lacking(hello, fault);
  }

  // What the parameters need beyond the kind, which the agent has answered for already.
  static std::optional<std::string> Lacking(const v1::Hello& hello, const v1::Fault& fault) {
    const auto& of_kind = FaultRulesOf(fault.kind_case()).needs();
    for (const std::string& need : NeedsOf(fault)) {
      if (std::find(of_kind.begin(), of_kind.end(), need) != of_kind.end()) continue;
      const auto ability = std::find_if(hello.abilities().begin(), hello.abilities().end(),
                                        [&](const v1::Ability& a) { return a.name() == need; });
      if (ability == hello.abilities().end()) {
        return fmt::format("{} (version {}) does not know {}, which this {} needs",
                           hello.agent_id(), hello.software_version(), need,
                           FaultName(fault.kind_case()));
      }
      if (!ability->available()) {
        return fmt::format("{} lacks {}, which this {} needs: {}", hello.agent_id(), need,
                           FaultName(fault.kind_case()), ability->reason());
      }
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
    const std::string why = FirstOf(reasons);
    if (fit.empty() || wanted > fit.size()) {
      const std::string shortage =
          fit.empty() ? "no connected agent qualifies"
                      : fmt::format("{} wanted, {} qualify", FormatAmount(pick), fit.size());
      Problem(true,
              fmt::format("target {} ({}): {}{}", name, TargetInWords(target), shortage,
                          why.empty() ? (fit.empty() ? "; " + FleetInWords(context_.agents) : "")
                                      : "; " + why));
      return {};
    }
    if (!why.empty()) {
      Problem(pick.all(),
              fmt::format("target {} ({}): not all qualify; {}", name, TargetInWords(target), why));
    }
    if (wanted < fit.size()) {
      Problem(false, fmt::format("target {}: {} of {} hosts, chosen at random at each run", name,
                                 wanted, fit.size()));
    }
    return Sample(std::move(fit), wanted, context_.random);
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
        AddInjection(step, (*timing)[static_cast<std::size_t>(i)], host);
      }
    }
    AddOverlaps(*timing);
  }

  void AddInjection(const v1::Step& step, const StepTiming& timing, const std::string& host) {
    v1::Injection injection;
    injection.set_step(step.name());
    injection.set_host(host);
    *injection.mutable_fault() = step.fault();
    if (step.has_duration()) *injection.mutable_duration() = step.duration();
    injection.set_state(v1::INJECTION_STATE_PLANNED);
    std::vector<std::string> effects;
    if (step.fault().has_partition() && !step.fault().partition().from().empty()) {
      const std::string& from = step.fault().partition().from();
      if (chosen_[from].empty()) return;  // told already
      absl::StatusOr<CompiledPartition> compiled =
          CompilePartition(step.fault().partition(), host, chosen_[from], context_.agents);
      if (!compiled.ok()) {
        return Problem(true, fmt::format("step {}: {}", step.name(),
                                         std::string(compiled.status().message())));
      }
      *injection.mutable_fault()->mutable_partition() = std::move(compiled->partition);
      effects.push_back(fmt::format("nothing passes between {} and {}", host,
                                    absl::StrJoin(compiled->others, ", ")));
    }
    v1::PlannedInjection* planned = result_.plan.add_injections();
    planned->set_step(step.name());
    planned->set_host(host);
    planned->set_fault(FaultInWords(injection.fault()));
    *planned->mutable_starts_at() = ToProto(timing.earliest);
    if (step.has_duration()) *planned->mutable_duration() = step.duration();
    for (std::string& effect : EffectsInWords(injection.fault())) {
      effects.push_back(std::move(effect));
    }
    for (std::string& effect : effects) planned->add_effects(std::move(effect));
    result_.injections.push_back(std::move(injection));
  }

  // What several steps do together to one host's packets is told with the later of them.
  void AddOverlaps(const std::vector<StepTiming>& timing) {
    std::map<std::string, std::vector<PlannedStep>> by_host;
    for (v1::PlannedInjection& planned : *result_.plan.mutable_injections()) {
      for (int i = 0; i < experiment_.method_size(); ++i) {
        const v1::Step& step = experiment_.method(i);
        if (step.name() != planned.step()) continue;
        const StepTiming& time = timing[static_cast<std::size_t>(i)];
        PlannedStep here{step.name(), time.earliest, time.earliest + time.duration, &step.fault()};
        for (std::string& words : OverlapsInWords(here, by_host[planned.host()])) {
          planned.add_effects(std::move(words));
        }
        by_host[planned.host()].push_back(std::move(here));
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
