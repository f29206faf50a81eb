// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "agent/host/cgroups.h"

namespace firedrill::agent {

class Host;

/// "Name:   1234 kB" of a file such as /proc/meminfo, in bytes. UNIMPLEMENTED: there is no such
/// line.
absl::StatusOr<std::uint64_t> ReadKilobytes(const std::string& file, absl::string_view name);

/// Bytes that programs could still get: of the host, or if that is less, of the cgroup (of the
/// controller `memory`).
absl::StatusOr<std::uint64_t> AvailableMemory(const Host& host,
                                              const std::optional<Cgroup>& cgroup);

/// The OOM killer is to choose this process before any other; read back.
absl::Status VolunteerToDie(const Host& host);

/// FAILED_PRECONDITION, with the figures, if so many further threads of this process would leave
/// the host less than 128 MiB of available memory, or do not fit into the limit of its own cgroup.
absl::Status CheckMemoryForThreads(const Host& host, std::uint64_t threads);

}  // namespace firedrill::agent
