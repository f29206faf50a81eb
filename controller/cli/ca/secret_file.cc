// SPDX-License-Identifier: Apache-2.0
#include "controller/cli/ca/secret_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>

namespace firedrill::cli {
namespace {

absl::Status Errno(const std::string& what) {
  const int error = errno;
  return absl::ErrnoToStatus(error, what);
}

absl::Status WriteAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return Errno("write");
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return fsync(fd) == 0 ? absl::OkStatus() : Errno("fsync");
}

}  // namespace

absl::Status WriteWhole(const std::string& path, std::string_view bytes, mode_t mode,
                        bool replace) {
  std::string temporary = path + ".XXXXXX";
  const int fd = mkostemp(temporary.data(), O_CLOEXEC);  // 0600 from the first moment
  if (fd < 0) return Errno("create a file beside " + path);
  absl::Status written = WriteAll(fd, bytes);
  if (written.ok() && fchmod(fd, mode) != 0) written = Errno("set the mode of " + temporary);
  close(fd);
  if (written.ok()) {
    // link() never replaces what is there, not even what came between a check and now.
    const int rc = replace ? std::rename(temporary.c_str(), path.c_str())
                           : link(temporary.c_str(), path.c_str());
    if (rc != 0 && errno == EEXIST) {
      written = absl::AlreadyExistsError(path + " exists already; --force replaces it");
    } else if (rc != 0) {
      written = Errno("put " + path + " in place");
    }
  }
  if (!replace || !written.ok()) unlink(temporary.c_str());
  return written;
}

absl::Status MakeDirectory(const std::string& path) {
  std::error_code error;
  const std::filesystem::path directory(path);
  if (std::filesystem::is_directory(directory, error)) return absl::OkStatus();
  if (directory.has_parent_path()) {
    std::filesystem::create_directories(directory.parent_path(), error);
  }
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST)
    return Errno("cannot make the directory " + path);
  if (!std::filesystem::is_directory(directory, error)) {
    return absl::InvalidArgumentError(path + " is not a directory");
  }
  return absl::OkStatus();
}

}  // namespace firedrill::cli
