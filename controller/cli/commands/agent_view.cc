// SPDX-License-Identifier: Apache-2.0
#include "controller/cli/commands/agent_view.h"

#include <fmt/format.h>

#include <map>

#include "absl/strings/str_join.h"
#include "controller/cli/view/table.h"
#include "controller/cli/view/text_width.h"
#include "controller/cli/view/words.h"
#include "proto/support/time.h"

namespace firedrill::cli {
namespace {

std::string LabelText(const v1::Hello& hello) {
  const std::map<std::string, std::string> labels(hello.labels().begin(), hello.labels().end());
  std::string text;
  for (const auto& [key, value] : labels) {
    text += fmt::format("{}{}={}", text.empty() ? "" : " ", Clean(key), Clean(value));
  }
  return text;
}

std::string ClockText(const v1::Agent& agent) {
  if (!agent.last_heartbeat().clock_known()) return "unknown";
  return "± " + FormatDuration(FromProto(agent.last_heartbeat().clock_uncertainty()));
}

std::string Ago(const google::protobuf::Timestamp& time, SystemTime now) {
  const Nanoseconds age = now - FromProto(time);
  return age < std::chrono::seconds(1) ? "now" : FormatDuration(age) + " ago";
}

std::string StateText(const v1::Agent& agent, const Style& style) {
  const Colour colour = agent.state() == v1::AGENT_STATE_CONNECTED  ? Colour::kGood
                        : agent.state() == v1::AGENT_STATE_DRAINING ? Colour::kWarning
                                                                    : Colour::kBad;
  return style(colour, Word(agent.state()));
}

std::string YesNo(bool yes, const Style& style) {
  return yes ? style(Colour::kGood, "yes") : style(Colour::kBad, "no");
}

}  // namespace

std::string AgentTable(const v1::ListAgentsResponse& agents, SystemTime now, const Style& style,
                       int width) {
  Table table(
      {"AGENT", "STATE", "ENVIRONMENT", "FAULTS", "CLOCK", "LAST SEEN", "VERSION", "LABELS"});
  for (const v1::Agent& agent : agents.agents()) {
    table.Add({Clean(agent.hello().agent_id()), StateText(agent, style),
               Clean(agent.hello().environment()),
               fmt::format("{} of {}", agent.last_heartbeat().live_faults(),
                           agent.hello().live_fault_cap()),
               ClockText(agent), Ago(agent.last_seen_at(), now),
               Clean(agent.hello().software_version()), LabelText(agent.hello())});
  }
  return table.Render(style, width);
}

std::string AbilityTables(const v1::Hello& hello, const Style& style) {
  Table faults({"FAULT", "POSSIBLE", "WHY NOT, AND WHAT TO DO"});
  for (const v1::FaultSupport& fault : hello.faults()) {
    faults.Add({Clean(fault.fault()), YesNo(fault.supported(), style), OneLine(fault.reason())});
  }
  Table abilities({"ABILITY", "THERE", "HOW IT WAS FOUND, OR WHAT TO DO"});
  for (const v1::Ability& ability : hello.abilities()) {
    abilities.Add(
        {Clean(ability.name()), YesNo(ability.available(), style), OneLine(ability.reason())});
  }
  std::string text;
  if (!faults.empty()) text += faults.Render(style) + "\n";
  if (!abilities.empty()) text += abilities.Render(style);
  return text;
}

std::string DescribeAgent(const v1::Agent& agent, SystemTime now, const Style& style) {
  const v1::Hello& hello = agent.hello();
  std::string text = fmt::format("{}  {} since {}\n", style(Colour::kBold, Clean(hello.agent_id())),
                                 StateText(agent, style), DateText(agent.since()));
  const auto line = [&text](const char* name, const std::string& value) {
    if (!value.empty()) text += fmt::format("{:<13}{}\n", name, value);
  };
  line("environment", Clean(hello.environment()));
  line("labels", LabelText(hello));
  line("addresses", Clean(absl::StrJoin(hello.addresses(), " ")));
  line("certificate", Clean(agent.certificate_name()));
  line("version", Clean(hello.software_version()));
  line("kernel", Clean(hello.kernel_release()));
  line("last seen", Ago(agent.last_seen_at(), now));
  line("clock", ClockText(agent));
  line("faults", fmt::format("{} live, {} at most, {} refused over that",
                             agent.last_heartbeat().live_faults(), hello.live_fault_cap(),
                             agent.last_heartbeat().faults_over_cap()));
  line("leases",
       fmt::format("{} ran out since it started", agent.last_heartbeat().leases_run_out()));
  return text + "\n" + AbilityTables(hello, style);
}

}  // namespace firedrill::cli
