// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "controller/cli/commands/runners.h"
#include "controller/cli/view/responders.h"

// What a drill's team says of a run.
namespace firedrill::cli {
namespace {

template <typename Request>
ExitCode Tell(Invocation& invocation, v1::MarkKind kind,
              absl::StatusOr<v1::Run> (Client::*call)(const Request&)) {
  const Arguments& arguments = invocation.arguments;
  const absl::StatusOr<Client*> client = invocation.Controller();
  if (!client.ok()) return invocation.Fail(client.status());
  Request request;
  if (!arguments.words.empty()) request.set_run_id(arguments.words[0]);
  request.set_note(arguments.Get("note"));
  request.set_by(arguments.Get("by"));
  const absl::StatusOr<v1::Run> run = ((*client)->*call)(request);
  if (!run.ok()) return invocation.Fail(run.status());
  if (!invocation.PrintForPrograms(*run)) {
    invocation.context.out << NotedText(*run, kind) << "\n";
  }
  return ExitCode::kPassed;
}

}  // namespace

ExitCode RunAck(Invocation& invocation) {
  return Tell(invocation, v1::MARK_KIND_ACKNOWLEDGED, &Client::AcknowledgeRun);
}

ExitCode RunMitigated(Invocation& invocation) {
  if (invocation.arguments.Get("note").empty()) {
    return invocation.FailUsage("mitigated needs --note TEXT: what was done");
  }
  return Tell(invocation, v1::MARK_KIND_MITIGATED, &Client::MitigateRun);
}

}  // namespace firedrill::cli
