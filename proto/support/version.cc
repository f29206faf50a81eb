// SPDX-License-Identifier: Apache-2.0
#include "proto/support/version.h"

#include <fmt/format.h>

#include <cstdint>
#include <cstdlib>

namespace firedrill {
namespace {

constexpr unsigned kMajor = 1;
constexpr unsigned kMinor = 1;  // 1: previews

}  // namespace

const char* SoftwareVersion() { return FIREDRILL_VERSION; }

v1::ProtocolVersion OwnProtocolVersion() {
  v1::ProtocolVersion version;
  version.set_major(kMajor);
  version.set_minor(kMinor);
  return version;
}

absl::Status CheckProtocolVersion(const v1::ProtocolVersion& version, const char* peer) {
  const auto distance = std::int64_t{version.minor()} - std::int64_t{kMinor};
  if (version.major() == kMajor && std::abs(distance) <= 1) return absl::OkStatus();
  const bool older = version.major() < kMajor || (version.major() == kMajor && distance < 0);
  return absl::FailedPreconditionError(fmt::format(
      "the {} speaks protocol {}.{}, this program {}.{}; they may differ by one minor version: "
      "upgrade {}",
      peer, version.major(), version.minor(), kMajor, kMinor,
      older ? fmt::format("the {}", peer) : "this program"));
}

}  // namespace firedrill
