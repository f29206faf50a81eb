// SPDX-License-Identifier: Apache-2.0
#include "controller/cli/commands/dispatch.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <iostream>

#include "absl/strings/match.h"
#include "controller/cli/commands/command.h"
#include "controller/cli/commands/completion.h"
#include "controller/cli/commands/help.h"
#include "controller/cli/commands/invocation.h"
#include "controller/cli/terminal/screen.h"
#include "controller/cli/view/style.h"
#include "proto/support/problem.h"

namespace firedrill::cli {
namespace {

// Options of every command may stand before it: they go behind it.
void MoveLeadingOptions(std::vector<std::string>* argv) {
  std::size_t first = 0;
  while (first < argv->size() && absl::StartsWith((*argv)[first], "-")) {
    const std::string& word = (*argv)[first];
    const auto option =
        std::find_if(GlobalOptions().begin(), GlobalOptions().end(), [&](const Option& o) {
          return word == "--" + o.name || (o.letter != 0 && word == std::string("-") + o.letter);
        });
    const bool has_value = option != GlobalOptions().end() && !option->value.empty();
    first += has_value ? 2 : 1;
  }
  if (first < argv->size())
    std::rotate(argv->begin(), argv->begin() + first, argv->begin() + first + 1);
}

ExitCode UnknownCommand(Context& context, const std::string& name) {
  std::vector<std::string> names;
  for (const Command& command : Commands()) names.push_back(command.name);
  const std::string nearest = Nearest(name, names);
  context.err << fmt::format("firedrill: unknown command {}{}\nfiredrill help lists all commands\n",
                             Quoted(name),
                             nearest.empty() ? "" : fmt::format("; did you mean {}?", nearest));
  return ExitCode::kUsage;
}

ExitCode Help(Context& context, const std::vector<std::string>& words, const Style& style) {
  if (words.empty()) {
    context.out << GeneralHelp(style);
    return ExitCode::kPassed;
  }
  const Command* command = FindCommand(words.front());
  if (command == nullptr) return UnknownCommand(context, words.front());
  context.out << CommandHelp(*command, {words.begin() + 1, words.end()}, style);
  return ExitCode::kPassed;
}

bool AsksForHelp(const std::vector<std::string>& words) {
  for (const std::string& word : words) {
    if (word == "--") return false;
    if (word == "--help" || word == "-h") return true;
  }
  return false;
}

std::vector<std::string> PlainWords(const std::vector<std::string>& words) {
  std::vector<std::string> plain;
  for (const std::string& word : words) {
    if (!absl::StartsWith(word, "-")) plain.push_back(word);
  }
  return plain;
}

}  // namespace

ExitCode Dispatch(Context& context, std::vector<std::string> argv) {
  const Style style(context.out_is_terminal && context.environment("NO_COLOR").empty());
  if (!argv.empty() && argv.front() == "__complete") {
    context.out << Complete({argv.begin() + 1, argv.end()});
    return ExitCode::kPassed;
  }
  if (!argv.empty() && argv.front() == "--version") argv.front() = "version";
  MoveLeadingOptions(&argv);
  if (argv.empty()) {
    context.err << GeneralHelp(Style(false));
    return ExitCode::kUsage;
  }
  const std::vector<std::string> rest(argv.begin() + 1, argv.end());
  if (argv.front() == "help") return Help(context, PlainWords(rest), style);
  if (absl::StartsWith(argv.front(), "-") && AsksForHelp(argv)) return Help(context, {}, style);
  const Command* command = FindCommand(argv.front());
  if (command == nullptr) return UnknownCommand(context, argv.front());
  if (AsksForHelp(rest)) {
    context.out << CommandHelp(*command, PlainWords(rest), style);
    return ExitCode::kPassed;
  }

  std::vector<Option> options = command->options;
  if (command->more_options != nullptr) {
    const auto more = command->more_options(rest);
    options.insert(options.end(), more.begin(), more.end());
  }
  options.insert(options.end(), GlobalOptions().begin(), GlobalOptions().end());
  absl::StatusOr<Arguments> arguments = ParseArguments(rest, options);
  if (!arguments.ok()) {
    return Invocation(context, *command, {}, {})
        .FailUsage(std::string(arguments.status().message()));
  }
  absl::StatusOr<Settings> settings = ReadSettings(*arguments, context.environment);
  if (!settings.ok()) return Invocation(context, *command, {}, {}).Fail(settings.status());
  const std::size_t words = arguments->words.size();
  Invocation invocation(context, *command, *std::move(settings), *std::move(arguments));
  if (words < command->least)
    return invocation.FailUsage(fmt::format("{} needs {}", command->name, command->usage));
  if (words > command->most) {
    return invocation.FailUsage(fmt::format("too many arguments, from {} on",
                                            Quoted(invocation.arguments.words[command->most])));
  }
  return command->run(invocation);
}

int Main(const std::vector<std::string>& argv) {
  setenv("GRPC_VERBOSITY", "NONE", 0);  // errors reach people in our words, with a hint
  std::signal(SIGPIPE, SIG_IGN);        // `firedrill … | head` is no crash
  Context context{std::cout,
                  std::cerr,
                  [](const std::string& name) {
                    const char* value = std::getenv(name.c_str());
                    return std::string(value == nullptr ? "" : value);
                  },
                  Clock::Real(),
                  argv.empty() ? "firedrill" : argv.front(),
                  IsTerminal(STDOUT_FILENO),
                  IsTerminal(STDERR_FILENO),
                  isatty(STDIN_FILENO) == 1};
  const ExitCode code = Dispatch(
      context, argv.empty() ? argv : std::vector<std::string>(argv.begin() + 1, argv.end()));
  std::cout.flush();
  return static_cast<int>(code);
}

}  // namespace firedrill::cli
