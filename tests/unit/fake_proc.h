// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "agent/faults/process_selection.h"
#include "agent/host/host.h"
#include "agent/host/processes.h"
#include "tests/lib/process.h"

namespace firedrill::agent {

/// A /proc that the test has written: an init, two threads of the kernel, and what it adds.
class FakeProc : public testing::Test {
 protected:
  static constexpr int kKernelFlag = 0x00200000;

  FakeProc() : host_({folder_.path(), folder_.path()}) {
    Add(1, 0, "init", "/sbin/init");
    Add(2, 0, "kthreadd", "", kKernelFlag);
    Add(20, 2, "kworker/0:1", "", kKernelFlag);
  }
  void Add(int pid, int parent, const std::string& name, const std::string& command, int flags = 0,
           char state = 'S') {
    const std::string base = std::to_string(pid) + "/";
    std::filesystem::create_directories(folder_.path() + "/" + base + "fd");
    std::filesystem::create_directories(folder_.path() + "/" + base + "net");
    std::filesystem::create_directories(folder_.path() + "/" + base + "ns");
    std::string words = command;
    std::replace(words.begin(), words.end(), ' ', '\0');
    folder_.Write(base + "cmdline", words + (words.empty() ? "" : std::string(1, '\0')));
    folder_.Write(base + "stat", std::to_string(pid) + " (" + name + ") " + state + " " +
                                     std::to_string(parent) + " 1 1 0 -1 " + std::to_string(flags) +
                                     " 0 0 0 0 0 0 0 0 20 0 1 0 " + std::to_string(1000 + pid) +
                                     " 0 0\n");
    folder_.Write(base + "comm", name + "\n");
    folder_.Write(base + "cgroup", "0::/\n");
    std::filesystem::create_symlink("net:[" + std::to_string(4026531840) + "]",
                                    folder_.path() + "/" + base + "ns/net");
  }
  void Cgroup(int pid, const std::string& text) {
    folder_.Write(std::to_string(pid) + "/cgroup", text);
  }
  /// Every process of the one namespace sees the same tables.
  void Sockets(const char* table, const std::string& lines) {
    for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) {
      if (!std::filesystem::exists(entry.path() / "net")) continue;
      folder_.Write(entry.path().filename().string() + "/net/" + table,
                    "  sl  local_address rem_address   st tx_queue …\n" + lines);
    }
  }
  void Holds(int pid, const std::string& fd, const std::string& inode) {
    std::filesystem::create_symlink("socket:[" + inode + "]",
                                    folder_.path() + "/" + std::to_string(pid) + "/fd/" + fd);
  }
  std::vector<int> Found(const v1::ProcessSelector& selector, std::set<int> spared = {}) {
    const auto found = SelectProcesses(host_, selector, spared);
    error_ = std::string(found.status().message());
    std::vector<int> pids;
    if (found.ok()) {
      for (const Process& process : *found) pids.push_back(process.pid);
    }
    return pids;
  }

  test::TemporaryFolder folder_;
  Host host_;
  std::string error_;
};

}  // namespace firedrill::agent
