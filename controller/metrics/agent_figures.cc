// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "controller/metrics/figures.h"
#include "controller/metrics/outcomes.h"
#include "proto/support/time.h"

namespace firedrill::controller {
namespace {

void PutHeartbeat(const Page::Labels& host, const v1::Heartbeat& heartbeat, Page& page) {
  if (heartbeat.clock_known()) {
    page.Gauge("firedrill_agent_clock_offset_seconds",
               "The controller's clock minus the agent's; absent if not known.", host,
               Seconds(FromProto(heartbeat.clock_offset())));
    page.Gauge("firedrill_agent_clock_uncertainty_seconds",
               "Plus or minus of the agent's clock offset.", host,
               Seconds(FromProto(heartbeat.clock_uncertainty())));
  }
  page.Gauge("firedrill_agent_live_faults", "Faults that the agent itself says it holds.", host,
             heartbeat.live_faults());
  page.Counter("firedrill_leases_run_out_total",
               "Faults that ended because no renewal came, since the agent's start.", host,
               static_cast<double>(heartbeat.leases_run_out()));
  page.Counter("firedrill_faults_over_cap_total",
               "Faults refused because so many lived already, since the agent's start.", host,
               static_cast<double>(heartbeat.faults_over_cap()));
}

}  // namespace

void PutAgents(const std::vector<v1::Agent>& agents, SystemTime now, Page& page) {
  std::map<v1::AgentState, int> states = {
      {v1::AGENT_STATE_CONNECTED, 0}, {v1::AGENT_STATE_DRAINING, 0}, {v1::AGENT_STATE_GONE, 0}};
  std::map<std::string, int> lacking;
  for (const v1::Agent& agent : agents) {
    ++states[agent.state()];
    const v1::Hello& hello = agent.hello();
    const Page::Labels host{{"host", hello.agent_id()}};
    page.Gauge("firedrill_agent_info", "Always 1; what the agent says of itself.",
               {{"host", hello.agent_id()},
                {"environment", hello.environment()},
                {"kernel", hello.kernel_release()},
                {"version", hello.software_version()}},
               1);
    page.Gauge("firedrill_agent_connected", "1: its stream is open; 0: it is gone.", host,
               agent.state() == v1::AGENT_STATE_GONE ? 0 : 1);
    if (agent.has_last_seen_at()) {
      page.Gauge("firedrill_agent_heartbeat_age_seconds", "Since the agent was heard of last.",
                 host, Seconds(std::max(Nanoseconds(0), now - FromProto(agent.last_seen_at()))));
    }
    int lacks = 0;
    for (const v1::Ability& ability : hello.abilities()) {
      int& hosts = lacking[ability.name()];
      if (ability.available()) continue;
      ++hosts;
      ++lacks;
    }
    page.Gauge("firedrill_agent_missing_abilities", "Abilities that the agent's host lacks.", host,
               lacks);
    if (agent.has_last_heartbeat()) PutHeartbeat(host, agent.last_heartbeat(), page);
  }
  for (const auto& [state, count] : states) {
    page.Gauge("firedrill_agents", "Agents by state.",
               {{"state", LabelOf(v1::AgentState_Name(state), "AGENT_STATE_")}}, count);
  }
  for (const auto& [ability, hosts] : lacking) {
    page.Gauge("firedrill_hosts_lacking_ability", "Hosts that lack this ability.",
               {{"ability", ability}}, hosts);
  }
}

}  // namespace firedrill::controller
