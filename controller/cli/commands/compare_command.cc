// SPDX-License-Identifier: Apache-2.0
#include "controller/cli/commands/history_commands.h"
#include "controller/cli/commands/runners.h"
#include "controller/cli/view/compare_view.h"

namespace firedrill::cli {

ExitCode RunCompare(Invocation& invocation) {
  const absl::StatusOr<Client*> client = invocation.Controller();
  if (!client.ok()) return invocation.Fail(client.status());
  const absl::StatusOr<v1::Run> first = (*client)->GetRun(invocation.arguments.words[0]);
  if (!first.ok()) return invocation.Fail(first.status());
  const absl::StatusOr<v1::Run> second = (*client)->GetRun(invocation.arguments.words[1]);
  if (!second.ok()) return invocation.Fail(second.status());
  if (invocation.settings.format != Format::kTable) {
    invocation.context.out << SerializeJson(CompareJson(*first, *second),
                                            invocation.settings.format);
  } else {
    invocation.context.out << CompareText(*first, *second, invocation.style, invocation.width);
  }
  return ExitCode::kPassed;
}

}  // namespace firedrill::cli
