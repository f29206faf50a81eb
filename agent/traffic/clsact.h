// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/traffic/netlink.h"
#include "bpf/traffic.h"

namespace firedrill::agent {

class Journal;
struct UndoRecord;

/// The clsact qdisc of a device, made if there was none, and the undo record of it.
class Clsact {
 public:
  /// Records first, with `journal` null not at all, then makes the qdisc. FAILED_PRECONDITION: an
  /// ingress qdisc is in its place.
  static absl::StatusOr<Clsact> Open(const NetworkDevice& device, Journal* journal,
                                     Netlink& netlink);
  /// Removes the qdisc if it was made here and is empty, and forgets the record. Idempotent.
  absl::Status Close(Netlink& netlink);

 private:
  Journal* journal_ = nullptr;
  std::string record_;
  int device_index_ = 0;
  bool made_ = false;
  bool open_ = true;
};

/// Puts the program in front of the device's other filters; behind one with priority 1 that is not
/// of kind "bpf", or not for all protocols, as the kernel lets no other stand beside it.
absl::StatusOr<BpfFilter> AddClsactFilter(int program, const NetworkDevice& device,
                                          fd_direction direction, Netlink& netlink);

}  // namespace firedrill::agent
