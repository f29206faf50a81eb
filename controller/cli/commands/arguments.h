// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "controller/cli/commands/command.h"

namespace firedrill::cli {

/// What was typed after a command.
struct Arguments {
  std::vector<std::string> words;  ///< Positional arguments.
  std::map<std::string, std::vector<std::string>> options;

  bool Has(const std::string& name) const { return options.count(name) > 0; }
  /// The value given, or `otherwise`.
  std::string Get(const std::string& name, const std::string& otherwise = "") const;
  std::vector<std::string> All(const std::string& name) const;
};

/// Reads `argv` by `options`. INVALID_ARGUMENT names an unknown option and the nearest known one, a
/// missing value, or an option given twice. Nothing is abbreviated.
absl::StatusOr<Arguments> ParseArguments(const std::vector<std::string>& argv,
                                         const std::vector<Option>& options);

/// Reads a file of "name = value" lines with the same options. INVALID_ARGUMENT as above.
absl::StatusOr<Arguments> ParseConfig(const std::string& path, const std::vector<Option>& options);

}  // namespace firedrill::cli
