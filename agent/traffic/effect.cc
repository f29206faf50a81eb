// SPDX-License-Identifier: Apache-2.0
#include "agent/traffic/effect.h"

#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "agent/traffic/dns_names.h"
#include "proto/support/status_macros.h"

namespace firedrill::agent {
namespace {

constexpr double kCertain = 4294967296.0;  // A chance is a number of 2^32.
constexpr Nanoseconds kMostDelay = std::chrono::seconds(60);
// Above it a super-packet takes no more than a millisecond: not worth the price of cutting it.
constexpr std::uint64_t kMostOnWireBits = 500'000'000;
constexpr std::uint64_t kLeastBits = 8000;
constexpr std::uint64_t kMostBits = 100'000'000'000;

__u64 ToChance(double share) { return static_cast<__u64>(std::llround(share * kCertain)); }

// Written so that NaN is refused too.
absl::Status CheckShare(double share, const char* name = "percent") {
  if (!(share > 0 && share <= 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": allowed are more than 0 and at most 100"));
  }
  if (ToChance(share) > 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(name, ": too small to tell from nothing"));
}

absl::Status CheckChance(double chance, const char* name) {
  if (chance >= 0 && chance <= 1) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(name, ": allowed are 0 to 100"));
}

absl::Status CheckDelay(Nanoseconds delay, const char* name) {
  if (delay >= Nanoseconds(0) && delay <= kMostDelay) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(name, ": allowed are 0 to 60s"));
}

// One overload an effect: its bounds, and how the kernel has it.
struct Check {
  absl::Status operator()(const CountEffect&) const { return absl::OkStatus(); }
  absl::Status operator()(const LoseEffect& effect) const {
    if (effect.every > 0) return absl::OkStatus();
    if (!effect.bursts) return CheckShare(effect.share);
    const LoseEffect::Bursts& bursts = *effect.bursts;
    RETURN_IF_ERROR(CheckShare(bursts.enter, "bursts.enter_percent"));
    RETURN_IF_ERROR(CheckChance(bursts.leave, "bursts.leave_percent"));
    RETURN_IF_ERROR(CheckChance(bursts.lost_in_good, "bursts.good_loss_percent"));
    RETURN_IF_ERROR(CheckChance(bursts.lost_in_bad, "bursts.bad_loss_percent"));
    if (ToChance(bursts.lost_in_good) + ToChance(bursts.lost_in_bad) > 0) return absl::OkStatus();
    return absl::InvalidArgumentError("bursts: no packet would be lost in either state");
  }
  absl::Status operator()(const CorruptEffect& effect) const { return CheckShare(effect.share); }
  absl::Status operator()(const DuplicateEffect& effect) const { return CheckShare(effect.share); }
  absl::Status operator()(const ShapeEffect& effect) const {
    if (effect.bits_per_second < kLeastBits || effect.bits_per_second > kMostBits)
      return absl::InvalidArgumentError("rate: allowed are 8kbit to 100Gbit");
    if (effect.queue > Nanoseconds(0)) return CheckDelay(effect.queue, "queue");
    return absl::InvalidArgumentError("queue: must be more than 0");
  }
  absl::Status operator()(const ReorderEffect& effect) const {
    RETURN_IF_ERROR(CheckShare(effect.share));
    if (effect.delay > Nanoseconds(0)) return CheckDelay(effect.delay, "delay");
    return absl::InvalidArgumentError("delay: must be more than 0");
  }
  absl::Status operator()(const DelayEffect& effect) const {
    RETURN_IF_ERROR(CheckDelay(effect.delay, "delay"));
    RETURN_IF_ERROR(CheckDelay(effect.jitter, "jitter"));
    if (!(effect.correlation >= 0 && effect.correlation < 1))
      return absl::InvalidArgumentError("correlation: allowed are 0 to 99.9");
    if (effect.delay > Nanoseconds(0) || effect.jitter > Nanoseconds(0)) return absl::OkStatus();
    return absl::InvalidArgumentError("delay: must be more than 0");
  }
  absl::Status operator()(const DnsEffect& effect) const {
    RETURN_IF_ERROR(CheckShare(effect.share));
    for (const std::string& name : effect.names) RETURN_IF_ERROR(HashDnsName(name).status());
    if (effect.answer != FD_DNS_LATE) return absl::OkStatus();
    if (effect.delay > Nanoseconds(0)) return CheckDelay(effect.delay, "delay");
    return absl::InvalidArgumentError("delay: must be more than 0 with answer: late");
  }
};

struct Write {
  fd_rule& rule;
  void operator()(const CountEffect&) const {}
  void operator()(const LoseEffect& effect) const {
    rule.every = effect.every;
    rule.chance = ToChance(effect.bursts ? effect.bursts->lost_in_good : effect.share);
    if (!effect.bursts) return;
    rule.enter = ToChance(effect.bursts->enter);
    rule.leave = ToChance(effect.bursts->leave);
    rule.bad_chance = ToChance(effect.bursts->lost_in_bad);
  }
  void operator()(const CorruptEffect& effect) const {
    rule.chance = ToChance(effect.share);
    rule.mend_checksum = effect.mend_checksum ? 1 : 0;
  }
  void operator()(const DuplicateEffect& effect) const { rule.chance = ToChance(effect.share); }
  void operator()(const ShapeEffect& effect) const {
    rule.bits_per_second = effect.bits_per_second;
    rule.queue_ns = static_cast<__u64>(effect.queue.count());
  }
  void operator()(const ReorderEffect& effect) const {
    rule.chance = ToChance(effect.share);
    rule.delay_ns = static_cast<__u64>(effect.delay.count());
  }
  void operator()(const DelayEffect& effect) const {
    rule.delay_ns = static_cast<__u64>(effect.delay.count());
    rule.jitter_ns = static_cast<__u64>(effect.jitter.count());
    rule.distribution = effect.distribution;
    rule.correlation = ToChance(effect.correlation);
    rule.keep_order = effect.keep_order ? 1 : 0;
  }
  void operator()(const DnsEffect& effect) const {
    rule.answer = effect.answer;
    rule.chance = ToChance(effect.share);
    rule.delay_ns = static_cast<__u64>(effect.delay.count());
  }
};

struct Kind {
  fd_effect operator()(const CountEffect&) const { return FD_COUNT; }
  fd_effect operator()(const LoseEffect&) const { return FD_LOSE; }
  fd_effect operator()(const CorruptEffect&) const { return FD_CORRUPT; }
  fd_effect operator()(const DuplicateEffect&) const { return FD_DUPLICATE; }
  fd_effect operator()(const ShapeEffect&) const { return FD_SHAPE; }
  fd_effect operator()(const ReorderEffect&) const { return FD_REORDER; }
  fd_effect operator()(const DelayEffect&) const { return FD_DELAY; }
  fd_effect operator()(const DnsEffect&) const { return FD_DNS; }
};

}  // namespace

fd_effect KindOf(const TrafficEffect& effect) { return std::visit(Kind{}, effect); }

absl::Status CheckEffect(const TrafficEffect& effect) { return std::visit(Check{}, effect); }

void WriteEffect(const TrafficEffect& effect, fd_rule& rule) { std::visit(Write{rule}, effect); }

bool IsOnWire(const TrafficEffect& effect) {
  if (const auto* lose = std::get_if<LoseEffect>(&effect)) return lose->exact;
  if (const auto* shape = std::get_if<ShapeEffect>(&effect))
    return shape->bits_per_second <= kMostOnWireBits;
  return std::holds_alternative<CorruptEffect>(effect) ||
         std::holds_alternative<ReorderEffect>(effect);
}

bool NeedsLines(const TrafficEffect& effect) {
  if (const auto* dns = std::get_if<DnsEffect>(&effect)) return dns->answer == FD_DNS_LATE;
  return IsOnWire(effect) || std::holds_alternative<ShapeEffect>(effect) ||
         std::holds_alternative<DelayEffect>(effect);
}

bool HoldsBack(const TrafficEffect& effect) {
  if (const auto* dns = std::get_if<DnsEffect>(&effect)) return dns->answer == FD_DNS_LATE;
  return std::holds_alternative<ShapeEffect>(effect) ||
         std::holds_alternative<ReorderEffect>(effect) ||
         std::holds_alternative<DelayEffect>(effect);
}

}  // namespace firedrill::agent
