// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/traffic/netlink.h"
#include "bpf/traffic.h"

namespace firedrill::agent {

class Host;
class Journal;
struct UndoRecord;

/// How a program is put on a device.
enum class AttachMode {
  kTcx,     ///< A TCX link (Linux 6.6): the kernel removes it when its owner dies.
  kClsact,  ///< A clsact filter: stays when its owner dies, inert; a journal's record removes it.
};

/// kTcx if this kernel has it; asks with any loaded classifier's descriptor.
AttachMode BestAttachMode(int program);
/// The same; loads the programs for it. kClsact also if they cannot be loaded.
AttachMode BestAttachMode();

/// A program on a device. Destroying it takes the program off.
class Attachment {
 public:
  virtual ~Attachment() = default;
  /// OK if the kernel shows the program there.
  virtual absl::Status Verify() = 0;
  /// Takes the program off and looks whether it is. Idempotent.
  virtual absl::Status Detach() = 0;
};

/// Puts programs on devices: in front of what others have there, so that others see each packet
/// once, also one that comes back from the delay line. Not thread-safe. Use it in the network
/// namespace in which it was made.
class Attacher {
 public:
  /// `journal` may be null with kTcx only, or for devices of our own.
  Attacher(AttachMode mode, Journal* journal, Netlink& netlink)
      : mode_(mode), journal_(journal), netlink_(netlink) {}

  absl::StatusOr<std::unique_ptr<Attachment>> Attach(int program, const NetworkDevice& device,
                                                     fd_direction direction);
  /// The same on a device that disappears with this process: needs no record.
  absl::StatusOr<std::unique_ptr<Attachment>> AttachToOwnDevice(int program,
                                                                const NetworkDevice& device,
                                                                fd_direction direction);
  AttachMode mode() const { return mode_; }

 private:
  class TcxLink;
  class ClsactFilter;
  class ClsactDevice;
  absl::StatusOr<std::shared_ptr<ClsactDevice>> PrepareDevice(const NetworkDevice& device,
                                                              bool own_device);
  absl::StatusOr<std::unique_ptr<Attachment>> Attach(int program, const NetworkDevice& device,
                                                     fd_direction direction, bool own_device);

  const AttachMode mode_;
  Journal* const journal_;
  Netlink& netlink_;
  std::map<int, std::weak_ptr<ClsactDevice>> devices_;
};

/// The kind of the journal's records of clsact filters.
inline constexpr char kClsactRecord[] = "clsact";

/// Removes what a dead worker left on the record's device: its filters, and the qdisc if the worker
/// made it and nobody else uses it. Nothing of anybody else's. FAILED_PRECONDITION: the worker
/// lives.
absl::Status UndoClsact(const UndoRecord& record, const Host& host);

}  // namespace firedrill::agent
