// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/traffic/match.h"
#include "proto/support/clock.h"

namespace firedrill::agent {

/// How many addresses the names of one rule may have in all.
inline constexpr std::size_t kMostNameAddresses = 256;
/// How long the host's resolver may take before a fault is refused: less than a worker's lease.
inline constexpr Nanoseconds kResolveWithin = std::chrono::milliseconds(1000);
/// How often names are resolved anew while a rule lives.
inline constexpr Nanoseconds kResolveEvery = std::chrono::seconds(30);

/// The addresses of `names`, IPv4 and IPv6, as this host's resolver has them in the calling
/// thread's namespaces. Waits at most `within`; a query that takes longer goes on by itself, on a
/// thread that nobody waits for. NOT_FOUND names the name that has none; DEADLINE_EXCEEDED;
/// RESOURCE_EXHAUSTED: over kMostNameAddresses.
absl::StatusOr<std::set<Prefix>> ResolveNames(const std::vector<std::string>& names,
                                              Nanoseconds within);

/// Resolves names again and again, on a thread of its own.
class NameWatch {
 public:
  /// `found` is called, on that thread, with what each round has found; a name that has no address
  /// now, or whose servers are silent, adds none.
  NameWatch(std::vector<std::string> names, Nanoseconds every,
            std::function<void(const std::set<Prefix>&)> found);
  /// Waits for a call of `found`, so hold no lock that it takes; not for a query under way.
  ~NameWatch();
  NameWatch(const NameWatch&) = delete;
  NameWatch& operator=(const NameWatch&) = delete;

 private:
  struct State;
  const std::shared_ptr<State> state_;
};

}  // namespace firedrill::agent
