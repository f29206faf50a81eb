// SPDX-License-Identifier: Apache-2.0
#include "agent/host/launch.h"

#include <unistd.h>

#include <csignal>
#include <utility>

namespace firedrill::agent {

Launch::Launch(std::vector<std::string> words) : words_(std::move(words)) {
  posix_spawn_file_actions_init(&files_);
  posix_spawnattr_init(&attributes_);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes_, &none);
  posix_spawnattr_setsigdefault(&attributes_, &all);
}

Launch::~Launch() {
  posix_spawn_file_actions_destroy(&files_);
  posix_spawnattr_destroy(&attributes_);
}

void Launch::Open(int fd, const char* path, int flags) {
  posix_spawn_file_actions_addopen(&files_, fd, path, flags, 0);
}

void Launch::Give(int fd, int as) { posix_spawn_file_actions_adddup2(&files_, fd, as); }

void Launch::OwnGroup() {
  flags_ |= POSIX_SPAWN_SETPGROUP;
  posix_spawnattr_setpgroup(&attributes_, 0);
}

int Launch::Start(const std::string& program, pid_t& pid) {
  posix_spawnattr_setflags(&attributes_, flags_);
  std::vector<char*> argv;
  for (std::string& word : words_) argv.push_back(word.data());
  argv.push_back(nullptr);
  return posix_spawnp(&pid, program.c_str(), &files_, &attributes_, argv.data(), environ);
}

}  // namespace firedrill::agent
