// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/support/clock.h"

namespace firedrill::agent {

class Host;

/// Where a program accepts TCP connections, in its own network namespace.
struct ListeningAddress {
  std::string address;  ///< Numeric; 0.0.0.0 and :: stand for every address.
  std::uint16_t port = 0;
  friend auto operator<=>(const ListeningAddress&, const ListeningAddress&) = default;
};

/// The TCP sockets on which process `pid` listens, by port. Empty if it has none, or cannot be
/// looked at.
std::vector<ListeningAddress> TcpListeners(const Host& host, int pid);

/// The process' network namespace, as "net:[4026531840]"; empty if it cannot be looked at.
std::string NetworkNamespace(const Host& host, int pid);

/// True if a TCP connection to `where` is accepted within `wait`; it is closed at once. "Every
/// address" is asked on the loopback one. `netns` >= 0: a descriptor of the network namespace in
/// which to ask; an error says that it cannot be entered.
absl::StatusOr<bool> AcceptsConnection(const ListeningAddress& where, Nanoseconds wait,
                                       int netns = -1);

}  // namespace firedrill::agent
