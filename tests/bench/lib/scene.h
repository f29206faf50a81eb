// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "firedrill/v1/agent_link.pb.h"
#include "proto/support/clock.h"
#include "tests/host/lib/netns.h"
#include "tests/lib/agent_process.h"
#include "tests/lib/fake_controller.h"
#include "tests/lib/process.h"

namespace firedrill::bench {

/// Two hosts with a cable (firedrill::testing::TwoHosts), and on the near one a real agent with a
/// controller that says what the bench wants and asks for heartbeats as often as a real one does.
/// Every failure ends the program with a message.
class Scene {
 public:
  Scene();

  testing::TwoHosts& hosts() { return hosts_; }
  test::AgentProcess& agent() { return *agent_; }
  test::FakeController& controller() { return *controller_; }

  /// A fault in force, given as protobuf text: "packet_loss { percent: 1 }". Ends with this object.
  class Fault {
   public:
    Fault(Scene& scene, const std::string& text, bool event = false);
    ~Fault();
    Fault(const Fault&) = delete;
    Fault& operator=(const Fault&) = delete;
    /// Asked for until in force, as the agent's own clock says.
    Nanoseconds apply_latency() const { return apply_latency_; }
    /// Asked for until its first impact; waits for it.
    Nanoseconds impact_latency();
    /// Ends it; asked for until reverted. Its proof comes later.
    Nanoseconds End();
    /// Of the last word on it so far.
    double Counter(const std::string& name) const;

   private:
    Scene& scene_;
    const std::string id_;
    SystemTime asked_;
    Nanoseconds apply_latency_{0};
    bool ended_ = false;
  };

 private:
  testing::TwoHosts hosts_;
  test::TemporaryFolder state_;
  std::unique_ptr<test::FakeController> controller_;
  std::unique_ptr<test::AgentProcess> agent_;
  int next_id_ = 0;
};

/// Says what went wrong and exits with 1.
[[noreturn]] void Die(const std::string& what);

/// Runs a program to its end; dies unless it succeeds.
void Must(const std::vector<std::string>& arguments);
/// Whether it ran and succeeded.
bool Works(const std::vector<std::string>& arguments);

/// A program running until this is destroyed.
class Background {
 public:
  explicit Background(const std::vector<std::string>& arguments);
  pid_t pid() const { return child_->pid(); }

 private:
  test::TemporaryFolder folder_;
  std::unique_ptr<test::Child> child_;
};

/// Processor time of a process, all its threads and all its descendants so far.
Nanoseconds TreeCpuTime(pid_t pid);

/// Memory that only the process has and that it has written (Private_Dirty of its smaps_rollup);
/// pages of a program's file, which the kernel may drop at any time, do not count.
double PrivateMegabytes(pid_t pid);

/// A busy loop on each of the cores, as another program's.
class Hogs {
 public:
  explicit Hogs(int cores);
  ~Hogs();
  Hogs(const Hogs&) = delete;
  Hogs& operator=(const Hogs&) = delete;

 private:
  std::vector<pid_t> pids_;
};

}  // namespace firedrill::bench
