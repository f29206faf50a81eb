// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/host/descriptor.h"
#include "agent/traffic/match.h"

struct nlmsghdr;

namespace firedrill::agent {

/// A network device.
struct NetworkDevice {
  int index = 0;
  std::string name;
  unsigned short type = 0;  ///< ARPHRD_*.
  unsigned flags = 0;       ///< IFF_*.
  std::uint64_t transmit_dropped = 0;
};

/// A tc filter of kind "bpf".
struct BpfFilter {
  int device_index = 0;
  std::uint32_t parent = 0;  ///< TC_H_CLSACT with TC_H_MIN_INGRESS or TC_H_MIN_EGRESS.
  std::uint32_t handle = 0;
  std::uint32_t priority = 0;
  std::uint32_t program_id = 0;
};

/// Questions to the kernel's routing and traffic-control tables, in the network namespace in which
/// it was opened. Not thread-safe.
class Netlink {
 public:
  static absl::StatusOr<Netlink> Open();

  absl::StatusOr<std::vector<NetworkDevice>> Devices();
  /// NOT_FOUND names the device.
  absl::StatusOr<NetworkDevice> Device(const std::string& name);
  absl::StatusOr<NetworkDevice> Device(int index);
  /// The device through which packets to `peer` leave; without it, the device of the default route.
  /// NOT_FOUND says that there is no such route.
  absl::StatusOr<NetworkDevice> DeviceOfRoute(const std::optional<Prefix>& peer);

  /// The indices of the devices of all routes of the main table that lead into `peer`: of those
  /// that cover it the longest ones, and all that it covers, each way of a route of several (ECMP).
  absl::StatusOr<std::set<int>> DevicesOfRoutes(const Prefix& peer);

  /// Whether the device has a qdisc of this kind, such as "clsact".
  absl::StatusOr<bool> HasQdisc(int device_index, const std::string& kind);
  /// Filters of kind "bpf" at the device's clsact hooks.
  absl::StatusOr<std::vector<BpfFilter>> BpfFilters(int device_index);
  /// The number of filters of any kind there.
  absl::StatusOr<int> CountClsactFilters(int device_index);
  /// The lowest priority (the first in turn) of the filters of any kind at `parent`, one of the
  /// device's clsact hooks; 0 if there are none.
  absl::StatusOr<std::uint32_t> LowestPriority(int device_index, std::uint32_t parent);
  absl::Status DeleteFilter(const BpfFilter& filter);
  absl::Status DeleteClsact(int device_index);
  /// Puts "noqueue" at the device's root: what is sent to it is handed over at once.
  absl::Status SetNoQueue(int device_index);

 private:
  using Visit = std::function<void(const nlmsghdr&)>;
  explicit Netlink(Descriptor socket) : socket_(std::move(socket)) {}
  /// Sends one request and visits what is answered, until the acknowledgement or the end of a dump.
  absl::Status Ask(nlmsghdr& request, const Visit& visit);
  absl::Status VisitFilters(int device_index, const Visit& visit);

  Descriptor socket_;
  std::uint32_t sequence_ = 0;
};

}  // namespace firedrill::agent
