// SPDX-License-Identifier: Apache-2.0
// The one list of what this agent can do to a host.
#include <algorithm>

#include "agent/faults/bandwidth.h"
#include "agent/faults/clock_step.h"
#include "agent/faults/config_change.h"
#include "agent/faults/connection_error.h"
#include "agent/faults/cpu.h"
#include "agent/faults/descriptors.h"
#include "agent/faults/disk_fill.h"
#include "agent/faults/disk_load.h"
#include "agent/faults/dns.h"
#include "agent/faults/fault.h"
#include "agent/faults/file_fault.h"
#include "agent/faults/latency.h"
#include "agent/faults/memory.h"
#include "agent/faults/no_fault.h"
#include "agent/faults/packet_corrupt.h"
#include "agent/faults/packet_duplicate.h"
#include "agent/faults/packet_loss.h"
#include "agent/faults/packet_reorder.h"
#include "agent/faults/partition.h"
#include "agent/faults/pids.h"
#include "agent/faults/process_kill.h"
#include "agent/faults/process_pause.h"
#include "agent/faults/process_preview.h"
#include "agent/faults/reboot.h"
#include "agent/faults/service_stop.h"
#include "agent/traffic/attachment.h"
#include "agent/traffic/leftovers.h"
#include "agent/traffic/traffic_fault.h"

namespace firedrill::agent {
namespace {

constexpr FaultKind kKinds[] = {
    {v1::Fault::kPacketLoss, /*traffic=*/true, PacketLossSupported, ApplyPacketLoss,
     VerifyPacketLossGone, PreviewTraffic},
    {v1::Fault::kLatency, /*traffic=*/true, LatencySupported, ApplyLatency, VerifyLatencyGone,
     PreviewTraffic},
    {v1::Fault::kCpu, /*traffic=*/false, CpuSupported, ApplyCpu, VerifyCpuGone},
    {v1::Fault::kProcessKill, /*traffic=*/false, ProcessKillSupported, ApplyProcessKill,
     VerifyProcessKillGone, PreviewProcesses},
    {v1::Fault::kPacketDuplicate, /*traffic=*/true, PacketDuplicateSupported, ApplyPacketDuplicate,
     VerifyPacketDuplicateGone, PreviewTraffic},
    {v1::Fault::kPacketCorrupt, /*traffic=*/true, PacketCorruptSupported, ApplyPacketCorrupt,
     VerifyPacketCorruptGone, PreviewTraffic},
    {v1::Fault::kPacketReorder, /*traffic=*/true, PacketReorderSupported, ApplyPacketReorder,
     VerifyPacketReorderGone, PreviewTraffic},
    {v1::Fault::kBandwidth, /*traffic=*/true, BandwidthSupported, ApplyBandwidth,
     VerifyBandwidthGone, PreviewTraffic},
    {v1::Fault::kPartition, /*traffic=*/true, PartitionSupported, ApplyPartition,
     VerifyPartitionGone, PreviewTraffic},
    {v1::Fault::kDns, /*traffic=*/true, DnsSupported, ApplyDns, VerifyDnsGone, PreviewDns},
    {v1::Fault::kConnectionError, /*traffic=*/false, ConnectionErrorSupported, ApplyConnectionError,
     VerifyConnectionErrorGone, PreviewConnectionError},
    {v1::Fault::kProcessPause, /*traffic=*/false, ProcessPauseSupported, ApplyProcessPause,
     VerifyProcessPauseGone, PreviewProcesses},
    {v1::Fault::kServiceStop, /*traffic=*/false, ServiceStopSupported, ApplyServiceStop,
     VerifyServiceStopGone, PreviewProcesses},
    {v1::Fault::kMemory, /*traffic=*/false, MemorySupported, ApplyMemory, VerifyMemoryGone},
    {v1::Fault::kDiskFill, /*traffic=*/false, DiskFillSupported, ApplyDiskFill, VerifyDiskFillGone},
    {v1::Fault::kDiskLoad, /*traffic=*/false, DiskLoadSupported, ApplyDiskLoad, VerifyDiskLoadGone},
    {v1::Fault::kFileFault, /*traffic=*/false, FileFaultSupported, ApplyFileFault,
     VerifyFileFaultGone, PreviewProcesses},
    {v1::Fault::kDescriptors, /*traffic=*/false, DescriptorsSupported, ApplyDescriptors,
     VerifyDescriptorsGone, PreviewProcesses},
    {v1::Fault::kPids, /*traffic=*/false, PidsSupported, ApplyPids, VerifyPidsGone},
    {v1::Fault::kConfigChange, /*traffic=*/false, ConfigChangeSupported, ApplyConfigChange,
     VerifyConfigChangeGone},
    {v1::Fault::kClockStep, /*traffic=*/false, ClockStepSupported, ApplyClockStep,
     VerifyClockStepGone},
    {v1::Fault::kReboot, /*traffic=*/false, RebootSupported, ApplyReboot, VerifyRebootGone,
     /*preview=*/nullptr, AfterReboot},
    {v1::Fault::kNone, /*traffic=*/false, NoFaultSupported, ApplyNoFault, VerifyNoFaultGone},
};

constexpr UndoKind kUndoKinds[] = {{kClsactRecord, UndoClsact}, {kServiceRecord, UndoServiceStop},
                                   {kFileRecord, UndoFile},     {kFileCheckRecord, CheckFileUndone},
                                   {kReloadRecord, UndoReload}, {kClockRecord, UndoClockStep},
                                   {kRebootRecord, UndoReboot}, {kRlimitRecord, UndoRlimit}};

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
