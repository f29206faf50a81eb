// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "controller/cli/commands/inject_flags.h"
#include "controller/cli/commands/runners.h"
#include "controller/cli/commands/target_flags.h"
#include "controller/cli/view/text_width.h"
#include "controller/experiment/rules.h"
#include "controller/experiment/writer.h"
#include "proto/support/fault_rules.h"
#include "proto/support/field_rules.h"
#include "proto/support/status_macros.h"
#include "proto/support/text.h"
#include "proto/support/time.h"

namespace firedrill::cli {
namespace {

using google::protobuf::FieldDescriptor;

// What only somebody who names it may break from the command line.
constexpr const char* kGuarded[] = {"prod", "production", "live"};

absl::Status Refuse(const std::string& text) { return absl::InvalidArgumentError(text); }

// A partition's other side, as labels: a target of its own, all of whose hosts are meant. What is
// no label is left for the rules to refuse.
absl::Status SetOtherSide(v1::Experiment* experiment) {
  v1::Fault& fault = *experiment->mutable_method(0)->mutable_fault();
  if (!fault.has_partition() || fault.partition().from().empty()) return absl::OkStatus();
  const std::string given = fault.partition().from();
  v1::Target other;
  RETURN_IF_ERROR(
      SetLabel("--from", given, "role=database, of the hosts on the other side", &other));
  other.mutable_pick()->set_all(true);
  (*experiment->mutable_targets())["other-side"] = std::move(other);
  fault.mutable_partition()->set_from("other-side");
  return absl::OkStatus();
}

absl::Status SetTime(const Arguments& arguments, const char* name,
                     google::protobuf::Duration* (*mutable_field)(v1::Experiment*),
                     v1::Experiment* experiment) {
  if (!arguments.Has(name)) return absl::OkStatus();
  const std::string text = arguments.Get(name);
  const absl::StatusOr<Nanoseconds> duration = ParseDuration(text);
  if (!duration.ok()) {
    return Refuse(fmt::format("--{}: found {}; {}", name, Quoted(text),
                              std::string(duration.status().message())));
  }
  *mutable_field(experiment) = ToProto(*duration);
  return absl::OkStatus();
}

absl::StatusOr<v1::Experiment> Build(const FieldDescriptor& kind, const Arguments& arguments) {
  v1::Experiment experiment;
  std::string name = "inject-" + kind.name();
  std::replace(name.begin(), name.end(), '_', '-');
  experiment.set_name(name);
  experiment.set_environment(arguments.Get("environment"));
  v1::Step& step = *experiment.add_method();
  step.set_name(kind.name());
  step.set_target("target");
  ASSIGN_OR_RETURN(*step.mutable_fault(), FaultFromFlags(kind, arguments));
  RETURN_IF_ERROR(SetTarget(arguments, &(*experiment.mutable_targets())["target"]));
  RETURN_IF_ERROR(SetTime(
      arguments, "duration",
      [](v1::Experiment* e) { return e->mutable_method(0)->mutable_duration(); }, &experiment));
  RETURN_IF_ERROR(SetTime(
      arguments, "longest", [](v1::Experiment* e) { return e->mutable_longest(); }, &experiment));
  RETURN_IF_ERROR(SetOtherSide(&experiment));
  experiment.set_hypothesis("By hand: " + FaultText(step.fault()));
  return experiment;
}

// The option that a path in the experiment came from; the path itself where none did.
std::string FlagOf(const std::string& path, const std::vector<FaultFlag>& flags) {
  for (const FaultFlag& flag : flags) {
    if (absl::StartsWith(path, "method[0].fault." + flag.FieldPath()))
      return "--" + flag.option.name;
  }
  if (absl::StartsWith(path, "method[0].duration") || path == "method") return "--duration";
  if (absl::StartsWith(path, "targets[\"other-side\"]") ||
      absl::StartsWith(path, "targets.other-side")) {
    return "--from";
  }
  if (absl::StartsWith(path, "targets.target.pick")) return "--target-pick";
  if (absl::StartsWith(path, "targets.target.hosts")) return "--host";
  if (absl::StartsWith(path, "targets")) return "--target";
  if (path == "environment" || path == "longest") return "--" + path;
  return absl::StartsWith(path, "method[0].fault.") ? path.substr(16) : path;
}

// The same rules as for a file, in the command line's words.
absl::Status Check(const v1::Experiment& experiment, const std::vector<FaultFlag>& flags) {
  Problems problems;
  controller::CheckExperiment(experiment, &problems);
  for (Problem& problem : problems) {
    // What is missing as a whole is given by any of its parts.
    std::vector<std::string> parts;
    for (const FaultFlag& flag : flags) {
      if (problem.missing &&
          absl::StartsWith("method[0].fault." + flag.FieldPath(), problem.field + ".")) {
        parts.push_back("--" + flag.option.name);
      }
    }
    problem.field = FlagOf(problem.field, flags);
    if (!parts.empty()) problem.allowed = "needed: at least one of " + OneOf(parts);
    if (problem.field == "--environment" && problem.missing) {
      problem.allowed = "needed with --print, which asks no controller, such as staging";
    }
    if (problem.field == "--duration") {
      absl::StrReplaceAll({{"raise longest", "raise --longest"}}, &problem.allowed);
    }
    if (problem.field == "--target")
      problem.allowed = "needed: --target LABEL=VALUE, or --host NAME";
  }
  return ToStatus(problems);
}

absl::Status NobodyMatches(const v1::Target& target, const v1::ListAgentsResponse& agents) {
  std::vector<std::string> ids;
  for (const v1::Agent& agent : agents.agents()) {
    if (agent.state() != v1::AGENT_STATE_GONE) ids.push_back(agent.hello().agent_id());
  }
  for (const std::string& host : target.hosts()) {
    if (std::find(ids.begin(), ids.end(), host) != ids.end()) continue;
    return Refuse(fmt::format("--host: no agent that is connected is {}; {}", Clean(host),
                              ids.empty() ? "none is connected" : SuggestFrom(host, ids)));
  }
  std::string labels;
  for (const auto& [label, value] : target.labels()) {
    labels += fmt::format("{}{}={}", labels.empty() ? "" : " and ", label, value);
  }
  return Refuse(fmt::format(
      "--target: no agent that is connected carries {}{}; firedrill get agents shows them",
      Clean(labels), target.hosts().empty() ? "" : " and is one of those of --host"));
}

// What the chosen agents declare, if they agree and it may go unsaid.
absl::StatusOr<std::string> FindEnvironment(Client* client, const v1::Target& target) {
  ASSIGN_OR_RETURN(const v1::ListAgentsResponse agents, client->ListAgents());
  std::set<std::string> environments;
  for (const v1::Agent& agent : agents.agents()) {
    if (agent.state() != v1::AGENT_STATE_GONE && Matches(target, agent)) {
      environments.insert(agent.hello().environment());
    }
  }
  if (environments.empty()) return NobodyMatches(target, agents);
  if (environments.size() > 1) {
    return Refuse(fmt::format("--environment: the agents that match declare {}; name one",
                              OneOf({environments.begin(), environments.end()})));
  }
  for (const char* guarded : kGuarded) {
    if (*environments.begin() != guarded) continue;
    return Refuse(
        fmt::format("--environment: the agents that match declare {0}; name it, if that is "
                    "what you mean: --environment {0}",
                    guarded));
  }
  return *environments.begin();
}

}  // namespace

std::vector<Option> InjectOptions(const std::vector<std::string>& words) {
  std::vector<Option> options;
  for (const std::string& word : words) {
    const FieldDescriptor* kind = FindFault(word);
    if (kind == nullptr) continue;
    for (FaultFlag& flag : FaultFlags(*kind)) {
      if (flag.FieldPath() == "partition.from") {
        flag.option.value = "LABEL=VALUE";
        flag.option.help = "The hosts on the other side: all that carry this label";
      }
      options.push_back(std::move(flag.option));
    }
    break;
  }
  return options;
}

std::vector<std::string> FaultNames() {
  std::vector<std::string> names;
  for (int i = 0; i < v1::Fault::descriptor()->field_count(); ++i) {
    names.push_back(v1::Fault::descriptor()->field(i)->name());
  }
  return names;
}

ExitCode RunInject(Invocation& invocation) {
  const std::string& word = invocation.arguments.words[0];
  const FieldDescriptor* kind = FindFault(word);
  if (kind == nullptr) {
    return invocation.FailUsage(
        fmt::format("unknown kind of fault {}; {}", Quoted(word), SuggestFrom(word, FaultNames())));
  }
  absl::StatusOr<v1::Experiment> experiment = Build(*kind, invocation.arguments);
  if (!experiment.ok()) return invocation.Fail(experiment.status());
  const bool print = invocation.arguments.Has("print");
  const bool guess = experiment->environment().empty() && !print;
  // Everything that needs no controller is checked before it is asked.
  if (guess) experiment->set_environment("unknown");
  const absl::Status good = Check(*experiment, FaultFlags(*kind));
  if (!good.ok()) return invocation.Fail(good);
  if (print) {
    invocation.context.out << controller::WriteExperiment(*experiment);
    return ExitCode::kPassed;
  }
  if (guess) {
    const absl::StatusOr<Client*> client = invocation.Controller();
    if (!client.ok()) return invocation.Fail(client.status());
    const auto environment = FindEnvironment(*client, experiment->targets().at("target"));
    if (!environment.ok()) return invocation.Fail(environment.status());
    experiment->set_environment(*environment);
  }
  v1::StartRunRequest request;
  *request.mutable_experiment() = *std::move(experiment);
  return StartAndFollow(invocation, std::move(request));
}

}  // namespace firedrill::cli
