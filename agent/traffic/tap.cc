// SPDX-License-Identifier: Apache-2.0
#include "agent/traffic/tap.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>
#include <fstream>

#include "proto/support/status_macros.h"

// Of newer kernels than the headers of Debian 12: uapi/linux/if_tun.h of Linux 6.2.
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

namespace firedrill::agent {
namespace {

constexpr char kTun[] = "/dev/net/tun";
constexpr int kHeaderBytes = 12;    // virtio_net_hdr_mrg_rxbuf
constexpr int kLargestMtu = 65521;  // What tun allows: 65535 without an Ethernet header.
constexpr int kQueuePackets[] = {32768, 16384};  // Linux 6.1 refuses the first.

absl::Status Error(const char* action) { return absl::ErrnoToStatus(errno, action); }

absl::StatusOr<Descriptor> OpenTun() {
  Descriptor fd(open(kTun, O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (fd.valid()) return fd;
  if (errno == ENOENT || errno == ENODEV || errno == ENXIO) {
    return absl::UnimplementedError(fmt::format(
        "{} is missing: this kernel has no TUN/TAP devices (CONFIG_TUN; try: modprobe tun)", kTun));
  }
  return Error("open /dev/net/tun");
}

absl::Status SetOffloads(int fd, bool offloads) {
  if (!offloads)
    return ioctl(fd, TUNSETOFFLOAD, 0) == 0 ? absl::OkStatus() : Error("unset a TAP's offloads");
  constexpr unsigned long kTso = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
  if (ioctl(fd, TUNSETOFFLOAD, kTso | TUN_F_USO4 | TUN_F_USO6) == 0) return absl::OkStatus();
  return ioctl(fd, TUNSETOFFLOAD, kTso) == 0 ? absl::OkStatus() : Error("set a TAP's offloads");
}

// No router solicitations or multicast reports of its own. Without IPv6 there is no such file.
void DisableIpv6(const std::string& name) {
  std::ofstream("/proc/sys/net/ipv6/conf/" + name + "/disable_ipv6") << "1";
}

absl::Status SetUp(const std::string& name) {
  const Descriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return Error("open a socket to configure a TAP");
  ifreq request{};
  std::memcpy(request.ifr_name, name.c_str(), std::min<std::size_t>(name.size(), IFNAMSIZ - 1));
  request.ifr_mtu = kLargestMtu;
  if (ioctl(socket.get(), SIOCSIFMTU, &request) < 0) return Error("set a TAP's MTU");
  bool queued = false;
  for (const int packets : kQueuePackets) {
    request.ifr_qlen = packets;
    if (!queued) queued = ioctl(socket.get(), SIOCSIFTXQLEN, &request) == 0;
  }
  if (!queued) return Error("set a TAP's queue length");
  request.ifr_flags = IFF_UP | IFF_NOARP;
  if (ioctl(socket.get(), SIOCSIFFLAGS, &request) < 0) return Error("set a TAP up");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Tap> Tap::Create(Netlink& netlink, bool offloads) {
  Tap tap;
  ASSIGN_OR_RETURN(tap.fd, OpenTun());
  // The kernel puts a number for %d, so that one process can have several.
  std::string name = fmt::format("{}{}", kTapPrefix, getpid());
  ifreq request{};
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  const std::string pattern = name + "x%d";
  std::memcpy(request.ifr_name, pattern.c_str(),
              std::min<std::size_t>(pattern.size(), IFNAMSIZ - 1));
  if (ioctl(tap.fd.get(), TUNSETIFF, &request) < 0) return Error("create a TAP device");
  name = request.ifr_name;
  const int header = kHeaderBytes;
  const int unlimited = INT_MAX;
  if (ioctl(tap.fd.get(), TUNSETVNETHDRSZ, &header) < 0) return Error("set a TAP's header size");
  RETURN_IF_ERROR(SetOffloads(tap.fd.get(), offloads));
  if (ioctl(tap.fd.get(), TUNSETSNDBUF, &unlimited) < 0) return Error("set a TAP's send buffer");
  DisableIpv6(name);
  RETURN_IF_ERROR(SetUp(name));
  ASSIGN_OR_RETURN(tap.device, netlink.Device(name));
  RETURN_IF_ERROR(netlink.SetNoQueue(tap.device.index));
  return tap;
}

}  // namespace firedrill::agent
