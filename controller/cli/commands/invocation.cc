// SPDX-License-Identifier: Apache-2.0
#include "controller/cli/commands/invocation.h"

#include <fmt/format.h>

#include <utility>

#include "controller/cli/commands/command.h"
#include "controller/cli/terminal/screen.h"
#include "controller/cli/view/text_width.h"
#include "proto/support/status_macros.h"

namespace firedrill::cli {

Invocation::Invocation(Context& context, const Command& command, Settings settings,
                       Arguments arguments)
    : context(context),
      command(command),
      settings(std::move(settings)),
      arguments(std::move(arguments)),
      style(context.out_is_terminal && this->settings.colours),
      width(context.out_is_terminal ? TerminalWidth(1) : 0) {}

absl::StatusOr<Client*> Invocation::Controller() {
  if (!client_) {
    ASSIGN_OR_RETURN(client_, Client::Connect(settings.connection));
  }
  return client_.get();
}

ExitCode Invocation::Fail(const absl::Status& status) {
  const Style on_error(context.err_is_terminal && settings.colours);
  const absl::string_view message = status.message();
  std::string_view rest(message.data(), message.size());
  // Several mistakes begin each with its place or its option, as compilers write them.
  const bool places = absl::IsInvalidArgument(status) && message.find('\n') != message.npos;
  bool first = true;
  while (!rest.empty()) {
    const std::size_t end = rest.find('\n');
    const std::string line = Clean(rest.substr(0, end));
    context.err << (first && !places ? on_error(Colour::kBad, "firedrill: ") : "") << line << "\n";
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    first = false;
  }
  return ExitCodeOf(status);
}

ExitCode Invocation::FailUsage(const std::string& text) {
  Fail(absl::InvalidArgumentError(text));
  context.err << fmt::format("usage: firedrill {}{}{}\nhelp:  firedrill help {}\n", command.name,
                             command.usage.empty() ? "" : " ", command.usage, command.name);
  return ExitCode::kUsage;
}

bool Invocation::PrintForPrograms(const google::protobuf::Message& message) {
  if (settings.format == Format::kTable) return false;
  context.out << Serialize(message, settings.format);
  return true;
}

}  // namespace firedrill::cli
