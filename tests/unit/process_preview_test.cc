// SPDX-License-Identifier: Apache-2.0
// Which processes a fault would touch, said without touching them.
#include "agent/faults/process_preview.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "agent/journal/journal.h"
#include "tests/unit/fake_proc.h"

namespace firedrill::agent {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class ProcessPreviewTest : public FakeProc {
 protected:
  absl::StatusOr<Impact> Preview(const v1::Fault& fault) {
    std::shared_ptr<TrafficEngine> none;
    journal_ = *Journal::Open(folder_.path() + "/journal", "boot");
    WorkerContext context{host_, *journal_, none};
    InjectionRequest request;
    request.fault = fault;
    request.protect.family_pids = {300};
    auto preview = PreviewProcesses(request, context);
    if (!preview.ok()) return preview.status();
    active_ = *std::move(preview);
    return active_->Observe();
  }
  static std::vector<std::string> Matches(const Impact& impact) {
    std::vector<std::string> matches;
    for (const ImpactEvent& event : impact.events) {
      EXPECT_EQ(event.name, "match");
      matches.push_back(event.detail);
    }
    return matches;
  }
  std::unique_ptr<Journal> journal_;
  std::unique_ptr<ActiveFault> active_;
};

TEST_F(ProcessPreviewTest, ListsWhatWouldBeTouchedAndNothingElse) {
  Add(100, 1, "redis-server", "redis-server *:6379");
  Add(101, 1, "redis-server", "redis-server *:6380");
  Add(102, 1, "redis-sentinel", "redis-sentinel *:26379");
  Add(300, 1, "redis-server", "one of the agent's family");
  v1::Fault fault;
  v1::ProcessKill& kill = *fault.mutable_process_kill();
  kill.mutable_processes()->set_name("redis-server");
  auto impact = Preview(fault);
  ASSERT_TRUE(impact.ok()) << impact.status();
  EXPECT_EQ(impact->counters.at("processes_matched"), 2);
  EXPECT_THAT(Matches(*impact), ElementsAre("redis-server, pid 100", "redis-server, pid 101"));
  EXPECT_TRUE(impact->first.has_value());
  kill.mutable_exclude()->set_command_line("6380");
  EXPECT_THAT(Matches(*Preview(fault)), ElementsAre("redis-server, pid 100"));
  kill.mutable_exclude()->set_command_line("redis");
  impact = Preview(fault);
  EXPECT_EQ(impact->counters.at("processes_matched"), 0) << "none is an answer, not an error";
  EXPECT_FALSE(impact->first.has_value());
}

TEST_F(ProcessPreviewTest, WorksForEveryKindThatNamesProcesses) {
  Add(100, 1, "shop", "shop");
  Cgroup(100, "0::/system.slice/shop.service\n");
  v1::Fault pause;
  pause.mutable_process_pause()->mutable_processes()->set_name("shop");
  EXPECT_THAT(Matches(*Preview(pause)), ElementsAre("shop, pid 100"));
  v1::Fault stop;
  stop.mutable_service_stop()->set_unit("shop.service");
  EXPECT_THAT(Matches(*Preview(stop)), ElementsAre("shop, pid 100"));
  v1::Fault files;
  files.mutable_file_fault()->set_path("/var");
  EXPECT_THAT(std::string(Preview(files).status().message()), HasSubstr("names no processes"));
}

}  // namespace
}  // namespace firedrill::agent
