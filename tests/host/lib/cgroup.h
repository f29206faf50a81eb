// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace firedrill::test {

/// A cgroup of the test's own, at the root of the hierarchy that has the controller on this host:
/// v1's, or v2. Removed when destroyed; what still lives in it is killed first.
class TestCgroup {
 public:
  /// Throws std::runtime_error.
  TestCgroup(const std::string& controller, const std::string& name);
  ~TestCgroup();
  TestCgroup(const TestCgroup&) = delete;
  TestCgroup& operator=(const TestCgroup&) = delete;

  /// As a fault's field `cgroup` spells it.
  std::string path() const { return "/" + name_; }
  bool v2() const { return v2_; }
  /// Writes to a file of it, such as pids.max. Throws std::runtime_error.
  void Set(const std::string& file, const std::string& text) const;
  std::string Get(const std::string& file) const;
  /// Moves a process into it.
  void Add(pid_t pid) const { Set("cgroup.procs", std::to_string(pid)); }
  std::vector<pid_t> Processes() const;

 private:
  std::string name_;
  std::string folder_;
  bool v2_ = false;
};

}  // namespace firedrill::test
