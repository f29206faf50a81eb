// SPDX-License-Identifier: Apache-2.0
// Every kind of fault, what can be said of it, and where it works now.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "controller/cli/commands/fault_fields.h"
#include "controller/cli/commands/runners.h"
#include "controller/cli/view/text_width.h"
#include "controller/experiment/codecs.h"
#include "firedrill/v1/fault.pb.h"
#include "proto/support/fault_rules.h"
#include "proto/support/field_rules.h"

namespace firedrill::cli {
namespace {

using google::protobuf::FieldDescriptor;

constexpr int kWidth = 100;

// On how many of the connected agents a kind works.
struct Fleet {
  int agents = 0;
  std::map<std::string, int> works;
};

std::optional<Fleet> AskFleet(Invocation& invocation) {
  const absl::StatusOr<Client*> client = invocation.Controller();
  if (!client.ok()) return std::nullopt;
  const auto response = (*client)->ListAgents();
  if (!response.ok()) return std::nullopt;
  Fleet fleet;
  for (const v1::Agent& agent : response->agents()) {
    if (agent.state() == v1::AGENT_STATE_GONE) continue;
    ++fleet.agents;
    for (const v1::FaultSupport& fault : agent.hello().faults()) {
      if (fault.supported()) ++fleet.works[fault.fault()];
    }
  }
  return fleet;
}

// "percent %", "counting [fast]", "traffic… [all]" for what has fields of its own.
std::string ParameterText(const FieldDescriptor& field) {
  const v1::FieldRules& rules = RulesOf(field);
  std::string text = field.name() + (controller::IsScalar(field) ? "" : "…");
  if (!rules.unit().empty()) text += " " + rules.unit();
  if (rules.required()) {
    text += "!";
  } else if (!rules.default_text().empty()) {
    text += fmt::format(" [{}]", rules.default_text());
  }
  return text;
}

std::string FaultText(const FieldDescriptor& kind, const std::optional<Fleet>& fleet,
                      const Style& style) {
  const v1::FaultRules& rules = FaultRulesOf(static_cast<v1::Fault::KindCase>(kind.number()));
  constexpr const char* kIndent = "    ";
  const int room = kWidth - 4;
  std::string text = fmt::format(
      "{}{}{}\n", style(Colour::kBold, kind.name()),
      std::string(static_cast<std::size_t>(std::max(2, 18 - static_cast<int>(kind.name().size()))),
                  ' '),
      Wrap(rules.summary(), room - 18, kIndent));
  std::string facts = rules.reversible() ? "undone by Firedrill" : "undone by nobody";
  facts += rules.needs_duration() ? "; lives for its duration" : "; over at once";
  facts += "; needs " + KindNeedsText(kind);
  const std::vector<std::string> more = NeedsOfParameters(kind);
  if (!more.empty()) facts += "; some parameters also: " + absl::StrJoin(more, ", ");
  if (fleet.has_value()) {
    const auto found = fleet->works.find(kind.name());
    facts +=
        fmt::format("; works on {} of {} agent{}", found == fleet->works.end() ? 0 : found->second,
                    fleet->agents, fleet->agents == 1 ? "" : "s");
  }
  text += kIndent + style(Colour::kDim, Wrap(facts, room, kIndent)) + "\n";
  std::vector<std::string> parameters;
  for (int i = 0; i < kind.message_type()->field_count(); ++i) {
    parameters.push_back(ParameterText(*kind.message_type()->field(i)));
  }
  if (parameters.empty()) return text;
  return text + kIndent + Wrap(absl::StrJoin(parameters, ", "), room, kIndent) + "\n";
}

}  // namespace

ExitCode RunGetFaults(Invocation& invocation) {
  const std::optional<Fleet> fleet = AskFleet(invocation);
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  std::string text;
  for (int i = 0; i < v1::Fault::descriptor()->field_count(); ++i) {
    const FieldDescriptor& kind = *v1::Fault::descriptor()->field(i);
    text += FaultText(kind, fleet, invocation.style);
    nlohmann::ordered_json json = FaultJson(kind);
    if (fleet.has_value()) {
      const auto found = fleet->works.find(kind.name());
      json["works_on_agents"] = found == fleet->works.end() ? 0 : found->second;
      json["agents"] = fleet->agents;
    }
    all.push_back(std::move(json));
  }
  if (invocation.settings.format != Format::kTable) {
    invocation.context.out << SerializeJson(all.dump(), invocation.settings.format);
    return ExitCode::kPassed;
  }
  invocation.context.out << text << "\n! needed   [value] if left out   … has fields of its own\n"
                         << (fleet.has_value() ? "" : "No controller was asked where they work.\n")
                         << "firedrill describe fault KIND explains every parameter.\n";
  return ExitCode::kPassed;
}

}  // namespace firedrill::cli
