// SPDX-License-Identifier: Apache-2.0
#include "agent/files/open_plain_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace firedrill::agent {

PlainFile::PlainFile(std::string path, Descriptor found)
    : path_(std::move(path)), found_(std::move(found)) {}

absl::StatusOr<PlainFile> PlainFile::Find(const std::string& path) {
  Descriptor found(open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!found.valid()) return absl::ErrnoToStatus(errno, path);
  struct stat seen;
  if (fstat(found.get(), &seen) != 0) return absl::ErrnoToStatus(errno, path);
  if (!S_ISREG(seen.st_mode) && !S_ISDIR(seen.st_mode)) {
    return absl::InvalidArgumentError(path + " is neither a file nor a folder");
  }
  return PlainFile(path, std::move(found));
}

absl::StatusOr<Descriptor> PlainFile::Open() const {
  const std::string same = fmt::format("/proc/self/fd/{}", found_.get());
  Descriptor file(open(same.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!file.valid()) return absl::ErrnoToStatus(errno, "open " + path_);
  return file;
}

}  // namespace firedrill::agent
