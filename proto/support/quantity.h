// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

// Amounts of data and rates as people spell them in files and flags, to the last byte and bit. As
// in text.h, an error says what is allowed.
namespace firedrill {

/// 512MiB, 1.5GB, 4096: binary (KiB, MiB, GiB, TiB, PiB) and decimal (kB, MB, GB, TB, PB) suffixes,
/// bytes without one. A fraction must come out as whole bytes.
absl::StatusOr<std::uint64_t> ParseBytes(std::string_view text);
/// The shortest spelling that ParseBytes reads back as exactly `bytes`: 512MiB, 1500MB, 4097B.
std::string FormatBytes(std::uint64_t bytes);

/// 10Mbit, 1.5Gbit, 800kbit, 8000bit, each also with /s: decimal, as rates of a network are. A bare
/// number is refused.
absl::StatusOr<std::uint64_t> ParseRate(std::string_view text);
/// The shortest spelling that ParseRate reads back as exactly `bits`: 10Mbit, 1500Mbit.
std::string FormatRate(std::uint64_t bits);

}  // namespace firedrill
