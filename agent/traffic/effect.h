// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "bpf/dns.h"
#include "bpf/traffic.h"
#include "proto/support/clock.h"

// What a traffic rule does to the packets that it matches. Shares are 0 to 1.
namespace firedrill::agent {

/// Only counts them.
struct CountEffect {};

/// Loses them, unseen by their sender.
struct LoseEffect {
  /// The Gilbert–Elliott model: chances at each packet.
  struct Bursts {
    double enter = 0;  ///< To go into the bad state; over 0.
    double leave = 0;
    double lost_in_good = 0;
    double lost_in_bad = 1;
  };
  double share = 0;              ///< Of all; used with neither bursts nor every.
  std::optional<Bursts> bursts;  ///< Instead of share.
  std::uint32_t every = 0;       ///< Over 0: each packet of this number, instead of share.
  bool exact = false;            ///< Decides about packets of the wire, not super-packets.
};

/// Turns a bit of the payload of packets of the wire.
struct CorruptEffect {
  double share = 0;
  bool mend_checksum = false;  ///< Else the receiver notices.
};

/// Lets them arrive twice.
struct DuplicateEffect {
  double share = 0;
};

/// Lets through at most so much, each direction by itself.
struct ShapeEffect {
  std::uint64_t bits_per_second = 0;
  Nanoseconds queue{0};  ///< What would wait longer is dropped.
};

/// Holds some back, so that those behind them overtake.
struct ReorderEffect {
  double share = 0;
  Nanoseconds delay{0};
};

/// Holds them back.
struct DelayEffect {
  Nanoseconds delay{0};   ///< At most 60 s, as is jitter.
  Nanoseconds jitter{0};  ///< A standard deviation; FD_UNIFORM: the most, either way.
  fd_distribution distribution = FD_UNIFORM;
  double correlation = 0;  ///< Of neighbours' deviations: 0 to below 1.
  bool keep_order = false;
};

/// Drops queries, answers them in the server's stead, or holds them back.
struct DnsEffect {
  fd_dns_answer answer = FD_DNS_NONE;
  std::vector<std::string> names;  ///< And all below them; empty: any.
  double share = 1;
  Nanoseconds delay{0};  ///< With FD_DNS_LATE.
};

using TrafficEffect = std::variant<LoseEffect, CorruptEffect, DuplicateEffect, ShapeEffect,
                                   ReorderEffect, DelayEffect, DnsEffect, CountEffect>;

fd_effect KindOf(const TrafficEffect& effect);

/// INVALID_ARGUMENT if it is out of bounds or nothing.
absl::Status CheckEffect(const TrafficEffect& effect);

/// As the kernel's table has it; the rule's other fields stay.
void WriteEffect(const TrafficEffect& effect, fd_rule& rule);

/// Whether it decides about packets of the wire, for which super-packets are cut first.
bool IsOnWire(const TrafficEffect& effect);

/// Whether packets must leave their device for it: it needs lines, and Ethernet frames or loopback.
bool NeedsLines(const TrafficEffect& effect);

/// Whether it holds packets back, which its end then releases.
bool HoldsBack(const TrafficEffect& effect);

}  // namespace firedrill::agent
