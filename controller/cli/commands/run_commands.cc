// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <random>

#include "absl/time/time.h"
#include "controller/cli/commands/runners.h"
#include "controller/cli/session/run_session.h"
#include "controller/cli/terminal/screen.h"
#include "controller/cli/view/report.h"
#include "controller/cli/view/run_view.h"
#include "controller/cli/view/text_width.h"
#include "controller/cli/view/words.h"
#include "controller/experiment/reader.h"
#include "proto/support/problem.h"
#include "proto/support/time.h"

namespace firedrill::cli {
namespace {

// 20261122-170512-3fa9c1: sorts by time, and no two are alike. Chosen here, so that asking again
// after a lost answer starts nothing twice.
std::string NewRunId(const Clock& clock) {
  std::random_device random;
  const std::string time = absl::FormatTime(
      "%Y%m%d-%H%M%S", absl::FromUnixNanos(clock.System().time_since_epoch().count()),
      absl::UTCTimeZone());
  return fmt::format("{}-{:06x}", time, random() & 0xFFFFFFU);
}

}  // namespace

ExitCode StartAndFollow(Invocation& invocation, v1::StartRunRequest request) {
  const absl::StatusOr<Client*> client = invocation.Controller();
  if (!client.ok()) return invocation.Fail(client.status());
  request.set_run_id(NewRunId(invocation.context.clock));
  absl::StatusOr<v1::Run> run = (*client)->StartRun(request);
  if (!run.ok()) return invocation.Fail(run.status());
  const bool people = invocation.settings.format == Format::kTable;
  if (invocation.arguments.Has("detach")) {
    if (invocation.PrintForPrograms(*run)) return ExitCode::kPassed;
    invocation.context.out << fmt::format(
        "{0} started\nlook:   firedrill get run {0}\nend it: firedrill abort {0}\n", run->id());
    return ExitCode::kPassed;
  }
  // Programs get the finished run alone on the output; people watch on the error stream then.
  const bool live =
      people ? invocation.context.out_is_terminal : invocation.context.err_is_terminal;
  std::ostream& out = people ? invocation.context.out : invocation.context.err;
  SessionOptions options;
  options.live = live && invocation.context.in_is_terminal;
  options.terminal = people ? 1 : 2;
  options.summary = people;
  const Style style(live && invocation.settings.colours);
  const std::string title =
      fmt::format("{}  {}", style(Colour::kBold, run->id()), Clean(run->experiment().hypothesis()));
  out << (options.live ? WrapHanging(title, TerminalWidth(options.terminal) - 1, "    ") : title)
      << "\n";
  out.flush();
  RunSession session(*client, *std::move(run), options, style, invocation.context.clock, out);
  const ExitCode code = session.Follow();
  invocation.PrintForPrograms(session.run());
  return code;
}

ExitCode RunRun(Invocation& invocation) {
  const Arguments& arguments = invocation.arguments;
  v1::StartRunRequest request;
  if (arguments.words.empty() == !arguments.Has("applied")) {
    return invocation.FailUsage("run needs a FILE or --applied NAME, and not both");
  }
  if (arguments.words.empty()) {
    request.set_experiment_name(arguments.Get("applied"));
  } else {
    absl::StatusOr<v1::Experiment> experiment = controller::ReadExperimentFile(arguments.words[0]);
    if (!experiment.ok()) return invocation.Fail(experiment.status());
    *request.mutable_experiment() = *std::move(experiment);
  }
  return StartAndFollow(invocation, std::move(request));
}

ExitCode RunAbort(Invocation& invocation) {
  const absl::StatusOr<Client*> client = invocation.Controller();
  if (!client.ok()) return invocation.Fail(client.status());
  const std::string reason = invocation.arguments.Get("reason", "firedrill abort");
  const absl::StatusOr<v1::Run> run = (*client)->AbortRun(invocation.arguments.words[0], reason);
  if (!run.ok()) return invocation.Fail(run.status());
  if (invocation.PrintForPrograms(*run)) return ExitCode::kPassed;
  if (run->state() == v1::RUN_STATE_FINISHED) {
    invocation.context.out << fmt::format("{} is over: {}\n", run->id(),
                                          Word(run->verdict().verdict()));
  } else {
    invocation.context.out << fmt::format(
        "{0}: every fault is being ended. Whether that is proven: firedrill get run {0}\n",
        run->id());
  }
  return ExitCode::kPassed;
}

ExitCode RunHalt(Invocation& invocation) {
  const absl::StatusOr<Client*> client = invocation.Controller();
  if (!client.ok()) return invocation.Fail(client.status());
  const auto response = (*client)->Halt(invocation.arguments.Get("reason", "firedrill halt"));
  if (!response.ok()) {
    invocation.Fail(response.status());
    invocation.context.err << "Faults end by themselves when their leases run out. On a host: stop "
                              "firedrill-agent, which ends its faults first.\n";
    return ExitCodeOf(response.status());
  }
  if (invocation.PrintForPrograms(*response)) return ExitCode::kPassed;
  invocation.context.out << fmt::format("{} told to end every fault\n",
                                        response->hosts_told() == 1
                                            ? std::string("1 host was")
                                            : fmt::format("{} hosts were", response->hosts_told()));
  for (const std::string& run : response->aborted_runs()) {
    invocation.context.out << fmt::format(
        "aborted {0}   whether all has ended: firedrill get run {0}\n", Clean(run));
  }
  return ExitCode::kPassed;
}

ExitCode RunReport(Invocation& invocation) {
  const std::string format = invocation.arguments.Get("format", "markdown");
  if (format != "markdown" && format != "plain" && format != "json") {
    return invocation.FailUsage(fmt::format("--format: found {}; {}", Quoted(format),
                                            SuggestFrom(format, {"markdown", "plain", "json"})));
  }
  const absl::StatusOr<Client*> client = invocation.Controller();
  if (!client.ok()) return invocation.Fail(client.status());
  const absl::StatusOr<v1::Run> run = (*client)->GetRun(invocation.arguments.words[0]);
  if (!run.ok()) return invocation.Fail(run.status());
  if (invocation.PrintForPrograms(*run)) return ExitCode::kPassed;
  if (format == "json") {
    invocation.context.out << Serialize(*run, Format::kJson);
  } else if (format == "plain") {
    invocation.context.out << DescribeRun(*run, Style(false));
  } else {
    invocation.context.out << MarkdownReport(*run);
  }
  return ExitCode::kPassed;
}

}  // namespace firedrill::cli
