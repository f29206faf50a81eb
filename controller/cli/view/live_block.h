// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "controller/cli/view/style.h"
#include "firedrill/v1/run.pb.h"
#include "proto/support/clock.h"

namespace firedrill::cli {

/// The few lines that are drawn anew while a run lives: its state, what lives and for how long yet,
/// each indicator with a sparkline, each alert that is waited for, a notice. Each fits `width`.
std::vector<std::string> LiveBlock(const v1::Run& run, SystemTime now, const std::string& notice,
                                   int width, const Style& style);

}  // namespace firedrill::cli
