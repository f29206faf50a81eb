// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "firedrill/v1/run.pb.h"
#include "proto/support/clock.h"

namespace firedrill::agent {

/// When each injection ends by itself: at the end of its lease unless renewed, at the end of its
/// duration whatever comes. Not thread-safe.
class Leases {
 public:
  struct Due {
    std::string id;
    v1::EndReason reason;
  };

  /// `lease_cap`: the longest lease granted; `standard`: the lease of who asks for none.
  Leases(Nanoseconds standard, Nanoseconds lease_cap)
      : standard_(standard), lease_cap_(lease_cap) {}

  /// A lease from now on; absent, zero or negative: the standard one. Cut to the cap.
  void Grant(const std::string& id, std::optional<Nanoseconds> lease, SteadyTime now);
  /// As Grant, for an id that has one; false otherwise. A renewal never shortens a lease.
  bool Renew(const std::string& id, std::optional<Nanoseconds> lease, SteadyTime now);
  /// The end of its duration.
  void EndAt(const std::string& id, SteadyTime when);
  void Remove(const std::string& id) { entries_.erase(id); }

  /// Whose time is over at `now`; each is removed by that.
  std::vector<Due> TakeDue(SteadyTime now);
  /// The earliest end; absent if there is none.
  std::optional<SteadyTime> Next() const;

  /// How many ran out of their lease so far.
  std::uint64_t run_out() const { return run_out_; }

 private:
  struct Entry {
    SteadyTime lease_until;
    std::optional<SteadyTime> ends_at;
  };
  Nanoseconds Length(std::optional<Nanoseconds> lease) const;

  const Nanoseconds standard_;
  const Nanoseconds lease_cap_;
  std::map<std::string, Entry> entries_;
  std::uint64_t run_out_ = 0;
};

}  // namespace firedrill::agent
