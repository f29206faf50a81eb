// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "firedrill/v1/agent_link.pb.h"
#include "firedrill/v1/operator.pb.h"
#include "firedrill/v1/traffic_fault.pb.h"

namespace firedrill::controller {

/// One host's part in a partition.
struct CompiledPartition {
  v1::Partition partition;          ///< As the agent gets it: with the other side's addresses.
  std::vector<std::string> others;  ///< The hosts of the other side, in words: "db1 (10.0.7.1)".
};

/// Puts the addresses of `others` (agents' ids: the hosts chosen for `from`) into the partition of
/// `host`, behind those that the file names. Packets of both directions are cut there, so that the
/// other side needs no part in it. The host's own addresses are left out, however they came in.
/// FAILED_PRECONDITION: a host of the other side has told no address, or none is left.
absl::StatusOr<CompiledPartition> CompilePartition(const v1::Partition& partition,
                                                   const std::string& host,
                                                   const std::vector<std::string>& others,
                                                   const std::vector<v1::Agent>& agents);

}  // namespace firedrill::controller
