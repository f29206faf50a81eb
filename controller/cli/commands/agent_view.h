// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "controller/cli/view/style.h"
#include "firedrill/v1/operator.pb.h"
#include "proto/support/clock.h"

namespace firedrill::cli {

/// A row for each agent.
std::string AgentTable(const v1::ListAgentsResponse& agents, SystemTime now, const Style& style,
                       int width);

/// What a host can do, and for the rest why not and what to do about it.
std::string AbilityTables(const v1::Hello& hello, const Style& style);

/// All that is known of one agent.
std::string DescribeAgent(const v1::Agent& agent, SystemTime now, const Style& style);

}  // namespace firedrill::cli
