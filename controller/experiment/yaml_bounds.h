// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace firedrill::controller {

/// A place in a file, counted from 1; 0 where none is known.
struct Place {
  int line = 0;
  int column = 0;
};

/// Why a text is not read at all.
struct YamlRefusal {
  Place place;
  std::string found;
  std::string allowed;
};

/// Parses without building anything, and refuses what is no YAML, has more than one document, too
/// many nodes (10,000), aliases (100) or levels (32). Empty if the text may be read.
std::optional<YamlRefusal> CheckYaml(std::string_view text);

}  // namespace firedrill::controller
