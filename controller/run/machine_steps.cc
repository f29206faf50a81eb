// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <set>

#include "controller/run/machine.h"

// The steps of a run's method: when each begins, and which are under way.
namespace firedrill::controller {

void RunMachine::StartDueSteps() {
  for (int step = 0; step < run_.experiment().method_size(); ++step) {
    const std::optional<SteadyTime> start = StepStart(step);
    if (!start || clock_.Steady() < *start) continue;
    for (v1::Injection& injection : *run_.mutable_injections()) {
      if (injection.step() == run_.experiment().method(step).name() &&
          injection.state() == v1::INJECTION_STATE_PLANNED && hosts_[injection.host()].here) {
        MoveTo(injection, v1::INJECTION_STATE_APPLYING);
        SendApply(injection);
      }
    }
  }
}

bool RunMachine::StepEnded(int step) const {
  const std::string& name = run_.experiment().method(step).name();
  return std::none_of(
      run_.injections().begin(), run_.injections().end(),
      [&](const v1::Injection& injection) { return injection.step() == name && Lives(injection); });
}

std::optional<SteadyTime> RunMachine::StepStart(int step) const {
  const StepTiming& timing = steps_[static_cast<std::size_t>(step)];
  SteadyTime base = MethodStart();
  for (const int before : timing.after) {
    if (!StepEnded(before)) return std::nullopt;
    for (const v1::Injection& injection : run_.injections()) {
      if (injection.step() == run_.experiment().method(before).name()) {
        base = std::max(base, tracks_.at(injection.id()).since);
      }
    }
  }
  return base + timing.delay;
}

std::string RunMachine::StepsInWords() const {
  std::string live;
  std::set<std::string> named;
  for (const v1::Injection& injection : run_.injections()) {
    const bool begun = injection.state() != v1::INJECTION_STATE_PLANNED;
    if (begun && Lives(injection) && named.insert(injection.step()).second) {
      live += (live.empty() ? "" : ", ") + injection.step();
    }
  }
  return live.empty() ? "waits for the next step" : "step " + live;
}

}  // namespace firedrill::controller
