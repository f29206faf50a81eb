// SPDX-License-Identifier: Apache-2.0
#include "agent/host/listening.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <system_error>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "agent/host/descriptor.h"
#include "agent/host/host.h"

namespace firedrill::agent {
namespace {

// "0100007F:1F90" of /proc/net/tcp: 32-bit words as the machine stores them, then the port.
bool ParseAddress(absl::string_view text, ListeningAddress& out) {
  const std::size_t colon = text.find(':');
  std::uint32_t port = 0;
  if (colon == absl::string_view::npos || !absl::SimpleHexAtoi(text.substr(colon + 1), &port)) {
    return false;
  }
  std::uint32_t words[4] = {};
  const bool v6 = colon == 32;
  if (!v6 && colon != 8) return false;
  for (std::size_t i = 0; i < (v6 ? 4u : 1u); ++i) {
    if (!absl::SimpleHexAtoi(text.substr(i * 8, 8), &words[i])) return false;
  }
  char name[INET6_ADDRSTRLEN];
  if (inet_ntop(v6 ? AF_INET6 : AF_INET, words, name, sizeof name) == nullptr) return false;
  out.address = name;
  out.port = static_cast<std::uint16_t>(port);
  return true;
}

// Of the calling thread, while it lives.
class InNamespace {
 public:
  static absl::StatusOr<std::unique_ptr<InNamespace>> Enter(int netns) {
    auto entered = std::make_unique<InNamespace>();
    entered->own_ = Descriptor(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    if (!entered->own_.valid() || setns(netns, CLONE_NEWNET) != 0) {
      entered->own_.Reset();
      return absl::ErrnoToStatus(errno, "enter the process' network namespace");
    }
    return entered;
  }
  ~InNamespace() {
    if (own_.valid()) setns(own_.get(), CLONE_NEWNET);
  }

 private:
  Descriptor own_;
};

}  // namespace

std::vector<ListeningAddress> TcpListeners(const Host& host, int pid) {
  const std::string folder = fmt::format("{}/{}", host.proc(), pid);
  std::map<std::string, ListeningAddress> sockets;
  for (const char* table : {"tcp", "tcp6"}) {
    const auto text = Host::Read(folder + "/net/" + table, 16 << 20);
    if (!text.ok()) continue;
    for (const absl::string_view line : absl::StrSplit(*text, '\n', absl::SkipEmpty())) {
      const std::vector<absl::string_view> fields = absl::StrSplit(line, ' ', absl::SkipEmpty());
      ListeningAddress address;
      if (fields.size() < 10 || fields[3] != "0A" || !ParseAddress(fields[1], address)) continue;
      sockets[fmt::format("socket:[{}]", std::string(fields[9]))] = address;
    }
  }
  std::vector<ListeningAddress> found;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder + "/fd", error)) {
    const auto socket = sockets.find(std::filesystem::read_symlink(entry.path(), error));
    if (socket != sockets.end()) found.push_back(socket->second);
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) {
    return std::tie(a.port, a.address) < std::tie(b.port, b.address);
  });
  found.erase(std::unique(found.begin(), found.end()), found.end());
  return found;
}

std::string NetworkNamespace(const Host& host, int pid) {
  std::error_code error;
  return std::filesystem::read_symlink(fmt::format("{}/{}/ns/net", host.proc(), pid), error);
}

absl::StatusOr<bool> AcceptsConnection(const ListeningAddress& where, Nanoseconds wait, int netns) {
  sockaddr_storage storage{};
  socklen_t size = 0;
  if (where.address.find(':') != std::string::npos) {
    auto& v6 = reinterpret_cast<sockaddr_in6&>(storage);
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(where.port);
    if (inet_pton(AF_INET6, where.address.c_str(), &v6.sin6_addr) != 1) {
      return absl::InvalidArgumentError("not an address: " + where.address);
    }
    if (IN6_IS_ADDR_UNSPECIFIED(&v6.sin6_addr)) v6.sin6_addr = in6addr_loopback;
    size = sizeof v6;
  } else {
    auto& v4 = reinterpret_cast<sockaddr_in&>(storage);
    v4.sin_family = AF_INET;
    v4.sin_port = htons(where.port);
    if (inet_pton(AF_INET, where.address.c_str(), &v4.sin_addr) != 1) {
      return absl::InvalidArgumentError("not an address: " + where.address);
    }
    if (v4.sin_addr.s_addr == 0) v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    size = sizeof v4;
  }
  Descriptor fd;
  {
    // A socket stays in the namespace in which it was made.
    std::unique_ptr<InNamespace> inside;
    if (netns >= 0) {
      auto entered = InNamespace::Enter(netns);
      if (!entered.ok()) return entered.status();
      inside = *std::move(entered);
    }
    fd = Descriptor(
        socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP));
  }
  if (!fd.valid()) return absl::ErrnoToStatus(errno, "make a socket");
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&storage), size) == 0) return true;
  if (errno != EINPROGRESS) return false;
  pollfd ready{fd.get(), POLLOUT, 0};
  const timespec timeout{wait.count() / 1'000'000'000, wait.count() % 1'000'000'000};
  if (ppoll(&ready, 1, &timeout, nullptr) != 1) return false;
  int error = 0;
  socklen_t length = sizeof error;
  return getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &length) == 0 && error == 0;
}

}  // namespace firedrill::agent
