// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/support/clock.h"
#include "proto/support/credentials.h"

namespace firedrill::agent {

/// What the agent was asked to do.
enum class Command {
  kRun,     ///< Serve controllers until SIGTERM.
  kDoctor,  ///< Say what this host can do.
  kRevert,  ///< Clean up what a crashed agent left.
  kWorker,  ///< Hold injections; started by an agent, never by people.
  kHelp,
  kVersion,
};

/// Everything that flags and the configuration file say, checked.
struct Config {
  Command command = Command::kRun;
  std::vector<std::string> controllers;  ///< host:port, tried in turn.
  std::string id;
  std::map<std::string, std::string> labels;
  std::string environment;
  CredentialOptions credentials;
  std::string state;  ///< The agent's own folder.
  int max_live_faults = 8;
  Nanoseconds lease_cap = std::chrono::seconds(60);
  std::set<std::string> allowed;  ///< Kinds of fault that cannot be undone and may be used.
  std::vector<std::string> allowed_files;  ///< Patterns of files that may be edited.
  std::string log_level = "info";
  std::string output = "table";  ///< Of the doctor: table or json.
  int worker_socket = -1;
};

/// Reads flags, then the file that --config names (flags win). INVALID_ARGUMENT says which flag or
/// line, what was found and what is allowed.
absl::StatusOr<Config> ParseConfig(int argc, const char* const* argv);

/// What --help prints.
std::string HelpText();

}  // namespace firedrill::agent
