// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "agent/host/descriptor.h"

namespace firedrill::testing {

/// A TCP connection held at both ends.
struct Connection {
  agent::Descriptor near, far;
  /// Whether a byte of the near end gets there soon, and one of the far end.
  bool NearSends() const { return Delivers(near, far); }
  bool FarSends() const { return Delivers(far, near); }
  static bool Delivers(const agent::Descriptor& from, const agent::Descriptor& to);
};

/// An IPv4 socket of the calling thread's namespace.
agent::Descriptor TcpSocket();
/// Throws std::runtime_error.
void ListenOn(const agent::Descriptor& socket, const std::string& address, int port);
/// Whether a connection comes up within the time.
bool ConnectTo(const agent::Descriptor& socket, const std::string& address, int port,
               int wait_ms = 150);
/// The next connection; an invalid descriptor if none comes within a second.
agent::Descriptor AcceptFrom(const agent::Descriptor& listener);

}  // namespace firedrill::testing
