// SPDX-License-Identifier: Apache-2.0
#include "controller/experiment/steps.h"

#include <algorithm>
#include <cstddef>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "proto/support/problem.h"
#include "proto/support/time.h"

namespace firedrill::controller {
namespace {

enum class Visit { kNot, kOpen, kDone };

// Depth first; a step that is met while it is open lies on a cycle. At most 64 steps deep.
class Sorter {
 public:
  Sorter(const v1::Experiment& experiment, std::vector<StepTiming>* steps)
      : experiment_(experiment), steps_(*steps), visits_(steps->size(), Visit::kNot) {}

  absl::Status Sort() {
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      if (absl::Status sorted = Enter(static_cast<int>(i)); !sorted.ok()) return sorted;
    }
    return absl::OkStatus();
  }

 private:
  absl::Status Enter(int i) {
    Visit& visit = visits_[static_cast<std::size_t>(i)];
    if (visit == Visit::kDone) return absl::OkStatus();
    if (visit == Visit::kOpen) return Cycle(i);
    visit = Visit::kOpen;
    path_.push_back(i);
    StepTiming& step = steps_[static_cast<std::size_t>(i)];
    step.earliest = Nanoseconds(0);
    for (const int before : step.after) {
      if (absl::Status entered = Enter(before); !entered.ok()) return entered;
      const StepTiming& other = steps_[static_cast<std::size_t>(before)];
      step.earliest = std::max(step.earliest, other.earliest + other.duration);
    }
    step.earliest += step.delay;
    path_.pop_back();
    visits_[static_cast<std::size_t>(i)] = Visit::kDone;
    return absl::OkStatus();
  }

  absl::Status Cycle(int i) const {
    std::string text;
    const auto first = std::find(path_.begin(), path_.end(), i);
    for (auto at = first; at != path_.end(); ++at) {
      const v1::Step& step = experiment_.method(*at);
      const int next = at + 1 == path_.end() ? i : *(at + 1);
      // A step without `after` waits for its predecessor: say so, since no word in the file does.
      text += (text.empty() ? "" : ", ") + Quoted(step.name()) + " waits for " +
              Quoted(experiment_.method(next).name()) +
              (step.after().empty() ? " (the step before it)" : "");
    }
    return absl::InvalidArgumentError(text);
  }

  const v1::Experiment& experiment_;
  std::vector<StepTiming>& steps_;
  std::vector<Visit> visits_;
  std::vector<int> path_;
};

}  // namespace

absl::StatusOr<std::vector<StepTiming>> TimeSteps(const v1::Experiment& experiment) {
  std::map<std::string, int> index;
  for (int i = 0; i < experiment.method_size(); ++i) {
    if (!index.emplace(experiment.method(i).name(), i).second) {
      return absl::InvalidArgumentError("two steps are named " + experiment.method(i).name());
    }
  }
  std::vector<StepTiming> steps(index.size());
  for (int i = 0; i < experiment.method_size(); ++i) {
    const v1::Step& step = experiment.method(i);
    StepTiming& timing = steps[static_cast<std::size_t>(i)];
    timing.delay = FromProto(step.at());
    timing.duration = FromProto(step.duration());
    for (const std::string& name : step.after()) {
      const auto found = index.find(name);
      if (found == index.end()) return absl::InvalidArgumentError("there is no step named " + name);
      timing.after.push_back(found->second);
    }
    if (step.after().empty() && !step.has_at() && i > 0) timing.after.push_back(i - 1);
  }
  if (absl::Status sorted = Sorter(experiment, &steps).Sort(); !sorted.ok()) return sorted;
  return steps;
}

Nanoseconds MethodLength(const std::vector<StepTiming>& steps) {
  Nanoseconds length{0};
  for (const StepTiming& step : steps) length = std::max(length, step.earliest + step.duration);
  return length;
}

}  // namespace firedrill::controller
