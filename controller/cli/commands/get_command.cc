// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>

#include "absl/strings/numbers.h"
#include "controller/cli/commands/agent_view.h"
#include "controller/cli/commands/runners.h"
#include "controller/cli/view/run_view.h"
#include "controller/cli/view/table.h"
#include "controller/cli/view/text_width.h"
#include "controller/cli/view/words.h"
#include "proto/support/problem.h"

namespace firedrill::cli {
namespace {

ExitCode GetRuns(Invocation& invocation, Client* client) {
  constexpr std::uint32_t kMost = 1000;
  v1::ListRunsRequest request;
  request.set_experiment_name(invocation.arguments.Get("experiment"));
  std::uint32_t limit = 20;
  const std::string text = invocation.arguments.Get("limit", "20");
  if (!absl::SimpleAtoi(text, &limit) || limit == 0 || limit > kMost) {
    return invocation.FailUsage(
        fmt::format("--limit: found {}; allowed: 1 to {}", Quoted(text), kMost));
  }
  request.set_limit(limit);
  const auto response = client->ListRuns(request);
  if (!response.ok()) return invocation.Fail(response.status());
  if (invocation.PrintForPrograms(*response)) return ExitCode::kPassed;
  if (response->runs().empty()) {
    const std::string& name = request.experiment_name();
    invocation.context.out << (name.empty()
                                   ? "No runs yet. firedrill run FILE starts one.\n"
                                   : fmt::format("No runs of an experiment {}. firedrill get runs "
                                                 "shows all.\n",
                                                 Clean(name)));
    return ExitCode::kPassed;
  }
  invocation.context.out << RunTable({response->runs().begin(), response->runs().end()},
                                     invocation.style, invocation.width);
  return ExitCode::kPassed;
}

ExitCode GetAgents(Invocation& invocation, Client* client) {
  const auto response = client->ListAgents();
  if (!response.ok()) return invocation.Fail(response.status());
  if (invocation.PrintForPrograms(*response)) return ExitCode::kPassed;
  if (response->agents().empty()) {
    invocation.context.out << "No agents yet. On each host: firedrill-agent --controller "
                           << client->address() << " …; firedrill doctor checks a host.\n";
    return ExitCode::kPassed;
  }
  invocation.context.out << AgentTable(*response, invocation.context.clock.System(),
                                       invocation.style, invocation.width);
  return ExitCode::kPassed;
}

ExitCode GetExperiments(Invocation& invocation, Client* client) {
  const auto response = client->ListExperiments();
  if (!response.ok()) return invocation.Fail(response.status());
  if (invocation.PrintForPrograms(*response)) return ExitCode::kPassed;
  if (response->experiments().empty()) {
    invocation.context.out << "No experiments are applied. firedrill apply FILE stores one.\n";
    return ExitCode::kPassed;
  }
  Table table({"EXPERIMENT", "ENVIRONMENT", "SCHEDULE", "NEXT RUN", "LAST RUN", "APPLIED", "BY"});
  for (const v1::AppliedExperiment& applied : response->experiments()) {
    const v1::Schedule& schedule = applied.experiment().schedule();
    const std::string zone = schedule.time_zone().empty() ? "UTC" : schedule.time_zone();
    table.Add({Clean(applied.experiment().name()), Clean(applied.experiment().environment()),
               schedule.cron().empty() ? "—" : Clean(schedule.cron() + " " + zone),
               applied.has_next_run_at() ? DateText(applied.next_run_at()) : "—",
               applied.last_run_id().empty() ? "—" : Clean(applied.last_run_id()),
               DateText(applied.applied_at()), Clean(applied.applied_by())});
  }
  invocation.context.out << table.Render(invocation.style, invocation.width);
  return ExitCode::kPassed;
}

}  // namespace

ExitCode RunGet(Invocation& invocation) {
  const std::vector<std::string>& words = invocation.arguments.words;
  const std::vector<std::string> kinds = {"runs", "run", "agents", "experiments", "faults"};
  if (std::find(kinds.begin(), kinds.end(), words[0]) == kinds.end()) {
    return invocation.FailUsage(
        fmt::format("cannot get {}; {}", Quoted(words[0]), SuggestFrom(words[0], kinds)));
  }
  if (words[0] == "run" && words.size() < 2) return invocation.FailUsage("get run needs a RUN");
  if (words[0] != "run" && words.size() > 1) {
    return invocation.FailUsage(
        fmt::format("get {} takes no {}; see firedrill describe", words[0], Quoted(words[1])));
  }
  if (words[0] == "faults") return RunGetFaults(invocation);
  const absl::StatusOr<Client*> client = invocation.Controller();
  if (!client.ok()) return invocation.Fail(client.status());
  if (words[0] == "runs") return GetRuns(invocation, *client);
  if (words[0] == "agents") return GetAgents(invocation, *client);
  if (words[0] == "experiments") return GetExperiments(invocation, *client);
  return ShowRun(invocation, **client, words[1]);
}

}  // namespace firedrill::cli
