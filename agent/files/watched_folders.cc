// SPDX-License-Identifier: Apache-2.0
#include "agent/files/watched_folders.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <vector>

#include "proto/support/status_macros.h"

namespace firedrill::agent {
namespace {

constexpr std::size_t kMostFolders = 16384;
constexpr std::uint32_t kChanges =
    IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_ONLYDIR | IN_EXCL_UNLINK;

bool Same(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

}  // namespace

absl::Status WatchedFolders::Watch(const std::string& path) {
  if (stat(path.c_str(), &seen_) != 0) return absl::ErrnoToStatus(errno, path);
  if (!S_ISDIR(seen_.st_mode)) {
    file_ = path;
    root_ = std::filesystem::path(path).parent_path();
    if (stat(root_.c_str(), &seen_) != 0) return absl::ErrnoToStatus(errno, root_);
    folders_ = 1;
    return Mark(root_, AT_FDCWD);
  }
  root_ = path;
  changes_ = Descriptor(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!changes_.valid()) return absl::ErrnoToStatus(errno, "make an inotify descriptor");
  return MarkTree(root_);
}

absl::Status WatchedFolders::Mark(const std::string& folder, int fd) {
  // By descriptor where there is one: the name may have passed to another folder.
  const char* name = fd == AT_FDCWD ? folder.c_str() : nullptr;
  if (fanotify_mark(group_, FAN_MARK_ADD | FAN_MARK_ONLYDIR, mask_ | FAN_EVENT_ON_CHILD, fd,
                    name) == 0) {
    return absl::OkStatus();
  }
  if (errno == EOPNOTSUPP || errno == EINVAL) {
    return absl::UnimplementedError(fmt::format(
        "the file system of {} has no such fanotify events ({}): writes need pre-content "
        "events (file_write), which ext4, xfs and btrfs have since Linux 6.14, or BPF "
        "among the security modules (bpf_lsm)",
        folder, std::strerror(errno)));
  }
  return absl::ErrnoToStatus(errno, "watch " + folder);
}

absl::Status WatchedFolders::MarkTree(const std::string& folder) {
  std::vector<std::string> open_ones = {folder};
  while (!open_ones.empty()) {
    const std::string name = std::move(open_ones.back());
    open_ones.pop_back();
    const int fd = open(name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    const std::unique_ptr<DIR, int (*)(DIR*)> listing(fd < 0 ? nullptr : fdopendir(fd), &closedir);
    if (!listing) {
      if (name != root_ && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP)) continue;
      return absl::ErrnoToStatus(errno, "open " + name);
    }
    struct stat seen;
    if (fstat(fd, &seen) != 0 || seen.st_dev != seen_.st_dev) continue;
    if (++folders_ > kMostFolders) {
      return absl::InvalidArgumentError(fmt::format(
          "there are more than {} folders below {}: choose a narrower path", kMostFolders, root_));
    }
    // First what comes later, then what is there: nothing is missed in between.
    const int watch = inotify_add_watch(changes_.get(), name.c_str(), kChanges);
    if (watch >= 0) watches_[watch] = name;
    RETURN_IF_ERROR(Mark(name, fd));
    while (const dirent* entry = readdir(listing.get())) {
      const std::string child = entry->d_name;
      if (child == "." || child == "..") continue;
      const bool maybe = entry->d_type == DT_DIR || entry->d_type == DT_UNKNOWN;
      if (maybe) open_ones.push_back(name == "/" ? "/" + child : name + "/" + child);
    }
  }
  return absl::OkStatus();
}

absl::Status WatchedFolders::OnChange() {
  alignas(inotify_event) char buffer[8192];
  std::vector<std::string> added;
  bool anew = false;
  for (;;) {
    const ssize_t got = read(changes_.get(), buffer, sizeof buffer);
    if (got <= 0) break;
    for (ssize_t at = 0; at < got;) {
      const auto* event = reinterpret_cast<const inotify_event*>(buffer + at);
      at += static_cast<ssize_t>(sizeof(inotify_event)) + static_cast<ssize_t>(event->len);
      if ((event->mask & IN_Q_OVERFLOW) != 0) anew = true;
      if ((event->mask & IN_IGNORED) != 0) {
        if (watches_.erase(event->wd) != 0 && folders_ > 0) --folders_;
      }
      if ((event->mask & IN_ISDIR) == 0 || event->len == 0) continue;
      if ((event->mask & IN_MOVED_FROM) != 0) anew = true;  // it may have left the tree
      if (const auto folder = watches_.find(event->wd); folder != watches_.end()) {
        added.push_back(folder->second + "/" + event->name);
      }
    }
  }
  if (!anew) {
    for (const std::string& folder : added) {
      // Moved within the tree, or seen by an earlier walk: marking again does no harm.
      RETURN_IF_ERROR(MarkTree(folder));
    }
    return absl::OkStatus();
  }
  fanotify_mark(group_, FAN_MARK_FLUSH, 0, AT_FDCWD, nullptr);
  changes_ = Descriptor(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!changes_.valid()) return absl::ErrnoToStatus(errno, "make an inotify descriptor");
  watches_.clear();
  folders_ = 0;
  return MarkTree(root_);
}

absl::Status WatchedFolders::Check() const {
  struct stat now;
  if (stat(root_.c_str(), &now) == 0 && Same(now, seen_)) return absl::OkStatus();
  return absl::NotFoundError(root_ + " is gone");
}

bool WatchedFolders::Holds(const struct stat& file) const {
  if (file_.empty()) return true;
  struct stat now;
  return stat(file_.c_str(), &now) == 0 && Same(now, file);
}

}  // namespace firedrill::agent
