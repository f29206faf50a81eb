// SPDX-License-Identifier: Apache-2.0
// Which packets: the parts of the engine that ask the host about names, routes and owners.
#include <algorithm>
#include <utility>

#include "agent/traffic/engine.h"
#include "proto/support/status_macros.h"

namespace firedrill::agent {
namespace {

bool Contains(const std::vector<Prefix>& prefixes, const Prefix& prefix) {
  return std::find(prefixes.begin(), prefixes.end(), prefix) != prefixes.end();
}

}  // namespace

// Of addresses that were given the first one decides, unless the rule wants every device; of the
// addresses of names all that a route leads to: that a host has no IPv6 is no error.
absl::StatusOr<std::vector<NetworkDevice>> TrafficEngine::ChooseDevices(const TrafficRuleSpec& spec,
                                                                        const TrafficMatch& match) {
  std::vector<NetworkDevice> devices;
  if (!spec.traffic.device().empty()) {
    ASSIGN_OR_RETURN(devices.emplace_back(), netlink_.Device(spec.traffic.device()));
    return devices;
  }
  const std::size_t given = match.addresses.size() - match.named_addresses;
  absl::Status unreachable;
  for (std::size_t at = 0; at < match.addresses.size(); ++at) {
    const Prefix& peer = match.addresses[at];
    // 0.0.0.0/0 is no address that a route leads to: the kernel would answer loopback.
    const absl::StatusOr<NetworkDevice> device =
        netlink_.DeviceOfRoute(peer.bits > 0 ? std::optional(peer) : std::nullopt);
    if (!device.ok() && at < given) return device.status();
    unreachable.Update(device.status());
    if (!device.ok()) continue;
    const auto add = [&devices](const NetworkDevice& found) {
      if (std::none_of(devices.begin(), devices.end(),
                       [&](const NetworkDevice& known) { return known.index == found.index; })) {
        devices.push_back(found);
      }
    };
    add(*device);
    if (spec.every_device) {
      ASSIGN_OR_RETURN(const std::set<int> indices, netlink_.DevicesOfRoutes(peer));
      for (const int index : indices) {
        ASSIGN_OR_RETURN(const NetworkDevice other, netlink_.Device(index));
        add(other);
      }
    }
    if (at < given && !spec.every_device) return devices;
  }
  if (!devices.empty()) return devices;
  RETURN_IF_ERROR(unreachable);
  ASSIGN_OR_RETURN(devices.emplace_back(), netlink_.DeviceOfRoute(std::nullopt));
  return devices;
}

absl::Status TrafficEngine::ResolveInto(TrafficMatch& match) {
  if (match.names.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::set<Prefix> found, ResolveNames(match.names, kResolveWithin));
  for (const Prefix& address : found) {
    if (Contains(match.addresses, address)) continue;
    match.addresses.push_back(address);
    ++match.named_addresses;
  }
  return absl::OkStatus();
}

void TrafficEngine::Watch(std::uint32_t slot) {
  Rule& rule = rules_[slot];
  rule.life = ++lives_;
  if (rule.match.names.empty()) return;
  rule.watch =
      std::make_unique<NameWatch>(rule.match.names, options_.resolve_every,
                                  [this, slot, life = rule.life](const std::set<Prefix>& found) {
                                    AddAddresses(slot, life, found);
                                  });
}

// Those that a name no longer has stay: connections to them live on.
void TrafficEngine::AddAddresses(std::uint32_t slot, std::uint64_t life,
                                 const std::set<Prefix>& found) {
  absl::MutexLock lock(&mutex_);
  Rule& rule = rules_[slot];
  if (!rule.used || rule.life != life) return;
  TrafficMatch wanted = rule.match;
  for (const Prefix& address : found) {
    if (wanted.named_addresses >= kMostNameAddresses) break;
    if (Contains(wanted.addresses, address)) continue;
    wanted.addresses.push_back(address);
    ++wanted.named_addresses;
  }
  if (wanted.named_addresses == rule.match.named_addresses) return;
  std::swap(rule.match, wanted);
  if (WritePrefixes().ok()) return;
  std::swap(rule.match, wanted);  // The tables are full: those of before go on.
  WritePrefixes().IgnoreError();
}

absl::Status TrafficEngine::MarkOwners(std::uint32_t slot, const TrafficRuleSpec& spec) {
  if (owners_ == nullptr) {
    ASSIGN_OR_RETURN(owners_, OwnedSockets::Start(programs_->sockets_map()));
  }
  return owners_->Add(slot, spec.traffic.owner(), spec.spared);
}

absl::Status TrafficEngine::UnmarkOwners(std::uint32_t slot) {
  if (owners_ == nullptr) return absl::OkStatus();
  const absl::Status status = owners_->Remove(slot);
  const Rule* const leaving = &rules_[slot];
  const bool needed = std::any_of(rules_.begin(), rules_.end(), [leaving](const Rule& rule) {
    return &rule != leaving && rule.used && rule.match.owned;
  });
  if (!needed) owners_ = nullptr;
  return status;
}

}  // namespace firedrill::agent
