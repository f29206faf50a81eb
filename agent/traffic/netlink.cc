// SPDX-License-Identifier: Apache-2.0
#include "agent/traffic/netlink.h"

#include <fmt/format.h>
#include <linux/if_link.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <map>

#include "proto/support/status_macros.h"

namespace firedrill::agent {
namespace {

constexpr std::uint32_t kClsactParents[] = {TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS),
                                            TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS)};
constexpr int kDumpAttempts = 10;  // of a table that changes all the time
constexpr int kAnswerSeconds = 2;  // The kernel answers at once; this only bounds a broken one.

// A request: header, the family's body, attributes.
template <typename Body>
class Request {
 public:
  Request(std::uint16_t type, std::uint16_t flags, const Body& body) {
    auto& head = header();
    head.nlmsg_len = NLMSG_LENGTH(sizeof(Body));
    head.nlmsg_type = type;
    head.nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
    std::memcpy(NLMSG_DATA(&head), &body, sizeof(body));
  }
  void Add(std::uint16_t type, const void* data, std::size_t size) {
    auto& head = header();
    auto* attribute = reinterpret_cast<rtattr*>(bytes_.data() + NLMSG_ALIGN(head.nlmsg_len));
    attribute->rta_type = type;
    attribute->rta_len = static_cast<unsigned short>(RTA_LENGTH(size));
    std::memcpy(RTA_DATA(attribute), data, size);
    head.nlmsg_len = NLMSG_ALIGN(head.nlmsg_len) + RTA_ALIGN(attribute->rta_len);
  }
  void Add(std::uint16_t type, const std::string& text) {
    Add(type, text.c_str(), text.size() + 1);
  }
  nlmsghdr& header() { return *reinterpret_cast<nlmsghdr*>(bytes_.data()); }

 private:
  alignas(nlmsghdr) std::array<char, 512> bytes_{};
};

using Attributes = std::map<int, const rtattr*>;

Attributes ParseAttributes(const rtattr* first, int length) {
  Attributes attributes;
  for (; RTA_OK(first, length); first = RTA_NEXT(first, length)) {
    attributes[first->rta_type & NLA_TYPE_MASK] = first;
  }
  return attributes;
}

template <typename Body>
Attributes AttributesOf(const nlmsghdr& message) {
  if (message.nlmsg_len < NLMSG_LENGTH(sizeof(Body))) return {};
  const auto* start = static_cast<const char*>(NLMSG_DATA(&message)) + NLMSG_ALIGN(sizeof(Body));
  return ParseAttributes(reinterpret_cast<const rtattr*>(start),
                         static_cast<int>(NLMSG_PAYLOAD(&message, sizeof(Body))));
}

template <typename Body>
const Body& BodyOf(const nlmsghdr& message) {
  return *static_cast<const Body*>(NLMSG_DATA(&message));
}

template <typename Value>
Value ValueOf(const Attributes& attributes, int type) {
  Value value{};
  const auto found = attributes.find(type);
  if (found == attributes.end()) return value;
  std::memcpy(&value, RTA_DATA(found->second),
              std::min<std::size_t>(sizeof(value), RTA_PAYLOAD(found->second)));
  return value;
}

std::string TextOf(const Attributes& attributes, int type) {
  const auto found = attributes.find(type);
  if (found == attributes.end()) return "";
  const auto* text = static_cast<const char*>(RTA_DATA(found->second));
  return std::string(text, strnlen(text, RTA_PAYLOAD(found->second)));
}

NetworkDevice ToDevice(const nlmsghdr& message) {
  const Attributes attributes = AttributesOf<ifinfomsg>(message);
  const auto& body = BodyOf<ifinfomsg>(message);
  NetworkDevice device;
  device.index = body.ifi_index;
  device.type = body.ifi_type;
  device.flags = body.ifi_flags;
  device.name = TextOf(attributes, IFLA_IFNAME);
  device.transmit_dropped = ValueOf<rtnl_link_stats64>(attributes, IFLA_STATS64).tx_dropped;
  return device;
}

std::set<int> DevicesOf(const Attributes& attributes) {
  std::set<int> devices;
  if (const int device = ValueOf<int>(attributes, RTA_OIF); device != 0) devices.insert(device);
  const auto ways = attributes.find(RTA_MULTIPATH);
  if (ways == attributes.end()) return devices;
  const auto* way = static_cast<const rtnexthop*>(RTA_DATA(ways->second));
  int left = static_cast<int>(RTA_PAYLOAD(ways->second));
  while (left >= static_cast<int>(sizeof(*way)) && RTNH_OK(way, left)) {
    devices.insert(way->rtnh_ifindex);
    left -= static_cast<int>(RTNH_ALIGN(way->rtnh_len));
    way = RTNH_NEXT(way);
  }
  return devices;
}

bool SameBits(const unsigned char* left, const unsigned char* right, int bits) {
  if (std::memcmp(left, right, static_cast<std::size_t>(bits / 8)) != 0) return false;
  return bits % 8 == 0 || (left[bits / 8] ^ right[bits / 8]) >> (8 - bits % 8) == 0;
}

// The device of a route, or of its first way of several (ECMP); 0: none.
int FirstDevice(const Attributes& attributes) {
  const auto ways = attributes.find(RTA_MULTIPATH);
  if (ways == attributes.end()) return ValueOf<int>(attributes, RTA_OIF);
  rtnexthop way{};
  if (RTA_PAYLOAD(ways->second) < sizeof(way)) return 0;
  std::memcpy(&way, RTA_DATA(ways->second), sizeof(way));
  return way.rtnh_ifindex;
}

tcmsg QdiscMessage(int device_index, std::uint32_t parent, std::uint32_t handle = 0) {
  tcmsg body{};
  body.tcm_family = AF_UNSPEC;
  body.tcm_ifindex = device_index;
  body.tcm_parent = parent;
  body.tcm_handle = handle;
  return body;
}

}  // namespace

absl::StatusOr<Netlink> Netlink::Open() {
  Descriptor socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!socket.valid()) return absl::ErrnoToStatus(errno, "open a netlink socket");
  const timeval timeout{.tv_sec = kAnswerSeconds, .tv_usec = 0};
  setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
  return Netlink(std::move(socket));
}

absl::Status Netlink::Ask(nlmsghdr& request, const Visit& visit) {
  const bool dump = (request.nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
  if (!dump) request.nlmsg_flags |= NLM_F_ACK;
  request.nlmsg_seq = ++sequence_;
  if (send(socket_.get(), &request, request.nlmsg_len, 0) < 0) {
    return absl::ErrnoToStatus(errno, "ask the kernel over netlink");
  }
  alignas(nlmsghdr) std::array<char, 32768> buffer;
  bool changed = false;
  while (true) {
    const ssize_t received = recv(socket_.get(), buffer.data(), buffer.size(), 0);
    if (received < 0 && errno == EINTR) continue;
    if (received < 0) return absl::ErrnoToStatus(errno, "read the kernel's netlink answer");
    auto length = static_cast<unsigned>(received);
    for (auto* message = reinterpret_cast<nlmsghdr*>(buffer.data()); NLMSG_OK(message, length);
         message = NLMSG_NEXT(message, length)) {
      if (message->nlmsg_seq != sequence_) continue;  // left over from a request that timed out
      changed |= (message->nlmsg_flags & NLM_F_DUMP_INTR) != 0;
      if (message->nlmsg_type == NLMSG_DONE) {
        return changed ? absl::UnavailableError("the kernel's table changed while it was read")
                       : absl::OkStatus();
      }
      if (message->nlmsg_type == NLMSG_ERROR) {
        const int error = -BodyOf<nlmsgerr>(*message).error;
        return error == 0 ? absl::OkStatus() : absl::ErrnoToStatus(error, "netlink");
      }
      visit(*message);
    }
  }
}

absl::StatusOr<std::vector<NetworkDevice>> Netlink::Devices() {
  std::vector<NetworkDevice> devices;
  Request<ifinfomsg> request(RTM_GETLINK, NLM_F_DUMP, {});
  absl::Status status;
  for (int attempt = 0; attempt < kDumpAttempts; ++attempt) {
    devices.clear();
    status = Ask(request.header(), [&](const nlmsghdr& message) {
      if (message.nlmsg_type == RTM_NEWLINK) devices.push_back(ToDevice(message));
    });
    if (!absl::IsUnavailable(status)) break;
  }
  RETURN_IF_ERROR(status);
  return devices;
}

absl::StatusOr<NetworkDevice> Netlink::Device(const std::string& name) {
  ASSIGN_OR_RETURN(const std::vector<NetworkDevice> devices, Devices());
  std::string names;
  for (const NetworkDevice& device : devices) {
    if (device.name == name) return device;
    names += (names.empty() ? "" : ", ") + device.name;
  }
  return absl::NotFoundError(
      fmt::format("there is no network device '{}' here; there are: {}", name, names));
}

absl::StatusOr<NetworkDevice> Netlink::Device(int index) {
  NetworkDevice device;
  ifinfomsg body{};
  body.ifi_index = index;
  Request<ifinfomsg> request(RTM_GETLINK, 0, body);
  absl::Status status =
      Ask(request.header(), [&](const nlmsghdr& message) { device = ToDevice(message); });
  if (!status.ok()) {
    return absl::NotFoundError(fmt::format("there is no network device with index {}", index));
  }
  return device;
}

absl::StatusOr<NetworkDevice> Netlink::DeviceOfRoute(const std::optional<Prefix>& peer) {
  int index = 0;
  if (peer) {
    rtmsg body{};
    body.rtm_family = peer->ipv4 ? AF_INET : AF_INET6;
    body.rtm_dst_len = peer->ipv4 ? 32 : 128;
    Request<rtmsg> request(RTM_GETROUTE, 0, body);
    const int offset = peer->ipv4 ? 12 : 0;
    request.Add(RTA_DST, peer->address.data() + offset, 16 - offset);
    absl::Status status = Ask(request.header(), [&](const nlmsghdr& message) {
      index = ValueOf<int>(AttributesOf<rtmsg>(message), RTA_OIF);
    });
    if (!status.ok() || index == 0) {
      return absl::NotFoundError(
          fmt::format("no route leads to {}; name the device in traffic.device", ToString(*peer)));
    }
    return Device(index);
  }
  std::uint32_t best = UINT32_MAX;
  for (const unsigned char family : {AF_INET, AF_INET6}) {
    rtmsg body{};
    body.rtm_family = family;
    Request<rtmsg> request(RTM_GETROUTE, NLM_F_DUMP, body);
    RETURN_IF_ERROR(Ask(request.header(), [&](const nlmsghdr& message) {
      const auto& route = BodyOf<rtmsg>(message);
      if (message.nlmsg_type != RTM_NEWROUTE || route.rtm_dst_len != 0 ||
          route.rtm_type != RTN_UNICAST || route.rtm_table != RT_TABLE_MAIN)
        return;
      const Attributes attributes = AttributesOf<rtmsg>(message);
      const auto metric = ValueOf<std::uint32_t>(attributes, RTA_PRIORITY);
      const int device = FirstDevice(attributes);
      if (device != 0 && metric < best) {
        best = metric;
        index = device;
      }
    }));
    if (index != 0) return Device(index);
  }
  return absl::NotFoundError(
      "this host has no default route; name the device in traffic.device, or give addresses");
}

absl::StatusOr<std::set<int>> Netlink::DevicesOfRoutes(const Prefix& peer) {
  std::set<int> covering, covered;
  int longest = -1;
  unsigned char wanted[16] = {};
  std::memcpy(wanted, peer.address.data() + (peer.ipv4 ? 12 : 0), peer.ipv4 ? 4 : 16);
  rtmsg body{};
  body.rtm_family = peer.ipv4 ? AF_INET : AF_INET6;
  Request<rtmsg> request(RTM_GETROUTE, NLM_F_DUMP, body);
  RETURN_IF_ERROR(Ask(request.header(), [&](const nlmsghdr& message) {
    const auto& route = BodyOf<rtmsg>(message);
    if (message.nlmsg_type != RTM_NEWROUTE || route.rtm_type != RTN_UNICAST ||
        route.rtm_table != RT_TABLE_MAIN)
      return;
    const Attributes attributes = AttributesOf<rtmsg>(message);
    const auto to = ValueOf<std::array<unsigned char, 16>>(attributes, RTA_DST);
    const int bits = route.rtm_dst_len;
    if (!SameBits(to.data(), wanted, std::min(bits, peer.bits))) return;
    if (bits > peer.bits) {
      covered.merge(DevicesOf(attributes));
    } else if (bits >= longest) {
      if (bits > longest) covering.clear();
      longest = bits;
      covering.merge(DevicesOf(attributes));
    }
  }));
  covering.merge(covered);
  return covering;
}

absl::StatusOr<bool> Netlink::HasQdisc(int device_index, const std::string& kind) {
  bool found = false;
  Request<tcmsg> request(RTM_GETQDISC, NLM_F_DUMP, QdiscMessage(device_index, 0));
  RETURN_IF_ERROR(Ask(request.header(), [&](const nlmsghdr& message) {
    if (message.nlmsg_type == RTM_NEWQDISC && BodyOf<tcmsg>(message).tcm_ifindex == device_index &&
        TextOf(AttributesOf<tcmsg>(message), TCA_KIND) == kind)
      found = true;
  }));
  return found;
}

absl::Status Netlink::VisitFilters(int device_index, const Visit& visit) {
  ASSIGN_OR_RETURN(const bool clsact, HasQdisc(device_index, "clsact"));
  if (!clsact) return absl::OkStatus();
  for (const std::uint32_t parent : kClsactParents) {
    Request<tcmsg> request(RTM_GETTFILTER, NLM_F_DUMP, QdiscMessage(device_index, parent));
    RETURN_IF_ERROR(Ask(request.header(), [&](const nlmsghdr& message) {
      // Each filter is preceded by an entry of its chain, without a handle.
      if (message.nlmsg_type == RTM_NEWTFILTER && BodyOf<tcmsg>(message).tcm_handle != 0)
        visit(message);
    }));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<BpfFilter>> Netlink::BpfFilters(int device_index) {
  std::vector<BpfFilter> filters;
  RETURN_IF_ERROR(VisitFilters(device_index, [&](const nlmsghdr& message) {
    const Attributes attributes = AttributesOf<tcmsg>(message);
    const auto options = attributes.find(TCA_OPTIONS);
    if (TextOf(attributes, TCA_KIND) != "bpf" || options == attributes.end()) return;
    const Attributes nested = ParseAttributes(static_cast<const rtattr*>(RTA_DATA(options->second)),
                                              static_cast<int>(RTA_PAYLOAD(options->second)));
    const auto& body = BodyOf<tcmsg>(message);
    filters.push_back({.device_index = device_index,
                       .parent = body.tcm_parent,
                       .handle = body.tcm_handle,
                       .priority = TC_H_MAJ(body.tcm_info) >> 16,
                       .program_id = ValueOf<std::uint32_t>(nested, TCA_BPF_ID)});
  }));
  return filters;
}

absl::StatusOr<int> Netlink::CountClsactFilters(int device_index) {
  int count = 0;
  RETURN_IF_ERROR(VisitFilters(device_index, [&](const nlmsghdr&) { ++count; }));
  return count;
}

absl::StatusOr<std::uint32_t> Netlink::LowestPriority(int device_index, std::uint32_t parent) {
  std::uint32_t lowest = 0;
  RETURN_IF_ERROR(VisitFilters(device_index, [&](const nlmsghdr& message) {
    const auto& body = BodyOf<tcmsg>(message);
    const std::uint32_t priority = TC_H_MAJ(body.tcm_info) >> 16;
    if (body.tcm_parent == parent && (lowest == 0 || priority < lowest)) lowest = priority;
  }));
  return lowest;
}

absl::Status Netlink::DeleteFilter(const BpfFilter& filter) {
  tcmsg body = QdiscMessage(filter.device_index, filter.parent, filter.handle);
  body.tcm_info = TC_H_MAKE(filter.priority << 16, 0);
  Request<tcmsg> request(RTM_DELTFILTER, 0, body);
  request.Add(TCA_KIND, "bpf");
  return Ask(request.header(), [](const nlmsghdr&) {});
}

absl::Status Netlink::DeleteClsact(int device_index) {
  Request<tcmsg> request(RTM_DELQDISC, 0,
                         QdiscMessage(device_index, TC_H_CLSACT, TC_H_MAKE(TC_H_CLSACT, 0)));
  return Ask(request.header(), [](const nlmsghdr&) {});
}

absl::Status Netlink::SetNoQueue(int device_index) {
  Request<tcmsg> request(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE,
                         QdiscMessage(device_index, TC_H_ROOT));
  request.Add(TCA_KIND, "noqueue");
  return Ask(request.header(), [](const nlmsghdr&) {});
}

}  // namespace firedrill::agent
