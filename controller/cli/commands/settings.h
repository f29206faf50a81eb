// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "controller/cli/client/client.h"
#include "controller/cli/commands/arguments.h"
#include "controller/cli/view/output.h"

namespace firedrill::cli {

using Environment = std::function<std::string(const std::string& name)>;  ///< Empty if not set.

/// What the options that every command takes amount to. A flag wins over the environment, that over
/// the configuration file, that over the default.
struct Settings {
  Connection connection;
  bool controller_named = false;  ///< Not only the default address.
  Format format = Format::kTable;
  bool colours = true;
};

inline constexpr const char* kDefaultController = "127.0.0.1:7443";

/// INVALID_ARGUMENT for a bad value, or a configuration file that cannot be read as such.
absl::StatusOr<Settings> ReadSettings(const Arguments& arguments, const Environment& environment);

/// Where the configuration file is looked for: $FIREDRILL_CONFIG, or firedrill/config in
/// $XDG_CONFIG_HOME or ~/.config. Empty if none of these is set.
std::string ConfigPath(const Environment& environment);

}  // namespace firedrill::cli
