// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/host/descriptor.h"

// Room on a file system, and files without a name that take some of it.
namespace firedrill::agent {

/// As df counts: what is reserved for root is neither used nor available, so that 100 % is where
/// programs of other users get ENOSPC.
struct Space {
  std::uint64_t used = 0;       ///< Bytes.
  std::uint64_t available = 0;  ///< Bytes, to programs of other users than root.
};

/// Of the file system that `fd` is on.
absl::StatusOr<Space> SpaceOf(int fd);

/// Bytes that a file system's allocation has given to the open file `fd`.
absl::StatusOr<std::uint64_t> HeldBy(int fd);

/// How many bytes to take so that `percent` of the file system is used in all (or `bytes`, if
/// given), so that `floor` stays available. FAILED_PRECONDITION if there is nothing to take.
absl::StatusOr<std::uint64_t> BytesToTake(const Space& space, std::optional<double> percent,
                                          std::uint64_t bytes, std::uint64_t floor);

/// How many of `goal` bytes may be held, if `held` are held now: others may have come near the
/// floor, or given room back.
std::uint64_t MayHold(const Space& space, std::uint64_t held, std::uint64_t goal,
                      std::uint64_t floor);

/// A new empty file in `folder`, open for reading and writing with `flags` (O_DIRECT and the like),
/// that has no name and so ends with its last descriptor. Where the file system has no O_TMPFILE,
/// it has `momentary_name` until it is open. Errors name the folder, and what is wrong with it: it
/// does not exist, is no folder, is read-only.
absl::StatusOr<Descriptor> OpenUnlinked(const std::string& folder,
                                        const std::string& momentary_name, int flags = 0);

/// Removes `momentary_name`, should somebody have died in that moment.
absl::Status RemoveMomentaryName(const std::string& folder, const std::string& momentary_name);

}  // namespace firedrill::agent
