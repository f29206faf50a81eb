// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "agent/host/descriptor.h"

namespace firedrill::testing {

/// A network namespace without a name: it is gone, with its devices, as soon as neither this nor a
/// process or socket holds it, a killed test included.
class NetNamespace {
 public:
  /// Throws std::system_error.
  NetNamespace();
  /// Puts the calling thread, and what it starts from now on, into the namespace.
  void Enter() const;
  int fd() const { return fd_.get(); }

 private:
  agent::Descriptor fd_;
};

/// Runs `work` with the calling thread inside `space`, then goes back.
void RunIn(const NetNamespace& space, const std::function<void()>& work);

/// Two hosts with a cable: each has lo and eth0 up, with 10.73.0.N/24 and fd73::N/64; `near` is
/// N = 1, `far` N = 2. The constructing thread is inside `near` until this is destroyed.
class TwoHosts {
 public:
  TwoHosts();
  ~TwoHosts();
  TwoHosts(const TwoHosts&) = delete;
  TwoHosts& operator=(const TwoHosts&) = delete;

  const NetNamespace& near() const { return near_; }
  const NetNamespace& far() const { return far_; }

  static constexpr char kNear4[] = "10.73.0.1";
  static constexpr char kFar4[] = "10.73.0.2";
  static constexpr char kNear6[] = "fd73::1";
  static constexpr char kFar6[] = "fd73::2";

 private:
  agent::Descriptor home_;
  NetNamespace near_;
  NetNamespace far_;
};

/// In the calling thread's namespace, by rtnetlink. Throw std::runtime_error.
void AddVeth(const std::string& name, const std::string& peer, const NetNamespace& peer_space);
void AddAddress(const std::string& device, const std::string& address, int prefix_bits);
void AddDefaultRoute(const std::string& device);
void SetUpDevice(const std::string& device);
void DeleteDevice(const std::string& device);

}  // namespace firedrill::testing
