// SPDX-License-Identifier: Apache-2.0
#include "agent/supervisor/leases.h"

#include <algorithm>

namespace firedrill::agent {

Nanoseconds Leases::Length(std::optional<Nanoseconds> lease) const {
  if (!lease || *lease <= Nanoseconds::zero()) lease = standard_;
  return std::min(*lease, lease_cap_);
}

void Leases::Grant(const std::string& id, std::optional<Nanoseconds> lease, SteadyTime now) {
  entries_[id].lease_until = now + Length(lease);
}

bool Leases::Renew(const std::string& id, std::optional<Nanoseconds> lease, SteadyTime now) {
  const auto found = entries_.find(id);
  if (found == entries_.end()) return false;
  found->second.lease_until = std::max(found->second.lease_until, now + Length(lease));
  return true;
}

void Leases::EndAt(const std::string& id, SteadyTime when) {
  if (const auto found = entries_.find(id); found != entries_.end()) found->second.ends_at = when;
}

std::vector<Leases::Due> Leases::TakeDue(SteadyTime now) {
  std::vector<Due> due;
  for (auto i = entries_.begin(); i != entries_.end();) {
    const Entry& entry = i->second;
    if (entry.ends_at && *entry.ends_at <= now) {
      due.push_back({i->first, v1::END_REASON_DURATION});
    } else if (entry.lease_until <= now) {
      due.push_back({i->first, v1::END_REASON_LEASE});
      ++run_out_;
    } else {
      ++i;
      continue;
    }
    i = entries_.erase(i);
  }
  return due;
}

std::optional<SteadyTime> Leases::Next() const {
  std::optional<SteadyTime> next;
  for (const auto& [id, entry] : entries_) {
    SteadyTime end = entry.lease_until;
    if (entry.ends_at) end = std::min(end, *entry.ends_at);
    if (!next || end < *next) next = end;
  }
  return next;
}

}  // namespace firedrill::agent
