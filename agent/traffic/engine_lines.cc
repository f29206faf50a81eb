// SPDX-License-Identifier: Apache-2.0
// The lines: the parts of the engine that make their private devices and look after them.
#include <net/if.h>

#include <utility>

#include "agent/traffic/engine.h"
#include "proto/support/status_macros.h"

namespace firedrill::agent {

absl::Status TrafficEngine::StartLine(LineKind kind) {
  const bool wire = kind == LineKind::kWire;
  std::unique_ptr<Line>& line = wire ? wire_line_ : delay_line_;
  if (VerifyLine(kind).ok()) return absl::OkStatus();
  line = nullptr;  // Somebody has deleted the device of the last one, or set it down.
  auto started = std::make_unique<Line>();
  ASSIGN_OR_RETURN(started->tap, Tap::Create(netlink_, /*offloads=*/!wire));
  const NetworkDevice& device = started->tap.device;
  ASSIGN_OR_RETURN(started->attachment,
                   attacher_.AttachToOwnDevice(wire ? programs_->wire() : programs_->give_back(),
                                               device, FD_INGRESS));
  ASSIGN_OR_RETURN(started->reader, DelayLine::Start(started->tap.fd.get(), kind, options_.limits));
  fd_control& control = programs_->control();
  __atomic_store_n(wire ? &control.wire_ifindex : &control.tap_ifindex,
                   static_cast<__u32>(device.index), __ATOMIC_SEQ_CST);
  line = std::move(started);
  return absl::OkStatus();
}

// What is sent to a device that is down is lost: without it packets go on undelayed.
absl::Status TrafficEngine::VerifyLine(LineKind kind) {
  const bool wire = kind == LineKind::kWire;
  const Line* line = (wire ? wire_line_ : delay_line_).get();
  if (line == nullptr) return absl::DataLossError("the private delay device is gone");
  RETURN_IF_ERROR(line->attachment->Verify());
  ASSIGN_OR_RETURN(const NetworkDevice device, netlink_.Device(line->tap.device.index));
  if ((device.flags & IFF_UP) != 0) return absl::OkStatus();
  fd_control& control = programs_->control();
  __atomic_store_n(wire ? &control.wire_ifindex : &control.tap_ifindex, 0, __ATOMIC_SEQ_CST);
  return absl::DataLossError("somebody has set the private delay device down");
}

}  // namespace firedrill::agent
