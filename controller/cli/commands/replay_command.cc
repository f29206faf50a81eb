// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "controller/cli/commands/history_commands.h"
#include "controller/cli/commands/runners.h"
#include "controller/cli/view/trend_view.h"
#include "proto/support/problem.h"
#include "proto/support/text.h"
#include "proto/support/time.h"

namespace firedrill::cli {

ExitCode RunReplay(Invocation& invocation) {
  const Arguments& arguments = invocation.arguments;
  v1::ReplayRuleRequest request;
  request.set_run_id(arguments.words[0]);
  request.set_alert(arguments.Get("alert"));
  const auto bad = [&](const char* option, const std::string& found, const absl::Status& status) {
    return invocation.FailUsage(
        fmt::format("--{}: found {}; {}", option, Quoted(found), std::string(status.message())));
  };
  for (const std::string& text : arguments.All("for")) {
    const auto time = ParseDuration(text);
    if (!time.ok()) return bad("for", text, time.status());
    *request.add_pending_for() = ToProto(*time);
  }
  if (arguments.Has("look-back")) {
    const std::string text = arguments.Get("look-back");
    const auto time = ParseDuration(text);
    if (!time.ok()) return bad("look-back", text, time.status());
    *request.mutable_look_back() = ToProto(*time);
  }
  const absl::StatusOr<Client*> client = invocation.Controller();
  if (!client.ok()) return invocation.Fail(client.status());
  const auto response = (*client)->ReplayRule(request);
  if (!response.ok()) return invocation.Fail(response.status());
  if (invocation.PrintForPrograms(*response)) return ExitCode::kPassed;
  invocation.context.out << ReplayText(*response, invocation.style, invocation.width);
  return ExitCode::kPassed;
}

}  // namespace firedrill::cli
