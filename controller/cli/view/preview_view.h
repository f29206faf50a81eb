// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <vector>

#include "controller/cli/view/style.h"
#include "firedrill/v1/operator.pb.h"
#include "proto/support/clock.h"

namespace firedrill::cli {

/// The newest word of each host.
using PreviewCounts = std::map<std::string, v1::PreviewResponse>;

/// What a fault would touch, one row a host: totals, and rates over `counted`. What was listed by
/// name follows below. `width` as Table's.
std::string PreviewTable(const PreviewCounts& counts, Nanoseconds counted, const Style& style,
                         int width);

/// The same for programs.
std::string PreviewJson(const PreviewCounts& counts, Nanoseconds counted);

/// True if anything matched anywhere.
bool AnythingMatched(const PreviewCounts& counts);

}  // namespace firedrill::cli
