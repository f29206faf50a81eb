// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "absl/strings/numbers.h"
#include "controller/cli/ca/authority.h"
#include "controller/cli/commands/runners.h"
#include "proto/support/problem.h"

namespace firedrill::cli {
namespace {

constexpr const char* kDefaultDirectory = "firedrill-ca";
constexpr int kAuthorityDays = 1825;
constexpr int kCertificateDays = 365;

absl::StatusOr<int> Days(const Arguments& arguments, int otherwise) {
  int days = otherwise;
  if (arguments.Has("days") && !absl::SimpleAtoi(arguments.Get("days"), &days)) {
    return absl::InvalidArgumentError(
        fmt::format("--days: found {}; allowed: 1 to 3650", Quoted(arguments.Get("days"))));
  }
  return days;
}

void Print(Invocation& invocation, const Issued& issued, const std::string& next) {
  if (invocation.settings.format != Format::kTable) {
    const nlohmann::ordered_json json = {{"certificate", issued.certificate},
                                         {"key", issued.key},
                                         {"valid_until", issued.valid_until}};
    invocation.context.out << SerializeJson(json.dump(), invocation.settings.format);
    return;
  }
  invocation.context.out << fmt::format("made {}  good until {}\nmade {}  secret, mode 0600\n\n{}",
                                        issued.certificate, issued.valid_until, issued.key, next);
}

std::string NextAfterIssue(const std::string& role, const std::string& ca, const Issued& issued) {
  const std::string files =
      fmt::format("--ca {}/ca.crt --cert {} --key {}", ca, issued.certificate, issued.key);
  if (role == "controller") {
    return fmt::format("next, where the controller runs:\n  firedrill-controller {} …\n", files);
  }
  if (role == "agent") {
    return fmt::format(
        "next: copy ca.crt and these two to the host, and there:\n  firedrill-agent {} …\n", files);
  }
  return fmt::format(
      "next: firedrill get agents {}\n  or put controller, ca, cert and key (name = "
      "value) into ~/.config/firedrill/config\n",
      files);
}

ExitCode Init(Invocation& invocation) {
  const absl::StatusOr<int> days = Days(invocation.arguments, kAuthorityDays);
  if (!days.ok()) return invocation.Fail(days.status());
  const std::string directory = invocation.arguments.Get("out", kDefaultDirectory);
  const auto issued = InitAuthority(directory, *days, invocation.arguments.Has("force"));
  if (!issued.ok()) return invocation.Fail(issued.status());
  Print(invocation, *issued,
        fmt::format("Whoever has ca.key can be anybody: keep it off the hosts, and back it up.\n\n"
                    "next:\n"
                    "  firedrill ca issue controller main --ca-dir {0} --dns NAME --ip ADDRESS\n"
                    "  firedrill ca issue agent HOST --ca-dir {0}\n"
                    "  firedrill ca issue operator YOU --ca-dir {0}\n",
                    directory));
  return ExitCode::kPassed;
}

ExitCode Issue(Invocation& invocation) {
  const Arguments& arguments = invocation.arguments;
  if (arguments.words.size() != 3) {
    return invocation.FailUsage("ca issue needs a role (controller, agent or operator) and a NAME");
  }
  const absl::StatusOr<int> days = Days(arguments, kCertificateDays);
  if (!days.ok()) return invocation.Fail(days.status());
  const std::string directory = arguments.Get("ca-dir", kDefaultDirectory);
  const IssueRequest request{
      arguments.words[1],    arguments.words[2], arguments.All("dns"), arguments.All("ip"), *days,
      arguments.Has("force")};
  const auto issued = IssueCertificate(directory, arguments.Get("out", directory), request);
  if (!issued.ok()) return invocation.Fail(issued.status());
  Print(invocation, *issued, NextAfterIssue(request.role, directory, *issued));
  return ExitCode::kPassed;
}

}  // namespace

ExitCode RunCa(Invocation& invocation) {
  const std::string& word = invocation.arguments.words[0];
  if (word == "init" && invocation.arguments.words.size() == 1) return Init(invocation);
  if (word == "issue") return Issue(invocation);
  return invocation.FailUsage(word == "init" ? "ca init takes no names"
                                             : fmt::format("cannot ca {}; {}", Quoted(word),
                                                           SuggestFrom(word, {"init", "issue"})));
}

}  // namespace firedrill::cli
