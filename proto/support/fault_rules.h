// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "firedrill/v1/fault.pb.h"
#include "firedrill/v1/options.pb.h"
#include "google/protobuf/message.h"
#include "proto/support/clock.h"
#include "proto/support/problem.h"

// The one rule book for faults. Agent and controller both run it. All functions are thread-safe.
namespace firedrill {

/// Whether `fault` may be asked for at all. InvalidArgument names each breach, one a line:
/// "packet_loss.percent: found 120 %; allowed: 0.0001 to 100 %".
absl::Status ValidateFault(const v1::Fault& fault);

/// As ValidateFault, and whether it has an end: a duration where the fault lives until an end,
/// none where it is over by itself; and whether the plan has put in what it must (a partition's
/// addresses). `duration` is absent for an event.
absl::Status ValidateInjection(const v1::Fault& fault, std::optional<Nanoseconds> duration);

/// As ValidateFault, but appends to `problems`, with paths below `path`.
void CheckFault(const v1::Fault& fault, const std::string& path, Problems* problems);

/// Appends a breach at `path` (the duration's) if `fault` lacks an end that it needs, or has one
/// though it is over at once.
void CheckEnd(const v1::Fault& fault, bool has_duration, const std::string& path,
              Problems* problems);

/// True if it lives until an end: the kind does, or the parameters make it so (repeat_every,
/// until_down).
bool NeedsDuration(const v1::Fault& fault);

/// What stands beside the kind in fault.proto; an empty message for an unknown kind.
const v1::FaultRules& FaultRulesOf(v1::Fault::KindCase kind);

/// What the fault needs of its host, by the names of abilities: the kind's needs, and those of each
/// field that is set and of each value that is chosen, at any depth. Each once, in that order.
std::vector<std::string> NeedsOf(const v1::Fault& fault);

/// The kind as files spell it: packet_loss. Empty for none.
std::string FaultName(v1::Fault::KindCase kind);

/// In words, on one line: "packet_loss percent=33 traffic.ports=6379". Only what is set.
std::string FaultText(const v1::Fault& fault);

/// Appends breaches of the rules between the fields of one message; called for each message that
/// CheckMessage meets.
void CheckBetweenFields(const google::protobuf::Message& message, const std::string& path,
                        Problems* problems);

}  // namespace firedrill
