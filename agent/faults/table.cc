// SPDX-License-Identifier: Apache-2.0
// The one list of what this agent can do to a host.
#include <algorithm>

#include "agent/faults/connection_error.h"
#include "agent/faults/cpu.h"
#include "agent/faults/fault.h"
#include "agent/faults/latency.h"
#include "agent/faults/packet_loss.h"
#include "agent/faults/process_kill.h"
#include "agent/traffic/attachment.h"
#include "agent/traffic/leftovers.h"

namespace firedrill::agent {
namespace {

constexpr FaultKind kKinds[] = {
    {v1::Fault::kPacketLoss, /*traffic=*/true, PacketLossSupported, ApplyPacketLoss,
     VerifyPacketLossGone},
    {v1::Fault::kLatency, /*traffic=*/true, LatencySupported, ApplyLatency, VerifyLatencyGone},
    {v1::Fault::kCpu, /*traffic=*/false, CpuSupported, ApplyCpu, VerifyCpuGone},
    {v1::Fault::kProcessKill, /*traffic=*/false, ProcessKillSupported, ApplyProcessKill,
     VerifyProcessKillGone},
    {v1::Fault::kConnectionError, /*traffic=*/false, ConnectionErrorSupported, ApplyConnectionError,
     VerifyConnectionErrorGone, PreviewConnectionError},
};

constexpr UndoKind kUndoKinds[] = {{kClsactRecord, UndoClsact}};

}  // namespace

std::span<const FaultKind> FaultKinds() { return kKinds; }

absl::Status SweepLeftovers() { return SweepTraffic(); }

std::span<const UndoKind> UndoKinds() { return kUndoKinds; }

const FaultKind* FindFaultKind(v1::Fault::KindCase kind) {
  const auto found = std::find_if(std::begin(kKinds), std::end(kKinds),
                                  [&](const FaultKind& k) { return k.kind == kind; });
  return found == std::end(kKinds) ? nullptr : found;
}

}  // namespace firedrill::agent
