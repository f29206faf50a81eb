// SPDX-License-Identifier: Apache-2.0
#include "agent/host/host.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"

namespace firedrill::agent {
namespace {

bool WorthTelling(const in_addr& address) {
  const auto value = ntohl(address.s_addr);
  return value >> 24 != 127 && value >> 16 != 0xa9fe;  // 127/8 and 169.254/16
}

bool WorthTelling(const in6_addr& address) {
  return !IN6_IS_ADDR_LOOPBACK(&address) && !IN6_IS_ADDR_LINKLOCAL(&address);
}

}  // namespace

Host::Host(HostRoots roots, const Clock& clock) : roots_(std::move(roots)), clock_(clock) {}

std::string Host::BootId() const {
  const auto text = Read(roots_.proc + "/sys/kernel/random/boot_id", 64);
  return text.ok() ? std::string(absl::StripAsciiWhitespace(*text)) : "";
}

std::string Host::KernelRelease() const {
  const auto text = Read(roots_.proc + "/sys/kernel/osrelease", 256);
  return text.ok() ? std::string(absl::StripAsciiWhitespace(*text)) : "";
}

KernelVersion Host::Kernel() const {
  KernelVersion version;
  const std::string release = KernelRelease();
  if (std::sscanf(release.c_str(), "%d.%d", &version.major, &version.minor) != 2) return {};
  return version;
}

std::vector<std::string> Host::Addresses() const {
  std::vector<std::string> addresses;
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return addresses;
  const std::unique_ptr<ifaddrs, decltype(&freeifaddrs)> owner(list, &freeifaddrs);
  for (const ifaddrs* i = list; i != nullptr; i = i->ifa_next) {
    if (i->ifa_addr == nullptr || (i->ifa_flags & IFF_UP) == 0) continue;
    char text[INET6_ADDRSTRLEN];
    const void* address = nullptr;
    if (i->ifa_addr->sa_family == AF_INET) {
      const auto& v4 = reinterpret_cast<const sockaddr_in*>(i->ifa_addr)->sin_addr;
      if (WorthTelling(v4)) address = &v4;
    } else if (i->ifa_addr->sa_family == AF_INET6) {
      const auto& v6 = reinterpret_cast<const sockaddr_in6*>(i->ifa_addr)->sin6_addr;
      if (WorthTelling(v6)) address = &v6;
    }
    if (address != nullptr && inet_ntop(i->ifa_addr->sa_family, address, text, sizeof text)) {
      addresses.emplace_back(text);
    }
  }
  std::sort(addresses.begin(), addresses.end());
  addresses.erase(std::unique(addresses.begin(), addresses.end()), addresses.end());
  return addresses;
}

std::vector<int> Host::AllowedCores() const {
  // The kernel may know more cores than a cpu_set_t holds: grow until it is satisfied.
  for (int most = CPU_SETSIZE; most <= 1 << 16; most *= 2) {
    const std::unique_ptr<cpu_set_t, void (*)(cpu_set_t*)> set(CPU_ALLOC(most),
                                                               [](cpu_set_t* s) { CPU_FREE(s); });
    const std::size_t size = CPU_ALLOC_SIZE(most);
    if (sched_getaffinity(0, size, set.get()) != 0) continue;
    std::vector<int> cores;
    for (int core = 0; core < most; ++core) {
      if (CPU_ISSET_S(core, size, set.get())) cores.push_back(core);
    }
    return cores;
  }
  return {};
}

absl::StatusOr<std::string> Host::Read(const std::string& path, std::size_t limit) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return absl::ErrnoToStatus(errno, "read " + path);
  std::string text;
  char block[4096];
  while (text.size() < limit) {
    const ssize_t got = read(fd, block, std::min(sizeof block, limit - text.size()));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      const absl::Status error = absl::ErrnoToStatus(errno, "read " + path);
      close(fd);
      return error;
    }
    if (got == 0) break;
    text.append(block, static_cast<std::size_t>(got));
  }
  close(fd);
  return text;
}

}  // namespace firedrill::agent
