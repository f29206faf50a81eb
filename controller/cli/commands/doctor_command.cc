// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <google/protobuf/util/json_util.h>
#include <unistd.h>

#include <climits>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "controller/cli/commands/agent_view.h"
#include "controller/cli/commands/runners.h"
#include "controller/cli/commands/subprocess.h"
#include "controller/cli/view/text_width.h"
#include "proto/support/status_macros.h"
#include "proto/support/time.h"
#include "proto/support/version.h"

namespace firedrill::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::chrono::seconds kDeadline(30);

// Beside this program, or else whatever PATH has.
std::string AgentProgram() {
  char self[PATH_MAX] = "";
  const ssize_t size = readlink("/proc/self/exe", self, sizeof(self) - 1);
  if (size <= 0) return "firedrill-agent";
  const std::string path(self, static_cast<std::size_t>(size));
  const std::string directory = path.substr(0, path.rfind('/'));
  // Beside it when installed; in the sibling folder where both were built.
  for (const char* place : {"/firedrill-agent", "/../../agent/firedrill-agent"}) {
    if (access((directory + place).c_str(), X_OK) == 0) return directory + place;
  }
  return "firedrill-agent";
}

absl::StatusOr<v1::Hello> AskAgent(const Clock& clock) {
  ASSIGN_OR_RETURN(const std::string text,
                   OutputOf({AgentProgram(), "doctor", "-o", "json"}, kDeadline, clock));
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;
  v1::Hello hello;
  if (!google::protobuf::util::JsonStringToMessage(text, &hello, options).ok()) {
    return absl::InternalError("firedrill-agent doctor answered something else than its report");
  }
  const Json json = Json::parse(text, nullptr, false);
  if (json.is_object() && json.contains("kernel") && json["kernel"].is_string()) {
    hello.set_kernel_release(json["kernel"].get<std::string>());
  }
  return hello;
}

std::string Text(const absl::Status& status) {
  return {status.message().data(), status.message().size()};
}

void PrintHost(Invocation& invocation, const absl::StatusOr<v1::Hello>& hello) {
  std::ostream& out = invocation.context.out;
  if (!hello.ok()) {
    out << invocation.style(Colour::kBad, "this host: unknown") << "  "
        << OneLine(Text(hello.status())) << "\n";
    if (absl::IsNotFound(hello.status())) {
      out << "  what to do: install firedrill-agent beside firedrill or in PATH, if faults are to "
             "be "
             "injected into this host\n";
    }
    return;
  }
  out << "this host: Linux " << Clean(hello->kernel_release()) << "\n\n"
      << AbilityTables(*hello, invocation.style);
  out << "\nFor an agent without settings. What the agent that runs here allows and can do:\n"
         "firedrill describe agent NAME\n";
  if (geteuid() != 0) {
    out << "\nAsked as an ordinary user: what needs root shows as missing. Ask again with sudo.\n";
  }
}

}  // namespace

ExitCode RunDoctor(Invocation& invocation) {
  const absl::StatusOr<v1::Hello> hello = AskAgent(invocation.context.clock);
  const CredentialOptions& credentials = invocation.settings.connection.credentials;
  const bool configured =
      invocation.settings.controller_named || credentials.insecure || !credentials.cert.empty();
  absl::StatusOr<v1::GetServerInfoResponse> server;
  absl::StatusOr<Client*> client;
  if (configured) {
    client = invocation.Controller();
    if (client.ok()) {
      server = (*client)->GetServerInfo();
    } else {
      server = client.status();
    }
  }
  const ExitCode code =
      configured && !server.ok() ? ExitCodeOf(server.status()) : ExitCode::kPassed;

  if (invocation.settings.format != Format::kTable) {
    Json json = {{"host", nullptr}, {"controller", nullptr}};
    if (hello.ok()) {
      json["host"] = Json::parse(Serialize(*hello, Format::kJson));
    } else {
      json["host"] = {{"error", Text(hello.status())}};
    }
    if (configured && server.ok()) {
      json["controller"] = Json::parse(Serialize(*server, Format::kJson));
    } else if (configured) {
      json["controller"] = {{"error", Text(server.status())}};
    }
    invocation.context.out << SerializeJson(json.dump(), invocation.settings.format);
    return code;
  }
  PrintHost(invocation, hello);
  std::ostream& out = invocation.context.out;
  out << "\ncontroller: ";
  if (!configured) {
    out << "none is configured (--controller with --ca, --cert, --key, or FIREDRILL_CONTROLLER "
           "…)\n";
  } else if (!server.ok()) {
    out << invocation.style(Colour::kBad, "not usable") << "  " << OneLine(Text(server.status()))
        << "\n";
  } else {
    const Nanoseconds apart = FromProto(server->now()) - invocation.context.clock.System();
    out << fmt::format(
        "{} at {}, version {}; it takes you for {}; its clock is {} {}\n",
        invocation.style(Colour::kGood, "reachable"), invocation.settings.connection.address,
        Clean(server->software_version()),
        server->operator_().empty() ? "nobody in particular" : Clean(server->operator_()),
        FormatDuration(apart < Nanoseconds(0) ? -apart : apart),
        apart < Nanoseconds(0) ? "behind" : "ahead");
    const absl::Status version = CheckProtocolVersion(server->version(), "controller");
    if (!version.ok()) out << "  " << OneLine(Text(version)) << "\n";
  }
  return code;
}

}  // namespace firedrill::cli
