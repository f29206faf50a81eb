// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "controller/cli/session/exit_code.h"

namespace firedrill::cli {

class Invocation;

/// One option: --name, or -s, with a value unless `value` is empty.
struct Option {
  std::string name;
  std::string value;  ///< What stands for the value in help texts: FILE.
  std::string help;
  char letter = 0;
  bool repeated = false;                  ///< May be given more than once.
  std::vector<std::string> choices = {};  ///< For completion.
};

struct Example {
  std::string command;  ///< Without the leading "firedrill ".
  std::string purpose;
};

/// One line of the table: everything that dispatch, help and completion know of a command.
struct Command {
  std::string name;
  std::string summary;      ///< One line.
  std::string usage;        ///< What follows the name: "FILE…".
  std::string description;  ///< More, in the command's own help; may be empty.
  std::vector<Option> options;
  std::vector<Example> examples;
  std::size_t least = 0;  ///< Positional arguments.
  std::size_t most = 0;
  ExitCode (*run)(Invocation& invocation);
  /// Options that depend on the words that follow the command (the kind of fault); may be null.
  std::vector<Option> (*more_options)(const std::vector<std::string>& words) = nullptr;
  /// Words that may come next after `words`; ":files" for files. May be null.
  std::vector<std::string> (*complete)(const std::vector<std::string>& words) = nullptr;
};

/// All commands, in the order of the help.
const std::vector<Command>& Commands();
/// Null for an unknown one.
const Command* FindCommand(const std::string& name);
/// Options that every command takes.
const std::vector<Option>& GlobalOptions();

}  // namespace firedrill::cli
