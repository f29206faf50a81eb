// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "controller/cli/commands/command.h"
#include "controller/cli/commands/invocation.h"
#include "firedrill/v1/operator.pb.h"

// What the table's lines call.
namespace firedrill::cli {

ExitCode RunValidate(Invocation& invocation);
ExitCode RunPlan(Invocation& invocation);
ExitCode RunApply(Invocation& invocation);
ExitCode RunDelete(Invocation& invocation);
ExitCode RunRun(Invocation& invocation);
ExitCode RunInject(Invocation& invocation);
ExitCode RunAbort(Invocation& invocation);
ExitCode RunHalt(Invocation& invocation);
ExitCode RunAck(Invocation& invocation);
ExitCode RunMitigated(Invocation& invocation);
ExitCode RunReport(Invocation& invocation);
ExitCode RunGet(Invocation& invocation);
ExitCode RunGetFaults(Invocation& invocation);
ExitCode RunPreview(Invocation& invocation);
ExitCode RunDescribe(Invocation& invocation);
ExitCode RunDoctor(Invocation& invocation);
ExitCode RunCa(Invocation& invocation);

/// Starts a run and follows it as the options --detach and -o say; shared by run and inject.
ExitCode StartAndFollow(Invocation& invocation, v1::StartRunRequest request);

/// One run by its id or a prefix of it, whole; shared by `get run` and `describe run`.
ExitCode ShowRun(Invocation& invocation, Client& client, const std::string& id);

/// The options of `inject` for the kind that `words` name.
std::vector<Option> InjectOptions(const std::vector<std::string>& words);

/// Names of all kinds of fault.
std::vector<std::string> FaultNames();

}  // namespace firedrill::cli
