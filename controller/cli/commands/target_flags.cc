// SPDX-License-Identifier: Apache-2.0
#include "controller/cli/commands/target_flags.h"

#include <fmt/format.h>

#include <algorithm>

#include "proto/support/problem.h"
#include "proto/support/status_macros.h"
#include "proto/support/text.h"

namespace firedrill::cli {
namespace {

absl::Status Refuse(const std::string& text) { return absl::InvalidArgumentError(text); }

}  // namespace

std::vector<Option> TargetOptions() {
  return {{"target", "LABEL=VALUE", "hosts whose agent carries the label; repeated: all of them",
           't', true},
          {"host", "NAME", "an agent by its id; repeated: any of them", 0, true},
          {"target-pick", "AMOUNT",
           "how many of these hosts, chosen at random: 2, 50% or all (default 1)"}};
}

absl::Status SetLabel(const std::string& option, const std::string& given,
                      const std::string& example, v1::Target* target) {
  const std::size_t equals = given.find('=');
  if (equals == 0 || equals == std::string::npos) {
    return Refuse(fmt::format("{}: found {}; allowed: a label and its value, such as {}", option,
                              Quoted(given), example));
  }
  (*target->mutable_labels())[given.substr(0, equals)] = given.substr(equals + 1);
  return absl::OkStatus();
}

absl::Status SetTarget(const Arguments& arguments, v1::Target* target) {
  for (const std::string& given : arguments.All("target")) {
    RETURN_IF_ERROR(SetLabel("--target", given, "role=cache", target));
  }
  for (const std::string& host : arguments.All("host")) target->add_hosts(host);
  if (arguments.Has("target-pick")) {
    const std::string text = arguments.Get("target-pick");
    const absl::StatusOr<v1::Amount> pick = ParseAmount(text);
    if (!pick.ok()) {
      return Refuse(fmt::format("--target-pick: found {}; {}", Quoted(text),
                                std::string(pick.status().message())));
    }
    *target->mutable_pick() = *pick;
  }
  return absl::OkStatus();
}

bool Matches(const v1::Target& target, const v1::Agent& agent) {
  for (const auto& [label, value] : target.labels()) {
    const auto found = agent.hello().labels().find(label);
    if (found == agent.hello().labels().end() || found->second != value) return false;
  }
  const auto& hosts = target.hosts();
  return hosts.empty() ||
         std::find(hosts.begin(), hosts.end(), agent.hello().agent_id()) != hosts.end();
}

}  // namespace firedrill::cli
