// SPDX-License-Identifier: Apache-2.0
#include "controller/plan/hosts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "absl/strings/str_join.h"

namespace firedrill::controller {
namespace {

constexpr std::size_t kMostReasons = 5;

template <typename Labels>
std::string LabelsInWords(const Labels& labels) {
  std::vector<std::string> parts;
  for (const auto& [key, value] :
       std::map<std::string, std::string>(labels.begin(), labels.end())) {
    parts.push_back(fmt::format("{}={}", key, value));
  }
  return absl::StrJoin(parts, ", ");
}

}  // namespace

std::string TargetInWords(const v1::Target& target) {
  std::string text = LabelsInWords(target.labels());
  if (target.hosts_size() > 0) {
    text += (text.empty() ? "host " : ", host ") + absl::StrJoin(target.hosts(), " or ");
  }
  return text;
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

std::size_t Wanted(const v1::Amount& pick, std::size_t found) {
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

std::vector<std::string> Sample(std::vector<std::string> hosts, std::size_t wanted,
                                const Random& random) {
  wanted = std::min(wanted, hosts.size());
  // Fisher–Yates, as far as is needed.
  for (std::size_t i = 0; i < wanted; ++i) {
    std::swap(hosts[i], hosts[i + random(hosts.size() - i)]);
  }
  hosts.resize(wanted);
  std::sort(hosts.begin(), hosts.end());
  return hosts;
}

std::string FirstOf(const std::vector<std::string>& reasons) {
  std::string text;
  for (std::size_t i = 0; i < reasons.size() && i < kMostReasons; ++i) {
    text += (i > 0 ? "; " : "") + reasons[i];
  }
  if (reasons.size() > kMostReasons) {
    text += fmt::format("; and {} more", reasons.size() - kMostReasons);
  }
  return text;
}

std::string FleetInWords(const std::vector<v1::Agent>& agents) {
  std::vector<std::string> connected;
  for (const v1::Agent& agent : agents) {
    if (agent.state() == v1::AGENT_STATE_GONE) continue;
    const std::string labels = LabelsInWords(agent.hello().labels());
    connected.push_back(
        fmt::format("{} ({})", agent.hello().agent_id(), labels.empty() ? "no labels" : labels));
  }
  return connected.empty() ? "no agent is connected at all" : "connected: " + FirstOf(connected);
}

}  // namespace firedrill::controller
