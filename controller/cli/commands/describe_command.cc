// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "controller/cli/commands/agent_view.h"
#include "controller/cli/commands/fault_fields.h"
#include "controller/cli/commands/inject_flags.h"
#include "controller/cli/commands/runners.h"
#include "controller/cli/view/run_view.h"
#include "controller/cli/view/text_width.h"
#include "controller/experiment/writer.h"
#include "google/protobuf/descriptor.h"
#include "proto/support/fault_rules.h"
#include "proto/support/field_rules.h"
#include "proto/support/problem.h"

namespace firedrill::cli {
namespace {

using google::protobuf::FieldDescriptor;

// Two lines a field: nothing is cut, however narrow the terminal.
std::string FieldList(const std::vector<FieldLine>& lines, const Style& style, int width) {
  constexpr int kWidth = 100;
  const int room = width > 0 ? std::min(width, kWidth) : kWidth;
  std::string text;
  for (const FieldLine& line : lines) {
    std::string facts = line.kind;
    if (!line.limits.empty()) facts += ", " + line.limits;
    if (line.otherwise == "needed") {
      facts += ", " + style(Colour::kWarning, "needed");
    } else if (!line.otherwise.empty()) {
      facts += "; left out: " + line.otherwise;
    }
    text +=
        fmt::format("{}  {}\n    {}\n", style(Colour::kBold, line.path), facts,
                    style(Colour::kDim, Wrap(line.help + NeedsText(line.needs), room - 4, "    ")));
    for (const ValueLine& value : line.values) {
      if (value.help.empty() && value.needs.empty()) continue;
      const std::string needs = NeedsText(value.needs);
      const std::string about = fmt::format(
          "{}: {}", value.text, value.help.empty() ? needs.substr(2) : value.help + needs);
      text += fmt::format("      {}\n", style(Colour::kDim, Wrap(about, room - 6, "        ")));
    }
  }
  return text;
}

ExitCode DescribeFault(Invocation& invocation, const std::string& name) {
  const FieldDescriptor* kind = FindFault(name);
  if (kind == nullptr) {
    return invocation.FailUsage(
        fmt::format("unknown kind of fault {}; {}", Quoted(name), SuggestFrom(name, FaultNames())));
  }
  const v1::FaultRules& rules = FaultRulesOf(static_cast<v1::Fault::KindCase>(kind->number()));
  const std::vector<FieldLine> lines = FieldLines(*kind->message_type());
  std::ostream& out = invocation.context.out;
  if (invocation.settings.format != Format::kTable) {
    out << SerializeJson(FaultJson(*kind).dump(), invocation.settings.format);
    return ExitCode::kPassed;
  }
  out << fmt::format("{}  {}\n\n", invocation.style(Colour::kBold, kind->name()), rules.summary());
  out << "undone:    "
      << (rules.reversible()
              ? "by Firedrill: at its end, and when any of its programs dies;\n           what the "
                "kernel "
                "does not undo, by the next agent"
              : "never: what is gone is gone; the step ends, and the host's owner must "
                "allow it by name")
      << "\nlives:     "
      << (rules.needs_duration() ? "until the end of its step, which needs a duration"
          : kind->message_type()->FindFieldByName("repeat_every") != nullptr
              ? "at once; a duration only where it repeats"
              : "at once; no duration")
      << "\nneeds:     " << KindNeedsText(*kind)
      << (rules.needs().empty() ? "" : " (firedrill doctor)") << "\n\n";
  out << FieldList(lines, invocation.style, invocation.width);
  std::string flags;
  for (const FaultFlag& flag : FaultFlags(*kind)) flags += " --" + flag.option.name;
  out << fmt::format(
      "\ninject:    firedrill inject {}\n           {}\n", kind->name(),
      flags.empty() ? "(no parameters of its own)" : Wrap(flags.substr(1), 88, "           "));
  return ExitCode::kPassed;
}

ExitCode DescribeSchema(Invocation& invocation) {
  const std::vector<FieldLine> lines = FieldLines(*v1::Experiment::descriptor());
  if (invocation.settings.format != Format::kTable) {
    invocation.context.out << SerializeJson(FieldsJson(lines).dump(), invocation.settings.format);
  } else {
    invocation.context.out << FieldList(lines, invocation.style, invocation.width);
  }
  return ExitCode::kPassed;
}

ExitCode DescribeExperiment(Invocation& invocation, Client* client, const std::string& name) {
  const auto response = client->ListExperiments();
  if (!response.ok()) return invocation.Fail(response.status());
  std::vector<std::string> names;
  for (const v1::AppliedExperiment& applied : response->experiments()) {
    if (applied.experiment().name() == name) {
      if (!invocation.PrintForPrograms(applied)) {
        invocation.context.out << controller::WriteExperiment(applied.experiment());
      }
      return ExitCode::kPassed;
    }
    names.push_back(applied.experiment().name());
  }
  return invocation.Fail(
      absl::NotFoundError(fmt::format("no experiment {} is applied{}", Quoted(name),
                                      names.empty() ? "" : "; " + SuggestFrom(name, names))));
}

ExitCode DescribeOneAgent(Invocation& invocation, Client* client, const std::string& id) {
  const auto response = client->ListAgents();
  if (!response.ok()) return invocation.Fail(response.status());
  std::vector<std::string> ids;
  for (const v1::Agent& agent : response->agents()) {
    if (agent.hello().agent_id() == id) {
      if (!invocation.PrintForPrograms(agent)) {
        invocation.context.out << DescribeAgent(agent, invocation.context.clock.System(),
                                                invocation.style);
      }
      return ExitCode::kPassed;
    }
    ids.push_back(agent.hello().agent_id());
  }
  return invocation.Fail(absl::NotFoundError(fmt::format(
      "no agent {} is known{}", Quoted(id), ids.empty() ? "" : "; " + SuggestFrom(id, ids))));
}

}  // namespace

ExitCode ShowRun(Invocation& invocation, Client& client, const std::string& id) {
  const absl::StatusOr<v1::Run> run = client.GetRun(id);
  if (!run.ok()) return invocation.Fail(run.status());
  if (!invocation.PrintForPrograms(*run)) {
    invocation.context.out << DescribeRun(*run, invocation.style, invocation.width);
  }
  return ExitCode::kPassed;
}

ExitCode RunDescribe(Invocation& invocation) {
  const std::vector<std::string>& words = invocation.arguments.words;
  const std::vector<std::string> kinds = {"fault", "run", "agent", "experiment"};
  if (std::find(kinds.begin(), kinds.end(), words[0]) == kinds.end()) {
    return invocation.FailUsage(
        fmt::format("cannot describe {}; {}", Quoted(words[0]), SuggestFrom(words[0], kinds)));
  }
  if (words.size() < 2 && words[0] != "experiment") {
    return invocation.FailUsage(fmt::format("describe {} needs a name", words[0]));
  }
  if (words[0] == "fault") return DescribeFault(invocation, words[1]);
  if (words.size() < 2) return DescribeSchema(invocation);
  const absl::StatusOr<Client*> client = invocation.Controller();
  if (!client.ok()) return invocation.Fail(client.status());
  if (words[0] == "experiment") return DescribeExperiment(invocation, *client, words[1]);
  if (words[0] == "agent") return DescribeOneAgent(invocation, *client, words[1]);
  return ShowRun(invocation, **client, words[1]);
}

}  // namespace firedrill::cli
