// SPDX-License-Identifier: Apache-2.0
#include "tests/host/lib/cgroup.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <sstream>
#include <stdexcept>

#include "tests/lib/process.h"

namespace firedrill::test {
namespace {

constexpr char kRoot[] = "/sys/fs/cgroup";

}  // namespace

TestCgroup::TestCgroup(const std::string& controller, const std::string& name)
    : name_(name + "-" + std::to_string(getpid())) {
  struct stat found {};
  v2_ = stat((std::string(kRoot) + "/cgroup.controllers").c_str(), &found) == 0;
  folder_ = std::string(kRoot) + (v2_ ? "" : "/" + controller) + "/" + name_;
  if (mkdir(folder_.c_str(), 0755) != 0 && errno != EEXIST) {
    throw std::runtime_error("make " + folder_ + ": " + std::strerror(errno));
  }
}

TestCgroup::~TestCgroup() {
  for (const pid_t pid : Processes()) kill(pid, SIGKILL);
  WaitFor([this] { return rmdir(folder_.c_str()) == 0 || errno == ENOENT; },
          std::chrono::seconds(5));
}

void TestCgroup::Set(const std::string& file, const std::string& text) const {
  const std::string path = folder_ + "/" + file;
  const int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  const bool good =
      fd >= 0 && write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  const int error = errno;
  if (fd >= 0) close(fd);
  if (!good) throw std::runtime_error("write " + text + " to " + path + ": " + strerror(error));
}

std::string TestCgroup::Get(const std::string& file) const {
  return ReadFile(folder_ + "/" + file);
}

std::vector<pid_t> TestCgroup::Processes() const {
  std::istringstream lines(Get("cgroup.procs"));
  std::vector<pid_t> pids;
  for (pid_t pid = 0; lines >> pid;) pids.push_back(pid);
  return pids;
}

}  // namespace firedrill::test
