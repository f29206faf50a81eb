// SPDX-License-Identifier: Apache-2.0
#include "agent/files/space.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>

#include "proto/support/status_macros.h"

namespace firedrill::agent {
namespace {

constexpr double kMiB = 1 << 20;

absl::Status OpenError(int error, const std::string& folder) {
  if (error == ENOTDIR) {
    return absl::InvalidArgumentError(fmt::format("{} is no folder: give one", folder));
  }
  if (error == EROFS) {
    return absl::FailedPreconditionError(
        fmt::format("{} is on a file system that is mounted read-only", folder));
  }
  return absl::ErrnoToStatus(error, "make a file in " + folder);
}

}  // namespace

absl::StatusOr<Space> SpaceOf(int fd) {
  struct statvfs seen;
  if (fstatvfs(fd, &seen) != 0) return absl::ErrnoToStatus(errno, "look for free space");
  const std::uint64_t block = seen.f_frsize != 0 ? seen.f_frsize : seen.f_bsize;
  return Space{.used = (seen.f_blocks - std::min(seen.f_bfree, seen.f_blocks)) * block,
               .available = seen.f_bavail * block};
}

absl::StatusOr<std::uint64_t> HeldBy(int fd) {
  struct stat seen;
  if (fstat(fd, &seen) != 0) return absl::ErrnoToStatus(errno, "look at an unlinked file");
  return static_cast<std::uint64_t>(seen.st_blocks) * 512;  // in these units everywhere: stat(2)
}

absl::StatusOr<std::uint64_t> BytesToTake(const Space& space, std::optional<double> percent,
                                          std::uint64_t bytes, std::uint64_t floor) {
  if (space.available <= floor) {
    return absl::FailedPreconditionError(fmt::format(
        "only {:.1f} MiB are available, and {:.1f} MiB are to stay so (floor)",
        static_cast<double>(space.available) / kMiB, static_cast<double>(floor) / kMiB));
  }
  std::uint64_t goal = bytes;
  if (percent) {
    const double all = static_cast<double>(space.used) + static_cast<double>(space.available);
    const double more = std::floor(all * *percent / 100) - static_cast<double>(space.used);
    if (more < 1) {
      return absl::FailedPreconditionError(
          fmt::format("{:.1f} % of the file system are used already; {} % were asked for",
                      100 * static_cast<double>(space.used) / all, *percent));
    }
    goal = static_cast<std::uint64_t>(more);
  }
  return std::min(goal, space.available - floor);
}

std::uint64_t MayHold(const Space& space, std::uint64_t held, std::uint64_t goal,
                      std::uint64_t floor) {
  if (space.available >= floor) return std::min(goal, held + (space.available - floor));
  const std::uint64_t short_by = floor - space.available;
  return std::min(goal, held - std::min(held, short_by));
}

absl::StatusOr<Descriptor> OpenUnlinked(const std::string& folder,
                                        const std::string& momentary_name, int flags) {
  Descriptor file(open(folder.c_str(), O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC | flags, 0600));
  if (file.valid()) return file;
  // Without O_TMPFILE the flag reads as O_DIRECTORY, hence EISDIR; EINVAL may be O_DIRECT's.
  if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL) return OpenError(errno, folder);
  const std::string name = folder + "/" + momentary_name;
  unlink(name.c_str());
  file = Descriptor(open(name.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC | flags, 0600));
  const int error = errno;
  unlink(name.c_str());  // before the first byte; open(2) may leave it behind on failure too
  if (!file.valid()) return OpenError(error, folder);
  return file;
}

absl::Status RemoveMomentaryName(const std::string& folder, const std::string& momentary_name) {
  const std::string name = folder + "/" + momentary_name;
  if (unlink(name.c_str()) == 0 || errno == ENOENT || errno == ENOTDIR || errno == EROFS) {
    return absl::OkStatus();
  }
  return absl::ErrnoToStatus(errno, "remove " + name);
}

}  // namespace firedrill::agent
