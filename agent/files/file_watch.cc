// SPDX-License-Identifier: Apache-2.0
#include "agent/files/file_watch.h"

#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <filesystem>

namespace firedrill::agent {

FileWatch::FileWatch(const std::string& path)
    : name_(std::filesystem::path(path).filename()),
      changes_(inotify_init1(IN_NONBLOCK | IN_CLOEXEC)) {
  const std::string folder = std::filesystem::path(path).parent_path();
  constexpr std::uint32_t kChanges =
      IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CREATE | IN_MODIFY;
  if (!changes_.valid() || inotify_add_watch(changes_.get(), folder.c_str(), kChanges) < 0) {
    changes_.Reset();
    return;
  }
  // A file that is mounted alone tells by itself only.
  inotify_add_watch(changes_.get(), path.c_str(), IN_CLOSE_WRITE | IN_MODIFY);
}

bool FileWatch::Wait(int wake, Nanoseconds at_most) {
  pollfd fds[] = {{wake, POLLIN, 0}, {changes_.get(), POLLIN, 0}};
  poll(fds, 2, static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(at_most).count()));
  bool told = false;
  alignas(inotify_event) char buffer[4096];
  for (ssize_t got; changes_.valid() && (got = read(changes_.get(), buffer, sizeof buffer)) > 0;) {
    for (ssize_t at = 0; at < got;) {
      const auto* event = reinterpret_cast<const inotify_event*>(buffer + at);
      at += static_cast<ssize_t>(sizeof(inotify_event)) + static_cast<ssize_t>(event->len);
      if (event->len == 0 || name_ == event->name) told = true;
    }
  }
  return told;
}

}  // namespace firedrill::agent
