// SPDX-License-Identifier: Apache-2.0
#include "agent/faults/stopped_units.h"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <set>
#include <system_error>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_split.h"
#include "agent/host/host.h"
#include "proto/support/status_macros.h"

namespace firedrill::agent {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

constexpr const char* kFolder = "/run/firedrill";
constexpr std::size_t kMostTogether = 32;
constexpr Nanoseconds kAskAgain = milliseconds(50);

std::string MarkerOf(const std::string& injection_id) {
  std::uint64_t hash = 14695981039346656037ull;  // FNV-1a: ids may hold anything
  for (const char c : injection_id)
    hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ull;
  return fmt::format("{}/service_stop.{:016x}", kFolder, hash);
}

std::string Trim(const std::string& text) { return std::string(absl::StripAsciiWhitespace(text)); }

}  // namespace

StoppedUnits::StoppedUnits(std::string unit, Invocations invocations,
                           const std::string& injection_id)
    : unit_(std::move(unit)),
      invocations_(std::move(invocations)),
      marker_(MarkerOf(injection_id)) {}

absl::StatusOr<StoppedUnits> StoppedUnits::FromValues(
    const std::map<std::string, std::string>& values) {
  const auto unit = values.find("unit"), marker = values.find("marker");
  if (unit == values.end() || marker == values.end()) {
    return absl::DataLossError("a record of stopped units lacks the unit");
  }
  Invocations invocations;
  for (const auto& [name, value] : values) {
    constexpr std::size_t kPrefix = sizeof("invocation of ") - 1;
    if (name.rfind("invocation of ", 0) == 0) invocations[name.substr(kPrefix)] = value;
  }
  StoppedUnits units(unit->second, std::move(invocations), "");
  units.marker_ = marker->second;
  return units;
}

std::map<std::string, std::string> StoppedUnits::Values() const {
  std::map<std::string, std::string> values = {{"unit", unit_}, {"marker", marker_}};
  for (const auto& [unit, invocation] : invocations_) {
    values["invocation of " + unit] = invocation;
  }
  return values;
}

absl::Status StoppedUnits::Mark() const {
  std::error_code error;
  fs::create_directories(kFolder, error);
  std::ofstream file(marker_, std::ios::trunc);
  file << unit_ << "\n";
  file.close();
  if (file) return absl::OkStatus();
  return absl::FailedPreconditionError(fmt::format("write {}: is /run writable?", marker_));
}

absl::Status StoppedUnits::Unmark() const {
  std::error_code error;
  fs::remove(marker_, error);
  if (!error) return absl::OkStatus();
  return absl::InternalError(fmt::format("remove {}: {}", marker_, error.message()));
}

std::string StoppedUnits::MarkedUnit(const std::string& injection_id) {
  const auto text = Host::Read(MarkerOf(injection_id), 4096);
  return text.ok() ? Trim(*text) : "";
}

absl::Status StoppedUnits::Stop(Nanoseconds within) const {
  ASSIGN_OR_RETURN(const SystemctlResult result,
                   RunSystemctl({"--no-block", "stop", "--", unit_}, within));
  if (result.exit_code == 0) return absl::OkStatus();
  return absl::FailedPreconditionError(fmt::format("stop {}: {}", unit_, Trim(result.output)));
}

absl::Status StoppedUnits::StartAgain(Nanoseconds within) const {
  const SteadyTime deadline = Clock::Real().Steady() + within;
  std::vector<std::string> names;
  for (const auto& [name, invocation] : invocations_) names.push_back(name);
  if (names.empty()) return absl::OkStatus();
  const auto states = ShowUnits(names, within * 2 / 3);
  std::vector<std::string> to_start;
  absl::Status problem = absl::OkStatus();
  // Where systemd is too slow to say how things stand, starting what may run already does no harm.
  if (!states.ok()) to_start = names;
  for (const UnitState& state : states.ok() ? *states : std::vector<UnitState>()) {
    if (state.is_active() || state.active == "activating") continue;
    const auto stopped = invocations_.find(state.id);
    // One that has failed since may have done so when we started it.
    const bool since = state.active == "inactive" && stopped != invocations_.end() &&
                       !state.invocation.empty() && state.invocation != stopped->second;
    if (since) continue;  // somebody has started it, and it has ended again
    if (state.load != "loaded") {
      problem.Update(absl::FailedPreconditionError(fmt::format(
          "{} was stopped and cannot be started again: it is {} by now", state.id, state.load)));
      continue;
    }
    to_start.push_back(state.id);
  }
  // Nothing is left to be proven about what somebody else has seen to.
  if (to_start.empty()) return problem.ok() ? Unmark() : problem;
  std::vector<std::string> start = {"--no-block", "start", "--"};
  start.insert(start.end(), to_start.begin(), to_start.end());
  problem.Update(LaunchSystemctl(start));
  while (problem.ok()) {
    const Nanoseconds left = deadline - Clock::Real().Steady();
    if (left <= Nanoseconds(0)) break;
    const auto now = ShowUnits(to_start, left);
    if (!now.ok()) break;  // in time it says nothing worse than that it is slow
    bool starting = false;
    for (const UnitState& state : *now) {
      starting |= !state.is_active();
      if (state.active != "failed") continue;
      problem.Update(
          absl::AbortedError(fmt::format("{} does not come up again ({}): systemctl status {}",
                                         state.id, state.result, state.id)));
    }
    if (!starting) break;
    const timespec pause{0, kAskAgain.count()};
    ppoll(nullptr, 0, &pause, nullptr);
  }
  return problem;
}

absl::StatusOr<std::vector<UnitState>> StopsTogether(const UnitState& unit, SteadyTime deadline) {
  std::vector<UnitState> together = {unit};
  std::set<std::string> known = {unit.id};
  std::vector<std::string> next = unit.stops_with;
  while (!next.empty()) {
    std::vector<std::string> ask;
    for (const std::string& name : next) {
      if (known.insert(name).second) ask.push_back(name);
    }
    next.clear();
    if (ask.empty()) break;
    if (known.size() > kMostTogether) {
      return absl::FailedPreconditionError(
          fmt::format("more than {} units would be stopped along with {}: systemctl "
                      "list-dependencies --reverse {}",
                      kMostTogether, unit.id, unit.id));
    }
    ASSIGN_OR_RETURN(const std::vector<UnitState> states,
                     ShowUnits(ask, deadline - Clock::Real().Steady()));
    for (const UnitState& state : states) {
      if (!state.is_active() && state.active != "activating") continue;
      together.push_back(state);
      next.insert(next.end(), state.stops_with.begin(), state.stops_with.end());
    }
  }
  return together;
}

}  // namespace firedrill::agent
