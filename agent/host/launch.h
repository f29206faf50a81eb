// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <spawn.h>
#include <sys/types.h>

#include <string>
#include <vector>

namespace firedrill::agent {

/// How a child of the agent starts: with no signal blocked or ignored, whatever the agent has made
/// of its own. Not thread-safe.
class Launch {
 public:
  /// `words`: what the program is called, then its arguments.
  explicit Launch(std::vector<std::string> words);
  ~Launch();
  Launch(const Launch&) = delete;
  Launch& operator=(const Launch&) = delete;

  /// The child has `path` open as `fd`.
  void Open(int fd, const char* path, int flags);
  /// The child has our `fd` as `as`.
  void Give(int fd, int as);
  /// A process group of its own.
  void OwnGroup();

  /// `program`: a path, or a name that PATH knows. 0, or why not, as posix_spawn(3) says. May be
  /// tried again.
  int Start(const std::string& program, pid_t& pid);

 private:
  std::vector<std::string> words_;
  short flags_ = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
  posix_spawn_file_actions_t files_;
  posix_spawnattr_t attributes_;
};

}  // namespace firedrill::agent
