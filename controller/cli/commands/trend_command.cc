// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "absl/strings/numbers.h"
#include "controller/cli/commands/history_commands.h"
#include "controller/cli/commands/runners.h"
#include "controller/cli/view/text_width.h"
#include "controller/cli/view/trend_view.h"
#include "proto/support/problem.h"
#include "proto/support/text.h"
#include "proto/support/time.h"

namespace firedrill::cli {

ExitCode RunTrend(Invocation& invocation) {
  const Arguments& arguments = invocation.arguments;
  v1::GetTrendRequest request;
  if (!arguments.words.empty()) request.set_experiment_name(arguments.words[0]);
  request.set_fault(arguments.Get("fault"));
  const SystemTime now = invocation.context.clock.System();
  for (const std::string option : {"since", "until"}) {
    if (!arguments.Has(option)) continue;
    const std::string text = arguments.Get(option);
    const auto ago = ParseDuration(text);
    if (!ago.ok()) {
      return invocation.FailUsage(fmt::format("--{}: found {}; {}", option, Quoted(text),
                                              std::string(ago.status().message())));
    }
    *(option == "since" ? request.mutable_since() : request.mutable_until()) = ToProto(now - *ago);
  }
  if (request.has_since() && request.has_until() &&
      FromProto(request.since()) >= FromProto(request.until())) {
    return invocation.FailUsage(fmt::format("--until: found {}; allowed: less than --since, {}",
                                            Quoted(arguments.Get("until")),
                                            arguments.Get("since")));
  }
  std::uint32_t limit = 0;
  if (arguments.Has("limit") && (!absl::SimpleAtoi(arguments.Get("limit"), &limit) || limit == 0)) {
    return invocation.FailUsage(
        fmt::format("--limit: found {}; allowed: 1 to 10000", Quoted(arguments.Get("limit"))));
  }
  request.set_limit(limit);
  const absl::StatusOr<Client*> client = invocation.Controller();
  if (!client.ok()) return invocation.Fail(client.status());
  const auto response = (*client)->GetTrend(request);
  if (!response.ok()) return invocation.Fail(response.status());
  if (invocation.PrintForPrograms(*response)) return ExitCode::kPassed;
  if (response->points().empty()) {
    invocation.context.out << "No finished runs of that kind. firedrill get runs shows all.\n";
    return ExitCode::kPassed;
  }
  invocation.context.out << TrendText(*response, invocation.style, invocation.width);
  return ExitCode::kPassed;
}

}  // namespace firedrill::cli
