// SPDX-License-Identifier: Apache-2.0
#include "controller/cli/commands/help.h"

#include <fmt/format.h>

#include <algorithm>

#include "controller/cli/view/text_width.h"

namespace firedrill::cli {
namespace {

constexpr int kWidth = 96;

std::string OptionName(const Option& option) {
  const std::string letter = option.letter == 0 ? "    " : fmt::format("-{}, ", option.letter);
  return letter + "--" + option.name + (option.value.empty() ? "" : " " + option.value);
}

std::string OptionLines(const std::vector<Option>& options, const Style& style) {
  int width = 0;
  for (const Option& option : options) width = std::max(width, DisplayWidth(OptionName(option)));
  width = std::min(width, 34);
  std::string text;
  for (const Option& option : options) {
    const std::string name = OptionName(option);
    const std::string indent(static_cast<std::size_t>(width) + 4, ' ');
    const int gap = std::max(2, width + 2 - DisplayWidth(name));
    text += "  " + style(Colour::kBold, name) + std::string(static_cast<std::size_t>(gap), ' ') +
            Wrap(option.help, kWidth - width - 4, indent) + "\n";
  }
  return text;
}

constexpr const char* kExitCodes = R"(  0  passed, or done
  1  the hypothesis failed
  2  usage or validation: nothing was done
  3  aborted, by a person or by a guard
  4  the controller is unreachable or refuses
  5  a fault's end is not proven: look at the hosts that are named
  6  inconclusive: no impact, or data missing
)";

}  // namespace

std::string GeneralHelp(const Style& style) {
  std::string text =
      "firedrill runs incident drills: it injects faults into hosts, always undoes them, and says\n"
      "whether and when it was noticed and recovered.\n\n" +
      style(Colour::kBold, "usage: firedrill COMMAND [ARGUMENTS] [OPTIONS]") + "\n\n";
  for (const Command& command : Commands()) {
    text += fmt::format("  {}{}\n", style(Colour::kBold, fmt::format("{:<12}", command.name)),
                        command.summary);
  }
  text += "\n" + style(Colour::kBold, "options of every command") + "\n" +
          OptionLines(GlobalOptions(), style);
  text +=
      "\n  controller, ca, cert and key may also stand in ~/.config/firedrill/config, one name = "
      "value a "
      "line;\n  files there are looked for beside it. An option wins over the environment, that "
      "over "
      "the file.\n";
  text += "\n" + style(Colour::kBold, "exit codes") + "\n" + kExitCodes;
  return text + "\nfiredrill help COMMAND shows its options and examples.\n";
}

std::string CommandHelp(const Command& command, const std::vector<std::string>& words,
                        const Style& style) {
  std::string text = fmt::format(
      "{}\n\n{}\n", command.summary,
      style(Colour::kBold, fmt::format("usage: firedrill {}{}{}", command.name,
                                       command.usage.empty() ? "" : " ", command.usage)));
  if (!command.description.empty()) text += "\n" + command.description + "\n";
  std::vector<Option> options = command.options;
  if (command.more_options != nullptr) {
    const std::vector<Option> more = command.more_options(words);
    options.insert(options.end(), more.begin(), more.end());
  }
  if (!options.empty()) {
    text += "\n" + style(Colour::kBold, "options") + "\n" + OptionLines(options, style);
  }
  text += "\n" + style(Colour::kBold, "options of every command") + "\n" +
          OptionLines(GlobalOptions(), style);
  text += "\n" + style(Colour::kBold, "examples") + "\n";
  for (const Example& example : command.examples) {
    text += fmt::format("  firedrill {}\n      {}\n", example.command,
                        style(Colour::kDim, example.purpose));
  }
  return text;
}

}  // namespace firedrill::cli
