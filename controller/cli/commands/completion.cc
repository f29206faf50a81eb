// SPDX-License-Identifier: Apache-2.0
#include "controller/cli/commands/completion.h"

#include <fmt/format.h>

#include <algorithm>

#include "absl/strings/match.h"
#include "controller/cli/commands/command.h"
#include "proto/support/problem.h"

namespace firedrill::cli {
namespace {

constexpr const char* kBash =
    R"(# bash completion for firedrill:  source <(firedrill completion bash)
_firedrill() {
  local cur words line
  cur=${COMP_WORDS[COMP_CWORD]}
  words=("${COMP_WORDS[@]:1:COMP_CWORD}")
  COMPREPLY=()
  while IFS= read -r line; do
    if [[ $line == :files ]]; then
      local file
      while IFS= read -r file; do COMPREPLY+=("$file"); done < <(compgen -f -- "$cur")
      compopt -o filenames 2>/dev/null
    else
      COMPREPLY+=("${line%%$'\t'*}")
    fi
  done < <(firedrill __complete "${words[@]}" 2>/dev/null)
}
complete -F _firedrill firedrill
)";

constexpr const char* kZsh = R"(#compdef firedrill
# zsh completion for firedrill:  source <(firedrill completion zsh)
_firedrill() {
  local line
  local -a found
  while IFS= read -r line; do
    if [[ $line == :files ]]; then
      _files
    else
      found+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
    fi
  done < <(firedrill __complete "${(@)words[2,CURRENT]}" 2>/dev/null)
  (( ${#found} )) && _describe firedrill found
}
compdef _firedrill firedrill
)";

constexpr const char* kFish =
    R"(# fish completion for firedrill:  firedrill completion fish | source
function __firedrill_complete
  set -l words (commandline -opc) (commandline -ct)
  for line in (firedrill __complete $words[2..-1] 2>/dev/null)
    if test "$line" = ":files"
      __fish_complete_path (commandline -ct)
    else
      echo $line
    end
  end
end
complete -c firedrill -f -a '(__firedrill_complete)'
)";

class Answers {
 public:
  explicit Answers(std::string prefix) : prefix_(std::move(prefix)) {}
  void Add(const std::string& word, const std::string& meaning) {
    if (word == ":files") {
      text_ += ":files\n";
    } else if (absl::StartsWith(word, prefix_)) {
      text_ += fmt::format("{}\t{}\n", word, meaning);
    }
  }
  const std::string& text() const { return text_; }

 private:
  const std::string prefix_;
  std::string text_;
};

const Option* FindOption(const std::vector<Option>& options, const std::string& word) {
  for (const Option& option : options) {
    const bool letter = option.letter != 0 && word == std::string("-") + option.letter;
    if (letter || word == "--" + option.name) return &option;
  }
  return nullptr;
}

}  // namespace

absl::StatusOr<std::string> CompletionScript(const std::string& shell) {
  if (shell == "bash") return kBash;
  if (shell == "zsh") return kZsh;
  if (shell == "fish") return kFish;
  return absl::InvalidArgumentError(
      fmt::format("found {}; {}", Quoted(shell), SuggestFrom(shell, {"bash", "zsh", "fish"})));
}

std::string Complete(const std::vector<std::string>& words) {
  const std::string typed = words.empty() ? "" : words.back();
  Answers answers(typed);
  if (words.size() <= 1) {
    for (const Command& command : Commands()) answers.Add(command.name, command.summary);
    answers.Add("help", "Show help");
    return answers.text();
  }
  if (words.front() == "help") {
    for (const Command& command : Commands()) answers.Add(command.name, command.summary);
    return answers.text();
  }
  const Command* command = FindCommand(words.front());
  if (command == nullptr) return "";

  std::vector<Option> options = command->options;
  if (command->more_options != nullptr) {
    const auto more = command->more_options({words.begin() + 1, words.end() - 1});
    options.insert(options.end(), more.begin(), more.end());
  }
  options.insert(options.end(), GlobalOptions().begin(), GlobalOptions().end());

  std::vector<std::string> plain;  // words that are neither options nor their values
  const Option* open = nullptr;    // the option whose value is being typed
  for (std::size_t i = 1; i + 1 < words.size(); ++i) {
    if (open != nullptr) {
      open = nullptr;
    } else if (absl::StartsWith(words[i], "-")) {
      const Option* option = FindOption(options, words[i]);
      if (option != nullptr && !option->value.empty()) open = option;
    } else {
      plain.push_back(words[i]);
    }
  }
  if (open != nullptr) {
    for (const std::string& choice : open->choices) answers.Add(choice, open->help);
    if (open->value == "FILE" || open->value == "DIR") answers.Add(":files", "");
    return answers.text();
  }
  if (absl::StartsWith(typed, "-")) {
    for (const Option& option : options) answers.Add("--" + option.name, option.help);
    return answers.text();
  }
  if (command->complete != nullptr) {
    for (const std::string& word : command->complete(plain)) answers.Add(word, "");
  }
  return answers.text();
}

}  // namespace firedrill::cli
