// SPDX-License-Identifier: Apache-2.0
#include "tests/host/lib/netns.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <linux/veth.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <system_error>
#include <thread>

namespace firedrill::testing {
namespace {

using agent::Descriptor;

constexpr char kOwnNamespace[] = "/proc/thread-self/ns/net";

[[noreturn]] void Fail(const std::string& action, int error = errno) {
  throw std::system_error(error, std::generic_category(), action);
}

Descriptor OpenOwnNamespace() {
  Descriptor fd(open(kOwnNamespace, O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) Fail("open the network namespace");
  return fd;
}

// One rtnetlink request; sent, and its acknowledgement awaited, by Send.
class Message {
 public:
  template <typename Body>
  Message(std::uint16_t type, std::uint16_t flags, const Body& body) {
    head().nlmsg_type = type;
    head().nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | NLM_F_ACK | flags);
    head().nlmsg_len = NLMSG_LENGTH(0);
    Append(&body, sizeof(body));
  }
  void Append(const void* data, std::size_t size) {
    std::memcpy(bytes_.data() + NLMSG_ALIGN(head().nlmsg_len), data, size);
    head().nlmsg_len = static_cast<__u32>(NLMSG_ALIGN(head().nlmsg_len) + size);
  }
  rtattr* Begin(std::uint16_t type) {
    auto* attribute = reinterpret_cast<rtattr*>(bytes_.data() + NLMSG_ALIGN(head().nlmsg_len));
    attribute->rta_type = type;
    attribute->rta_len = RTA_LENGTH(0);
    head().nlmsg_len = NLMSG_ALIGN(head().nlmsg_len) + RTA_LENGTH(0);
    return attribute;
  }
  void End(rtattr* attribute) {
    attribute->rta_len = static_cast<unsigned short>(bytes_.data() + head().nlmsg_len -
                                                     reinterpret_cast<char*>(attribute));
  }
  void Add(std::uint16_t type, const void* data, std::size_t size) {
    rtattr* attribute = Begin(type);
    Append(data, size);
    End(attribute);
  }
  void Add(std::uint16_t type, const std::string& text) {
    Add(type, text.c_str(), text.size() + 1);
  }
  void Send(const std::string& action) {
    const Descriptor socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    if (!socket.valid() || send(socket.get(), &head(), head().nlmsg_len, 0) < 0) Fail(action);
    alignas(nlmsghdr) std::array<char, 4096> answer;
    if (recv(socket.get(), answer.data(), answer.size(), 0) < 0) Fail(action);
    const auto* head = reinterpret_cast<const nlmsghdr*>(answer.data());
    const int error = static_cast<const nlmsgerr*>(NLMSG_DATA(head))->error;
    if (error != 0) Fail(action, -error);
  }

 private:
  nlmsghdr& head() { return *reinterpret_cast<nlmsghdr*>(bytes_.data()); }
  alignas(nlmsghdr) std::array<char, 1024> bytes_{};
};

int Index(const std::string& device) {
  const unsigned index = if_nametoindex(device.c_str());
  if (index == 0) Fail("find device " + device);
  return static_cast<int>(index);
}

void SetUpHost(const char* address4, const char* address6) {
  SetUpDevice("lo");
  AddAddress("eth0", address4, 24);
  AddAddress("eth0", address6, 64);
  SetUpDevice("eth0");
  // A question for a neighbour that comes too early is asked again at once, not in a second.
  std::ofstream("/proc/sys/net/ipv6/neigh/eth0/retrans_time_ms") << "10";
}

}  // namespace

NetNamespace::NetNamespace() {
  int error = 0;
  // A thread of its own: unshare would move the calling one.
  std::thread([&] {
    if (unshare(CLONE_NEWNET) < 0) {
      error = errno;
      return;
    }
    fd_ = Descriptor(open(kOwnNamespace, O_RDONLY | O_CLOEXEC));
  }).join();
  if (!fd_.valid()) Fail("make a network namespace", error);
}

void NetNamespace::Enter() const {
  if (setns(fd_.get(), CLONE_NEWNET) < 0) Fail("enter a network namespace");
}

void RunIn(const NetNamespace& space, const std::function<void()>& work) {
  const Descriptor home = OpenOwnNamespace();
  space.Enter();
  struct Return {
    int fd;
    ~Return() {
      if (setns(fd, CLONE_NEWNET) < 0) std::terminate();
    }
  } back{home.get()};
  work();
}

namespace {

// A device that was just set up drops what it is given until the kernel has seen its carrier.
void AwaitCarrier(const std::string& device) {
  const Descriptor fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  std::memcpy(request.ifr_name, device.c_str(), device.size());
  // Since Linux 6.8 asking for the link makes the kernel look at once; it does by itself each
  // second.
  ethtool_value link{};
  link.cmd = ETHTOOL_GLINK;
  ifreq question = request;
  question.ifr_data = reinterpret_cast<char*>(&link);
  ioctl(fd.get(), SIOCETHTOOL, &question);
  constexpr int kAttempts = 2000;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    if (ioctl(fd.get(), SIOCGIFFLAGS, &request) == 0 && (request.ifr_flags & IFF_RUNNING) != 0)
      return;
    poll(nullptr, 0, 1);
  }
  throw std::runtime_error(device + " has no carrier");
}

}  // namespace

TwoHosts::TwoHosts() : home_(OpenOwnNamespace()) {
  near_.Enter();
  try {
    AddVeth("eth0", "eth0", far_);
    SetUpHost(kNear4, kNear6);
    RunIn(far_, [] {
      SetUpHost(kFar4, kFar6);
      AwaitCarrier("eth0");
    });
    AwaitCarrier("eth0");
  } catch (...) {
    setns(home_.get(), CLONE_NEWNET);
    throw;
  }
}

TwoHosts::~TwoHosts() {
  if (setns(home_.get(), CLONE_NEWNET) < 0) std::terminate();
}

void AddVeth(const std::string& name, const std::string& peer, const NetNamespace& peer_space) {
  Message message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, ifinfomsg{});
  message.Add(IFLA_IFNAME, name);
  rtattr* information = message.Begin(IFLA_LINKINFO);
  message.Add(IFLA_INFO_KIND, "veth");
  rtattr* data = message.Begin(IFLA_INFO_DATA);
  rtattr* other = message.Begin(VETH_INFO_PEER);
  const ifinfomsg body{};
  message.Append(&body, sizeof(body));
  message.Add(IFLA_IFNAME, peer);
  const int fd = peer_space.fd();
  message.Add(IFLA_NET_NS_FD, &fd, sizeof(fd));
  message.End(other);
  message.End(data);
  message.End(information);
  message.Send("add veth pair " + name);
}

void AddAddress(const std::string& device, const std::string& address, int prefix_bits) {
  std::array<char, 16> bytes{};
  const bool ipv4 = inet_pton(AF_INET, address.c_str(), bytes.data()) == 1;
  if (!ipv4 && inet_pton(AF_INET6, address.c_str(), bytes.data()) != 1) {
    throw std::runtime_error("not an address: " + address);
  }
  ifaddrmsg body{};
  body.ifa_family = ipv4 ? AF_INET : AF_INET6;
  body.ifa_prefixlen = static_cast<unsigned char>(prefix_bits);
  body.ifa_flags = IFA_F_NODAD;
  body.ifa_index = static_cast<unsigned>(Index(device));
  Message message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, body);
  message.Add(IFA_LOCAL, bytes.data(), ipv4 ? 4 : 16);
  message.Add(IFA_ADDRESS, bytes.data(), ipv4 ? 4 : 16);
  message.Send("add address " + address);
}

void AddDefaultRoute(const std::string& device) {
  rtmsg body{};
  body.rtm_family = AF_INET;
  body.rtm_table = RT_TABLE_MAIN;
  body.rtm_protocol = RTPROT_STATIC;
  body.rtm_scope = RT_SCOPE_LINK;
  body.rtm_type = RTN_UNICAST;
  Message message(RTM_NEWROUTE, NLM_F_CREATE, body);
  const int index = Index(device);
  message.Add(RTA_OIF, &index, sizeof(index));
  message.Send("add the default route");
}

void SetUpDevice(const std::string& device) {
  ifinfomsg body{};
  body.ifi_index = Index(device);
  body.ifi_flags = IFF_UP;
  body.ifi_change = IFF_UP;
  Message(RTM_NEWLINK, 0, body).Send("set " + device + " up");
}

void DeleteDevice(const std::string& device) {
  ifinfomsg body{};
  body.ifi_index = Index(device);
  Message(RTM_DELLINK, 0, body).Send("delete " + device);
}

}  // namespace firedrill::testing
