// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

// Small file systems of a test's own, seen by nobody else.
namespace firedrill::test {

/// Puts the calling thread, and what it starts from now on, into a mount namespace of its own: its
/// mounts end with it. Throws std::system_error.
void EnterMountNamespace();

/// Mounts a tmpfs of so many bytes. Throws std::system_error.
void MountTmpfs(const std::string& folder, std::uint64_t bytes);

/// Makes a file system of so many bytes in `image` by `mkfs` and mounts it; a killed test leaves
/// neither a loop device nor a mount. Throws std::runtime_error with what the tools said.
void MountImage(const std::string& image, const std::string& folder, std::uint64_t bytes,
                std::vector<std::string> mkfs = {"mkfs.ext4", "-q", "-m", "0"});

/// Unmounts, whoever still uses it. Idempotent.
void Unmount(const std::string& folder);

struct SpaceLeft {
  std::uint64_t total = 0;
  std::uint64_t free = 0;       ///< Root's reserve included.
  std::uint64_t available = 0;  ///< To others than root.
};
SpaceLeft SpaceIn(const std::string& folder);

/// Writes so many bytes to a file, down to the disk; the number that went in.
std::uint64_t FillFile(const std::string& path, std::uint64_t bytes);

}  // namespace firedrill::test
