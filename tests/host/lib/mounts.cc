// SPDX-License-Identifier: Apache-2.0
#include "tests/host/lib/mounts.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <stdexcept>
#include <system_error>

#include "tests/lib/process.h"

namespace firedrill::test {
namespace {

[[noreturn]] void Fail(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

void Run(const std::vector<std::string>& words) {
  const auto done = RunToEnd(words);
  if (done.ok() && done->exit_status == 0) return;
  throw std::runtime_error(words.front() + ": " +
                           (done.ok() ? done->output : std::string(done.status().message())));
}

}  // namespace

void EnterMountNamespace() {
  if (unshare(CLONE_NEWNS) != 0) Fail("unshare mounts");
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) Fail("make mounts private");
}

void MountTmpfs(const std::string& folder, std::uint64_t bytes) {
  std::filesystem::create_directories(folder);
  const std::string size = "mode=0777,size=" + std::to_string(bytes);
  if (mount("firedrill-test", folder.c_str(), "tmpfs", 0, size.c_str()) != 0) Fail("mount tmpfs");
}

void MountImage(const std::string& image, const std::string& folder, std::uint64_t bytes,
                std::vector<std::string> mkfs) {
  std::filesystem::create_directories(folder);
  const int fd = open(image.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0 || ftruncate(fd, static_cast<off_t>(bytes)) != 0) Fail("make " + image);
  close(fd);
  mkfs.push_back(image);
  Run(mkfs);
  Run({"mount", "-o", "loop", image, folder});
  std::filesystem::permissions(folder, std::filesystem::perms::all);
}

void Unmount(const std::string& folder) { umount2(folder.c_str(), MNT_DETACH); }

SpaceLeft SpaceIn(const std::string& folder) {
  struct statvfs seen;
  if (statvfs(folder.c_str(), &seen) != 0) Fail("statvfs " + folder);
  return {seen.f_blocks * seen.f_frsize, seen.f_bfree * seen.f_frsize,
          seen.f_bavail * seen.f_frsize};
}

std::uint64_t FillFile(const std::string& path, std::uint64_t bytes) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return 0;
  const std::string block(64 << 10, 'x');
  std::uint64_t done = 0;
  while (done < bytes) {
    const ssize_t wrote =
        write(fd, block.data(), std::min<std::uint64_t>(block.size(), bytes - done));
    if (wrote <= 0) break;
    done += static_cast<std::uint64_t>(wrote);
  }
  fsync(fd);
  close(fd);
  return done;
}

}  // namespace firedrill::test
