// SPDX-License-Identifier: Apache-2.0
#include "agent/link/endpoints.h"

#include <netdb.h>
#include <sys/socket.h>

#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_replace.h"

namespace firedrill::agent {
namespace {

// host:port or [v6]:port.
std::optional<Protected::Endpoint> Split(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  Protected::Endpoint endpoint;
  if (colon == std::string::npos || !absl::SimpleAtoi(text.substr(colon + 1), &endpoint.port)) {
    return std::nullopt;
  }
  endpoint.address = text.substr(0, colon);
  if (endpoint.address.size() > 2 && endpoint.address.front() == '[') {
    endpoint.address = endpoint.address.substr(1, endpoint.address.size() - 2);
  }
  return endpoint;
}

}  // namespace

std::vector<Protected::Endpoint> Resolve(const std::string& controller) {
  std::vector<Protected::Endpoint> endpoints;
  const auto split = Split(controller);
  if (!split) return endpoints;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  if (getaddrinfo(split->address.c_str(), nullptr, &hints, &list) != 0) return endpoints;
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(list, &freeaddrinfo);
  for (const addrinfo* i = list; i != nullptr; i = i->ai_next) {
    char host[NI_MAXHOST];
    if (getnameinfo(i->ai_addr, i->ai_addrlen, host, sizeof host, nullptr, 0, NI_NUMERICHOST) ==
        0) {
      endpoints.push_back({host, split->port});
    }
  }
  return endpoints;
}

std::optional<Protected::Endpoint> ParsePeer(const std::string& peer) {
  const std::string plain = absl::StrReplaceAll(peer, {{"%5B", "["}, {"%5D", "]"}, {"%25", "%"}});
  if (!absl::StartsWith(plain, "ipv4:") && !absl::StartsWith(plain, "ipv6:")) return std::nullopt;
  return Split(plain.substr(5));
}

}  // namespace firedrill::agent
