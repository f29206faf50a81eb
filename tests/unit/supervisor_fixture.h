// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/host/host.h"
#include "agent/journal/journal.h"
#include "agent/supervisor/supervisor.h"
#include "agent/worker/worker.pb.h"
#include "tests/lib/process.h"

// The supervisor with a clock that moves when told and workers that are not processes.
namespace firedrill::agent {

/// A worker that does what the test says.
struct FakeWorker {
  int pid = 0;
  std::vector<wire::ToWorker> heard;
  std::deque<wire::FromWorker> says;
  bool gone = false;
  bool killed = false;
  bool obeys = true;    // applies, finishes and leaves when told
  bool answers = true;  // renewals
};

/// Makes such workers.
class FakeSpawner : public Spawner {
 public:
  absl::StatusOr<std::unique_ptr<WorkerProcess>> Spawn() override;
  std::vector<std::shared_ptr<FakeWorker>> workers;
};

class SupervisorTest : public testing::Test {
 protected:
  SupervisorTest();
  /// A successor, of which nothing but the journal is known.
  void Restart(SupervisorOptions options = {});
  static v1::Apply Loss(const std::string& id, Nanoseconds duration = std::chrono::seconds(30));
  static v1::Apply Cpu(const std::string& id, Nanoseconds duration = std::chrono::seconds(30));
  /// Time passes in steps, as it does for the loop.
  void Pass(Nanoseconds time);

  test::TemporaryFolder folder_;
  FakeClock clock_;
  Host host_;
  std::unique_ptr<Journal> journal_;
  FakeSpawner spawner_;
  std::vector<v1::InjectionUpdate> updates_;
  std::map<std::string, v1::InjectionUpdate> last_;
  std::unique_ptr<Supervisor> supervisor_;

  // For the tables of kinds, which hold plain functions.
  static FakeClock* slow_;   ///< That undoing a record of kind "slow" takes its time from.
  static bool left_behind_;  ///< What verification finds; each test begins without.

 private:
  static const FaultKind kKinds[5];
  static const UndoKind kUndoKinds[2];
};

}  // namespace firedrill::agent
