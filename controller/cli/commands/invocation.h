// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <ostream>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "controller/cli/client/client.h"
#include "controller/cli/commands/arguments.h"
#include "controller/cli/commands/settings.h"
#include "controller/cli/session/exit_code.h"
#include "controller/cli/view/output.h"
#include "controller/cli/view/style.h"
#include "google/protobuf/message.h"
#include "proto/support/clock.h"

namespace firedrill::cli {

/// What the process lends to a command.
struct Context {
  std::ostream& out;
  std::ostream& err;
  Environment environment;
  const Clock& clock;
  std::string program;  ///< Path of this program.
  bool out_is_terminal = false;
  bool err_is_terminal = false;
  bool in_is_terminal = false;
};

/// One call of one command. Not thread-safe.
class Invocation {
 public:
  Invocation(Context& context, const Command& command, Settings settings, Arguments arguments);

  /// The connection, made with the first call.
  absl::StatusOr<Client*> Controller();

  /// Prints the status to the error stream, "firedrill: …", and gives its exit code.
  ExitCode Fail(const absl::Status& status);
  /// Prints a mistake in the command line and where help is.
  ExitCode FailUsage(const std::string& text);
  /// Prints a message for programs if JSON or YAML was asked for; false if people are to be told.
  bool PrintForPrograms(const google::protobuf::Message& message);

  Context& context;
  const Command& command;
  const Settings settings;
  const Arguments arguments;
  const Style style;
  const int width;  ///< Of the terminal; 0 where lines may be as long as they are.

 private:
  std::unique_ptr<Client> client_;
};

}  // namespace firedrill::cli
