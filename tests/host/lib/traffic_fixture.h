// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>

#include "agent/journal/journal.h"
#include "agent/traffic/engine.h"
#include "tests/host/lib/netns.h"
#include "tests/host/lib/packets.h"
#include "tests/lib/process.h"

namespace firedrill::testing {

inline ::testing::AssertionResult IsOk(const absl::Status& status) {
  if (status.ok()) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << status.ToString();
}
#define ASSERT_OK(status) ASSERT_TRUE(::firedrill::testing::IsOk(status))
#define EXPECT_OK(status) EXPECT_TRUE(::firedrill::testing::IsOk(status))

/// A rule's specification, of `share` lost or of a delay, on eth0 unless said otherwise.
agent::TrafficRuleSpec Loss(double share, v1::Direction direction = v1::DIRECTION_EGRESS);
agent::TrafficRuleSpec Delay(int milliseconds, v1::Direction direction = v1::DIRECTION_EGRESS);
/// The same of any effect; a seed over 0 repeats.
agent::TrafficRuleSpec Spec(const agent::TrafficEffect& effect,
                            v1::Direction direction = v1::DIRECTION_EGRESS, std::uint32_t seed = 0);

/// A journal in a temporary folder of its own, removed in the end.
class TemporaryJournal {
 public:
  TemporaryJournal();
  agent::Journal& journal() { return *journal_; }
  const std::string& folder() const { return folder_.path(); }
  std::size_t RecordCount() const;
  /// Undoes every record, as the agent does when a worker has died.
  absl::Status Replay();

 private:
  test::TemporaryFolder folder_;
  std::unique_ptr<agent::Journal> journal_;
};

/// Two hosts, and a traffic engine on the near one whose lease is renewed while it lives. What the
/// kernel at hand can is used, TCX or clsact, unless a test asks for one.
class TrafficTest : public ::testing::Test {
 protected:
  /// Waits until the two know each other's link addresses.
  void SetUp() override;
  void TearDown() override { StopEngine(); }
  void StartEngine(agent::TrafficOptions options = {});
  /// Stops the renewals only.
  void StopRenewals();
  void StopEngine();
  /// The rule; fails the test without one.
  std::unique_ptr<agent::TrafficRule> Add(const agent::TrafficRuleSpec& spec);

  TwoHosts hosts_;
  TemporaryJournal journal_;
  std::unique_ptr<agent::TrafficEngine> engine_;

 private:
  std::atomic<bool> renewing_{false};
  std::thread renewals_;
};

/// The worst lateness of the delay lines so far, by their own account: a busy machine's.
double LineLateMs(const agent::TrafficRule& rule);
/// The number of programs at the device's TCX hooks and of filters at its clsact hooks.
int AttachedCount(const std::string& device);
/// Whether this kernel has TCX links.
bool HasTcx();
/// Whether any device's name in the calling thread's namespace starts with `prefix`.
bool DeviceExists(const std::string& prefix);

/// Another process that holds a traffic engine with one rule in the caller's namespace.
class HolderProcess {
 public:
  struct Options {
    bool delay = false;   ///< 50 ms instead of losing all.
    bool exact = false;   ///< Loses all, but of the wire's packets.
    bool clsact = false;  ///< Even if the kernel has TCX.
    std::string journal;  ///< A folder.
    std::string device = "eth0";
    int lease_ms = 1000;
    int owner_pid = 0;  ///< Over 0: only this process's packets.
  };
  /// Returns when the rule is in force; throws std::runtime_error otherwise.
  explicit HolderProcess(const Options& options);
  ~HolderProcess();  ///< Kills it.
  /// Sends a signal. After SIGKILL waits for its end.
  void Signal(int signal);
  int pid() const { return pid_; }

 private:
  int pid_ = -1;
  agent::Descriptor input_;
};

/// The program of a HolderProcess, if that is what `argv` asks for.
bool IsHolder(int argc, char** argv);
int RunHolder(int argc, char** argv);

}  // namespace firedrill::testing
