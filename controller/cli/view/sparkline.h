// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace firedrill::cli {

/// The last `width` values as bars of eight heights between the least and the most of them (and
/// `reference`, so that a threshold lies within). Values that are no number show as '·'.
std::string Sparkline(const std::vector<double>& values, int width, double reference);

}  // namespace firedrill::cli
